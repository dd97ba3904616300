"""The journal: order, rotation, what it does when the disk refuses or is slow, and a torn last line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from ghtrader_runtime.runlog.journal import FactorJournal, Journal, read_factors, read_lines
from tests.support.failing_disk import nothing_grows
from tests.support.waiting import PATIENCE_S


def test_lines_come_back_in_order_over_rotated_files(tmp_path: Path) -> None:
    journal = Journal(tmp_path, rotate_bytes=2_000)
    for number in range(500):
        journal.write("events", "x", {"n": number, "nan": float("nan")})
    journal.close()
    assert len(list(tmp_path.glob("events-*.jsonl"))) > 5
    lines = read_lines(tmp_path / "events.jsonl")
    assert [line["n"] for line in lines] == list(range(500)) and lines[0]["nan"] is None and journal.dropped == 0
    again = Journal(tmp_path, rotate_bytes=2_000)
    for number in range(500, 600):
        again.write("events", "x", {"n": number})
    again.close()
    assert [line["n"] for line in read_lines(tmp_path / "events.jsonl")] == list(range(600)), "a restart goes on"


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "fills.jsonl").write_text('{"n": 1}\n{"n": 2')
    assert read_lines(tmp_path / "fills.jsonl") == [{"n": 1}]


def test_a_disk_that_refuses_is_told_and_counted_and_comes_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "events.jsonl").mkdir()  # opening it fails as a full or broken disk does
    for number in range(3):
        journal.write("events", "x", {"n": number})
    deadline = time.monotonic() + PATIENCE_S
    while journal.dropped < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert journal.dropped == 3 and "journal:" in journal.failure
    (tmp_path / "events.jsonl").rmdir()
    journal.write("events", "x", {"n": 3})
    journal.close()
    assert [line["n"] for line in read_lines(tmp_path / "events.jsonl")] == [3]


def test_a_slow_disk_costs_lines_and_not_memory(tmp_path: Path) -> None:
    journal = Journal(tmp_path, most_waiting=10)
    journal.close()  # nobody takes anything from the queue any more
    for number in range(1000):
        journal.write("events", "x", {"n": number})
    assert journal.dropped == 990


def test_a_file_for_lookers_on_is_whole_at_any_moment(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(200):
        journal.replace(tmp_path / "state.json", {"n": number, "pad": "x" * 5000})
        if (tmp_path / "state.json").exists():
            assert len(json.loads((tmp_path / "state.json").read_text())["pad"]) == 5000
    journal.close()
    assert json.loads((tmp_path / "state.json").read_text())["n"] == 199


def test_a_restarted_strategy_goes_on_with_its_factors(tmp_path: Path) -> None:
    for life in range(2):
        journal = Journal(tmp_path)
        factors = FactorJournal(journal, 2)
        for number in range(3):
            row = np.array([life, number], np.float32)
            factors.add(10 * life + number, 0, "2025-01-08", row, np.full(3, np.nan), 0, True)
        factors.flush()
        journal.close()
    assert read_factors(tmp_path)["id"].tolist() == [0, 1, 2, 10, 11, 12]


def _written(journal: Journal, count: int) -> None:
    """Wait until a journal has dropped so many items."""
    deadline = time.monotonic() + PATIENCE_S
    while journal.dropped < count and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_full_disk_tears_no_line_for_the_next_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("fills", "fill", {"n": 0})
    journal.close()
    journal = Journal(tmp_path)
    with nothing_grows(tmp_path, most=(tmp_path / "fills.jsonl").stat().st_size + 10):
        journal.write("fills", "fill", {"n": 1, "text": "x" * 20_000})
        _written(journal, 1)
    assert journal.dropped == 1 and "File too large" in journal.failure
    journal.write("fills", "fill", {"n": 2})
    journal.close()
    assert [line["n"] for line in read_lines(tmp_path / "fills.jsonl")] == [0, 2]


def test_a_full_disk_leaves_no_gap_in_what_is_appended(tmp_path: Path) -> None:
    journal, path = Journal(tmp_path), tmp_path / "mind" / "000001.bin"
    journal.append(path, b"a" * 3000)
    journal.write("events", "x", {})
    while not path.exists() or path.stat().st_size < 3000:
        time.sleep(0.01)
    with nothing_grows(tmp_path, most=4096):
        journal.append(path, b"b" * 3000)
        _written(journal, 1)
    assert path.read_bytes() == b"a" * 3000, "half of a part is no part"
    journal.append(path, b"c" * 3000)  # of a log that lacks its middle nobody could replay the rest
    journal.close()
    assert path.read_bytes() == b"a" * 3000 and journal.dropped == 2


def test_a_full_disk_leaves_no_half_a_chunk(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with nothing_grows(tmp_path, most=4096):
        journal.save(tmp_path / "factors" / "part-00000.npz", {"id": np.arange(10_000)})
        journal.replace(tmp_path / "gateway.json", {"text": "x" * 20_000})
        _written(journal, 2)
    journal.close()
    assert journal.dropped == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["factors"] and read_factors(tmp_path) == {}
