"""Days at their worst give a benchmark and a paper account the same fills, the same money and the same lots at the end.

What is compared: the core with a paper account (`backtest_day`), and the compiled simulation. What is the right outcome
of one fault alone stands with the unit tests of either.
"""

from __future__ import annotations

import numpy as np
import pytest

from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.evaluation.policy_simulation import simulate_targets, trading_costs
from tests.support.paper_and_benchmark import both, check
from tests.support.random_days import PRICES, RandomDay, Trouble, random_day


@pytest.mark.parametrize("troubles", [(), *((trouble,) for trouble in Trouble), tuple(Trouble)], ids=str)
def test_a_day_is_played_alike_on_paper_and_in_a_benchmark(settings, troubles) -> None:
    assert sum(check(settings, random_day(seed, troubles)) for seed in range(4)) > 20


def test_no_order_leaves_with_the_snapshot_that_ends_a_session(settings) -> None:
    """A target that comes with the row of 11:30:00 is sent with the first of the afternoon, and fills at its next."""
    contract, day = "SHFE.cu2502", random_day(0).day
    sessions = bundled_calendar().sessions(variety_of(contract), day)
    end, start = sessions[-2][1], sessions[-1][0]
    step = 500_000_000
    times = np.array([end - step, end, start, start + step, start + 2 * step], np.int64)
    bid = np.full(5, 70_000.0)
    done = simulate_targets(
        np.array([0, 1, 1, 1, 1]), times, bid, bid + 10, trading_costs(contract, day), model=ExecutionModel()
    )  # fmt: skip
    assert [fill.market_ns for fill in done.fills] == [start + step]
    sent_before = simulate_targets(
        np.array([1, 1, 1, 1, 1]), times, bid, bid + 10, trading_costs(contract, day), model=ExecutionModel()
    )  # fmt: skip
    assert [fill.market_ns for fill in sent_before.fills] == [end], "one on its way meets the session's last book"


def test_a_price_nowhere_near_the_market_fills_nothing(settings) -> None:
    """A bid of ten times the ask would earn a lot sold at it half a million."""
    made = random_day(0, ())
    values = made.values.copy()
    values[PRICES[0], ::3] *= 10
    strange = RandomDay(**{**vars(made), "values": values, "held": None})
    played, simulated = both(settings, strange)
    assert played.fills and max(fill.price for fill in played.fills) < 80_000
    assert abs(simulated.report.gross_pnl) < 100_000
