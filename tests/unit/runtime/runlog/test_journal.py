"""The journal: order, rotation, what it does when the disk refuses or is slow, and a torn last line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np

from ghtrader_runtime.runlog.journal import FactorJournal, Journal, read_factors, read_lines
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
