"""Serves the market-data socket: instrument queries, quotes and charts of one client.

A chart is a window on a series. What moved since the client last peeked is worked out when it peeks, never queued:
a slow client gets fewer, larger packs and loses no row of its windows.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import Any

from ghtrader_exchange.connections.market_feed import MarketFeed, Series
from ghtrader_exchange.connections.socket import DiffSocket
from ghtrader_exchange.protocol.chart_series import TickSeries
from ghtrader_exchange.protocol.encoding import dumps
from ghtrader_exchange.protocol.instrument_query import parse_filters, select

MAX_WIDTH = 10_000
Interval = tuple[int, int]
"""Ids [start, stop)."""


@dataclass(kw_only=True)
class Chart:
    """One `set_chart`: its request, what it covers of its series, and how far it has been told."""

    request: dict[str, Any]
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
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    _closing: asyncio.Future[None] | None = None

    def __post_init__(self) -> None:
        self.socket.push('{"ins_list":"","mdhis_more_data":false}')

    async def receive(self, pack: dict[str, Any]) -> None:
        """One message of the client; an unknown one is ignored, as the real server does."""
        match pack.get("aid"):
            case "peek_message":
                self.socket.peeked = True
            case "subscribe_quote":
                self._subscribe(str(pack.get("ins_list", "")))
            case "set_chart":
                self._set_chart(pack)
            case "ins_query":
                self._query(pack)
        await self.step()

    async def step(self) -> None:
        """Tell the client what moved, if it peeks."""
        if not self.socket.peeked:
            return
        self._quote_diffs()
        for chart_id, chart in self.charts.items():
            self._chart_diff(chart_id, chart)
        await self.socket.flush()

    def _query(self, pack: dict[str, Any]) -> None:
        query_id, query = str(pack.get("query_id", "")), str(pack.get("query", ""))
        if not query:
            self.socket.push(dumps({"symbols": {query_id: None}}))
            return
        answer = {name: value for name, value in pack.items() if name != "aid"}
        try:
            filters = parse_filters(query, pack.get("variables"))
            found = select(self.feed.instruments(filters.get("timestamp")), filters)
            answer["result"] = {"multi_symbol_info": found}
        except ValueError as error:
            answer["error"] = str(error)
        self.socket.push(dumps({"symbols": {query_id: answer}}))

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

    def _set_chart(self, pack: dict[str, Any]) -> None:
        chart_id, ins_list = str(pack.get("chart_id", "")), str(pack.get("ins_list", ""))
        old = self.charts.pop(chart_id, None)
        if not ins_list:
            if old is not None:
                self._drop(old, [old.covered])
                self.socket.push(dumps({"charts": {chart_id: None}}))
            return
        symbol, duration = ins_list.split(",")[0], int(pack.get("duration", 0))
        width = min(max(int(pack.get("view_width", 1)), 1), MAX_WIDTH)
        chart = Chart(
            request=pack,
            symbol=symbol,
            duration_ns=duration,
            series=self.feed.chart_series(symbol, duration),
            width=width,
        )
        if chart.series is not None:
            chart.left = self._standing_left(chart, pack)
        if old is not None and old.key == chart.key:
            chart.covered = old.covered
        elif old is not None:
            self._drop(old, [old.covered])
        self.charts[chart_id] = chart
        self._chart_diff(chart_id, chart)

    def _standing_left(self, chart: Chart, pack: dict[str, Any]) -> int | None:
        now, today = self.feed.market.moment()
        assert chart.series is not None
        if "left_kline_id" in pack:
            return int(pack["left_kline_id"])
        if "focus_datetime" in pack:
            focus = chart.series.first_id_at(int(pack["focus_datetime"]), now, today)
            return focus - int(pack.get("focus_position", 0))
        if "trading_day_start" in pack:
            return chart.series.first_id_of_day(int(pack["trading_day_start"]), now, today)
        return None

    def _chart_diff(self, chart_id: str, chart: Chart) -> None:
        """Push rows, ids and state of one chart in one item, if anything of it moved."""
        if chart.series is None:
            if chart.fresh:
                chart.fresh = False
                self._push_chart(chart_id, chart, [], {"left_id": -1, "right_id": -1}, state=True)
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
        self._push_chart(chart_id, chart, texts, {"left_id": left, "right_id": right}, state)

    def _faulted(self, chart: Chart, missing: list[Interval]) -> bool:
        """Whether a fault keeps rows of a download back now; one that breaks the line is carried out."""
        if chart.met_fault or not isinstance(chart.series, TickSeries):
            return time.monotonic() < chart.held_until
        fault = self.feed.faults.take(chart.symbol, chart.series.locate(missing[0][0])[0].day)
        if fault is None:
            return False
        chart.met_fault = True
        chart.held_until = math.inf
        if fault.kind == "drop-data":
            self.socket.abort()
        elif fault.kind == "close-data":
            self._closing = asyncio.ensure_future(self.socket.close())
        elif fault.kind == "garbage-data":
            self.socket.push('{"ticks":}{ \u0000 garbage')
        elif fault.kind == "slow-data" or fault.seconds:
            chart.held_until = time.monotonic() + fault.seconds
        return True

    def _push_chart(self, chart_id: str, chart: Chart, texts: list[str], ids: dict[str, Any], state: bool) -> None:
        ids |= {"more_data": False, "ready": True}
        if state:
            ids["state"] = chart.request
        rows = f'{{"last_id":{chart.last_id},"data":{{{",".join(texts)}}}}}'
        name = dumps(chart.symbol)
        klines = f'"klines":{{{name}:{{"{chart.duration_ns}":{rows}}}}}'
        series = klines if chart.duration_ns else f'"ticks":{{{name}:{rows}}}'
        self.socket.push(f'{{{series},"charts":{dumps({chart_id: ids})},"mdhis_more_data":false}}')

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
