"""Passes the broker's ticks on: to strategies over the bus, to the trading core, into the day's ticks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ghtrader_base.errors import BeyondCalendarError
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_runtime.accounts.order_ledger import Intent
from ghtrader_runtime.brokers.base import Ticks
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.gateway.action_executor import ActionExecutor
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.traded_market import TradedMarket
from ghtrader_runtime.gateway.trading_day_start import TradingDay

_ANSWER_S = 0.002
_BID, _ASK = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"]


class TickRelay:
    """Ticks of the contract that is traded, and of those that are being left.

    Parameters
    ----------
    context : GatewayContext
    traded : TradedMarket
        Kept up to date here.
    executor : ActionExecutor
    trading_day : TradingDay
        Told of every tick's moment first.
    answer_requests : callable
        Deals with the requests that wait on the bus.
    """

    def __init__(
        self, context: GatewayContext, traded: TradedMarket, executor: ActionExecutor, trading_day: TradingDay,
        answer_requests: Callable[[], None],
    ) -> None:  # fmt: skip
        self._context, self._traded, self._executor = context, traded, executor
        self._trading_day, self._answer_requests = trading_day, answer_requests
        self._predicted_for: tuple[Any, ...] = ()
        self._predicted: Sequence[Intent] = ()

    def on_ticks(self, ticks: Ticks, reports: list[Any]) -> None:
        """Ticks of the contract that is traded; where a day's first one brings a roll, it is not that any more.

        `reports` are those that a recorded tick brought, which are dealt with before the strategy's answer to it
        whenever that comes: a day played twice is the same twice.
        """
        rows = ticks.rows
        while rows:
            self._trading_day.enter(rows[0].datetime_ns)
            if self._context.end.reason:
                return
            count = sum(self._traded.day.covers(row.datetime_ns) for row in rows) if len(rows) > 1 else 1
            part, rows = Ticks(ticks.symbol, rows[:count], ticks.now_ns), rows[count:]
            if ticks.symbol == self._traded.binding.contract:
                self._relay(part, reports)
            else:
                self.on_expiring(part)

    def on_expiring(self, ticks: Ticks) -> None:
        """The last tick of a contract that is being left: what it can be closed at."""
        row = ticks.rows[-1]
        try:
            day = str(self._context.calendar.trading_day_of(row.datetime_ns))
        except BeyondCalendarError as exc:
            self._trading_day.end_beyond_calendar(exc)
            return
        bid, ask = float(row.values[_BID]), float(row.values[_ASK])
        self._traded.mark(ticks.symbol, row.values)
        self._executor.step(
            ev.Book(
                symbol=ticks.symbol,
                trading_day=day,
                market_ns=row.datetime_ns,
                tick_id=row.id,
                bid=bid,
                ask=ask,
                now_ns=ticks.now_ns,
            )
        )

    def _relay(self, ticks: Ticks, reports: list[Any]) -> None:
        context, traded, executor = self._context, self._traded, self._executor
        symbol, ready, day = ticks.symbol, bool(context.sessions.ready), traded.day.name
        for row in ticks.rows:
            traded.tick_revision += 1
            context.bus.publish(
                msg.Tick(
                    session=context.session, revision=traded.tick_revision, sent_ns=ticks.now_ns, symbol=symbol,
                    trading_day=day, datetime_ns=row.datetime_ns, id=row.id, values=row.values.tobytes(),
                )
            )  # fmt: skip
            if ready:
                traded.days_traded.add(day)
                context.counts.ticks += 1
                context.latency.tick(row.id, ticks.now_ns)
            traded.keep(row)
        for row in ticks.rows:
            bid, ask = float(row.values[_BID]), float(row.values[_ASK])
            executor.step(
                ev.Book(
                    symbol=symbol,
                    trading_day=day,
                    market_ns=row.datetime_ns,
                    tick_id=row.id,
                    bid=bid,
                    ask=ask,
                    now_ns=ticks.now_ns,
                )
            )
        if context.broker.lockstep:  # with every tick, so that a replay is the same twice
            executor.step(ev.Equity(context.broker.balance(), ticks.now_ns))
            executor.on_reports(reports)
        elif ready and context.latency.undecided:
            self._predict(symbol, bid, ask, now=True)
        self._await_answers(ready)
        self._predict(symbol, bid, ask, now=False)
        last = ticks.rows[-1]
        traded.day.saw(last.datetime_ns, time.monotonic())
        for row in ticks.rows:
            traded.mark(symbol, row.values)
        traded.tick_s = time.monotonic()

    def _predict(self, symbol: str, bid: float, ask: float, now: bool) -> None:
        """Make durable what the strategy's next target may well bring, before it comes: at leisure after a tick, and
        `now`, while the strategy thinks, where the next one has moved the prices."""
        context, executor = self._context, self._executor
        if context.options.monitor_only or context.broker.lockstep:
            return
        target, state = context.sessions.last_target, executor.core.state
        near = target.near if target is not None and target.symbol == symbol else ()
        if now and not near:
            return
        working = bool(state.live.get(symbol))
        seen = symbol, bid, ask, near, state.next_number, state.positions.get(symbol), working
        if seen != self._predicted_for:
            self._predicted_for = seen
            self._predicted = executor.core.likely(symbol, near)
            executor.durable.attempt(partial(context.ledger.prepare, self._predicted))
        if now and self._predicted:
            context.ledger.rehearse(self._predicted[0])
            context.kill.read()

    def _await_answers(self, ready: bool) -> None:
        """Give the strategy a moment: its answer usually comes before the broker's own loop would be back to listen."""
        context = self._context
        deadline = time.monotonic() + _ANSWER_S
        while ready and context.latency.undecided and (left := deadline - time.monotonic()) > 0:
            context.bus.wait(left)
            self._answer_requests()
