"""Memory: 60 days of three varieties are built below 2 GB, and so are days of the market's own pace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake

LIMIT_MIB = 2048


def child(request: pytest.FixtureRequest, *arguments: object) -> str:
    command = [sys.executable, "-m", "tests.verify.memory_child", *map(str, arguments)]
    done = subprocess.run(command, cwd=request.config.rootpath, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("seconds", "days"), [(120.0, 60), (0.5, 2)], ids=["60 thinned days", "full days"])
def test_three_varieties_are_built_below_two_gigabytes(
    seconds: float, days: int, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    child(request, "write", root, seconds, days)
    built = json.loads(child(request, "build", root))
    with capsys.disabled():
        print(f" {built['rows']} rows of 3 x {built['days']} days at a peak of {built['peak_mib']} MiB")
    assert built["days"] == days and built["peak_mib"] < LIMIT_MIB
    lake = Lake(root)
    assert all(len(lake.days("features", key)) == days for key in lake.keys("features"))
    assert len(lake.keys("labels")) == 3
    if days > 20:
        manifests = [lake.manifest("main_l5", "KQ.m@SHFE.cu", day) for day in lake.days("main_l5", "KQ.m@SHFE.cu")]
        assert len({manifest.main_l5.segment_id for manifest in manifests}) > 1, "two months hold a roll"
        assert bundled_calendar().is_trading_day(lake.days("main_l5", "KQ.m@SHFE.cu")[-1])
