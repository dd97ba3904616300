"""Days of a real lake as arrays: rows in their place, odd days left out by name, what does not belong refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import FailedError, IntegrityError, RefusedError, UsageError
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import ScheduleDay
from ghtrader_market.reference.tick_origin import TickOrigin
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, RAW_TICK_SCHEMA, table_from_values
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_day import build_day
from ghtrader_models.datasets.build_days import build_days, odd_days, refuse_odd_days
from ghtrader_models.datasets.load import load_dataset
from ghtrader_models.datasets.windows import WindowSpec, open_windows
from ghtrader_models.evaluation.splits import make_splits
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.training import train

SYMBOL = "KQ.m@SHFE.cu"
DAYS = (date(2025, 4, 1), date(2025, 4, 2), date(2025, 4, 3))
TEN = tuple(bundled_calendar().days(date(2025, 4, 1), date(2025, 4, 15))[:10])
ROWS = 900


def write_day(
    lake: Lake, day: date, seed: int, contract: str = "SHFE.cu2506", segment: int = 0, *, levels: int = 5,
    locked: bool = False,
) -> None:  # fmt: skip
    rng = np.random.default_rng(seed)
    start = bundled_calendar().sessions(get_variety("cu"), day)[-1][0]
    times = start + np.arange(ROWS, dtype=np.int64) * 500_000_000
    bid = 70_000 + 10 * np.cumsum(rng.integers(-1, 2, ROWS)).astype(float)
    values = np.zeros((27, ROWS))
    traded = rng.integers(0, 5, ROWS)
    for name in ("last_price", "average", "highest", "lowest"):
        values[COLUMN_INDEX[name]] = bid
    values[COLUMN_INDEX["volume"]] = np.cumsum(traded)
    values[COLUMN_INDEX["amount"]] = np.cumsum(traded * 5 * bid)
    values[COLUMN_INDEX["open_interest"]] = 1000
    for level in range(1, 6):
        values[COLUMN_INDEX[f"bid_price{level}"]] = bid - 10 * (level - 1)
        values[COLUMN_INDEX[f"ask_price{level}"]] = bid + 10 * level
        values[COLUMN_INDEX[f"bid_volume{level}"]] = rng.integers(1, 30, ROWS)
        values[COLUMN_INDEX[f"ask_volume{level}"]] = rng.integers(1, 30, ROWS)
    for level in range(levels + 1, 6):
        for name in ("bid_price", "ask_price"):
            values[COLUMN_INDEX[f"{name}{level}"]] = np.nan
    if locked:  # at the upper limit nobody sells
        for level in range(1, 6):
            values[COLUMN_INDEX[f"ask_price{level}"]] = np.nan
            values[COLUMN_INDEX[f"ask_volume{level}"]] = 0
    table = table_from_values(np.arange(ROWS), times, values)
    lake.write_day("main_l5", SYMBOL, day, with_provenance(table, ScheduleDay(day, contract, segment, "h")), source="t")


def build(lake: Lake, day: date, **options: object) -> None:
    build_day(lake, SYMBOL, day, get_factor_set("lean", levels=5), LabelSpec((10, 50)), run_id="t", **options)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(tmp_path / "data")
    for index, day in enumerate(DAYS):
        write_day(made, day, index, "SHFE.cu2506" if index < 2 else "SHFE.cu2507", segment=int(index == 2))
        build(made, day)
    return made


def test_rows_stay_in_their_place(lake: Lake) -> None:
    found = load_dataset(lake, SYMBOL, [DAYS[2], *DAYS[:2], DAYS[0]], 50)
    assert found.days == DAYS and len(found) == 3 * ROWS
    assert found.names == get_factor_set("lean", levels=5).names
    assert found.X.dtype == np.float32 and found.X.flags.c_contiguous
    assert found.X.shape == (3 * ROWS, len(found.names))
    assert [fact.contract for fact in found.facts] == ["SHFE.cu2506", "SHFE.cu2506", "SHFE.cu2507"]
    assert found.segment_id.tolist() == [0] * (2 * ROWS) + [1] * ROWS
    assert found.row_in_day.tolist() == list(range(ROWS)) * 3
    assert (np.diff(found.datetime_ns) > 0).all()
    np.testing.assert_array_equal(found.mid, (found.bid + found.ask) / 2)
    assert (found.price_tick, found.multiplier, found.levels) == (10.0, 5, 5)
    table = lake.read_day("features", SYMBOL, DAYS[1])
    for index, name in enumerate(found.names):
        np.testing.assert_array_equal(found.X[found.rows_of_day(DAYS[1]), index], table.column(name).to_numpy())


def test_usable_rows_are_warm_labelled_and_end_inside_their_day(lake: Lake) -> None:
    found = load_dataset(lake, SYMBOL, DAYS, 50)
    assert not found.usable[found.row_in_day >= ROWS - 50].any()
    assert found.usable.any()
    for day in range(3):
        rows = np.flatnonzero(found.day_index == day)
        warm = found.warm[rows]
        first = int(np.argmax(warm))
        assert first > 0 and not warm[:first].any() and warm[first:].all()
        assert np.isfinite(found.X[rows[first]]).all()
        up_to = found.X[rows[:first]]
        assert not np.isfinite(up_to).any(axis=0).all()
    moved = np.flatnonzero(found.usable)[:200]
    move = np.rint((found.mid[moved + 50] - found.mid[moved]) / 5)
    assert np.array_equal(found.y[moved], np.where(move >= 2, 2, np.where(move <= -2, 0, 1)))


def test_days_that_do_not_belong_together_are_refused(lake: Lake) -> None:
    write_day(lake, DAYS[1], seed=99)
    with pytest.raises(IntegrityError, match="main_l5 has changed"):
        load_dataset(lake, SYMBOL, DAYS, 50)
    build(lake, DAYS[1], overwrite=True)
    load_dataset(lake, SYMBOL, DAYS, 50)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Ten days: the second has one level, the fourth another factor set, the seventh is locked at its limit."""
    made = Lake(tmp_path_factory.mktemp("odd") / "data")
    for index, day in enumerate(TEN):
        write_day(made, day, index, levels=1 if index == 1 else 5, locked=index == 6)
        factors = get_factor_set("lean", levels=1) if index == 3 else get_factor_set("lean", levels=5)
        build_day(made, SYMBOL, day, factors, LabelSpec((10, 50)), run_id="t", overwrite=True)
    return made


def test_odd_days_are_left_out_by_name_and_the_others_are_loaded(odd: Lake) -> None:
    found = load_dataset(odd, SYMBOL, TEN, 50)
    assert {each.day: each.reason.value for each in found.left_out} == {
        TEN[1]: "other_depth", TEN[3]: "other_factors", TEN[6]: "no_usable_row",
    }  # fmt: skip
    kept = [day for index, day in enumerate(TEN) if index not in (1, 3, 6)]
    alone = load_dataset(odd, SYMBOL, kept, 50)
    assert alone.left_out == () and found.facts == alone.facts and found.names == alone.names
    for name in ("X", "y", "datetime_ns", "day_index", "row_in_day", "segment_id", "mid", "bid", "ask", "warm"):
        np.testing.assert_array_equal(getattr(found, name), getattr(alone, name), name)
    assert load_dataset(odd, SYMBOL, kept, 50, strict=True).facts == alone.facts


@pytest.mark.parametrize(
    ("left", "named"),
    [((3, 6), f"{TEN[1]}: book of one level"), ((1, 6), f"{TEN[3]}: another factor"), ((1, 3), f"{TEN[6]}: no row")],
)
def test_strict_refuses_an_odd_day_by_name(odd: Lake, left: tuple[int, ...], named: str) -> None:
    days = [day for index, day in enumerate(TEN) if index not in left]
    with pytest.raises(RefusedError, match=named) as refused:
        load_dataset(odd, SYMBOL, days, 50, strict=True)
    assert "1 days of KQ.m@SHFE.cu" in refused.value.message and "--strict" in refused.value.hint


def test_splits_over_left_out_days_are_as_honest_as_without_them(odd: Lake) -> None:
    """Purge and embargo count rows of the days that stay; no label of a training row reaches its test."""
    found = load_dataset(odd, SYMBOL, TEN, 50)
    splits = make_splits(found).splits
    kept = [day for index, day in enumerate(TEN) if index not in (1, 3, 6)]
    assert [split.name for split in splits] == [str(day) for day in kept[3:]]
    for split, alone in zip(splits, make_splits(load_dataset(odd, SYMBOL, kept, 50)).splits, strict=True):
        np.testing.assert_array_equal(split.train, alone.train)
        np.testing.assert_array_equal(split.test, alone.test)
        assert split.train.max() + 50 < split.start and split.test.min() >= split.start
        assert found.day_index[split.train].max() < found.day_index[split.start]


def test_a_strict_build_names_the_days_that_training_would_leave_out(odd: Lake) -> None:
    calendar = bundled_calendar()
    reasons = {found.day: found.reason.value for found in odd_days(odd, SYMBOL, TEN, calendar)}
    assert reasons == {TEN[1]: "other_depth", TEN[3]: "other_factors", TEN[6]: "no_usable_row"}
    refuse_odd_days(odd, SYMBOL, [TEN[0], TEN[9]], calendar)
    with pytest.raises(RefusedError, match=f"1 days of KQ.m@SHFE.cu .*{TEN[6]}: no row"):
        refuse_odd_days(odd, SYMBOL, TEN[4:], calendar)


def test_a_day_that_became_a_holiday_is_left_out(lake: Lake) -> None:
    bundled = bundled_calendar()
    newer = TradingCalendar([*bundled.holidays, DAYS[1]], bundled.first, bundled.last)
    found = load_dataset(lake, SYMBOL, DAYS, 50, calendar=newer)
    assert found.days == (DAYS[0], DAYS[2]) and found.left_out[0].reason.value == "no_trading_day"
    with pytest.raises(UsageError, match="no day of KQ.m@SHFE.cu may be used: 2025-04-02: the holiday list"):
        load_dataset(lake, SYMBOL, DAYS[1:2], 50, calendar=newer)


def test_nothing_but_unusable_days_is_said_with_the_factors_that_lack(odd: Lake) -> None:
    with pytest.raises(UsageError, match="no row of KQ.m@SHFE.cu at horizon 50 to learn from") as said:
        load_dataset(odd, SYMBOL, [TEN[6]], 50)
    assert "never known" in said.value.hint


def test_days_of_other_horizons_stay_where_they_have_the_wanted_one(lake: Lake) -> None:
    build_day(lake, SYMBOL, DAYS[1], get_factor_set("lean", levels=5), LabelSpec((50,)), run_id="t", overwrite=True)
    assert load_dataset(lake, SYMBOL, DAYS, 50).days == DAYS
    short = load_dataset(lake, SYMBOL, DAYS, 10)
    assert short.days == (DAYS[0], DAYS[2]) and short.left_out[0].reason.value == "horizon_not_built"
    assert short.label_spec.horizons == (10, 50)


@pytest.mark.parametrize("kind", ["main_l5", "ticks"])
def test_a_built_day_whose_rows_lost_their_provenance_is_named(lake: Lake, tmp_path: Path, kind: str) -> None:
    """Of a main series and of one contract: removed, blank or another's, in features or labels, rows or windows."""
    symbol = SYMBOL if kind == "main_l5" else "SHFE.cu2506"
    if kind == "ticks":
        for day in DAYS[:2]:
            ticks = lake.read_day("main_l5", SYMBOL, day).select(RAW_TICK_SCHEMA.names)
            lake.write_day("ticks", symbol, day, ticks, source="t")
            build_day(lake, symbol, day, get_factor_set("lean"), LabelSpec((10, 50)), run_id="t", kind=kind)
    for number, (dataset, column, how) in enumerate(
        [
            ("features", "segment_id", "removed"),
            ("labels", "segment_id", "null"),
            ("features", "segment_id", "another"),
            ("labels", "schedule_hash", "null"),
            ("features", "underlying_contract", "removed"),
        ]
    ):
        table, manifest = lake.read_day(dataset, symbol, DAYS[1]), lake.manifest(dataset, symbol, DAYS[1])
        place = table.schema.get_field_index(column)
        changed = table.remove_column(place)
        if how != "removed":
            blank = pa.array([None if how == "null" else 3] * ROWS, table.schema.field(column).type)
            changed = table.set_column(place, column, blank)
        lake.write_day(
            dataset, symbol, DAYS[1], changed, schema=changed.schema, source=manifest.source, details=manifest.details
        )
        for read in (
            lambda: load_dataset(lake, symbol, DAYS[:2], 50),
            lambda number=number: open_windows(
                lake, tmp_path / f"cache{number}", symbol, DAYS[:2], WindowSpec(5, horizon=50)
            ),
        ):
            with pytest.raises(IntegrityError) as refusal:
                read()
            assert column in refusal.value.message and f"{dataset} of {symbol} on {DAYS[1]}" in refusal.value.message
        lake.write_day(
            dataset, symbol, DAYS[1], table, schema=table.schema, source=manifest.source, details=manifest.details
        )
    assert load_dataset(lake, symbol, DAYS[:2], 50).usable.any()


def test_what_is_not_there_is_named(lake: Lake) -> None:
    with pytest.raises(UsageError, match="horizon 7"):
        load_dataset(lake, SYMBOL, DAYS, 7)
    with pytest.raises(FailedError):
        load_dataset(lake, SYMBOL, [date(2025, 4, 7)], 50)
    with pytest.raises(UsageError, match="no days"):
        load_dataset(lake, SYMBOL, [], 50)
    with pytest.raises(UsageError, match="not in this data set"):
        load_dataset(lake, SYMBOL, DAYS, 50).rows_of_day(date(2025, 4, 7))


def test_a_bundle_says_what_it_was_made_of(lake: Lake, tmp_path: Path) -> None:
    bundle = train(lake, tmp_path / "models", SYMBOL, "logistic", 50, DAYS, seed=1, run_id="r")
    manifest = lake.manifest("features", SYMBOL, DAYS[0])
    assert bundle.content.days[0].features_hash == manifest.content_hash
    assert bundle.factor_spec_hash == manifest.features.factor_set_hash
    assert bundle.label_spec.to_dict() == lake.manifest("labels", SYMBOL, DAYS[0]).label_spec.to_json()
    assert (bundle.symbol, bundle.horizon, bundle.levels) == (SYMBOL, 50, 5)


# ---- where the ticks come from ----

SEED_1, SEED_2 = Scenario(seed=1).origin, Scenario(seed=2).origin


def retold(lake: Lake, day: date, origin: TickOrigin | None) -> None:
    """The day's ticks, saying that they come from elsewhere."""
    manifest = lake.manifest("main_l5", SYMBOL, day)
    details = replace(manifest.details, origin=origin)
    lake.write_day("main_l5", SYMBOL, day, lake.read_day("main_l5", SYMBOL, day), source="t", details=details)


def test_days_of_two_markets_are_neither_built_nor_learned_from_unless_asked(tmp_path: Path) -> None:
    lake, days = Lake(tmp_path / "data"), TEN[:3]
    for number, day in enumerate(days):
        write_day(lake, day, number)
        retold(lake, day, SEED_2 if number == 2 else SEED_1)

    def built(wanted: Sequence[date], **options: object) -> list[date]:
        report = build_days(lake, SYMBOL, wanted, get_factor_set("lean"), LabelSpec((10, 50)), run_id="t", **options)
        report.raise_if_failed()
        return sorted(report.built)

    with pytest.raises(RefusedError, match="2 days from 2025-04-01 to 2025-04-02.*seed 2 .2025-04-03"):
        built(days)
    assert lake.days("features", SYMBOL) == [] and built(days[:2]) == list(days[:2])
    with pytest.raises(RefusedError, match="come from 2 different markets"):
        built(days[2:])  # alone, beside what the series has
    assert built(days, mix=True) == list(days)
    found = lake.manifest("features", SYMBOL, days[2])
    assert found.details.origin == SEED_2 == lake.manifest("labels", SYMBOL, days[2]).details.origin

    spec = WindowSpec(length=10, stride=10, horizon=50)
    taken = []
    for take in (
        lambda **options: load_dataset(lake, SYMBOL, days, 50, **options),
        lambda **options: open_windows(lake, tmp_path / "cache", SYMBOL, days, spec, **options),
        lambda **options: train(lake, tmp_path / "models", SYMBOL, "logistic", 50, days, **options),
    ):
        with pytest.raises(RefusedError, match="different markets") as refused:
            take()
        assert refused.value.exit_code == 3 and "--mix" in refused.value.hint
        taken.append(take(mix=True))
    assert {fact.origin for fact in load_dataset(lake, SYMBOL, days[:2], 50).facts} == {SEED_1}
    assert taken[-1].content.origins == (SEED_1, SEED_2)


def test_a_day_is_built_again_when_its_ticks_turn_out_to_come_from_elsewhere(lake: Lake) -> None:
    before = lake.manifest("features", SYMBOL, DAYS[0])
    retold(lake, DAYS[0], SEED_1)
    build(lake, DAYS[0])
    after = lake.manifest("features", SYMBOL, DAYS[0])
    assert before.details.origin is None and after.details.origin == SEED_1
    assert (after.content_hash, after.files) == (before.content_hash, before.files)
