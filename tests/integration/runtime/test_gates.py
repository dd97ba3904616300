"""Who may send, by the exchange's own record of what it received: nobody who only monitors, and a real account's login
with both steps taken."""

from __future__ import annotations

import pytest

from ghtrader_base.errors import RefusedError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.order_ledger import FILE_NAME
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.sockets import ClientBus
from ghtrader_runtime.config import GatewayOptions
from ghtrader_runtime.operator_views import kill_commands
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
)  # fmt: skip

ORDERS = {"insert_order", "cancel_order"}


class HandOf(Hand):
    """A hand at an account of any mode."""

    def __init__(self, settings: Settings, mode: str) -> None:
        super().__init__(settings)
        self.state_dir = account_ref(settings, ACCOUNT, mode).state_dir
        self.bus = ClientBus(endpoints(settings, self.state_dir))


def begin(settings: Settings, children: list[Child], mode: str, **changes) -> Child:
    run_id = new_run_id("gates")
    given = GatewayOptions(account=ACCOUNT, mode=mode, symbol=SYMBOL, run_id=run_id, rate_orders=10_000, **changes)
    child = Child(settings, "gateway", run_folder(settings, run_id), given)
    children.append(child)
    return child


def sent(exchange) -> list[dict]:
    return [row for row in exchange.control.received() if row["aid"] in ORDERS]


def test_the_exchange_hears_orders_of_whom_it_may(exchange, settings, children, monkeypatch) -> None:
    password = exchange.env["TQSDK_PASSWORD"]
    for name, value in {"TQ_BROKER_ID": "broker", "TQ_ACCOUNT_ID": "8000", "TQ_ACCOUNT_PASSWORD": password}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(settings.home)
    refused = begin(settings, children, "live")
    refused.process.wait(60)
    assert isinstance(refused.error(), RefusedError)
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
    assert {row["aid"] for row in exchange.control.received()} >= {"req_login"} and not sent(exchange)
    assert not exchange.control.orders()

    monkeypatch.setenv("GHTRADER_LIVE_ENABLED", "true")
    trader = begin(load_settings(settings.home), children, "live", confirm_live="I_UNDERSTAND")
    hand = HandOf(settings, "live")
    hand.join()
    hand.listen(lambda: hand.tick is not None)
    hand.reach(1)
    trader.stop()
    assert trader.error() is None
    assert {row["user"] for row in sent(exchange)} == {"8000"} and sent(exchange)


@pytest.mark.clock
@pytest.mark.parametrize("harm", ["garbled", "emptied", "gone"])
def test_a_corrupt_ledger_is_refused_and_nothing_is_connected(home, monkeypatch, harm, settings, children) -> None:
    from ghtrader_base.errors import IntegrityError
    from ghtrader_runtime.accounts.order_ledger import Ledger

    state_dir = account_ref(settings, ACCOUNT, "sim").state_dir
    Ledger(state_dir).close()
    path = state_dir / FILE_NAME
    {"garbled": lambda: path.write_bytes(b"x" * 8192), "emptied": lambda: path.write_bytes(b""),
     "gone": path.unlink}[harm]()  # fmt: skip
    child = begin(settings, children, "sim")
    child.process.wait(90)
    error = child.error()
    assert isinstance(error, IntegrityError) and "no order is working" in error.hint and "damaged" in error.message
