"""Reports coverage: per contract and day what is here, how deep, how fresh; per main series what is built of it.

Read from the index and the small ledgers beside a contract's days, never from the days themselves. Which contracts
there are is `contract_catalog`'s answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ghtrader_base.errors import GhtraderError, IntegrityError
from ghtrader_market.inventory.contract_catalog import Known, all_contracts, load_snapshot
from ghtrader_market.reference.last_trading_day import last_trading_day
from ghtrader_market.reference.roll_schedule import load_schedule
from ghtrader_market.reference.tick_origin import UNKNOWN
from ghtrader_market.reference.tick_schema import LEVELS
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.base import RECORDED
from ghtrader_market.stores.lake.missing_days import SkipEntry, no_data_days, skipped_days
from ghtrader_market.stores.lake.unfinished_days import unfinished_days

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

STATES = ("not-downloaded", "incomplete", "stale", "complete")
"""Nothing here; days missing; only days after the last one here missing; nothing missing."""
MARKS = {
    "█": "a week whole, with depth",
    "▒": "whole, days with one level only",
    "▄": "days missing",
    "·": "nothing of it here",
    "-": "the source has no tick of it",
    "x": "days skipped, with a reason",
    "r": "days recorded live, not downloaded yet",
}
_NO_DAYS = np.zeros(0, "datetime64[D]")


@dataclass(frozen=True, kw_only=True)
class ContractRow:
    """A contract as `data contracts` lists it; days as ISO text.

    Attributes
    ----------
    symbol, state, source : str
    listed, expires : str, optional
    days, l5_days : int
        Trading days here, and those of them with real depth; their first and last.
    stale : bool
    written : str, optional
        When the newest day was written (ISO 8601).
    ticks_from : str
        Where the ticks come from: each market with its number of days.
    """

    symbol: str
    listed: str | None
    expires: str | None
    state: str
    days: int
    first_day: str | None
    last_day: str | None
    l5_days: int
    first_l5_day: str | None
    last_l5_day: str | None
    stale: bool
    source: str
    written: str | None
    ticks_from: str

    def to_json(self) -> dict[str, Any]:
        """For `--json` and tables."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ContractCoverage:
    """What is here of one contract.

    Attributes
    ----------
    symbol, origin : str
        The contract, and who told of it: service, bundled, disk.
    listed, expires : date, optional
        Its life; None where nobody knows it.
    state : str
        One of `STATES`.
    stale : bool
        Days have finished since the last one that is known of it.
    days : tuple of (date, levels, source)
        Trading days here, ascending.
    no_data : tuple of date
        Asked for, and the source has none.
    gaps : tuple of (first, last, trading days)
        Ranges that should be here and are not.
    skipped : dict
        Day -> why it could not be had.
    rows, bytes : int
    written : datetime, optional
        When the newest day was written.
    ticks_from : tuple of str
        Of each day, where its ticks come from, in words.
    unfinished : tuple of date
        Days our recorder did not record to their end: nothing is made of them.
    unreadable : tuple of str
        Ledgers of it that cannot be read, and why: its days without ticks or its skipped days are not known then.
    """

    symbol: str
    origin: str
    listed: date | None
    expires: date | None
    state: str
    stale: bool
    days: tuple[tuple[date, int | None, str], ...] = ()
    no_data: tuple[date, ...] = ()
    gaps: tuple[tuple[date, date, int], ...] = ()
    skipped: dict[date, SkipEntry] = field(default_factory=dict)
    rows: int = 0
    bytes: int = 0
    written: datetime | None = None
    ticks_from: tuple[str, ...] = ()
    unfinished: tuple[date, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def deep_days(self) -> list[date]:
        """Days with real depth."""
        return [day for day, levels, _ in self.days if levels is not None and levels >= LEVELS]

    @property
    def end(self) -> date | None:
        """Its last trading day, or the last one known of it where nobody knows that; None where nothing is."""
        known = [*(day for day, _, _ in self.days), *self.no_data]
        return self.expires or max(known, default=None)

    @property
    def missing_days(self) -> int | None:
        """Days that should be here and are not; None where there may be some, and nobody knows the ends of its life."""
        found = sum(count for _, _, count in self.gaps)
        unsure = self.state == "incomplete" and None in (self.listed, self.expires)
        return found or (None if unsure else 0)

    @property
    def recorded(self) -> list[date]:
        """Days our recorder wrote."""
        return [day for day, _, source in self.days if source == RECORDED]

    def brief(self) -> ContractRow:
        """The row of `data contracts`."""
        deep, ends = self.deep_days, [day for day, _, _ in self.days]
        return ContractRow(
            symbol=self.symbol,
            listed=_text(self.listed),
            expires=_text(self.expires),
            state=self.state,
            days=len(ends),
            first_day=_text(ends[0] if ends else None),
            last_day=_text(ends[-1] if ends else None),
            l5_days=len(deep),
            first_l5_day=_text(deep[0] if deep else None),
            last_l5_day=_text(deep[-1] if deep else None),
            stale=self.stale,
            source=self.origin,
            written=self.written.isoformat(timespec="seconds") if self.written else None,
            ticks_from=_counted(self.ticks_from),
        )

    def to_json(self) -> dict[str, Any]:
        """The same and every day: the row of `data coverage`."""
        return {
            **self.brief().to_json(),
            "rows": self.rows,
            "bytes": self.bytes,
            "present": [{"day": str(day), "levels": levels, "source": source} for day, levels, source in self.days],
            "origins": _days_by_origin((day for day, _, _ in self.days), self.ticks_from),
            "no_data": [str(day) for day in self.no_data],
            "gaps": [{"first": str(a), "last": str(b), "days": n} for a, b, n in self.gaps],
            "missing_days": self.missing_days,
            "skipped": [
                {"day": str(day), "reason": e.reason, "detail": e.detail, "tries": e.tries, "since": e.since}
                for day, e in self.skipped.items()
            ],
            "recorded": [str(day) for day in self.recorded],
            "unfinished": [str(day) for day in self.unfinished],
            "unreadable": list(self.unreadable),
        }


@dataclass(frozen=True, kw_only=True)
class SeriesCoverage:
    """Days of one data set of a main series (or of a contract, where features were built of one)."""

    dataset: str
    key: str
    days: tuple[date, ...]
    rows: int
    missing: tuple[date, ...]
    """Days of what it is made from that it does not have."""
    ticks_from: tuple[str, ...]
    """Of each day, where the ticks behind it come from, in words."""

    def to_json(self) -> dict[str, Any]:
        """For `data coverage`."""
        return {
            "key": self.key,
            "days": len(self.days),
            "rows": self.rows,
            "first_day": _text(self.days[0] if self.days else None),
            "last_day": _text(self.days[-1] if self.days else None),
            "present": [str(day) for day in self.days],
            "missing": [str(day) for day in self.missing],
            "ticks_from": _counted(self.ticks_from),
            "origins": _days_by_origin(self.days, self.ticks_from),
        }


def _days_by_origin(days: Iterable[date], origins: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for day, origin in zip(days, origins, strict=True):
        found.setdefault(origin, []).append(str(day))
    return found


def _counted(origins: Iterable[str]) -> str:
    """Each origin with its number of days; alone without one."""
    counted = Counter(origins)
    if len(counted) == 1:
        return next(iter(counted))
    return "; ".join(f"{words} ({count} days)" for words, count in counted.most_common())


def _text(day: date | None) -> str | None:
    return day.isoformat() if day else None


# ---- one contract ----


def state_of(wanted: np.ndarray, have: np.ndarray, empty: np.ndarray, redo: np.ndarray) -> tuple[str, bool, np.ndarray]:
    """How far a contract is.

    Parameters
    ----------
    wanted : datetime64[D][n]
        Trading days of its life that are over, ascending.
    have, empty, redo : datetime64[D]
        Days here, days known to be empty, days here that are still wanted (recorded ones); each ascending.

    Returns
    -------
    state : str
        One of `STATES`.
    stale : bool
        The last wanted days are neither here nor empty.
    missing : datetime64[D]
        Wanted days that are neither here nor empty.
    """
    missing = np.setdiff1d(wanted, np.union1d(have, empty), assume_unique=True)
    known = max((days[-1] for days in (have, empty) if len(days)), default=None)
    stale = bool(len(have) and len(wanted) and known is not None and known < wanted[-1])
    if not len(have):
        return "not-downloaded", False, missing
    if not len(missing) and not len(redo):
        return "complete", False, missing
    tail_only = stale and not len(redo) and bool((missing > known).all())
    return ("stale" if tail_only else "incomplete"), stale, missing


def ranges_of(days: np.ndarray, trading: np.ndarray) -> list[tuple[date, date, int]]:
    """Days as ranges (first, last, count) without a trading day of `trading` between; both datetime64[D], ascending."""
    if not len(days):
        return []
    place = np.searchsorted(trading, days)
    edges = np.flatnonzero(np.diff(place) != 1) + 1
    return [(part[0].item(), part[-1].item(), len(part)) for part in np.split(days, edges)]


class Coverage:
    """Coverage of one variety as it is at one moment.

    Parameters
    ----------
    lake : Lake
    calendar : TradingCalendar
    variety : str
    now : datetime, optional
        This machine's time; what is over by then is wanted. A simulated service's own clock wins.
    """

    def __init__(self, lake: Lake, calendar: TradingCalendar, variety: str, now: datetime | None = None) -> None:
        self.lake, self.calendar = lake, calendar
        self.variety = get_variety(variety)
        self.snapshot = load_snapshot(lake.root, self.variety.key)
        self.as_of = self.snapshot.last_finished(calendar, now or datetime.now(UTC))

    def contracts(self, symbol: str = "") -> list[ContractCoverage]:
        """Every contract known, by expiry; one alone where `symbol` is given."""
        known = [k for k in all_contracts(self.lake, self.variety.key) if symbol in ("", k.info.symbol)]
        if not known:
            return []
        lists, summaries = self.lake.index.day_lists("ticks"), self.lake.index.summaries("ticks")
        origins = self.lake.index.origins("ticks")
        first = min(k.info.first_possible for k in known)
        trading = np.array(self.calendar.known_days(first, max(self.as_of, first)), dtype="datetime64[D]")
        return [
            self._contract(
                k, lists.get(k.info.symbol, []), summaries.get(k.info.symbol), trading, origins.get(k.info.symbol, {})
            )
            for k in known
        ]

    def _contract(
        self, known: Known, rows: Sequence[tuple[str, int | None, str]], summary: Any, trading: np.ndarray,
        origins: Mapping[str, str],
    ) -> ContractCoverage:  # fmt: skip
        info = known.info
        expires: date | None = info.expires
        if known.origin == "disk":  # the name alone says in which month it ends
            near = date.fromisoformat(rows[-1][0]) if rows else info.expires
            expires = last_trading_day(self.variety, info.symbol, near, self.calendar)
        life = [info.first_possible, min(expires or info.expires, self.as_of)]
        wanted = trading[np.searchsorted(trading, np.datetime64(life[0])) :]
        wanted = wanted[: np.searchsorted(wanted, np.datetime64(life[1]), side="right")]
        if summary is None and not self.lake.key_path("ticks", info.symbol).exists():
            return ContractCoverage(
                symbol=info.symbol,
                origin=known.origin,
                listed=info.listed,
                expires=expires,
                state="not-downloaded",
                stale=False,
            )
        have = _days(text for text, _, _ in rows)
        redo = _days(text for text, _, source in rows if source == RECORDED)
        unreadable: list[str] = []
        gone = _readable(no_data_days, self.lake, info.symbol, set[date](), unreadable)
        skipped = _readable(skipped_days, self.lake, info.symbol, dict[date, SkipEntry](), unreadable)
        empty = np.array(sorted(gone), dtype="datetime64[D]")
        state, stale, missing = state_of(wanted, have, empty, redo)
        if expires is None and len(have):
            state = "incomplete" if state == "stale" else state
            stale, missing = False, missing[missing < max(days[-1] for days in (have, empty) if len(days))]
        if info.listed is None and len(have):  # nobody knows whether it was listed before
            missing = missing[missing > min(days[0] for days in (have, empty) if len(days))]
        return ContractCoverage(
            symbol=info.symbol, origin=known.origin, listed=info.listed, expires=expires, state=state, stale=stale,
            days=tuple((day, levels, source) for day, (_, levels, source) in zip(have.tolist(), rows, strict=True)),
            no_data=tuple(empty.tolist()),
            gaps=tuple(ranges_of(missing, trading)) if len(have) else (),
            skipped=skipped,
            unreadable=tuple(unreadable),
            rows=summary.rows if summary else 0,
            bytes=summary.bytes if summary else 0,
            written=datetime.fromtimestamp(summary.written_ns / 1e9, UTC) if summary else None,
            ticks_from=tuple(origins.get(text, UNKNOWN.words) for text, _, _ in rows),
            unfinished=tuple(unfinished_days(self.lake, self.calendar, info.symbol)) if len(redo) else (),
        )  # fmt: skip

    def series(self) -> list[SeriesCoverage]:
        """main_l5, features and labels of the variety, and the one-level history of its continuous symbol."""
        main = self.variety.continuous_symbol
        prefixes = (main, f"{self.variety.exchange}.{self.variety.product}")
        made_from = {"main_l5": self._scheduled(), "features": None, "labels": None, "ticks_l1": frozenset()}
        found = []
        for dataset, sources in made_from.items():
            lists, summaries = self.lake.index.day_lists(dataset), self.lake.index.summaries(dataset)
            origins = self.lake.index.origins(dataset)
            keys = [key for key in lists if key.startswith(main) or key.rstrip("0123456789") in prefixes]
            if dataset == "main_l5" and not keys and sources:
                keys = [main]
            for key in keys:
                days = [date.fromisoformat(text) for text, _, _ in lists.get(key, [])]
                basis = sources if sources is not None else self._basis(key)
                missing = sorted(set(basis) - set(days))
                rows = summaries[key].rows if key in summaries else 0
                ticks_from = tuple(origins.get(key, {}).get(str(day), UNKNOWN.words) for day in days)
                found.append(
                    SeriesCoverage(
                        dataset=dataset, key=key, days=tuple(days), rows=rows, missing=tuple(missing),
                        ticks_from=ticks_from,
                    )
                )  # fmt: skip
        return found

    def _scheduled(self) -> frozenset[date]:
        """Scheduled days whose contract's ticks are here."""
        try:
            schedule = load_schedule(self.lake.root, self.variety.key)
        except GhtraderError:  # none yet, or a garbled one, which is for those who build from it to say
            return frozenset()
        lists = self.lake.index.day_lists("ticks")
        here = {(key, text) for key, rows in lists.items() for text, _, _ in rows}
        for key in {key for key, rows in lists.items() for _, _, source in rows if source == RECORDED}:
            here -= {(key, str(day)) for day in unfinished_days(self.lake, self.calendar, key)}
        return frozenset(day.day for day in schedule.days if (day.contract, str(day.day)) in here)

    def _basis(self, key: str) -> frozenset[date]:
        dataset, _, symbol = ("main_l5", "", key) if key.startswith("KQ.") else ("ticks", "", key)
        return frozenset(date.fromisoformat(text) for text, _, _ in self.lake.index.day_lists(dataset).get(symbol, []))

    def to_json(self, symbol: str = "") -> dict[str, Any]:
        """The whole as `data coverage --json` prints it."""
        series = self.series()
        document: dict[str, Any] = {
            "variety": self.variety.key,
            "as_of": str(self.as_of),
            "asked_at": self.snapshot.asked_at.isoformat() if self.snapshot.asked_at else None,
            "contracts": [item.to_json() for item in self.contracts(symbol)],
        }
        for dataset in ("main_l5", "features", "labels", "ticks_l1"):
            document[dataset] = [item.to_json() for item in series if item.dataset == dataset]
        return document


Found = TypeVar("Found")


def _readable(
    read: Callable[[Lake, str], Found], lake: Lake, symbol: str, otherwise: Found, unreadable: list[str]
) -> Found:
    """What one of a contract's ledgers says; where it cannot be read, why goes to `unreadable`."""
    try:
        return read(lake, symbol)
    except (IntegrityError, OSError) as error:
        unreadable.append(str(error))
        return otherwise


def _days(texts: Iterable[str]) -> np.ndarray:
    found = list(texts)
    return np.array(found, dtype="datetime64[D]") if found else _NO_DAYS


# ---- a picture ----


def picture(contracts: Iterable[ContractCoverage], calendar: TradingCalendar, last: date, weeks: int = 52) -> list[str]:
    """One line a contract, one character a calendar week (see `MARKS`), under a line that names the months.

    The last of them is the week of `last`; there are `weeks` of them, fewer where nothing older is here. Contracts of
    which nothing is known in those weeks are left out.
    """
    monday = last - timedelta(days=last.weekday())
    first = monday - timedelta(weeks=weeks - 1)
    contracts = list(contracts)
    told = {c.symbol: [*(day for day, _, _ in c.days), *c.no_data, *c.skipped] for c in contracts}
    shown = [c for c in contracts if any(first <= day <= last for day in told[c.symbol])]
    if shown:
        oldest = min(day for c in shown for day in told[c.symbol] if day >= first)
        first = oldest - timedelta(days=oldest.weekday())
        weeks = (monday - first).days // 7 + 1
    width = max((len(c.symbol) for c in shown), default=0)
    mondays = [first + timedelta(weeks=n) for n in range(weeks)]
    lines = [f"{'':{width}}  {_months(mondays)}"]
    for contract in shown:
        state = {day: (levels, source) for day, levels, source in contract.days}
        gone = {*contract.no_data}
        cells = []
        for start in mondays:
            week = calendar.known_days(start, start + timedelta(days=6))
            days = [day for day in week if day <= last and contract.end is not None and day <= contract.end]
            cells.append(_cell(days, state, gone, contract.skipped, contract.listed))
        lines.append(f"{contract.symbol:{width}}  {''.join(cells).rstrip()}")
    return lines


def _cell(
    days: list[date],
    here: dict[date, tuple[int | None, str]],
    empty: set[date],
    skipped: dict[date, SkipEntry],
    listed: date | None,
) -> str:
    days = [day for day in days if listed is None or day >= listed]
    if not days:
        return " "
    present = [here[day] for day in days if day in here]
    if any(day in skipped and day not in here for day in days):
        return "x"
    if any(source == RECORDED for _, source in present):
        return "r"
    missing = sum(day not in here and day not in empty for day in days)
    if missing:
        return "▄" if present else "·"
    if not present:
        return "-"
    return "█" if all(levels is not None and levels >= LEVELS for levels, _ in present) else "▒"


def _months(mondays: list[date]) -> str:
    line = [" "] * len(mondays)
    for n, day in enumerate(mondays):
        if n == 0 or day.month != mondays[n - 1].month:
            label = f"{day:%y-%m}" if n == 0 or day.month == 1 else f"{day:%m}"
            if all(c == " " for c in line[max(n - 1, 0) : n + len(label)]) and n + len(label) <= len(line):
                line[n : n + len(label)] = label
    return "".join(line).rstrip()
