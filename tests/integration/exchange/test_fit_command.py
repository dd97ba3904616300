"""`ghtrader exchange fit`: what it says of a recording that cannot be fitted; a whole fit is in tests/verify."""

from __future__ import annotations

from ghtrader_market.samples import CU1909, IF2101
from tests.support.cli import ghtrader


def test_a_day_that_cannot_be_fitted_is_named_and_nothing_is_written(tmp_path):
    for arguments, code, says in (
        ((str(tmp_path / "absent.csv"),), 1, "no such file"),
        ((str(CU1909),), 1, "snapshots"),
        ((str(IF2101), "--day", "2021-01-05"), 1, "it holds CFFEX.IF2101 2021-01-04"),
        ((str(IF2101), "--day", "yesterday"), 2, "--day"),
    ):
        done = ghtrader("exchange", "fit", *arguments, "--home", str(tmp_path))
        assert done.returncode == code and says in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr and done.stdout == ""
    assert not (tmp_path / "exchange").exists()
