"""The kill switch: durable, tripped when in doubt, seen by others at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghtrader_base.errors import UsageError
from ghtrader_runtime.accounts.kill_switch import FILE_NAME, KillSwitch, parse


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
        tripped = parse(whole[:cut]).tripped
        assert tripped == (0 < cut < len(whole)), cut  # an unfinished trip counts, an unfinished reset does not
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
