"""Keeps, beside a contract's days, which days a source could not give whole and which have no tick.

`_skipped_days.json`: days that could not be had, with why, since when and how often tried; gone once every day of it is
stored or known to be empty. A day in it holds nothing else up: it is listed by `data coverage` and asked for again by
every later download of it and by `update`. `_no_data_dates.json`: a sorted list of ISO dates that were asked for and
have no tick, never asked for again. A day that its daily bar shows traded and that comes without ticks is skipped, not
empty, and where the list says otherwise it is not believed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ghtrader_base.errors import GhtraderError, IntegrityError
from ghtrader_base.files import atomic_write_json, fsync_dir, read_json
from ghtrader_market.reference.varieties import variety_of

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

_BARS = "daily_bars"
SKIPPED_NAME = "_skipped_days.json"
REASONS: dict[str, str] = {
    "unreachable": "the quote service was not there, or stopped answering, for longer than a run waits for it",
    "login-refused": "the login service turned the client away for longer than a run waits for it",
    "timed-out": "the service answered others, but never this day",
    "source-error": "the client failed on this day and on no other",
    "no-ticks": "the daily bar says the contract traded, and not one tick came",
    "partial": "fewer lots in the ticks than in the daily bar, or rows missing between the first and the last",
    "disordered": "times run backwards",
    "bad-values": "negative counts, or cumulative volume or turnover that falls",
    "blank-rows": "rows without any price",
    "other-origin": "our recorder has the day from another market than the service serves now",
}
"""Every reason a day may be skipped for, and what it means."""


@dataclass(frozen=True)
class SkipEntry:
    """Why a day is not here.

    Attributes
    ----------
    reason : str
        One of `REASONS`.
    detail : str
        What was seen, for a person.
    tries : int
        Runs that asked for it in vain.
    since, last : str
        When the first and the last of them gave it up, ISO 8601 with zone.
    """

    reason: str
    detail: str
    tries: int
    since: str
    last: str


def _path(lake: Lake, symbol: str, dataset: str) -> Path:
    return lake.key_path(dataset, symbol) / SKIPPED_NAME


def skipped_days(lake: Lake, symbol: str, dataset: str = "ticks") -> dict[date, SkipEntry]:
    """Days that were skipped and not given since, ascending.

    Raises
    ------
    IntegrityError
        The ledger does not parse.
    """
    path = _path(lake, symbol, dataset)
    if not path.exists():
        return {}
    try:
        found = msgspec.convert(read_json(path), dict[str, SkipEntry])
        return {date.fromisoformat(day): found[day] for day in sorted(found)}
    except (ValueError, msgspec.ValidationError) as exc:
        raise IntegrityError(f"{path} is no skip ledger: {exc}", "delete it; its days are asked for again") from exc


def add_skips(
    lake: Lake, symbol: str, found: Mapping[date, tuple[str, str]], dataset: str = "ticks", now: datetime | None = None
) -> None:
    """Record days given up, each with its reason and detail; a day known already counts one try more."""
    stamp = (now or datetime.now().astimezone()).isoformat(timespec="seconds")
    known = skipped_days(lake, symbol, dataset)
    for day, (reason, detail) in found.items():
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is no reason to skip a day")
        before = known.get(day)
        known[day] = SkipEntry(
            reason, detail, before.tries + 1 if before else 1, before.since if before else stamp, stamp
        )
    if found:
        _store(lake, symbol, dataset, known)


def clear_skips(lake: Lake, symbol: str, days: Iterable[date], dataset: str = "ticks") -> None:
    """Forget days that are stored now, or known to be empty."""
    known = skipped_days(lake, symbol, dataset)
    left = {day: entry for day, entry in known.items() if day not in set(days)}
    if len(left) != len(known):
        _store(lake, symbol, dataset, left)


def _store(lake: Lake, symbol: str, dataset: str, entries: Mapping[date, SkipEntry]) -> None:
    path = _path(lake, symbol, dataset)
    if entries:
        atomic_write_json(path, {str(day): asdict(entries[day]) for day in sorted(entries)})
    else:
        path.unlink(missing_ok=True)
        fsync_dir(path.parent)


NO_DATA_NAME = "_no_data_dates.json"


def no_data_path(lake: Lake, symbol: str, dataset: str = "ticks") -> Path:
    """Where the days without a tick of a contract are listed."""
    return lake.key_path(dataset, symbol) / NO_DATA_NAME


def no_data_days(lake: Lake, symbol: str, dataset: str = "ticks") -> set[date]:
    """Days the source is known to have no tick of a contract for.

    Raises
    ------
    IntegrityError
        The ledger does not parse.
    """
    path = no_data_path(lake, symbol, dataset)
    if not path.exists():
        return set()
    try:
        return {date.fromisoformat(text) for text in msgspec.convert(read_json(path), list[str])}
    except (ValueError, msgspec.ValidationError) as exc:
        raise IntegrityError(f"{path} is no list of days: {exc}", "delete it; its days are asked for again") from exc


def traded_by_bars(lake: Lake, symbol: str, days: Iterable[date]) -> set[date]:
    """Those of some days on which a stored daily bar shows that the contract traded."""
    found, variety = set(), variety_of(symbol).key
    for day in days:
        with contextlib.suppress(GhtraderError):  # no bars, or damaged ones: they say nothing
            if lake.has_day(_BARS, variety, day):
                bars = lake.read_day(_BARS, variety, day, ["symbol", "volume"]).to_pylist()
                if any(bar["symbol"] == symbol and bar["volume"] for bar in bars):
                    found.add(day)
    return found


def add_no_data(lake: Lake, symbol: str, days: Iterable[date], dataset: str = "ticks") -> None:
    """Remember days as empty; the file is replaced in one step, and left alone where it knows them all."""
    known = no_data_days(lake, symbol, dataset)
    if not known.issuperset(days := set(days)):
        atomic_write_json(no_data_path(lake, symbol, dataset), [str(day) for day in sorted(known | days)])
