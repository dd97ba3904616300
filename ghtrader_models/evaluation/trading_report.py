"""Reports a list of fills: PnL, fees, drawdown, turnover, round trips; and simulates the policy over recorded rows.

What belongs here: bookkeeping after the fact, for reports. The account that the exchange or the gateway keeps, with
today's and yesterday's positions, is `ghtrader_market.accounting.positions`. Money is in CNY.

`simulate_policy` is thin on purpose: one row of latency, whole fills at the opposite best quote, no impact, no queue.
It says what the probabilities are worth, not what an order would have got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np

from ghtrader_market.reference.varieties import FeeRates, variety_of
from ghtrader_models.policy import PolicyParams, replay


@dataclass(frozen=True)
class Fill:
    """One trade of ours.

    Attributes
    ----------
    datetime_ns : int
        UTC epoch.
    side : int
        +1 bought, -1 sold.
    volume : int
        Lots, positive.
    price : float
        CNY.
    fee : float
        CNY for the whole fill.
    """

    datetime_ns: int
    side: int
    volume: int
    price: float
    fee: float


@dataclass(frozen=True)
class TradingReport:
    """What a list of fills came to.

    Attributes
    ----------
    net_pnl, gross_pnl, fees : float
        CNY; net is gross less fees; an open position is marked at the last mid.
    max_drawdown : float
        Largest fall of the net equity from an earlier high, CNY, not negative; the start counts as a high of 0.
    turnover : float
        Notional traded, CNY.
    fills, volume : int
        Trades of ours, and lots in them.
    round_trips : int
        Times the position came back to flat or changed sign.
    winning_round_trips : int
        Those that earned more than their fees.
    final_position : int
        Lots left open, signed.
    """

    net_pnl: float
    gross_pnl: float
    fees: float
    max_drawdown: float
    turnover: float
    fills: int
    volume: int
    round_trips: int
    winning_round_trips: int
    final_position: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)


def trading_report(
    fills: Sequence[Fill], datetime_ns: np.ndarray, mid: np.ndarray, multiplier: int
) -> tuple[TradingReport, np.ndarray]:
    """Account for fills along a path of mids.

    Parameters
    ----------
    fills : sequence of Fill
        In time order; all on one contract or on contracts between which no position is held.
    datetime_ns : int64[n]
        Times of the path, ascending.
    mid : float64[n]
        CNY; where NaN the last known one counts.
    multiplier : int
        Units of the product a lot.

    Returns
    -------
    report : TradingReport
        The totals.
    equity : float64[n]
        Net PnL since the start at each time of the path.
    """
    times = np.array([fill.datetime_ns for fill in fills], np.int64)
    signed = np.array([fill.side * fill.volume for fill in fills], np.int64)
    prices = np.array([fill.price for fill in fills], np.float64)
    fees = np.array([fill.fee for fill in fills], np.float64)
    marks = forward_fill(mid)
    after = np.searchsorted(times, datetime_ns, side="right")
    cash = np.concatenate([[0.0], np.cumsum(-signed * prices * multiplier - fees)])
    held = np.concatenate([[0], np.cumsum(signed)])
    position = held[after]
    equity = cash[after] + np.where(position == 0, 0.0, position * np.nan_to_num(marks) * multiplier)
    last_mark = marks[-1] if marks.size else np.nan
    if held[-1] != 0 and not np.isfinite(last_mark):
        last_mark = prices[-1]
    net = float(cash[-1] + (held[-1] * last_mark * multiplier if held[-1] else 0.0))
    equity_path = np.concatenate([[0.0], equity, [net]])
    drawdown = float((np.maximum.accumulate(equity_path) - equity_path).max())
    trips, won = _round_trips(signed, prices, fees, multiplier)
    total_fees = float(fees.sum())
    report = TradingReport(
        net_pnl=net,
        gross_pnl=net + total_fees,
        fees=total_fees,
        max_drawdown=drawdown,
        turnover=float((np.abs(signed) * prices).sum() * multiplier),
        fills=len(fills),
        volume=int(np.abs(signed).sum()),
        round_trips=trips,
        winning_round_trips=won,
        final_position=int(held[-1]),
    )
    return report, equity


def _round_trips(signed: np.ndarray, prices: np.ndarray, fees: np.ndarray, multiplier: int) -> tuple[int, int]:
    """How often the position ended (flat or reversed), and how often that paid; a reversal's fee is split by lots."""
    position = trips = won = 0
    cash = 0.0
    for lots, price, fee in zip(signed.tolist(), prices.tolist(), fees.tolist(), strict=True):
        closing = min(abs(lots), abs(position)) if position * lots < 0 else 0
        opening = abs(lots) - closing
        direction = 1 if lots > 0 else -1
        if closing:
            cash -= direction * closing * price * multiplier + fee * closing / abs(lots)
        position += lots
        if closing and (position == 0 or opening):
            trips += 1
            won += cash > 0
            cash = 0.0
        if opening:
            cash -= direction * opening * price * multiplier + fee * opening / abs(lots)
    return trips, won


def forward_fill(values: np.ndarray) -> np.ndarray:
    """float64[n] with each NaN replaced by the last number before it; NaN before the first."""
    if values.size == 0:
        return values.astype(np.float64)
    index = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.size), 0))
    return values[index]


@dataclass(frozen=True)
class TradingCosts:
    """What one contract costs on one day.

    Attributes
    ----------
    rates : FeeRates
        Of the contract and day.
    multiplier : int
        Units of the product a lot.
    """

    rates: FeeRates
    multiplier: int

    def of(self, volume: np.ndarray, closed: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Fees in CNY of fills within one day: `closed` of |`volume`| lots close positions opened that day."""
        opened = np.abs(volume) - closed
        notional = price * self.multiplier
        opening = opened * (self.rates.open_ratio * notional + self.rates.open_lot)
        closing = closed * (self.rates.close_today_ratio * notional + self.rates.close_today_lot)
        return opening + closing


def trading_costs(contract: str, day: date) -> TradingCosts:
    """Costs from the variety table."""
    variety = variety_of(contract)
    return TradingCosts(variety.fees(contract, day), variety.multiplier)


def simulate_policy(
    p: np.ndarray,
    datetime_ns: np.ndarray,
    bid: np.ndarray,
    ask: np.ndarray,
    params: PolicyParams,
    costs: TradingCosts,
) -> tuple[list[Fill], TradingReport, np.ndarray]:
    """Run the policy over one stretch of one day, flat at both ends.

    Parameters
    ----------
    p : float64[n, 3]
        DOWN, FLAT, UP; NaN where there is no opinion.
    datetime_ns : int64[n]
        Times.
    bid, ask : float64[n]
        Best quotes, CNY.
    params : PolicyParams
        The bundle's thresholds.
    costs : TradingCosts
        Of the day's contract.

    Returns
    -------
    fills : list of Fill
    report : TradingReport
    equity : float64[n]
        Net PnL along the stretch.
    """
    row, volume, closed, price = replay(p, bid, ask, params)
    fees = costs.of(volume, closed, price)
    fills = [
        Fill(int(datetime_ns[r]), 1 if v > 0 else -1, abs(int(v)), float(x), float(f))
        for r, v, x, f in zip(row, volume, price, fees, strict=True)
    ]
    report, equity = trading_report(fills, datetime_ns, (bid + ask) / 2, costs.multiplier)
    return fills, report, equity


def add_reports(reports: Sequence[TradingReport]) -> TradingReport:
    """Totals over stretches that each began and ended flat; the drawdown is the worst within one stretch."""
    fields = {key: sum(getattr(report, key) for report in reports) for key in TradingReport.__dataclass_fields__}
    fields["max_drawdown"] = max((report.max_drawdown for report in reports), default=0.0)
    return TradingReport(**fields)
