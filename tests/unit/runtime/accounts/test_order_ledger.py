"""The ledger over crashes and damage: what was acknowledged is there, ids never repeat, and it never starts empty."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError, UnwritableError
from ghtrader_base.trading_enums import TimeInForce
from ghtrader_market.accounting.fill import Offset
from ghtrader_runtime.accounts import order_ledger as module
from ghtrader_runtime.accounts.ledger_prewrite import BLOCK, Block, _encode, read_block
from ghtrader_runtime.accounts.ledger_prewrite import FILE_NAME as AHEAD_NAME
from ghtrader_runtime.accounts.order_ledger import (
    BACKUP_NAME,
    FILE_NAME,
    ID_NAME,
    Intent,
    Ledger,
    earlier_intents,
    read_ledger,
)
from ghtrader_runtime.core.orders import OrderOutcome
from ghtrader_runtime.core.request_watermark import MAX_SESSIONS
from tests.support.failing_disk import nothing_grows
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.clock

EXAMPLES = 30 if os.environ.get("HYPOTHESIS_PROFILE") == "verify" else 8
"""Each one waits for the disk some dozen times."""
QUICK = limits(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
OPERATIONS = st.lists(st.sampled_from(["intend", "intend", "close", "marks", "restart", "rehearse"]), max_size=15)


def make(ledger: Ledger, revision: int, session: str = "s") -> Intent:
    number = ledger.state.next_number
    order_id = ledger.state.order_id(number)
    return Intent(
        order_id=order_id,
        number=number,
        symbol="SHFE.cu2502",
        side=1,
        offset="OPEN",
        volume=1,
        price=70_000.0,
        tif="FAK",
        target_session=session,
        target_revision=revision,
        market_ns=revision,
    )


def test_words_are_on_disk_what_they_always_were(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    intent = msgspec.structs.replace(make(ledger, 1), offset=Offset.CLOSETODAY, tif=TimeInForce.GFD, wall_ns=5)
    ledger.intend(intent)
    bodies = "SELECT CAST(body AS TEXT) FROM records WHERE kind = ?"
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as base:
        (text,) = base.execute(bodies, ("intent",)).fetchone()
    assert text == (
        f'{{"order_id":"{intent.order_id}","number":1,"symbol":"SHFE.cu2502","side":1,"offset":"CLOSETODAY","volume":1,'
        '"price":70000.0,"tif":"GFD","target_session":"s","target_revision":1,"market_ns":1,"price_type":"LIMIT",'
        '"wall_ns":5,"sent_ns":0}'
    )
    ledger.close_intent(intent.order_id, OrderOutcome.UNSENT, 1)
    ledger.sync()
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as base:
        (text,) = base.execute(bodies, ("closed",)).fetchone()
    assert text.startswith('{"outcome":"unsent","left":1,')
    ledger.close()


def test_marks_are_kept_by_trading_day_and_those_of_an_older_version_are_read(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a")
    old = {"trading_day": "2027-03-01", "opening": 1.0, "peak": 2.0}  # a day of a simulated market, under the one key
    ledger._put("marks", "equity", old)
    ledger.close()
    ledger = Ledger(tmp_path / "a")
    assert ledger.state.marks == ("2027-03-01", 1.0, 2.0) and ledger.state.other_marks == []
    for day in range(2, 13):
        ledger.write_marks(f"2025-01-{day:02d}", 1e6, 1e6 + day)
    ledger.write_marks("2025-01-09", 1e6, 2e6)
    ledger.close()
    known = read_ledger(tmp_path / "a")
    assert known.marks == ("2025-01-09", 1e6, 2e6), "written last"
    assert [day for day, *_ in known.other_marks] == [f"2025-01-{day:02d}" for day in (5, 6, 7, 8, 10, 11, 12)]


def play(folder: Path, operations: list[str]) -> tuple[Ledger, list[tuple]]:
    """Carry operations out; the ledger, and what was durable after each."""
    ledger = Ledger(folder)
    durable = [known(ledger)]
    for revision, operation in enumerate(operations):
        if operation == "intend":
            ledger.intend(make(ledger, revision))
        elif operation == "close":  # durable with the next intent, at the latest
            for order_id in list(ledger.state.open)[:1]:
                ledger.close_intent(order_id, "filled", 0)
            continue
        elif operation == "rehearse":  # of one nobody sends: nothing is durable, nothing known that was not
            ledger.rehearse(make(ledger, revision))
            continue
        elif operation == "marks":
            ledger.write_marks("2025-01-08", 1e6, 1e6 + revision)
        elif operation == "restart":
            ledger.close()
            ledger = Ledger(folder)
        durable.append(known(ledger))
    return ledger, durable


def known(ledger: Ledger) -> tuple:
    state = ledger.state
    return sorted(state.open), dict(state.watermark), state.closed, state.marks


def foresee(ledger: Ledger, revision: int) -> list[Intent]:
    """A buy and a sell that may follow, one of which will at most."""
    first = ledger.state.next_number
    both = [
        Intent(
            order_id=ledger.state.order_id(n),
            number=n,
            symbol="SHFE.cu2502",
            side=side,
            offset="OPEN",
            volume=1,
            price=70_000.0,
            tif="FAK",
            market_ns=revision,
        )
        for n, side in ((first, 1), (first + 1, -1))
    ]
    ledger.prepare(both)
    return both


def decided(intent: Intent, revision: int) -> Intent:
    """The same order, now that a target wants it."""
    return msgspec.structs.replace(intent, target_session="s", target_revision=revision)


def copy_of(folder: Path, target: Path) -> Path:
    """The files as they lie on disk now, as a machine that loses its power leaves them."""
    shutil.copytree(folder, target)
    return target


@QUICK
@given(operations=OPERATIONS)
def test_a_crash_leaves_what_was_acknowledged(tmp_path_factory, operations) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger, durable = play(folder, operations)
    after = Ledger(copy_of(folder, folder.parent / f"{folder.name}-copy"))
    assert known(after) == durable[-1] and after.state.epoch == ledger.state.epoch + 1
    after.intend(make(after, 1000))
    ledger.close()
    after.close()


FORESEEN = st.lists(
    st.sampled_from(
        ["foreseen", "foreseen", "unforeseen", "in vain", "refused", "intend", "close", "marks", "restart"]
    ),
    max_size=15,
)


@QUICK
@given(operations=FORESEEN, data=st.data())
def test_a_crash_leaves_what_was_made_durable_ahead(tmp_path_factory, operations, data) -> None:
    """Whatever was acknowledged is there; what else is open was foreseen, and may have been sent."""
    folder = tmp_path_factory.mktemp("ledger")
    ledger, last, acknowledged = Ledger(folder), [], {}
    named: set[str] = set()
    for revision, operation in enumerate(operations):
        if operation in ("foreseen", "unforeseen", "in vain", "refused"):
            last = foresee(ledger, revision)
            named |= {intent.order_id for intent in last}
            if operation == "foreseen":
                wanted = decided(data.draw(st.sampled_from(last)), revision)
                ledger.intend(wanted)
                acknowledged[wanted.order_id] = wanted
            elif operation == "unforeseen":  # another price by then, under the same number
                wanted = msgspec.structs.replace(decided(last[0], revision), price=70_010.0)
                ledger.intend(wanted)
                acknowledged[wanted.order_id] = wanted
            elif operation == "refused":  # the disk takes no row for now, and takes it later
                wanted = decided(last[1], revision)
                ledger.intend(wanted)
                acknowledged[wanted.order_id] = wanted
                ledger._failed(sqlite3.OperationalError("disk I/O error"))
                assert wanted.order_id in ledger.state.open
        elif operation == "intend":
            wanted = make(ledger, revision)
            ledger.intend(wanted)
            acknowledged[wanted.order_id] = wanted
        elif operation == "close":
            for order_id in list(ledger.state.open)[:1]:
                ledger.close_intent(order_id, "filled", 0)
                acknowledged.pop(order_id)
                ledger.sync()
        elif operation == "marks":
            ledger.write_marks("2025-01-08", 1e6, 1e6 + revision)
        else:
            ledger.close()
            ledger, last, named = Ledger(folder), [], set()
            assert set(ledger.state.open) == set(acknowledged), "an orderly end leaves nothing in doubt"
    if last and ledger._ahead.holds(last[0]):  # a slow disk may still be at an earlier block: the new one was left out
        named = {intent.order_id for intent in last}
    after = Ledger(copy_of(folder, folder.parent / f"{folder.name}-copy"))
    extra = set(after.state.open) - set(acknowledged)
    assert set(acknowledged) <= set(after.state.open) and extra <= named
    for order_id, intent in acknowledged.items():
        found = after.state.open[order_id]
        assert (found.side, found.price, found.offset) == (intent.side, intent.price, intent.offset)
    for order_id in list(after.state.open):
        after.close_intent(order_id, "unsent", 1)
    after.close()
    ledger.close()
    again = Ledger(folder.parent / f"{folder.name}-copy")
    assert not again.state.open, "what was proven is not in doubt again"
    again.close()


@pytest.mark.parametrize("harm", ["gone", "empty", "torn", "another ledger's", "an earlier life's", "garbled"])
def test_a_block_that_is_not_this_lifes_opens_nothing(tmp_path: Path, harm: str) -> None:
    ledger, path = Ledger(tmp_path), tmp_path / AHEAD_NAME
    foresee(ledger, 1)
    assert ledger._ahead.holds(foresee(ledger, 1)[0])
    left = path.read_bytes()
    assert read_block(tmp_path) is not None and len(left) == BLOCK
    ledger.close()
    assert read_block(tmp_path) is None, "an orderly end leaves nothing"
    if harm == "gone":
        path.unlink()
    elif harm == "torn":
        path.write_bytes(left[:300])
    elif harm == "another ledger's":
        block = msgspec.structs.replace(read_encoded(left), ledger_id="00000000")
        path.write_bytes(_encode(block))
    elif harm == "an earlier life's":
        Ledger(tmp_path).close()
        path.write_bytes(left)
    elif harm == "garbled":
        path.write_bytes(left.replace(b"SHFE", b"SHFF"))
    after = Ledger(tmp_path)
    assert not after.state.open
    after.close()


def read_encoded(data: bytes) -> Block:
    return msgspec.json.decode(data.rstrip(b"\n").partition(b" ")[2], type=Block)


def test_a_disk_that_refuses_the_block_costs_time_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    read_only = os.open(tmp_path / AHEAD_NAME, os.O_RDONLY)
    os.dup2(read_only, ledger._ahead._fd)
    wanted = decided(foresee(ledger, 1)[0], 1)
    assert not ledger._ahead.holds(wanted)
    ledger.intend(wanted)
    assert set(read_ledger(tmp_path).open) == {wanted.order_id}, "its row was waited for"
    os.close(read_only)
    ledger.close()


@QUICK
@given(operations=OPERATIONS.filter(lambda operations: "intend" in operations), data=st.data())
def test_a_log_cut_anywhere_leaves_an_earlier_whole_state(tmp_path_factory, operations, data) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger, durable = play(folder, operations)
    copy = copy_of(folder, folder.parent / f"{folder.name}-copy")
    ledger.close()
    index = copy / f"{FILE_NAME}-shm"
    frames = int.from_bytes(index.read_bytes()[16:20], sys.byteorder)  # what lies behind is of an earlier round
    os.truncate(copy / f"{FILE_NAME}-wal", data.draw(st.integers(0, 32 + frames * (24 + 4096))))
    index.unlink()
    after = Ledger(copy)
    assert known(after) in durable
    after.close()


def test_a_rehearsed_intent_leaves_no_byte_behind(tmp_path: Path) -> None:
    ledger, _ = play(tmp_path, ["intend", "close", "intend"])
    ledger.sync()
    files = [tmp_path / FILE_NAME, tmp_path / f"{FILE_NAME}-wal"]
    before = [path.read_bytes() for path in files], known(ledger)
    for revision in range(20):
        ledger.rehearse(make(ledger, 100 + revision))
    assert ([path.read_bytes() for path in files], known(ledger)) == before
    ledger.close_intent(next(iter(ledger.state.open)), "filled", 0)
    ledger.rehearse(make(ledger, 200))
    ledger.sync()
    assert read_ledger(tmp_path).closed == 2, "what waited for its commit was not rolled back"
    ledger.close()
    ledger.rehearse(make(ledger, 300))  # whatever is wrong is said by the next intent


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


@limits(max_examples=2 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 0.9999), byte=st.integers(1, 255))
def test_damage_is_refused_or_harmless_and_never_empties(tmp_path_factory, place, byte) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger, durable = play(folder, ["intend", "intend", "close", "marks", "intend"])
    ledger.close()
    path = folder / FILE_NAME
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= byte
    path.write_bytes(data)
    try:
        after = Ledger(folder)
    except IntegrityError as exc:
        assert path.read_bytes() == data, "a damaged ledger is left as it is"
        assert BACKUP_NAME in exc.hint and str(folder) in exc.hint
        return
    assert known(after) == durable[-1], "a byte nobody reads"
    after.close()


@pytest.mark.parametrize("harm", ["emptied", "gone", "cut", "nonsense", "another database"])
def test_it_never_starts_empty_and_says_how_to_restore(tmp_path: Path, harm: str) -> None:
    ledger, _ = play(tmp_path, ["intend", "intend", "close", "restart", "intend"])
    epoch = ledger.state.epoch
    ledger.close()
    path = tmp_path / FILE_NAME
    if harm == "emptied":
        path.write_bytes(b"")
    elif harm == "gone":
        path.unlink()
    elif harm == "cut":
        os.truncate(path, path.stat().st_size // 2)
    elif harm == "nonsense":
        path.write_bytes(b"no ledger" * 1000)
    else:
        path.unlink()
        import sqlite3

        base = sqlite3.connect(path)
        base.execute(module._TABLE)
        base.commit()
        base.close()
    with pytest.raises(IntegrityError, match="damaged") as caught:
        Ledger(tmp_path)
    assert "no order is working" in caught.value.hint and BACKUP_NAME in caught.value.hint
    path.unlink(missing_ok=True)  # what the hint says
    shutil.copy(tmp_path / BACKUP_NAME, path)
    restored = Ledger(tmp_path)
    assert restored.state.epoch > epoch - 1 and len(restored.state.open) == 1
    again = restored.state.order_id(1)
    restored.close()
    assert f"-{epoch}-" not in again, "no order id is used twice"


def test_without_a_copy_the_hint_says_what_begins_a_new_one(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    (tmp_path / BACKUP_NAME).unlink()
    (tmp_path / FILE_NAME).unlink()
    with pytest.raises(IntegrityError) as caught:
        Ledger(tmp_path)
    assert ID_NAME in caught.value.hint
    (tmp_path / ID_NAME).unlink()
    Ledger(tmp_path).close()


def test_it_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_CLOSED", 200)
    ledger = Ledger(tmp_path)
    ledger._base.execute("PRAGMA synchronous = OFF")
    for revision in range(3000):
        intent = make(ledger, revision, f"session-{revision % 300}")
        ledger.intend(intent)
        ledger.close_intent(intent.order_id, "filled", 0)
    assert len(ledger.state.watermark) == MAX_SESSIONS and ledger.state.closed == 3000 and not ledger.state.open
    ledger.close()
    size = (tmp_path / FILE_NAME).stat().st_size
    assert size < 1_500_000, size
    state = read_ledger(tmp_path)
    assert state.closed == 3000 and len(state.watermark) == MAX_SESSIONS
    assert state.watermark["session-299"] == 2999


def test_a_full_disk_leaves_it_whole(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    pages = ledger._base.execute("PRAGMA page_count").fetchone()[0]
    ledger._base.execute(f"PRAGMA max_page_count = {pages + 1}")
    done = []
    with pytest.raises(UnwritableError, match="make room|written") as caught:
        for revision in range(200):
            ledger.intend(make(ledger, revision))
            done.append(ledger.state.order_id(revision + 1))
    assert "room" in caught.value.hint
    assert sorted(ledger.state.open) == done == sorted(read_ledger(tmp_path).open)
    ledger._base.execute("PRAGMA max_page_count = 100000")
    ledger.intend(make(ledger, 999))
    ledger.close()


@pytest.mark.parametrize("most", [0, 4096, 8192, 40_000, 300_000])
def test_a_first_start_on_a_full_disk_is_made_up_for(tmp_path: Path, most: int) -> None:
    with nothing_grows(tmp_path, most), pytest.raises(UnwritableError):
        Ledger(tmp_path)
    ledger = Ledger(tmp_path)
    ledger.intend(make(ledger, 1))
    ledger.close()
    assert len(read_ledger(tmp_path).open) == 1


def test_a_clock_set_back_makes_intents_young(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.intend(make(ledger, 1))
    known_now = ledger.state.open
    (young,) = earlier_intents(known_now).values()
    assert time.monotonic_ns() - young.sent_ns < 5 * 10**9
    (future,) = known_now.values()
    ahead = {future.order_id: msgspec.structs.replace(future, wall_ns=future.wall_ns + 3600 * 10**9)}
    (young,) = earlier_intents(ahead).values()
    assert 0 <= time.monotonic_ns() - young.sent_ns < 10**9
    old = {future.order_id: msgspec.structs.replace(future, wall_ns=1)}
    assert next(iter(earlier_intents(old).values())).sent_ns == 0
    ledger.close()


CHILD = """
import sys
from pathlib import Path
from ghtrader_runtime.accounts.order_ledger import Intent, Ledger
ledger = Ledger(Path(sys.argv[1]))
for number in range(1, 100_000):
    intent = Intent(
        order_id=ledger.state.order_id(number), number=number, symbol="SHFE.cu2502", side=1, offset="OPEN", volume=1,
        price=7e4, tif="FAK", target_session="s", target_revision=number,
    )
    if number % 3 and sys.argv[2] == "ahead":
        ledger.prepare([intent])
    ledger.intend(intent)
    print(intent.order_id, flush=True)
    if number % 2:
        ledger.close_intent(intent.order_id, "filled", 0)
"""


@pytest.mark.parametrize("way", ["plain", "ahead"])
def test_kill_9_loses_no_intent_that_was_acknowledged(tmp_path: Path, way: str) -> None:
    told: list[str] = []
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), way], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        now = [child.stdout.readline().strip() for _ in range(40)]
        child.send_signal(signal.SIGKILL)
        now += child.stdout.read().split()
        child.wait(PATIENCE_S)
        ledger = Ledger(tmp_path)
        unclosed = [one for one in now if int(one.rsplit("-", 1)[1]) % 2 == 0]
        assert set(unclosed) <= set(ledger.state.open) and not set(now) & set(told)
        # the row of the last one is owed where it was foreseen: its target, repeated, would count anew
        assert ledger.state.watermark["s"] >= int(now[-1].rsplit("-", 1)[1]) - (way == "ahead")
        told += now
        for order_id in list(ledger.state.open):
            ledger.close_intent(order_id, "unsent", 1)
        ledger.close()
