"""The coverage index: what it says is what the manifests say, whatever happened in between, and it says it at once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.files import read_checked_json, with_checksum
from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.lake.day_index import INDEX_NAME
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import MANIFEST
from tests.support.forked import Forks
from tests.support.waiting import until

SYMBOL = "SHFE.cu2502"
DAY = date(2025, 1, 6)
TIMES = 1_736_125_200_000_000_000 + 500_000_000 * np.arange(50)
Make = Callable[..., pa.Table]


def said(lake: Lake) -> dict[tuple[str, str, str], tuple[int, str, str]]:
    """(dataset, key, day) -> rows, content hash, source, as the index has it."""
    datasets = ("ticks", "main_l5", "features", "labels", "daily_bars")
    rows = [row for dataset in datasets for row in lake.index.rows(dataset)]
    return {(row.dataset, row.key, row.day): (row.rows, row.content_hash, row.source) for row in rows}


def true(lake: Lake) -> dict[tuple[str, str, str], tuple[int, str, str]]:
    """The same from every manifest of the lake, by a walk."""
    found = [json.loads(path.read_text()) for path in lake.root.glob(f"*/*=*/date=*/{MANIFEST}")]
    return {(m["dataset"], m["key"], m["day"]): (m["rows"], m["content_hash"], m["source"]) for m in found}


def marks(lake: Lake) -> int:
    with sqlite3.connect(lake.root / INDEX_NAME) as connection:
        return int(connection.execute("SELECT count(*) FROM marks").fetchone()[0])


def test_writes_and_deletions_are_indexed(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path / "data")
    assert lake.index.rows("ticks") == [] and not lake.root.exists()  # looking writes nothing
    for offset in range(3):
        lake.write_day("ticks", SYMBOL, DAY + timedelta(offset), make_ticks(TIMES, seed=offset), source="tqsdk")
    lake.write_day("ticks", SYMBOL, DAY, make_ticks(TIMES, seed=9), source="recorded", run_id="r")
    lake.delete_day("ticks", SYMBOL, DAY + timedelta(1))
    assert said(lake) == true(lake) and len(true(lake)) == 2 and marks(lake) == 0
    row = lake.index.rows("ticks", SYMBOL)[0]
    assert (row.levels, row.first_ns, row.last_ns, row.run_id) == (5, TIMES[0], TIMES[-1], "r")
    assert row.bytes == lake.files("ticks")[0].stat().st_size
    assert lake.index.days_from("ticks", SYMBOL, "recorded") == {DAY}
    summary = lake.index.summaries("ticks")[SYMBOL]
    assert (summary.days, summary.rows, summary.deep_days) == (2, 100, 2)
    assert (summary.first_day, summary.last_deep_day) == ("2025-01-06", "2025-01-08")


def test_what_other_hands_did_is_seen_at_the_next_look(tmp_path: Path, make_ticks: Make) -> None:
    lake, other = Lake(tmp_path / "data"), Lake(tmp_path / "other")
    for offset in range(4):
        lake.write_day("ticks", SYMBOL, DAY + timedelta(offset), make_ticks(TIMES), source="t")
        for symbol in (SYMBOL, "SHFE.cu2503"):
            other.write_day("ticks", symbol, DAY + timedelta(offset + 10), make_ticks(TIMES), source="t")
    assert len(said(lake)) == 4
    shutil.rmtree(lake.day_path("ticks", SYMBOL, DAY))
    copied = DAY + timedelta(10)
    shutil.copytree(other.day_path("ticks", SYMBOL, copied), lake.day_path("ticks", SYMBOL, copied))
    # A write in between must not make the index believe it had seen the copy.
    lake.write_day("ticks", SYMBOL, DAY + timedelta(5), make_ticks(TIMES), source="t")
    assert said(lake) == true(lake) and len(said(lake)) == 5
    shutil.copytree(other.key_path("ticks", "SHFE.cu2503"), lake.key_path("ticks", "SHFE.cu2503"))
    assert len(lake.index.rows("ticks", "SHFE.cu2503")) == 4
    shutil.rmtree(lake.key_path("ticks", SYMBOL))
    assert set(lake.index.summaries("ticks")) == {"SHFE.cu2503"}


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM days WHERE day IN ('2025-01-06', '2025-01-07')", "UPDATE days SET rows=1", "DELETE FROM days",
        "UPDATE days SET file='part-0.parquet' WHERE day='2025-01-08'", "UPDATE days SET key='SHFE.cu2503'",
        "INSERT INTO days SELECT dataset, key, '2025-02-03', rows, levels, first_ns, last_ns, source, run_id, file,"
        " schema_hash, content_hash, bytes, written_ns FROM days LIMIT 1",
        "UPDATE origins SET origin='elsewhere'",
        "INSERT INTO origins VALUES ('ticks', 'SHFE.cu2502', '2025-01-06', 'x')",
    ],
)  # fmt: skip
def test_rows_that_other_hands_change_are_read_again_and_it_is_said(
    tmp_path: Path, make_ticks: Make, caplog: pytest.LogCaptureFixture, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ghtrader_market"), "propagate", True)  # a command of another test ends that
    lake = Lake(tmp_path / "data")
    origin = TickOrigin(kind=OriginKind.SIMULATED, service="s", world="w", seed=1, scenario="e")
    for offset in range(4):
        for symbol in (SYMBOL, "SHFE.cu2503"):
            details = TickDetails(origin=origin) if offset else None
            lake.write_day("ticks", symbol, DAY + timedelta(offset), make_ticks(TIMES), source="t", details=details)
    before = [row for symbol in (SYMBOL, "SHFE.cu2503") for row in lake.index.rows("ticks", symbol)]
    assert not caplog.records and lake.index.as_stored().rows == before
    with contextlib.closing(sqlite3.connect(lake.root / INDEX_NAME)) as other, other:
        with contextlib.suppress(sqlite3.IntegrityError):
            assert other.execute(change).rowcount
        other.execute("DELETE FROM days WHERE day='2025-01-09' AND key=?", (SYMBOL,))
    assert ("ticks", SYMBOL) in lake.index.as_stored().changed
    assert lake.index.rows("ticks") == before
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert f"rows of ticks {SYMBOL} in {lake.index.path} were changed by somebody else" in caplog.text
    assert not lake.index.as_stored().changed and lake.index.as_stored().rows == before


def test_a_lake_without_an_index_or_with_a_broken_one_gets_a_new_one(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path / "data")
    lake.write_day("ticks", SYMBOL, DAY, make_ticks(TIMES), source="t")
    expected = lake.index.rows("ticks")
    manifest = lake.day_path("ticks", SYMBOL, DAY) / MANIFEST
    document = json.loads(manifest.read_text())
    for name in ("levels", "first_ns", "last_ns", "checksum"):  # as a home from before these were kept has it
        document.pop(name)
    manifest.write_text(json.dumps(document))
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"no database at all" * 300)):
        for name in (f"{INDEX_NAME}-wal", f"{INDEX_NAME}-shm"):
            (lake.root / name).unlink(missing_ok=True)
        damage(lake.root / INDEX_NAME)
        (row,) = lake.index.rows("ticks")
        assert (row.levels, row.rows, row.content_hash) == (5, 50, expected[0].content_hash)
    assert lake.index.rebuild() == 1 and said(lake) == true(lake)


def test_a_day_whose_manifest_is_garbled_is_not_counted(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path / "data")
    for offset in range(2):
        lake.write_day("ticks", SYMBOL, DAY + timedelta(offset), make_ticks(TIMES), source="t")
    (lake.day_path("ticks", SYMBOL, DAY) / MANIFEST).write_text("{half a mani")
    lake.index.rebuild()
    assert [row.day for row in lake.index.rows("ticks")] == ["2025-01-07"]


def test_a_lake_on_a_read_only_disk_can_be_looked_at(tmp_path: Path, make_ticks: Make, monkeypatch) -> None:
    lake = Lake(tmp_path / "data")
    lake.write_day("ticks", SYMBOL, DAY, make_ticks(TIMES), source="t")

    def refused(self: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("ghtrader_market.stores.lake.day_index.CoverageIndex._connection", refused)
    assert len(lake.index.rows("ticks")) == 1


def test_threads_and_lakes_side_by_side(tmp_path: Path, make_ticks: Make) -> None:
    table = make_ticks(TIMES)
    lakes = [Lake(tmp_path / f"data{n}") for n in range(9)]  # more than a thread keeps open

    def work(number: int) -> None:
        for offset in range(4):
            for lake in lakes[:3] if number else lakes:
                lake.write_day("ticks", f"SHFE.cu250{number + 1}", DAY + timedelta(offset), table, source="t")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lake in lakes:
        assert said(lake) == true(lake) and marks(lake) == 0
    assert len(said(lakes[0])) == 12


WRITER_IMPORTS = """
import itertools, signal
from datetime import date, timedelta
from pathlib import Path
import pyarrow.parquet as pq
from ghtrader_market.stores.lake import lake as lakes
"""
WRITER = """
root, file, where, ready = Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
table, lake = pq.read_table(file), lakes.Lake(root)
def die(*_a, **_k):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "after manifest":
    lakes._sweep = die
elif where == "before manifest":
    lakes.atomic_write_json = die
elif where == "after deletion":
    lakes.shutil.rmtree = die
    lake.delete_day("ticks", "SHFE.cu2502", date(2025, 1, 6))
ready.touch()
for n in itertools.count():
    lake.write_day("ticks", "SHFE.cu2502", date(2025, 1, 6) + timedelta(n % 3), table.slice(n % 7), source=f"n{n}")
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(WRITER_IMPORTS, WRITER) as made:
        yield made


@pytest.mark.parametrize("where", ["before manifest", "after manifest", "after deletion", "anywhere"])
def test_kill_9_between_manifest_and_index_is_mended_by_the_next_look(
    tmp_path: Path, make_ticks: Make, where: str, forks: Forks
) -> None:
    import pyarrow.parquet as pq

    lake, file = Lake(tmp_path / "data"), tmp_path / "t.parquet"
    pq.write_table(make_ticks(TIMES), file)
    rng = np.random.default_rng(5)
    for offset in range(3):
        lake.write_day("ticks", SYMBOL, DAY + timedelta(offset), make_ticks(TIMES, seed=offset), source="first")
    for number in range(4 if where == "anywhere" else 1):
        ready = tmp_path / f"ready{number}"
        writer = forks.start(lake.root, file, where, ready)
        if where == "anywhere":
            until(ready.exists)
            time.sleep(float(rng.uniform(0.0, 0.05)))
            os.kill(writer, signal.SIGKILL)
        assert forks.wait(writer) == -signal.SIGKILL
        if where != "anywhere":
            assert marks(lake) == 1  # so this is the moment meant
        assert said(lake) == true(lake)
        assert marks(lake) == 0


def test_a_reader_leaves_the_mark_of_a_living_writer(tmp_path: Path, make_ticks: Make) -> None:
    lake = Lake(tmp_path / "data")
    lake.write_day("ticks", SYMBOL, DAY, make_ticks(TIMES), source="first")
    with lake.index.writing("ticks", SYMBOL, DAY):
        assert said(lake) == true(lake) and marks(lake) == 1
        manifest = lake.day_path("ticks", SYMBOL, DAY) / MANIFEST
        document, _ = read_checked_json(manifest)
        manifest.write_text(json.dumps(with_checksum(document | {"source": "second"})))
        assert lake.index.rows("ticks")[0].source == "second"  # as the disk has it, also before the writer says so
    assert marks(lake) == 0


def test_500_contract_years_are_answered_from_the_index(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "data")
    lake.index.rebuild()
    days = [str(DAY + timedelta(n)) for n in range(240)]
    with sqlite3.connect(lake.root / INDEX_NAME) as connection:
        for n in range(500):
            key = f"SHFE.x{n:04d}"
            folder = lake.key_path("ticks", key)
            folder.mkdir(parents=True)
            rows = [("ticks", key, d, 55_800, 5, 1, 2, "t", "r", "part.parquet", "s", f"h{n}{d}", 9, 7) for d in days]
            connection.executemany(f"INSERT INTO days VALUES ({', '.join('?' * 14)})", rows)
            connection.execute("INSERT INTO folders VALUES ('ticks', ?, ?)", (key, folder.stat().st_mtime_ns))
    started = time.process_time()  # other tests run beside this one
    summaries, lists = lake.index.summaries("ticks"), lake.index.day_lists("ticks")
    taken = time.process_time() - started
    assert len(summaries) == 500 and sum(map(len, lists.values())) == 120_000
    assert taken < 10.0, f"{taken:.2f} s"  # the benchmark holds it to its second; a walk over folders takes minutes


def test_two_first_users_at_once_both_write(tmp_path: Path) -> None:
    import threading

    for turn in range(40):
        lakes = [Lake(tmp_path / str(turn)) for _ in range(3)]
        failed: list[BaseException] = []
        together = threading.Barrier(len(lakes))

        def write(lake: Lake, together: threading.Barrier = together, failed: list = failed) -> None:
            together.wait()
            try:
                lake.index.rebuild()
            except BaseException as exc:
                failed.append(exc)

        threads = [threading.Thread(target=write, args=(lake,)) for lake in lakes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
