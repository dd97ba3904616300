"""Trades a recorded day in one process: an in-process backtest without sockets and without a disk.

The strategy's signal, the gateway's core and the paper broker are the same pieces as in the two processes and meet the
same order of events, so the same targets come at the same ticks with the same fills; only faster. What is left out is
what a recorded day does not have: links, time-outs, a ledger.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from ghtrader_market.accounting.carried_position import CarriedPosition
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.reference.holding_limits import no_open_from
from ghtrader_market.reference.tick_schema import COLUMN_INDEX
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.bundle import Bundle
from ghtrader_runtime.brokers.base import Market
from ghtrader_runtime.brokers.paper import PaperBroker
from ghtrader_runtime.brokers.recorded_feed import ReplayFeed
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Cancel, Record, SendOrder
from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.core.state import CoreConfig
from ghtrader_runtime.core.trading_core import Core
from ghtrader_runtime.runlog.fill_lines import read_fill
from ghtrader_runtime.strategy.signal_engine import SignalEngine

_BID, _ASK = COLUMN_INDEX["bid_price1"], COLUMN_INDEX["ask_price1"]


@dataclass
class BacktestResult:
    """The result of an in-process backtest of one day.

    Attributes
    ----------
    targets : int32[n]
        Lots wanted after each tick that was played.
    fills : list of Fill
        In the order in which the broker told them.
    orders : int
    seconds : float
        Of our clock, factors and model included.
    held : CarriedPosition or None
        What could not be closed, to be handed to the next day (`at_start_of`).
    """

    targets: np.ndarray
    fills: list[Fill] = field(default_factory=list)
    orders: int = 0
    seconds: float = 0.0
    held: CarriedPosition | None = None


class _Stage:
    """Core and paper broker, face to face."""

    def __init__(
        self, market: Market, calendar: TradingCalendar, feed: ReplayFeed, limits: RiskLimits, style: ExecutionStyle,
        model: ExecutionModel, held: CarriedPosition | None,
    ) -> None:  # fmt: skip
        variety = variety_of(market.symbol)
        rates = variety.fees(market.symbol, market.trading_day)
        self.broker = PaperBroker(feed, lambda _symbol, _market_ns: rates, model, held=held)
        limit = no_open_from(variety, market.symbol, market.trading_day, calendar)
        spec = SymbolSpec(market.symbol, market.price_tick, market.multiplier, variety.needs_close_today, limit)
        self.core = Core(
            CoreConfig(symbols={market.symbol: spec}, limits=limits, style=style),
            lambda number: f"rehearsal-{number:06d}",
        )
        self.fills: list[Fill] = []
        self.orders = 0

    def step(self, event: ev.Event) -> None:
        """One event, and what the broker makes of it at once."""
        self._act(self.core.handle(event))
        while reports := self.broker.drain():
            for report in reports:
                self._act(self.core.handle(report))

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case SendOrder():
                    self.orders += 1
                    self.broker.submit(action.order)
                case Cancel():
                    self.broker.cancel(action.order_id)
                case Record(kind="fill"):
                    self.fills.append(read_fill(action.fields))


def backtest_day(
    bundle: Bundle,
    calendar: TradingCalendar,
    market: Market,
    ids: np.ndarray,
    datetime_ns: np.ndarray,
    values: np.ndarray,
    *,
    limits: RiskLimits | None = None,
    style: ExecutionStyle | None = None,
    model: ExecutionModel | None = None,
    flat_before_end_ns: int = 0,
    at_once: bool = True,
    held: CarriedPosition | None = None,
) -> BacktestResult:
    """Trade a recorded day.

    Parameters
    ----------
    bundle : Bundle
        The model.
    market : Market
        Contract and trading day.
    ids, datetime_ns : int64[n]
        The day's ticks.
    values : float64[n, 27]
    limits, style, model
        See `risk_rules`, `order_planning`, `ExecutionModel`.
    flat_before_end_ns : int
        See `SignalEngine`.
    at_once : bool
        Compute factors and model for the whole day first (`SignalEngine.on_day`); False steps tick by tick, as live.
    held : CarriedPosition, optional
        What could not be closed on the day before, as this day has it.
    """
    started = time.perf_counter()
    feed = ReplayFeed(market, ids, datetime_ns, values)
    stage = _Stage(
        market, calendar, feed, limits or RiskLimits(), style or ExecutionStyle(), model or ExecutionModel(), held
    )
    day, symbol = str(market.trading_day), market.symbol
    signal = SignalEngine(
        bundle, calendar, symbol, market.price_tick, market.multiplier, flat_before_end_ns,
        position=held.net if held is not None else 0,
    )  # fmt: skip
    sessions = tuple(calendar.sessions(variety_of(symbol), market.trading_day))
    lower, upper = stage.broker.price_limits(symbol)
    stage.step(ev.Terms(symbol=symbol, trading_day=day, sessions=sessions, now_ns=0, lower=lower, upper=upper))
    stage.step(stage.broker.snapshot())
    if held is not None:
        stage.step(ev.Equity(stage.broker.balance(), 0))
    ahead = signal.on_day(day, datetime_ns, np.ascontiguousarray(values.T)) if at_once else None
    targets = np.empty(len(ids), np.int32)
    for place in range(len(ids)):
        pumped = stage.broker.pump(0.0, True)
        assert pumped.ticks is not None
        row, now_ns = pumped.ticks.rows[0], pumped.ticks.now_ns
        book = row.values
        stage.step(
            ev.Book(
                symbol=symbol,
                trading_day=day,
                market_ns=row.datetime_ns,
                tick_id=row.id,
                bid=float(book[_BID]),
                ask=float(book[_ASK]),
                now_ns=now_ns,
            )
        )
        stage.step(ev.Equity(stage.broker.balance(), now_ns))
        for report in pumped.reports:
            stage.step(report)
        if ahead is None:
            signal.on_tick(day, row.datetime_ns, book)
            wanted = signal.target
        else:
            wanted = int(ahead[place])
        targets[place] = wanted
        stage.step(
            ev.TargetWanted(
                session="rehearsal",
                revision=place + 1,
                symbol=symbol,
                volume=wanted,
                now_ns=now_ns,
                tick_id=row.id,
                reason="",
            )
        )
    left = stage.broker.held(symbol)
    return BacktestResult(targets, stage.fills, stage.orders, time.perf_counter() - started, left)
