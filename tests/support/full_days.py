"""Writes days of the market's own size straight into a lake: main_l5, features and labels of one contract.

Four days are built from ticks; the others are copies of them with times of their own. Factors are cut to 32 values
each, so that a year of them lies in a few GB of Parquet; as arrays they have their full size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa

from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import ScheduleDay
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec

SYMBOL, CONTRACT = "KQ.m@SHFE.cu", "SHFE.cu2512"
TEMPLATES, LEVELS = 4, 32
FIRST, LAST = date(2024, 11, 1), date(2025, 12, 10)
HORIZON = 50


def trading_days(count: int) -> list[date]:
    """The first `count` days with all sessions, from `FIRST` on."""
    calendar = bundled_calendar()
    whole = max(len(calendar.sessions("cu", day)) for day in calendar.days(FIRST, LAST)[:5])
    return [day for day in calendar.days(FIRST, LAST) if len(calendar.sessions("cu", day)) == whole][:count]


def times_of(day: date, seconds: float = 0.5) -> np.ndarray:
    """int64[n]: a snapshot each half second of the day's sessions; 55,800 of copper."""
    step = int(seconds * 1e9)
    return np.concatenate([np.arange(a, b, step) for a, b in bundled_calendar().sessions("cu", day)])


def write_main(lake: Lake, day: date, seed: int, seconds: float = 0.5) -> None:
    """main_l5 of a book that leans before it moves: its imbalance says something of the next mid."""
    rng, times = np.random.default_rng(seed), times_of(day, seconds)
    n, values = times.size, np.zeros((27, times.size))
    lean = np.convolve(rng.normal(size=n + 39), np.ones(40) / 40, "valid") * 3
    moves = (rng.random(n) < 0.06 + 0.03 * np.abs(lean)) * np.where(rng.random(n) < 0.5 + 0.3 * np.tanh(lean), 1, -1)
    bid, lots = 7000 + np.cumsum(moves), rng.integers(0, 20, n)
    values[COLUMN_INDEX["last_price"]] = (bid + (rng.random(n) < 0.5)) * 10.0
    values[COLUMN_INDEX["volume"]], values[COLUMN_INDEX["amount"]] = np.cumsum(lots), np.cumsum(lots * 50.0 * bid)
    values[COLUMN_INDEX["open_interest"]] = 100_000
    for level in range(1, 6):
        values[COLUMN_INDEX[f"bid_price{level}"]] = (bid - level + 1) * 10.0
        values[COLUMN_INDEX[f"ask_price{level}"]] = (bid + level) * 10.0
        for side, sign in (("bid", 1), ("ask", -1)):
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = np.rint(30 + 25 * np.tanh(sign * lean)) + rng.integers(
                1, 9, n
            )
    _write_main(lake, day, table_from_values(np.arange(n), times, values))


def _write_main(lake: Lake, day: date, table: pa.Table) -> None:
    lake.write_day(
        "main_l5", SYMBOL, day, with_provenance(table, ScheduleDay(day, CONTRACT, 0, "h")), source="full days"
    )


def _coarse(column: pa.ChunkedArray) -> pa.Array:
    """A factor with at most `LEVELS` values; unknown ones stay unknown."""
    values = column.to_numpy()
    known = np.isfinite(values)
    if known.any():
        edges = np.unique(np.quantile(values[known], np.linspace(0, 1, LEVELS)).astype(np.float32))
        values = np.where(known, edges[np.searchsorted(edges, values).clip(0, edges.size - 1)], values)
    return pa.array(values.astype(np.float32), pa.float32())


def write_template(lake: Lake, day: date, seed: int, factor_set: str = "core", seconds: float = 0.5) -> None:
    """Build one day from its ticks, its factors cut to few values."""
    write_main(lake, day, seed, seconds)
    build_day(lake, SYMBOL, day, get_factor_set(factor_set), LabelSpec((HORIZON,)), run_id="full-days")
    manifest = lake.manifest("features", SYMBOL, day)
    table = lake.read_day("features", SYMBOL, day)
    for name in manifest.factor_names:
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), _coarse(table[name]))
    lake.write_day(
        "features", SYMBOL, day, table, schema=table.schema, source=manifest.source, details=manifest.details
    )


def copy_day(lake: Lake, template: date, day: date, seconds: float = 0.5) -> None:
    """Write a day with the rows of another and times of its own."""
    times = times_of(day, seconds)

    def moved(dataset: str) -> pa.Table:
        table = lake.read_day(dataset, SYMBOL, template)
        place = table.schema.get_field_index("datetime_ns")
        return table.set_column(place, table.schema.field(place), pa.array(times, table.schema.field(place).type))

    main = moved("main_l5")
    written = lake.write_day("main_l5", SYMBOL, day, main, source="full days")
    for dataset in ("features", "labels"):
        made, table = lake.manifest(dataset, SYMBOL, template), moved(dataset)
        details = replace(made.details, main_l5_content_hash=written.content_hash)
        lake.write_day(dataset, SYMBOL, day, table, schema=table.schema, source=made.source, details=details)


def write_days(
    root: Path, days: Sequence[date], wanted: Sequence[int], *, factor_set: str = "core", seconds: float = 0.5
) -> None:
    """Write those of `days` whose places are `wanted`; the templates, the first four, are there or among them."""
    lake = Lake(root)
    for number in wanted:
        if number < TEMPLATES:
            write_template(lake, days[number], number, factor_set, seconds)
        else:
            copy_day(lake, days[number % TEMPLATES], days[number], seconds)
