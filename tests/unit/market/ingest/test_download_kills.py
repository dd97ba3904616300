"""Kill -9 in every window of an ingest, and run again: the lake is the same to the byte as if nothing had happened.

Over a source of tables in a child process; the same through the command and TqSdk is in tests/verify.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghtrader_base.failpoints import KILL_ENV, TRACE_ENV
from tests.support.forked import Forks
from tests.support.lake_hash import folders, tree

_IMPORTS = """
from pathlib import Path
from ghtrader_market.ingest.download import download
from ghtrader_market.stores.lake.lake import Lake
from tests.unit.market.ingest.test_download_faults import CALENDAR, DAYS, Faulty
"""
_RUN = """
source = Faulty(lambda *_: None, untraded=[DAYS[2], DAYS[3], DAYS[7]])
symbols = ["SHFE.cu1911", "SHFE.cu1912"]
download(source, Lake(Path(sys.argv[1])), CALENDAR, symbols, DAYS[0], DAYS[8], run_id=sys.argv[2], workers=1)
"""
POINTS = (
    "ingest.fetch->write",
    "lake.write->rename",
    "lake.rename->sidecar",
    "lake.sidecar->manifest",
    "ingest.manifest->ledger",
)


@pytest.fixture
def forks() -> Iterator[Forks]:
    with Forks(_IMPORTS, _RUN) as made:
        yield made


@pytest.fixture
def whole(tmp_path: Path, forks: Forks) -> Path:
    data = tmp_path / "whole"
    assert forks.run(data, "whole") == 0
    return data


def test_killed_in_every_window_and_run_again(tmp_path: Path, whole: Path, forks: Forks) -> None:
    data, trace = tmp_path / "data", tmp_path / "trace"
    for number, point in enumerate(POINTS):
        trace.unlink(missing_ok=True)
        armed = {KILL_ENV: f"{point}:{1 + number % 2}", TRACE_ENV: str(trace)}
        assert forks.run(data, f"run{number}", environment=armed) == -signal.SIGKILL
        assert trace.read_text().splitlines()[-1].endswith(" " + point), "the log names the phase"
    assert forks.run(data, "last") == 0
    assert tree(data) == tree(whole) and folders(data) == folders(whole)
    assert len([name for name in tree(data) if name.endswith(".parquet")]) == 12
