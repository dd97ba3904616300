"""Answers a session that joins: what is traded, and the day's ticks so far in bounded chunks."""

from __future__ import annotations

import time

from ghtrader_runtime.bus.messages import Hello, Message, Welcome, pack_history
from ghtrader_runtime.core.state import CoreState
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.traded_market import TradedMarket

_BEYOND_THE_LAST = 2**62
_HISTORY_ROWS = 2000
_HISTORY_CHUNKS = 5
"""Chunks a hello is answered with at most: what waits in a socket stays small; who needs more says hello again."""


def welcome(
    context: GatewayContext, traded: TradedMarket, state: CoreState, hello: Hello, nonce: bytes
) -> list[Message]:
    """What is traded, and to who may trade the day's ticks with a greater id than `hello.after_id`; `nonce` is the
    gateway's part of the session's key. Who looks on has no use for them, and may leave them unread: by the megabyte
    they would fill this process's memory."""
    ids, times, values = traded.ticks.after(hello.after_id if nonce else _BEYOND_THE_LAST)
    most = _HISTORY_ROWS * _HISTORY_CHUNKS
    more = len(ids) > most
    ids, times, values = ids[:most], times[:most], values[:most]
    options, contract, now_ns = context.options, traded.binding.contract, time.monotonic_ns()
    messages: list[Message] = [
        Welcome(
            session=context.session, revision=0, sent_ns=now_ns, symbol=contract, account=context.ref.name,
            mode=options.mode, run_id=options.run_id, run_dir=str(context.run_dir), lockstep=context.broker.lockstep,
            price_tick=traded.market.price_tick, multiplier=traded.market.multiplier,
            max_position=options.max_position, position=state.position(contract).net,
            rows=len(ids), tick_revision=traded.tick_revision, more=more,
            answers=hello.revision, requested=options.symbol, monitor_only=options.monitor_only, nonce=nonce,
        )
    ]  # fmt: skip
    for first in range(0, len(ids), _HISTORY_ROWS):
        part = slice(first, first + _HISTORY_ROWS)
        last = first + _HISTORY_ROWS >= len(ids)
        messages.append(
            pack_history(
                context.session, first, now_ns, contract, traded.ticks.day, ids[part], times[part], values[part],
                last, hello.revision,
            )
        )  # fmt: skip
    return messages
