"""The ledger over every crash point: what was acknowledged is there, what was not is cut off, ids never repeat."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_runtime import ledger as module
from ghtrader_runtime.ledger import FILE_NAME, MAX_SESSIONS, Intent, Ledger, encode_record, replay

QUICK = limits(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
OPERATIONS = st.lists(st.sampled_from(["intend", "close", "restart"]), max_size=25)


def make(ledger: Ledger, revision: int, session: str = "s") -> Intent:
    number = ledger.state.next_number
    order_id = ledger.state.order_id(number)
    return Intent(order_id, number, "SHFE.cu2502", 1, "OPEN", 1, 70_000.0, "FAK", session, revision)


def play(folder: Path, operations: list[str]) -> tuple[Ledger, list[tuple[int, dict, dict]]]:
    """Carry operations out; returns the ledger and (file size, open intents, watermark) after each durable one."""
    ledger = Ledger(folder)
    states = []

    def note() -> None:
        size = (folder / FILE_NAME).stat().st_size
        states.append((size, dict(ledger.state.open), dict(ledger.state.watermark)))

    note()
    for revision, operation in enumerate(operations):
        if operation == "intend":
            ledger.intend(make(ledger, revision))
        elif operation == "close" and ledger.state.open:
            ledger.close_intent(next(iter(ledger.state.open)), "filled", 0)
        elif operation == "restart":
            ledger.close()
            ledger = Ledger(folder)
        note()
    return ledger, states


@QUICK
@given(operations=OPERATIONS, data=st.data())
def test_a_cut_anywhere_leaves_the_last_whole_record(tmp_path_factory, operations, data) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger, states = play(folder, operations)
    ledger.close()
    path = folder / FILE_NAME
    whole = path.read_bytes()
    cut = data.draw(st.integers(states[0][0], len(whole)))
    path.write_bytes(whole[:cut])
    expected = [state for state in states if state[0] <= cut][-1]
    after = Ledger(folder)
    assert after.state.open == expected[1]
    assert after.state.watermark == expected[2]
    after.intend(make(after, 1000))  # and the file goes on cleanly
    after.close()
    again, good = replay(path.read_bytes())
    assert good == path.stat().st_size and len(again.open) == len(expected[1]) + 1


@QUICK
@given(operations=OPERATIONS)
def test_order_ids_never_repeat(tmp_path_factory, operations) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    seen = []
    ledger = Ledger(folder)
    for revision, operation in enumerate([*operations, "intend", "restart", "intend"]):
        if operation == "intend":
            intent = make(ledger, revision)
            ledger.intend(intent)
            seen.append(intent.order_id)
        elif operation == "restart":
            ledger.close()
            ledger = Ledger(folder)
    ledger.close()
    assert len(seen) == len(set(seen))


@QUICK
@given(operations=OPERATIONS.filter(lambda ops: "intend" in ops), data=st.data())
def test_damage_in_the_middle_is_refused(tmp_path_factory, operations, data) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger, _ = play(folder, operations)
    ledger.close()
    path = folder / FILE_NAME
    whole = bytearray(path.read_bytes())
    last = whole.rfind(b"\n", 0, len(whole) - 1)
    place = data.draw(st.integers(0, last - 1))
    whole[place] = data.draw(st.sampled_from([0, 10, 13, 32, 48, 125]).filter(lambda byte: byte != whole[place]))
    path.write_bytes(whole)
    with pytest.raises(IntegrityError, match="damaged"):
        Ledger(folder)
    assert path.read_bytes() == whole, "a damaged ledger is left as it is"


def test_a_long_ledger_is_compacted_to_the_same_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT_BYTES", 2_000)
    ledger, _ = play(tmp_path, ["intend", "intend", "close"] * 12)
    before = (ledger.state.open, ledger.state.watermark, ledger.state.next_number, ledger.state.closed)
    epoch, name = ledger.state.epoch, ledger.state.ledger_id
    ledger.close()
    after = Ledger(tmp_path)
    assert (tmp_path / FILE_NAME).stat().st_size < 2_500 + 200 * len(after.state.open)
    assert (after.state.open, after.state.watermark, after.state.closed) == (before[0], before[1], before[3])
    assert (after.state.epoch, after.state.ledger_id, after.state.next_number) == (epoch + 1, name, 1)
    after.close()


def test_the_watermark_is_bounded(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for session in range(3 * MAX_SESSIONS):
        ledger.intend(make(ledger, 7, f"session-{session}"))
    assert len(ledger.state.watermark) == MAX_SESSIONS
    assert ledger.state.watermark[f"session-{3 * MAX_SESSIONS - 1}"] == 7
    ledger.close()


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path)
    size = (tmp_path / FILE_NAME).stat().st_size

    def half(fd: int, data: bytes) -> None:
        os.write(fd, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "append_durable", half)
        with pytest.raises(FailedError, match="No space left"):
            ledger.intend(make(ledger, 1))
    assert (tmp_path / FILE_NAME).stat().st_size == size and not ledger.state.open
    ledger.intend(make(ledger, 2))
    ledger.close()


def test_records_of_no_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="line 1"):
        replay(encode_record({"t": "gossip"}))
