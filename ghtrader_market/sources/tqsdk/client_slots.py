"""Limits how many TqSdk clients run at once on this machine: flock slots in the user's state folder, over all homes.

The vendor counts connections an account, not processes or folders. A slot belongs to the client's own process: it
inherits the locked descriptor, so that the kernel frees it when that process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ghtrader_base.files import ensure_dir
from ghtrader_base.locks import holder_of, is_held, lock_path, open_lock_file, try_flock, write_holder
from ghtrader_base.settings import Settings


def slots_folder(settings: Settings) -> Path:
    """Where the slots of this user lie."""
    return settings.user_state / "tqsdk-clients"


def _name(number: int) -> str:
    return f"tqsdk:client={number}"


class ClientSlot:
    """The right to run one client, held by this process until it is given to the client's or closed.

    Attributes
    ----------
    fd : int
        The locked descriptor, to be inherited.
    """

    def __init__(self, fd: int, name: str, purpose: str) -> None:
        self.fd = fd
        self._name, self._purpose = name, purpose

    def give_to(self, pid: int) -> None:
        """It is the child's that inherited the descriptor; this process lets go of it."""
        write_holder(self.fd, self._name, self._purpose, pid)
        self.close()

    def close(self) -> None:
        """Let go of it."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self.fd)
            self.fd = -1


def take_slot(settings: Settings, purpose: str) -> ClientSlot | None:
    """A free slot of GHTRADER_MAX_PARALLEL_TQSDK_JOBS, or None where all are taken."""
    folder = ensure_dir(slots_folder(settings))
    for number in range(settings.max_parallel_tqsdk_jobs):
        fd = open_lock_file(lock_path(folder, _name(number)))
        if try_flock(fd):
            write_holder(fd, _name(number), purpose)
            return ClientSlot(fd, _name(number), purpose)
        os.close(fd)
    return None


def slot_holders(settings: Settings) -> list[str]:
    """Who has the slots now, a line each."""
    paths = [lock_path(slots_folder(settings), _name(number)) for number in range(settings.max_parallel_tqsdk_jobs)]
    return [str(holder_of(path) or "an unknown process") for path in paths if is_held(path)]
