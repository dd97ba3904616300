"""Nothing on the way to a halt fails open: whatever the disk or a hand does, it is killed and orders are cancelled."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ghtrader_base.errors import UnwritableError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.accounts.kill_switch import FILE_NAME, KillSwitch, parse
from ghtrader_runtime.accounts.order_ledger import Ledger
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import WriteBinding
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.gateway.contract_binding import read_bound
from ghtrader_runtime.operator_views import kill_commands
from tests.support.failing_disk import ledger_held, no_flush_returns, nothing_grows, read_only
from tests.support.lock_step import CONTRACT
from tests.support.open_gateway import ACCOUNT, OpenGateway, open_gateway
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.clock


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings(home)


@contextlib.contextmanager
def lock_held(folder: Path) -> Iterator[None]:
    """Somebody else is writing the switch, for ever."""
    held = os.open(folder / "kill-write.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(held)


@contextlib.contextmanager
def a_folder_instead(folder: Path) -> Iterator[None]:
    """A folder stands where the file is."""
    (folder / FILE_NAME).rename(folder / "aside")
    (folder / FILE_NAME).mkdir()
    yield
    (folder / FILE_NAME).rmdir()
    (folder / "aside").rename(folder / FILE_NAME)


@contextlib.contextmanager
def no_space(folder: Path) -> Iterator[None]:
    """Not a byte is free; the file of the switch is gone, so that it asks for a block and an inode."""
    (folder / FILE_NAME).unlink()
    with (folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    yield
    (folder / "ballast").unlink()


@contextlib.contextmanager
def no_inode(folder: Path) -> Iterator[None]:
    """No file can be made; that of the switch and its lock are gone."""
    for name in (FILE_NAME, "kill-write.lock"):
        (folder / name).unlink(missing_ok=True)
    made = []
    with contextlib.suppress(OSError):
        for number in range(10_000):
            made.append(folder / f"inode-{number}")
            made[-1].touch()
    yield
    for path in made:
        path.unlink(missing_ok=True)


ANYBODY = {
    "the lock is held": lock_held, "the ledger is held": ledger_held, "nothing grows": nothing_grows,
    "a folder instead": a_folder_instead, "no flush returns": no_flush_returns, "read only": read_only,
}  # fmt: skip
MOUNTED = {"no space": no_space, "no inode": no_inode}
Trouble = Callable[[Path], contextlib.AbstractContextManager[None]]


@pytest.fixture
def mounts() -> Iterator[Callable[[Path], None]]:
    """Puts a small file system of its own under a folder; the test is skipped where nobody may mount."""
    mounted: list[Path] = []

    def mount(folder: Path) -> None:
        options = ["-t", "tmpfs", "-o", "size=4m,nr_inodes=64,mode=0700", "ghtrader-test"]
        if subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False).returncode:
            pytest.skip("a file system of its own needs the rights to mount one")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def halted(gateway: OpenGateway) -> None:
    """It is killed, and nothing works any more."""
    assert gateway.executor.core.state.killed and gateway.executor.killed
    assert gateway.context.kill.read().tripped
    assert gateway.executor.core.state.trading_state is TradingState.HALTED
    assert not gateway.resting, "what worked was cancelled"


def recovered(gateway: OpenGateway) -> bool:
    """Whether all that the disk owes is written; one more try."""
    gateway.executor.durable._retry_at = 0.0
    gateway.turn()
    return not gateway.executor.durable.failure


def a_loss_trips(settings: Settings, trouble: Trouble, before: Callable[[Path], None] | None = None) -> None:
    with open_gateway(settings, before) as gateway:
        folder = gateway.state_dir
        gateway.rest_an_order()
        with trouble(folder):
            began = time.monotonic()
            gateway.lose()
            halted(gateway)
            assert time.monotonic() - began < 3.0, "nobody is waited for"
            gateway.turn()
            gateway.play()
            halted(gateway)
        until(lambda: recovered(gateway), "the disk recovers")
        halted(gateway)
        state = KillSwitch(folder).read()
        assert state.tripped and state.reason.startswith("lost "), "the disk follows when it can"
        file = parse((folder / FILE_NAME).read_bytes())
        assert file.last.tripped and file.last.reason == state.reason and not file.damage, "and not in the ledger alone"
        assert gateway.executor.durable.failure == ""
        reset(gateway, settings)


@pytest.mark.parametrize("trouble", ANYBODY)
def test_a_loss_halts_whatever_is_in_the_way(settings: Settings, trouble: str) -> None:
    a_loss_trips(settings, ANYBODY[trouble])


@pytest.mark.parametrize("trouble", MOUNTED)
def test_a_loss_halts_on_a_full_disk(settings: Settings, trouble: str, mounts: Callable[[Path], None]) -> None:
    a_loss_trips(settings, MOUNTED[trouble], mounts)


def by_hand(gateway: OpenGateway, settings: Settings) -> list[kill_commands.SwitchStatus]:
    """`kill trip` beside a running gateway."""
    return gateway.during(lambda: kill_commands.trip(settings, ACCOUNT, "by hand"))


def reset(gateway: OpenGateway, settings: Settings) -> None:
    """`kill reset` beside it."""
    (row,) = gateway.during(lambda: kill_commands.reset(settings, ACCOUNT, "looked, fine", "paper"))
    assert row.told and not row.tripped
    assert not gateway.executor.core.state.killed and not gateway.executor.killed


@pytest.mark.parametrize("trouble", ["nothing grows", "a folder instead", "no flush returns"])
def test_by_hand_it_reaches_the_running_gateway_and_every_other_broker(settings: Settings, trouble: str) -> None:
    with open_gateway(settings) as gateway:
        gateway.rest_an_order()
        with ANYBODY[trouble](gateway.state_dir):
            rows = {row.broker: row for row in by_hand(gateway, settings)}
            halted(gateway)
        paper = rows.pop("paper")
        assert paper.told and paper.unwritten, "and it says what could not be written"
        assert rows, "the other brokers' switches were not left out"
        assert all(row.tripped for row in rows.values())
        assert all(bool(row.unwritten) == (trouble != "a folder instead") for row in rows.values())
        with pytest.raises(UnwritableError, match="paper: .* halted"):
            kill_commands.require_durable([paper])
        until(lambda: recovered(gateway), "the disk recovers")
        assert KillSwitch(gateway.state_dir).read().tripped


def test_a_trip_by_hand_halts_a_gateway_whose_disk_does_not_answer(settings: Settings) -> None:
    """The command's own line came to the file before; what the gateway is to write about it does not hold it up."""
    with open_gateway(settings) as gateway:
        gateway.rest_an_order()
        KillSwitch(gateway.state_dir).trip("by hand")
        with no_flush_returns(gateway.state_dir):
            for _ in range(5):
                gateway.turn()
            halted(gateway)
            gateway.running.publisher.publish()
            assert gateway.running.publisher.last.killed
        until(lambda: recovered(gateway), "the disk recovers")
        halted(gateway)


def test_an_order_whose_flush_does_not_return_is_not_sent_and_a_loss_then_halts(settings: Settings) -> None:
    with open_gateway(settings, max_position=3) as gateway:
        gateway.rest_an_order()
        sent = gateway.context.counts.orders
        with no_flush_returns(gateway.state_dir):
            book = gateway.executor.core.state.books[CONTRACT]
            gateway.executor.step(
                ev.OrderWanted(
                    session="by hand", revision=99, symbol=CONTRACT, side=1, offset="OPEN", volume=1,
                    now_ns=time.monotonic_ns(), price=book.bid - 100.0, tif="GFD",
                )
            )  # fmt: skip
            gateway.turn()
            assert gateway.context.counts.orders == sent and "does not answer" in gateway.executor.durable.failure
            assert gateway.executor.core.state.trading_state is TradingState.HALTED and not gateway.resting
            gateway.lose()
            halted(gateway)
        until(lambda: recovered(gateway), "the disk recovers")
        assert KillSwitch(gateway.state_dir).read().reason.startswith("lost ")


def test_a_bound_contract_whose_flush_does_not_return_holds_nobody_up(settings: Settings) -> None:
    """The last step of a roll: a loss in the middle of it halts as ever, and it is written once the disk recovers."""
    with open_gateway(settings) as gateway:
        gateway.rest_an_order()
        rolled = WriteBinding(CONTRACT, CONTRACT)
        with no_flush_returns(gateway.state_dir):
            done = threading.Thread(target=lambda: gateway.executor.carry_out([rolled]), daemon=True)
            done.start()
            done.join(PATIENCE_S)
            assert not done.is_alive() and "does not answer" in gateway.executor.durable.failure
            gateway.lose()
            halted(gateway)
        until(lambda: recovered(gateway), "the disk recovers")
        assert read_bound(gateway.state_dir, CONTRACT) == CONTRACT


def test_a_gateway_obeys_a_trip_by_hand_that_no_disk_took(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a disk that may only be read: the command changes nothing there, and has the bus alone."""
    with open_gateway(settings) as gateway:
        gateway.rest_an_order()

        def read_only(switch: KillSwitch, *given: object, **more: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        with monkeypatch.context() as patch:
            patch.setattr(KillSwitch, "_append", read_only)
            patch.setattr(KillSwitch, "_cut_off", lambda switch: None)
            patch.setattr(kill_commands, "note_kill_line", ledger_refuses)
            patch.setattr(Ledger, "_open_transaction", database_refuses)
            (row,) = gateway.during(lambda: kill_commands.trip(settings, ACCOUNT, "by hand", "paper"))
            halted(gateway)
            assert row.told and not row.tripped and row.unwritten == "Read-only file system"
            with pytest.raises(UnwritableError, match="its gateway has halted, a restart will not know of it"):
                kill_commands.require_durable([row])
        gateway.executor.durable._retry_at = 0.0
        gateway.turn()
        assert KillSwitch(gateway.state_dir).read().reason == "by hand"
        reset(gateway, settings)


def database_refuses(ledger: Ledger) -> None:
    raise sqlite3.OperationalError("attempt to write a readonly database")


def ledger_refuses(*given: object) -> None:
    raise UnwritableError("the ledger cannot be written: readonly")


SPOILS: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""), "blank": lambda path: path.write_bytes(b"\n"),
    "gone": lambda path: path.unlink(), "moved aside": lambda path: path.rename(path.with_name("aside")),
}  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_file_spoilt_under_a_running_gateway_halts_it_for_good(settings: Settings, spoil: str) -> None:
    with open_gateway(settings) as gateway:
        path = gateway.state_dir / FILE_NAME
        whole = path.read_bytes()
        gateway.rest_an_order()
        SPOILS[spoil](path)
        gateway.turn()
        halted(gateway)
        path.write_bytes(whole)
        gateway.turn()
        halted(gateway)
        assert KillSwitch(gateway.state_dir).read().tripped, "putting the old file back changes nothing"
        reset(gateway, settings)


def test_a_switch_tripped_before_it_is_emptied_holds_in_the_gateway_and_over_its_restart(settings: Settings) -> None:
    with open_gateway(settings) as gateway:
        folder = gateway.state_dir
        by_hand(gateway, settings)
        (folder / FILE_NAME).write_bytes(b"")
        gateway.turn()
        halted(gateway)
    (folder / FILE_NAME).unlink()
    with open_gateway(settings) as gateway:
        halted(gateway)
        assert gateway.context.kill.read().reason == "by hand"


def test_a_monitor_writes_no_switch(settings: Settings) -> None:
    with open_gateway(settings, monitor_only=True) as gateway:
        assert not (gateway.state_dir / FILE_NAME).exists()
        gateway.turn()
        assert not (gateway.state_dir / FILE_NAME).exists()
