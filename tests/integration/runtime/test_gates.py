"""Who may send, by the exchange's own record of what it received: nobody who only monitors, and a real account's login
with both steps taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ghtrader_base.errors import IntegrityError, RefusedError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.order_ledger import FILE_NAME, Ledger
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.sockets import ClientBus
from ghtrader_runtime.gateway.launch import run_gateway
from ghtrader_runtime.operator_views import kill_commands
from ghtrader_runtime.run_options import GatewayOptions
from ghtrader_runtime.supervisor.supervisor import Child, new_run_id
from tests.integration.runtime.test_sim import (  # noqa: F401  fixtures
    ACCOUNT,
    LIVE_DAY,
    SYMBOL,
    Hand,
    children,
    exchange,
    run_folder,
    settings,
)
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.clock
ORDERS = {"insert_order", "cancel_order"}


class HandOf(Hand):
    """A hand at an account of any mode."""

    def __init__(self, settings: Settings, mode: str) -> None:
        super().__init__(settings)
        self.state_dir = account_ref(settings, ACCOUNT, mode).state_dir
        self.bus = ClientBus(endpoints(settings, self.state_dir))


def gateway_options(mode: str, **changes) -> GatewayOptions:
    run_id = new_run_id("gates")
    return GatewayOptions(account=ACCOUNT, mode=mode, symbol=SYMBOL, run_id=run_id, rate_orders=10_000, **changes)


def begin(settings: Settings, children: list[Child], mode: str, **changes) -> Child:
    given = gateway_options(mode, **changes)
    child = Child(settings, "gateway", run_folder(settings, given.run_id), given)
    children.append(child)
    return child


def sent(exchange) -> list[dict]:
    return [row for row in exchange.control.received() if row.aid in ORDERS]


def test_the_exchange_hears_orders_of_whom_it_may(exchange, settings, children, monkeypatch) -> None:
    password = exchange.env["TQSDK_PASSWORD"]
    for name, value in {"TQ_BROKER_ID": "broker", "TQ_ACCOUNT_ID": "8000", "TQ_ACCOUNT_PASSWORD": password}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(settings.home)
    with pytest.raises(RefusedError):
        run_gateway(settings, gateway_options("live"))
    exchange.control.set_clock(frozen=False)
    for mode in ("sim", "live"):
        state_dir = account_ref(settings, ACCOUNT, mode).state_dir
        state_dir.mkdir(parents=True, exist_ok=True)
        (state_dir / FILE_NAME).write_bytes(b"damaged")  # who only monitors is not blinded by that
        watcher = begin(settings, children, mode, monitor_only=True)
        hand = HandOf(settings, mode)
        hand.join()
        hand.listen(lambda hand=hand: hand.tick is not None and hand.tick.trading_day == str(LIVE_DAY))
        wanted = [hand.want(volume) for volume in (1, -1, 0, 1)]
        hand.listen(lambda hand=hand, wanted=wanted: set(wanted) <= {ack.answers for ack in hand.acks})
        answers = [ack for ack in hand.acks if ack.answers in wanted and ack.status == "accepted"]
        assert answers and all("monitor only" in ack.reason for ack in answers), hand.acks
        assert hand.state.trading_state == "HALTED"
        kill_commands.trip(settings, ACCOUNT, "a test", mode)
        hand.listen(lambda hand=hand: hand.state.killed)
        kill_commands.reset(settings, ACCOUNT, "over", mode)
        watcher.stop()
        assert watcher.error() is None and (state_dir / FILE_NAME).read_bytes() == b"damaged"
        (state_dir / FILE_NAME).unlink()
    assert {row.aid for row in exchange.control.received()} >= {"req_login"} and not sent(exchange)
    assert not exchange.control.orders()

    monkeypatch.setenv("GHTRADER_LIVE_ENABLED", "true")
    trader = begin(load_settings(settings.home), children, "live", confirm_live="I_UNDERSTAND")
    hand = HandOf(settings, "live")
    hand.join()
    hand.listen(lambda: hand.tick is not None)
    hand.reach(1)
    trader.stop()
    assert trader.error() is None
    assert {row.user for row in sent(exchange)} == {"8000"} and sent(exchange)


def test_a_corrupt_ledger_is_refused_and_nothing_is_connected(exchange, settings, children) -> None:
    harms: dict[str, Callable[[Path], object]] = {
        "garbled": lambda path: path.write_bytes(b"x" * 8192),
        "emptied": lambda path: path.write_bytes(b""),
        "gone": Path.unlink,
    }
    state_dir = account_ref(settings, ACCOUNT, "sim").state_dir
    Ledger(state_dir).close()
    for harm in harms.values():
        harm(state_dir / FILE_NAME)
        with pytest.raises(IntegrityError, match="damaged") as refused:
            run_gateway(settings, gateway_options("sim"))
        assert "no order is working" in refused.value.hint
    child = begin(settings, children, "sim")
    child.process.wait(PATIENCE_S)
    error = child.error()
    assert isinstance(error, IntegrityError) and "no order is working" in error.hint and "damaged" in error.message
    assert not exchange.control.received(), "nobody has logged in"
