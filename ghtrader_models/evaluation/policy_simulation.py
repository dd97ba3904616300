"""Reports a list of fills: PnL, fees, drawdown, turnover, round trips; and simulates the policy over recorded rows.

The sums are `ghtrader_market.accounting`'s. Money is in CNY.

`simulate_policy` is thin on purpose: one row of latency, whole fills at the opposite best quote, no impact, no queue.
It says what the probabilities are worth, not what an order would have got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from ghtrader_market.accounting.fill import Fill, Side
from ghtrader_market.accounting.pnl import equity_curve, max_drawdown
from ghtrader_market.accounting.round_trips import round_trips
from ghtrader_market.reference.varieties import FeeRates, variety_of
from ghtrader_models.evaluation.report_types import TradingReport
from ghtrader_models.policy import PolicyParams, replay


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
    equity, net = equity_curve(fills, datetime_ns, mid, multiplier)
    signed = np.array([fill.signed for fill in fills], np.int64)
    prices = np.array([fill.price for fill in fills], np.float64)
    fees = float(np.array([fill.fee for fill in fills], np.float64).sum())
    trips = round_trips(fills, dict.fromkeys((fill.symbol for fill in fills), multiplier))
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
        final_position=int(signed.sum()),
    )
    return report, equity


@dataclass(frozen=True)
class TradingCosts:
    """What one contract costs on one day.

    Attributes
    ----------
    rates : FeeRates
        Of the contract and day.
    multiplier : int
        Units of the product a lot.
    contract : str
        Its name, which the fills carry.
    """

    rates: FeeRates
    multiplier: int
    contract: str = ""

    def of(self, volume: np.ndarray, closed: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Fees in CNY of fills within one day: `closed` of |`volume`| lots close positions opened that day."""
        opened = np.abs(volume) - closed
        notional = price * self.multiplier
        opening = opened * (self.rates.open_ratio * notional + self.rates.open_lot)
        closing = closed * (self.rates.close_today_ratio * notional + self.rates.close_today_lot)
        fees: np.ndarray = opening + closing
        return fees


def trading_costs(contract: str, day: date) -> TradingCosts:
    """Costs from the variety table."""
    variety = variety_of(contract)
    return TradingCosts(variety.fees(contract, day), variety.multiplier, contract)


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
        Fill(
            symbol=costs.contract, side=Side.of(v), offset=None, volume=abs(int(v)), price=float(x),
            fee=float(f), market_ns=int(datetime_ns[r]),
        )  # fmt: skip
        for r, v, x, f in zip(row, volume, price, fees, strict=True)
    ]
    report, equity = trading_report(fills, datetime_ns, (bid + ask) / 2, costs.multiplier)
    return fills, report, equity


def add_reports(reports: Sequence[TradingReport]) -> TradingReport:
    """Totals over stretches that each began and ended flat; the drawdown is the worst within one stretch."""
    fields = {key: sum(getattr(report, key) for report in reports) for key in TradingReport.__dataclass_fields__}
    fields["max_drawdown"] = max((report.max_drawdown for report in reports), default=0.0)
    return TradingReport(**fields)
