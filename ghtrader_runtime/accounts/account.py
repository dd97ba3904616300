"""Resolves which account a gateway trades, where its durable state lives, and checks the gates of a real account.

An account that lives outside (TqKq, a broker) is kept by broker and account under the user's state folder, so that
a second home meets the same locks, ledger and kill switch, and so does a second spelling of the same addresses. A paper
account lives inside its home.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ghtrader_base.errors import GhtraderError, IntegrityError, RefusedError, UsageError
from ghtrader_base.files import atomic_write_json, ensure_dir, read_json
from ghtrader_base.lock_keys import trade_key
from ghtrader_base.locks import is_held, lock_path
from ghtrader_base.plain_str_enum import read_word
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode, SimKind
from ghtrader_runtime.accounts.kill_switch import KillSwitch

_VENDOR = "shinnytech.com"
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_NAME = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


@dataclass(frozen=True)
class AccountRef:
    """One account: broker (`paper`, `tqkq`, `tqkq-<hash>`, `tqsim`, `live-<broker>`), name, and its state folder.

    `older` is a second folder of the same account that a version left which went by the spelling of addresses.
    """

    broker: str
    name: str
    state_dir: Path
    older: Path | None = None


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


def broker_name(settings: Settings, mode: RunMode, sim: SimKind = SimKind.TQKQ) -> str:
    """Name of the broker behind a mode.

    The simulated exchange's accounts are others than the vendor's: where the addresses are redirected, their hash is
    part of the name. A real account is one account whatever way leads to it: addresses count there only where the
    login is asked of this machine, as the simulated exchange has it. `UsageError` for a mode or simulation there is
    not.
    """
    mode, sim = read_word(RunMode, mode, "mode"), read_word(SimKind, sim, "simulation")
    addresses = (_plain_address(settings.tq_td_url), _plain_address(settings.tq_auth_url))
    real = mode == RunMode.LIVE and not _is_here(addresses[1])
    return _broker_name(settings, mode, sim, ("", "") if real else addresses)


def _broker_name(settings: Settings, mode: RunMode, sim: SimKind, addresses: tuple[str, str]) -> str:
    if mode == RunMode.PAPER:
        return "paper"
    live = f"live-{_short(settings.tq_broker_id) if settings.tq_broker_id else 'none'}"
    base = sim.value if mode == RunMode.SIM else live
    return f"{base}-{_short(*addresses)}" if any(addresses) else base


def _plain_address(address: str) -> str:
    """One spelling of an address; empty for the vendor's own, which is the default."""
    parts = urlsplit(address.strip() if "//" in address else f"//{address.strip()}")
    host = (parts.hostname or "").rstrip(".")
    if not host or host == _VENDOR or host.endswith(f".{_VENDOR}"):
        return ""
    host = "127.0.0.1" if host == "localhost" else host
    with contextlib.suppress(ValueError):
        port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
        return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
    return address.strip()  # no port a number names; whoever connects will say so


def _is_here(address: str) -> bool:
    """Whether a plain address is on this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(urlsplit(address).hostname or "").is_loopback
    return False


def account_ref(settings: Settings, name: str, mode: RunMode, sim: SimKind = SimKind.TQKQ) -> AccountRef:
    """The account called `name` in a mode; `UsageError` for a name that cannot be a folder."""
    if not _NAME.match(name) or name.startswith("."):
        raise UsageError(f"{name!r} is no account name", "letters, digits, dot, dash, underscore; at most 64")
    mode, sim = read_word(RunMode, mode, "mode"), read_word(SimKind, sim, "simulation")
    broker = broker_name(settings, mode, sim)
    if mode == RunMode.PAPER:
        return AccountRef(broker, name, settings.home / "accounts" / "paper" / name)
    folder = settings.account_state(broker, name)
    spelled = _broker_name(settings, mode, sim, (settings.tq_td_url, settings.tq_auth_url))
    older = settings.account_state(spelled, name)
    if spelled == broker or not older.is_dir():
        return AccountRef(broker, name, folder)
    if folder.exists():
        return AccountRef(broker, name, folder, older)
    try:
        return AccountRef(broker, name, _move(older, folder, name))
    except (OSError, GhtraderError):
        return AccountRef(spelled, name, older)


def _move(older: Path, folder: Path, name: str) -> Path:
    """Give a folder of an older name its new one, logins with it; where it lies now. One that is traded stays."""
    if is_held(lock_path(older, trade_key(name))):
        return older
    ensure_dir(folder.parent)
    for login in older.parent.glob("@login-*"):
        with contextlib.suppress(OSError):  # known there already
            os.rename(login, folder.parent / login.name)
    with contextlib.suppress(FileNotFoundError):  # another process of ours has just done it
        os.rename(older, folder)
    return folder


def all_refs(settings: Settings, name: str, mode: str | None = None) -> list[AccountRef]:
    """The account in every mode (or in `mode` alone): what the kill switch acts on.

    Without a mode these are the brokers of this configuration and every other one that was ever traded under that
    name, so that a shell without credentials can trip a switch too. `UsageError` for a mode there is not.
    """
    wanted = [read_word(RunMode, mode, "mode")] if mode else list(RunMode)
    pairs = [(one, sim) for one in wanted for sim in (SimKind if one == RunMode.SIM else (SimKind.TQKQ,))]
    refs = [account_ref(settings, name, one, sim) for one, sim in pairs]
    refs += [AccountRef(ref.older.parent.name, name, ref.older) for ref in refs if ref.older is not None]
    if mode is None:
        folders = refs[1].state_dir.parent.parent.glob(f"*/{name}")
        known = {ref.state_dir for ref in refs}
        refs += [AccountRef(f.parent.name, name, f) for f in sorted(folders) if f.is_dir() and f not in known]
        if not settings.tq_broker_id:
            refs = [ref for ref in refs if ref.broker != "live-none"]
    return refs


def login_of(settings: Settings, mode: RunMode, sim: SimKind) -> str:
    """What tells the account from others at its broker; empty for accounts that live inside a process."""
    if mode == RunMode.LIVE:
        return settings.tq_account_id
    return settings.tqsdk_user if mode == RunMode.SIM and sim == SimKind.TQKQ else ""


def bind_login(settings: Settings, ref: AccountRef, login: str) -> list[Path]:
    """Tie a login to the name it is traded under, so that no second name goes around locks and kill switch.

    A switch that was tripped in a folder of an older name trips this one.

    Returns
    -------
    list of Path
        Folders whose `trade` lock a gateway must hold: the account's, and the login's where there is one.

    Raises
    ------
    RefusedError
        The login is known under another name.
    """
    ensure_dir(ref.state_dir)
    ref.state_dir.chmod(0o700)
    if ref.older is not None and (told := KillSwitch(ref.older).read()).tripped:
        switch = KillSwitch(ref.state_dir)
        if not switch.read().tripped:
            switch.trip(f"tripped in {ref.older}: {told.reason}", by="gateway")
    if not login:
        return [ref.state_dir]
    folder = ref.state_dir.parent / f"@login-{_short(login)}"
    ensure_dir(folder)
    path = folder / "name.json"
    if path.exists():
        known = read_json(path)
        if not isinstance(known, dict) or "account" not in known:
            raise IntegrityError(f"{path} does not say which account it is", "delete it and start again")
        if known["account"] != ref.name:
            raise RefusedError(
                f"this login is traded as account {known['account']!r}, not {ref.name!r}",
                f"use --account {known['account']}, so that its kill switch and locks hold",
            )
    else:
        atomic_write_json(path, {"account": ref.name})
    return [ref.state_dir, folder]
