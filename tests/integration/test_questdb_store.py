"""One suite for both tick stores, QuestDB a real server; and what only a server can do wrong."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from ghtrader_base.errors import BadRecordingError, ConfigError, FailedError, UnreachableError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.calendar import bundled_calendar
from ghtrader_market.imports import import_recordings
from ghtrader_market.ingest import further_stores
from ghtrader_market.samples import CU1909, IF2101
from ghtrader_market.sources.recordings import read_recording
from ghtrader_market.stores.base import TickStore
from ghtrader_market.stores.lake import Lake
from ghtrader_market.stores.questdb import TABLE, QuestDbStore, create_statement, key_hashes
from ghtrader_market.ticks import RAW_TICK_SCHEMA, table_hash

_RUN = Path(__file__).resolve().parents[2] / "infra" / "questdb" / "run.py"


def _runner() -> Any:
    spec = importlib.util.spec_from_file_location("questdb_run", _RUN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A QuestDB of our own; skipped where Java or Maven are missing, unless that is forbidden."""
    run = _runner()
    found = run.QuestDbServer(tmp_path_factory.mktemp("questdb"), memory="512m", password="a test's own")
    try:
        found.start()
    except run.Unavailable as exc:
        if os.environ.get("GHTRADER_REQUIRE_QUESTDB") == "1":
            pytest.fail(f"QuestDB is required here: {exc}")
        pytest.skip(f"no QuestDB on this machine: {exc}")
    try:
        yield found.environment()
    finally:
        found.stop()


@pytest.fixture
def settings(server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GHTRADER_QUESTDB_PG_PASSWORD", "a test's own")
    return load_settings(tmp_path / "home")


def pg(settings: Settings, statement: str) -> list[tuple]:
    with psycopg.connect(
        host="127.0.0.1",
        port=settings.questdb_pg_port,
        user="admin",
        password="a test's own",
        dbname="qdb",
        autocommit=True,
    ) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def questdb(settings: Settings) -> QuestDbStore:
    store = QuestDbStore(settings)
    store.init()
    pg(settings, f"TRUNCATE TABLE {TABLE}")
    return store


@pytest.fixture(params=["lake", "questdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TickStore:
    if request.param == "lake":
        return Lake(tmp_path / "data")
    return request.getfixturevalue("questdb")


def sample(path: Path) -> tuple[str, date, pa.Table]:
    return read_recording(path)[0]


# ---- both stores ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CU1909, IF2101], ids=["five levels", "one level"])
def test_what_is_written_is_read(store: TickStore, path: Path) -> None:
    symbol, day, table = sample(path)
    assert isinstance(store, TickStore)
    store.init()
    assert store.write_ticks(symbol, day, table, source="test", run_id="r") == table.num_rows
    back = store.read_ticks(symbol, day)
    assert back.schema.equals(RAW_TICK_SCHEMA)
    assert table_hash(back) == table_hash(table)
    assert store.tick_days(symbol) == [day]
    assert store.health().ok


def test_writing_again_changes_nothing(store: TickStore) -> None:
    symbol, day, table = sample(CU1909)
    store.init()
    store.write_ticks(symbol, day, table)
    assert store.write_ticks(symbol, day, table) == table.num_rows
    assert table_hash(store.read_ticks(symbol, day)) == table_hash(table)


def test_some_columns_and_absent_days(store: TickStore) -> None:
    symbol, day, table = sample(CU1909)
    store.init()
    assert store.tick_days(symbol) == []
    assert store.read_ticks(symbol, day).equals(RAW_TICK_SCHEMA.empty_table())
    store.write_ticks(symbol, day, table)
    assert store.read_ticks(symbol, day, ["id", "bid_price5"]).column_names == ["id", "bid_price5"]
    assert store.read_ticks(symbol, date(2019, 9, 17)).num_rows == 0
    assert store.read_ticks("SHFE.cu1910", day).num_rows == 0


def test_days_and_contracts_keep_apart(store: TickStore) -> None:
    symbol, day, table = sample(CU1909)
    later = date(2019, 9, 17)
    store.init()
    shift = pa.array(table["datetime_ns"].to_numpy() + 86_400_000_000_000)
    moved = table.set_column(1, RAW_TICK_SCHEMA.field(1), shift)
    store.write_ticks(symbol, later, moved)
    store.write_ticks(symbol, day, table)
    store.write_ticks("SHFE.cu1910", day, table.slice(0, 50))
    assert store.tick_days(symbol) == [day, later]
    assert store.tick_days("SHFE.cu1910") == [day]
    assert table_hash(store.read_ticks(symbol, later)) == table_hash(moved)
    assert table_hash(store.read_ticks("SHFE.cu1910", day)) == table_hash(table.slice(0, 50))


def test_identical_ticks_at_one_time_are_all_kept(store: TickStore) -> None:
    symbol, day, table = sample(CU1909)
    rows = table.take(pa.array([0, 1, 1, 1, 2]))
    twins = rows.set_column(0, RAW_TICK_SCHEMA.field(0), pa.array(range(5), pa.int64()))
    store.init()
    store.write_ticks(symbol, day, twins)
    store.write_ticks(symbol, day, twins)
    assert table_hash(store.read_ticks(symbol, day)) == table_hash(twins)


def test_invalid_ticks_are_refused_and_nothing_is_written(store: TickStore) -> None:
    symbol, day, table = sample(CU1909)
    store.init()
    with pytest.raises(BadRecordingError):
        store.write_ticks(symbol, day, table.take(pa.array([5, 4, 3])))
    assert store.tick_days(symbol) == []


# ---- QuestDB alone --------------------------------------------------------------------------------------------------


def test_a_conflicting_row_is_kept_and_the_first_is_read(questdb: QuestDbStore, settings: Settings) -> None:
    symbol, day, table = sample(CU1909)
    questdb.write_ticks(symbol, day, table)
    prices = table["last_price"].to_numpy().copy()
    prices[7] += 10
    changed = table.set_column(2, RAW_TICK_SCHEMA.field(2), pa.array(prices))
    assert questdb.write_ticks(symbol, day, changed) == table.num_rows + 1
    assert questdb.conflicts(symbol, day) == 1
    assert table_hash(questdb.read_ticks(symbol, day)) == table_hash(table)
    seen = pg(settings, f"SELECT ingest_seq, last_price FROM {TABLE} WHERE id = {table['id'][7]} ORDER BY ingest_seq")
    assert seen == [(0, prices[7] - 10), (1, prices[7])]


def test_the_rest_of_a_day_is_added(questdb: QuestDbStore) -> None:
    symbol, day, table = sample(CU1909)
    questdb.write_ticks(symbol, day, table.slice(0, 120))
    assert questdb.write_ticks(symbol, day, table) == table.num_rows
    assert questdb.conflicts(symbol, day) == 0
    assert table_hash(questdb.read_ticks(symbol, day)) == table_hash(table)


def test_the_table_tells_kind_version_day_and_time(questdb: QuestDbStore, settings: Settings) -> None:
    symbol, day, table = sample(CU1909)
    questdb.write_ticks(symbol, day, table)
    columns = "ts, datetime_ns, symbol, ticks_kind, dataset_version, row_hash, ingest_seq, trading_day"
    (row,) = pg(settings, f"SELECT {columns} FROM {TABLE} WHERE id = {table['id'][0]}")
    assert row[1:] == (table["datetime_ns"][0].as_py(), symbol, "raw", "v2", int(key_hashes(table)[0]), 0, str(day))
    kinds = dict(pg(settings, f"SELECT \"column\", type FROM table_columns('{TABLE}')"))
    assert kinds["ts"] == "TIMESTAMP_NS" and kinds["volume"] == "LONG" and kinds["amount"] == "DOUBLE"
    assert pg(settings, f"SELECT count() FROM {TABLE} WHERE ts != datetime_ns::TIMESTAMP_NS") == [(0,)]


def test_import_writes_both_stores_alike(questdb: QuestDbStore, settings: Settings) -> None:
    lake = Lake(settings.data)
    report = import_recordings([CU1909, IF2101], lake, bundled_calendar(), also=further_stores(settings))
    assert len(report.written) == 2
    for symbol, day in report.written:
        assert table_hash(questdb.read_ticks(symbol, day)) == table_hash(lake.read_ticks(symbol, day))


def test_a_missing_table_is_named_with_what_mends_it(questdb: QuestDbStore, settings: Settings) -> None:
    pg(settings, f"DROP TABLE {TABLE}")
    for call in (
        lambda: questdb.tick_days("SHFE.cu1909"),
        lambda: questdb.read_ticks("SHFE.cu1909", date(2019, 9, 16)),
    ):
        with pytest.raises(FailedError, match=f"no table {TABLE}") as caught:
            call()
        assert "ghtrader data import" in caught.value.hint
    assert not questdb.health().ok
    questdb.init()
    assert questdb.tick_days("SHFE.cu1909") == []


def test_an_older_table_is_named(questdb: QuestDbStore, settings: Settings) -> None:
    pg(settings, f"DROP TABLE {TABLE}")
    pg(settings, create_statement().replace(", ask_price5 DOUBLE", "").replace(" id LONG,", ""))
    try:
        with pytest.raises(FailedError, match="lacks ask_price5, id"):
            questdb.init()
        with pytest.raises(FailedError, match="of another version"):
            questdb.read_ticks("SHFE.cu1909", date(2019, 9, 16))
    finally:
        pg(settings, f"DROP TABLE {TABLE}")


def test_a_server_that_is_not_there_is_named(settings: Settings) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        gone = settings.model_copy(update={"questdb_http_port": port, "questdb_pg_port": port})
        store = QuestDbStore(gone)
        symbol, day, table = sample(CU1909)
        for call in (
            store.init,
            store.require,
            lambda: store.tick_days(symbol),
            lambda: store.read_ticks(symbol, day),
            lambda: store.write_ticks(symbol, day, table),
            lambda: further_stores(gone),
        ):
            with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}") as caught:
                call()
            assert "make questdb" in caught.value.hint
        health = store.health()
        assert not health.ok and f"127.0.0.1:{port}" in health.detail
    half = settings.model_copy(update={"questdb_http_port": port})
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}"):
        QuestDbStore(half)._send(symbol, day, table, key_hashes(table), 0)


def test_a_wrong_password_is_a_matter_of_configuration(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHTRADER_QUESTDB_PG_PASSWORD", "wrong")
    with pytest.raises(ConfigError, match="refused user and password") as caught:
        QuestDbStore(load_settings(settings.home)).init()
    assert "GHTRADER_QUESTDB_PG_PASSWORD" in caught.value.hint and "wrong" not in str(caught.value)


def test_without_a_host_there_is_no_store(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert further_stores(settings) == []
    with pytest.raises(ConfigError):
        QuestDbStore(settings)


def test_key_hashes_tell_twins_apart() -> None:
    table = sample(CU1909)[2]
    twins = table.take(pa.array([3, 3, 3, 4]))
    hashes = key_hashes(twins)
    assert len(set(hashes.tolist())) == 4
    np.testing.assert_array_equal(key_hashes(table.take(pa.array([3]))), hashes[:1])
