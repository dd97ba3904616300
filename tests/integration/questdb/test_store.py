"""One suite for both tick stores, QuestDB a real server; and what only a server can do wrong."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import (
    BadRecordingError,
    ConfigError,
    FailedError,
    IntegrityError,
    UnreachableError,
    UsageError,
)
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import (
    RollSchedule,
    ScheduleDay,
    load_schedule,
    save_schedule,
    schedule_from_open_interest,
)
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, table_hash
from ghtrader_market.reference.varieties import FeeRates
from ghtrader_market.samples import CU1909, IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.base import TickStore
from ghtrader_market.stores.day_details import (
    BuildContext,
    FactorSetRecord,
    FeatureDetails,
    LabelDetails,
    MainDayDetails,
    TickDetails,
)
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.mirror.mirrored_lake import open_lake, repair_lake
from ghtrader_market.stores.questdb.schema import BUILDS, MAIN_L5
from ghtrader_market.stores.questdb.schema import RAW_TICKS as TABLE
from ghtrader_market.stores.questdb.store import QuestDbStore, key_hashes

Pg = Callable[[str], list[tuple]]
SERIES = "KQ.m@SHFE.cu"
NO_VOLUME = Path(__file__).parents[2] / "fixtures/recordings/SHFE.cu1910.npz"


@pytest.fixture(params=["lake", "questdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TickStore:
    if request.param == "lake":
        return Lake(tmp_path / "data")
    return request.getfixturevalue("questdb")


def sample(path: Path) -> tuple[str, date, pa.Table]:
    return read_recording(path)[0]


# ---- both stores ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CU1909, IF2101, NO_VOLUME], ids=["five levels", "one level", "no volume"])
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


UNKNOWN = {"a new key": {"nested": [1, None, "x"]}}
DETAILS = {
    "ticks": TickDetails(dropped_duplicates=1, unknown=UNKNOWN),
    "main_l5": MainDayDetails(contract="SHFE.cu1909", segment_id=0, dropped_outside_sessions=0, unknown=UNKNOWN),
    "features": FeatureDetails(
        spec_hash="s", factor_set=FactorSetRecord(language=1, name="n", factors=(("f0", "mid"),)), left_out=(),
        context=BuildContext(contract="SHFE.cu1909", price_tick=10.0, multiplier=5, sessions=((1, 2),)),
        unknown={**UNKNOWN, "levels": "five"},
    ),
    "labels": LabelDetails(counts={"label_10": (1, 2, 3, 4)}, fees=FeeRates(open_lot=5.0), unknown=UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("dataset", DETAILS)
def test_what_a_day_says_of_itself_comes_back_whoever_wrote_it(store: TickStore, dataset: str, tmp_path: Path) -> None:
    symbol, day, ticks = sample(CU1909)
    main = with_provenance(ticks, ScheduleDay(day, symbol, 0, "abc"))
    provenance = [main[name] for name in ("underlying_contract", "segment_id", "schedule_hash")]
    names = ["datetime_ns", "f0", "underlying_contract", "segment_id", "schedule_hash"]
    built = pa.table([main["datetime_ns"], main["bid_price1"], *provenance], names=names)
    table = {"ticks": ticks, "main_l5": main}.get(dataset, built)
    key, details = symbol if dataset == "ticks" else SERIES, DETAILS[dataset]
    store.init()
    if isinstance(store, QuestDbStore):
        store.repair_day(dataset, key, day, table, source="test", run_id="r", details=details)
        build = store.provenance(dataset, key, day)
        assert (build.details, build.source, build.run_id) == (details, "test", "r")
        lake = Lake(tmp_path / "back")
        repair_lake(lake, store, dataset, key, day)
    else:
        lake = store
        lake.write_day(dataset, key, day, table, source="test", run_id="r", details=details)
    manifest = lake.manifest(dataset, key, day)
    assert (manifest.details, manifest.source, manifest.run_id) == (details, "test", "r")
    assert manifest.to_json()["extra"] == details.to_json() and manifest.content_hash == table_hash(table)


@pytest.mark.parametrize("dataset", ["ticks", "main_l5"])
def test_where_a_day_comes_from_is_kept_and_corrected_without_new_rows(store: TickStore, dataset: str) -> None:
    symbol, day, ticks = sample(CU1909)
    table = ticks if dataset == "ticks" else with_provenance(ticks, ScheduleDay(day, symbol, 0, "abc"))
    key, kind = (symbol, TickDetails) if dataset == "ticks" else (SERIES, MainDayDetails)
    store.init()
    for origin in (None, Scenario(seed=1).origin, Scenario(seed=1).origin, Scenario(seed=2).origin):
        assert store.write_day(dataset, key, day, table, source="tqsdk", run_id="r", details=kind(origin=origin))
        noted = (store.provenance if isinstance(store, QuestDbStore) else store.manifest)(dataset, key, day)
        assert (noted.details.origin if noted is not None else None) == origin
        assert table_hash(store.read_day(dataset, key, day)) == table_hash(table)
    if isinstance(store, QuestDbStore):
        assert noted.activation == (1 if dataset == "ticks" else 2), "what is the same is not written again"
        assert dataset != "ticks" or store.conflicts(key, day) == 0


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


@pytest.mark.parametrize("anew", [False, True], ids=["same", "changed"])
def test_a_built_day_is_what_was_written_last(store: TickStore, anew: bool) -> None:
    symbol, day, table = sample(CU1909)
    first = with_provenance(table, ScheduleDay(day, symbol, 0, "abc"))
    second = with_provenance(table.slice(3), ScheduleDay(day, symbol, 1, "def")) if anew else first
    store.init()
    assert store.days("main_l5", SERIES) == []
    with pytest.raises(FailedError):
        store.read_day("main_l5", SERIES, day)
    for built in (first, second, second):
        store.write_day("main_l5", SERIES, day, built, source="test", details=MainDayDetails(contract=symbol))
        assert table_hash(store.read_day("main_l5", SERIES, day)) == table_hash(built)
    assert store.days("main_l5", SERIES) == [day] and store.keys("main_l5") == [SERIES]
    assert store.read_day("main_l5", SERIES, day, ["id", "segment_id"]).column_names == ["id", "segment_id"]
    with pytest.raises(UsageError):
        store.read_day("main_l5", SERIES, day, ["mood"])
    store.write_day("main_l5", SERIES, day, first, source="test")
    assert table_hash(store.read_day("main_l5", SERIES, day)) == table_hash(first)


def test_ticks_are_days_like_any_other(store: TickStore) -> None:
    symbol, day, table = sample(CU1909)
    store.init()
    store.write_day("ticks", symbol, day, table, source="test")
    assert store.days("ticks", symbol) == [day] and store.keys("ticks") == [symbol]
    assert table_hash(store.read_day("ticks", symbol, day)) == table_hash(table)
    with pytest.raises(FailedError):
        store.read_day("ticks", symbol, date(2019, 9, 17))


def test_a_roll_schedule_is_the_one_kept_last(store: TickStore, tmp_path: Path) -> None:
    days = [date(2025, 1, n) for n in (2, 3, 6, 7)]
    bars = pa.table(
        {
            "symbol": ["SHFE.cu2502", "SHFE.cu2503"] * 4,
            "trading_day": pa.array(np.repeat(days, 2), pa.date32()),
            "open_interest": [9.0, 5.0, 9.0, 10.0, 5.0, 10.0, 5.0, 10.0],
        }
    )

    def keep(schedule: RollSchedule) -> RollSchedule:
        if isinstance(store, Lake):
            save_schedule(store.root, schedule)
            return load_schedule(store.root, "cu")
        store.write_schedule(schedule)
        return store.read_schedule("cu")

    store.init()
    whole = schedule_from_open_interest("cu", bars)
    assert len({day.segment_id for day in whole.days}) == 2
    for schedule in (schedule_from_open_interest("cu", bars.slice(0, 4)), whole, whole):
        assert keep(schedule) == schedule
    declared = schedule_from_open_interest("cu", bars, {days[0]: "SHFE.cu2506"})
    assert keep(declared) == declared != whole
    assert keep(whole) == whole


# ---- QuestDB alone --------------------------------------------------------------------------------------------------


def test_a_conflicting_row_is_kept_and_the_first_is_read(questdb: QuestDbStore, pg: Pg) -> None:
    symbol, day, table = sample(CU1909)
    questdb.write_ticks(symbol, day, table)
    prices = table["last_price"].to_numpy().copy()
    prices[7] += 10
    changed = table.set_column(2, RAW_TICK_SCHEMA.field(2), pa.array(prices))
    assert questdb.write_ticks(symbol, day, changed) == table.num_rows + 1
    assert questdb.conflicts(symbol, day) == 1
    assert table_hash(questdb.read_ticks(symbol, day)) == table_hash(table)
    seen = pg(f"SELECT ingest_seq, last_price FROM {TABLE} WHERE id = {table['id'][7]} ORDER BY ingest_seq")
    assert seen == [(0, prices[7] - 10), (1, prices[7])]


def test_the_rest_of_a_day_is_added(questdb: QuestDbStore) -> None:
    symbol, day, table = sample(CU1909)
    questdb.write_ticks(symbol, day, table.slice(0, 120))
    assert questdb.write_ticks(symbol, day, table) == table.num_rows
    assert questdb.conflicts(symbol, day) == 0
    assert table_hash(questdb.read_ticks(symbol, day)) == table_hash(table)


def test_the_next_rows_of_a_day_are_added_though_they_share_its_last_time(questdb: QuestDbStore) -> None:
    """As a recorder would: each part alone, a cut between two ticks of one time, even between twins."""
    symbol, day, table = sample(CU1909)
    rows = table.take(pa.array([0, 1, 2, 2, 2, 3, 4])).set_column(
        0, RAW_TICK_SCHEMA.field(0), pa.array(range(7), pa.int64())
    )
    for part in (rows.slice(0, 3), rows.slice(3, 1), rows.slice(4)):
        questdb.write_ticks(symbol, day, part)
    assert questdb.conflicts(symbol, day) == 0
    assert table_hash(questdb.read_ticks(symbol, day)) == table_hash(rows)
    assert questdb.write_ticks(symbol, day, rows) == 7


def test_rows_that_were_changed_in_the_server_are_not_read(questdb: QuestDbStore, pg: Pg) -> None:
    symbol, day, table = sample(CU1909)
    questdb.write_ticks(symbol, day, table)
    pg(f"UPDATE {TABLE} SET volume = volume + 1 WHERE id = {table['id'][3]}")
    with pytest.raises(IntegrityError, match="not what their hashes say") as caught:
        questdb.read_ticks(symbol, day)
    assert "serve-sync --from lake" in caught.value.hint


def test_the_active_build_can_be_joined_in_sql(questdb: QuestDbStore, pg: Pg) -> None:
    symbol, day, table = sample(CU1909)
    for start in (0, 50):
        built = with_provenance(table.slice(start), ScheduleDay(day, symbol, 0, "abc"))
        questdb.write_day("main_l5", SERIES, day, built)
    assert pg(f"SELECT count() FROM {MAIN_L5}") == [(350,)]
    joined = (
        f"SELECT count() FROM {MAIN_L5} t JOIN (SELECT symbol, trading_day, build_id FROM {BUILDS} "
        "WHERE dataset = 'main_l5' LATEST ON ts PARTITION BY symbol, trading_day) b "
        "ON t.symbol = b.symbol AND t.trading_day = b.trading_day AND t.build_id = b.build_id"
    )
    assert pg(joined) == [(150,)]


def test_the_table_tells_kind_version_day_and_time(questdb: QuestDbStore, pg: Pg) -> None:
    symbol, day, table = sample(CU1909)
    questdb.write_ticks(symbol, day, table)
    columns = "ts, datetime_ns, symbol, ticks_kind, dataset_version, row_hash, ingest_seq, trading_day"
    (row,) = pg(f"SELECT {columns} FROM {TABLE} WHERE id = {table['id'][0]}")
    assert row[1:] == (table["datetime_ns"][0].as_py(), symbol, "raw", "v2", int(key_hashes(table)[0]), 0, str(day))
    kinds = dict(pg(f"SELECT \"column\", type FROM table_columns('{TABLE}')"))
    assert kinds["ts"] == "TIMESTAMP_NS" and kinds["volume"] == "LONG" and kinds["amount"] == "DOUBLE"
    assert pg(f"SELECT count() FROM {TABLE} WHERE ts != datetime_ns::TIMESTAMP_NS") == [(0,)]


def test_a_server_that_is_not_there_is_named(questdb_settings: Settings) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        gone = questdb_settings.model_copy(update={"questdb_http_port": port, "questdb_pg_port": port})
        store = QuestDbStore(gone)
        symbol, day, table = sample(CU1909)
        for call in (
            store.init,
            store.require,
            lambda: store.tick_days(symbol),
            lambda: store.read_ticks(symbol, day),
            lambda: store.write_ticks(symbol, day, table),
        ):
            with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}") as caught:
                call()
            assert "make questdb" in caught.value.hint
        health = store.health()
        assert not health.ok and f"127.0.0.1:{port}" in health.detail
        assert health.to_json() == {"ok": False, "detail": health.detail, "error": "UnreachableError", "code": 4}
    half = questdb_settings.model_copy(update={"questdb_http_port": port})
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{port}"):
        QuestDbStore(half)._send(symbol, day, table, key_hashes(table), np.zeros(table.num_rows, np.int64))


def test_a_wrong_password_is_a_matter_of_configuration(
    questdb_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GHTRADER_QUESTDB_PG_PASSWORD", "wrong")
    with pytest.raises(ConfigError, match="refused user and password") as caught:
        QuestDbStore(load_settings(questdb_settings.home)).init()
    assert "GHTRADER_QUESTDB_PG_PASSWORD" in caught.value.hint and "wrong" not in str(caught.value)


def test_without_a_host_there_is_no_store(settings: Settings) -> None:
    assert type(open_lake(settings)) is Lake
    with pytest.raises(ConfigError):
        QuestDbStore(settings)


def test_key_hashes_tell_twins_apart() -> None:
    table = sample(CU1909)[2]
    twins = table.take(pa.array([3, 3, 3, 4]))
    hashes = key_hashes(twins)
    assert len(set(hashes.tolist())) == 4
    np.testing.assert_array_equal(key_hashes(table.take(pa.array([3]))), hashes[:1])
