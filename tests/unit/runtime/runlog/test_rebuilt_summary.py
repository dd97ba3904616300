"""A run's summary that is lost: made again from its journal, in the same numbers, and it says so."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_base.errors import FailedError, IntegrityError, RefusedError, UsageError
from ghtrader_base.processes import register
from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.gateway.run_summary import summarise
from ghtrader_runtime.runlog.gateway_state import GATEWAY_STATE
from ghtrader_runtime.runlog.rebuilt_summary import UNENDED, run_folder, summary_of
from ghtrader_runtime.runlog.summary import SUMMARY, RunSummary, read_summary, write_summary
from tests.support.lock_step import CONTRACT
from tests.support.open_gateway import OpenGateway, open_gateway

pytestmark = pytest.mark.clock
SAME = (
    "run_id", "account", "broker", "mode", "symbol", "requested", "rolls", "ended", "orders", "fills", "round_trips",
    "gross_pnl", "fees", "net_pnl", "by_contract", "opening", "positions", "trading_state", "killed", "fill_list",
)  # fmt: skip


def trade(opened: OpenGateway, side: int, revision: int) -> None:
    """One lot at any price."""
    book = opened.executor.core.state.books[CONTRACT]
    opened.executor.step(
        ev.OrderWanted(
            session="by hand", revision=revision, symbol=CONTRACT, side=side,
            offset="OPEN" if side > 0 else "CLOSETODAY",
            volume=1, now_ns=time.monotonic_ns(), price=book.ask if side > 0 else book.bid, tif="GFD",
        )
    )  # fmt: skip
    for _ in range(5):
        opened.play()


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary]:
    """A home with one run that bought and sold, and the run's summary."""
    settings = load_settings(tmp_path_factory.mktemp("traded") / "home")
    with open_gateway(settings) as opened:
        trade(opened, 1, 1)
        trade(opened, -1, 2)
        opened.running.wind_down("stopped by hand")
        made = summarise(opened.context, opened.running.traded, opened.executor, "stopped by hand")
        folder = opened.context.run_dir
    write_summary(folder, made)
    found = read_summary(folder)
    assert found is not None and found.fills >= 2
    return settings.home, found


@pytest.fixture
def lost(traded: tuple[Path, RunSummary]) -> tuple[Settings, Path, RunSummary]:
    """The same with its summary gone."""
    home, known = traded
    settings = load_settings(home)
    folder = run_folder(settings)
    (folder / SUMMARY).unlink(missing_ok=True)
    return settings, folder, known


def test_it_is_made_again_in_the_same_numbers(
    lost: tuple[Settings, Path, RunSummary], capsys: pytest.CaptureFixture[str]
) -> None:
    settings, folder, known = lost
    assert run(["gateway", "summary", folder.name, "--home", str(settings.home), "--json"]) == 0
    told = capsys.readouterr()
    assert "was lost and is made again from the journal" in told.err and json.loads(told.out)["rebuilt"]
    found = read_summary(folder)
    assert found is not None and found.rebuilt and found.ticks == 0
    assert {name: getattr(found, name) for name in SAME} == {name: getattr(known, name) for name in SAME}
    assert run(["gateway", "summary", "--home", str(settings.home)]) == 0
    told = capsys.readouterr()
    assert "rebuilt " in told.out and not told.err, "the next look finds it there"


def test_a_gateway_that_was_killed_leaves_what_it_traded(lost: tuple[Settings, Path, RunSummary]) -> None:
    settings, folder, known = lost
    kept = (folder / GATEWAY_STATE).read_bytes()
    try:
        (folder / GATEWAY_STATE).unlink()
        found = summary_of(settings, folder)
        assert found.ended == UNENDED and found.fill_list == known.fill_list and found.net_pnl == known.net_pnl
    finally:
        (folder / GATEWAY_STATE).write_bytes(kept)


def test_one_that_runs_is_left_alone(lost: tuple[Settings, Path, RunSummary]) -> None:
    settings, folder, _ = lost
    kept = (folder / GATEWAY_STATE).read_text()
    try:
        (folder / GATEWAY_STATE).write_text(json.dumps({**json.loads(kept), "ended": ""}))
        with register(settings, "gateway", "a test"), pytest.raises(RefusedError, match="goes on"):
            summary_of(settings, folder)
        assert not (folder / SUMMARY).exists()
    finally:
        (folder / GATEWAY_STATE).write_text(kept)


def test_what_cannot_be_made_is_said(lost: tuple[Settings, Path, RunSummary], tmp_path: Path) -> None:
    settings, folder, _ = lost
    with pytest.raises(FailedError, match="no journal"):
        summary_of(settings, tmp_path)
    for name in ("nothing", "../trading", ".."):
        with pytest.raises(UsageError, match="no trading run"):
            run_folder(settings, name)
    fills = folder / "fills.jsonl"
    kept = fills.read_bytes()
    try:
        for line in (b'{"kind": "fill"}\n', b"[]\n", b"{\n"):
            fills.write_bytes(kept + line)
            with pytest.raises(IntegrityError, match="line"):
                summary_of(settings, folder)
            assert not (folder / SUMMARY).exists()
        fills.write_bytes(kept + kept)  # told twice by a gateway that was started again
        assert len(summary_of(settings, folder).fill_list) == kept.count(b"\n")
    finally:
        fills.write_bytes(kept)


def test_one_that_was_rebuilt_is_made_anew_as_the_run_may_have_gone_on(
    traded: tuple[Path, RunSummary], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(traded[0], home)
    settings = load_settings(home)
    folder = run_folder(settings)
    (folder / SUMMARY).unlink()
    lines = (folder / "fills.jsonl").read_text().splitlines(keepends=True)
    (folder / "fills.jsonl").write_text(lines[0])
    assert summary_of(settings, folder).fills == 1
    (folder / "fills.jsonl").write_text("".join(lines))
    assert summary_of(settings, folder).fills == traded[1].fills
