"""Work that cannot fit on the disk is refused before a run of it is made, before the demo's last home is emptied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ghtrader.demo.run import DemoOptions, run_demo
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.compare import CompareOptions, compare_families
from ghtrader_assets.runs.room_preflight import RUN_BYTES, require_training_room
from ghtrader_base import disk_space
from ghtrader_base.disk_space import Room
from ghtrader_base.errors import NoRoomError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_models.datasets.day_cache import uncached_bytes
from ghtrader_models.sweep.space import Space
from tests.support import built


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("room") / "home"
    built.build(home / "data")
    return load_settings(home)


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Have so many bytes free, wherever one asks."""

    def left(free: float) -> None:
        room = Room(folder=Path("/"), free=int(free), total=1 << 30, inodes=None)
        monkeypatch.setattr(disk_space, "room_at", lambda path: room)

    return left


def need(settings: Settings) -> int:
    lake = built.Lake(settings.data)
    return uncached_bytes(lake, settings.cache, built.KEY, lake.days("features", built.KEY))[0]


def test_the_bound_is_what_the_arrays_and_runs_take(settings: Settings, leave: Callable[[float], None]) -> None:
    arrays = need(settings)
    assert arrays > 100_000
    leave(arrays + 2 * RUN_BYTES)
    require_training_room(settings, built.KEY, None, None, work="it", runs=2)
    leave(arrays + 2 * RUN_BYTES - 1)
    with pytest.raises(NoRoomError, match=r"it with the arrays of \d days of KQ.m@SHFE.cu needs"):
        require_training_room(settings, built.KEY, None, None, work="it", runs=2)
    leave(RUN_BYTES - 1)
    with pytest.raises(NoRoomError):
        require_training_room(settings, built.KEY, built.DAYS[-1], built.DAYS[-1], work="it", runs=1)


@pytest.mark.clock
def test_no_run_is_made(settings: Settings, leave: Callable[[float], None]) -> None:
    leave(RUN_BYTES - 1)
    space = Space(search={})
    works: dict[str, Callable[[], object]] = {
        "training of logistic": lambda: flows.train_family(settings, "logistic", "cu", 50),
        "benchmark of logistic, tcn": lambda: flows.benchmark_families(settings, ["logistic", "tcn"], "cu", 50),
        "sweep of logistic": lambda: flows.sweep_settings(settings, "logistic", built.KEY, 50, space=space, trials=3),
        "benchmark of logistic": lambda: compare_families(
            settings, CompareOptions(families=("logistic", "tcn"), variety="cu", horizon=50)
        ),
    }
    for named, work in works.items():
        with pytest.raises(NoRoomError, match=f"a {named}") as caught:
            work()
        assert caught.value.exit_code == 3 and "nothing was written" in caught.value.hint
    assert not list((settings.dagster / "history").glob("runs/*.db"))


@pytest.mark.clock
def test_the_last_demo_stays(tmp_path: Path, leave: Callable[[float], None]) -> None:
    home = tmp_path / "demo"
    (home / "runs" / "demo").mkdir(parents=True)
    (home / ".ghtrader-demo").write_text("")
    report = home / "runs" / "demo" / "report.json"
    report.write_text("the last one's")
    leave(10e6)
    for quick in (True, False):
        with pytest.raises(NoRoomError, match="a demo needs at least"):
            run_demo(DemoOptions(home=home, quick=quick))
        assert report.read_text() == "the last one's"
