"""Whole days read for DuckDB are what Arrow's own scan of them gives, whatever their files hold."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pds
import pyarrow.parquet as pq
import pytest

from ghtrader_market.sql.day_files import DayFiles

FIRST = date(2025, 1, 6).toordinal()
SCHEMA = pa.schema(
    {"id": pa.int64(), "price": pa.float64(), "word": pa.string(), "date": pa.date32(), "symbol": pa.string()}
)  # fmt: skip
FILES = {
    "plain": pa.table({"id": [1, 2, 3], "price": [1.5, None, float("nan")], "word": ["a", "b", None]}),
    "another_order": pa.table({"word": ["c"], "price": [2.5], "id": [4]}),
    "narrower": pa.table({"id": pa.array([5, 6], pa.int32()), "price": [3.5, 4.5], "word": ["d", "e"]}),
    "without_a_column": pa.table({"id": [7], "word": ["f"]}),
    "one_more_column": pa.table({"id": [8], "price": [5.5], "word": ["g"], "extra": [True]}),
    "says_its_own_date": pa.table({"id": [9], "price": [6.5], "word": ["h"], "date": ["never"]}),
    "empty": pa.table({name: pa.array([], SCHEMA.field(name).type) for name in ("id", "price", "word")}),
    "groups": pa.table({"id": np.arange(10, 30), "price": np.arange(20) / 4, "word": [f"w{n}" for n in range(20)]}),
}  # fmt: skip


def whole(folder: Path) -> DayFiles:
    paths, values = [], []
    for number, (name, table) in enumerate(FILES.items()):
        paths.append(str(folder / f"{name}.parquet"))
        pq.write_table(table, paths[-1], row_group_size=7)
        values.append({"date": date.fromordinal(FIRST + number), "symbol": f"SHFE.cu250{number % 2}"})
    return DayFiles(paths, values, SCHEMA)


def answers(rows: Any, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(":memory:", config={"threads": 2}) as connection:
        connection.register("t", rows)
        return connection.sql(sql).fetchall()


@pytest.mark.parametrize("sql", [
    "SELECT id, price, word, date, symbol FROM t ORDER BY id",
    "SELECT * FROM t ORDER BY id",
    "SELECT date, count(*) n FROM t GROUP BY date ORDER BY date",
    "SELECT symbol, max(word), sum(id) FROM t GROUP BY symbol ORDER BY symbol",
    "SELECT count(*) FROM t",
    "SELECT 1 FROM t",
    "SELECT word, id FROM t WHERE id BETWEEN 3 AND 12 ORDER BY id",
    "SELECT count(*), min(date) FROM t WHERE date > '2025-01-08' AND symbol = 'SHFE.cu2501'",
    "SELECT a.id, b.word FROM t a JOIN t b ON a.id = b.id + 1 ORDER BY a.id",
    "SELECT count(*) FROM (SELECT id FROM t LIMIT 5)",
])  # fmt: skip
def test_an_answer_is_that_of_arrows_own_data_set(tmp_path: Path, sql: str) -> None:
    mine = whole(tmp_path)
    theirs = pds.FileSystemDataset(list(mine.get_fragments()), SCHEMA, mine.format, mine.filesystem)
    assert str(answers(mine, sql)) == str(answers(theirs, sql)), "as text, where NaN is itself"


def test_all_rows_come_in_the_order_of_the_files_with_their_columns(tmp_path: Path) -> None:
    mine = whole(tmp_path)
    for columns in (["id"], ["symbol", "id"], ["date"], ["word", "date", "price"]):
        scan = mine.scanner(columns=columns)
        assert not isinstance(scan, pds.Scanner), "Arrow's costs more for each file than to read it"
        read = scan.to_reader().read_all()
        assert read.schema.names == columns
        assert str(read.to_pydict()) == str(pds.Dataset.scanner(mine, columns=columns).to_table().to_pydict())
    assert isinstance(mine.scanner(columns=["id"], filter=pds.field("id") > 3), pds.Scanner)


def test_many_columns_are_read_as_few_are(tmp_path: Path) -> None:
    path, wide = str(tmp_path / "wide.parquet"), {f"c{n}": np.arange(20) * n for n in range(16)}
    pq.write_table(pa.table(wide), path, row_group_size=6)
    schema = pa.schema({**{name: pa.int64() for name in wide}, "date": pa.date32()})
    mine = DayFiles([path], [{"date": date(2025, 1, 6)}], schema)
    read = mine.scanner(columns=schema.names).to_reader().read_all()
    assert read.drop_columns("date") == pa.table(wide) and set(read["date"].to_pylist()) == {date(2025, 1, 6)}


def test_a_file_that_is_cut_off_or_gone_is_an_error_and_no_short_answer(tmp_path: Path) -> None:
    for spoil in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-20])):
        mine = whole(tmp_path)
        spoil(tmp_path / "groups.parquet")
        with pytest.raises((duckdb.Error, OSError, pa.ArrowException)):
            answers(mine, "SELECT sum(id) FROM t")
