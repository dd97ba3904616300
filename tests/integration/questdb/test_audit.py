"""The audit against a real QuestDB: rows changed, gone, added or in conflict are named by table, day and kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from ghtrader_assets.audit_home import audit_home
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.main_series.main_l5 import build_main_l5
from ghtrader_market.reference.roll_schedule import load_schedule, save_schedule, schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.samples import CU1909
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.mirror.mirrored_lake import open_lake, writing_schedule
from ghtrader_market.stores.questdb.schema import MAIN_L5, MAIN_SCHEDULE, RAW_TICKS
from ghtrader_market.stores.questdb.store import QuestDbStore

pytestmark = pytest.mark.clock

Pg = Callable[[str], list[tuple]]
SYMBOL, DAY, TICKS = read_recording(CU1909)[0]
KEY, D = "KQ.m@SHFE.cu", DAY.isoformat()


@pytest.fixture
def home_of_both(questdb: QuestDbStore, questdb_settings: Settings) -> Settings:
    """The real five-level recording in both stores, raw and as main_l5."""
    lake = open_lake(questdb_settings)
    lake.write_day("ticks", SYMBOL, DAY, TICKS, source="recording:sample")
    none = pa.table({"symbol": pa.array([], pa.string()), "trading_day": [], "open_interest": []})
    with writing_schedule(lake, "cu"):
        save_schedule(lake.root, schedule_from_open_interest("cu", none, {DAY: SYMBOL}))
    build_main_l5(lake, bundled_calendar(), load_schedule(lake.root, "cu"), [DAY]).raise_if_failed()
    return questdb_settings


def told(settings: Settings, **options: object) -> list[tuple[str, str, str, str]]:
    report, _ = audit_home(settings, **options)
    assert report.questdb == "compared"
    return sorted({(f.kind, f.dataset, f.day, f.file) for f in report.findings})


def test_equal_stores_have_no_finding(home_of_both: Settings) -> None:
    assert told(home_of_both) == []


def test_a_changed_row_is_named(home_of_both: Settings, pg: Pg) -> None:
    row = TICKS["id"][5].as_py()
    pg(f"UPDATE {RAW_TICKS} SET bid_price1 = 1.0 WHERE id = {row}")
    assert told(home_of_both) == [("questdb_differs", "ticks", D, RAW_TICKS)]
    pg(f"UPDATE {MAIN_L5} SET segment_id = 3 WHERE id = {row}")
    assert told(home_of_both) == [
        ("questdb_differs", "main_l5", D, MAIN_L5),
        ("questdb_differs", "ticks", D, RAW_TICKS),
    ]
    assert told(home_of_both, dataset="main_l5") == [("questdb_differs", "main_l5", D, MAIN_L5)]
    assert told(home_of_both, varieties=["au"]) == told(home_of_both, start=date(2019, 9, 17)) == []
    report, path = audit_home(home_of_both)
    details = " ".join(finding["detail"] for finding in json.loads(path.read_text())["findings"])
    assert "bid_price1" in details and "segment_id" in details and "2019-09-16 14:0" in details
    assert not report.ok


def test_rows_that_only_one_store_has(home_of_both: Settings, questdb: QuestDbStore, pg: Pg) -> None:
    pg(f"TRUNCATE TABLE {RAW_TICKS}")
    assert told(home_of_both) == [("questdb_missing", "ticks", D, RAW_TICKS)]
    questdb.write_ticks("SHFE.cu1910", DAY, TICKS)
    assert ("questdb_extra", "ticks", D, RAW_TICKS) in told(home_of_both)
    pg(f"TRUNCATE TABLE {MAIN_SCHEDULE}")
    assert {kind for kind, dataset, _, _ in told(home_of_both) if dataset == "schedule"} == {"questdb_differs"}


def test_rows_in_conflict_are_counted(home_of_both: Settings, questdb: QuestDbStore) -> None:
    column = pa.array([price + 10 for price in TICKS["last_price"].to_pylist()])
    other = TICKS.set_column(TICKS.schema.get_field_index("last_price"), "last_price", column)
    questdb.write_ticks(SYMBOL, DAY, other)
    report, _ = audit_home(home_of_both)
    (finding,) = report.findings
    assert (finding.kind, finding.day) == ("questdb_conflict", D) and "200 rows" in finding.detail


def test_a_server_that_is_not_there_is_said(home_of_both: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert audit_home(home_of_both, questdb=False)[0].questdb == "left out"
    monkeypatch.setenv("GHTRADER_QUESTDB_HTTP_PORT", "9")
    monkeypatch.setenv("GHTRADER_QUESTDB_PG_PORT", "9")
    report, path = audit_home(load_settings(home_of_both.home))
    assert report.ok and report.questdb.startswith("not compared: ")
    assert Path(path).exists()
