"""`ghtrader exchange fit`: what it says of a recording that cannot be fitted; a whole fit is in tests/verify."""

from __future__ import annotations

import gzip

from ghtrader.commands.exchange import scenario_named
from ghtrader_exchange.world.realistic.market_fit import packaged_fit
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.samples import CU1909, IF2101
from tests.support.cli import ghtrader


def test_a_day_that_cannot_be_fitted_is_named_and_nothing_is_written(tmp_path):
    for arguments, code, says in (
        ((str(tmp_path / "absent.csv"),), 1, "no such file"),
        ((str(CU1909),), 1, "snapshots"),
        ((str(IF2101), "--day", "2021-01-05"), 1, "it holds CFFEX.IF2101 2021-01-04"),
        ((str(IF2101), "--day", "yesterday"), 2, "--day"),
        ((str(IF2101), "--output", str(tmp_path)), 2, "is a folder"),
        ((str(IF2101), "--output", str(tmp_path / "market.png")), 2, "the name of the picture"),
    ):
        done = ghtrader("exchange", "fit", *arguments, "--home", str(tmp_path))
        assert done.returncode == code and says in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr and done.stdout == ""
    assert not (tmp_path / "exchange").exists()


def test_the_word_realistic_names_the_packaged_fit_and_a_path_a_file(tmp_path):
    played = scenario_named("realistic")
    assert (played.world, played.snapshot_seconds, played.fit) == ("realistic", 0.5, packaged_fit())
    path = tmp_path / "realistic"
    Scenario(seed=9).write(path)
    assert scenario_named(str(path)) == Scenario(seed=9) and scenario_named("") == Scenario()


def test_rows_that_a_fit_leaves_out_are_told(tmp_path):
    path = tmp_path / "IF2101_20210104.csv"
    path.write_bytes(b"".join(gzip.decompress(IF2101.read_bytes()).splitlines(keepends=True)[:1500]))
    done = ghtrader("exchange", "fit", str(path), "--home", str(tmp_path))
    assert "1498 snapshots; 1 are left out: outside the sessions" in done.stderr
