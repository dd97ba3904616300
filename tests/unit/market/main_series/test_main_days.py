"""Many main_l5 days: in parallel, incremental, a failing day named, killed at every point and run again."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.failpoints import KILL_ENV, TRACE_ENV
from ghtrader_market.main_series.main_l5 import MainReport, build_main_l5, build_main_l5_day, schedule_copy_path
from ghtrader_market.reference.roll_schedule import (
    RollSchedule,
    load_schedule,
    read_schedule,
    save_schedule,
    schedule_from_open_interest,
)
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import DayManifest
from tests.support.copper_day import whole_day
from tests.support.forked import Forks

CALENDAR = bundled_calendar()
KEY = "KQ.m@SHFE.cu"
DAYS = CALENDAR.days(date(2025, 2, 10), date(2025, 2, 19))
ROLL = DAYS[4]
POINTS = {
    "main_l5.read->write",
    "lake.write->rename",
    "lake.rename->sidecar",
    "lake.sidecar->manifest",
    "main_l5.day->day",
    "main_l5.days->schedule",
}


def schedule_of(first: date, rolls_on: date = ROLL) -> RollSchedule:
    """cu2503 up to the day before `rolls_on`, cu2504 from then on, with bars from the day before `first`."""
    rows = []
    for day in CALENDAR.days(CALENDAR.previous_day(first), DAYS[-1]):
        later = 300.0 if CALENDAR.next_day(day) >= rolls_on else 10.0
        rows += [{"symbol": "SHFE.cu2503", "trading_day": day, "open_interest": 100.0}]
        rows += [{"symbol": "SHFE.cu2504", "trading_day": day, "open_interest": later}]
    return schedule_from_open_interest("cu", pa.Table.from_pylist(rows))


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory, ticks_of: Callable[..., pa.Table]) -> Path:
    lake = Lake(tmp_path_factory.mktemp("raw") / "data")
    for index, day in enumerate(DAYS):
        for contract in ("SHFE.cu2503", "SHFE.cu2504"):
            times, values = whole_day(day, seconds=60.0, seed=index)
            lake.write_day("ticks", contract, day, ticks_of(times, values), source="test")
    save_schedule(lake.root, schedule_of(DAYS[0]))
    return lake.root


@pytest.fixture
def lake(raw: Path, tmp_path: Path) -> Lake:
    shutil.copytree(raw, tmp_path / "data")
    return Lake(tmp_path / "data")


def tree(lake: Lake) -> dict[str, str]:
    """Every file under main_l5, hidden ones too, with the hash of its bytes.

    Of a manifest the code version is left out, and the checksum over it: somebody may commit between two processes.
    """
    root = lake.root / "main_l5"
    found = {}
    for path in (path for path in root.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.name == "_manifest.json":
            data = re.sub(rb'"(code_version|checksum)": "[^"]*"', b"", data)
        found[str(path.relative_to(root))] = hashlib.sha256(data).hexdigest()
    return found


def built(lake: Lake, schedule: RollSchedule | None = None, **options: object) -> MainReport:
    return build_main_l5(lake, CALENDAR, schedule or load_schedule(lake.root, "cu"), DAYS, run_id="test", **options)


@pytest.mark.parametrize("workers", [1, 4])
def test_days_at_once_are_the_days_one_by_one(lake: Lake, raw: Path, tmp_path: Path, workers: int) -> None:
    seen: list[tuple[date, DayManifest | GhtraderError, int]] = []
    report = built(lake, workers=workers, segment_workers=1, on_day=lambda *told: seen.append(told))
    assert sorted(day for day, _, _ in seen) == report.written == DAYS and not report.failed
    assert [done for _, _, done in seen] == list(range(1, len(DAYS) + 1))
    shutil.copytree(raw, tmp_path / "other")
    other = Lake(tmp_path / "other")
    for day in reversed(DAYS):
        build_main_l5_day(other, CALENDAR, load_schedule(raw, "cu"), day, "test")
    copy = schedule_copy_path(lake, KEY)
    assert read_schedule(copy, "cu") == load_schedule(lake.root, "cu")
    assert {name: digest for name, digest in tree(lake).items() if not name.endswith("schedule.json")} == tree(other)
    segments = {lake.manifest("main_l5", KEY, day).main_l5.segment_id for day in DAYS}
    assert segments == {0, 1}


def test_only_what_changed_is_built_again(lake: Lake, ticks_of: Callable[..., pa.Table]) -> None:
    built(lake)
    assert built(lake).written == []
    times, values = whole_day(DAYS[2], seconds=60.0, seed=99)
    lake.write_day("ticks", "SHFE.cu2503", DAYS[2], ticks_of(times, values), source="test")
    assert built(lake).written == [DAYS[2]]
    later = schedule_of(DAYS[0], rolls_on=DAYS[6])
    report = built(lake, later)
    assert report.written == DAYS[4:], "the days before the change keep their hash, so they are left alone"
    assert [lake.manifest("main_l5", KEY, day).main_l5.contract for day in DAYS[3:7]] == [
        *["SHFE.cu2503"] * 3,
        "SHFE.cu2504",
    ]
    assert read_schedule(schedule_copy_path(lake, KEY), "cu") == later
    manifests = [lake.manifest("main_l5", KEY, day) for day in DAYS]
    build_main_l5(lake, CALENDAR, later, DAYS, run_id="again", overwrite=True)
    for before, after in zip(manifests, (lake.manifest("main_l5", KEY, day) for day in DAYS), strict=True):
        assert (after.run_id, after.files) == ("again", before.files), "the same bytes under a new run"


def test_a_failing_day_is_named_and_the_others_are_built(lake: Lake) -> None:
    lake.delete_day("ticks", "SHFE.cu2503", DAYS[1])
    report = built(lake)
    assert list(report.failed) == [DAYS[1]] and report.written == [DAYS[0], *DAYS[2:]]
    with pytest.raises(FailedError, match=f"no raw ticks of SHFE.cu2503 on {DAYS[1]}"):
        report.raise_if_failed()
    lake.delete_day("ticks", "SHFE.cu2503", DAYS[0])
    lake.delete_day("main_l5", KEY, DAYS[0])
    named = f"2 of {len(DAYS)} days failed: {DAYS[0]}: no raw ticks .* on {DAYS[0]}, .*; {DAYS[1]}: no raw ticks"
    with pytest.raises(FailedError, match=named):
        built(lake).raise_if_failed()


_BUILD = "runpy.run_module('tests.support.children.main_child', run_name='__main__')"


def test_killed_at_every_point_and_run_again_it_is_the_same_to_the_byte(lake: Lake, raw: Path, tmp_path: Path) -> None:
    built(lake)
    whole = tree(lake)
    assert len(whole) == 3 * len(DAYS) + 1
    hit: set[str] = set()
    # The n-th passing of any point by one thread, where every point is met in turn; then two threads, killed twice.
    rounds = [((n,), 1) for n in (1, 2, 3, 4, 5, 5 * len(DAYS) + 1)] + [((14, 2), 2), ((33, 4), 2)]
    with Forks("import runpy; import tests.support.children.main_child", _BUILD) as forks:
        for round_, (kills, workers) in enumerate(rounds):
            home = tmp_path / f"killed-{round_}"
            shutil.copytree(raw, home)
            for kill in kills:
                trace = tmp_path / "trace"
                trace.unlink(missing_ok=True)
                assert forks.run(home, workers, environment={KILL_ENV: f"*:{kill}", TRACE_ENV: str(trace)}) == -9
                hit.add(trace.read_text().split()[-1])
            resumed = Lake(home)
            built(resumed)
            assert tree(resumed) == whole, f"killed at {kills}"
    assert hit >= POINTS, f"not killed at {POINTS - hit}"


def test_what_a_kill_left_is_swept(lake: Lake) -> None:
    built(lake)
    whole = tree(lake)
    folder = lake.day_path("main_l5", KEY, DAYS[0])
    (folder / "._manifest.json.abc.tmp").write_text("{")
    (folder / ".part-1.parquet.7.tmp").write_bytes(b"half")
    (folder.parent / ".schedule.json.abc.tmp").write_text("{")
    assert tree(lake) != whole
    built(lake, overwrite=True)
    assert tree(lake) == whole


def test_schedule_hashes_are_on_every_row(lake: Lake) -> None:
    built(lake)
    schedule = load_schedule(lake.root, "cu")
    for day in DAYS:
        table = lake.read_day("main_l5", KEY, day)
        assert set(table["schedule_hash"].to_pylist()) == {schedule.contract_on(day).schedule_hash}
        assert np.unique(table["segment_id"].to_numpy()).tolist() == [schedule.contract_on(day).segment_id]
