"""Injects deliberate faults, into forked children alone: what the audit must find.

A greedy strategy is here too, which is no fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec


def replace_function(owner: Any, name: str, fault: Any) -> None:
    """Put `fault` in the place of a function of a module or class.

    Raises
    ------
    AttributeError
        There is no such function any more: the fault would change nothing.
    """
    getattr(owner, name)
    setattr(owner, name, fault)


def make_greedy() -> None:
    """Every seventh target wants a lot more than it should; the gateway must refuse what is beyond its limit."""
    from ghtrader_runtime.strategy.gateway_client import GatewayClient

    honest = GatewayClient.send_target

    def send_target(self: Any, symbol: str, volume: int, *rest: Any, **named: Any) -> int:
        if self._revision % 7 == 0:
            volume += 1 if volume >= 0 else -1
        return honest(self, symbol, volume, *rest, **named)

    replace_function(GatewayClient, "send_target", send_target)


def _limit_off_by_one(kind: str, life: int) -> None:
    from ghtrader_runtime.gateway import gateway

    honest = gateway.risk_limits

    def limits(options: Any) -> Any:
        found = honest(options)
        return replace(found, max_position=found.max_position + 1)

    replace_function(gateway, "risk_limits", limits)


def _intents_are_not_written(kind: str, life: int) -> None:
    from ghtrader_runtime.accounts.order_ledger import Ledger

    def intend(self: Any, intent: Any) -> None:
        self.state.open[intent.order_id] = intent

    replace_function(Ledger, "intend", intend)
    replace_function(Ledger, "close_intent", lambda self, order_id, outcome, left: self.state.open.pop(order_id, None))


def _sends_again_after_a_restart(kind: str, life: int) -> None:
    from ghtrader_runtime.core.orders import Order
    from ghtrader_runtime.gateway import gateway

    honest = gateway._start_core

    def start(parts: Any) -> None:
        known = list(parts.context.ledger.state.open.values())
        honest(parts)
        for intent in known:
            order = Order(
                order_id=intent.order_id,
                symbol=intent.symbol,
                side=intent.side,
                offset=intent.offset,
                volume=intent.volume,
                price=intent.price,
                tif=intent.tif,
                left=intent.volume,
            )
            parts.context.broker.submit(order)

    replace_function(gateway, "_start_core", start)


def _numbers_begin_again(kind: str, life: int) -> None:
    from ghtrader_runtime.accounts.order_ledger import Ledger

    honest = Ledger._begin

    def begin(self: Any, *arguments: Any) -> Any:
        state = honest(self, *arguments)
        state.epoch = 1
        return state

    replace_function(Ledger, "_begin", begin)


def _a_restart_forgets_the_switch(kind: str, life: int) -> None:
    from ghtrader_runtime.accounts.kill_switch import KillState, KillSwitch

    if life > 1 and kind == "gateway":
        replace_function(KillSwitch, "read", lambda self: KillState(False))


def _a_restart_begins_flat(kind: str, life: int) -> None:
    from ghtrader_runtime.brokers.tqsdk import TqSdkBroker

    honest = TqSdkBroker.snapshot
    if life > 1:
        replace_function(TqSdkBroker, "snapshot", lambda self: msgspec.structs.replace(honest(self), holdings=()))


def _the_journal_is_believed(kind: str, life: int) -> None:
    from ghtrader_runtime.gateway import gateway

    honest = gateway.earlier_fills
    replace_function(
        gateway, "earlier_fills",
        lambda context, snapshot: honest(context, msgspec.structs.replace(snapshot, trades=())),
    )  # fmt: skip


def _silence_is_accepted(kind: str, life: int) -> None:
    from ghtrader_runtime.core.market_data_watch import MarketData

    replace_function(MarketData, "watch", lambda self: [])


def _the_switch_is_looked_at_once(kind: str, life: int) -> None:
    from ghtrader_runtime.accounts.kill_switch import KillSwitch

    honest = KillSwitch.read
    seen: list[Any] = []

    def read(self: Any) -> Any:
        if not seen:
            seen.append(honest(self))
        return seen[0]

    if kind == "gateway":
        replace_function(KillSwitch, "read", read)


def _outcomes_are_forgotten(kind: str, life: int) -> None:
    from ghtrader_runtime.accounts.order_ledger import Ledger

    replace_function(Ledger, "close_intent", lambda self, order_id, outcome, left: None)


FAULTS: dict[str, Callable[[str, int], None]] = {
    "intents are not written": _intents_are_not_written,
    "sends again after a restart": _sends_again_after_a_restart,
    "numbers begin again": _numbers_begin_again,
    "one lot too many": _limit_off_by_one,
    "a restart forgets the switch": _a_restart_forgets_the_switch,
    "the switch is looked at once": _the_switch_is_looked_at_once,
    "a restart begins flat": _a_restart_begins_flat,
    "the journal is believed": _the_journal_is_believed,
    "outcomes are forgotten": _outcomes_are_forgotten,
    "silence is accepted": _silence_is_accepted,
}
HINTS: dict[str, tuple[str, ...]] = {
    "sends again after a restart": ("lose-next-order", "kill-gateway"),
    "numbers begin again": ("kill-gateway",),
    "a restart forgets the switch": ("trip", "kill-gateway"),
    "the switch is looked at once": ("trip",),
    "a restart begins flat": ("kill-gateway",),
    "the journal is believed": ("kill-gateway",),
    "silence is accepted": ("close-md",),
}
"""Acts under which a fault can show; without, the dice of many seeds would find it too, later."""
