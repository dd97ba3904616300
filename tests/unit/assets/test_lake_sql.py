"""SQL over the lake: it answers queries, and only queries, and reads the lake and nothing else."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_assets.lake_sql import query, write_table
from ghtrader_base.errors import UsageError
from ghtrader_market.stores.lake import Lake
from ghtrader_market.ticks import COLUMN_INDEX, table_from_values


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("home") / "data"
    lake = Lake(root)
    for shift, contract in enumerate(("SHFE.cu2502", "SHFE.cu2503")):
        values = np.zeros((27, 10))
        values[COLUMN_INDEX["ask_price1"]] = 10.0 + shift
        times = 1_736_125_200_000_000_000 + np.arange(10)
        lake.write_day(
            "ticks", contract, date(2025, 1, 6), table_from_values(np.arange(10), times, values), source="test"
        )
    (root.parent / "secret.txt").write_text("not yours")
    return root


def test_a_view_has_its_partition_columns(data: Path) -> None:
    table = query(data, "SELECT symbol, date, max(ask_price1) AS ask FROM ticks_raw_v2 GROUP BY ALL ORDER BY symbol")
    assert table.to_pylist() == [
        {"symbol": "SHFE.cu2502", "date": date(2025, 1, 6), "ask": 10.0},
        {"symbol": "SHFE.cu2503", "date": date(2025, 1, 6), "ask": 11.0},
    ]
    assert query(data, "WITH t AS (SELECT * FROM ticks_raw_v2) SELECT id FROM t", limit=3).num_rows == 3


def test_a_file_no_manifest_names_is_not_part_of_the_lake(data: Path, tmp_path: Path) -> None:
    (kept,) = Lake(data).files("ticks", "SHFE.cu2502")
    stray = kept.with_name("part-000000000000.parquet")
    stray.write_bytes(kept.read_bytes())
    try:
        assert query(data, "SELECT count(*) AS n FROM ticks_raw_v2")["n"].to_pylist() == [20]
    finally:
        stray.unlink()


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE x (a INT)",
        "INSERT INTO ticks_raw_v2 VALUES (1)",
        "DROP VIEW ticks_raw_v2",
        "COPY (SELECT 1) TO '{data}/x.csv'",
        "ATTACH '{data}/x.db'",
        "SET enable_external_access = true",
        "SELECT 1; DROP VIEW ticks_raw_v2",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('{data}/../secret.txt')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM features_all",
        "SELEC 1",
        "",
    ],
)
def test_everything_else_is_refused_in_a_sentence(data: Path, text: str) -> None:
    before = sorted(data.rglob("*"))
    with pytest.raises(UsageError) as caught:
        query(data, text.format(data=data))
    assert caught.value.hint and "\n" not in caught.value.message
    assert sorted(data.rglob("*")) == before


def test_answers_are_written_whole(data: Path, tmp_path: Path) -> None:
    table = query(data, "SELECT id, ask_price1 FROM ticks_raw_v2 WHERE symbol = 'SHFE.cu2502' ORDER BY id LIMIT 2")
    write_table(table, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines() == ['"id","ask_price1"', "0,10", "1,10"]
    write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="neither .csv nor .parquet"):
        write_table(table, tmp_path / "a.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.parquet"]
