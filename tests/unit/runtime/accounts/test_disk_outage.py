"""A disk that refuses: no order leaves, trading is halted with the reason, and goes on once there is room again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ghtrader_base.errors import UnwritableError
from ghtrader_runtime.accounts.disk_outage import DurableWrites
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.order_ledger import Intent, Ledger, read_ledger
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Answer, Cancel, SendOrder, WriteIntent
from ghtrader_runtime.core.order_planning import SymbolSpec
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.core.trading_core import Core, CoreConfig
from tests.support.failing_disk import full_disk

pytestmark = pytest.mark.clock

SYMBOL, DAY = "SHFE.cu2502", "2025-01-08"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[bool], None]]]:
    folder = tmp_path / "account"
    folder.mkdir()
    with full_disk(folder) as fill:
        yield folder, fill


def an_intent(ledger: Ledger) -> Intent:
    number = ledger.state.next_number
    return Intent(
        order_id=ledger.state.order_id(number),
        number=number,
        symbol=SYMBOL,
        side=1,
        offset="OPEN",
        volume=1,
        price=70_000.0,
        tif="FAK",
    )


def until_refused(
    durable: DurableWrites, make: Callable[[], Any], write: Callable[[Any], object], keep: bool = False
) -> Any:
    """Write until the disk has refused three times in a row; the last that was refused.

    A write that fails half-way leaves the log a page longer, which a later and smaller one may find enough.
    """
    refused = 0
    for _ in range(100):
        what = make()
        refused = 0 if durable.attempt(partial(write, what), keep) else refused + 1
        if refused == 3:
            return what
    raise AssertionError("the disk was never full")


def use_up_the_log(ledger: Ledger) -> int:
    """Intents until the disk is asked for room that is not there; how many it took."""
    for _ in range(5000):
        ledger.intend(an_intent(ledger))
    raise AssertionError("the disk was never full")


def test_the_ledger_on_a_full_disk_refuses_and_goes_on_when_there_is_room(disk) -> None:
    folder, fill = disk
    ledger = Ledger(folder)
    told: list[ev.LinkChange] = []
    durable = DurableWrites(ledger, KillSwitch(folder), told.append)
    fill(True)
    with pytest.raises(UnwritableError, match="cannot be written"):
        use_up_the_log(ledger)
    intent = until_refused(durable, lambda: an_intent(ledger), ledger.intend)
    assert intent.order_id not in ledger.state.open
    until_refused(durable, lambda: (DAY, 1.0, 2.0), lambda marks: ledger.write_marks(*marks), keep=True)
    assert [change.up for change in told] == [False] and "cannot be written" in told[0].reason, "told once"
    durable._retry_at = 0.0
    durable.look()
    assert durable.failure and len(told) == 1
    fill(False)
    durable._retry_at = 0.0
    durable.look()
    assert not durable.failure and [change.up for change in told] == [False, True]
    kept = list(ledger.state.open)
    ledger.close()
    known = read_ledger(folder)
    assert list(known.open) == kept and known.marks == (DAY, 1.0, 2.0), "what was pending is there, what failed is not"


def test_a_switch_the_disk_refuses_counts_as_tripped_and_is_written_later(disk) -> None:
    folder, fill = disk
    ledger, kill = Ledger(folder), KillSwitch(folder)
    told: list[ev.LinkChange] = []
    durable = DurableWrites(ledger, kill, told.append)
    fill(True)
    durable.trip("lost too much")
    assert durable.kill_state().tripped and durable.kill_state().reason == "lost too much"
    assert "kill switch cannot be written" in told[0].reason and not told[0].up
    fill(False)
    durable._retry_at = 0.0
    durable.look()
    state = KillSwitch(folder).read()
    assert state.tripped and told[-1].up
    ledger.close()


def test_the_core_sends_nothing_while_its_ledger_is_down() -> None:
    core = Core(CoreConfig(symbols={SYMBOL: SymbolSpec(SYMBOL, 10.0, 5, True)}), lambda n: f"o-{n}")
    for event in (
        ev.Terms(symbol=SYMBOL, trading_day=DAY, sessions=((0, 10**15),), now_ns=1),
        ev.Snapshot(trading_day=DAY, holdings=(), orders=(), trades=(), now_ns=1),
        ev.Book(symbol=SYMBOL, trading_day=DAY, market_ns=1, tick_id=1, bid=70_000.0, ask=70_010.0, now_ns=1),
    ):  # fmt: skip
        core.handle(event)
    first = core.handle(ev.TargetWanted(session="s", revision=1, symbol=SYMBOL, volume=1, now_ns=2))
    assert [type(action) for action in first] == [WriteIntent, SendOrder, Answer]
    down = core.handle(ev.LinkChange("ledger", False, 3, "no space left"))
    assert Cancel("o-1") in down and core.state.trading_state is TradingState.HALTED
    assert "no space left" in core.state.limits
    core.handle(
        ev.OrderReport(
            order_id="o-1",
            symbol=SYMBOL,
            side=1,
            offset="OPEN",
            volume=1,
            left=1,
            finished=True,
            error=False,
            exchange_order_id="",
            message="not sent",
            now_ns=4,
        )
    )
    assert not [
        a
        for a in core.handle(ev.TargetWanted(session="s", revision=2, symbol=SYMBOL, volume=1, now_ns=5))
        if isinstance(a, SendOrder)
    ]
    core.handle(ev.LinkChange("ledger", True, 6))
    again = core.handle(
        ev.Book(symbol=SYMBOL, trading_day=DAY, market_ns=2, tick_id=2, bid=70_000.0, ask=70_010.0, now_ns=7)
    )
    assert [type(action) for action in again] == [WriteIntent, SendOrder]
    assert core.state.rejects == 0
