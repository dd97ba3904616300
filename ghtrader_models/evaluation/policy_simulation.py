"""Reports a list of fills: PnL, fees, drawdown, turnover, round trips; and simulates the policy over recorded rows.

The sums are `ghtrader_market.accounting`'s, when an order meets a book is `ExecutionModel`, and which fills a target
gets is `order_simulation`. Money is in CNY. No impact, no queue: what the probabilities are worth to orders that take.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from ghtrader_market.accounting.carried_position import CarriedPosition
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.fill import Fill, Side
from ghtrader_market.accounting.marks import mark_path
from ghtrader_market.accounting.pnl import equity_curve, max_drawdown
from ghtrader_market.accounting.positions import Position, apply_fill
from ghtrader_market.accounting.round_trips import round_trips
from ghtrader_market.reference.closing_rules import closing_rule
from ghtrader_market.reference.holding_limits import is_only_closed
from ghtrader_market.reference.session_times import in_sessions
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import FeeRates, variety_of
from ghtrader_models.evaluation.order_simulation import OFFSETS, Depth, fill_targets
from ghtrader_models.evaluation.report_types import TradingReport
from ghtrader_models.policy import PolicyParams, target_path


def trading_report(
    fills: Sequence[Fill],
    datetime_ns: np.ndarray,
    marks: np.ndarray,
    multiplier: int,
    opening: int = 0,
    opening_mark: float = math.nan,
) -> tuple[TradingReport, np.ndarray]:
    """Account for fills along a path of marks.

    Parameters
    ----------
    fills : sequence of Fill
        In time order; all on one contract or on contracts between which no position is held.
    datetime_ns : int64[n]
        Times of the path, ascending.
    marks : float64[n]
        CNY (`marks.mark_path`); where NaN the last known one counts.
    multiplier : int
        Units of the product a lot.
    opening, opening_mark : int, float
        Net lots held before the first fill, and what they were valued at then, CNY.

    Returns
    -------
    report : TradingReport
        The totals.
    equity : float64[n]
        Net PnL since the start at each time of the path.
    """
    equity, net = equity_curve(fills, datetime_ns, marks, multiplier, opening, opening_mark)
    signed = np.array([fill.signed for fill in fills], np.int64)
    prices = np.array([fill.price for fill in fills], np.float64)
    fees = float(np.array([fill.paid for fill in fills], np.float64).sum())
    symbols = {fill.symbol for fill in fills}
    held = dict.fromkeys(symbols, opening) if opening else None
    trips = round_trips(fills, dict.fromkeys(symbols, multiplier), held)
    report = TradingReport(
        net_pnl=net,
        gross_pnl=net + fees,
        fees=fees,
        max_drawdown=max_drawdown(np.append(equity, net)),
        turnover=float((np.abs(signed) * prices).sum() * multiplier),
        fills=len(fills),
        volume=int(np.abs(signed).sum()),
        round_trips=trips.count,
        winning_round_trips=trips.winning,
        final_position=opening + int(signed.sum()),
    )
    return report, equity


@dataclass(frozen=True, kw_only=True)
class TradingCosts:
    """What one contract costs on one day.

    Attributes
    ----------
    rates : FeeRates
        Of the contract and day.
    multiplier : int
        Units of the product a lot.
    contract : str
        Its name, which the fills carry, and by whose exchange's rule lots are closed.
    price_tick : float
        CNY; NaN where it is not known: prices are not judged by it then, and an order pays any price.
    only_closed : bool
        Whether nothing is opened: from the last day on which a natural person may hold the contract.
    sessions : tuple of (start_ns, end_ns)
        When orders may leave, UTC epoch ns; empty: at any time.
    """

    rates: FeeRates
    multiplier: int
    contract: str = ""
    price_tick: float = math.nan
    only_closed: bool = False
    sessions: tuple[tuple[int, int], ...] = ()

    def may_send(self, datetime_ns: np.ndarray) -> np.ndarray | None:
        """bool[n]: whether an order may leave at each moment, as `risk_rules.InSession` has it; None where at any.

        The snapshot that is stamped with the end of a session is of that session, and no order leaves on it.
        """
        return in_sessions(datetime_ns, self.sessions, closing_ns=0) if self.sessions else None

    def of(self, volume: np.ndarray, closed: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Fees in CNY of fills within one day: `closed` of |`volume`| lots close positions opened that day."""
        opened = np.abs(volume) - closed
        notional = price * self.multiplier
        opening = opened * (self.rates.open_ratio * notional + self.rates.open_lot)
        closing = closed * (self.rates.close_today_ratio * notional + self.rates.close_today_lot)
        fees: np.ndarray = opening + closing
        return fees


def trading_costs(contract: str, day: date, calendar: TradingCalendar | None = None) -> TradingCosts:
    """Costs from the variety table; when orders may leave, and whether the contract is only closed, by a calendar: the
    packaged one where it is absent. A day that it does not speak for, or has as no trading day, has no sessions."""
    variety, calendar = variety_of(contract), calendar or bundled_calendar()
    known = calendar.speaks_for(day) and calendar.is_trading_day(day)
    return TradingCosts(
        rates=variety.fees(contract, day),
        multiplier=variety.multiplier,
        contract=contract,
        price_tick=variety.price_tick(contract, day),
        only_closed=is_only_closed(variety, contract, day, calendar),
        sessions=tuple(calendar.sessions(variety, day)) if known else (),
    )


@dataclass(frozen=True, kw_only=True)
class SimulatedStretch:
    """What the policy did over one stretch.

    Attributes
    ----------
    fills : list of Fill
    report : TradingReport
    equity : float64[n]
        Net PnL along the stretch.
    marks : float64[n]
        What the contract was valued at, CNY.
    position : Position
        What could not be closed: it is held on, never dropped.
    mark : float
        What it was valued at last, CNY; NaN where nothing is held.
    """

    fills: list[Fill]
    report: TradingReport
    equity: np.ndarray
    marks: np.ndarray
    position: Position
    mark: float


def simulate_stretch(
    p: np.ndarray,
    datetime_ns: np.ndarray,
    bid: np.ndarray,
    ask: np.ndarray,
    params: PolicyParams,
    costs: TradingCosts,
    flat: np.ndarray,
    *,
    model: ExecutionModel | None = None,
    depth: Depth | None = None,
    last: np.ndarray | None = None,
    held: CarriedPosition | None = None,
) -> SimulatedStretch:
    """Run the policy over one stretch of one day.

    Parameters
    ----------
    p : float64[n, 3]
        DOWN, FLAT, UP; NaN where there is no opinion.
    datetime_ns : int64[n]
        Times.
    bid, ask : float64[n]
        Best quotes, CNY, as they came.
    params : PolicyParams
        The bundle's thresholds.
    costs : TradingCosts
        Of the day's contract.
    flat : bool[n]
        Rows after which no position is wanted.
    model : ExecutionModel, optional
        The default where absent.
    depth : Depth, optional
        The books; where absent whatever is wanted is there at the best quote.
    last : float64[n], optional
        Last prices, CNY, which value the contract where the book is empty; where absent the mark before does.
    held : CarriedPosition, optional
        What is held before, as the day has it (`at_start_of`); on one side alone.
    """
    targets = target_path(p, bid, ask, params, flat, held.net if held is not None else 0)
    return simulate_targets(targets, datetime_ns, bid, ask, costs, model=model, depth=depth, last=last, held=held)


def simulate_targets(
    targets: np.ndarray,
    datetime_ns: np.ndarray,
    bid: np.ndarray,
    ask: np.ndarray,
    costs: TradingCosts,
    *,
    model: ExecutionModel | None = None,
    depth: Depth | None = None,
    last: np.ndarray | None = None,
    held: CarriedPosition | None = None,
) -> SimulatedStretch:
    """Fill and account for a path of targets over one stretch of one day: net lots wanted after each row, int64[n].

    The other parameters are `simulate_stretch`'s.
    """
    opening, opening_mark = (held.position, held.mark) if held is not None else (Position(), math.nan)
    marks = mark_path(bid, ask, last, costs.price_tick, opening_mark)
    found = fill_targets(
        targets, datetime_ns, depth or Depth.of_quotes(bid, ask), costs.price_tick, closing_rule(costs.contract),
        model or ExecutionModel(), opening, costs.only_closed, costs.may_send(datetime_ns), marks,
    )  # fmt: skip
    position, fills = opening, []
    for row, volume, offset, price in zip(*(column.tolist() for column in found), strict=True):
        fill = Fill(
            symbol=costs.contract, side=Side.of(volume), offset=OFFSETS[offset], volume=abs(volume), price=price,
            market_ns=int(datetime_ns[row]),
        )  # fmt: skip
        booked = apply_fill(position, fill, costs.rates, costs.multiplier)
        position = booked.position
        fills.append(replace(fill, fee=booked.fee))
    report, equity = trading_report(fills, datetime_ns, marks, costs.multiplier, opening.net, opening_mark)
    return SimulatedStretch(
        fills=fills, report=report, equity=equity, marks=marks, position=position,
        mark=_last_mark(marks, fills, opening_mark) if position.net else math.nan,
    )  # fmt: skip


def _last_mark(marks: np.ndarray, fills: Sequence[Fill], before: float) -> float:
    """What a position is valued at after a stretch: its last mark, or its last fill where the stretch had none."""
    if marks.size and np.isfinite(marks[-1]):
        return float(marks[-1])
    return fills[-1].price if fills else before


def simulate_policy(
    p: np.ndarray,
    datetime_ns: np.ndarray,
    bid: np.ndarray,
    ask: np.ndarray,
    params: PolicyParams,
    costs: TradingCosts,
    model: ExecutionModel | None = None,
) -> tuple[list[Fill], TradingReport, np.ndarray]:
    """`simulate_stretch` over rows that begin flat and want to be flat at their last one.

    Returns
    -------
    fills : list of Fill
    report : TradingReport
    equity : float64[n]
        Net PnL along the stretch.
    """
    done = simulate_stretch(p, datetime_ns, bid, ask, params, costs, ends_flat(len(p)), model=model)
    return done.fills, done.report, done.equity


def ends_flat(rows: int) -> np.ndarray:
    """bool[rows]: the last two, so that what is wanted after the one can fill at the other."""
    flat = np.zeros(rows, bool)
    flat[-2:] = True
    return flat


def add_reports(reports: Sequence[TradingReport], carried_in: Sequence[int] | None = None) -> TradingReport:
    """Totals over stretches; the drawdown is the worst within one stretch.

    Parameters
    ----------
    reports : sequence of TradingReport
    carried_in : sequence of int, optional
        Net lots each began with, left open by an earlier one: they count once, and `final_position` is what was never
        closed. Where absent each began flat.
    """
    fields = {key: sum(getattr(report, key) for report in reports) for key in TradingReport.__dataclass_fields__}
    fields["max_drawdown"] = max((report.max_drawdown for report in reports), default=0.0)
    fields["final_position"] -= sum(carried_in or ())
    return TradingReport(**fields)
