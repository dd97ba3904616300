"""Shows the market at the clock's present time: instruments, main contracts, series, quotes, contract terms.

The one place where the tape, which reaches into the future, meets the clock: everything a client can ask for passes
through here. Who asks, and how it is written, is decided in `sessions`.
"""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np

from ghtrader_exchange.faults.data_faults import DataFaults, damage
from ghtrader_exchange.protocol.chart_series import (
    DAY_NS,
    L1_COLUMNS,
    BarSeries,
    ChunkCache,
    DailySeries,
    DayTicks,
    Segment,
    TickSeries,
)
from ghtrader_exchange.protocol.encoding import MISSING, beijing_text, number
from ghtrader_exchange.protocol.instrument_query import describe_contract, describe_main
from ghtrader_exchange.venue.clock import VirtualClock
from ghtrader_exchange.world.contract_terms import ContractTerms
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.reference.varieties import Variety, get_variety, variety_of

Series = TickSeries | BarSeries | DailySeries
PRICE_LIMIT_RATIO = 0.08
"""Daily price limits around the previous settlement; simulated, the exchanges set and change their own."""


class MarketView:
    """The market of one history at the time of one clock.

    Parameters
    ----------
    history : History
    speed, frozen, skip_closed
        Of the clock, which begins at the first live day's open.
    """

    def __init__(self, history: History, speed: float = 1.0, frozen: bool = True, skip_closed: bool = True) -> None:
        self.history = history
        self.calendar = history.calendar
        self.varieties: tuple[Variety, ...] = tuple(get_variety(key) for key in history.scenario.varieties)
        self.days: tuple[date, ...] = (*history.days, *history.live_days)
        hours = sorted({b for v in self.varieties for day in self.days for b in self.calendar.sessions(v, day)})
        start = min(self.calendar.sessions(v, history.live_day)[0][0] for v in self.varieties)
        self.clock = VirtualClock(start, speed, frozen, _united(hours), skip_closed)
        self._cache = ChunkCache()
        self._series: dict[tuple[str, int], Series | None] = {}
        self._quotes: dict[str, tuple[tuple[int, date, bool], dict[str, Any]]] = {}
        self._terms: dict[tuple[str, date], ContractTerms] = {}
        self.data_faults = DataFaults()
        self._damaged: dict[tuple[str, tuple[tuple[date, str], ...]], TickSeries] = {}
        self._described: tuple[date | None, list[dict[str, Any]]] = (None, [])

    # ---- time
    def now(self) -> int:
        """Market time, UTC epoch ns."""
        return self.clock.now()

    def today(self) -> date:
        """The trading day now."""
        return self.calendar.trading_day_of(self.now())

    def moment(self) -> tuple[int, date]:
        """Now and its trading day, of one look at the clock."""
        now = self.now()
        return now, self.calendar.trading_day_of(now)

    def day_end(self, day: date) -> int:
        """When a trading day ends: 18:00, UTC epoch ns."""
        return self.calendar.bounds(day)[1]

    def is_open(self, symbol: str, at_ns: int) -> bool:
        """Whether a contract trades at a moment."""
        sessions = self.calendar.sessions(variety_of(symbol), self.calendar.trading_day_of(at_ns))
        return any(start <= at_ns < end for start, end in sessions)

    def close_of(self, symbol: str, day: date) -> int:
        """End of the last session of a trading day."""
        return self.calendar.sessions(variety_of(symbol), day)[-1][1]

    # ---- contracts
    def trades_on(self, symbol: str, day: date) -> bool:
        """Whether a contract is listed here and has a tape on `day`."""
        series = self.series(symbol, 0) if symbol in self.history.instruments else None
        return isinstance(series, TickSeries) and series.segment_on(day) is not None

    def has_ended(self, symbol: str, day: date) -> bool:
        """Whether a contract has expired before `day`."""
        return day > self.history.instruments[symbol].expires

    def main_contracts(self, variety: str) -> list[tuple[date, str]]:
        """Main contract of each trading day up to today."""
        today = self.today()
        return [(day, contract) for day, contract in self.history.continuous(variety) if day <= today]

    def terms(self, symbol: str, day: date) -> ContractTerms:
        """What a contract's orders and positions are reckoned by on `day`."""
        key = symbol, day
        if key not in self._terms:
            variety = variety_of(symbol)
            tick = variety.price_tick(symbol, day)
            before = self._reference(symbol, day)
            self._terms[key] = ContractTerms(
                symbol=symbol,
                multiplier=variety.multiplier,
                price_tick=tick,
                fees=variety.fees(symbol, day),
                margin_ratio=variety.margin_ratio(symbol, day),
                needs_close_today=variety.needs_close_today,
                pre_settlement=before,
                upper_limit=round(math.floor(before * (1 + PRICE_LIMIT_RATIO) / tick + 1e-9) * tick, 6),
                lower_limit=round(math.ceil(before * (1 - PRICE_LIMIT_RATIO) / tick - 1e-9) * tick, 6),
            )
        return self._terms[key]

    def settlement(self, symbol: str, day: date) -> float:
        """Settlement of a day that is over; where the contract did not trade, the one before."""
        if not self.trades_on(symbol, day):
            return self.terms(symbol, day).pre_settlement
        return self.history.daily_bar(symbol, day).settlement

    def _reference(self, symbol: str, day: date) -> float:
        """The settlement before `day`; on a contract's first day here the price its series starts from."""
        series = self.series(symbol, 0)
        assert isinstance(series, TickSeries)
        earlier = [segment for segment in series.segments if segment.day < day]
        if earlier:
            return self.settlement(symbol, earlier[-1].day)
        instrument = self.history.instruments[symbol]
        return round(instrument.base_ticks * instrument.price_tick, instrument.decimals)

    # ---- tape
    def day_ticks(self, symbol: str, day: date) -> DayTicks | None:
        """A contract's whole tape of `day`, the future included: for matching alone."""
        series = self.series(symbol, 0)
        segment = series.segment_on(day) if isinstance(series, TickSeries) else None
        return self.history.day(symbol, day) if segment else None

    def series(self, symbol: str, duration_ns: int) -> Series | None:
        """Ticks (duration 0) or bars of a symbol; None where there is no such series."""
        key = symbol, duration_ns
        if key not in self._series:
            self._series[key] = self._make_series(symbol, duration_ns)
        return self._series[key]

    def _make_series(self, symbol: str, duration_ns: int) -> Series | None:
        if duration_ns:
            ticks = self.series(symbol, 0)
            if not isinstance(ticks, TickSeries) or duration_ns < 0 or duration_ns > DAY_NS:
                return None
            return DailySeries(ticks, self._whole_day) if duration_ns == DAY_NS else BarSeries(ticks, duration_ns)
        if symbol in self.history.instruments:
            days = [(day, symbol) for day in self.history.contract_days(symbol)]
            return self._tick_series(symbol, days, VALUE_COLUMNS)
        for variety in self.varieties:
            if symbol == variety.continuous_symbol:
                return self._tick_series(symbol, self.history.continuous(variety.key), L1_COLUMNS)
        return None

    def chart_series(self, symbol: str, duration_ns: int) -> Series | None:
        """The series as charts are served it: with the damage in force to its days."""
        series, faults = self.series(symbol, duration_ns), self.data_faults.days_of(symbol)
        if not faults or not isinstance(series, TickSeries):
            return series
        key = symbol, tuple(sorted(faults.items()))
        if key not in self._damaged:
            whole = {segment.day: series.ticks(segment) for segment in series.segments if segment.day in faults}
            served = {day: damage(faults[day], ticks.datetime_ns, ticks.values) for day, ticks in whole.items()}

            def load(contract: str, day: date) -> DayTicks:
                return served[day] if day in served else self.history.day(contract, day)

            days = [(segment.day, segment.contract) for segment in series.segments]
            counts = {day: len(ticks.datetime_ns) for day, ticks in served.items()}
            segments = self._segments(days, counts)
            self._damaged[key] = TickSeries(symbol, segments, load, series.columns, ChunkCache())
        return self._damaged[key]

    def _whole_day(self, segment: Segment) -> dict[str, float]:
        """The bar of a whole day."""
        bar = self.history.daily_bar(segment.contract, segment.day)
        opening = self.history.day(segment.contract, segment.day).values["open_interest"][0].item()
        interest = {"open_oi": opening, "close_oi": bar.open_interest}
        return {name: getattr(bar, name) for name in ("open", "high", "low", "close", "volume")} | interest

    def _tick_series(self, symbol: str, days: list[tuple[date, str]], columns: tuple[str, ...]) -> TickSeries:
        return TickSeries(symbol, self._segments(days, {}), self.history.day, tuple(columns), self._cache)

    def _segments(self, days: list[tuple[date, str]], counts: dict[date, int]) -> list[Segment]:
        """Days one after the other, numbered; `counts` where a day has another count than the tape."""
        segments, first_id = [], 0
        for day, contract in days:
            if count := counts.get(day, self.history.count(contract, day)):
                segments.append(Segment(day, contract, first_id, count))
                first_id += count
        return segments

    # ---- what is shown
    def last_price(self, symbol: str) -> float:
        """Last price now; the previous settlement before the first trade."""
        now, today = self.moment()
        series = self.series(symbol, 0)
        assert isinstance(series, TickSeries)
        last = series.last_id(now, today)
        if last >= 0:
            segment, row = series.locate(last)
            price = float(series.ticks(segment).values["last_price"][row])
            if price == price:
                return price
        return self.terms(symbol, today).pre_settlement

    def quote(self, symbol: str) -> dict[str, Any] | None:
        """The whole quote of a symbol, the same object until something of it changes; None for an unknown one."""
        series = self.series(symbol, 0)
        if not isinstance(series, TickSeries) or not series.segments:
            return None
        now, today = self.moment()
        day = min(today, self.days[-1])
        contract = self._contract_of(symbol, series, day)
        last = series.last_id(now, today)
        closed = now >= self.close_of(contract, day)
        state = last, day, closed
        known = self._quotes.get(symbol)
        if known is None or known[0] != state:
            known = self._quotes[symbol] = state, self._make_quote(series, contract, last, day, closed, now)
        return known[1]

    def _contract_of(self, symbol: str, series: TickSeries, day: date) -> str:
        segment = series.segment_on(day)
        if segment is not None:
            return segment.contract
        earlier = [segment for segment in series.segments if segment.day <= day]
        return (earlier[-1] if earlier else series.segments[0]).contract

    def _make_quote(
        self, series: TickSeries, contract: str, last: int, day: date, closed: bool, now: int
    ) -> dict[str, Any]:
        terms = self.terms(contract, day)
        close, interest = self._yesterday(series, day)
        quote: dict[str, Any] = {
            "datetime": beijing_text(now),
            "open": MISSING,
            "close": MISSING,
            "settlement": MISSING,
            "pre_settlement": terms.pre_settlement,
            "pre_close": close or terms.pre_settlement,
            "pre_open_interest": interest,
            "upper_limit": terms.upper_limit,
            "lower_limit": terms.lower_limit,
        }
        if last < 0:
            return quote
        segment, row = series.locate(last)
        ticks = series.ticks(segment)
        quote["datetime"] = beijing_text(int(ticks.datetime_ns[row]))
        for name in series.columns:
            quote[name] = number(ticks.values[name][row].item())
        if segment.day == day:
            prices = ticks.values["last_price"][: row + 1]
            first = np.flatnonzero(np.isfinite(prices))
            quote["open"] = float(prices[first[0]]) if len(first) else MISSING
            if closed:
                quote["close"] = quote["last_price"]
                quote["settlement"] = self.settlement(contract, day)
        return quote

    def _yesterday(self, series: TickSeries, day: date) -> tuple[float, int]:
        """Last price and open interest of the series' day before `day`; zeros where there is none."""
        before = [segment for segment in series.segments if segment.day < day]
        if not before:
            return 0.0, 0
        values = series.ticks(before[-1]).values
        return float(np.nan_to_num(values["last_price"][-1])), int(values["open_interest"][-1])

    def instruments(self, at_ns: int | None = None) -> list[dict[str, Any]]:
        """Every instrument as DIFF describes it, at the clock's now or at an earlier time (backtests ask so)."""
        now = self.now()
        moment = now if at_ns is None else min(int(at_ns), now)
        day = min(max(self.calendar.trading_day_of(moment), self.days[0]), self.days[-1])
        if self._described[0] == day:
            return self._described[1]
        listed: dict[str, dict[str, Any]] = {}
        for symbol, instrument in self.history.instruments.items():
            series = self.series(symbol, 0)
            assert isinstance(series, TickSeries)
            days = [segment.day for segment in series.segments if segment.day <= day]
            if days:  # an expired contract is described as on its last day
                terms, (close, interest) = self.terms(symbol, days[-1]), self._yesterday(series, days[-1])
                listed[symbol] = describe_contract(
                    variety_of(symbol), symbol, instrument.expires, terms, day, close or terms.pre_settlement, interest
                )
        found = list(listed.values())
        for variety in self.varieties:
            main = self.history.main_contract(variety.key, day)
            if main in listed:
                found.append(describe_main(variety, listed[main]))
        self._described = day, found
        return found


def _united(hours: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping bounds of several varieties made one."""
    united: list[tuple[int, int]] = []
    for start, end in hours:
        if united and start <= united[-1][1]:
            united[-1] = united[-1][0], max(end, united[-1][1])
        else:
            united.append((start, end))
    return united
