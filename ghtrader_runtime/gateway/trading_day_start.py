"""Begins trading days: which contract one has, and what changes when that is another one (a roll).

What has to be closed first, and that nothing opens before, is decided in `core/roll_execution.py`; here the schedule is
read, market data is subscribed and strategies are told.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date

from ghtrader_base.errors import BeyondCalendarError, GhtraderError
from ghtrader_market.reference.holding_limits import holding_warning, no_open_from
from ghtrader_market.reference.last_trading_day import last_trading_day
from ghtrader_market.reference.trading_calendar import lives_by_our_clock
from ghtrader_market.reference.varieties import variety_of
from ghtrader_runtime.brokers.base import Broker, Market
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.order_planning import SymbolSpec
from ghtrader_runtime.gateway.action_executor import ActionExecutor
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.contract_binding import Binding, ContractResolver, read_bound
from ghtrader_runtime.gateway.day_ticks import DayTicks
from ghtrader_runtime.gateway.traded_market import TradedMarket
from ghtrader_runtime.runlog.journal import Journal

log = logging.getLogger(__name__)


def connect(broker: Broker, binder: ContractResolver) -> tuple[Market, Binding]:
    """Open the broker, and subscribe what the market's own day has: it is known only once connected."""
    first = binder.first()
    market = broker.open(first)
    binding = binder.on(market.trading_day, first)
    if binding.contract != first:
        market = broker.bind(binding.contract)
    return market, binding


def note_cold_start(broker: Broker, traded: TradedMarket, journal: Journal) -> None:
    """After the broker's history: tell where the day so far is not known, so that factors begin cold."""
    traded.cold_note = broker.cold_note and f"{traded.binding.contract}: {broker.cold_note}"
    if traded.cold_note:
        log.warning(traded.cold_note)
        journal.write("events", "cold-start", {"note": traded.cold_note})


def symbol_specs(context: GatewayContext, traded: TradedMarket, binder: ContractResolver) -> dict[str, SymbolSpec]:
    """Price tick and lot of the contract at hand and of those that an earlier process of the account may hold."""
    market, variety = traded.market, context.variety
    close_today = variety.needs_close_today
    limit = _no_open_from(context, market.symbol, market.trading_day)
    specs = {market.symbol: SymbolSpec(market.symbol, market.price_tick, market.multiplier, close_today, limit)}
    for left in _left_before(context, traded, binder):
        tick = variety.price_tick(left, market.trading_day)
        limit = _no_open_from(context, left, market.trading_day)
        specs[left] = SymbolSpec(left, tick, market.multiplier, close_today, limit)
    return specs


def _no_open_from(context: GatewayContext, contract: str, day: date) -> str:
    """See `SymbolSpec`."""
    return no_open_from(context.variety, contract, day, context.calendar)


def _left_before(context: GatewayContext, traded: TradedMarket, binder: ContractResolver) -> list[str]:
    """Contracts an earlier process may hold or work, other than the day's."""
    if not binder.continuous or context.options.monitor_only:
        return []
    held = read_bound(context.ref.state_dir, context.options.symbol)
    worked = [intent.symbol for intent in context.ledger.state.open.values()]
    series = context.variety.continuous_symbol
    mine = [symbol for symbol in (held, *worked) if symbol and variety_of(symbol).continuous_symbol == series]
    return [symbol for symbol in dict.fromkeys(mine) if symbol != traded.binding.contract]


class TradingDay:
    """The trading days of a gateway's run.

    Parameters
    ----------
    context : GatewayContext
    traded : TradedMarket
        Kept up to date here.
    executor : ActionExecutor
    binder : ContractResolver
        Which contract a day has.
    publish : callable
        Tells the account's state on the bus at once.
    """

    def __init__(
        self, context: GatewayContext, traded: TradedMarket, executor: ActionExecutor, binder: ContractResolver,
        publish: Callable[[], None],
    ) -> None:  # fmt: skip
        self._context, self._traded, self._executor = context, traded, executor
        self._binder, self._publish = binder, publish
        self._terms_day = ""

    def begin_run(self) -> None:
        """Tell a new core what the day has, and look for what an earlier process left."""
        if self._binder.continuous:
            self._tell_binding()
            if self._traded.binding.note:
                self._context.journal.write("events", "schedule-note", {"note": self._traded.binding.note})
            for symbol in self._executor.core.config.symbols:
                if symbol != self._traded.binding.contract:
                    self._watch_left(symbol)
        self._tell_terms(self._traded.trading_day)
        self._warn_of_holding()

    def goes_on(self) -> bool:
        """Whether the run lasts beyond the trading day at hand."""
        days = self._context.options.days
        return days == 0 or len(self._traded.days_traded) < days

    def enter(self, market_ns: int) -> None:
        """A tick's moment, UTC epoch ns: the first of a trading day begins that day."""
        traded = self._traded
        if not traded.day.covers(market_ns):
            if traded.days_traded and not self.goes_on():
                self._context.end.request("the trading day is over")
                return
            try:
                traded.day.enter(market_ns)
            except BeyondCalendarError as exc:
                self.end_beyond_calendar(exc)
                return
        if traded.day.name != self._terms_day:
            self._begin_day(date.fromisoformat(traded.day.name))

    def end_beyond_calendar(self, exc: BeyondCalendarError) -> None:
        """End the run in order before a day for which the holiday list does not speak: nothing is traded on a guess."""
        self._context.end.request(f"{exc.message}; refresh it and start again")

    def end_when_over(self, now_s: float) -> None:
        """End the run where the day's ticks have ended; `now_s` of the monotonic clock."""
        options = self._context.options
        if options.replay is None and self._context.sessions.ready:
            self._context.end.request(self._traded.day.over(now_s, options.idle_end_s, self.goes_on()))

    def _watch_left(self, symbol: str) -> None:
        binding = self._traded.binding
        self._context.journal.write("events", "roll", {
            "before": symbol, "contract": binding.contract, "trading_day": str(binding.trading_day),
            "schedule_hash": binding.schedule_hash, "at": "start",
        })  # fmt: skip
        try:
            self._context.broker.watch(symbol)
        except GhtraderError as exc:  # if it is held, it cannot be closed here, and nothing opens
            self._context.journal.write("events", "roll-no-data", {"contract": symbol, "reason": exc.message})

    def _tell_binding(self) -> None:
        binding, variety = self._traded.binding, self._context.variety
        now_ns = time.monotonic_ns()
        tick = variety.price_tick(binding.contract, binding.trading_day)
        self._executor.step(
            ev.Bound(
                requested=self._context.options.symbol,
                symbol=binding.contract,
                now_ns=now_ns,
                price_tick=tick,
                multiplier=variety.multiplier,
                needs_close_today=variety.needs_close_today,
                no_open_from=_no_open_from(self._context, binding.contract, binding.trading_day),
            )
        )

    def _tell_terms(self, trading_day: str) -> None:
        self._terms_day = trading_day
        context, traded = self._context, self._traded
        day = date.fromisoformat(trading_day)
        sessions = tuple(context.calendar.sessions(context.variety, day))
        for symbol in list(self._executor.core.config.symbols):
            lower, upper = traded.limits[symbol] = context.broker.price_limits(symbol)
            ticks_by_itself = symbol == traded.binding.contract and context.options.replay is None
            next_sessions = self._next_sessions(symbol, day) if ticks_by_itself else ()
            self._executor.step(
                ev.Terms(
                    symbol=symbol,
                    trading_day=trading_day,
                    sessions=sessions,
                    now_ns=time.monotonic_ns(),
                    lower=lower,
                    upper=upper,
                    market_ns=self._market_time() if ticks_by_itself else 0,
                    next_sessions=next_sessions,
                )
            )

    def _market_time(self) -> int:
        """The market's time now, UTC epoch ns; where it goes by a clock of its own, that of its last tick, 0 before."""
        last_ns, now_ns = self._traded.ticks.last_ns, time.time_ns()
        if last_ns and lives_by_our_clock(self._context.calendar, last_ns, now_ns):
            return max(last_ns, now_ns)
        return last_ns

    def _next_sessions(self, symbol: str, day: date) -> tuple[tuple[int, int], ...]:
        """See `ev.Terms`."""
        calendar, variety = self._context.calendar, self._context.variety
        try:
            if last_trading_day(variety, symbol, day, calendar) == day:
                return ()
            return tuple(calendar.sessions(variety, calendar.next_day(day)))
        except BeyondCalendarError:
            return ()

    def _begin_day(self, day: date) -> None:
        """A new trading day, its night session first: what it trades is asked anew."""
        self._context.broker.enter_day()
        if not self._binder.continuous:
            self._traded.binding = replace(self._traded.binding, trading_day=day)
        else:
            self._bind_day(day)
        self._tell_terms(str(day))
        self._warn_of_holding()

    def _warn_of_holding(self) -> None:
        """Tell, once a trading day, that the last day a natural person may hold the contract is near or there."""
        context, traded = self._context, self._traded
        note = holding_warning(context.variety, traded.binding.contract, traded.date, context.calendar)
        if note and note != traded.holding_note:
            log.warning(note)
            context.journal.write("events", "holding-note", {"note": note})
        traded.holding_note = note

    def _bind_day(self, day: date) -> None:
        traded = self._traded
        try:
            found = self._binder.on(day, traded.binding.contract)
        except GhtraderError as exc:
            self._trade_nothing(day, exc.message)
            return
        if found.note:
            self._context.journal.write("events", "schedule-note", {"note": found.note})
        if found.contract != traded.binding.contract:
            self._roll(found)
        else:
            traded.binding = found
            self._tell_binding()

    def _trade_nothing(self, day: date, reason: str) -> None:
        self._traded.binding = replace(self._traded.binding, trading_day=day, note=reason)
        self._context.journal.write("events", "unbound", {"trading_day": str(day), "reason": reason})
        self._executor.step(
            ev.Bound(requested=self._context.options.symbol, symbol="", now_ns=time.monotonic_ns(), reason=reason)
        )
        self._publish()

    def _roll(self, found: Binding) -> None:
        """Leave the contract at hand: the core first, so that nothing is sent in it while the new one is subscribed."""
        context, traded = self._context, self._traded
        before, traded.binding = traded.binding.contract, found
        traded.rolls += 1
        log.info("roll: %s -> %s on %s", before, found.contract, found.trading_day)
        context.journal.write("events", "roll", {
            "before": before, "contract": found.contract, "trading_day": str(found.trading_day),
            "schedule_hash": found.schedule_hash, "held": self._executor.core.state.position(before).net, "at": "day",
        })  # fmt: skip
        traded.ticks, context.sessions.last_target = DayTicks(), None
        context.latency.abandon()
        self._tell_binding()
        try:
            traded.market = context.broker.bind(found.contract)
        except GhtraderError as exc:
            self._trade_nothing(found.trading_day, f"no market data of {found.contract}: {exc.message}")
            return
        start, end = context.calendar.bounds(found.trading_day)
        for row in context.broker.history():
            if start <= row.datetime_ns < end:
                traded.keep(row)
                traded.mark(found.contract, row.values)
        note_cold_start(context.broker, traded, context.journal)
        context.bus.publish(
            msg.Rolled(
                session=context.session, revision=traded.rolls, sent_ns=time.monotonic_ns(), before=before,
                symbol=found.contract, trading_day=str(found.trading_day),
            )
        )  # fmt: skip
        self._publish()
