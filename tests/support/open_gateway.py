"""Opens a gateway over a recorded day in this process and turns its loop by hand, for tests of what it does in a fault.

The gateway is the real one, its paper broker and bus included; only who turns the loop is the test.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ghtrader_base.lock_keys import trade_key
from ghtrader_base.locks import resource_lock
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode
from ghtrader_runtime.accounts.account import account_ref, bind_login
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.gateway import gateway
from ghtrader_runtime.gateway.launch import make_broker
from ghtrader_runtime.run_options import GatewayOptions, ReplayOptions, check_options
from tests.support.lock_step import CONTRACT, DAY
from tests.support.runtime_kit import session_times, write_day

ACCOUNT = "paper"


class OpenGateway:
    """A gateway whose loop is turned by `turn`."""

    def __init__(self, running: gateway.Gateway) -> None:
        self.running, self.context, self.executor = running, running.context, running.executor
        self.state_dir = running.context.ref.state_dir
        self._revision = 0

    def turn(self) -> None:
        """One turn of the loop; ticks come only where `play` lets them."""
        self.running.turn(0.0, may_advance=False)

    def play(self) -> None:
        """The next tick, and all that follows."""
        self.running.turn(0.0, may_advance=True)

    def rest_an_order(self) -> str:
        """A buy order far below the market, which rests at the broker; its id."""
        self._revision += 1
        book = self.executor.core.state.books[CONTRACT]
        self.executor.step(
            ev.OrderWanted(
                session="by hand", revision=self._revision, symbol=CONTRACT, side=1, offset="OPEN", volume=1,
                now_ns=time.monotonic_ns(), price=book.bid - 100.0, tif="GFD",
            )
        )  # fmt: skip
        self.turn()
        (order_id,) = self.resting
        return order_id

    @property
    def resting(self) -> dict[str, Any]:
        """Orders that rest at the broker."""
        return self.context.broker._resting

    def lose(self) -> None:
        """Equity falls further than the day's loss limit."""
        self.executor.step(ev.Equity(self.executor.core.state.marks.last - 50_000.0, time.monotonic_ns()))

    def during(self, command: Callable[[], Any]) -> Any:
        """What `command` returns in a thread beside, the loop turning meanwhile as that of a process would."""
        found: list[Any] = []
        beside = threading.Thread(target=lambda: found.append(command()))
        beside.start()
        while beside.is_alive():
            self.turn()
            time.sleep(0.005)
        return found[0]


@contextlib.contextmanager
def open_gateway(
    settings: Settings, before: Callable[[Any], object] | None = None, **options: Any
) -> Iterator[OpenGateway]:
    """A gateway of a paper account at the start of a synthetic day, its first tick played.

    Parameters
    ----------
    settings : Settings
        Of a home of the test's own.
    before : callable, optional
        Takes the account's folder before the gateway opens it.
    options
        Of `GatewayOptions`.
    """
    key = write_day(settings, CONTRACT, DAY, 400)
    start = int(session_times(CONTRACT, DAY, 400)[100])
    wanted = check_options(
        GatewayOptions(
            account=ACCOUNT, mode=RunMode.PAPER, symbol=CONTRACT, run_id=f"by-hand-{time.monotonic_ns()}",
            replay=ReplayOptions(dataset="main_l5", key=key, day=str(DAY), from_ns=start),
            **({"daily_loss": 10_000.0, "latency_ms": 0.0} | options),
        )
    )  # fmt: skip
    ref = account_ref(settings, ACCOUNT, RunMode.PAPER)
    bind_login(settings, ref, "")
    if before is not None:
        before(ref.state_dir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(resource_lock(ref.state_dir, trade_key(ref.name), "a test's gateway"))
        broker = make_broker(settings, wanted)
        opened = OpenGateway(gateway._open(settings, wanted, ref, broker, stack))
        opened.play()
        yield opened
