"""`ghtrader build` with GHTRADER_QUESTDB_FEATURES: features and labels go to a real QuestDB as ticks do, for the main
series and for one contract; without the server the lake goes on, the debt is told, and serve-sync pays it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from ghtrader.cli import run
from ghtrader_assets.audit_home import audit_home
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.main_series.main_l5 import build_main_l5
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest
from ghtrader_market.reference.tick_schema import table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.mirror.compare import compare_day
from ghtrader_market.stores.mirror.mirrored_lake import debt_ledger
from ghtrader_market.stores.questdb.builds import TABLES
from ghtrader_market.stores.questdb.store import QuestDbStore
from tests.support.runtime_kit import session_times, synthetic_values

Pg = Callable[[str], list[tuple]]
SYMBOL, SERIES, DAY, ROWS = "SHFE.cu2506", "KQ.m@SHFE.cu", date(2025, 4, 16), 400
TICKS = table_from_values(np.arange(ROWS), session_times(SYMBOL, DAY, ROWS), synthetic_values(ROWS, 1))
PAIR = ("features", "labels")
BUILD = ["build", "--horizons", "5,20", "--accept-quality"]
MAIN, CONTRACT = [*BUILD, "--var", "cu"], [*BUILD, "--symbol", SYMBOL, "--ticks-kind", "raw"]


@pytest.fixture
def settings(questdb: QuestDbStore, questdb_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake with a recording as raw ticks and as a main_l5 day, QuestDB wanted for features too."""
    monkeypatch.setenv("GHTRADER_QUESTDB_FEATURES", "true")
    found = load_settings(questdb_settings.home)
    lake = Lake(found.data)
    lake.write_day("ticks", SYMBOL, DAY, TICKS, source="recording:test")
    none = pa.table({"symbol": pa.array([], pa.string()), "trading_day": [], "open_interest": []})
    save_schedule(lake.root, schedule := schedule_from_open_interest("cu", none, {DAY: SYMBOL}))
    build_main_l5(lake, bundled_calendar(), schedule, [DAY]).raise_if_failed()
    return found


def kept(settings: Settings, key: str) -> list[date]:
    """Days of features that QuestDB has, the same to the bit as the lake's; labels must agree."""
    store, lake = QuestDbStore(settings), Lake(settings.data)
    days = store.days("features", key)
    assert store.days("labels", key) == days
    assert all(compare_day(lake, store, key, day, dataset) == [] for day in days for dataset in PAIR)
    return days


def status(capfd: pytest.CaptureFixture[str]) -> dict:
    capfd.readouterr()
    assert run(["status", "--json"]) == 0
    return json.loads(capfd.readouterr().out)["questdb"]


@pytest.mark.clock
def test_a_build_goes_to_both_stores_and_a_rebuilt_day_is_the_one_in_force(settings: Settings, pg: Pg) -> None:
    assert run(MAIN) == run(CONTRACT) == 0
    assert kept(settings, SERIES) == kept(settings, SYMBOL) == [DAY]
    store, lake = QuestDbStore(settings), Lake(settings.data)
    assert debt_ledger(settings).debts() == []
    back = store.read_day("features", SERIES, DAY)
    assert back.schema.equals(lake.read_day("features", SERIES, DAY).schema)
    assert np.isnan(back["mid_return_100"].to_numpy()).any(), "not known is kept as not known"
    (rows,) = pg(f"SELECT count() FROM {TABLES['features']} WHERE symbol = '{SERIES}'")
    assert rows == (TICKS.num_rows,)
    assert run([*MAIN, "--labels", "smoothed"]) == 3, "another configuration"
    assert run([*MAIN, "--labels", "smoothed", "--overwrite"]) == 0
    assert kept(settings, SERIES) == [DAY]
    builds = pg(f"SELECT DISTINCT build_id FROM {TABLES['labels']} WHERE symbol = '{SERIES}'")
    assert len(builds) == 2, "the build before stays"

    assert audit_home(settings, dataset="features")[0].ok
    row = TICKS["datetime_ns"][100].as_py()
    pg(f"UPDATE {TABLES['labels']} SET segment_id = 7 WHERE symbol = '{SYMBOL}' AND datetime_ns = {row}")
    report, _ = audit_home(settings)
    found = {(f.kind, f.dataset, f.key, f.day) for f in report.findings if f.dataset in PAIR}
    assert found == {("questdb_differs", "labels", SYMBOL, str(DAY))}
    assert run(["db", "serve-sync", "--from", "lake"]) == 0 and kept(settings, SYMBOL) == [DAY]


def test_without_the_server_the_lake_goes_on_and_the_debt_is_told_and_paid(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ports = ("GHTRADER_QUESTDB_HTTP_PORT", "GHTRADER_QUESTDB_PG_PORT")
    with monkeypatch.context() as down:
        for name in ports:
            down.setenv(name, "9")
        assert run(MAIN) == run(CONTRACT) == 0
        assert "the lake goes on" in capfd.readouterr().err
        lake = Lake(settings.data)
        assert all(lake.days(dataset, key) == [DAY] for dataset in PAIR for key in (SERIES, SYMBOL))
        found = status(capfd)
        assert found["debt"] == {"owed": 4} and not found["ok"]
        down.setenv("GHTRADER_PIPELINE_ENFORCE_HEALTH", "true")
        assert run([*MAIN, "--overwrite"]) == 4, "who wants both stores is stopped"
    assert kept(settings, SERIES) == []
    assert run(["db", "serve-sync"]) == 0
    assert kept(settings, SERIES) == kept(settings, SYMBOL) == [DAY] and status(capfd)["debt"] == {}


def test_days_built_before_the_setting_are_brought_by_serve_sync(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as off:
        off.setenv("GHTRADER_QUESTDB_FEATURES", "false")
        assert run(MAIN) == 0
    assert kept(settings, SERIES) == [] and debt_ledger(settings).debts() == []
    assert run(["db", "serve-sync", "--var", "cu"]) == 0
    assert kept(settings, SERIES) == [DAY]
