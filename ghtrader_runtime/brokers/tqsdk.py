"""The one place that talks to TqSdk: ticks, orders, trades, positions of one contract and account.

TqSdk's loop is the gateway's loop: a descriptor attached here is watched by that loop, so a target wakes it out of
`wait_update` without polling. Every new serial id is walked, never the last row alone. A few private names of the
pinned version are used where the public ones cost time on each tick or do not exist; all of them are in this file.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from ghtrader_base.errors import FailedError, UnreachableError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_market.calendar import load_calendar
from ghtrader_market.symbols import parse_symbol
from ghtrader_market.ticks import VALUE_COLUMNS
from ghtrader_runtime.brokers.base import Market, Pumped, TickRow, Ticks
from ghtrader_runtime.brokers.canonical import canonical_time, canonical_values
from ghtrader_runtime.brokers.tqsdk_env import SendWatch, connect_error, probe
from ghtrader_runtime.events import Holding, LinkChange, Order, OrderReport, Snapshot, TradeReport

LIVE_ROWS = 500
"""Rows of the live series: short, since TqSdk moves all of it with every tick."""
HISTORY_ROWS = 10_000
"""TqSdk's own limit for one series."""
_LINK_DOWN, _LINK_BACK = 2019112911, 2019112902
_SHANGHAI = ZoneInfo("Asia/Shanghai")
_TIMEOUT_S = 60.0


class TqSdkBroker:
    """A `Broker` on TqSdk.

    Parameters
    ----------
    settings : Settings
        Credentials and addresses.
    mode : str
        `paper` (data only: no order can leave), `sim` or `live`.
    sim : str
        `tqkq` (account held by the service) or `tqsim` (dies with this process).
    """

    name = "tqsdk"
    lockstep = False

    def __init__(self, settings: Settings, mode: str, sim: str = "tqkq") -> None:
        self._settings = settings
        self._mode, self._sim = mode, sim
        self._calendar = load_calendar(settings)
        self._api: Any = None
        self._watch = SendWatch()
        self._attached: tuple[int, Callable[[], None]] | None = None
        self._wake_failure: BaseException | None = None
        self._reports: list[OrderReport | TradeReport | LinkChange] = []
        self._instant: list[tuple[str, int]] = []
        self._last_id = -1
        self.missed = 0
        self.market: Market

    # Connecting ------------------------------------------------------------------------------------------------

    def open(self, symbol: str) -> Market:
        """See `Broker.open`."""
        for url, what in (
            (self._settings.tq_auth_url, "login service"),
            (self._settings.tq_md_url, "market data server"),
            (self._settings.tq_td_url if self._mode != "paper" else "", "trading server"),
        ):
            probe(url, what)
        self._symbol = symbol
        self._connect()
        quote = self._quote
        if quote.ins_class not in ("FUTURE",) or not quote.price_tick > 0:
            raise UsageError(f"{symbol} is no contract that trades here", "name one future, for example SHFE.cu2502")
        day = self._calendar.trading_day_of(self._quote_ns())
        self.market = Market(symbol, day, float(quote.price_tick), int(quote.volume_multiple))
        return self.market

    def _connect(self) -> None:
        import tqsdk  # 5 s, and only where an exchange is talked to

        try:
            self._account = self._make_account(tqsdk)
            auth = tqsdk.TqAuth(self._settings.tqsdk_user, self._settings.tqsdk_password.get_secret_value())
            self._api = tqsdk.TqApi(self._account, auth=auth, debug=False, disable_print=True)
        except tqsdk.TqTimeoutError as exc:
            raise UnreachableError(
                "the exchange took the connection but sent nothing for a minute", "check user, password and account"
            ) from exc
        except Exception as exc:
            raise connect_error(exc) from exc
        self._quiet_logs()
        self._require_listed()
        try:
            self._quote = self._api.get_quote(self._symbol)
            self._frame = self._api.get_tick_serial(self._symbol, LIVE_ROWS)
        except Exception as exc:
            raise UsageError(f"no market data for {self._symbol}: {exc}", "check the symbol") from exc
        self._rows = self._array_of(self._frame)
        self._columns = self._column_places(self._frame)
        if self._attached is not None:
            self._api._loop.add_reader(self._attached[0], self._woken)

    def _require_listed(self) -> None:
        """A symbol nobody knows costs `get_quote` a minute: ask for the list first."""
        symbol = parse_symbol(self._symbol)
        listed = self._api.query_quotes(
            ins_class="FUTURE", exchange_id=symbol.exchange, product_id=symbol.product, expired=False
        )
        if self._symbol not in listed:
            some = ", ".join(sorted(listed)[:6]) or "none of that product"
            self._api.close()
            raise UsageError(f"{self._symbol} is not listed", f"listed now: {some}")

    def _make_account(self, tqsdk: Any) -> Any:
        if self._mode == "paper" or (self._mode == "sim" and self._sim == "tqsim"):
            return tqsdk.TqSim()
        if self._mode == "sim":
            return tqsdk.TqKq()
        password = self._settings.tq_account_password.get_secret_value()
        return tqsdk.TqAccount(self._settings.tq_broker_id, self._settings.tq_account_id, password)

    def _quiet_logs(self) -> None:
        # TqSdk builds a log record for every hop of every packet; only what leaves by the socket is of use here.
        logging.getLogger("TqApi").setLevel(logging.WARNING)
        wire = logging.getLogger("TqApi.TqConnect")
        wire.setLevel(logging.DEBUG)
        wire.propagate = False
        if self._watch not in wire.handlers:
            wire.addHandler(self._watch)

    def _array_of(self, frame: Any) -> np.ndarray:
        return self._api._serials[id(frame)]["array"]

    def _column_places(self, frame: Any) -> tuple[int, int, np.ndarray]:
        names = list(frame.columns)
        return names.index("id"), names.index("datetime"), np.array([names.index(name) for name in VALUE_COLUMNS])

    def _quote_ns(self) -> int:
        text = self._quote.datetime
        if not text:
            raise FailedError(f"{self._symbol} has no quote yet", "start again once the market has opened")
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=_SHANGHAI)
        return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000

    def attach(self, fd: int, wake: Callable[[], None]) -> None:
        """See `Broker.attach`."""
        self._attached = (fd, wake)
        self._api._loop.add_reader(fd, self._woken)

    def _woken(self) -> None:
        assert self._attached is not None
        try:
            self._attached[1]()
        except BaseException as exc:  # the loop would swallow it
            self._wake_failure = exc
            self._api.create_task(_raise(exc))

    # Ticks -----------------------------------------------------------------------------------------------------

    def history(self) -> list[TickRow]:
        """Ticks of the trading day so far; a day longer than one series is fetched as a whole."""
        rows = self._long_series()
        if not rows:
            return []
        day = self._calendar.trading_day_of(rows[-1].datetime_ns)
        start, _ = self._calendar.bounds(day)
        if len(rows) >= HISTORY_ROWS and rows[0].datetime_ns >= start:
            rows = self._whole_day(start, rows)
        self._last_id = rows[-1].id
        return [row for row in rows if row.datetime_ns >= start]

    def _long_series(self) -> list[TickRow]:
        frame = self._api.get_tick_serial(self._symbol, HISTORY_ROWS)
        rows = self._rows_of(self._array_of(frame), HISTORY_ROWS, self._column_places(frame))
        self._drop_series(frame)
        return rows

    def _drop_series(self, frame: Any) -> None:
        """End a series again (there is no public way): it would be moved with every tick."""
        frame.__dict__["_task"].cancel()
        serial = self._api._serials.pop(id(frame))
        self._api._requests["ticks"].pop((self._symbol, HISTORY_ROWS, None), None)
        chart = {"chart_id": serial["chart"]["chart_id"], "ins_list": "", "duration": 0, "view_width": HISTORY_ROWS}
        self._api._send_pack({"aid": "set_chart", **chart})

    def _whole_day(self, start_ns: int, rows: list[TickRow]) -> list[TickRow]:
        begin = datetime.fromtimestamp(start_ns / 1e9, _SHANGHAI).replace(tzinfo=None)
        end = datetime.fromtimestamp(rows[0].datetime_ns / 1e9, _SHANGHAI).replace(tzinfo=None)
        frame = self._api.get_tick_data_series(self._symbol, begin, end)
        values = canonical_values(frame[list(VALUE_COLUMNS)].to_numpy(np.float64))
        times = canonical_time(frame["datetime"].to_numpy())
        ids = frame["id"].to_numpy(np.int64)
        first = rows[0].id
        early = [TickRow(int(i), int(t), v) for i, t, v in zip(ids, times, values, strict=True) if i < first]
        return early + rows

    def _rows_of(self, array: np.ndarray, count: int, places: tuple[int, int, np.ndarray]) -> list[TickRow]:
        id_at, time_at, value_at = places
        part = array[len(array) - count :]
        times = part[:, time_at]
        there = np.flatnonzero(times > 0)
        values = canonical_values(part[np.ix_(there, value_at)])
        moments = canonical_time(times[there])
        return [TickRow(int(part[k, id_at]), int(moments[n]), values[n]) for n, k in enumerate(there)]

    def _new_ticks(self, now_ns: int) -> Ticks | None:
        newest = int(self._rows[-1, self._columns[0]])
        behind = newest - self._last_id
        if newest < 0 or behind <= 0:
            return None
        if behind > LIVE_ROWS and self._last_id >= 0:
            rows = [row for row in self._long_series() if row.id > self._last_id]
            self.missed += rows[0].id - self._last_id - 1 if rows else behind
        else:
            rows = self._rows_of(self._rows, min(behind, LIVE_ROWS), self._columns)
        if not rows:
            return None
        self._last_id = rows[-1].id
        return Ticks(self._symbol, rows, now_ns)

    # Waiting ---------------------------------------------------------------------------------------------------

    def pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        """See `Broker.pump`; `may_advance` means nothing to a live market."""
        changed = self._api.wait_update(deadline=time.time() + timeout_s)
        now_ns = time.monotonic_ns()
        if self._wake_failure is not None:
            raise self._wake_failure
        if not changed:
            return Pumped(reports=self.drain())
        ticks = self._new_ticks(now_ns)
        self._hear(now_ns)
        return Pumped(ticks, self.drain())

    def _hear(self, now_ns: int) -> None:
        orders: set[str] = set()
        trades: set[str] = set()
        for diff in self._api._diffs:
            for notice in (diff.get("notify") or {}).values():
                self._hear_notice(notice, now_ns)
            for account in (diff.get("trade") or {}).values():
                orders |= (account.get("orders") or {}).keys()
                trades |= (account.get("trades") or {}).keys()
        if self._mode == "paper":
            return
        known_orders, known_trades = self._api.get_order(), self._api.get_trade()
        self._reports += [self._trade(known_trades[key], now_ns) for key in trades if key in known_trades]
        self._reports += [self._order(known_orders[key], now_ns) for key in orders if key in known_orders]

    def _hear_notice(self, notice: Any, now_ns: int) -> None:
        if isinstance(notice, dict) and str(notice.get("conn_id", "")).startswith("td"):
            if notice.get("code") == _LINK_DOWN:
                self._reports.append(LinkChange("broker", False, now_ns))
            elif notice.get("code") == _LINK_BACK:
                self._reports.append(LinkChange("broker", True, now_ns))

    # The account -----------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """All that the login brought; this account's orders and trades of the day included."""
        now_ns = time.monotonic_ns()
        if self._mode == "paper":
            return Snapshot(str(self.market.trading_day), (), (), (), now_ns)
        positions = _entries(self._api.get_position())
        held = tuple(
            Holding(symbol, int(p.pos_long_today), int(p.pos_long_his), int(p.pos_short_today), int(p.pos_short_his))
            for symbol, p in positions.items()
        )
        orders = tuple(self._order(order, now_ns) for order in _entries(self._api.get_order()).values())
        trades = tuple(self._trade(trade, now_ns) for trade in _entries(self._api.get_trade()).values())
        return Snapshot(str(self._calendar.trading_day_of(self._quote_ns())), held, orders, trades, now_ns)

    def reopen(self) -> Snapshot:
        """See `Broker.reopen`."""
        self.close()
        self._reports.clear()
        self._connect()
        return self.snapshot()

    def balance(self) -> float:
        """See `Broker.balance`."""
        return float(self._api.get_account().balance) if self._api is not None else math.nan

    def price_limits(self) -> tuple[float, float]:
        """See `Broker.price_limits`."""
        return float(self._quote.lower_limit), float(self._quote.upper_limit)

    def _order(self, order: Any, now_ns: int) -> OrderReport:
        finished = order.status == "FINISHED"
        return OrderReport(
            order.order_id, f"{order.exchange_id}.{order.instrument_id}", 1 if order.direction == "BUY" else -1,
            order.offset, int(order.volume_orign), int(order.volume_left), finished,
            finished and not order.exchange_order_id, order.exchange_order_id, order.last_msg, now_ns,
            float(order.limit_price),
        )  # fmt: skip

    def _trade(self, trade: Any, now_ns: int) -> TradeReport:
        return TradeReport(
            trade.trade_id, trade.order_id, f"{trade.exchange_id}.{trade.instrument_id}",
            1 if trade.direction == "BUY" else -1, trade.offset, int(trade.volume), float(trade.price),
            int(trade.trade_date_time), now_ns, float(trade.get("commission", float("nan"))),
        )  # fmt: skip

    def submit(self, order: Order) -> None:
        """See `Broker.submit`."""
        if self._mode == "paper":
            raise FailedError("a data-only connection cannot send orders", "this is a fault in the gateway")
        price = {"LIMIT": order.price, "ANY": None}.get(order.price_type, order.price_type)
        self._api.insert_order(
            order.symbol, "BUY" if order.side > 0 else "SELL", order.offset, order.volume, limit_price=price,
            advanced=order.tif if order.tif in ("FAK", "FOK") else None, order_id=order.order_id,
        )  # fmt: skip
        if self._mode == "sim" and self._sim == "tqsim":
            self._instant.append((order.order_id, time.monotonic_ns()))

    def cancel(self, order_id: str) -> None:
        """See `Broker.cancel`."""
        order = self._api.get_order().get(order_id)
        if order is not None and order.status == "ALIVE":
            self._api.cancel_order(order_id)

    def drain(self) -> list[OrderReport | TradeReport | LinkChange]:
        """See `Broker.drain`."""
        reports, self._reports = self._reports, []
        return reports

    def departures(self) -> list[tuple[str, int]]:
        """See `Broker.departures`."""
        if not self._watch.departed and not self._instant:
            return []
        departed, self._watch.departed, self._instant = self._watch.departed + self._instant, [], []
        return departed

    def close(self) -> None:
        """See `Broker.close`."""
        api, self._api = self._api, None
        if api is not None:
            api.close()


async def _raise(exc: BaseException) -> None:
    raise exc


def _entries(entity: Any) -> dict[str, Any]:
    return {key: value for key, value in entity.items() if not key.startswith("_")}
