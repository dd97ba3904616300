"""Kills data-set builds at any moment and runs them again; reads twenty million rows in little memory."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.failpoints import KILL_ENV, TRACE_ENV
from ghtrader_base.files import with_checksum
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import ScheduleDay
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.timeout(900)
SYMBOL = "KQ.m@SHFE.cu"
CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2024, 12, 2), date(2024, 12, 13))
KILLS = 20

_BUILD = """
import sys
from datetime import date
from pathlib import Path
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.build_days import build_days
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.labels.labels import LabelSpec
days = [date.fromisoformat(text) for text in sys.argv[2:]]
build_days(Lake(Path(sys.argv[1])), "KQ.m@SHFE.cu", days, get_factor_set("lean"), LabelSpec(), run_id="r", workers=2)
"""

_READ = """
import json, resource, sys, time
from datetime import date, timedelta
from pathlib import Path
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets.windows import WindowSpec, open_windows
lake = Lake(Path(sys.argv[1]) / "data")
days = lake.days("features", "KQ.m@SHFE.cu")
windows = open_windows(lake, Path(sys.argv[1]) / "cache", "KQ.m@SHFE.cu", days, WindowSpec(100, 100, 50))
fitted = windows.fit_scaler()
total, values = 0, 0.0
for x, y in windows.normalised(fitted).batches(256, seed=1, reuse=True):
    total += len(y)
    values += float(x[:, -1, 0].sum())
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"rows": windows.rows, "windows": total, "peak": peak, "values": values, "fitted": fitted.rows}))
"""


def write_main(lake: Lake, day: date, seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.concatenate([np.arange(a, b, 500_000_000) for a, b in CALENDAR.sessions("cu", day)])[:rows]
    n, values = len(times), np.zeros((27, len(times)))
    bid = 7000 + np.cumsum(rng.integers(-1, 2, n) * (rng.random(n) < 0.2))
    lots = rng.integers(0, 20, n)
    values[COLUMN_INDEX["last_price"]] = bid * 10.0
    values[COLUMN_INDEX["volume"]], values[COLUMN_INDEX["amount"]] = np.cumsum(lots), np.cumsum(lots * 50.0 * bid)
    values[COLUMN_INDEX["open_interest"]] = 100_000
    for level in range(1, 6):
        values[COLUMN_INDEX[f"bid_price{level}"]] = (bid - level + 1) * 10.0
        values[COLUMN_INDEX[f"ask_price{level}"]] = (bid + level) * 10.0
        for side in ("bid", "ask"):
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = rng.integers(1, 60, n)
    table = table_from_values(np.arange(n), times, values)
    lake.write_day("main_l5", SYMBOL, day, with_provenance(table, ScheduleDay(day, "SHFE.cu2501", 0, "h")), source="t")


def tree_hash(root: Path) -> str:
    """Every byte of the lake but its index, which is no data: a look mends it."""
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.parent != root):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def build(root: Path, **armed: str) -> int:
    command = [sys.executable, "-c", _BUILD, str(root), *map(str, DAYS)]
    return subprocess.run(command, env={**os.environ, **armed}, timeout=PATIENCE_S, check=False).returncode


@dataclass(frozen=True)
class Whole:
    """Lakes before and after a build that nobody killed, the failpoints it passed, and twenty moments to kill one."""

    source: Path
    built: str
    points: list[str]
    kills: list[tuple[str, int]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    source = Lake(folder / "source")
    for number, day in enumerate(DAYS):
        write_main(source, day, number, 2000)
    shutil.copytree(source.root, folder / "built")
    trace = folder / "trace"
    assert build(folder / "built", **{TRACE_ENV: str(trace)}) == 0
    points = [line.split()[1] for line in trace.read_text().splitlines()]
    names = sorted(set(points))
    draw = random.Random(20)
    kills = [(name, draw.randint(1, points.count(name))) for name in names]
    kills += [("*", draw.randint(1, len(points))) for _ in range(KILLS - len(kills))]
    return Whole(source.root, tree_hash(folder / "built"), points, kills)


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", range(KILLS))
def test_a_build_killed_once_and_run_again_leaves_what_an_undisturbed_one_leaves(
    number: int, whole: Whole, tmp_path: Path
) -> None:
    point, count = whole.kills[number]
    killed, trace = tmp_path / "killed", tmp_path / "trace"
    shutil.copytree(whole.source, killed)
    assert build(killed, **{KILL_ENV: f"{point}:{count}", TRACE_ENV: str(trace)}) == -signal.SIGKILL
    assert point in ("*", trace.read_text().splitlines()[-1].split()[1])
    assert build(killed) == 0
    assert tree_hash(killed) == whole.built


def test_a_build_killed_twenty_times_leaves_what_an_undisturbed_one_leaves(whole: Whole, tmp_path: Path) -> None:
    kills, names, trace = whole.kills, sorted(set(whole.points)), tmp_path / "trace"
    hit = []
    killed = tmp_path / "killed"
    for point, count in kills:  # on one lake, one kill after the other; a whole one begins anew
        if not killed.exists():
            shutil.copytree(whole.source, killed)
        trace.unlink(missing_ok=True)
        if build(killed, **{KILL_ENV: f"{point}:{count}", TRACE_ENV: str(trace)}) == 0:
            shutil.rmtree(killed)  # so far along that the point was not passed so often any more
            shutil.copytree(whole.source, killed)
            assert build(killed, **{KILL_ENV: f"{point}:{count}", TRACE_ENV: str(trace)}) == -signal.SIGKILL
        hit.append(trace.read_text().splitlines()[-1].split()[1])
    assert build(killed) == 0
    assert tree_hash(killed) == whole.built
    print({name: hit.count(name) for name in names})
    assert len(hit) == KILLS and set(hit) == set(names)
    assert {"build.features->labels", "lake.write->rename", "lake.rename->sidecar", "lake.sidecar->manifest"} <= set(
        names
    )


@pytest.mark.parametrize("count", [pytest.param(36, marks=pytest.mark.acceptance, id="2 million"), 359])
def test_millions_of_rows_are_read_below_two_gigabytes(tmp_path: Path, count: int) -> None:
    """One full day of lean, under `count` trading days: each is opened, mapped and read for itself."""
    from ghtrader_models.datasets.build_day import build_day
    from ghtrader_models.factors.library.sets import get_factor_set
    from ghtrader_models.labels.labels import LabelSpec

    lake = Lake(tmp_path / "data")
    write_main(lake, DAYS[1], 0, 60_000)
    built = build_day(lake, SYMBOL, DAYS[1], get_factor_set("lean"), LabelSpec(), run_id="r")
    assert built.features.rows == 55_800
    for day in CALENDAR.days(date(2023, 1, 4), date(2024, 6, 28))[: count - 1]:
        for dataset in ("main_l5", "features", "labels"):
            made, copy = lake.day_path(dataset, SYMBOL, DAYS[1]), lake.day_path(dataset, SYMBOL, day)
            copy.mkdir(parents=True)
            for path in made.iterdir():
                if path.name == "_manifest.json":
                    document = {**json.loads(path.read_text()), "day": str(day)}
                    del document["checksum"]
                    (copy / path.name).write_text(json.dumps(with_checksum(document)))
                else:
                    os.link(path, copy / path.name)
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(found)
    assert found["rows"] == count * 55_800 and (count < 359 or found["rows"] > 20_000_000)
    assert found["fitted"] > 0.9935 * found["rows"] and found["windows"] > 0.00949 * found["rows"]
    assert np.isfinite(found["values"])
    assert found["peak"] < 2 << 30
