"""Holds the parts of a walk-forward report: what was tested, and what the policy earned there.

What belongs here: structs without the code that fills them, so that a report is read back without compiled code or a
training library.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ghtrader_models.calibration import Calibration


@dataclass(frozen=True, kw_only=True)
class ScoredSplit:
    """One test of a walk-forward benchmark.

    Attributes
    ----------
    split : int
        Its number, from 0.
    name : str
        Its day or block.
    train_rows, test_rows : int
        Rows learned from, and rows scored.
    prior : list of float
        Shares of DOWN, FLAT and UP in the training rows.
    fit_seconds : float
        Wall time of the fit, that of the calibration included.
    calibration : Calibration or None
        What it came to; None where there were too few rows, and in a report of an older version.
    """

    split: int
    name: str
    train_rows: int
    test_rows: int
    prior: list[float]
    fit_seconds: float
    calibration: Calibration | None = None


@dataclass(frozen=True, kw_only=True)
class TradingReport:
    """What a list of fills came to.

    Attributes
    ----------
    net_pnl, gross_pnl, fees : float
        CNY; net is gross less fees; an open position is valued at its mark (`accounting/marks.py`).
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
        Lots left open, signed; what was carried in counts until it is closed.
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


@dataclass(frozen=True, kw_only=True)
class SimulatedTrading(TradingReport):
    """What the policy earned over the tests of a benchmark: the totals, and what each stretch came to.

    Attributes
    ----------
    per_stretch : list of TradingReport
        One a day of a test, in time order; see `add_reports` for the totals.
    settled : list of str
        Lots that could not be closed and were closed at their last mark, at a roll or where the contract expired.
    """

    per_stretch: list[TradingReport]
    settled: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; without `settled` where it is empty."""
        document = asdict(self)
        return document if self.settled else {name: value for name, value in document.items() if name != "settled"}
