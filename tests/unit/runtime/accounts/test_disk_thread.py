"""Work that waits for a disk: in time, late, failed; and a ledger's commit that came back too late."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ghtrader_base.errors import UnwritableError
from ghtrader_runtime.accounts.disk_thread import DiskThread
from ghtrader_runtime.accounts.order_ledger import Intent, Ledger, read_ledger
from tests.support.failing_disk import no_flush_returns
from tests.support.waiting import until

pytestmark = pytest.mark.clock


def fails() -> None:
    raise OSError("no")


def test_work_is_done_one_after_another_and_what_it_raised_is_raised() -> None:
    disk, done = DiskThread("test"), []
    assert disk.do(lambda: done.append(1), 60.0) and disk.do(lambda: done.append(2), 60.0) and done == [1, 2]
    with pytest.raises(OSError, match="no"):
        disk.do(fails, 60.0)
    assert not disk.busy and not disk.late_result() and disk.do(lambda: done.append(3), 60.0)
    disk.stop()
    assert disk.do(lambda: done.append(4), 60.0) and done == [1, 2, 3, 4], "a stopped one begins again"
    disk.stop()


@pytest.mark.parametrize("failing", [False, True])
def test_late_work_holds_nobody_up_and_is_told_once(failing: bool) -> None:
    disk, over, refused = DiskThread("test"), threading.Event(), []

    def slow() -> None:
        over.wait()
        if failing:
            fails()

    assert not disk.do(slow, 0.0) and disk.busy and not disk.late_result()
    assert not disk.do(lambda: refused.append(1), 60.0), "not begun, and not waited for"
    disk.stop()
    over.set()
    until(lambda: not disk.busy)
    if failing:
        with pytest.raises(OSError, match="no"):
            disk.late_result()
    else:
        assert disk.late_result()
    assert not disk.late_result() and not refused
    disk.stop()


def intent(number: int) -> Intent:
    return Intent(
        order_id=f"o-{number}", number=number, symbol="SHFE.cu2502", side=1, offset="OPEN", volume=1, price=1.0,
        tif="FAK", target_session="s", target_revision=number, market_ns=1,
    )  # fmt: skip


def test_a_commit_that_comes_back_late_counts_and_nothing_was_done_meanwhile(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.intend(intent(1))
    with no_flush_returns(tmp_path):
        with pytest.raises(UnwritableError, match="does not answer"):
            ledger.intend(intent(3))
        assert list(ledger.state.open) == ["o-1"], "it was not sent"
        for act in (
            lambda: ledger.intend(intent(5)), lambda: ledger.close_intent("o-1", "FILLED", 0), ledger.sync,
            ledger.prove, lambda: ledger.prepare([intent(7)]), lambda: ledger.write_marks("2025-01-08", 1.0, 2.0),
        ):  # fmt: skip
            with pytest.raises(UnwritableError, match="does not answer"):
                act()
    until(lambda: not ledger._disk.busy)
    ledger.prove()
    ledger.close_intent("o-1", "FILLED", 0)
    ledger.intend(intent(9))
    ledger.close()
    assert set(read_ledger(tmp_path).open) == {"o-3", "o-9"}, "what was durable too late is for the broker's list"
