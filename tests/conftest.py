"""What every test shares: a home of its own, a state folder of its own, no credentials from outside."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from ghtrader_base.logs import loggers_kept
from ghtrader_base.settings import Settings, load_settings
from tests.support import sampling
from tests.support.examples import PROFILE
from tests.vendor.credentials import give_to_vendor_tests

sample_seed = sampling.sample_seed
_KEPT = ("GHTRADER_REQUIRE_QUESTDB", "GHTRADER_DEMO_HOME")
_withheld: dict[str, str] = {}
for _name in list(os.environ):
    if _name.startswith(("GHTRADER_", "TQ_", "TQSDK_")) and _name not in _KEPT:
        _withheld[_name] = os.environ.pop(_name)
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
with loggers_kept():
    import shinny_structlog  # noqa: F401  (TqSdk's: a test that imports it changes the loggers of those after it)


def pytest_addoption(parser: pytest.Parser) -> None:
    sampling.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it puts in the background with Ctrl-C ignored, and processes started by tests inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    give_to_vendor_tests(config, _withheld)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    sampling.keep_sample(config, items)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what collecting makes, millions of objects that live to the end, out of every search for garbage.

    Those searches took a third of the time of collecting, and each full one in a later test more than half a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# Modules whose child processes count for the coverage. A trace doubles what Python costs, TqSdk's and Dagster's too;
# what runs in children at all runs in those of these, and the others' time is better spent.
TRACED_CHILDREN = {
    "cli.test_bad_input",
    "exchange.test_trading",
    "ingest.test_download",
    "pipeline.test_assets",
    "runtime.test_paper",
    "runtime.test_sim",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, all tests that need a QuestDB run on one worker too: one server is started."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder, together, _ = nodeid.partition("integration/questdb/")
            return folder + together if together else super()._split_scope(nodeid)

    return Scheduling(config, log)


@pytest.fixture(autouse=True, scope="module")
def _children_are_traced_where_it_tells(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if ".".join(request.module.__name__.split(".")[-2:]) not in TRACED_CHILDREN:
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture(autouse=True, scope="module")
def _no_home_outlives_its_file() -> Iterator[None]:
    """Opening a Dagster instance points this process at its home: for the tests of one file, not for the next one's."""
    before = {name: os.environ.get(name) for name in ("GHTRADER_HOME", "DAGSTER_HOME")}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(autouse=True)
def _no_mask_outlives_its_test() -> None:
    """A command makes its own files private (`keep_private`), and pytest's process may have run one."""
    os.umask(0o022)


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
