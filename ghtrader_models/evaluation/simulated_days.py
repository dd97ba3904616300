"""Simulates the policy over one trading day after another and carries what could not be closed, as `paper` does.

What one stretch comes to is `policy_simulation`'s; which day is played with which probabilities is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np

from ghtrader_market.accounting.carried_position import CarriedPosition, carried, settlement_fills, why_settled
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.reference.last_trading_day import last_trading_day
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar, last_session_end
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.evaluation.policy_simulation import (
    SimulatedStretch,
    TradingCosts,
    add_reports,
    simulate_stretch,
    trading_costs,
    trading_report,
)
from ghtrader_models.evaluation.recorded_books import DayBooks
from ghtrader_models.evaluation.report_types import SimulatedTrading, TradingReport
from ghtrader_models.policy import PolicyParams


@dataclass(frozen=True, kw_only=True)
class _Played:
    """One stretch and what it began with."""

    done: SimulatedStretch
    costs: TradingCosts
    datetime_ns: np.ndarray
    opening: CarriedPosition | None


@dataclass(kw_only=True)
class SimulatedDays:
    """The account of a simulation over several days.

    Attributes
    ----------
    model : ExecutionModel
        When orders meet the market.
    calendar : TradingCalendar
        Whose sessions and last days of contracts count.
    held : CarriedPosition or None
        What is held after the last stretch.
    settled : list of str
        Lots that were closed at their last mark, and why, each a sentence.
    """

    model: ExecutionModel
    calendar: TradingCalendar = field(default_factory=bundled_calendar)
    held: CarriedPosition | None = None
    settled: list[str] = field(default_factory=list)
    _played: list[_Played] = field(default_factory=list)

    def play(
        self,
        p: np.ndarray,
        datetime_ns: np.ndarray,
        bid: np.ndarray,
        ask: np.ndarray,
        params: PolicyParams,
        contract: str,
        day: date,
        flat: np.ndarray,
        books: DayBooks | None = None,
    ) -> None:
        """Run the policy over a stretch of a day; arguments as `policy_simulation.simulate_stretch` has them.

        Parameters
        ----------
        contract : str
            The day's. Lots of another one are closed at their last mark first.
        day : date
            A trading day; not before those that were played.
        books : DayBooks, optional
            The five levels of the same rows; where absent whatever is wanted is there at the best quote.
        """
        self._settle(contract)
        held = self.held.at_start_of(day) if self.held is not None else None
        costs = trading_costs(contract, day, self.calendar)
        depth, last = (books.depth, books.last) if books is not None else (None, None)
        done = simulate_stretch(
            p, datetime_ns, bid, ask, params, costs, flat, model=self.model, depth=depth, last=last, held=held
        )
        self._played.append(_Played(done=done, costs=costs, datetime_ns=datetime_ns, opening=held))
        self.held = carried(contract, day, done.position, done.mark)
        self._settle("")

    def _settle(self, next_contract: str) -> None:
        """Close what is held at its mark where it can be held no longer."""
        held = self.held
        if held is None:
            return
        variety = variety_of(held.contract)
        why = why_settled(held, next_contract, last_trading_day(variety, held.contract, held.day, self.calendar))
        if not why:
            return
        one = self._played[-1]
        end_ns = max(last_session_end(variety, held.day), int(one.datetime_ns[-1]))
        fills = [*one.done.fills, *settlement_fills(held, one.costs.rates, one.costs.multiplier, end_ns)]
        opening, opening_mark = (one.opening.net, one.opening.mark) if one.opening is not None else (0, np.nan)
        report, equity = trading_report(
            fills, one.datetime_ns, one.done.marks, one.costs.multiplier, opening, opening_mark
        )
        equity[-1] = report.net_pnl
        done = replace(one.done, fills=fills, report=report, equity=equity)
        self._played[-1] = replace(one, done=done)
        self.held = None
        self.settled.append(why)

    @property
    def fills(self) -> list[Fill]:
        """All of them, in order."""
        return [fill for one in self._played for fill in one.done.fills]

    @property
    def reports(self) -> list[TradingReport]:
        """One a stretch."""
        return [one.done.report for one in self._played]

    def trading(self) -> SimulatedTrading | None:
        """What it all came to; None where nothing was played."""
        if not self._played:
            return None
        carried_in = [one.opening.net if one.opening is not None else 0 for one in self._played]
        total = add_reports(self.reports, carried_in)
        return SimulatedTrading(**total.to_dict(), per_stretch=self.reports, settled=self.settled)

    def equity(self) -> tuple[np.ndarray, np.ndarray]:
        """Times int64[n] and net PnL float64[n] in CNY, added up over the stretches; empty where nothing was played."""
        before = np.cumsum([0.0] + [report.net_pnl for report in self.reports])[:-1]
        times = [one.datetime_ns for one in self._played]
        paths = [one.done.equity + offset for one, offset in zip(self._played, before, strict=True)]
        return np.concatenate([*times, np.empty(0, np.int64)]), np.concatenate([*paths, np.empty(0)])
