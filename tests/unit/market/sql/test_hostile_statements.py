"""No statement changes a file or reads one that is not the lake's: the engine alone, without the process around it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_market.reference.tick_schema import table_from_values
from ghtrader_market.sql import engine
from ghtrader_market.sql.engine import connect, opened
from ghtrader_market.stores.lake.lake import Lake
from tests.support.hostile_sql import STATEMENTS

CANARY = "canary-7f3a"


def contents(folder: Path) -> dict[str, str]:
    """Every file but the coverage index, which any look may mend."""
    files = (path for path in folder.rglob("*") if path.is_file() and "coverage.sqlite" not in path.name)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile") / "home" / "data"
    times = 1_736_125_200_000_000_000 + np.arange(10)
    rows = table_from_values(np.arange(10), times, np.zeros((27, 10)))
    Lake(root).write_day("ticks", "SHFE.cu2502", date(2025, 1, 6), rows, source="test")
    (root.parents[1] / "secret.txt").write_text(CANARY)
    (root / "main_schedule.json").write_text("{}")
    (root.parents[1] / "out").mkdir()
    return root


def filled(data: Path, statements: Iterable[str]) -> list[str]:
    """The statements with the places of this lake."""
    place = {"{data}": data, "{out}": data.parents[1] / "out", "{part}": Lake(data).files("ticks")[0]}
    found = list(statements)
    for name, path in place.items():
        found = [text.replace(name, str(path)) for text in found]
    return found


def metrics() -> pa.Table:
    return pa.table({"value": [1.0]})


def test_a_part_of_the_hostile_statements(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQSDK_PASSWORD", CANARY)
    before = contents(data.parents[1])
    for text in filled(data, STATEMENTS[:: len(STATEMENTS) // 40]):  # all of them: tests/verify/test_hostile_sql.py
        with pytest.raises((UsageError, FailedError)) as caught, opened(data, text, metrics) as reader:
            pytest.fail(f"{text} gave {reader.read_all().to_pylist()[:3]}")
        assert CANARY not in caught.value.message and "root:" not in caught.value.message, text
        assert "\n" not in caught.value.message and caught.value.hint, text
    assert contents(data.parents[1]) == before


def test_the_engine_holds_without_the_look_at_the_statement(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB calls a WITH that holds a COPY a SELECT; were it to hide one from the tree, too, it could not write."""
    monkeypatch.setattr(engine, "_READING", engine._READING | {"COPY_QUERY_NODE", "INSERT_QUERY_NODE"})
    before = contents(data.parents[1])
    for target in (data / "ticks", data / "x.csv", data.parents[1] / "out" / "x.csv", Path("x.csv")):
        with pytest.raises(UsageError, match="SQL: Permission Error"):
            sql = f"WITH x AS (COPY (SELECT 1 AS a) TO '{target}') SELECT 1"
            with opened(data, sql) as reader:
                reader.read_all()
    assert contents(data.parents[1]) == before
    with connect(data) as connection:
        for text in ("SET enable_external_access=true", "SET temp_directory='/'", "SET allowed_directories=['/']"):
            with pytest.raises(duckdb.Error):
                connection.execute(text)


CONDITIONS = [
    "a > 0.5", "a < 0.5", "a <= 0", "a = 0", "a <> 0", "a = 'nan'::DOUBLE", "a >= 'nan'::DOUBLE", "isnan(a)",
    "a > -0.0",
    "NOT (a > 0.5)", "a BETWEEN 0 AND 'nan'::DOUBLE", "a IN (0, 'nan'::DOUBLE)", "a IS DISTINCT FROM 0", "n IS NULL",
    "n > 5 OR n IS NULL", "n IN (2, 4)", "i = 300", "i > 2.5", "s > 's3'", "s LIKE 's1%'", "s IS NULL", "NOT b",
    "date > '2025-01-06' AND a > 0", "symbol LIKE 'KQ%' AND i < 3", "a >= (SELECT max(n) FROM {t})",
]  # fmt: skip


def test_an_answer_through_arrow_is_duckdbs_own(tmp_path: Path) -> None:
    """Conditions are pushed down to Arrow, which thinks otherwise of NaN and of numbers out of a type's range."""
    lake, draw = Lake(tmp_path / "data"), np.random.default_rng(0)
    for n in range(2):
        a = draw.normal(size=100)
        a[::7], a[::11], a[::13] = np.nan, np.inf, -0.0
        columns = {
            "a": a,
            "i": (np.arange(100) % 100).astype(np.int8),
            "s": [None if k % 5 == 0 else f"s{k % 17}" for k in range(100)],
            "b": [k % 3 == 0 for k in range(100)],
            "n": [None if k % 2 else float(k) for k in range(100)],
        }
        lake.write_day("features", "KQ.m@SHFE.cu", date(2025, 1, 6 + n), pa.table(columns), source="t")
    with duckdb.connect(":memory:") as plain:
        files = [str(path) for path in lake.files("features")]
        plain.execute("CREATE TABLE t AS SELECT * FROM read_parquet(?, hive_partitioning=true)", [files])
        for condition in CONDITIONS:
            shape = f"SELECT * FROM {{t}} WHERE {condition} ORDER BY ALL"
            expected = plain.sql(shape.format(t="t")).to_arrow_table()
            with opened(lake.root, shape.format(t="features_all")) as reader:
                found = reader.read_all()
            assert found.schema.equals(expected.schema) and repr(found.to_pylist()) == repr(expected.to_pylist())
