"""The process that answers a query: what it may cost, what ends it, what it knows, and the file its answer goes to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ghtrader.cli import run
from ghtrader_base.errors import FailedError, GhtraderError, RefusedError, UsageError
from ghtrader_market.reference.tick_schema import table_from_values
from ghtrader_market.sql.limits import SqlLimits
from ghtrader_market.sql.query import export, query
from ghtrader_market.sql.worker import rows_of
from ghtrader_market.sql.worker_client import answered, plain_answer, require_held
from ghtrader_market.stores.lake.lake import Lake

ENDLESS = "WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("worker") / "home" / "data"
    times = 1_736_125_200_000_000_000 + np.arange(10)
    rows = table_from_values(np.arange(10), times, np.zeros((27, 10)))
    Lake(root).write_day("ticks", "SHFE.cu2502", date(2025, 1, 6), rows, source="test")
    return root


def test_a_copy_inside_a_with_erases_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """DuckDB 2 runs it and calls the statement a SELECT: it printed 1, and the ticks were gone."""
    copy = f"COPY (SELECT 1 AS a, 2 AS b) TO '{data}/ticks' (FORMAT parquet, PARTITION_BY (b), OVERWRITE)"
    assert run(["sql", f"WITH x AS ({copy}) SELECT 1", "--home", str(data.parent)]) == 2
    assert capsys.readouterr().err.startswith("error: one SELECT, please")
    assert query(data, "SELECT count(*) AS n FROM ticks_raw_v2")["n"].to_pylist() == [10]


@pytest.mark.parametrize(
    ("sql", "limits", "message"),
    [
        (ENDLESS, SqlLimits(timeout_s=1.5), "longer than 1.5 s"),
        ("SELECT repeat('x', 3000000000)", SqlLimits(memory_bytes=500_000_000), "memory"),
    ],
)
def test_what_does_not_end_is_ended(data: Path, sql: str, limits: SqlLimits, message: str) -> None:
    with pytest.raises(FailedError, match=message) as caught:
        query(data, sql, limits=limits)
    assert caught.value.hint and not (data.parent / "tmp").exists()


def test_what_spills_is_bounded(data: Path) -> None:
    sql = "SELECT range, repeat('x', 200) || range AS s FROM range(3000000) ORDER BY hash(range)"
    with pytest.raises(FailedError, match="spilled|memory or disk"):
        query(data, sql, 3, limits=SqlLimits(memory_bytes=500_000_000, spill_bytes=50_000_000))
    assert not (data.parent / "tmp").exists()


def test_more_rows_than_allowed_are_an_error_and_a_limit_is_kept() -> None:
    limits = SqlLimits(rows=100, memory_bytes=1_000_000)

    def count(limit: int | None, rows: int, text: str = "") -> int:
        batch = pa.record_batch({"a": pa.array([text or "x"] * 10)})
        reader = pa.RecordBatchReader.from_batches(batch.schema, [batch] * (rows // 10))
        return sum(found.num_rows for found in rows_of(reader, limit, limits))

    assert [count(None, 100), count(25, 100), count(500, 200), count(200, 500)] == [100, 25, 200, 200]
    with pytest.raises(FailedError, match="more than 100 rows"):
        count(None, 110)
    with pytest.raises(FailedError, match="10 rows of the answer are 1 MB"):
        count(None, 100, "x" * 100_000)


def test_the_process_has_no_credentials(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQSDK_PASSWORD", "canary-91c")
    monkeypatch.setenv("TQ_ACCOUNT_PASSWORD", "canary-91c")
    monkeypatch.setenv("LD_PRELOAD_NOT", "canary-91c")
    with answered(data, "SELECT range FROM range(100000000)", limit=10**9) as answer:
        next(answer)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in children]
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children]
    ours = [environment for environment, line in zip(environments, lines, strict=True) if b"sql.worker" in line]
    assert ours and all(b"canary" not in environment and b"HOME" not in environment for environment in ours)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_the_command_and_its_process(data: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "ghtrader", "sql", ENDLESS, "--home", str(data.parent)]
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    children: list[str] = []
    while not children and time.monotonic() < deadline:
        time.sleep(0.05)
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    started.send_signal(number)
    assert started.wait(30) in (128 + number, -number)
    deadline = time.monotonic() + 30
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline, "its process lives on"
        time.sleep(0.05)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_answers_are_written_whole_and_streamed(data: Path, tmp_path: Path) -> None:
    sql = "SELECT id, ask_price1 FROM ticks_raw_v2 ORDER BY ALL"
    assert export(data, sql, tmp_path / "a.csv", limit=2) == 2
    assert (tmp_path / "a.csv").read_text().splitlines() == ['"id","ask_price1"', "0,0", "1,0"]
    many = "SELECT range AS a, 'text' || range AS b FROM range(250000)"
    assert export(data, many, tmp_path / "sub" / "many.parquet", limit=200_001) == 200_001
    assert pq.read_table(tmp_path / "sub" / "many.parquet").num_rows == 200_001
    with pytest.raises(UsageError, match="SQL:"):  # fails midway, and the old answer stays
        late = "SELECT CAST(range / (range - 240000) AS TINYINT) AS a FROM range(250000)"
        export(data, late, tmp_path / "a.csv", overwrite=True)
    assert (tmp_path / "a.csv").read_text().count("\n") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "sub"]


def test_no_answer_is_written_into_the_home_or_over_a_file(data: Path, tmp_path: Path) -> None:
    home, part = data.parent, Lake(data).files("ticks")[0]
    before = part.read_bytes()
    (tmp_path / "to_home").symlink_to(home)
    (tmp_path / "to_part.parquet").symlink_to(part)
    (tmp_path / "dangling.parquet").symlink_to(data / "new.parquet")
    (tmp_path / "disk").mkdir()
    if not (data / "main_l5").is_symlink():
        (data / "main_l5").symlink_to(tmp_path / "disk")  # a data set that lies on another disk
    (tmp_path / "mine.csv").write_text("mine")
    os.mkfifo(tmp_path / "pipe.csv")
    refused = [
        part, home / "x.csv", home / "new" / "x.csv", home / ".." / home.name / "x.csv", data / "x.parquet",
        tmp_path / "to_home" / "x.csv", tmp_path / "to_home" / "data" / "x.csv", tmp_path / "to_part.parquet",
        tmp_path / "dangling.parquet", tmp_path / "disk" / "x.csv", tmp_path / "mine.csv",
    ]  # fmt: skip
    for path in refused:
        with pytest.raises(RefusedError, match="into the home|is there"):
            export(data, "SELECT 1 AS a", path)
        if path.name != "mine.csv":
            with pytest.raises(RefusedError, match="into the home"):
                export(data, "SELECT 1 AS a", path, overwrite=True)
    for bad, match in (
        (tmp_path / "a.txt", "neither .csv nor .parquet"), (Path("/proc/no/x.csv"), "cannot write"),
        (tmp_path / "pipe.csv", "no file"),
    ):  # fmt: skip
        with pytest.raises(GhtraderError, match=match):
            export(data, "SELECT 1 AS a", bad, overwrite=True)
    assert part.read_bytes() == before and (tmp_path / "mine.csv").read_text() == "mine"
    assert not (data / "new.parquet").exists() and not (home / "new").exists() and not list(home.glob("*.csv"))
    assert export(data, "SELECT 1 AS a", tmp_path / "mine.csv", overwrite=True) == 1
    assert (tmp_path / "mine.csv").read_text() == '"a"\n1\n'


def test_a_plain_answer_has_the_rows_of_the_table(data: Path) -> None:
    sql = """
        SELECT 1 AS a, 2.5::DOUBLE AS f, 'nan'::DOUBLE AS n, NULL AS z, true AS b, DATE '2025-01-06' AS d, 'text' AS s,
               TIMESTAMP '2025-01-06 09:00:00' AS t, 1.10::DECIMAL(5, 2) AS m,
               {'x': [1, 2], 'y': DATE '2025-01-06'} AS o,
               170141183460469231731687303715884105727::HUGEINT AS h, 'ab'::BLOB AS r"""
    found = plain_answer(data, sql)
    (row,) = query(data, sql).to_pylist()
    assert found.columns == list(row) and len(found.rows) == 1
    values = dict(zip(found.columns, found.rows[0], strict=True))
    for name in ("a", "f", "z", "b", "s"):
        assert values[name] == row[name] and type(values[name]) is type(row[name])
    assert values["n"] != values["n"] and values["o"] == {"x": [1, 2], "y": "2025-01-06"}
    assert all(values[name] == str(row[name]) for name in ("d", "t", "m", "r"))
    assert plain_answer(data, "SELECT range AS n FROM range(70000)", limit=40_000).rows[-1] == (39_999,)
    with pytest.raises(FailedError, match="the answer is more than"):
        require_held(600_000_000, SqlLimits(memory_bytes=1_000_000_000))
