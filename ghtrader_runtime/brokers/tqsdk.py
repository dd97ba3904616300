"""Trades one account through TqSdk: orders, trades and positions, and ticks of its contracts.

TqSdk's loop is the gateway's loop: a descriptor attached here is watched by that loop, so a target wakes it out of
`wait_update` without polling. A few private names of the pinned version are used where the public ones cost time on
each tick or do not exist; all of them are here and in `tqsdk_feed`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError, UnreachableError, UsageError
from ghtrader_base.logs import loggers_kept
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode, SimKind, TimeInForce
from ghtrader_market.accounting.fill import Offset, Side
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_runtime.brokers.base import Market, Pumped, TickRow
from ghtrader_runtime.brokers.tqsdk_feed import TickFeed
from ghtrader_runtime.brokers.tqsdk_isolation import SendWatch, connect_error, probe
from ghtrader_runtime.brokers.tqsdk_risk_rules import BrokerSideLimits, BrokerSideRules
from ghtrader_runtime.core.events import LinkChange, OrderReport, Snapshot, TradeReport
from ghtrader_runtime.core.orders import Holding, Order, PriceType

_LINK_DOWN, _LINK_BACK = 2019112911, 2019112902
_TIMEOUT_S = 60.0
_OFFSETS = tuple(Offset)


class TqSdkBroker:
    """A `Broker` on TqSdk.

    Parameters
    ----------
    settings : Settings
        Credentials and addresses.
    mode : RunMode
        PAPER: data only, no order can leave.
    sim : SimKind
    limits : BrokerSideLimits
        Of TqSdk's own risk rules, where the login has them.
    """

    name = "tqsdk"
    lockstep = False

    def __init__(
        self, settings: Settings, mode: RunMode, sim: SimKind = SimKind.TQKQ, limits: BrokerSideLimits | None = None
    ) -> None:  # fmt: skip
        self._settings = settings
        self._rules = BrokerSideRules(limits or BrokerSideLimits())
        self._refused_cancels: set[str] = set()
        self._data_down = False
        self._mode, self._sim = mode, sim
        self._calendar = load_calendar(settings)
        self._api: Any = None
        self._watch = SendWatch()
        self._attached: tuple[int, Callable[[], None]] | None = None
        self._wake_failure: BaseException | None = None
        self._reports: list[OrderReport | TradeReport | LinkChange] = []
        self._instant: list[tuple[str, int]] = []
        self._feed: TickFeed
        self._expiring: dict[str, TickFeed] = {}
        self.market: Market

    # Connecting ------------------------------------------------------------------------------------------------

    def open(self, symbol: str) -> Market:
        """See `Broker.open`."""
        for url, what in (
            (self._settings.tq_auth_url, "login service"),
            (self._settings.tq_md_url, "market data server"),
            (self._settings.tq_td_url if self._mode != RunMode.PAPER else "", "trading server"),
        ):
            probe(url, what)
        self._feed = TickFeed(symbol)
        self._connect()
        self.market = self._market_of(self._feed)
        return self.market

    def _connect(self) -> None:
        with loggers_kept():
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
        self._rules.renew()
        self._refused_cancels.clear()
        try:
            self._feed.subscribe(self._api)
        except GhtraderError:
            self.close()
            raise
        if self._mode != RunMode.PAPER:
            self._rules.guard(self._api, self._feed.symbol)
        for symbol, feed in list(self._expiring.items()):
            try:
                feed.subscribe(self._api)
            except UsageError:  # it has expired since
                del self._expiring[symbol]
        if self._attached is not None:
            self._api._loop.add_reader(self._attached[0], self._woken)

    def _make_account(self, tqsdk: Any) -> Any:
        if self._mode == RunMode.PAPER or (self._mode == RunMode.SIM and self._sim == SimKind.TQSIM):
            return tqsdk.TqSim()
        if self._mode == RunMode.SIM:
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

    # Market data -----------------------------------------------------------------------------------------------

    def bind(self, symbol: str) -> Market:
        """See `Broker.bind`."""
        if symbol != self._feed.symbol:
            self.watch(symbol)
            self._expiring[self._feed.symbol] = self._feed
            self._feed = self._expiring.pop(symbol)
        self.market = self._market_of(self._feed)
        return self.market

    def watch(self, symbol: str) -> None:
        """See `Broker.watch`."""
        if symbol == self._feed.symbol or symbol in self._expiring:
            return
        feed = TickFeed(symbol)
        try:
            feed.subscribe(self._api)
        finally:
            self._hear_all()
        feed.only_the_last()
        self._expiring[symbol] = feed

    def enter_day(self) -> None:
        """See `Broker.enter_day`: the account is the broker's."""

    def _market_of(self, feed: TickFeed) -> Market:
        day = self._calendar.trading_day_of(feed.quote_ns())
        return Market(feed.symbol, day, float(feed.quote.price_tick), int(feed.quote.volume_multiple))

    @property
    def missed(self) -> int:
        """See `Broker.missed`."""
        return self._feed.missed

    @property
    def broker_side_rules(self) -> list[str] | str:
        """See `Broker.broker_side_rules`: TqSdk's."""
        return self._rules.missing or self._rules.names

    def history(self) -> list[TickRow]:
        """See `Broker.history`."""
        return self._feed.history(self._calendar)

    def is_current(self) -> bool:
        """See `Broker.is_current`."""
        current = self._feed.is_current()
        self._hear_all()
        return current

    @property
    def cold_note(self) -> str:
        """See `Broker.cold_note`."""
        return self._feed.cold_note

    # Waiting ---------------------------------------------------------------------------------------------------

    def pump(self, timeout_s: float, may_advance: bool) -> Pumped:
        """See `Broker.pump`; `may_advance` means nothing to a live market."""
        changed = self._wait(timeout_s)
        now_ns = time.monotonic_ns()
        if self._wake_failure is not None:
            raise self._wake_failure
        if not changed:
            return Pumped(reports=self.drain())
        ticks = self._feed.new_ticks(now_ns)
        others = self._expiring.values()
        expiring = [found for feed in others if (found := feed.new_ticks(now_ns))] if others else []
        self._hear(now_ns)
        if ticks is not None and self._data_down:  # whatever the link has said of itself
            self._hear_data_link(True, now_ns)
        return Pumped(ticks, self.drain(), expiring=expiring)

    def _wait(self, timeout_s: float) -> bool:
        from tqsdk import TqRiskRuleError

        for order_id in list(self._refused_cancels):
            self._refused_cancels.discard(order_id)
            self.cancel(order_id)
        try:
            changed: bool = self._api.wait_update(deadline=time.time() + timeout_s)
            return changed
        except TqRiskRuleError:  # of an order that passed when it was asked: it never left, the broker's list will tell
            return False
        except Exception:
            if self._wake_failure is not None:
                raise
            # A connection of TqSdk's has given up for good, as a line that breaks between 19:00 and 19:30 does (the
            # service's maintenance): what was a broken line is one that wants a new login.
            logging.getLogger(__name__).exception("TqSdk gave up a connection")
            now_ns = time.monotonic_ns()
            self._reports += [LinkChange("broker", False, now_ns), LinkChange("broker", True, now_ns)]
            return False

    def _hear(self, now_ns: int) -> None:
        orders: set[str] = set()
        trades: set[str] = set()
        for diff in self._api._diffs:
            for notice in (diff.get("notify") or {}).values():
                self._hear_notice(notice, now_ns)
            for account in (diff.get("trade") or {}).values():
                orders |= (account.get("orders") or {}).keys()
                trades |= (account.get("trades") or {}).keys()
        if self._mode == RunMode.PAPER:
            return
        known_orders, known_trades = self._api.get_order(), self._api.get_trade()
        self._reports += [trade_report(known_trades[key], now_ns) for key in trades if key in known_trades]
        self._reports += [order_report(known_orders[key], now_ns) for key in orders if key in known_orders]

    def _hear_all(self) -> None:
        """What was told while TqSdk waited for something else; what is known already counts once."""
        if self._mode == RunMode.PAPER:
            return
        now_ns = time.monotonic_ns()
        self._reports += [trade_report(trade, now_ns) for trade in _entries(self._api.get_trade()).values()]
        self._reports += [order_report(order, now_ns) for order in _entries(self._api.get_order()).values()]

    def _hear_notice(self, notice: Any, now_ns: int) -> None:
        code = notice.get("code") if isinstance(notice, dict) else None
        if code not in (_LINK_DOWN, _LINK_BACK):
            return
        if str(notice.get("conn_id", "")).startswith("td"):
            self._reports.append(LinkChange("broker", code == _LINK_BACK, now_ns))
        elif notice.get("conn_id") == "md":
            self._hear_data_link(code == _LINK_BACK, now_ns)

    def _hear_data_link(self, up: bool, now_ns: int) -> None:
        self._data_down = not up
        self._reports.append(LinkChange("data", up, now_ns))

    # The account -----------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """All that the login brought; this account's orders and trades of the day included."""
        now_ns = time.monotonic_ns()
        if self._mode == RunMode.PAPER:
            return Snapshot(trading_day=str(self.market.trading_day), holdings=(), orders=(), trades=(), now_ns=now_ns)
        positions = _entries(self._api.get_position())
        held = tuple(
            Holding(symbol, int(p.pos_long_today), int(p.pos_long_his), int(p.pos_short_today), int(p.pos_short_his))
            for symbol, p in positions.items()
        )
        orders = tuple(order_report(order, now_ns) for order in _entries(self._api.get_order()).values())
        trades = tuple(trade_report(trade, now_ns) for trade in _entries(self._api.get_trade()).values())
        return Snapshot(
            trading_day=str(self._calendar.trading_day_of(self._feed.quote_ns())),
            holdings=held,
            orders=orders,
            trades=trades,
            now_ns=now_ns,
        )

    def reopen(self) -> Snapshot:
        """See `Broker.reopen`."""
        self.close()
        self._reports.clear()
        self._connect()
        if self._data_down:  # the line that broke is gone, this is another one
            self._hear_data_link(True, time.monotonic_ns())
        return self.snapshot()

    def balance(self) -> float:
        """See `Broker.balance`."""
        return float(self._api.get_account().balance) if self._api is not None else math.nan

    def price_limits(self, symbol: str) -> tuple[float, float]:
        """See `Broker.price_limits`."""
        feed = self._feed if symbol == self._feed.symbol else self._expiring.get(symbol)
        return feed.price_limits() if feed is not None else (math.nan, math.nan)

    def submit(self, order: Order) -> None:
        """See `Broker.submit`."""
        if self._mode == RunMode.PAPER:
            raise FailedError("a data-only connection cannot send orders", "this is a fault in the gateway")
        self._rules.guard(self._api, order.symbol)
        refused = self._rules.why_not(self._account._account_key, order)
        if refused:
            self._reports.append(
                OrderReport(
                    order_id=order.order_id,
                    symbol=order.symbol,
                    side=order.side,
                    offset=order.offset,
                    volume=order.volume,
                    left=order.volume,
                    finished=True,
                    error=True,
                    exchange_order_id="",
                    message=refused,
                    now_ns=time.monotonic_ns(),
                    price=order.price,
                )
            )
            self._instant.append((order.order_id, time.monotonic_ns()))
            return
        self._api.insert_order(**tqsdk_order(order))
        if self._mode == RunMode.SIM and self._sim == SimKind.TQSIM:
            self._instant.append((order.order_id, time.monotonic_ns()))

    def cancel(self, order_id: str) -> None:
        """See `Broker.cancel`."""
        order = self._api.get_order().get(order_id)
        if order is not None and order.status == "ALIVE":
            from tqsdk import TqRiskRuleError

            try:
                self._api.cancel_order(order_id)
            except TqRiskRuleError:  # too many in this second: again with the next turn
                self._refused_cancels.add(order_id)

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
            with contextlib.suppress(Exception):  # what it died of is known, and the next one is another
                api.close()


def order_report(order: Any, now_ns: int) -> OrderReport:
    """What TqSdk's `Order` says, heard of at `now_ns` (monotonic).

    An offset that we do not know counts as OPEN: as new risk, which is called in where nothing may be opened.
    """
    finished = order.status == "FINISHED"
    return OrderReport(
        order_id=order.order_id,
        symbol=f"{order.exchange_id}.{order.instrument_id}",
        side=_side(order.direction).sign,
        offset=Offset(order.offset) if order.offset in _OFFSETS else Offset.OPEN,
        volume=int(order.volume_orign),
        left=int(order.volume_left),
        finished=finished,
        error=finished and not order.exchange_order_id,
        exchange_order_id=order.exchange_order_id,
        message=order.last_msg,
        now_ns=now_ns,
        price=float(order.limit_price),
    )


def trade_report(trade: Any, now_ns: int) -> TradeReport:
    """What TqSdk's `Trade` says, heard of at `now_ns` (monotonic).

    Raises
    ------
    IntegrityError
        Its offset is none that we know: what it did to the position cannot be told.
    """
    if trade.offset not in _OFFSETS:
        raise IntegrityError(
            f"the broker reports trade {trade.trade_id} with an unknown offset {trade.offset!r}",
            "look at the account's positions at the broker before the gateway is started again",
        )
    return TradeReport(
        trade_id=trade.trade_id,
        order_id=trade.order_id,
        symbol=f"{trade.exchange_id}.{trade.instrument_id}",
        side=_side(trade.direction).sign,
        offset=Offset(trade.offset),
        volume=int(trade.volume),
        price=float(trade.price),
        market_ns=int(trade.trade_date_time),
        now_ns=now_ns,
        commission=float(getattr(trade, "commission", math.nan)),
    )


def tqsdk_order(order: Order) -> dict[str, Any]:
    """What `TqApi.insert_order` is told of an order: plain words, no members of our enums."""
    price: float | str | None = order.price
    if order.price_type != PriceType.LIMIT:
        price = None if order.price_type == PriceType.ANY else order.price_type.value
    return {
        "symbol": order.symbol, "direction": Side.of(order.side).value, "offset": order.offset.value,
        "volume": order.volume, "limit_price": price,
        "advanced": order.tif.value if order.tif in (TimeInForce.FAK, TimeInForce.FOK) else None,
        "order_id": order.order_id,
    }  # fmt: skip


def _side(direction: str) -> Side:
    return Side.BUY if direction == Side.BUY else Side.SELL


async def _raise(exc: BaseException) -> None:
    raise exc


def _entries(entity: Any) -> dict[str, Any]:
    return {key: value for key, value in entity.items() if not key.startswith("_")}
