"""Serves the market-data socket: instrument queries, quotes and charts of one client.

A chart is a window on a series. What moved since the client last peeked is worked out when it peeks, never queued:
a slow client gets fewer, larger packs and loses no row of its windows.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field

from ghtrader_exchange.connections.market_feed import MarketFeed, Series
from ghtrader_exchange.connections.socket import DiffSocket
from ghtrader_exchange.faults.fault_kinds import FaultKind
from ghtrader_exchange.protocol.chart_series import TickSeries
from ghtrader_exchange.protocol.client_messages import (
    InstrumentQuery,
    PeekMessage,
    SetChart,
    SubscribeQuote,
    parse_market_data_message,
)
from ghtrader_exchange.protocol.encoding import Quote, dumps
from ghtrader_exchange.protocol.instrument_query import answer_text, failure_text, no_answer_text, parse_filters, select

MAX_WIDTH = 10_000
Interval = tuple[int, int]
"""Ids [start, stop)."""


@dataclass(kw_only=True)
class Chart:
    """One `set_chart`: its request, what it covers of its series, and how far it has been told."""

    request: SetChart
    symbol: str
    duration_ns: int
    series: Series | None
    width: int
    left: int | None = None
    """First id of a window that stands still; None for one that scrolls with the market."""
    covered: Interval = (0, 0)
    version: int = -2
    last_id: int = -1
    fresh: bool = True
    met_fault: bool = False
    held_until: float = 0.0
    """A fault keeps its rows back until then, on the machine's monotonic clock."""

    @property
    def key(self) -> tuple[str, int]:
        """Which series the client keeps its rows under."""
        return self.symbol, self.duration_ns


def subtract(interval: Interval, others: list[Interval]) -> list[Interval]:
    """Parts of `interval` that none of `others` covers, ascending."""
    parts = [interval]
    for start, stop in others:
        parts = [piece for a, b in parts for piece in ((a, min(b, start)), (max(a, stop), b)) if piece[0] < piece[1]]
    return parts


@dataclass(kw_only=True, eq=False)
class MdSession:
    """Everything one market-data connection has asked for."""

    socket: DiffSocket
    feed: MarketFeed
    charts: dict[str, Chart] = field(default_factory=dict)
    quotes: list[str] = field(default_factory=list)
    told: dict[str, Quote] = field(default_factory=dict)
    _closing: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.socket.push('{"ins_list":"","mdhis_more_data":false}')

    async def receive(self, text: str) -> None:
        """One message of the client; an unknown one is ignored, as the real server does."""
        message = parse_market_data_message(text)
        match message:
            case None:
                return
            case PeekMessage():
                self.socket.peeked = True
            case SubscribeQuote():
                self._subscribe(message.ins_list)
            case SetChart():
                self._set_chart(message)
            case InstrumentQuery():
                self._query(message)
        await self.step()

    async def step(self) -> None:
        """Tell the client what moved, if it peeks."""
        if not self.socket.peeked:
            return
        self._quote_diffs()
        for chart_id, chart in self.charts.items():
            self._chart_diff(chart_id, chart)
        await self.socket.flush()

    def _query(self, asked: InstrumentQuery) -> None:
        if not asked.query:
            self.socket.push(no_answer_text(asked.query_id))
            return
        try:
            filters = parse_filters(asked.query, asked.variables)
            text = answer_text(asked, select(self.feed.instruments(filters.timestamp), filters))
        except ValueError as error:
            text = failure_text(asked, str(error))
        self.socket.push(text)

    def _subscribe(self, ins_list: str) -> None:
        self.quotes = [symbol for symbol in ins_list.split(",") if symbol]
        self.told = {symbol: told for symbol, told in self.told.items() if symbol in self.quotes}
        self.socket.push(dumps({"ins_list": ins_list}))

    def _quote_diffs(self) -> None:
        diffs = {}
        for symbol in self.quotes:
            quote = self.feed.quote(symbol)
            told = self.told.get(symbol, {})
            if quote is None or quote is told:
                continue
            changed = {name: value for name, value in quote.items() if told.get(name) != value}
            self.told[symbol] = quote
            if changed:
                diffs[symbol] = changed
        if diffs:
            self.socket.push(dumps({"quotes": diffs}))

    def _set_chart(self, asked: SetChart) -> None:
        chart_id = asked.chart_id
        old = self.charts.pop(chart_id, None)
        if not asked.ins_list:
            if old is not None:
                self._drop(old, [old.covered])
                self.socket.push(dumps({"charts": {chart_id: None}}))
            return
        symbol, duration = asked.ins_list.split(",")[0], int(asked.duration)
        chart = Chart(
            request=asked,
            symbol=symbol,
            duration_ns=duration,
            series=self.feed.chart_series(symbol, duration),
            width=min(max(int(asked.view_width), 1), MAX_WIDTH),
        )
        if chart.series is not None:
            chart.left = self._standing_left(chart)
        if old is not None and old.key == chart.key:
            chart.covered = old.covered
        elif old is not None:
            self._drop(old, [old.covered])
        self.charts[chart_id] = chart
        self._chart_diff(chart_id, chart)

    def _standing_left(self, chart: Chart) -> int | None:
        now, today = self.feed.market.moment()
        asked = chart.request
        assert chart.series is not None
        if asked.left_kline_id is not None:
            return int(asked.left_kline_id)
        if asked.focus_datetime is not None:
            return chart.series.first_id_at(int(asked.focus_datetime), now, today) - int(asked.focus_position)
        if asked.trading_day_start is not None:
            return chart.series.first_id_of_day(int(asked.trading_day_start), now, today)
        return None

    def _chart_diff(self, chart_id: str, chart: Chart) -> None:
        """Push rows, ids and state of one chart in one item, if anything of it moved."""
        if chart.series is None:
            if chart.fresh:
                chart.fresh = False
                self._push_chart(chart_id, chart, [], -1, -1, state=True)
            return
        now, today = self.feed.market.moment()
        version = chart.series.version(now, today)
        if not chart.fresh and version == chart.version:
            return
        last = chart.series.last_id(now, today)
        left = chart.left if chart.left is not None else max(last - chart.width + 1, -1)
        right = chart.left + chart.width - 1 if chart.left is not None else last
        if not chart.fresh and chart.left is not None and chart.last_id > right:
            return  # a window of the past that is complete
        covered = (max(left, 0), max(left, 0, min(right, last) + 1))
        held = [other.covered for other in self.charts.values() if other is not chart and other.key == chart.key]
        missing = subtract(covered, [chart.covered, *held])
        if not chart.fresh and chart.covered[0] <= chart.last_id < covered[1] and chart.duration_ns:
            missing = [(max(chart.last_id, covered[0]), covered[1])]  # the bar that was the last has grown since
        if missing and chart.left is not None and self._faulted(chart, missing):
            return
        texts = [text for a, b in missing for text in chart.series.texts(a, b, now, today)]
        gone = subtract(chart.covered, [covered, *held])
        texts += [f'"{row}":null' for a, b in gone for row in range(a, b)]
        state, chart.fresh = chart.fresh, False
        chart.covered, chart.version, chart.last_id = covered, version, last
        self._push_chart(chart_id, chart, texts, left, right, state)

    def _faulted(self, chart: Chart, missing: list[Interval]) -> bool:
        """Whether a fault keeps rows of a download back now; one that breaks the line is carried out."""
        if chart.met_fault or not isinstance(chart.series, TickSeries):
            return time.monotonic() < chart.held_until
        fault = self.feed.faults.take(chart.symbol, chart.series.locate(missing[0][0])[0].day)
        if fault is None:
            return False
        chart.met_fault = True
        chart.held_until = math.inf
        if fault.kind == FaultKind.DROP_DATA:
            self.socket.abort()
        elif fault.kind == FaultKind.CLOSE_DATA:
            self._closing = asyncio.ensure_future(self.socket.close())
        elif fault.kind == FaultKind.GARBAGE_DATA:
            self.socket.push('{"ticks":}{ \u0000 garbage')
        elif fault.kind == FaultKind.SLOW_DATA or fault.seconds:
            chart.held_until = time.monotonic() + fault.seconds
        return True

    def _push_chart(self, chart_id: str, chart: Chart, texts: list[str], left: int, right: int, state: bool) -> None:
        echo = f',"state":{chart.request.echo}' if state else ""
        ids = f'{{"left_id":{left},"right_id":{right},"more_data":false,"ready":true{echo}}}'
        rows = f'{{"last_id":{chart.last_id},"data":{{{",".join(texts)}}}}}'
        name = dumps(chart.symbol)
        klines = f'"klines":{{{name}:{{"{chart.duration_ns}":{rows}}}}}'
        series = klines if chart.duration_ns else f'"ticks":{{{name}:{rows}}}'
        self.socket.push(f'{{{series},"charts":{{{dumps(chart_id)}:{ids}}},"mdhis_more_data":false}}')

    def _drop(self, chart: Chart, intervals: list[Interval]) -> None:
        """Delete rows that no chart covers any more."""
        held = [other.covered for other in self.charts.values() if other is not chart and other.key == chart.key]
        gone = [part for interval in intervals for part in subtract(interval, held)]
        if not gone:
            return
        rows = ",".join(f'"{row}":null' for a, b in gone for row in range(a, b))
        series = {"klines": f'{{"{chart.duration_ns}":{{"data":{{{rows}}}}}}}', "ticks": f'{{"data":{{{rows}}}}}'}
        name = "klines" if chart.duration_ns else "ticks"
        self.socket.push(f'{{"{name}":{{{dumps(chart.symbol)}:{series[name]}}}}}')
