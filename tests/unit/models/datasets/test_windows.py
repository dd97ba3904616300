"""Windows: where they may lie, by brute force; what reading gives; the cache; the normaliser."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import ScheduleDay
from ghtrader_market.reference.tick_schema import table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.feature_scaler import FeatureScaler, fit_scaler
from ghtrader_models.datasets import mapped_rows as module
from ghtrader_models.datasets.build_days import build_days
from ghtrader_models.datasets.day_cache import open_day
from ghtrader_models.datasets.load import load_dataset
from ghtrader_models.datasets.windows import WindowSpec, open_windows, split_windows, window_ends
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.labels.labels import LabelSpec
from tests.support.examples import examples

SYMBOL = "KQ.m@SHFE.cu"
DAYS = (date(2025, 4, 1), date(2025, 4, 2), date(2025, 4, 3))
ROWS = 700
SET = FactorSet("few", {"r": parse("MidReturn(1)"), "i": parse("Imbalance(1)"), "m": parse("Mean(Imbalance(1), 20)")})
SPEC = WindowSpec(length=30, horizon=10)


def make_values(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.zeros((27, ROWS))
    bid = 70_000 + 10 * np.cumsum(rng.integers(-1, 2, ROWS)).astype(float)
    for level in range(5):
        values[7 + 4 * level], values[9 + 4 * level] = bid - 10 * level, bid + 10 * (level + 1)
        values[8 + 4 * level], values[10 + 4 * level] = rng.integers(1, 30, (2, ROWS))
    return values


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    made, calendar = Lake(tmp_path_factory.mktemp("windows") / "data"), bundled_calendar()
    for index, day in enumerate(DAYS):
        sessions = calendar.sessions("cu", day)
        # the last 300 ticks before the morning's break and the first 400 after it
        times = np.r_[
            sessions[-3][1] - np.arange(300, 0, -1) * 500_000_000, sessions[-2][0] + np.arange(400) * 10**9 // 2
        ]
        table = table_from_values(np.arange(ROWS), times, make_values(index))
        provenance = ScheduleDay(day, "SHFE.cu2506" if index < 2 else "SHFE.cu2507", int(index == 2), "h")
        made.write_day("main_l5", SYMBOL, day, with_provenance(table, provenance), source="t")
    assert not build_days(made, SYMBOL, DAYS, SET, LabelSpec((10, 50)), run_id="t").failed
    return made


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def brute_ends(times, y, warm, spec, start, stop):
    ends, last_run, counted = [], None, 0
    for end in range(len(y)):
        first = end - spec.length + 1
        if first < start or end + spec.horizon >= stop or y[end] < 0 or not warm[first]:
            continue
        gaps = [times[t + 1] - times[t] for t in range(first, end)]
        if spec.max_gap_s is not None and any(gap > spec.max_gap_s * 1e9 for gap in gaps):
            continue
        begun = end
        while begun and (spec.max_gap_s is None or times[begun] - times[begun - 1] <= spec.max_gap_s * 1e9):
            begun -= 1
        if begun != last_run:
            last_run, counted = begun, end
        if (end - counted) % spec.stride == 0:
            ends.append(end)
    return ends


@given(st.data())
@settings(max_examples=examples(300), deadline=None)
def test_windows_lie_where_brute_force_puts_them(data):
    n = data.draw(st.integers(1, 60))
    gaps = data.draw(st.lists(st.sampled_from([1, 1, 1, 1, 3, 900]), min_size=n, max_size=n))
    times = np.cumsum(np.array(gaps, np.int64)) * 10**9
    y = np.array(data.draw(st.lists(st.sampled_from([-1, 0, 1, 2, 1, 1]), min_size=n, max_size=n)), np.int8)
    warm = np.arange(n) >= data.draw(st.integers(0, 10))
    spec = WindowSpec(
        data.draw(st.integers(1, 8)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5)),
        data.draw(st.sampled_from([None, 2.0, 120.0])),
    )  # fmt: skip
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    assert window_ends(times, y, warm, spec, start, stop).tolist() == brute_ends(times, y, warm, spec, start, stop)


def test_windows_are_the_rows_before_their_label_inside_one_day_and_run(lake, cache):
    found = open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    table = load_dataset(lake, SYMBOL, DAYS, 10)
    assert len(found) > 1000 and found.rows == len(table) == 3 * ROWS and found.names == table.names
    for index in np.random.default_rng(0).integers(0, len(found), 200):
        row = int(found.day_index[index]) * ROWS + int(found.end[index])
        window = found.window(index)
        assert window.shape == (30, 3) and np.shares_memory(window, found.days[found.day_index[index]].X.array)
        np.testing.assert_array_equal(window, table.X[row - 29 : row + 1])
        assert found.y[index] == table.y[row] >= 0
        assert len(set(table.segment_id[row - 29 : row + 1])) == 1
        assert np.diff(table.datetime_ns[row - 29 : row + 1]).max() <= 10**9
    over = open_windows(lake, cache, SYMBOL, DAYS, WindowSpec(30, 1, 10, max_gap_s=None))
    assert len(over) == len(found) + 3 * 29  # the break costs one window's length a day


def test_every_way_of_reading_gives_the_same_windows(lake, cache):
    found = open_windows(lake, cache, SYMBOL, DAYS, WindowSpec(30, 3, 10))
    whole = found.batch(np.arange(len(found)))
    assert whole.shape == (len(found), 30, 3) and whole.flags.c_contiguous
    # an unknown value (the warm-up's) becomes 0 in a batch, and stays as it is in a view
    plain = np.stack([found.window(index) for index in range(len(found))])
    np.testing.assert_array_equal(whole, np.nan_to_num(plain))
    views = list(found.views(64))
    assert all(view.base is not None and view.shape[0] <= 64 for view, _ in views)
    np.testing.assert_array_equal(np.concatenate([view for view, _ in views]), plain)
    np.testing.assert_array_equal(np.concatenate([y for _, y in views]), found.y)
    batches = list(found.batches(50))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), whole)
    mixed = list(found.batches(50, seed=3))
    order = np.random.default_rng(3).permutation(len(found))
    np.testing.assert_array_equal(np.concatenate([x for x, _ in mixed]), whole[order])
    np.testing.assert_array_equal(np.concatenate([y for _, y in mixed]), found.y[order])
    again = [(x.copy(), id(x.base)) for x, _ in found.batches(50, seed=3, reuse=True)]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in again]), whole[order])
    assert len({base for _, base in again}) == 1
    out = np.empty((2, 30, 3), np.float32)
    assert found.batch(np.array([5, 0]), out) is out and (out[1] == whole[0]).all()
    with pytest.raises(UsageError, match="float32"):
        found.batch(np.array([5]), out)


def test_length_one_is_the_table(lake, cache):
    found = open_windows(lake, cache, SYMBOL, DAYS, WindowSpec(1, 1, 10))
    table = load_dataset(lake, SYMBOL, DAYS, 10)
    np.testing.assert_array_equal(found.batch(np.arange(len(found)))[:, 0], np.nan_to_num(table.X[table.usable]))
    np.testing.assert_array_equal(found.y, table.y[table.usable])


def test_windows_go_to_another_process_by_their_files(lake, cache):
    found = open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    sent = pickle.dumps(found)
    assert found.days[0].X.array.tobytes() not in sent
    np.testing.assert_array_equal(pickle.loads(sent).batch(np.arange(20)), found.batch(np.arange(20)))


@pytest.mark.parametrize("train", [0.5, 0.7, (DAYS[0],), DAYS[:2]])
def test_a_split_runs_through_no_window_and_no_label(lake, cache, train):
    opened = [open_day(lake, cache, SYMBOL, day) for day in DAYS]
    first, second = split_windows(opened, SPEC, train)
    assert len(first) and len(second)
    used = [
        {(int(d), row) for d, e in zip(part.day_index, part.end, strict=True) for row in range(e - 29, e + 11)}
        for part in (first, second)
    ]
    assert not used[0] & used[1]
    assert max(used[0]) < min(used[1])


def test_the_normaliser_knows_the_training_span_alone(lake, cache):
    opened = [open_day(lake, cache, SYMBOL, day) for day in DAYS]
    first, second = split_windows(opened, SPEC, 0.5)
    fitted = first.fit_scaler()
    table = load_dataset(lake, SYMBOL, DAYS, 10)
    rows = table.X[: 3 * ROWS // 2][table.warm[: 3 * ROWS // 2]]
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(fitted.mean, np.nanmean(exact, axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fitted.std, np.nanstd(exact, axis=0), rtol=1e-9)
    assert fitted.rows == rows.shape[0]
    scaled = second.normalised(fitted)
    some = np.arange(0, len(second), 7)
    expected = fitted.apply(np.stack([second.window(i) for i in some]))
    assert (scaled.batch(some).view(np.uint32) == expected.view(np.uint32)).all()
    assert (
        FeatureScaler.from_dict(json.loads(json.dumps(fitted.to_dict()))).apply(rows[:5]).tolist()
        == fitted.apply(rows[:5]).tolist()
    )


@given(
    st.lists(st.lists(st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 2), max_size=8), min_size=1, max_size=6),
    st.sampled_from([0.0, 1e5]),
)
@settings(max_examples=examples(200), deadline=None)
def test_a_normaliser_of_pieces_is_that_of_the_whole(pieces, offset):
    blocks = [np.array(piece, np.float32).reshape(-1, 2) + np.float32(offset) for piece in pieces]
    whole = np.concatenate(blocks).astype(np.float64)
    if not len(whole):
        with pytest.raises(UsageError):
            fit_scaler(blocks, ("a", "b"))
        return
    found = fit_scaler(blocks, ("a", "b"))
    np.testing.assert_allclose(found.mean, whole.mean(axis=0), rtol=1e-9, atol=1e-9)
    spread = whole.std(axis=0)
    np.testing.assert_allclose(found.std, np.where(spread > 1e-12, spread, found.std), rtol=1e-6, atol=1e-9)


def test_a_normaliser_holds_back_what_is_wild_and_what_is_unknown():
    found = fit_scaler([np.array([[1, 5, np.nan], [3, 5, np.inf]], np.float32)], ("a", "b", "c"), clip=2.0)
    assert found.mean.tolist() == [2, 5, 0] and found.std.tolist() == [1, 1, 1]
    assert found.apply(np.array([[100, 5, np.nan], [-np.inf, 4, 1]], np.float32)).tolist() == [[2, 0, 0], [-2, -1, 1]]
    for bad in ({"std": [1, 0, 1]}, {"kind": "other"}, {"mean": [1]}, {"clip": 0}, {"names": None}):
        with pytest.raises(UsageError):
            FeatureScaler.from_dict({**found.to_dict(), **bad})


def test_class_weights_make_classes_equal(lake, cache):
    found = open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    counts, weights = found.class_counts(), found.class_weights()
    assert counts.sum() == len(found)
    np.testing.assert_allclose(counts * weights, len(found) / 3)


def test_the_cache_is_made_once_follows_the_content_and_may_be_deleted(lake, cache, monkeypatch):
    open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    folders = sorted((cache / "days").iterdir())
    assert len(folders) == 3
    stamps = {path: path.stat().st_mtime_ns for folder in folders for path in folder.iterdir()}
    held = open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    before = held.batch(np.arange(10))
    shutil.rmtree(cache)
    np.testing.assert_array_equal(held.batch(np.arange(10)), before)  # what is open stays open
    np.testing.assert_array_equal(open_windows(lake, cache, SYMBOL, DAYS, SPEC).batch(np.arange(10)), before)
    os.truncate(next((cache / "days").iterdir()) / "X.npy", 300)
    with pytest.raises(IntegrityError, match="cannot be read") as broken:
        open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    assert "delete it" in broken.value.hint


def test_pages_are_given_back_when_much_was_read(lake, cache, monkeypatch):
    found = open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    plain = [x.copy() for x, _ in found.batches(64)]
    forgotten = []
    monkeypatch.setattr(module, "RESIDENT_BYTES", 8_000)
    found = open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    real = type(found.days[0].X).forget
    monkeypatch.setattr(type(found.days[0].X), "forget", lambda self: forgotten.append(1) or real(self))
    found.resident.touched = 0
    again = [x for x, _ in found.batches(64)]
    assert len(forgotten) > 3
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(plain))


def test_what_makes_no_sense_is_refused(lake, cache):
    for options in ({"length": 0}, {"stride": 0}, {"horizon": 0}, {"max_gap_s": 0}):
        with pytest.raises(UsageError):
            WindowSpec(**{"length": 10, **options})
    with pytest.raises(UsageError, match="horizon 7"):
        open_windows(lake, cache, SYMBOL, DAYS, WindowSpec(10, 1, 7))
    with pytest.raises(UsageError, match="no days"):
        open_windows(lake, cache, SYMBOL, [], SPEC)
    found = open_windows(lake, cache, SYMBOL, DAYS, SPEC)
    with pytest.raises(UsageError, match="other factors"):
        found.normalised(fit_scaler([np.ones((2, 1))], ("x",)))
    with pytest.raises(UsageError, match="between 0 and 1"):
        split_windows(found.days, SPEC, 1.5)
