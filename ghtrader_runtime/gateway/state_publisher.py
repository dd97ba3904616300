"""Tells the account's state: on the bus, and in a file for supervisor, `status` and views.

The state that a strategy joins with is `welcome.py`, the numbers of a whole run are `run_summary.py`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping

from ghtrader_runtime.bus.link_state import HEARTBEAT_S
from ghtrader_runtime.bus.messages import AccountState, OrderLine
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.orders import Order
from ghtrader_runtime.gateway.action_executor import ActionExecutor
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.traded_market import TradedMarket
from ghtrader_runtime.runlog.gateway_state import GATEWAY_STATE, GatewayState

_SOONEST_NS = 50_000_000


class StatePublisher:
    """Publishes the account's state every heartbeat, and at once where something changed.

    Parameters
    ----------
    context : GatewayContext
    traded : TradedMarket
    executor : ActionExecutor
        Whose core, fills and switch are told.

    Attributes
    ----------
    last : AccountState or None
        What was published last.
    metrics_url : str
        Where Prometheus finds this gateway.
    """

    def __init__(self, context: GatewayContext, traded: TradedMarket, executor: ActionExecutor) -> None:
        self._context, self._traded, self._executor = context, traded, executor
        self.metrics_url = ""
        self.last: AccountState | None = None
        self._revision = 0
        self._published_ns = 0
        self._due_ns = 0

    def publish(self, ended: str = "") -> None:
        """Tell the state now; `ended` says why the run is over."""
        context = self._context
        self._published_ns = time.monotonic_ns()
        self._due_ns = self._published_ns + int(HEARTBEAT_S * 1e9)
        self._revision += 1
        if not context.broker.lockstep and context.connection.connected:
            self._executor.step(ev.Equity(context.broker.balance(), time.monotonic_ns()))
        self._executor.durable.attempt(context.ledger.sync)
        self._executor.decisions.flush()
        state = self.last = self._account_state(ended)
        context.bus.publish(state)
        self.write_file(ended)
        if state.revision % 10 == 1 or ended:
            context.journal.write("account", "state", {
                "trading_state": state.trading_state, "positions": state.positions, "balance": state.balance,
                "working": state.working, "tick_revision": state.tick_revision,
            })  # fmt: skip

    def publish_soon(self) -> None:
        """At once, or a moment after the last time: links that come and go by the thousand flood nobody."""
        due = self._published_ns + _SOONEST_NS
        if time.monotonic_ns() >= due:
            self.publish()
        else:
            self._due_ns = min(self._due_ns, due)

    def publish_if_due(self, now_ns: int) -> None:
        """The heartbeat."""
        if now_ns >= self._due_ns:
            self.publish()

    def write_file(self, ended: str = "") -> None:
        """Replace gateway.json: which gateway this is and how it stands. Off the hot path."""
        context, traded, state, last = self._context, self._traded, self._executor.core.state, self.last
        rules = context.broker.broker_side_rules
        told = GatewayState(
            session=context.session, pid=os.getpid(), account=context.ref.name, broker=context.ref.broker,
            mode=context.options.mode, symbol=traded.binding.contract, requested=context.options.symbol,
            trading_day=traded.day.name, schedule_hash=traded.binding.schedule_hash,
            schedule_note=traded.binding.note, holding_note=traded.holding_note,
            cold_note=traded.cold_note,
            state_dir=str(context.ref.state_dir),
            revision=state.revision, ready=tuple(context.sessions.ready.values()),
            killed=self._executor.killed, trading_state=str(state.trading_state),
            reasons=tuple(reason for _, reason in state.blocks.values()),
            links=dict(last.links) if last else context.sessions.states(), metrics=self.metrics_url,
            tqsdk_rules=rules if isinstance(rules, str) else tuple(rules),
            positions=dict(last.positions) if last else {}, net_pnl=last.net_pnl if last else 0.0,
            data_age_s=last.data_age_s if last else None, ended=ended, written_ns=time.time_ns(),
        )  # fmt: skip
        context.journal.replace(context.run_dir / GATEWAY_STATE, told.to_json())

    def _account_state(self, ended: str) -> AccountState:
        context, traded, executor = self._context, self._traded, self._executor
        state, sessions = executor.core.state, context.sessions
        target = sessions.last_target
        working = [order for order in state.orders.values() if order.live and not order.closed]
        begun = "" < state.marks.trading_day <= state.trading_day
        opening, peak = (state.marks.opening, state.marks.peak) if begun else (math.nan, math.nan)
        return AccountState(
            session=context.session, revision=self._revision, sent_ns=time.monotonic_ns(), account=context.ref.name,
            mode=context.options.mode, run_id=context.options.run_id, trading_state=state.trading_state,
            reasons=[reason for _, reason in state.blocks.values()], killed=executor.killed,
            link="down" if BlockReason.BROKER in state.blocks else "up", trading_day=traded.day.name,
            positions={symbol: position.net for symbol, position in state.positions.items()},
            working=len(working),
            targets={symbol: wanted.volume for symbol, wanted in state.targets.items()},
            balance=context.broker.balance(), tick_revision=traded.tick_revision, ready=list(sessions.ready),
            ended=ended, links={**sessions.states(), **_broker_links(state.blocks)},
            orders=[_line(order) for order in working[:20]],
            net_pnl=executor.totals.net(traded.marks), fees=executor.totals.fees, opening=opening, peak=peak,
            data_age_s=time.monotonic() - traded.tick_s,
            counts={**context.counts.plain(), "fills": len(executor.fills)},
            stages={name: histogram.plain() for name, histogram in context.latency.stages.items()},
            probabilities=list(target.probabilities) if target else [], reason=target.reason if target else "",
            requested=context.options.symbol, contract=traded.binding.contract,
        )  # fmt: skip


def _broker_links(blocks: Mapping[BlockReason, object]) -> dict[str, str]:
    """States of the gateway's own links, by what stands against trading."""
    data = "DOWN" if BlockReason.DATA_LINK in blocks else "STALE" if BlockReason.DATA in blocks else "LIVE"
    return {"broker": "DOWN" if BlockReason.BROKER in blocks else "LIVE", "data": data}


def _line(order: Order) -> OrderLine:
    return OrderLine(
        order_id=order.order_id,
        symbol=order.symbol,
        side=order.side,
        offset=order.offset,
        volume=order.volume,
        left=order.left,
        price=order.price,
        status=order.status,
    )
