"""QuestDB's schema: what a person may do to a table, which command says so before it writes, what mends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest

from ghtrader.cli import run
from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_base.settings import Settings
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import RollSchedule, ScheduleDay
from ghtrader_market.samples import IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.day_details import MainDayDetails
from ghtrader_market.stores.mirror.compare import compare_day
from ghtrader_market.stores.mirror.mirrored_lake import MirroredLake, writing_schedule
from ghtrader_market.stores.questdb.client import SchemaError
from ghtrader_market.stores.questdb.migrations import migrate, plan, require_schema, schema_state
from ghtrader_market.stores.questdb.schema import (
    BUILDS,
    LEDGER,
    MAIN_L5,
    MAIN_SCHEDULE,
    MIGRATIONS,
    RAW_TICKS,
    Migration,
    expected_tables,
)
from ghtrader_market.stores.questdb.store import QuestDbStore

Pg = Callable[[str], list[tuple]]
SYMBOL, SERIES, DAY = "CFFEX.IF2101", "KQ.m@CFFEX.IF", date(2021, 1, 4)
RANGE = ["--var", "IF", "--start", "2021-01-04", "--end", "2021-01-04"]


@cache
def ticks() -> pa.Table:
    return read_recording(IF2101)[0][2].slice(0, 300)


def command(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(list(arguments))
    said = capfd.readouterr()
    return code, said.out, said.err


def filled(settings: Settings) -> MirroredLake:
    """One day of ticks, main_l5 and the schedule in both stores."""
    from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest

    lake = MirroredLake(settings)
    lake.write_day("ticks", SYMBOL, DAY, ticks(), source="test")
    main = with_provenance(ticks(), ScheduleDay(DAY, SYMBOL, 0, "abc"))
    lake.write_day("main_l5", SERIES, DAY, main, source="test", details=MainDayDetails(contract=SYMBOL))
    with writing_schedule(lake, "IF"):
        empty = expected_bars()
        save_schedule(lake.root, schedule_from_open_interest("IF", empty, {DAY: SYMBOL}))
    assert lake.debts.debts() == []
    return lake


def expected_bars() -> pa.Table:
    return pa.table(
        {
            "symbol": pa.array([], pa.string()),
            "trading_day": pa.array([], pa.date32()),
            "open_interest": pa.array([], pa.float64()),
        }
    )


def alike(lake: MirroredLake) -> bool:
    pairs = ((SYMBOL, "ticks"), (SERIES, "main_l5"))
    return all(compare_day(lake, lake.questdb, key, DAY, dataset) == [] for key, dataset in pairs)


# ---- what a pipeline command says -----------------------------------------------------------------------------------

COMMANDS = {
    "download": ["download", "--symbol", SYMBOL, *RANGE[2:]],
    "download-contract-range": ["download-contract-range", "--exchange", "CFFEX", *RANGE],
    "update": ["update", "--exchange", "CFFEX", "--var", "IF"],
    "data import": ["data", "import", str(IF2101)],
    "main-schedule": ["main-schedule", "--var", "IF"],
    "main-l5": ["main-l5", "--var", "IF"],
    "build": ["build", "--var", "IF"],
    "record": ["record", "--symbols", SYMBOL],
}


def tree(folder: Path) -> dict[str, bytes]:
    """Files and their bytes; what SQLite maps while it is read is nobody's data."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith("-shm"))
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.clock
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (f"ALTER TABLE {RAW_TICKS} DROP COLUMN ask_price5", ["ask_price5", RAW_TICKS, "DOUBLE"]),
        (f"ALTER TABLE {MAIN_L5} ALTER COLUMN last_price TYPE VARCHAR", ["last_price", MAIN_L5, "VARCHAR"]),
    ],
    ids=["dropped", "retyped"],
)
def test_every_command_that_needs_a_column_stops_before_it_writes(
    questdb: QuestDbStore,
    questdb_settings: Settings,
    pg: Pg,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    named: list[str],
) -> None:
    # No provider is there: a command that came so far as to ask one would say that instead.
    for name in ("TQ_AUTH_URL", "TQ_MD_URL", "TQ_TD_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("GHTRADER_QUESTDB_FEATURES", "true")
    filled(questdb_settings)
    pg(change)
    before = tree(questdb_settings.home)
    for name, arguments in COMMANDS.items():
        code, out, err = command(capfd, *arguments)
        assert code == 1 and out == "", name
        assert all(word in err for word in [*named, "ghtrader db migrate"]), (name, err)
        assert "Traceback" not in err
    after = tree(questdb_settings.home)
    assert {path for path in after.keys() | before.keys() if before.get(path) != after.get(path)} <= {
        path for path in after if "/locks/" in path
    }


def test_a_write_into_a_broken_table_leaves_the_lake_alone(
    questdb: QuestDbStore, questdb_settings: Settings, pg: Pg
) -> None:
    pg(f"ALTER TABLE {RAW_TICKS} DROP COLUMN volume")
    lake = MirroredLake(questdb_settings)
    with pytest.raises(SchemaError, match=r"lacks the column volume \(LONG\)") as caught:
        lake.write_day("ticks", SYMBOL, DAY, ticks(), source="test")
    assert caught.value.exit_code == 1 and "ghtrader db migrate" in caught.value.hint
    assert not lake.has_day("ticks", SYMBOL, DAY) and lake.debts.debts() == []


# ---- what mends it --------------------------------------------------------------------------------------------------

DAMAGE = {
    "values": [
        f"ALTER TABLE {RAW_TICKS} DROP COLUMN bid_volume3",
        f"ALTER TABLE {RAW_TICKS} ALTER COLUMN last_price TYPE VARCHAR",
        f"ALTER TABLE {RAW_TICKS} ALTER COLUMN average TYPE INT",
        f"ALTER TABLE {MAIN_L5} DROP COLUMN segment_id",
        f"ALTER TABLE {MAIN_L5} DEDUP DISABLE",
        f"ALTER TABLE {MAIN_SCHEDULE} DROP COLUMN underlying_contract",
    ],
    "keys": [f"ALTER TABLE {RAW_TICKS} DROP COLUMN row_hash", f"ALTER TABLE {MAIN_L5} DROP COLUMN build_id"],
    "order": [
        f"ALTER TABLE {RAW_TICKS} DROP COLUMN ingest_seq",
        f"ALTER TABLE {RAW_TICKS} DROP COLUMN id",
        f"ALTER TABLE {BUILDS} DROP COLUMN activation",
    ],
    "names": [
        f"ALTER TABLE {RAW_TICKS} DROP COLUMN symbol",
        f"ALTER TABLE {BUILDS} DROP COLUMN dataset",
        f"ALTER TABLE {MAIN_L5} ALTER COLUMN row_hash TYPE DOUBLE",
    ],
    "tables": [f"DROP TABLE {RAW_TICKS}", f"DROP TABLE {MAIN_SCHEDULE}"],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_migrate_mends_and_serve_sync_brings_the_values_back(
    questdb: QuestDbStore,
    questdb_settings: Settings,
    pg: Pg,
    capfd: pytest.CaptureFixture[str],
    damage: list[str],
) -> None:
    lake = filled(questdb_settings)
    for statement in damage:
        pg(statement)
    with pytest.raises(SchemaError):
        require_schema(questdb.client)
    shown = command(capfd, "db", "migrate", "--dry-run", "--json")
    assert shown[0] == 0 and json.loads(shown[1])["steps"]
    with pytest.raises(SchemaError):
        require_schema(questdb.client)
    code, out, err = command(capfd, "db", "migrate", "--json")
    assert code == 0, err
    assert json.loads(out)["steps"] == json.loads(shown[1])["steps"]
    require_schema(questdb.client)
    assert plan(questdb.client) == []
    code, out, err = command(capfd, "db", "serve-sync", "--json")
    assert code == 0, (out, err)
    assert json.loads(out)["debts"] == []
    assert alike(lake)
    from ghtrader_market.reference.roll_schedule import load_schedule

    assert questdb.read_schedule("IF") == load_schedule(lake.root, "IF")


def test_values_that_do_not_survive_the_way_back_are_kept_under_another_name(questdb: QuestDbStore, pg: Pg) -> None:
    questdb.write_ticks(SYMBOL, DAY, ticks())
    pg(f"ALTER TABLE {RAW_TICKS} ALTER COLUMN last_price TYPE VARCHAR")
    first = ticks()["id"][0].as_py()
    pg(f"UPDATE {RAW_TICKS} SET last_price = 'n/a' WHERE id = {first}")
    steps = migrate(questdb.client)
    assert [step.statement.split()[0] for step in steps] == ["ALTER", "ALTER", "UPDATE"]
    kept = dict(pg(f"SELECT id, last_price_was_varchar FROM {RAW_TICKS}"))
    assert kept[first] == "n/a" and len(kept) == ticks().num_rows
    assert pg(f"SELECT count() FROM {RAW_TICKS} WHERE last_price IS NULL") == [(1,)]
    with pytest.raises(IntegrityError, match="not what their hashes say"):
        questdb.read_ticks(SYMBOL, DAY)


# ---- the ledger -----------------------------------------------------------------------------------------------------


def test_the_ledger_tells_number_checksum_and_time(questdb: QuestDbStore, pg: Pg) -> None:
    rows = pg(f"SELECT number, title, checksum FROM {LEDGER} WHERE number > 0 AND ts > '2025-01-01' ORDER BY number")
    assert [row for row in dict.fromkeys(rows)] == [(m.number, m.title, m.checksum) for m in MIGRATIONS]
    pg(f"ALTER TABLE {RAW_TICKS} DROP COLUMN amount")
    migrate(questdb.client)
    mended = pg(f"SELECT statement FROM {LEDGER} WHERE number = 0 ORDER BY ts")
    assert mended[-1] == (f"ALTER TABLE {RAW_TICKS} ADD COLUMN amount DOUBLE",)


def test_a_new_migration_is_announced_applied_once_and_never_edited(questdb: QuestDbStore, pg: Pg) -> None:
    more = (*MIGRATIONS, Migration(99, "a mood", columns=((RAW_TICKS, "mood", "SYMBOL"),)))
    try:
        assert [m.number for m in schema_state(questdb.client, more).pending] == [99]
        assert [step.statement for step in migrate(questdb.client, more, dry_run=True)] == [
            f"ALTER TABLE {RAW_TICKS} ADD COLUMN mood SYMBOL"
        ]
        assert len(migrate(questdb.client, more)) == 1 and migrate(questdb.client, more) == []
        assert "mood" in dict(expected_tables(more)[RAW_TICKS].columns)
        edited = (*MIGRATIONS, replace(more[-1], title="another mood"))
        with pytest.raises(SchemaError, match="migration 99 .* was applied"):
            plan(questdb.client, edited)
        # What older code has never heard of is none of its business.
        require_schema(questdb.client)
        assert questdb.write_ticks(SYMBOL, DAY, ticks()) == ticks().num_rows
    finally:
        for name in expected_tables():
            pg(f"DROP TABLE {name}")


def test_tables_of_before_the_ledger_are_adopted(questdb: QuestDbStore, pg: Pg) -> None:
    questdb.write_ticks(SYMBOL, DAY, ticks())
    for name in expected_tables().keys() - {RAW_TICKS}:
        pg(f"DROP TABLE {name}")
    with pytest.raises(SchemaError, match="waits for 3 migrations"):
        questdb.init()
    migrate(questdb.client)
    questdb.init()
    assert questdb.read_ticks(SYMBOL, DAY).num_rows == ticks().num_rows


def test_a_migration_cut_short_is_finished_by_the_next(questdb: QuestDbStore, pg: Pg) -> None:
    more = (*MIGRATIONS, Migration(98, "two", columns=((RAW_TICKS, "one", "INT"), (RAW_TICKS, "two", "INT"))))
    try:
        pg(f"ALTER TABLE {RAW_TICKS} ADD COLUMN one INT")
        migrate(questdb.client, more)
        assert schema_state(questdb.client, more).pending == ()
    finally:
        for name in expected_tables():
            pg(f"DROP TABLE {name}")


def test_a_designated_time_of_another_type_is_beyond_mending(questdb: QuestDbStore, pg: Pg) -> None:
    table = expected_tables()[RAW_TICKS]
    pg(f"DROP TABLE {RAW_TICKS}")
    pg(table.create_statement().replace("ts TIMESTAMP_NS", "ts TIMESTAMP"))
    try:
        with pytest.raises(SchemaError, match="the column ts as TIMESTAMP") as caught:
            migrate(questdb.client)
        assert "RENAME TABLE" in caught.value.hint
    finally:
        pg(f"DROP TABLE {RAW_TICKS}")


def test_a_fresh_server_is_set_up_by_the_first_who_needs_it(questdb: QuestDbStore, pg: Pg) -> None:
    for name in expected_tables():
        pg(f"DROP TABLE {name}")
    assert schema_state(questdb.client).fresh and questdb.health().ok
    with pytest.raises(FailedError, match=f"no table {RAW_TICKS}"):
        questdb.tick_days(SYMBOL)
    questdb.init()
    assert questdb.tick_days(SYMBOL) == []


def test_a_schedule_that_lost_its_days_forgets_them(questdb: QuestDbStore) -> None:
    days = tuple(ScheduleDay(date(2025, 1, 2 + n), "SHFE.cu2502", 0, f"h{n}") for n in range(3))
    assert questdb.write_schedule(RollSchedule("cu", days, "SHFE.cu2503")) == 4
    assert questdb.write_schedule(RollSchedule("cu", days, "SHFE.cu2503")) == 0
    shorter = RollSchedule("cu", days[:2], None)
    assert questdb.write_schedule(shorter) == 2
    assert questdb.read_schedule("cu") == shorter
