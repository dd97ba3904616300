"""What every test shares: a home of its own, a state folder of its own, no credentials from outside."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from ghtrader_base.settings import Settings, load_settings
from tests.support.examples import PROFILE

for _name in list(os.environ):
    if _name.startswith(("GHTRADER_", "TQ_", "TQSDK_")) and _name != "GHTRADER_REQUIRE_QUESTDB":
        del os.environ[_name]
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Slots of TqSdk clients are counted per user: tests count their own, and leave a person's alone.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="ghtrader-test-state-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], True)
os.environ.setdefault("MPLBACKEND", "Agg")
# One folder of compiled code for all tests, whatever their homes: a cold one costs minutes.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).resolve().parent.parent / ".cache" / "numba"))
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# An example may take what a busy machine makes of it: no test is a clock.
for _name in ("untimed", "verify"):
    hypothesis.settings.register_profile(_name, parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile(PROFILE)

# Modules whose child processes count for the coverage. A trace doubles what Python costs, TqSdk's and Dagster's too;
# what runs in children at all runs in those of these, and the others' time is better spent.
TRACED_CHILDREN = {
    "test_assets",
    "test_cli_bad_input",
    "test_download",
    "test_exchange_tqsdk_trading",
    "test_runtime_paper",
    "test_runtime_sim",
}


@pytest.fixture(autouse=True, scope="module")
def _children_are_traced_where_it_tells(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] not in TRACED_CHILDREN:
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in force through GHTRADER_HOME, with its own XDG state folder."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GHTRADER_HOME", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder


@pytest.fixture
def settings(home: Path) -> Settings:
    """Settings of the empty home."""
    return load_settings(home)
