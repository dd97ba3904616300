"""Factors and labels that see the future are caught, whoever made them so; honest ones are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader.cli import run
from ghtrader_base.errors import FailedError, UsageError
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.day_details import BuildContext
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_days import build_days
from ghtrader_models.datasets.leakage import (
    CheckedDay,
    Leak,
    LeakageReport,
    LeakKind,
    check_day,
    check_series,
    cuts_of,
    factor_leaks,
    label_leaks,
)
from ghtrader_models.datasets.load import load_dataset
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels import kernel
from ghtrader_models.labels.labels import DEFINITIONS, LabelSpec, compute_labels
from ghtrader_models.registry.promotion import GateConfig, judge
from tests.unit.models.conftest import random_ticks
from tests.unit.models.datasets.test_load import SYMBOL, TEN, build, write_day

CALENDAR = bundled_calendar()
DAY = date(2025, 4, 1)
CONTEXT = BuildContext(
    contract="SHFE.cu2506", price_tick=10.0, multiplier=5,
    sessions=tuple((start, end) for start, end in CALENDAR.sessions(get_variety("cu"), DAY)),
)  # fmt: skip
FEES = get_variety("cu").fees("SHFE.cu2506", DAY)
HORIZONS = (10, 50)
LIFT = 1e8
Labels = Callable[[np.ndarray, np.ndarray], np.ndarray]


def labels_by(definition: str = "mid_move") -> Labels:
    spec = LabelSpec.named(definition, HORIZONS)
    return lambda bid, ask: compute_labels(spec, bid, ask, price_tick=10.0, fees=FEES, multiplier=5)


def quotes(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    bid = 70_000 + 10.0 * np.cumsum(np.random.default_rng(seed).integers(-1, 2, n))
    return bid, bid + 10


def early(honest: Labels) -> Labels:
    """Each label one horizon early: what has just happened."""

    def compute(bid: np.ndarray, ask: np.ndarray) -> np.ndarray:
        out = honest(bid, ask)
        for row, horizon in zip(out, HORIZONS, strict=True):
            row[horizon:] = row[:-horizon].copy()
            row[:horizon] = -1
        return out

    return compute


def early_and_ended(honest: Labels) -> Labels:
    """The same, with the day's last rows unlabelled as they must be."""

    def compute(bid: np.ndarray, ask: np.ndarray) -> np.ndarray:
        out = early(honest)(bid, ask)
        for row, horizon in zip(out, HORIZONS, strict=True):
            row[-horizon:] = -1
        return out

    return compute


def far(honest: Labels) -> Labels:
    """Each label looks twice as far as its name says."""
    spec = LabelSpec(tuple(2 * horizon for horizon in HORIZONS))
    return lambda bid, ask: compute_labels(spec, bid, ask, price_tick=10.0)


def of_the_whole_day(honest: Labels) -> Labels:
    """Labels that know how long the day is."""

    def compute(bid: np.ndarray, ask: np.ndarray) -> np.ndarray:
        out = honest(bid, ask)
        out[out != -1] = bid.size % 3
        return out

    return compute


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), definition=st.sampled_from(sorted(DEFINITIONS)), n=st.integers(3, 400))
def test_honest_labels_pass(seed: int, definition: str, n: int) -> None:
    bid, ask = quotes(n, seed)
    gone = np.random.default_rng(seed).random(n) < 0.05
    bid[gone] = np.nan
    assert label_leaks(labels_by(definition), HORIZONS, bid, ask, LIFT, cuts_of(n, DAY, seed), DAY) == []


@pytest.mark.parametrize("definition", sorted(DEFINITIONS))
@pytest.mark.parametrize(
    ("leaking", "kinds"),
    [
        (early, {LeakKind.LABEL_KNOWN_EARLY, LeakKind.LABEL_OF_THE_PAST}),
        (far, {LeakKind.LABEL_DIFFERS}),
        (of_the_whole_day, {LeakKind.LABEL_DIFFERS}),
    ],
)  # fmt: skip
def test_dishonest_labels_are_caught(
    leaking: Callable[[Labels], Labels], kinds: set[LeakKind], definition: str
) -> None:
    bid, ask = quotes(600, 3)
    found = label_leaks(leaking(labels_by(definition)), HORIZONS, bid, ask, LIFT, cuts_of(600, DAY, 0), DAY)
    assert {leak.kind for leak in found} >= kinds and {leak.name for leak in found} == {"label_10", "label_50"}


def test_labels_one_horizon_early_are_caught_whatever_their_ends_look_like() -> None:
    bid, ask = quotes(600, 3)
    cuts = cuts_of(600, DAY, 0)
    found = label_leaks(early_and_ended(labels_by()), HORIZONS, bid, ask, LIFT, cuts, DAY)
    assert {leak.kind for leak in found} == {LeakKind.LABEL_OF_THE_PAST}
    stored = early_and_ended(labels_by())(bid, ask)
    found = label_leaks(labels_by(), HORIZONS, bid, ask, LIFT, cuts, DAY, stored)
    assert {leak.kind for leak in found} == {LeakKind.LABEL_DIFFERS}


@pytest.mark.parametrize("name", ["lean", "core"])
def test_the_library_sees_nothing_of_the_future(name: str) -> None:
    times, values = random_ticks(900, 5, gaps=0.01)
    assert factor_leaks(get_factor_set(name), times, values, CONTEXT, cuts_of(900, DAY, 1), DAY) == []


def test_a_stored_factor_of_the_future_is_named() -> None:
    times, values = random_ticks(900, 5)
    factors = get_factor_set("lean")
    cuts = cuts_of(900, DAY, 1)
    rows = np.random.default_rng(0).normal(size=(900, len(factors))).astype(np.float32)
    assert len(factor_leaks(factors, times, values, CONTEXT, cuts, DAY, rows)) == len(factors)
    from ghtrader_models.factors.engine import FactorEngine

    whole = FactorEngine(factors, 10.0, 5, CONTEXT.sessions).batch(times, values)
    assert factor_leaks(factors, times, values, CONTEXT, cuts, DAY, whole) == []
    ahead = whole.copy()
    ahead[:-20, 2] = whole[20:, 2]  # a factor of ten seconds later
    (leak,) = factor_leaks(factors, times, values, CONTEXT, cuts, DAY, ahead)
    assert leak.name == factors.names[2] and leak.kind == LeakKind.FACTOR and f"{leak.name} of row" in str(leak)
    almost = whole.copy()
    almost[5, 7] = np.nextafter(whole[5, 7], np.float32(9)) if np.isfinite(whole[5, 7]) else 0.0
    assert [leak.row for leak in factor_leaks(factors, times, values, CONTEXT, cuts, DAY, almost)] == [5]


def test_cuts_are_drawn_by_seed_and_day() -> None:
    assert cuts_of(900, DAY, 0) == cuts_of(900, DAY, 0) != cuts_of(900, DAY, 1) != cuts_of(900, TEN[1], 1)
    assert len(cuts_of(900, DAY, 0)) == 5 and max(cuts_of(900, DAY, 0)) < 899
    assert cuts_of(1, DAY, 0) == () and cuts_of(3, DAY, 0) == (0, 1)


# ---- a lake ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("leakage") / "data")
    for number, day in enumerate(TEN):
        write_day(lake, day, number)
        build(lake, day)
    return lake


def shift_labels(lake: Lake) -> None:
    """Every stored label one horizon early, with manifests that vouch for it."""
    for day in TEN:
        table, manifest = lake.read_day("labels", SYMBOL, day), lake.manifest("labels", SYMBOL, day)
        counts = {}
        for horizon in HORIZONS:
            name = f"label_{horizon}"
            y = table.column(name).to_numpy().copy()
            y[horizon:-horizon] = y[: -2 * horizon].copy()
            y[:horizon] = -1
            counts[name] = tuple(np.bincount(y + 1, minlength=4).tolist())
            table = table.set_column(table.column_names.index(name), name, pa.array(y, pa.int8()))
        details = replace(manifest.labels, counts=counts)
        lake.write_day("labels", SYMBOL, day, table, source=manifest.source, run_id="edited", details=details)


def test_built_days_pass_and_the_report_says_what_was_looked_at(filled: Lake) -> None:
    report = check_series(filled, CALENDAR, "main_l5", SYMBOL, TEN)
    assert report.ok and len(report.days) == 3 and report.labels == ("label_10", "label_50")
    assert all(day.stored and len(day.cuts) == 5 and day.rows == 900 for day in report.days)
    assert "cut at 15 ticks of 3 days" in report.words and "2 labels are what they were" in report.words
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True
    core = check_day(
        filled, CALENDAR, "main_l5", SYMBOL, TEN[0], factor_set=get_factor_set("core"), label_spec=LabelSpec()
    )
    assert not core.leaks and not core.stored and core.factors > 200
    with pytest.raises(UsageError, match="together"):
        check_day(filled, CALENDAR, "main_l5", SYMBOL, TEN[0], label_spec=LabelSpec())
    with pytest.raises(UsageError, match="no days"):
        check_series(filled, CALENDAR, "main_l5", SYMBOL, [])


def test_labels_one_horizon_early_score_and_are_not_promoted(
    filled: Lake, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was promoted with +0.33 nats."""
    lake = Lake(home / "data")
    shutil.copytree(filled.root, lake.root)
    shift_labels(lake)
    dataset = load_dataset(lake, SYMBOL, TEN[:7], 10)
    report = run_benchmark(dataset, "logistic")
    gate = GateConfig(horizon=10)
    assert report.model.gain.mean > 0.1
    assert judge(report, config=gate).promoted, "by its scores alone"
    leakage = check_series(lake, CALENDAR, "main_l5", SYMBOL, TEN)
    decision = judge(report, config=gate, leakage=leakage)
    assert not decision.promoted and decision.refused_because == leakage.words
    assert "label_10, label_50 see what they may not: label_10 of row" in decision.refused_because
    assert run(["factors", "leakage", "--var", "cu", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"] and {leak["name"] for leak in told["leaks"]} == {"label_10", "label_50"}
    assert run(["factors", "leakage", "--var", "cu", "--set", "lean", "--days", "1", "--json"]) == 0
    assert [day["stored"] for day in json.loads(capsys.readouterr().out)["days"]] == [False]
    assert run(["factors", "leakage", "--var", "au"]) == 1
    assert "no features day of KQ.m@SHFE.au" in capsys.readouterr().err


def test_a_new_set_that_leaks_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path / "data")
    for number, day in enumerate(TEN[:2]):
        write_day(lake, day, number)
    honest = kernel.mid_move

    def one_horizon_early(half: np.ndarray, horizon: int, threshold: float, out: np.ndarray) -> None:
        honest(half, horizon, threshold, out)
        out[horizon:] = out[:-horizon].copy()
        out[:horizon] = -1

    def built() -> dict[date, bool]:
        report = build_days(
            lake, SYMBOL, TEN[:2], get_factor_set("lean"), LabelSpec((10, 50)), run_id="t", calendar=CALENDAR
        )
        return {day: result.skipped for day, result in report.built.items()}

    with monkeypatch.context() as patch:
        patch.setattr(kernel, "mid_move", one_horizon_early)
        with pytest.raises(FailedError, match="see what they may not: label_10 of row"):
            built()
        assert lake.days("features", SYMBOL) == []
    assert built() == dict.fromkeys(TEN[:2], False)


def test_a_set_of_ones_own_is_looked_at_as_well(filled: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[mine]\nmine = "Mean(Imbalance(1), 20)"\n')
    monkeypatch.setenv("GHTRADER_FACTORS", str(path))
    name = f"{path}:mine"
    found = check_day(
        filled, CALENDAR, "main_l5", SYMBOL, TEN[0], factor_set=get_factor_set(name), label_spec=LabelSpec()
    )
    assert found.factors == 1 and not found.leaks


def test_a_report_of_many_leaks_stays_a_sentence() -> None:
    leaks = tuple(Leak(day=DAY, kind=LeakKind.FACTOR, name=f"f{n}", cut=9, row=n) for n in range(9))
    day = CheckedDay(day=DAY, rows=99, cuts=(9,), stored=True, factors=9, leaks=leaks)
    report = LeakageReport(symbol=SYMBOL, seed=0, days=(day,), labels=("label_10",))
    assert "f0, f1, f2 and 6 more see what they may not: f0 of row 0 on 2025-04-01" in report.words
