"""Monday to Monday through one daemon: an outage, a bad contract-day, a sleep, a holiday and a roll, three varieties.

Everything due is there after each evening, and everything missing is named.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.children import week_child as week
from tests.verify.shifted_clock import BEIJING, Moment, Unavailable, environment, preloads

MINUTES = 60
"""On a busy machine; five on a quiet one."""
ASSETS = ("raw_ticks", "main_l5", "features", "labels")


@pytest.mark.timeout(MINUTES * 60 + 60)
def test_a_week_of_evenings(tmp_path: Path) -> None:
    try:
        preload = preloads(tmp_path)
    except Unavailable as exc:
        pytest.skip(str(exc))
    before = Moment(datetime(2025, 3, 31, 16, 0, tzinfo=BEIJING), "ahead of the first evening")
    clock = tmp_path / "clock"
    clock.write_text(f"{before.offset_s:+d}s\n")
    shifted = environment(before.offset_s, preload)
    del shifted["FAKETIME"]
    root = str(Path(__file__).parents[2])
    shifted |= {
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(
        [sys.executable, week.__file__, str(tmp_path), str(clock)], cwd=tmp_path, capture_output=True, text=True,
        timeout=MINUTES * 60, env=shifted, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    evenings = {row["day"]: row for row in found["evenings"]}
    away, spoilt, mended, asleep, holiday, roll = (
        evenings[str(day)] for day in (week.AWAY, week.SPOILT, week.MENDED, week.ASLEEP, week.HOLIDAY, week.ROLL)
    )
    # The schedule began one run an evening, none on the holiday, and none twice.
    assert [row["tick"] for row in found["evenings"]] == ["success"] * 4 + ["skipped", "success"]
    assert [row["runs"] for row in (away, mended, asleep, roll)] == [["SUCCESS"]] * 4 and holiday["runs"] == []
    assert [row["day"] for row in found["evenings"] if row["retried"]] == [str(week.AWAY)]
    assert spoilt["runs"] == ["FAILURE"]
    (error,) = spoilt["errors"]
    assert f"{week.BAD_CONTRACT} {week.SPOILT} (no-ticks" in error
    assert "1 steps could not be done: cu raw_ticks" in error
    # What was due is there, evening by evening; what was missing is there the next one.
    days = [str(week.BEFORE)]
    for row in found["evenings"]:
        if row is not holiday:
            days.append(row["day"])
        for asset in ASSETS:
            wanted = {f"{day}|{variety}" for day in days for variety in week.VARIETIES}
            if asset == "raw_ticks":
                wanted -= {f"{week.SPOILT}|cu"} if row is spoilt else set()
            else:
                wanted = {key for key in wanted if not key.startswith(str(week.BEFORE))}
            assert set(row["made"][asset]) == wanted, (row["day"], asset)
    schedule = found["schedule"]["cu"]
    assert schedule[str(week.ASLEEP)] != schedule[str(week.ROLL)], "a roll lies inside"
