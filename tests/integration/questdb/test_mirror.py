"""The double write: what is owed when QuestDB is down, a kill in every phase, repair in either direction."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import traceback
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ghtrader.cli import run
from ghtrader_base import failpoints
from ghtrader_base.errors import BadRecordingError, UnreachableError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import (
    RollSchedule,
    ScheduleDay,
    load_schedule,
    save_schedule,
    schedule_from_open_interest,
)
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA
from ghtrader_market.samples import IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.day_details import MainDayDetails, TickDetails, read_details
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.mirror.compare import compare_day, same_bits
from ghtrader_market.stores.mirror.mirrored_lake import MirroredLake, debt_ledger, pay, writing_schedule
from ghtrader_market.stores.questdb.schema import MAIN_L5, RAW_TICKS
from ghtrader_market.stores.questdb.store import QuestDbStore

Pg = Callable[[str], list[tuple]]
SYMBOL, SERIES, DAY = "CFFEX.IF2101", "KQ.m@CFFEX.IF", date(2021, 1, 4)
# Those of the double write; what is inside the lake's own write is the lake's tests' business (and the acceptance's).
PHASES = (
    "mirror.owed->lake",
    "mirror.lake->questdb",
    "questdb.sent->applied",
    "questdb.rows->activation",
    "questdb.schedule->activation",
    "mirror.questdb->paid",
)


@cache
def ticks() -> pa.Table:
    return read_recording(IF2101)[0][2].slice(0, 300)


def main_l5() -> pa.Table:
    return with_provenance(ticks(), ScheduleDay(DAY, SYMBOL, 0, "abc"))


def schedule() -> RollSchedule:
    bars = pa.table(
        {
            "symbol": pa.array([], pa.string()),
            "trading_day": pa.array([], pa.date32()),
            "open_interest": pa.array([], pa.float64()),
        }
    )
    return schedule_from_open_interest("IF", bars, {DAY: SYMBOL})


def write_all(settings: Settings) -> MirroredLake:
    """What three steps of the pipeline write: ticks, the roll schedule, main_l5."""
    lake = MirroredLake(settings)
    if not lake.has_day("ticks", SYMBOL, DAY):
        lake.write_day("ticks", SYMBOL, DAY, ticks(), source="test", run_id="r")
    with writing_schedule(lake, "IF"):
        save_schedule(lake.root, schedule())
    if not lake.has_day("main_l5", SERIES, DAY):
        details = MainDayDetails(contract=SYMBOL)
        lake.write_day("main_l5", SERIES, DAY, main_l5(), source="test", run_id="r", details=details)
    return lake


def alike(lake: Lake, questdb: QuestDbStore) -> bool:
    assert questdb.read_schedule("IF") == load_schedule(lake.root, "IF") == schedule()
    return not compare_day(lake, questdb, SYMBOL, DAY) and not compare_day(lake, questdb, SERIES, DAY, "main_l5")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def command(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = run([*arguments, "--json"])
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    return code, json.loads(said.out) if said.out else said.err


@pytest.fixture
def down(questdb_settings: Settings) -> Settings:
    """Settings that point at a port where nobody listens."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    return questdb_settings.model_copy(update={"questdb_http_port": port, "questdb_pg_port": port})


# ---- kills ----------------------------------------------------------------------------------------------------------


def child(settings: Settings, trace: Path, kill: str) -> int:
    """`write_all` in a fork of this process that is killed at a point; its exit code, or minus the signal."""
    pid = os.fork()
    if pid == 0:
        try:
            failpoints._armed = failpoints._Armed({failpoints.TRACE_ENV: str(trace), failpoints.KILL_ENV: kill})
            write_all(settings)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The lake's files as they are without a kill and without QuestDB."""
    lake = Lake(tmp_path_factory.mktemp("plain") / "data")
    lake.write_day("ticks", SYMBOL, DAY, ticks(), source="test", run_id="r")
    save_schedule(lake.root, schedule())
    details = MainDayDetails(contract=SYMBOL)
    lake.write_day("main_l5", SERIES, DAY, main_l5(), source="test", run_id="r", details=details)
    return days_of(lake)


def days_of(lake: Lake) -> dict[str, bytes]:
    """The lake's files but its index; a manifest without the version of code, which moves under a developer's hands."""
    found = {name: data for name, data in tree(lake.root).items() if ".sqlite" not in name}
    return {name: re.sub(rb'"code_version": "[^"]*"', b"", data) for name, data in found.items()}


@pytest.mark.parametrize(
    ("phase", "healing"), [(phase, ("run again", "serve-sync")[n % 2]) for n, phase in enumerate(PHASES)]
)
def test_a_kill_in_every_phase(
    questdb: QuestDbStore,
    questdb_settings: Settings,
    tmp_path: Path,
    uninterrupted: dict[str, bytes],
    capfd: pytest.CaptureFixture[str],
    phase: str,
    healing: str,
) -> None:
    trace = tmp_path / "trace"
    assert child(questdb_settings, trace, f"{phase}:1") == -signal.SIGKILL
    assert trace.read_text().splitlines()[-1].split(" ", 1)[1] == phase
    ledger = debt_ledger(questdb_settings)
    assert ledger.debts()
    lake = Lake(questdb_settings.data)
    if healing == "serve-sync":
        code, report = command(capfd, "db", "serve-sync")
        assert code == 0 and report["debts"] == [] and report["differing"] == []
        assert lake.tick_days(SYMBOL) == questdb.tick_days(SYMBOL)
        assert lake.days("main_l5", SERIES) == questdb.days("main_l5", SERIES)
    # Either way the next run does what is left, as a pipeline command does it: it pays first.
    pay(lake, questdb, ledger)
    write_all(questdb_settings)
    assert ledger.debts() == [] and alike(lake, questdb)
    assert questdb.conflicts(SYMBOL, DAY) == 0
    assert days_of(lake) == uninterrupted


def test_a_download_takes_the_place_of_a_recording_in_both_stores(
    questdb: QuestDbStore, questdb_settings: Settings
) -> None:
    lake = MirroredLake(questdb_settings)
    lake.write_day("ticks", SYMBOL, DAY, changed_ticks().slice(0, 200), source="recorded")
    replaced = TickDetails(replaced="a day recorded live")
    lake.write_day("ticks", SYMBOL, DAY, ticks(), source="tqsdk", details=replaced)
    assert lake.debts.debts() == [] and compare_day(lake, questdb, SYMBOL, DAY) == []
    assert questdb.conflicts(SYMBOL, DAY) == 0


# ---- a server that is down ------------------------------------------------------------------------------------------


def test_the_lake_goes_on_and_the_debt_is_told_and_paid(
    questdb: QuestDbStore, questdb_settings: Settings, down: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    lake = write_all(down)
    assert [(debt.dataset, debt.key, debt.day, debt.state) for debt in lake.debts.debts()] == [
        ("main_l5", SERIES, DAY, "owed"),
        ("schedule", "IF", None, "owed"),
        ("ticks", SYMBOL, DAY, "owed"),
    ]
    assert all("not reachable" in debt.reason for debt in lake.debts.debts())
    code, report = command(capfd, "db", "serve-sync", "--var", "IF")
    assert code == 0 and report["debts"] == []
    assert alike(lake, questdb)


def test_a_server_that_dies_between_two_writes(
    questdb: QuestDbStore, questdb_settings: Settings, down: Settings
) -> None:
    lake = MirroredLake(questdb_settings)
    lake.write_day("ticks", SYMBOL, DAY, ticks(), source="test")
    lake.questdb = QuestDbStore(down)
    lake.write_day("main_l5", SERIES, DAY, main_l5(), source="test")
    assert [debt.dataset for debt in lake.debts.debts()] == ["main_l5"]
    assert pay(lake, questdb, lake.debts) == []


def test_the_pipeline_stops_where_health_is_enforced(down: Settings) -> None:
    strict = down.model_copy(update={"pipeline_enforce_health": True})
    lake = MirroredLake(strict)
    with pytest.raises(UnreachableError) as caught:
        lake.write_day("ticks", SYMBOL, DAY, ticks(), source="test")
    assert caught.value.exit_code == 4 and "make questdb" in caught.value.hint
    assert not lake.has_day("ticks", SYMBOL, DAY) and lake.debts.debts() == []


@pytest.mark.parametrize("enforce", ["false", "true"])
def test_an_import_with_the_server_down(
    down: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], enforce: str
) -> None:
    monkeypatch.setenv("GHTRADER_QUESTDB_HTTP_PORT", str(down.questdb_http_port))
    monkeypatch.setenv("GHTRADER_QUESTDB_PG_PORT", str(down.questdb_pg_port))
    monkeypatch.setenv("GHTRADER_PIPELINE_ENFORCE_HEALTH", enforce)
    code = run(["data", "import", str(IF2101)])
    said = capfd.readouterr()
    if enforce == "true":
        assert code == 4 and f"127.0.0.1:{down.questdb_http_port}" in said.err and "make questdb" in said.err
        assert not down.data.exists()
        return
    assert code == 0 and "the lake goes on" in said.err
    assert [debt.key for debt in debt_ledger(load_settings()).debts()] == [SYMBOL]
    assert command(capfd, "db", "questdb-health")[0] == 4


def test_ticks_that_are_refused_are_not_owed(questdb: QuestDbStore, questdb_settings: Settings) -> None:
    lake = MirroredLake(questdb_settings)
    with pytest.raises(BadRecordingError):
        lake.write_day("ticks", SYMBOL, DAY, ticks().take(pa.array([5, 4, 3])), source="test")
    assert lake.debts.debts() == [] and not lake.has_day("ticks", SYMBOL, DAY)
    assert questdb.tick_days(SYMBOL) == []


def test_a_debt_whose_writer_is_at_work_is_left_to_it(questdb: QuestDbStore, questdb_settings: Settings) -> None:
    lake = MirroredLake(questdb_settings)
    with lake.debts.owing("ticks", SYMBOL, DAY, "being written"):
        assert len(pay(lake, questdb, lake.debts)) == 1
    assert pay(lake, questdb, lake.debts) == []


# ---- repair ---------------------------------------------------------------------------------------------------------


def changed_ticks() -> pa.Table:
    prices = ticks()["last_price"].to_numpy().copy()
    prices[7] += 1
    return ticks().set_column(2, RAW_TICK_SCHEMA.field("last_price"), pa.array(prices))


@pytest.mark.parametrize("source", ["lake", "questdb"])
def test_days_that_differ_wait_for_a_choice(
    questdb: QuestDbStore, questdb_settings: Settings, capfd: pytest.CaptureFixture[str], source: str
) -> None:
    questdb.write_ticks(SYMBOL, DAY, changed_ticks())
    lake = MirroredLake(questdb_settings)
    lake.write_day("ticks", SYMBOL, DAY, ticks(), source="test")
    assert [debt.state for debt in lake.debts.debts()] == ["differs"]
    assert questdb.conflict_days() == {(SYMBOL, DAY): 1}
    (difference,) = compare_day(lake, questdb, SYMBOL, DAY)
    assert (difference.kind, difference.rows, difference.column) == ("value", 1, "last_price")
    assert difference.first == ticks()["datetime_ns"][7].as_py()
    code, report = command(capfd, "db", "serve-sync")
    assert code == 1 and len(report["differing"]) == 1 and report["to_questdb"] == report["to_lake"] == []
    code, report = command(capfd, "db", "serve-sync", "--from", source)
    assert code == 0 and report["debts"] == []
    wanted = ticks() if source == "lake" else changed_ticks()
    for store in (lake, questdb):
        back = store.read_day("ticks", SYMBOL, DAY)
        assert all(same_bits(back, wanted, name).all() for name in wanted.column_names)


def test_rows_changed_added_and_hidden_in_the_server_are_named_and_repaired(
    questdb: QuestDbStore, questdb_settings: Settings, pg: Pg, capfd: pytest.CaptureFixture[str]
) -> None:
    lake = write_all(questdb_settings)
    ids = ticks()["id"].to_pylist()
    pg(f"UPDATE {RAW_TICKS} SET bid_price1 = 1.0 WHERE id = {ids[5]}")
    pg(f"UPDATE {RAW_TICKS} SET trading_day = '2021-01-05' WHERE id = {ids[9]}")
    pg(f"UPDATE {MAIN_L5} SET segment_id = 3, schedule_hash = 'x' WHERE id = {ids[5]}")
    names = ", ".join(name for name, _ in pg(f"SELECT \"column\", type FROM table_columns('{MAIN_L5}')"))
    inserted = names.replace("row_hash", "row_hash + 1").replace("last_price", "last_price + 5")
    pg(f"INSERT INTO {MAIN_L5} SELECT {inserted} FROM {MAIN_L5} WHERE id = {ids[8]}")
    found = compare_day(lake, questdb, SYMBOL, DAY)
    assert [(d.kind, d.rows, d.column) for d in found] == [
        ("damaged", 299, ""),
        ("only-in-lake", 1, ""),
        ("value", 1, "bid_price1"),
    ]
    found = compare_day(lake, questdb, SERIES, DAY, "main_l5")
    assert [(d.kind, d.rows, d.column) for d in found] == [
        ("damaged", 301, ""),
        ("only-in-questdb", 1, ""),
        ("value", 1, "segment_id"),
        ("value", 1, "schedule_hash"),
    ]
    code, report = command(capfd, "db", "serve-sync", "--from", "questdb")
    assert code == 1, "rows that are damaged in themselves are no source"
    assert command(capfd, "db", "serve-sync", "--from", "lake", "--end", "2021-01-04")[0] == 0
    assert alike(lake, questdb)
    # Nothing was deleted: the old rows are there, and set aside.
    assert pg(f"SELECT count() FROM {MAIN_L5} WHERE symbol = '{SERIES}'") == [(601,)]


def test_a_lake_that_was_lost_comes_back_to_the_bit(
    questdb: QuestDbStore, questdb_settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = tree(write_all(questdb_settings).root)
    other = load_settings(tmp_path / "another home")
    code = run(["db", "serve-sync", "--from", "questdb", "--home", str(other.home)])
    assert code == 0, capfd.readouterr().err
    after = tree(other.data)
    parquet = {name for name in before if name.endswith((".parquet", ".sha256", "IF.json"))}
    assert len(parquet) == 5 and {name: after[name] for name in parquet} == {name: before[name] for name in parquet}
    main = Lake(other.data).manifest("main_l5", SERIES, DAY)
    assert main.details == MainDayDetails(contract=SYMBOL) and main.source == "test"


def test_a_damaged_lake_file_is_repaired_from_questdb(
    questdb: QuestDbStore, questdb_settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    lake = write_all(questdb_settings)
    (path,) = lake.files("main_l5")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, report = command(capfd, "db", "serve-sync")
    assert code == 1 and report["differing"][0]["differences"][0]["kind"] == "lake-damaged"
    assert command(capfd, "db", "serve-sync", "--from", "questdb")[0] == 0
    assert lake.verify_day("main_l5", SERIES, DAY) and alike(lake, questdb)


# ---- round trip -----------------------------------------------------------------------------------------------------


def hard_ticks() -> pa.Table:
    """Every value that a store may bend: NaN of several payloads, both zeros, ns, extremes, cumulative volume."""
    rows = 64
    columns = {name: ticks()[name].to_numpy()[:rows].copy() for name in RAW_TICK_SCHEMA.names}
    columns["datetime_ns"] = columns["datetime_ns"][0] + np.arange(rows, dtype=np.int64) * 333_333_333 + 7
    odd = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001], dtype=np.uint64).view(np.float64)
    columns["bid_price2"][:3], columns["ask_price2"][:2] = odd, [-0.0, 0.0]
    columns["last_price"][:4] = [np.nextafter(5000.2, 0), 1e-308, 1.7e308, 5e-324]
    columns["average"][0], columns["highest"][1], columns["lowest"][2] = -0.0, np.inf, -np.inf
    columns["volume"] = np.cumsum(np.full(rows, 2**52, dtype=np.int64))
    columns["open_interest"][3] = 2**63 - 1
    columns["id"] = columns["id"][0] + np.arange(rows, dtype=np.int64)
    return pa.table([columns[name] for name in RAW_TICK_SCHEMA.names], schema=RAW_TICK_SCHEMA)


def test_lake_questdb_and_back_is_equal_to_the_bit(
    questdb: QuestDbStore, questdb_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = questdb_settings.model_copy(update={"questdb_features": True})
    lake, table = MirroredLake(settings), hard_ticks()
    rows = table.num_rows
    main = with_provenance(table, ScheduleDay(DAY, SYMBOL, 0, "abc"))
    rng = np.random.default_rng(5)
    factors = rng.standard_normal((6, rows)).astype(np.float32)
    factors[0, :9], factors[1, 3], factors[2, 4] = np.nan, -0.0, np.float32(1e-45)
    provenance = [main[name] for name in ("underlying_contract", "segment_id", "schedule_hash")]
    names = ["underlying_contract", "segment_id", "schedule_hash"]
    features = pa.table(
        [table["datetime_ns"], *factors, *provenance], names=["datetime_ns", *(f"f{n}" for n in range(6)), *names]
    )
    labels = pa.table(
        [table["datetime_ns"], pa.array(rng.random(rows)), pa.array(rng.integers(-1, 3, rows), pa.int8()), *provenance],
        names=["datetime_ns", "mid", "label_10", *names],
    )
    written = {("ticks", SYMBOL): table, ("main_l5", SERIES): main, ("features", SERIES): features}
    written["labels", SERIES] = labels
    for (dataset, key), day in written.items():
        details = read_details(dataset, {"spec_hash": "s"})
        lake.write_day(dataset, key, DAY, day, source="test", details=details)
    assert lake.debts.debts() == []
    monkeypatch.setenv("GHTRADER_QUESTDB_FEATURES", "true")
    home = tmp_path / "another home"
    assert run(["db", "serve-sync", "--from", "questdb", "--home", str(home)]) == 0
    for (dataset, key), day in written.items():
        back = Lake(home / "data").read_day(dataset, key, DAY)
        assert back.schema.equals(day.schema), dataset
        for name in day.column_names:
            assert same_bits(back, day, name).all(), (dataset, name)
        assert Lake(home / "data").manifest(dataset, key, DAY).rows == rows
