"""What small faults around the core once changed unseen: fees, monitor-only, a kill in between, restarts, the disk.

The faults themselves stand in `tests/core_simulation/mutants.py` (`SMALL_FAULTS`).
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.accounts.disk_outage import DurableWrites
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.order_ledger import Intent, Ledger, LedgerState, read_ledger
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.orders import Order, OrderOutcome, OrderStatus
from ghtrader_runtime.gateway.gateway import kept_marks
from ghtrader_runtime.run_options import GatewayOptions, check_options
from tests.support.failing_disk import ledger_held, nothing_grows
from tests.support.lock_step import CONTRACT
from tests.support.open_gateway import OpenGateway, open_gateway

pytestmark = pytest.mark.clock


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings(home)


def by_hand(gateway: OpenGateway, side: int, offset: str, revision: int) -> None:
    """An order that takes what the other side has."""
    book = gateway.executor.core.state.books[CONTRACT]
    gateway.executor.step(
        ev.OrderWanted(
            session="by hand", revision=revision, symbol=CONTRACT, side=side, offset=offset, volume=1,
            now_ns=time.monotonic_ns(), price=book.ask if side > 0 else book.bid, tif="FAK",
        )
    )  # fmt: skip
    gateway.turn()


def test_a_paper_account_pays_its_fees(settings: Settings) -> None:
    with open_gateway(settings) as gateway:
        broker = gateway.context.broker
        before = broker.balance()
        for number, (side, offset) in enumerate(((1, "OPEN"), (-1, "CLOSETODAY")), start=1):
            by_hand(gateway, side, offset, number)
            fills = gateway.executor.fills
            assert len(fills) == number and all(fill.fee > 0 for fill in fills)
            cash = sum(-fill.signed * fill.price * 5 - fill.fee for fill in fills)
            last = float(broker._books[CONTRACT].values[0])
            held = sum(fill.signed for fill in fills) * last * 5
            assert broker.balance() - before == pytest.approx(cash + held)


def resting_order(order_id: str) -> Order:
    return Order(
        order_id=order_id, symbol=CONTRACT, side=1, offset="OPEN", volume=1, price=60_000.0, tif="GFD", left=1,
        status=OrderStatus.WORKING,
    )  # fmt: skip


@pytest.mark.parametrize("monitor_only", [True, False])
def test_who_only_monitors_cancels_nothing_at_the_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, monitor_only: bool
) -> None:
    monkeypatch.setattr("ghtrader_runtime.gateway.gateway._WIND_DOWN_S", 0.05)
    with open_gateway(settings, monitor_only=monitor_only) as gateway:
        order = resting_order("somebody-1")
        gateway.resting[order.order_id] = order
        gateway.executor.core.state.track(resting_order("somebody-1"))
        gateway.running.wind_down("over")
        assert bool(gateway.resting) == monitor_only


@pytest.mark.parametrize("known", [False, True])
def test_an_order_taken_back_while_its_intent_was_written_is_not_sent(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """The switch is tripped between; the gateway has seen it meanwhile (`known`), or looks as it is about to send."""
    with open_gateway(settings) as gateway:
        honest = gateway.context.ledger.intend

        def tripped_meanwhile(intent: Intent) -> None:
            honest(intent)
            KillSwitch(gateway.state_dir).trip("meanwhile")
            if known:
                gateway.executor.read_kill_switch()

        monkeypatch.setattr(gateway.context.ledger, "intend", tripped_meanwhile)
        gateway.executor.step(
            ev.OrderWanted(
                session="by hand", revision=1, symbol=CONTRACT, side=1, offset="OPEN", volume=1,
                now_ns=time.monotonic_ns(), price=gateway.executor.core.state.books[CONTRACT].bid - 50.0, tif="GFD",
            )
        )  # fmt: skip
        assert not gateway.resting and gateway.context.counts.orders == 0
        assert gateway.executor.core.state.killed
        assert not gateway.context.ledger.state.open and not gateway.executor.core.state.every_live_order()


def an_intent(ledger: Ledger, market_ns: int = 0) -> Intent:
    number = ledger.state.next_number
    return Intent(
        order_id=ledger.state.order_id(number), number=number, symbol=CONTRACT, side=1, offset="OPEN", volume=1,
        price=70_000.0, tif="FAK", market_ns=market_ns,
    )  # fmt: skip


def test_orders_of_before_a_restart_count_for_the_rate_open_or_closed(settings: Settings) -> None:
    def an_earlier_life(folder: Path) -> None:
        ledger = Ledger(folder, "earlier")
        for market_ns in (11, 22, 33):
            ledger.intend(intent := an_intent(ledger, market_ns))
            if market_ns == 22:
                ledger.close_intent(intent.order_id, OrderOutcome.CANCELLED, 1)
        ledger.close()

    with open_gateway(settings, an_earlier_life) as gateway:
        assert gateway.context.ledger.state.sent_ns[:3] == [11, 22, 33]
        assert not gateway.executor.core.state.sent_ns, "a recorded day is not of the market they were sent into"


@pytest.mark.parametrize("trouble", [ledger_held, nothing_grows])
def test_what_a_failing_disk_owes_is_written_once_it_recovers(tmp_path: Path, trouble: Any) -> None:
    """How an order ended, and the marks: each with its own value."""
    ledger = Ledger(tmp_path)
    told: list[ev.LinkChange] = []
    durable = DurableWrites(ledger, KillSwitch(tmp_path), told.append)
    ledger.intend(ended := an_intent(ledger))
    with trouble(tmp_path):
        durable.attempt(partial(ledger.close_intent, ended.order_id, OrderOutcome.REJECTED, 1), keep=True)
        durable.attempt(ledger.sync)
        assert [change.up for change in told] == [False]
        durable.attempt(partial(ledger.write_marks, "2025-01-08", 3.0, 4.0), keep=True)
        durable._retry_at = 0.0
        durable.look()
        assert durable.failure and [change.up for change in told] == [False]
        assert list(read_ledger(tmp_path).open) == [ended.order_id] and read_ledger(tmp_path).marks is None
    durable._retry_at = 0.0
    durable.look()
    assert not durable.failure and [change.up for change in told] == [False, True]
    known = read_ledger(tmp_path)
    assert not known.open and known.closed == 1 and known.marks == ("2025-01-08", 3.0, 4.0)
    ledger.close()


def test_the_row_of_an_intent_that_was_sent_from_the_block_is_owed_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    durable = DurableWrites(ledger, KillSwitch(tmp_path), lambda change: None)
    ahead = an_intent(ledger)
    ledger.prepare([ahead])
    durable.attempt(partial(ledger.intend, ahead))
    assert ledger.foreseen == 1, "durable in the block, its row waits for a commit"
    with nothing_grows(tmp_path):
        durable.attempt(ledger.sync)
        assert durable.failure and not read_ledger(tmp_path).open
    durable._retry_at = 0.0
    durable.look()
    assert list(read_ledger(tmp_path).open) == [ahead.order_id] and not durable.failure
    ledger.close()


@pytest.mark.parametrize(("mode", "sim", "kept"), [
    ("paper", "tqkq", False), ("sim", "tqsim", False), ("sim", "tqkq", True), ("live", "tqkq", True),
])  # fmt: skip
def test_marks_of_an_account_that_died_with_its_process_are_not_the_next_ones(mode: str, sim: str, kept: bool) -> None:
    options = check_options(GatewayOptions(account="a", mode=mode, sim=sim, symbol="SHFE.cu2502", run_id="r"))
    known = LedgerState(marks=("2025-01-08", 1e7, 1.05e7), other_marks=[("2025-01-09", 1e7, 1e7)])
    # a paper account that begins with 10,000,000 has not fallen from the 10,500,000 of the one before
    assert kept_marks(options, known) == ((known.marks, known.other_marks) if kept else (None, []))
