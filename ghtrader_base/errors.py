"""Defines the errors, named by what the operator must do, each with the exit code a shell sees.

Exit codes (docs/reference/cli.md): 0 done; 1 it failed, or findings; 2 wrong usage or configuration;
3 refused by a safety gate, a lock or a kill switch; 4 a server that is needed is not reachable.
"""

from __future__ import annotations


class GhtraderError(Exception):
    """Base of every error a user may see.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence.
    hint : str
        What to do about it; may be empty.
    """

    exit_code: int = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[GhtraderError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class FailedError(GhtraderError):
    """The work was started and did not succeed."""


class UnwritableError(GhtraderError):
    """The disk refuses what must be written: it is read-only or failing, or as `DiskFullError` says."""


class DiskFullError(UnwritableError):
    """There is no room for what must be written: make room, and go on."""


class BadRecordingError(GhtraderError):
    """A file handed in is missing, garbled, or not what it claims to be: mend the file."""


class EmptyRecordingError(BadRecordingError):
    """A file handed in holds no tick, for example of a contract that did not trade: leave it out."""


class IntegrityError(GhtraderError):
    """Stored data is not what its manifest says: do not use it; rebuild or restore it."""


class PortInUseError(GhtraderError):
    """A server could not bind its port: stop the other one or choose another port."""


class UsageError(GhtraderError):
    """The command was asked for something that does not exist or makes no sense: correct the call."""

    exit_code = 2


class NotListedError(UsageError):
    """The service does not list what it was asked for, which no waiting mends: ask for another contract or variety."""


class BeyondCalendarError(UsageError):
    """The holiday list does not speak for a day that is needed, which is never guessed: refresh the list."""


class ConfigError(GhtraderError):
    """Settings, credentials or the home folder are wrong: correct the configuration."""

    exit_code = 2


class RefusedError(GhtraderError):
    """A gate said no: nothing was done."""

    exit_code = 3


class NoRoomError(RefusedError):
    """The disk has less room than the work needs at least: make room, or ask for less."""


class LockHeldError(RefusedError):
    """Somebody else is doing this: wait for the holder named, or stop it."""


class KillSwitchError(RefusedError):
    """The kill switch of the account is tripped: `ghtrader kill reset --reason ...` first."""


class UnreachableError(GhtraderError):
    """A server that is needed does not answer: start it."""

    exit_code = 4


class TimedOutError(UnreachableError):
    """A server was reached and did not answer in time: try again, or later."""


class ServerFullError(UnreachableError):
    """A server takes nothing more because its own disk is full: make room on its machine."""


class LoginRefusedError(UnreachableError):
    """A login service turns everybody away for now (maintenance, overload): try later."""


def in_words(exc: Exception) -> str:
    """What an error of ours or of the system says, without its number and file name."""
    if isinstance(exc, GhtraderError):
        return exc.message
    return getattr(exc, "strerror", None) or str(exc)


def error_from_name(name: str, message: str, hint: str = "") -> GhtraderError:
    """Rebuild an error that crossed a process boundary as text.

    Parameters
    ----------
    name : str
        Class name of one of this module's errors; an unknown one becomes `FailedError`.
    message, hint : str
        As the class takes them.
    """
    cls = globals().get(name)
    if isinstance(cls, type) and issubclass(cls, GhtraderError):
        return cls(message, hint)
    return FailedError(message, hint)
