"""Many days at once: order, failures by name, and what a kill -9 leaves behind."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError, RefusedError
from ghtrader_base.failpoints import KILL_ENV, TRACE_ENV
from ghtrader_market.main_series.main_l5 import build_main_l5_day
from ghtrader_market.reference.roll_schedule import schedule_from_open_interest
from ghtrader_market.reference.tick_schema import MAIN_L5_SCHEMA, PROVENANCE_COLUMNS, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets import build_days as module
from ghtrader_models.datasets.build_days import MANIFEST, build_days
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.labels.labels import DEFINITIONS, LabelSpec
from tests.support.examples import examples
from tests.support.forked import Forks

SYMBOL, CONTRACT = "KQ.m@SHFE.cu", "SHFE.cu2502"
DAYS = tuple(bundled_calendar().days(date(2024, 12, 2), date(2024, 12, 6)))
FEW = FactorSet("few", {"spread": parse("Spread()"), "ret": parse("MidReturn(3)")})
SPEC = LabelSpec((5, 20))


def write_main(lake: Lake, day: date, make_ticks: Callable, change: Callable = lambda table: table) -> None:
    times, values = make_ticks(200, day.toordinal())
    raw = table_from_values(np.arange(200), times, values)
    provenance = [pa.array([CONTRACT] * 200), pa.array([0] * 200, pa.int32()), pa.array(["abc"] * 200)]
    table = change(pa.table([*raw.columns, *provenance], schema=MAIN_L5_SCHEMA))
    lake.write_day("main_l5", SYMBOL, day, table, schema=table.schema, source="test", run_id="r")


@pytest.fixture
def lake(tmp_path, make_ticks) -> Lake:
    made = Lake(tmp_path / "data")
    for day in DAYS:
        write_main(made, day, make_ticks)
    return made


def build(lake: Lake, days=DAYS, spec: LabelSpec = SPEC, **options):
    return build_days(lake, SYMBOL, days, FEW, spec, run_id="run", **options)


def tree_hash(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.relative_to(root).parts[0] in ("features", "labels"):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def test_order_and_workers_change_no_byte(lake, tmp_path):
    shutil.copytree(lake.root, tmp_path / "other")
    other = Lake(tmp_path / "other")
    assert sorted(build(lake, workers=3).built) == list(DAYS)
    for day in reversed(DAYS):
        build(other, [day], workers=1)
    assert tree_hash(lake.root) == tree_hash(other.root)


def test_only_missing_and_changed_days_are_built(lake, make_ticks):
    build(lake, DAYS[:3])
    write_main(lake, DAYS[1], lambda n, seed: make_ticks(n, seed + 1))
    told: list = []
    report = build(lake, [*DAYS, DAYS[0]], on_day=lambda *what: told.append(what))
    built = {day for day, result in report.built.items() if not result.skipped}
    assert built == {DAYS[1], *DAYS[3:]}
    assert sorted(day for day, *_ in told) == list(DAYS) and [done for *_, done, _ in told] == [1, 2, 3, 4, 5]


def damaged(table: pa.Table, column: str, how: str, row: int) -> pa.Table:
    """A day whose provenance column is gone, blank on every row or on one, or speaks of two."""
    if not column:
        return table
    place = table.schema.get_field_index(column)
    if how == "removed":
        return table.remove_column(place)
    values = table.column(column).to_pylist()
    number = column == "segment_id"
    other = {"null": None, "empty": -1 if number else "", "mixed": 9 if number else "another"}[how.split()[0]]
    values = [other] * len(values) if how.endswith("everywhere") else [*values[:row], other, *values[row + 1 :]]
    return table.set_column(place, column, pa.array(values, table.schema.field(column).type))


DAMAGE = ("removed", "null everywhere", "null", "empty everywhere", "empty", "mixed")


@given(
    st.dictionaries(
        st.sampled_from(DAYS),
        st.tuples(st.sampled_from(PROVENANCE_COLUMNS), st.sampled_from(DAMAGE), st.integers(0, 199)),
        min_size=1,
        max_size=3,
    ),
    st.integers(1, 3),
)
@example({DAYS[2]: ("segment_id", "removed", 0)}, 2)
@example({DAYS[0]: ("segment_id", "null everywhere", 0)}, 1)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_days_without_provenance_fail_by_name_and_the_others_are_built(tmp_path_factory, make_ticks, faults, workers):
    lake = Lake(tmp_path_factory.mktemp("lake") / "data")
    for day in DAYS:
        write_main(lake, day, make_ticks, lambda table, day=day: damaged(table, *faults.get(day, ("", "none", 0))))
    report = build(lake, workers=workers)
    good = [day for day in DAYS if day not in faults]
    assert sorted(report.built) == lake.days("features", SYMBOL) == lake.days("labels", SYMBOL) == good
    assert report.failed.keys() == faults.keys() and not report.left_out
    for day, (column, _, _) in faults.items():
        assert isinstance(report.failed[day], IntegrityError)
        assert column in report.failed[day].message and str(day) in report.failed[day].message
    with pytest.raises(GhtraderError) as refusal:
        report.raise_if_failed()
    assert refusal.value.exit_code == 1 and all(str(day) in refusal.value.message for day in faults)
    relaxed = build(lake, strict=False)
    assert relaxed.left_out.keys() == faults.keys() and not relaxed.failed
    for day in faults:  # mended: these days alone are built
        write_main(lake, day, make_ticks)
    mended = build(lake)
    assert {day for day, result in mended.built.items() if not result.skipped} == set(faults)


def test_several_failures_are_all_named_and_a_strangers_error_is_one_of_them(lake, make_ticks, monkeypatch):
    write_main(lake, DAYS[0], make_ticks, lambda table: table.slice(0, 0))
    real = module.build_day

    def broken(lake, symbol, day, *arguments, **options):
        if day == DAYS[3]:
            raise MemoryError("no room")
        return real(lake, symbol, day, *arguments, **options)

    monkeypatch.setattr(module, "build_day", broken)
    report = build(lake)
    with pytest.raises(FailedError, match="2 days .* failed .*3 other days are built") as failure:
        report.raise_if_failed()
    assert str(DAYS[0]) in failure.value.message and f"{DAYS[3]}: MemoryError: no room" in failure.value.message


def test_another_configuration_stops_the_build_before_it_begins(lake):
    build(lake, DAYS[:1])
    before = tree_hash(lake.root)
    other = FactorSet("other", {"spread": parse("Spread()")})
    with pytest.raises(RefusedError, match="another configuration"):
        build_days(lake, SYMBOL, DAYS[3:], other, SPEC, run_id="run")
    assert tree_hash(lake.root) == before
    report = build_days(lake, SYMBOL, DAYS, other, SPEC, run_id="run", overwrite=True)
    assert all(result.features.features.spec_hash == other.spec_hash for result in report.built.values())


def test_the_series_manifest_says_what_the_folder_is(lake):
    build(lake)
    specs = {"features": (FEW.spec_hash, FEW.spec().to_dict()), "labels": (SPEC.spec_hash, SPEC.to_dict())}
    for dataset, (spec_hash, spec) in specs.items():
        found = json.loads((lake.key_path(dataset, SYMBOL) / MANIFEST).read_text())
        assert (found["dataset"], found["symbol"], found["spec_hash"]) == (dataset, SYMBOL, spec_hash)
        assert found["configurations"] == {spec_hash: spec}
        assert list(found["days"]) == [str(day) for day in DAYS]
        for day in DAYS:
            row, source = found["days"][str(day)], lake.manifest("main_l5", SYMBOL, day)
            assert row["tick_hash"] == source.content_hash and row["schedule_hash"] == "abc"
            assert row["content_hash"] == lake.manifest(dataset, SYMBOL, day).content_hash and row["code_version"]
    assert lake.keys("features") == [SYMBOL] and lake.days("features", SYMBOL) == list(DAYS)


def test_days_are_built_side_by_side(lake, monkeypatch):
    met, real = threading.Barrier(2, timeout=20), module.build_day

    def meeting(*arguments, **options):
        met.wait()
        return real(*arguments, **options)

    monkeypatch.setattr(module, "build_day", meeting)
    assert len(build(lake, DAYS[:4], workers=2).built) == 4


_IMPORTS = """
from datetime import date
from pathlib import Path
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_days import build_days
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.labels.labels import LabelSpec
import ghtrader_models.labels.kernel
import numpy as np
from ghtrader_models.factors.engine import FactorEngine
few = FactorSet("few", {"spread": parse("Spread()"), "ret": parse("MidReturn(3)")})
FactorEngine(few, 10.0, 5, [(0, 10**18)]).batch(np.arange(9) * 10**9, np.ones((27, 9)))
"""
_CHILD = """
days = [date.fromisoformat(text) for text in sys.argv[2:]]
build_days(Lake(Path(sys.argv[1])), "KQ.m@SHFE.cu", days, few, LabelSpec((5, 20)), run_id="run", workers=2)
"""


def kill_and_resume(forks: Forks, whole: Lake, source: Lake, folder: Path, point: str, count: int) -> list[str]:
    """Build in a child that dies at a passing of a point, go on in this process; returns the points passed."""
    shutil.copytree(source.root, folder / "data")
    lake, trace = Lake(folder / "data"), folder / "trace"
    armed = {KILL_ENV: f"{point}:{count}", TRACE_ENV: str(trace)}
    assert forks.run(lake.root, *DAYS, environment=armed) == -signal.SIGKILL
    assert build(lake, workers=2).failed == {}
    assert tree_hash(lake.root) == tree_hash(whole.root)
    return [line.split()[1] for line in trace.read_text().splitlines()]


def test_a_kill_at_any_point_leaves_no_trace_after_the_next_build(lake, tmp_path):
    shutil.copytree(lake.root, tmp_path / "source")
    source = Lake(tmp_path / "source")
    trace = tmp_path / "trace"
    with Forks(_IMPORTS, _CHILD) as forks:
        assert forks.run(lake.root, *DAYS, environment={TRACE_ENV: str(trace)}) == 0
        passed = [line.split()[1] for line in trace.read_text().splitlines()]
        points = sorted(set(passed))
        assert {"build.features->labels", "build.day->day", "build.days->manifest"} <= set(points)
        for number, point in enumerate(points):
            count = 1 + number % passed.count(point)
            hit = kill_and_resume(forks, lake, source, tmp_path / f"kill{number}", point, count)
            assert hit[-1] == point


@st.composite
def rolling_open_interest(draw):
    """Open interest of three contracts by day: whatever it is, the schedule rolls when it likes."""
    interest = st.integers(0, 30).map(lambda lots: 1000.0 * lots)
    return draw(st.lists(st.tuples(interest, interest, interest), min_size=4, max_size=4))


@given(rolling_open_interest(), st.integers(0, 2), st.sampled_from(sorted(DEFINITIONS)), st.data())
@settings(max_examples=examples(12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_label_and_no_factor_looks_across_a_roll_whatever_the_schedule(
    tmp_path_factory, make_ticks, rows, seed, definition, data
):
    """Ticks of every other day are changed wholly; the day's features and labels keep their bits."""
    calendar, spec = bundled_calendar(), LabelSpec.named(definition, SPEC.horizons)
    days = calendar.days(date(2024, 12, 2), date(2024, 12, 5))
    contracts = ("SHFE.cu2501", "SHFE.cu2502", "SHFE.cu2503")
    bars = [
        {"symbol": contract, "trading_day": day, "open_interest": lots + 1.0}
        for day, row in zip(days, rows, strict=True)
        for contract, lots in zip(contracts, row, strict=True)
    ]
    schedule = schedule_from_open_interest("cu", pa.Table.from_pylist(bars))
    kept = data.draw(st.sampled_from(days[1:]))

    def built(offset: int) -> Lake:
        lake = Lake(tmp_path_factory.mktemp("world") / "data")
        for day in days[1:]:
            start = calendar.sessions("cu", day)[-1][0]
            contract = schedule.contract_on(day).contract
            _, values = make_ticks(60, seed + day.day + (0 if day == kept else offset))
            times = start + np.arange(60) * 500_000_000
            lake.write_day("ticks", contract, day, table_from_values(np.arange(60), times, values), source="t")
            build_main_l5_day(lake, calendar, schedule, day)
        build(lake, days[1:], spec, calendar=calendar)
        return lake

    one, other = built(0), built(100)
    for dataset in ("features", "labels"):
        stored = [lake.manifest(dataset, SYMBOL, kept) for lake in (one, other)]
        assert stored[0].content_hash == stored[1].content_hash
        assert stored[0].segment_id == schedule.contract_on(kept).segment_id
    for day in days[1:]:
        labels = one.read_day("labels", SYMBOL, day)
        for horizon in spec.horizons:
            assert (labels.column(f"label_{horizon}").to_numpy()[-horizon:] == -1).all()
