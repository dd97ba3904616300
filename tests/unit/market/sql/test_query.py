"""SQL over the lake: it answers queries, and only queries, and reads the lake and nothing else, a few days of many."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ghtrader.cli import run
from ghtrader_base.errors import UsageError
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values
from ghtrader_market.sql.day_pruning import Bounds, bounds_of, tables_of
from ghtrader_market.sql.engine import connect, opened
from ghtrader_market.stores.lake.lake import Lake

CONTRACTS = ("SHFE.cu2502", "SHFE.cu2503")
DAYS = [date(2025, 1, 6) + timedelta(n) for n in range(3)]


def query(data: Path, sql: str, limit: int | None = None) -> pa.Table:
    """An answer of the engine alone; its process has tests of its own (`test_worker`)."""
    with opened(data, sql) as reader:
        return reader.read_all().slice(0, limit)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("home") / "data"
    lake = Lake(root)
    for shift, contract in enumerate(CONTRACTS):
        for n, day in enumerate(DAYS):
            values = np.zeros((27, 10))
            values[COLUMN_INDEX["ask_price1"]] = 10.0 + shift
            times = 1_736_125_200_000_000_000 + n * 86_400_000_000_000 + np.arange(10)
            lake.write_day("ticks", contract, day, table_from_values(np.arange(10), times, values), source="test")
    (root.parent / "secret.txt").write_text("not yours")
    (root / "inside.txt").write_text("of the lake's folder")
    return root


def test_a_view_has_its_partition_columns(data: Path) -> None:
    sql = "SELECT symbol, date, max(ask_price1) ask FROM ticks_raw_v2 WHERE date = '2025-01-07' GROUP BY ALL ORDER BY 1"
    assert query(data, sql).to_pylist() == [
        {"symbol": "SHFE.cu2502", "date": DAYS[1], "ask": 10.0},
        {"symbol": "SHFE.cu2503", "date": DAYS[1], "ask": 11.0},
    ]
    assert query(data, "WITH t AS (SELECT * FROM ticks_raw_v2) SELECT id FROM t", limit=3).num_rows == 3
    for other in ("FROM ticks_raw_v2 LIMIT 1", "DESCRIBE ticks_raw_v2", "SHOW TABLES", "VALUES (1)"):
        assert query(data, other).num_rows >= 1
    assert query(data, "SELECT table_name FROM information_schema.tables").num_rows == 1


def counted(data: Path, contract: str = "") -> tuple[int, list[str]]:
    """Rows of raw ticks, and what was told."""
    told: list[str] = []
    where = f"WHERE symbol = '{contract}'" if contract else ""
    with opened(data, f"SELECT count(*) AS n FROM ticks_raw_v2 {where}", tell=told.append) as reader:
        return reader.read_all()["n"][0].as_py(), told


def test_rows_are_counted_whatever_somebody_did_to_the_index(data: Path, tmp_path: Path) -> None:
    home = tmp_path / "data"
    shutil.copytree(data, home, copy_function=shutil.copy2)
    assert counted(home) == (60, [])
    for own in (False, True):  # as any hand does it, and as one that knows what tells the index
        with contextlib.closing(sqlite3.connect(home / "coverage.sqlite")) as index, index:
            if own:
                index.execute("INSERT INTO own_change VALUES ('x')")
            index.execute("DELETE FROM days WHERE day='2025-01-07' OR key='SHFE.cu2503'")
            index.execute("DELETE FROM own_change")
        assert counted(home) == (60, [])


def test_a_day_that_cannot_be_read_is_left_out_and_told(data: Path, tmp_path: Path) -> None:
    home = tmp_path / "data"
    shutil.copytree(data, home, copy_function=shutil.copy2)
    one, other = (Lake(home).day_path("ticks", contract, DAYS[0]) for contract in CONTRACTS)
    one.rename(aside := home / "aside")
    other.rename(one)
    aside.rename(other)
    rows, told = counted(home)
    assert rows == 40 and len(told) == 1
    assert told[0].startswith("2 days of ticks cannot be read and are left out, the first SHFE.cu2502 2025-01-06: ")
    assert counted(home, "SHFE.cu2503")[1][0].startswith("1 days")


def test_a_day_over_a_link_is_read_like_any_other(data: Path, tmp_path: Path) -> None:
    home = tmp_path / "data"
    shutil.copytree(data, home, copy_function=shutil.copy2)
    for place in (Lake(home).day_path("ticks", CONTRACTS[0], DAYS[0]), Lake(home).key_path("ticks", CONTRACTS[1])):
        place.rename(tmp_path / place.name)
        place.symlink_to(tmp_path / place.name)
    assert counted(home) == (60, [])


def test_a_file_no_manifest_names_is_not_part_of_the_lake(data: Path) -> None:
    kept = Lake(data).files("ticks", "SHFE.cu2502")[0]
    stray = kept.with_name("part-000000000000.parquet")
    stray.write_bytes(kept.read_bytes())
    try:
        assert query(data, "SELECT count(*) AS n FROM ticks_raw_v2")["n"].to_pylist() == [60]
    finally:
        stray.unlink()


@pytest.mark.parametrize(
    "text",
    [
        # not a query
        "CREATE TABLE x (a INT)",
        "CREATE VIEW x AS SELECT 1",
        "CREATE SECRET s (TYPE s3)",
        "INSERT INTO ticks_raw_v2 VALUES (1)",
        "UPDATE ticks_raw_v2 SET id = 1",
        "DELETE FROM ticks_raw_v2",
        "DROP VIEW ticks_raw_v2",
        "COPY (SELECT 1) TO '{data}/x.csv'",
        "COPY ticks_raw_v2 TO '{data}/x.parquet' (FORMAT parquet)",
        "EXPORT DATABASE '{data}/x'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/x.csv'",
        "ATTACH '{data}/x.db'",
        "ATTACH '/etc/passwd' AS p",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "RESET lock_configuration",
        "SET VARIABLE a = 1",
        "USE memory",
        "PREPARE p AS SELECT 1",
        "VACUUM",
        "CHECKPOINT",
        "BEGIN",
        "SELECT 1; DROP VIEW ticks_raw_v2",
        "SELECT 1; SELECT 2",
        # a query that reaches out
        "SELECT * FROM read_text('{data}/../secret.txt')",
        "SELECT * FROM read_text('{data}/ticks/../../secret.txt')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_blob('/proc/self/environ')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM '/etc/passwd.csv'",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM glob('{data}/../*')",
        "SELECT * FROM ticks_raw_v2 WHERE id IN (SELECT length(content) FROM read_text('/etc/passwd'))",
        "WITH x AS (SELECT * FROM read_json('/etc/passwd')) SELECT * FROM x",
        "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
        "SELECT * FROM query_table('/etc/passwd')",
        "SELECT * FROM 'https://example.com/x.parquet'",
        "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
        "SELECT * FROM sqlite_scan('{data}/coverage.sqlite', 'days')",
        "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 'x')",
        "SELECT getenv('HOME')",
        "SELECT * FROM DAYS",
        "SELECT * FROM data",
        # a query that makes no sense
        "SELECT * FROM features_all",
        "SELECT nothing FROM ticks_raw_v2",
        "SELEC 1",
        "",
        "-- nothing",
    ],
)
def test_everything_else_is_refused_in_a_sentence(data: Path, text: str) -> None:
    before = sorted(data.parent.rglob("*"))
    with pytest.raises(UsageError) as caught:
        query(data, text.format(data=data))
    assert caught.value.hint and "\n" not in caught.value.message
    assert "not yours" not in caught.value.message and "root:" not in caught.value.message
    assert sorted(data.parent.rglob("*")) == before


def test_the_settings_are_locked_and_no_file_is_open(data: Path) -> None:
    with connect(data) as connection:
        for text in ("SET enable_external_access=true", "SET allowed_directories=['/']", "LOAD httpfs"):
            with pytest.raises(duckdb.Error):
                connection.execute(text)
        with pytest.raises(duckdb.Error):  # even what the parser's check would let through reads and writes nothing
            connection.execute("COPY (SELECT 1) TO '/tmp/ghtrader-must-not-exist.csv'")
    assert not Path("/tmp/ghtrader-must-not-exist.csv").exists()
    part = Lake(data).files("ticks")[0]
    for text in (f"FROM read_text('{data}/inside.txt')", f"FROM read_parquet('{part}')", f"FROM glob('{data}/**')"):
        with pytest.raises(UsageError, match="SQL: Permission Error"):
            query(data, text)


def test_the_command_limits_and_says_so(data: Path, capsys) -> None:
    home = ["--home", str(data.parent)]
    assert run(["sql", "SELECT id FROM ticks_raw_v2", "--limit", "4", "--json", *home]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)["rows"]) == 4 and "there are more" in err
    assert run(["sql", "SELECT count(*) AS n FROM ticks_raw_v2", *home]) == 0
    out, err = capsys.readouterr()
    assert "60" in out and err == ""
    assert run(["sql", "SELECT * FROM run_metrics", *home]) == 0
    assert run(["sql", "DROP TABLE run_metrics", *home]) == 2


# ---- pruning ----


def bounds(sql: str, view: str = "ticks_raw_v2") -> list[Bounds]:
    with duckdb.connect(":memory:") as connection:
        tree = json.loads(connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()[0])
    assert not tree["error"] and view in tables_of(tree)
    return bounds_of(tree, view, "symbol")


A, B = frozenset({"a"}), frozenset({"a", "b"})


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("symbol = 'a'", Bounds(A)),
        ("'a' = symbol AND date >= '2025-01-01' AND id > 4", Bounds(A, "2025-01-01")),
        ("symbol IN ('a', 'b') AND '2025-02-01' > date", Bounds(B, None, "2025-02-01")),
        ("date BETWEEN '2025-01-01' AND DATE '2025-01-03'", Bounds(None, "2025-01-01", "2025-01-03")),
        ("date = '2025-01-01' AND symbol IN ('a', 'b') AND symbol = 'a'", Bounds(A, "2025-01-01", "2025-01-01")),
        ("date > '2025-01-01' AND date > '2025-01-05'", Bounds(None, "2025-01-05")),
        ("date IN ('2025-01-01', '2025-01-03')", Bounds(None, "2025-01-01", "2025-01-03")),
        ("symbol = 'a' OR id = 1", Bounds()),
        ("NOT symbol = 'a'", Bounds()),
        ("symbol != 'a'", Bounds()),
        ("symbol LIKE 'a%'", Bounds()),
        ("symbol = lower('A')", Bounds()),
        ("symbol || '' = 'a'", Bounds()),
        ("date > '2025-1-5'", Bounds()),
        ("other.symbol = 'a'", Bounds()),
    ],
)
def test_bounds_of_a_condition(where: str, expected: Bounds) -> None:
    assert bounds(f"SELECT * FROM ticks_raw_v2 WHERE {where}") == [expected]


def test_bounds_where_a_view_is_used_twice_or_hidden() -> None:
    union = "SELECT 1 FROM ticks_raw_v2 WHERE symbol='a' UNION ALL SELECT 1 FROM ticks_raw_v2 WHERE symbol IN ('a','b')"
    assert bounds(union) == [Bounds(A), Bounds(B)]
    assert bounds("SELECT 1 FROM (FROM ticks_raw_v2) WHERE symbol = 'a'") == [Bounds()]
    assert bounds("SELECT 1 FROM ticks_raw_v2 AS t, ticks_raw_v2 AS u WHERE t.symbol = 'a'") == [Bounds(A), Bounds()]
    assert bounds("SELECT 1 FROM x ANTI JOIN ticks_raw_v2 ON x.i = id WHERE symbol = 'a'") == [Bounds()]
    assert bounds("SELECT 1 FROM x POSITIONAL JOIN ticks_raw_v2 WHERE symbol = 'a'") == [Bounds()]
    nearest = "ASOF JOIN ticks_raw_v2 AS t ON x.i >= t.id WHERE t.symbol = 'a'"
    assert bounds(f"SELECT 1 FROM x {nearest}") == [Bounds()], "a row of another day may be the nearest"
    assert bounds(f"SELECT 1 FROM ticks_raw_v2 AS x {nearest} AND x.symbol = 'a'") == [Bounds(A), Bounds()]
    assert bounds("SELECT 1 FROM ticks_raw_v2 AS t(symbol, b) WHERE symbol = 'a'") == [Bounds()]
    assert bounds("SELECT 1 FROM ticks_raw_v2 TABLESAMPLE 5 ROWS WHERE symbol = 'a'") == [Bounds()]
    assert bounds("WITH ticks_raw_v2 AS (SELECT 'a' AS symbol) FROM ticks_raw_v2 WHERE symbol = 'a'") == [Bounds()]
    inner = "SELECT 1 FROM x WHERE EXISTS (SELECT 1 FROM ticks_raw_v2 WHERE symbol = 'a')"
    assert bounds(inner) == [Bounds(A)]


CONDITIONS = [
    "symbol = 'SHFE.cu2502'",
    "symbol = 'SHFE.cu9999'",
    "date = '2025-01-07'",
    "date < '2025-01-07' AND symbol >= 'SHFE.cu2503'",
    "date BETWEEN '2025-01-07' AND '2025-01-08' AND id < 5",
    "'2025-01-07' <= date",
    "symbol IN ('SHFE.cu2503') OR date = '2025-01-06'",
    "date > '2025-01-06' AND date > '2025-01-07'",
]


def test_a_pruned_answer_is_the_whole_one(data: Path) -> None:
    with duckdb.connect(":memory:") as plain:
        files = [str(path) for path in Lake(data).files("ticks")]
        plain.execute("CREATE TABLE t AS SELECT * FROM read_parquet(?, hive_partitioning=true)", [files])
        for shape in (
            "SELECT * FROM {t} WHERE {c} ORDER BY ALL",
            "SELECT a.symbol, b.id FROM {t} a LEFT JOIN {t} b USING (symbol, date, id) WHERE {c} ORDER BY ALL",
            "SELECT count(*) AS n FROM (SELECT DISTINCT symbol, date FROM {t} WHERE {c})",
            "SELECT * FROM {t} ANTI JOIN (SELECT id FROM {t} WHERE {c}) AS u USING (id) ORDER BY ALL",
        ):
            for condition in CONDITIONS:
                sql = shape.format(t="ticks_raw_v2", c=condition)
                expected = plain.sql(shape.format(t="t", c=condition)).to_arrow_table()
                assert query(data, sql).cast(expected.schema).equals(expected), sql


def test_a_day_of_many_is_found_quickly(data: Path, tmp_path: Path) -> None:
    """A lake of 6,000 days: one of them answers in a fraction of the time that all do."""
    lake, (file, *_) = Lake(tmp_path / "data"), Lake(data).files("ticks")
    lake.root.mkdir(parents=True)
    lake.index.rebuild()
    with sqlite3.connect(lake.index.path) as connection:
        for n in range(20):
            key = f"SHFE.x{n:04d}"
            rows = []
            for m in range(300):
                day = DAYS[0] + timedelta(m)
                folder = lake.day_path("ticks", key, day)
                if m in (7, 8) or n == 3:
                    folder.mkdir(parents=True)
                    shutil.copy(file, folder / "part.parquet")
                rows.append(("ticks", key, str(day), 10, 5, 1, 2, "t", "r", "part.parquet", "s", "h", 9, 7))
            connection.executemany(f"INSERT INTO days VALUES ({', '.join('?' * 14)})", rows)
            time_ns = lake.key_path("ticks", key).stat().st_mtime_ns
            connection.execute("INSERT INTO folders VALUES ('ticks', ?, ?)", (key, time_ns))
    started = time.process_time()
    # Most of the files named in the index do not exist: an answer shows that they were not even looked for.
    sql = f"SELECT count(*) AS n FROM ticks_raw_v2 WHERE symbol = 'SHFE.x0007' AND date = '{DAYS[0] + timedelta(7)}'"
    assert query(lake.root, sql)["n"].to_pylist() == [10]
    whole = query(lake.root, "SELECT count(*) AS n FROM ticks_raw_v2 WHERE symbol = 'SHFE.x0003'")
    assert whole["n"].to_pylist() == [3000]
    assert time.process_time() - started < 20


def test_days_with_other_columns_stand_side_by_side(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "data")
    for day, names in zip(DAYS, ({"a": [1.0]}, {"a": [2.0], "b": [5]}), strict=False):
        lake.write_day("features", "KQ.m@SHFE.cu", day, pa.table(names), source="t")
    assert query(lake.root, "SELECT a, b FROM features_all ORDER BY a").to_pylist() == [
        {"a": 1.0, "b": None},
        {"a": 2.0, "b": 5},
    ]
