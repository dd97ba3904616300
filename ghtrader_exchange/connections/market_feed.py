"""Writes the market at the clock's present time as DIFF has it: quotes, chart series, instruments.

Market facts come from `venue.market_view`; which client is told what is decided in `connections.market_data`.
"""

from __future__ import annotations

from datetime import date

import numpy as np

from ghtrader_exchange.faults.data_faults import DataFaults, damage
from ghtrader_exchange.faults.fault_kinds import FaultKind
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
from ghtrader_exchange.protocol.encoding import MISSING, Quote, beijing_text, number
from ghtrader_exchange.protocol.instrument_query import ContractInfo, InstrumentInfo, describe_contract, describe_main
from ghtrader_exchange.venue.market_view import MarketView
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.reference.varieties import variety_of

Series = TickSeries | BarSeries | DailySeries


class MarketFeed:
    """What every market-data client of one exchange can be sent.

    Parameters
    ----------
    market : MarketView
        The market and its clock.
    faults : DataFaults
        Damage to the days that charts are served; quotes stay true.
    """

    def __init__(self, market: MarketView, faults: DataFaults) -> None:
        self.market = market
        self.faults = faults
        self._cache = ChunkCache()
        self._series: dict[tuple[str, int], Series | None] = {}
        self._quotes: dict[str, tuple[tuple[int, date, bool], Quote]] = {}
        self._damaged: dict[tuple[str, tuple[tuple[date, FaultKind], ...]], TickSeries] = {}
        self._described: tuple[date | None, list[InstrumentInfo]] = (None, [])

    # ---- series
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
        if symbol in self.market.history.instruments:
            days = [(day, symbol) for day in self.market.history.contract_days(symbol)]
            return self._tick_series(symbol, days, VALUE_COLUMNS)
        for variety in self.market.varieties:
            if symbol == variety.continuous_symbol:
                return self._tick_series(symbol, self.market.history.continuous(variety.key), L1_COLUMNS)
        return None

    def chart_series(self, symbol: str, duration_ns: int) -> Series | None:
        """The series as charts are served it: with the damage in force to its days."""
        series, faults = self.series(symbol, duration_ns), self.faults.days_of(symbol)
        if not faults or not isinstance(series, TickSeries):
            return series
        key = symbol, tuple(sorted(faults.items()))
        if key not in self._damaged:
            whole = {segment.day: series.ticks(segment) for segment in series.segments if segment.day in faults}
            served = {day: damage(faults[day], ticks.datetime_ns, ticks.values) for day, ticks in whole.items()}

            def load(contract: str, day: date) -> DayTicks:
                return served[day] if day in served else self.market.history.day(contract, day)

            days = [(segment.day, segment.contract) for segment in series.segments]
            counts = {day: len(ticks.datetime_ns) for day, ticks in served.items()}
            segments = self._segments(days, counts)
            self._damaged[key] = TickSeries(symbol, segments, load, series.columns, ChunkCache())
        return self._damaged[key]

    def _whole_day(self, segment: Segment) -> dict[str, float]:
        """The bar of a whole day."""
        bar = self.market.history.daily_bar(segment.contract, segment.day)
        opening = self.market.history.day(segment.contract, segment.day).values["open_interest"][0].item()
        interest = {"open_oi": opening, "close_oi": bar.open_interest}
        return {name: getattr(bar, name) for name in ("open", "high", "low", "close", "volume")} | interest

    def _tick_series(self, symbol: str, days: list[tuple[date, str]], columns: tuple[str, ...]) -> TickSeries:
        return TickSeries(symbol, self._segments(days, {}), self.market.history.day, tuple(columns), self._cache)

    def _segments(self, days: list[tuple[date, str]], counts: dict[date, int]) -> list[Segment]:
        """Days one after the other, numbered; `counts` where a day has another count than the tape."""
        segments, first_id = [], 0
        for day, contract in days:
            if count := counts.get(day, self.market.history.count(contract, day)):
                segments.append(Segment(day, contract, first_id, count))
                first_id += count
        return segments

    # ---- quotes and instruments
    def quote(self, symbol: str) -> Quote | None:
        """The whole quote of a symbol, the same object until something of it changes; None for an unknown one."""
        series = self.series(symbol, 0)
        if not isinstance(series, TickSeries) or not series.segments:
            return None
        now, today = self.market.moment()
        day = min(today, self.market.days[-1])
        contract = self._contract_of(symbol, series, day)
        last = series.last_id(now, today)
        closed = now >= self.market.close_of(contract, day)
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
    ) -> Quote:
        terms = self.market.terms(contract, day)
        close, interest = self._yesterday(series, day)
        quote: Quote = {
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
                quote["settlement"] = self.market.settlement(contract, day)
        return quote

    def _yesterday(self, series: TickSeries, day: date) -> tuple[float, int]:
        """Last price and open interest of the series' day before `day`; zeros where there is none."""
        before = [segment for segment in series.segments if segment.day < day]
        if not before:
            return 0.0, 0
        values = series.ticks(before[-1]).values
        return float(np.nan_to_num(values["last_price"][-1])), int(values["open_interest"][-1])

    def instruments(self, at_ns: int | None = None) -> list[InstrumentInfo]:
        """Every instrument as DIFF describes it, at the clock's now or at an earlier time (backtests ask so)."""
        now = self.market.now()
        moment = now if at_ns is None else min(at_ns, now)
        day = min(max(self.market.calendar.trading_day_of(moment), self.market.days[0]), self.market.days[-1])
        if self._described[0] == day:
            return self._described[1]
        listed: dict[str, ContractInfo] = {}
        for symbol, instrument in self.market.history.instruments.items():
            series = self.series(symbol, 0)
            assert isinstance(series, TickSeries)
            days = [segment.day for segment in series.segments if segment.day <= day]
            if days:  # an expired contract is described as on its last day
                terms, (close, interest) = self.market.terms(symbol, days[-1]), self._yesterday(series, days[-1])
                listed[symbol] = describe_contract(
                    variety_of(symbol), symbol, instrument.expires, terms, day, close or terms.pre_settlement, interest
                )
        found: list[InstrumentInfo] = list(listed.values())
        for variety in self.market.varieties:
            main = self.market.history.main_contract(variety.key, day)
            if main in listed:
                found.append(describe_main(variety, listed[main]))
        self._described = day, found
        return found
