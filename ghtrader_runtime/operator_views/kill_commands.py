"""Trips and resets an account's kill switch from outside, with or without a running gateway."""

from __future__ import annotations

import contextlib
import time
from dataclasses import asdict, dataclass
from typing import Any

from ghtrader_base.errors import ConfigError
from ghtrader_base.lock_keys import trade_key
from ghtrader_base.locks import is_held, lock_path
from ghtrader_base.settings import Settings
from ghtrader_runtime.accounts.account import AccountRef, all_refs
from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.accounts.kill_switch import KillSwitch
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.messages import Ack, Command
from ghtrader_runtime.bus.sockets import ask


def _gateway_runs(ref: AccountRef) -> bool:
    return is_held(lock_path(ref.state_dir, trade_key(ref.name)))


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
    told : bool, optional
        Whether a running gateway has acknowledged what was just done; None where nothing was.
    """

    account: str
    broker: str
    tripped: bool
    reason: str
    since: str
    by: str
    gateway_running: bool
    told: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """For `--json` and tables."""
        return {name: value for name, value in asdict(self).items() if name != "told" or value is not None}


def _status(ref: AccountRef, told: bool | None = None) -> SwitchStatus:
    state = KillSwitch(ref.state_dir).read()
    return SwitchStatus(
        account=ref.name, broker=ref.broker, tripped=state.tripped, reason=state.reason, since=state.since,
        by=state.by, gateway_running=_gateway_runs(ref), told=told,
    )  # fmt: skip


def status(settings: Settings, account: str | None, mode: str | None = None) -> list[SwitchStatus]:
    """The switch of an account, one row for each broker of this configuration; None: of every account there is."""
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
        order anyway.
    """
    rows = []
    for ref in all_refs(settings, account, mode):
        KillSwitch(ref.state_dir).trip(reason)
        rows.append(_status(ref, _tell(settings, ref, reason)))
    return rows


def reset(settings: Settings, account: str, reason: str, mode: str | None = None) -> list[SwitchStatus]:
    """Reset it everywhere (or in one mode)."""
    rows = []
    for ref in all_refs(settings, account, mode):
        if KillSwitch(ref.state_dir).read().tripped:
            KillSwitch(ref.state_dir).reset(reason)
        rows.append(_status(ref, _tell(settings, ref, reason)))
    return rows


def _tell(settings: Settings, ref: AccountRef, reason: str) -> bool:
    if not _gateway_runs(ref):
        return False

    def build(session: str) -> Command:
        return Command(
            session=session, revision=1, sent_ns=time.monotonic_ns(), name="kill", reason=reason,
            token=read_token(ref.state_dir),
        )  # fmt: skip

    with contextlib.suppress(ConfigError):
        return isinstance(ask(endpoints(settings, ref.state_dir), build), Ack)
    return False
