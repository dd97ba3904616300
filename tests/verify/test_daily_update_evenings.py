"""The whole daily update on evenings of every kind, each process of it under a clock that says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE_S
from tests.verify.shifted_clock import BEIJING, Moment, Unavailable, environment, preloads

CHILD = Path(__file__).parents[1] / "support" / "children" / "daily_update_child.py"
EVENINGS = {
    "friday": ("2026-11-27T17:30", "2026-11-27"),
    "before-a-holiday": ("2026-09-30T17:30", "2026-09-30"),
    "end-of-a-year-over-midnight": ("2025-12-31T23:59:50", "2025-12-31"),
    "end-of-the-list": ("2026-12-31T17:30", "2026-12-31"),
    "night-behind-the-list": ("2026-12-31T21:00", "2026-12-31"),
}


@pytest.mark.sample(1)
@pytest.mark.parametrize("evening", EVENINGS)
def test_the_evening_of_a_day_builds_that_day(tmp_path: Path, evening: str) -> None:
    at, day = EVENINGS[evening]
    moment = Moment(datetime.fromisoformat(at).replace(tzinfo=BEIJING), evening)
    try:
        shifted = environment(moment.offset_s, preloads(tmp_path))
    except Unavailable as exc:
        pytest.skip(str(exc))
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, str(CHILD), str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S,
        env={**shifted, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["today"] == day
    wanted = [f"{found['before']}|cu", f"{day}|cu"]
    assert found["made"] == {name: wanted for name in ("raw_ticks", "main_l5", "features", "labels")}
    assert found["features"] == [found["before"], day]
