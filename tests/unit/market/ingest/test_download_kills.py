"""Kill -9 in every window of an ingest, and run again: the lake is the same to the byte as if nothing had happened.

Over a source of tables in a child process; the same through the command and TqSdk is in tests/verify.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lake_hash import folders, tree
from tests.support.waiting import PATIENCE_S

_RUN = """
import sys
from datetime import date
from pathlib import Path
from ghtrader_market.ingest.download import download
from ghtrader_market.stores.lake.lake import Lake
from tests.unit.market.ingest.test_download_faults import CALENDAR, DAYS, Faulty

source = Faulty(lambda *_: None, untraded=[DAYS[2], DAYS[3], DAYS[7]])
symbols = ["SHFE.cu1911", "SHFE.cu1912"]
download(source, Lake(Path(sys.argv[1])), CALENDAR, symbols, DAYS[0], DAYS[8], run_id=sys.argv[2], workers=1)
"""
ROOT = Path(__file__).parents[4]
POINTS = (
    "ingest.fetch->write",
    "lake.write->rename",
    "lake.rename->sidecar",
    "lake.sidecar->manifest",
    "ingest.manifest->ledger",
)


def run(data: Path, name: str, **armed: str) -> int:
    environment = {**os.environ, **{f"GHTRADER_FAILPOINT_{key}": value for key, value in armed.items()}}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", _RUN, str(data), name]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("whole")
    assert run(data, "whole") == 0
    return data


def test_killed_in_every_window_and_run_again(tmp_path: Path, whole: Path) -> None:
    data, trace = tmp_path / "data", tmp_path / "trace"
    for number, point in enumerate(POINTS):
        trace.unlink(missing_ok=True)
        killed = run(data, f"run{number}", KILL=f"{point}:{1 + number % 2}", TRACE=str(trace))
        assert killed == -signal.SIGKILL
        assert trace.read_text().splitlines()[-1].endswith(" " + point), "the log names the phase"
    assert run(data, "last") == 0
    assert tree(data) == tree(whole) and folders(data) == folders(whole)
    assert len([name for name in tree(data) if name.endswith(".parquet")]) == 12
