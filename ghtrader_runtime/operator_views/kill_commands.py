"""Trips and resets an account's kill switch from outside, with or without a running gateway.

A trip goes to every broker and to every running gateway, whatever the disk says on the way.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ghtrader_base.errors import ConfigError, GhtraderError, UnwritableError, UsageError, in_words
from ghtrader_base.lock_keys import trade_key
from ghtrader_base.locks import is_held, lock_path
from ghtrader_base.plain_str_enum import read_word
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode
from ghtrader_runtime.accounts.account import AccountRef, all_refs
from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.accounts.disk_thread import DiskThread
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.accounts.ledger_kill_line import note_kill_line
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.messages import KILL_TRIP, Ack, Command
from ghtrader_runtime.bus.sockets import ask
from ghtrader_runtime.core.actions import AnswerStatus


def _gateway_runs(ref: AccountRef) -> bool:
    """Whether one holds the account's lock; one that nobody can look at counts as held, and the gateway is asked."""
    try:
        return is_held(lock_path(ref.state_dir, trade_key(ref.name)))
    except ConfigError:  # it ends neither a trip nor what follows for the other brokers
        return True


@dataclass(frozen=True, kw_only=True)
class SwitchStatus:
    """The kill switch of an account at one broker.

    Attributes
    ----------
    account, broker : str
    tripped : bool
    reason, since, by : str
        Why, when (ISO) and by whom it was tripped or reset last.
    gateway_running : bool
        Also where the account's lock cannot be looked at.
    told : bool, optional
        Whether a running gateway has acknowledged what was just done; None where nothing was.
    unwritten : str
        Why the disk did not take what was just done; empty where it did.
    """

    account: str
    broker: str
    tripped: bool
    reason: str
    since: str
    by: str
    gateway_running: bool
    told: bool | None = None
    unwritten: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json` and tables."""
        absent = {"told": None, "unwritten": ""}
        return {name: value for name, value in asdict(self).items() if name not in absent or value != absent[name]}


def _status(ref: AccountRef, told: bool | None = None, unwritten: str = "") -> SwitchStatus:
    state = KillSwitch(ref.state_dir).read()
    return SwitchStatus(
        account=ref.name, broker=ref.broker, tripped=state.tripped, reason=state.reason, since=state.since,
        by=state.by, gateway_running=_gateway_runs(ref), told=told, unwritten=unwritten,
    )  # fmt: skip


def status(settings: Settings, account: str | None, mode: str | None = None) -> list[SwitchStatus]:
    """The switch of an account, one row for each broker of this configuration; None: of every account there is.

    UsageError for a mode there is not, whether or not there are accounts.
    """
    if mode is not None:
        mode = read_word(RunMode, mode, "--mode")
    names = [account] if account is not None else sorted({ref.name for ref in known_accounts(settings)})
    refs = [ref for name in names for ref in all_refs(settings, name, mode)]
    return [_status(ref) for ref in refs if account or ref.state_dir.is_dir()]


def known_accounts(settings: Settings) -> list[AccountRef]:
    """Accounts that were ever traded, or whose switch was touched: those of this home and those that live outside."""
    folders = [*(settings.home / "accounts").glob("*/*"), *(settings.user_state / "accounts").glob("*/*")]
    plain = [folder for folder in sorted(folders) if folder.is_dir() and not folder.name.startswith("@")]
    return [AccountRef(folder.parent.name, folder.name, folder) for folder in plain]


def trip(settings: Settings, account: str, reason: str, mode: str | None = None) -> list[SwitchStatus]:
    """Trip it everywhere (or in one mode): durable first, then a running gateway is told.

    Returns
    -------
    list of SwitchStatus
        With `told`: whether a running gateway has acknowledged it. It looks at the file before each
        order anyway. With `unwritten` where the file could not be written: a gateway that was told halts all the same,
        and writes it once the disk recovers.

    Raises
    ------
    UsageError
        There is no reason, no such mode, no such account name.
    """
    if not reason.strip():
        raise UsageError("the kill switch wants a reason", "add --reason TEXT")
    rows = []
    for ref in all_refs(settings, account, mode):
        disk = DiskThread("kill-switch")  # a disk that does not answer keeps no gateway and no other broker waiting
        switch, unwritten = KillSwitch(ref.state_dir, disk), ""
        try:
            switch.trip(reason)
        except (OSError, GhtraderError) as exc:
            unwritten = in_words(exc)
        told = _tell(settings, ref, reason, KILL_TRIP)
        disk.do(partial(_note, ref, switch))
        rows.append(_status(ref, told, unwritten))
    return rows


def _note(ref: AccountRef, switch: KillSwitch) -> None:
    """Have the account's ledger know the newest line; where it refuses, a gateway does it as it sees the line."""
    with contextlib.suppress(GhtraderError, OSError):
        if switch.known is not None:
            note_kill_line(ref.state_dir, switch.known)


def reset(settings: Settings, account: str, reason: str, mode: str | None = None) -> list[SwitchStatus]:
    """Reset it everywhere (or in one mode).

    Raises
    ------
    UnwritableError, ConfigError
        The disk refuses, or something else lies where a file is expected: what is tripped stays tripped.
    """
    rows = []
    for ref in all_refs(settings, account, mode):
        switch = KillSwitch(ref.state_dir)
        if switch.read().tripped:
            try:
                switch.reset(reason)
            except OSError as exc:
                raise UnwritableError(_stays(ref, exc), "make room, and reset it again") from exc
            except (ConfigError, UnwritableError) as exc:
                raise type(exc)(_stays(ref, exc), exc.hint) from exc
            _note(ref, switch)
        rows.append(_status(ref, _tell(settings, ref, reason)))
    return rows


def _stays(ref: AccountRef, error: Exception) -> str:
    return f"the kill switch of {ref.name} at {ref.broker} stays tripped, it cannot be written: {in_words(error)}"


def _tell(settings: Settings, ref: AccountRef, reason: str, value: str = "") -> bool:
    """Whether a running gateway has acknowledged it."""

    def build(session: str) -> Command:
        return Command(
            session=session, revision=1, sent_ns=time.monotonic_ns(), name="kill", value=value, reason=reason
        )

    with contextlib.suppress(GhtraderError, OSError):
        if _gateway_runs(ref):
            answer = ask(endpoints(settings, ref.state_dir), build, token=read_token(ref.state_dir))
            return isinstance(answer, Ack) and answer.status is AnswerStatus.ACCEPTED
    return False


def require_durable(rows: list[SwitchStatus]) -> None:
    """`UnwritableError` where the disk refused a trip, saying of each broker what holds all the same."""
    refused = [row for row in rows if row.unwritten]
    if not refused:
        return

    def holds(row: SwitchStatus) -> str:
        gateway = "its gateway has halted" if row.told else "no gateway was reached"
        return f"{gateway}, {'it counts as tripped' if row.tripped else 'a restart will not know of it'}"

    named = "; ".join(f"{row.broker}: {row.unwritten} ({holds(row)})" for row in refused)
    raise UnwritableError(
        f"the kill switch of {refused[0].account} could not be written at {named}", "make room, then trip it again"
    )
