"""Follows a gateway's trading days: begins each, binds its contract, and rolls where that is another one.

The schedule is read here, market data is subscribed and strategies are told. What has to be closed first, and that
nothing opens before, is decided in `core.contract_roll`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date

from ghtrader_base.errors import GhtraderError
from ghtrader_market.reference.varieties import variety_of
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.execution import SymbolSpec
from ghtrader_runtime.gateway.action_executor import GatewayActions
from ghtrader_runtime.gateway.contract_binding import Binder, Binding, read_bound
from ghtrader_runtime.gateway.day_ticks import DayBook
from ghtrader_runtime.gateway.state_publisher import mid_of


class GatewayDays(GatewayActions):
    """The part of a gateway that follows the trading days."""

    binder: Binder

    def _connect_first(self) -> None:
        """Open the broker, and trade what the market's own day has: it is known only once connected."""
        first = self.binder.first()
        self.market = self.broker.open(first)
        self.binding = self.binder.on(self.market.trading_day, first)
        if self.binding.contract != first:
            self.market = self.broker.bind(self.binding.contract)

    def _left_before(self) -> list[str]:
        """Contracts an earlier process run may hold or work, other than the day's."""
        if not self.binder.continuous or self.options.monitor_only:
            return []
        held = read_bound(self.ref.state_dir, self.options.symbol)
        worked = [intent.symbol for intent in self.ledger.state.open.values()]
        series = self.variety.continuous_symbol
        mine = [symbol for symbol in (held, *worked) if symbol and variety_of(symbol).continuous_symbol == series]
        return [symbol for symbol in dict.fromkeys(mine) if symbol != self.binding.contract]

    def _specs(self) -> dict[str, SymbolSpec]:
        m, close_today = self.market, self.variety.needs_close_today
        specs = {m.symbol: SymbolSpec(m.symbol, m.price_tick, m.multiplier, close_today)}
        for left in self._left_before():
            tick = self.variety.price_tick(left, self.market.trading_day)
            specs[left] = SymbolSpec(left, tick, m.multiplier, close_today)
        return specs

    def _bind_core(self) -> None:
        """Tell a new core what the day has, and look for what an earlier process run left."""
        if not self.binder.continuous:
            return
        self._tell_binding()
        if self.binding.note:
            self.journal.write("events", "schedule-note", {"note": self.binding.note})
        for symbol in self.core.config.symbols:
            if symbol != self.binding.contract:
                self.journal.write("events", "roll", {
                    "before": symbol, "contract": self.binding.contract, "trading_day": str(self.binding.trading_day),
                    "schedule_hash": self.binding.schedule_hash, "at": "start",
                })  # fmt: skip
                try:
                    self.broker.watch(symbol)
                except GhtraderError as exc:  # if it is held, it cannot be closed here, and nothing opens
                    self.journal.write("events", "roll-no-data", {"contract": symbol, "reason": exc.message})

    def _tell_binding(self) -> None:
        contract, now_ns = self.binding.contract, time.monotonic_ns()
        tick = self.variety.price_tick(contract, self.binding.trading_day)
        self._step(ev.Bound(
            self.options.symbol, contract, now_ns, tick, self.variety.multiplier, self.variety.needs_close_today
        ))  # fmt: skip

    def _tell_terms(self, trading_day: str) -> None:
        self._terms_day = trading_day
        sessions = tuple(self.calendar.sessions(self.variety, date.fromisoformat(trading_day)))
        for symbol in list(self.core.config.symbols):
            lower, upper = self.broker.price_limits(symbol)
            ticks_by_itself = symbol == self.binding.contract and self.options.replay is None
            last_ns = self.daybook.last_ns if ticks_by_itself else 0
            self._step(ev.Terms(symbol, trading_day, sessions, time.monotonic_ns(), lower, upper, last_ns))

    def _goes_on(self) -> bool:
        """Whether the run lasts beyond the trading day at hand."""
        return self.options.days == 0 or len(self.days_traded) < self.options.days

    def _enter(self, market_ns: int) -> None:
        """A tick's moment: the first of a trading day begins that day."""
        if not self.day.covers(market_ns):
            if self.days_traded and not self._goes_on():
                self._stop = self._stop or "the trading day is over"
                return
            self.day.enter(market_ns)
        if self.day.name != self._terms_day:
            self._begin_day(date.fromisoformat(self.day.name))

    def _begin_day(self, day: date) -> None:
        """A new trading day, its night session first: what it trades is asked anew."""
        self.broker.enter_day()
        if not self.binder.continuous:
            self.binding = replace(self.binding, trading_day=day)
        else:
            self._bind_day(day)
        self._tell_terms(str(day))

    def _bind_day(self, day: date) -> None:
        try:
            found = self.binder.on(day, self.binding.contract)
        except GhtraderError as exc:
            self._trade_nothing(day, exc.message)
            return
        if found.note:
            self.journal.write("events", "schedule-note", {"note": found.note})
        if found.contract != self.binding.contract:
            self._roll(found)
        else:
            self.binding = found
            self._tell_binding()

    def _trade_nothing(self, day: date, reason: str) -> None:
        self.binding = replace(self.binding, trading_day=day, note=reason)
        self.journal.write("events", "unbound", {"trading_day": str(day), "reason": reason})
        self._step(ev.Bound(self.options.symbol, "", time.monotonic_ns(), reason=reason))
        self._publish_state("")

    def _roll(self, found: Binding) -> None:
        """Leave the expiring contract: the core first, so that nothing is sent in it while the new one is asked for."""
        before, self.binding = self.binding.contract, found
        self.rolls += 1
        self.journal.write("events", "roll", {
            "before": before, "contract": found.contract, "trading_day": str(found.trading_day),
            "schedule_hash": found.schedule_hash, "held": self.core.state.position(before).net, "at": "day",
        })  # fmt: skip
        self.daybook, self.last_target = DayBook(), None
        self.latency.abandon()
        self._tell_binding()
        try:
            self.market = self.broker.bind(found.contract)
        except GhtraderError as exc:
            self._trade_nothing(found.trading_day, f"no market data of {found.contract}: {exc.message}")
            return
        start, end = self.calendar.bounds(found.trading_day)
        for row in self.broker.history():
            if start <= row.datetime_ns < end:
                self.daybook.add(self.day.name, row.id, row.datetime_ns, row.values)
                self.marks[found.contract] = mid_of(row.values)
        self.bus.publish(
            msg.Rolled(
                session=self.session, revision=self.rolls, sent_ns=time.monotonic_ns(), before=before,
                symbol=found.contract, trading_day=str(found.trading_day),
            )
        )  # fmt: skip
        self._publish_state("")
