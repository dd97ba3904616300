"""The books behind a data set's rows: which are read, and what a benchmark makes of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import IntegrityError
from ghtrader_base.settings import load_settings
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.datasets.load import load_dataset
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.evaluation.policy_fit import PolicyOptions
from ghtrader_models.evaluation.recorded_books import RecordedBooks
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.families.logistic import LogisticConfig
from ghtrader_models.labels.labels import LabelSpec
from tests.support.runtime_kit import session_times, synthetic_values, write_main_l5

CU, DAYS, ROWS, HORIZON = "SHFE.cu2502", [date(2025, 1, 8), date(2025, 1, 9)], 900, 10


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two built days of raw ticks; the first row of each is before the session and no row of a data set."""
    found = Lake(tmp_path_factory.mktemp("books") / "data")
    for seed, day in enumerate(DAYS):
        times = session_times(CU, day, ROWS)
        times[0] -= 60 * 10**9
        table = table_from_values(np.arange(ROWS), times, synthetic_values(ROWS, seed))
        found.write_day("ticks", CU, day, table, source="test", run_id="test")
        build_day(found, CU, day, get_factor_set("lean"), LabelSpec((HORIZON,)), run_id="test", kind="ticks")
    return found


def test_the_rows_of_the_data_set_and_only_what_is_needed(lake: Lake) -> None:
    data = load_dataset(lake, CU, DAYS, HORIZON)
    rows, books = data.rows_of_day(DAYS[1]), RecordedBooks(lake=lake, symbol=CU)
    asked = (DAYS[1], data.datetime_ns[rows], data.bid[rows], data.ask[rows])
    values = synthetic_values(ROWS, 1)[:, 1:]
    deep = books.of_day(*asked)
    assert deep.depth.bid.shape == (ROWS - 1, 5) and deep is books.of_day(*asked), "read once"
    assert deep.depth.ask[:, 4].tolist() == values[COLUMN_INDEX["ask_price5"]].tolist()
    assert deep.depth.bid_volume[:, 1].tolist() == values[COLUMN_INDEX["bid_volume2"]].tolist()
    assert deep.last.tolist() == values[COLUMN_INDEX["last_price"]].tolist()
    flat = books.of_day(*asked, one_lot=True)
    assert flat.depth.bid.shape == (ROWS - 1, 1) and (flat.depth.ask_volume > 10**9).all()
    assert flat.rows(slice(3, 5)).depth.bid[:, 0].tolist() == data.bid[rows][3:5].tolist()
    with pytest.raises(IntegrityError, match="are not the same ticks"):
        RecordedBooks(lake=lake, symbol=CU).of_day(DAYS[1], data.datetime_ns[rows] + 1, data.bid[rows], data.ask[rows])


def test_a_best_quote_without_a_lot_asks_for_all_levels(tmp_path: Path) -> None:
    settings, values, times = load_settings(tmp_path), synthetic_values(50, 1), session_times(CU, DAYS[0], 50)
    values[COLUMN_INDEX["ask_volume1"], 7] = 0
    series = write_main_l5(settings, CU, DAYS[0], times, values)
    bid, ask = values[COLUMN_INDEX["bid_price1"]], values[COLUMN_INDEX["ask_price1"]]
    books = RecordedBooks(lake=Lake(settings.data), symbol=series)
    found = books.of_day(DAYS[0], times, bid, ask, one_lot=True)
    assert found.depth.ask_volume.shape == (50, 5) and found.depth.ask_volume[7, 0] == 0


def test_several_lots_cost_more_where_books_are_walked(lake: Lake) -> None:
    data = load_dataset(lake, CU, DAYS, HORIZON)
    policy, config = PolicyOptions(max_lots=40, quantile=0.5), LogisticConfig(stride=1, memory=0, c=1.0)
    execution = ExecutionModel(max_order=40)
    best, walked = (
        run_benchmark(data, "logistic", config=config, policy=policy, execution=execution, books=books).simulation
        for books in (None, RecordedBooks(lake=lake, symbol=CU))
    )
    assert best is not None and walked is not None and walked.fills > best.fills > 0
    assert walked.gross_pnl / walked.volume < best.gross_pnl / best.volume, "forty lots are not there at one price"
