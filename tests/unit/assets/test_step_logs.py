"""What a step prints goes to its file, and the terminal is as it was afterwards, whatever the file's disk did."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghtrader_assets.runs.full_log import without_full_log_lines
from ghtrader_assets.runs.step_logs import sent_to
from tests.support.failing_disk import nothing_grows


def test_a_step_prints_to_its_file(tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w") as terminal:
        terminal.write("before ")
        with sent_to(terminal, str(tmp_path / "step.out")):
            terminal.write("within")
        terminal.write("after")
    assert (tmp_path / "terminal").read_text() == "before after"
    assert (tmp_path / "step.out").read_text() == "within"


def test_a_full_disk_under_a_steps_log_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w") as terminal:
        with nothing_grows(tmp_path), sent_to(terminal, str(tmp_path / "step.out")):
            terminal.write("within, and of no importance")
        terminal.write("error: the disk is full\n")
    assert (tmp_path / "terminal").read_text() == "error: the disk is full\n"
    assert (tmp_path / "step.out").read_text() == ""


def test_dagsters_words_about_its_full_log_are_left_out(tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w") as terminal:
        filtered = without_full_log_lines(terminal)
        filtered.write("Exception while writing logger call to event log: database or disk is full [SQL: INSERT ...]\n")
        filtered.write("Exception while writing logger call to event log: no such table\n")
        assert filtered.fileno() == terminal.fileno()
    assert (tmp_path / "terminal").read_text() == "Exception while writing logger call to event log: no such table\n"


def test_an_error_of_the_step_passes_through(tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w") as terminal:
        with pytest.raises(ZeroDivisionError), sent_to(terminal, str(tmp_path / "step.out")):
            raise ZeroDivisionError
        terminal.write("after")
    assert (tmp_path / "terminal").read_text() == "after"
