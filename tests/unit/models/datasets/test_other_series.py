"""Tapes of other varieties beside a data set: which days, and what is refused; labels of further horizons."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import ScheduleDay
from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.datasets.load import load_dataset
from ghtrader_models.datasets.other_series import with_varieties
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec

DAYS = (date(2025, 4, 1), date(2025, 4, 2), date(2025, 4, 3))
ROWS = 400


def build(
    lake: Lake,
    key: str,
    day: date,
    factors: str = "lean",
    horizons: tuple[int, ...] = (10, 50),
    overwrite: bool = False,
) -> None:
    variety = get_variety(key)
    rng = np.random.default_rng(day.day)
    contract, step = f"SHFE.{key}2506", variety.price_tick(f"SHFE.{key}2506", day)
    start = bundled_calendar().sessions(key, day)[-1][0]
    bid = 700 * step + step * np.cumsum(rng.integers(-1, 2, ROWS))
    values = np.zeros((27, ROWS))
    for name in ("last_price", "average", "highest", "lowest"):
        values[COLUMN_INDEX[name]] = bid
    values[COLUMN_INDEX["volume"]] = np.cumsum(rng.integers(0, 5, ROWS))
    values[COLUMN_INDEX["amount"]] = np.cumsum(variety.multiplier * bid)
    for level in range(1, 6):
        values[COLUMN_INDEX[f"bid_price{level}"]] = bid - step * (level - 1)
        values[COLUMN_INDEX[f"ask_price{level}"]] = bid + step * level
        for side in ("bid", "ask"):
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = rng.integers(1, 30, ROWS)
    table = table_from_values(np.arange(ROWS), start + np.arange(ROWS, dtype=np.int64) * 500_000_000, values)
    symbol = variety.continuous_symbol
    lake.write_day("main_l5", symbol, day, with_provenance(table, ScheduleDay(day, contract, 0, "h")), source="t")
    factor_set = get_factor_set(factors, levels=5)
    build_day(lake, symbol, day, factor_set, LabelSpec(horizons), run_id="t", overwrite=overwrite)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake(tmp_path_factory.mktemp("home") / "data")
    for day in DAYS[:2]:
        build(made, "cu", day)
    for day in DAYS:
        build(made, "au", day)
    build(made, "ag", DAYS[0], factors="book")
    return made


def test_days_up_to_the_last_one_come_along_mapped_or_not(lake: Lake, tmp_path: Path) -> None:
    own = load_dataset(lake, "KQ.m@SHFE.cu", DAYS[:2], 50)
    assert with_varieties(own, lake, ()) is not None and with_varieties(own, lake, ()).others == ()
    (held,) = with_varieties(own, lake, ["au"]).others
    (mapped,) = with_varieties(own, lake, ["au"], cache=tmp_path).others
    (chosen,) = with_varieties(own, lake, ["au"], days={"KQ.m@SHFE.au": [DAYS[1]]}).others
    assert [fact.day for fact in held.facts] == list(DAYS[:2]) and held.symbol == "KQ.m@SHFE.au"
    assert [fact.day for fact in chosen.facts] == [DAYS[1]]
    assert held.names == own.names and len(held) == 2 * ROWS
    np.testing.assert_array_equal(held.X[:], mapped.X[np.arange(2 * ROWS)])
    assert with_varieties(own, lake, ["au"]).samples(np.arange(3)).others[0].symbol == "KQ.m@SHFE.au"


def test_what_cannot_be_put_beside_it_is_refused(lake: Lake) -> None:
    own = load_dataset(lake, "KQ.m@SHFE.cu", DAYS[:2], 50)
    for keys, words in (
        (["cu"], "name others"), (["au", "au"], "each once"), (["ag"], "other factors"), (["x"], "unknown variety")
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            with_varieties(own, lake, keys)
        assert words in f"{caught.value.message} {caught.value.hint}"
    early = replace(own, facts=tuple(replace(fact, day=date(2024, 1, 2)) for fact in own.facts))
    with pytest.raises(FailedError, match="no day of KQ.m@SHFE.au up to 2024-01-02"):
        with_varieties(early, lake, ["au"])
    elsewhere = TickOrigin(kind=OriginKind.SIMULATED, service="s", world="none", seed=1, scenario="x")
    moved = replace(own, facts=tuple(replace(fact, origin=elsewhere) for fact in own.facts))
    with pytest.raises(UsageError, match="different markets"):
        with_varieties(moved, lake, ["au"])
    assert with_varieties(moved, lake, ["au"], mix=True).others


def test_labels_of_other_horizons_come_along_where_every_day_has_them(lake: Lake, tmp_path: Path) -> None:
    found = load_dataset(lake, "KQ.m@SHFE.cu", DAYS[:2], 50, cache=tmp_path)
    assert set(found.further_labels) == {10}
    np.testing.assert_array_equal(found.further_labels[10], load_dataset(lake, "KQ.m@SHFE.cu", DAYS[:2], 10).y)
    assert found.samples(np.arange(5)).further_labels[10].size == len(found)

    other = Lake(tmp_path / "data")
    build(other, "cu", DAYS[0])
    build(other, "cu", DAYS[1], horizons=(50, 200), overwrite=True)
    mixed = load_dataset(other, "KQ.m@SHFE.cu", DAYS[:2], 50)
    assert len(mixed.days) == 2 and not mixed.further_labels
