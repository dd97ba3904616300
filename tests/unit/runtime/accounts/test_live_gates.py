"""Every combination of mode, both live steps, monitor-only and credentials: who is refused, connects, may send."""

from __future__ import annotations

import itertools
import os
import socket

import pytest

from ghtrader_base.errors import ConfigError, RefusedError, UnreachableError
from ghtrader_base.settings import load_settings
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Cancel, SendOrder, WriteIntent
from ghtrader_runtime.core.order_planning import SymbolSpec
from ghtrader_runtime.core.trading_core import Core, CoreConfig
from ghtrader_runtime.gateway.launch import run_gateway
from ghtrader_runtime.run_options import GatewayOptions

SYMBOL, DAY = "SHFE.cu2502", "2025-01-08"
CREDENTIALS = {
    "TQSDK_USER": "user", "TQSDK_PASSWORD": "secret", "TQ_BROKER_ID": "broker", "TQ_ACCOUNT_ID": "account",
    "TQ_ACCOUNT_PASSWORD": "secret",
}  # fmt: skip
COMBINATIONS = list(
    itertools.product(
        ("paper", "sim", "live"), ("", "false", "true"), ("", "yes", "I_UNDERSTAND"), (False, True),
        ("none", "login", "all"),
    )
)  # fmt: skip


def expected(mode: str, enabled: str, confirm: str, monitor: bool, credentials: str) -> str:
    """What a person reads in docs/concepts/order_safety.md."""
    if mode == "live" and not monitor and not (enabled == "true" and confirm == "I_UNDERSTAND"):
        return "refused"
    if credentials == "none" or (mode == "live" and credentials != "all"):
        return "no credentials"
    return "connects"


def sends(monitor: bool) -> bool:
    """Whether a core set up like this sends an order for a target that nothing else forbids."""
    core = Core(
        CoreConfig(symbols={SYMBOL: SymbolSpec(SYMBOL, 10.0, 5, True)}, monitor_only=monitor), lambda n: f"o-{n}"
    )
    for event in (
        ev.Terms(symbol=SYMBOL, trading_day=DAY, sessions=((0, 10**15),), now_ns=1),
        ev.Snapshot(trading_day=DAY, holdings=(), orders=(), trades=(), now_ns=1),
        ev.Book(symbol=SYMBOL, trading_day=DAY, market_ns=1, tick_id=1, bid=70_000.0, ask=70_010.0, now_ns=1),
    ):  # fmt: skip
        core.handle(event)
    actions = core.handle(ev.TargetWanted(session="s", revision=1, symbol=SYMBOL, volume=1, now_ns=2))
    actions += core.handle(
        ev.OrderReport(
            order_id="stranger",
            symbol=SYMBOL,
            side=1,
            offset="OPEN",
            volume=1,
            left=1,
            finished=False,
            error=False,
            exchange_order_id="x",
            message="",
            now_ns=3,
        )
    )
    return any(isinstance(action, WriteIntent | SendOrder | Cancel) for action in actions)


@pytest.mark.clock
def test_every_combination_of_gates(home, monkeypatch) -> None:
    with socket.socket() as taken:  # bound, never listening: whoever is let through meets a closed door
        taken.bind(("127.0.0.1", 0))
        closed = f"//127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("HOME", os.environ["HOME"])
        may_send = set()
        for mode, enabled, confirm, monitor, credentials in COMBINATIONS:
            with monkeypatch.context() as patch:
                patch.setenv("HOME", os.environ["HOME"])
                patch.setenv("TQ_AUTH_URL", f"http:{closed}")
                patch.setenv("TQ_MD_URL", f"ws:{closed}")
                patch.setenv("TQ_TD_URL", f"ws:{closed}")
                patch.setenv("GHTRADER_LIVE_ENABLED", enabled) if enabled else None
                for name, value in CREDENTIALS.items():
                    if credentials == "all" or (credentials == "login" and name.startswith("TQSDK_")):
                        patch.setenv(name, value)
                options = GatewayOptions(
                    account="gates",
                    mode=mode,
                    symbol=SYMBOL,
                    run_id="gates",
                    monitor_only=monitor,
                    confirm_live=confirm,
                )
                what = expected(mode, enabled, confirm, monitor, credentials)
                error = {"refused": RefusedError, "no credentials": ConfigError, "connects": UnreachableError}[what]
                with pytest.raises(error):
                    run_gateway(load_settings(home), options)
                if what == "connects" and sends(monitor):
                    may_send.add((mode, enabled, confirm, monitor, credentials))
    assert {combination[0] for combination in may_send} == {"paper", "sim", "live"}
    for mode, enabled, confirm, monitor, credentials in COMBINATIONS:
        both = enabled == "true" and confirm == "I_UNDERSTAND"
        wanted = not monitor and credentials != "none" and (mode != "live" or (both and credentials == "all"))
        assert ((mode, enabled, confirm, monitor, credentials) in may_send) == wanted


def test_the_core_that_only_monitors_sends_nothing() -> None:
    assert sends(False) and not sends(True)
