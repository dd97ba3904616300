"""The kill switch: durable, tripped when in doubt, seen by others at once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ghtrader_base.errors import ConfigError, LockHeldError, UsageError
from ghtrader_runtime.accounts.kill_switch import FILE_NAME, KillSwitch, judge, parse
from ghtrader_runtime.accounts.ledger_kill_line import note_kill_line, read_kill_line
from ghtrader_runtime.accounts.ledger_reader import FILE_NAME as LEDGER
from ghtrader_runtime.accounts.ledger_reader import ID_NAME
from ghtrader_runtime.accounts.order_ledger import BACKUP_NAME, Ledger
from tests.support.failing_disk import nothing_grows

pytestmark = pytest.mark.clock


def begun(folder: Path) -> KillSwitch:
    """An account whose first gateway has started and ended."""
    switch = KillSwitch(folder)
    Ledger(folder, "first", switch.begin()).close()
    return switch


def cut_to(lines: int) -> Callable[[Path], object]:
    """Only the first lines of the file stay."""
    return lambda path: path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))


SPOILS: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "a blank line": lambda path: path.write_bytes(b"\n"),
    "spaces": lambda path: path.write_bytes(b"   \n \n"),
    "zeros": lambda path: path.write_bytes(bytes(200)),
    "gone": lambda path: path.unlink(),
    "its first line alone": cut_to(1),
    "a line less": cut_to(-1),
    "half a line less": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "another account's": lambda path: shutil.copy(path.parents[1] / "other" / FILE_NAME, path),
}


NO_FILES = ("a folder", "a pipe", "a link to nothing")


def longer_one_of_another_account(path: Path) -> None:
    """Its last line has a higher number, and trips nothing."""
    other = KillSwitch(path.parents[1] / "other")
    for number in range(8):
        other.reset(f"fine {number}")
    shutil.copy(other.path, path)


SPOILS["another account's, with more lines"] = longer_one_of_another_account


def remove(path: Path) -> None:
    """Take away what stands in the place of a file."""
    path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "account"
    folder.mkdir()
    (tmp_path / "other").mkdir()
    begun(tmp_path / "other")
    return folder


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoilt_file_never_untrips_and_only_a_reset_frees_it(account: Path, spoil: str) -> None:
    switch = begun(account)
    switch.reset("a second line")
    running = KillSwitch(account)
    running.trip("lost too much")
    note_kill_line(account, running.known)
    SPOILS[spoil](account / FILE_NAME)
    assert running.read().tripped, "a process that has seen it"
    fresh = KillSwitch(account).read()
    assert fresh.tripped and fresh.reason, "one that starts now"
    Ledger(account, "again", KillSwitch(account).begin()).close()
    assert KillSwitch(account).read().tripped, "a gateway that starts writes no first line over it"
    if spoil in NO_FILES:
        with pytest.raises(ConfigError, match="where a file is expected"):
            KillSwitch(account).reset("not yet")
        assert KillSwitch(account).read().tripped
        remove(account / FILE_NAME)
        assert KillSwitch(account).read().tripped
    mended = KillSwitch(account)
    mended.reset("looked, fine")
    assert not KillSwitch(account).read().tripped
    note_kill_line(account, mended.known)
    assert not KillSwitch(account).read().tripped and not running.read().tripped, "the reset frees it for everybody"
    (account / FILE_NAME).unlink()
    assert KillSwitch(account).read().tripped and running.read().tripped, "and it can be lost again"


@pytest.mark.parametrize("spoil", sorted(set(SPOILS) - {"its first line alone"}))
def test_a_spoilt_file_of_an_account_that_was_never_tripped_trips(account: Path, spoil: str) -> None:
    running = begun(account)
    assert not running.read().tripped
    SPOILS[spoil](account / FILE_NAME)
    assert running.read().tripped and KillSwitch(account).read().tripped


def test_a_file_goes_on_from_what_is_known_over_any_number_of_lines_and_resets(account: Path) -> None:
    """A command whose ledger could not be told has written them."""
    switch = begun(account)
    (account / FILE_NAME).write_bytes(b"")
    mended = KillSwitch(account)
    mended.reset("looked, fine")
    mended.trip("again")
    mended.reset("fine again")
    assert not KillSwitch(account).read().tripped and not switch.read().tripped
    assert switch.known == mended.known and switch.known.number == 4


def test_a_trip_beside_another_writers_stays_whichever_comes_last(account: Path) -> None:
    """One that waited for no lock, and a reset that did not know of it."""
    trips, resets = begun(account), KillSwitch(account)
    resets.read()
    before = (account / FILE_NAME).read_bytes()
    trips.trip("lost too much")
    (account / FILE_NAME).write_bytes(before)
    resets.reset("did not know")
    resets.reset("nor now")
    assert trips.read().tripped and trips.read().reason == "lost too much"
    trips.write_pending()
    assert resets.read().tripped and KillSwitch(account).read().reason == "lost too much"


def test_an_older_copy_of_the_file_put_back_is_not_believed(account: Path) -> None:
    switch = begun(account)
    before = (account / FILE_NAME).read_bytes()
    switch.trip("now")
    (account / FILE_NAME).write_bytes(before)
    again = switch.read()
    assert again.tripped and again.reason == "now", "this process tripped it, whatever the file says"
    assert not KillSwitch(account).read().tripped, "nobody else can know: the ledger was not told"
    note_kill_line(account, switch.known)
    told = KillSwitch(account).read()
    assert told.tripped and told.reason == "now"
    switch.reset("a third line")
    note_kill_line(account, switch.known)
    (account / FILE_NAME).write_bytes(before)
    state = KillSwitch(account).read()
    assert state.tripped and state.reason == "the kill switch file ends with line 1; line 3 is known"


def test_an_account_without_a_ledger_starts_untripped_and_gets_its_first_line_once(tmp_path: Path) -> None:
    assert not KillSwitch(tmp_path).read().tripped and not (tmp_path / FILE_NAME).exists()
    switch = begun(tmp_path)
    assert not switch.read().tripped and (switch.known.number, read_kill_line(tmp_path)) == (1, switch.known)
    first = (tmp_path / FILE_NAME).read_bytes()
    begun(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == first and first.count(b"\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def old_line(tripped: bool, reason: str) -> bytes:
    """A line as versions before numbered lines wrote it."""
    body = json.dumps({"tripped": tripped, "reason": reason, "since": "2026-11-30T10:00:00+08:00", "by": "command"})
    return b"%08x %s\n" % (zlib.crc32(body.encode()), body.encode())


def test_an_older_home_without_a_file_gets_its_first_line_and_one_with_a_trip_stays_tripped(tmp_path: Path) -> None:
    plain, tripped = tmp_path / "plain", tmp_path / "tripped"
    for folder in (plain, tripped):
        Ledger(folder, "of an older version").close()
        assert read_kill_line(folder) is None
    (tripped / FILE_NAME).write_bytes(old_line(True, "one") + old_line(False, "two") + old_line(True, "three"))
    assert not begun(plain).read().tripped
    (plain / FILE_NAME).unlink()
    assert KillSwitch(plain).read().tripped, "the second time it is not an older home any more"
    state = begun(tripped).read()
    assert state.tripped and state.reason == "three" and read_kill_line(tripped).number == 3
    (tripped / FILE_NAME).write_bytes(old_line(True, "one") + old_line(False, "two"))
    assert KillSwitch(tripped).read().tripped
    KillSwitch(tripped).reset("fine")
    assert not KillSwitch(tripped).read().tripped


def test_a_ledger_that_cannot_be_read_does_not_excuse_a_missing_file(account: Path) -> None:
    begun(account)
    for damage in (lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"x" * 9000), Path.unlink):
        damage(account / LEDGER)
        for name in (LEDGER + "-wal", LEDGER + "-shm"):
            (account / name).unlink(missing_ok=True)
        assert not KillSwitch(account).read().tripped, "the file is whole; a gateway refuses the ledger anyway"
        whole = (account / FILE_NAME).read_bytes()
        (account / FILE_NAME).unlink()
        state = KillSwitch(account).read()
        assert state.tripped and "ledger" in state.reason
        (account / FILE_NAME).write_bytes(whole)
    (account / ID_NAME).unlink()
    assert not KillSwitch(account).read().tripped


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_stands_in_the_ledgers_place_holds_up_no_trip(account: Path, make: Callable[[Path], None]) -> None:
    """A pipe would be waited for without end."""
    begun(account)
    (account / LEDGER).unlink()
    make(account / LEDGER)
    switch = KillSwitch(account)
    assert switch.trip("lost too much").tripped
    note_kill_line(account, switch.known)
    assert KillSwitch(account).read().reason == "lost too much"


def test_a_restored_backup_of_the_ledger_knows_the_switch(account: Path) -> None:
    begun(account)
    shutil.copy(account / BACKUP_NAME, account / LEDGER)
    (account / FILE_NAME).unlink()
    assert KillSwitch(account).read().tripped


def test_a_trip_waits_for_no_lock_and_a_reset_does_not_go_without_it(account: Path, monkeypatch) -> None:
    monkeypatch.setattr("ghtrader_runtime.accounts.kill_switch._WRITE_WAIT_S", 0.1)
    switch = begun(account)
    held = os.open(account / "kill-write.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    began = time.monotonic()
    assert switch.trip("lost too much", wait_s=0.0).tripped and KillSwitch(account).read().tripped
    assert time.monotonic() - began < 0.5
    with pytest.raises(LockHeldError):
        switch.reset("looked, fine")
    assert KillSwitch(account).read().tripped
    os.close(held)
    switch.reset("looked, fine")
    assert not KillSwitch(account).read().tripped


def test_a_trip_the_disk_refused_is_written_later_unless_somebody_went_on(account: Path) -> None:
    switch = begun(account)
    whole = (account / FILE_NAME).read_bytes()
    (account / FILE_NAME).unlink()
    (account / FILE_NAME).mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        switch.trip("lost too much")
    assert switch.read().reason == "lost too much" and KillSwitch(account).read().tripped
    (account / FILE_NAME).rmdir()
    assert switch.read().reason == "lost too much"
    (account / FILE_NAME).write_bytes(whole)
    assert switch.read().reason == "lost too much" and not KillSwitch(account).read().tripped
    switch.write_pending()
    switch.write_pending()
    assert KillSwitch(account).read().reason == "lost too much"
    assert (account / FILE_NAME).read_bytes().count(b"\n") == 2, "written once"
    KillSwitch(account).reset("fine")
    switch.write_pending()
    assert not KillSwitch(account).read().tripped and not switch.read().tripped


def test_a_file_that_may_not_grow_says_itself_that_a_trip_is_missing(account: Path) -> None:
    """The ledger need not know of it, and nobody need be there to remember."""
    switch = begun(account)
    switch.reset("a second line")
    with nothing_grows(account):
        with pytest.raises(OSError, match="File too large"):
            switch.trip("lost too much")
        assert switch.read().reason == "lost too much"
    state = KillSwitch(account).read()
    assert state.tripped and state.reason == "the last change of the kill switch was cut off"
    switch.write_pending()
    assert KillSwitch(account).read().reason == "lost too much"
    lines = (account / FILE_NAME).read_bytes().splitlines()
    assert len(lines) == 3 and b"a second line" in lines[1], "what stood there stands there still"


def test_words_no_encoding_has_stop_no_trip(tmp_path: Path) -> None:
    assert KillSwitch(tmp_path).trip("half a character: \udce9, a break\nand a \x00").tripped
    assert KillSwitch(tmp_path).read().reason.startswith("half a character: ?, a break and a")


def test_trip_survives_and_reset_needs_a_reason(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    assert not switch.read().tripped
    switch.trip("spread looks wrong")
    again = KillSwitch(tmp_path).read()
    assert again.tripped and again.reason == "spread looks wrong" and again.since
    with pytest.raises(UsageError):
        switch.reset("  ")
    assert KillSwitch(tmp_path).read().tripped
    switch.reset("looked, fine")
    assert not KillSwitch(tmp_path).read().tripped


def test_another_process_sees_it_at_the_next_look(tmp_path: Path) -> None:
    one, other = KillSwitch(tmp_path), KillSwitch(tmp_path)
    assert not one.read().tripped
    other.trip("now")
    assert one.read().tripped
    other.reset("again")
    assert not one.read().tripped


def test_every_cut_of_the_file_is_a_state_a_person_would_expect(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    path = tmp_path / FILE_NAME
    switch.trip("one")
    trip = len(path.read_bytes())
    switch.reset("two")
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        tripped = judge(parse(whole[:cut]), None).tripped
        assert tripped == (cut < len(whole)), cut  # an unfinished trip counts, an unfinished reset does not
    assert trip < len(whole)


def test_garbled_counts_as_tripped_until_somebody_resets_it(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    switch.trip("one")
    switch.reset("two")
    path = tmp_path / FILE_NAME
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    assert switch.read().tripped
    path.write_bytes(bytes(data) + b"half a li")
    assert switch.read().tripped
    switch.reset("mended")
    assert not KillSwitch(tmp_path).read().tripped


def test_a_file_that_vanishes_does_not_untrip(tmp_path: Path) -> None:
    switch = KillSwitch(tmp_path)
    switch.trip("one")
    (tmp_path / FILE_NAME).unlink()
    assert switch.read().tripped
