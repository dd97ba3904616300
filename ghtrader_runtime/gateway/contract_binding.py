"""Resolves a symbol to the contract of a trading day, and keeps which contract an account may hold.

A contract stands for itself, a main series for what the roll schedule says, read anew from the lake each time it is
asked, since the pipeline extends the schedule while a gateway runs. The contract that an account may hold for a main
series is one small file beside the ledger, replaced in one step once all others are known to be flat, read at a start.
What it names and the day does not is closed before anything opens, so that a process that died in the middle of a roll
knows what it left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from ghtrader_base.errors import (
    ConfigError,
    FailedError,
    GhtraderError,
    IntegrityError,
    RefusedError,
    UnwritableError,
    in_words,
)
from ghtrader_base.files import atomic_write_json, content_hash, read_json
from ghtrader_market.main_series.next_contract import why_not_next
from ghtrader_market.reference.roll_schedule import RollSchedule, load_schedule
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.lake.manifests import LakeDays


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What is traded for a requested symbol on a trading day.

    Attributes
    ----------
    requested, contract : str
        `KQ.m@SHFE.cu` and `SHFE.cu2505`; twice the same where a contract was named.
    trading_day : date
    schedule_hash : str
        Of the schedule up to the day, or to its last day before; empty for a named contract.
    age : int
        Trading days from the schedule's last bars to the trading day: 1 is as fresh as can be, 0 a day of the past (or
        a named contract), -1 unknown.
    note : str
        What is wrong with it, for who only looks on; empty where nothing is.
    """

    requested: str
    contract: str
    trading_day: date
    schedule_hash: str = ""
    age: int = 0
    note: str = ""


def bind(requested: str, day: date, schedule: RollSchedule, calendar: TradingCalendar) -> Binding:
    """The contract of a main series on a trading day.

    A day of the schedule has its contract; a later one what trades next after the last bars, the older the staler.

    Raises
    ------
    FailedError
        The schedule says nothing of the day: never a guess.
    """
    last = schedule.days[-1] if schedule.days else None
    if last is not None and day > last.day and schedule.next_contract:
        age = len(calendar.days(last.day, day)) - 1
        return Binding(
            requested=requested,
            contract=schedule.next_contract,
            trading_day=day,
            schedule_hash=last.schedule_hash,
            age=age,
        )
    if last is not None and day > last.day:
        raise FailedError(
            f"the roll schedule of {schedule.variety} does not say what trades after {last.day}",
            f"refresh it: ghtrader main-schedule --var {schedule.variety}, or name a contract",
        )
    found = schedule.contract_on(day)
    return Binding(requested=requested, contract=found.contract, trading_day=day, schedule_hash=found.schedule_hash)


class ContractResolver:
    """Answers, day after day, what a gateway trades.

    Parameters
    ----------
    data_dir : Path
        The lake, which keeps the roll schedule.
    requested : str
        A contract, or a main series.
    calendar : TradingCalendar
    most_age : int
        Trading days; an older schedule is not traded by.
    monitor_only : bool
        Nothing is sent: go on with what is known, and say what is wrong with it.
    """

    def __init__(
        self, data_dir: Path, requested: str, calendar: TradingCalendar, most_age: int = 1, monitor_only: bool = False
    ) -> None:
        self.requested, self.continuous = requested, parse_symbol(requested).continuous
        self._data_dir, self._calendar = data_dir, calendar
        self._most_age, self._monitor_only = most_age, monitor_only
        self._variety = variety_of(requested)

    def first(self) -> str:
        """The contract to connect with, before the market has told its day: what trades next.

        Raises
        ------
        RefusedError
            There is no schedule that says so.
        """
        try:
            return contract_to_trade(self._data_dir, self.requested, self._calendar)
        except FailedError as exc:
            raise RefusedError(exc.message, exc.hint) from exc

    def on(self, day: date, current: str = "") -> Binding:
        """What is traded on `day`; `current` is what was until now.

        Raises
        ------
        RefusedError
            The schedule is missing, does not reach the day, or is older than allowed; not where nothing is ever sent
            and `current` is known.
        IntegrityError
            It is damaged; likewise.
        """
        if not self.continuous:
            return Binding(requested=self.requested, contract=self.requested, trading_day=day)
        try:
            schedule = _schedule(self._data_dir, self._variety.key, self._calendar)
            found = bind(self.requested, day, schedule, self._calendar)
        except GhtraderError as exc:
            if self._monitor_only and current:
                return Binding(requested=self.requested, contract=current, trading_day=day, age=-1, note=exc.message)
            if isinstance(exc, FailedError):
                raise RefusedError(exc.message, exc.hint) from exc
            raise
        if found.age <= self._most_age:
            return found
        note = (
            f"the roll schedule of {self._variety.key} ends {found.age} trading days before {day}, "
            f"{self._most_age} allowed"
        )
        if self._monitor_only:
            return Binding(
                requested=self.requested,
                contract=found.contract,
                trading_day=day,
                schedule_hash=found.schedule_hash,
                age=found.age,
                note=note,
            )
        raise RefusedError(
            note,
            f"refresh it: ghtrader main-schedule --var {self._variety.key}; or name a contract, or allow more: "
            "GHTRADER_SCHEDULE_MAX_AGE_DAYS",
        )


def contract_to_trade(data_dir: Path, symbol: str, calendar: TradingCalendar) -> str:
    """The contract that trades next for `symbol`: itself, or the main contract after the schedule's last bars.

    Raises
    ------
    FailedError
        The schedule is missing or does not say: never a guess.
    IntegrityError
        It is damaged, was edited, or says another contract than the daily bars.
    """
    if not parse_symbol(symbol).continuous:
        return symbol
    schedule = _schedule(data_dir, variety_of(symbol).key, calendar)
    if not schedule.days:
        raise FailedError(
            f"the roll schedule of {schedule.variety} has no day yet",
            f"download daily bars, then: ghtrader main-schedule --var {schedule.variety}",
        )
    if schedule.next_contract:
        return schedule.next_contract
    return bind(symbol, schedule.days[-1].day + timedelta(days=1), schedule, calendar).contract


def _schedule(data_dir: Path, variety: str, calendar: TradingCalendar) -> RollSchedule:
    """The schedule, where the stored bars do not gainsay what it says of the next day."""
    schedule = load_schedule(data_dir, variety)
    if why := why_not_next(LakeDays(data_dir), schedule, calendar):
        raise IntegrityError(
            f"the roll schedule of {variety} does not follow from its daily bars: {why}",
            f"make it again: ghtrader main-schedule --var {variety}; `ghtrader audit` tells more",
        )
    return schedule


def _path(state_dir: Path, requested: str) -> Path:
    symbol = parse_symbol(requested)
    return state_dir / f"bound-{symbol.exchange}.{symbol.product}.json"


def write_bound(state_dir: Path, requested: str, contract: str) -> None:
    """Durable when it returns; UnwritableError where the disk refuses."""
    body = {"requested": requested, "contract": contract}
    try:
        atomic_write_json(_path(state_dir, requested), {**body, "hash": content_hash(body)})
    except (OSError, ConfigError, UnwritableError) as exc:
        raise UnwritableError(f"the bound contract cannot be written: {in_words(exc)}", "make room") from exc


def read_bound(state_dir: Path, requested: str) -> str:
    """The contract, or an empty string where none was ever bound.

    Raises
    ------
    IntegrityError
        The file is damaged: what may be held is not known.
    """
    path = _path(state_dir, requested)
    if not path.exists():
        return ""
    document = read_json(path)
    body = {name: document.get(name) for name in ("requested", "contract")} if isinstance(document, dict) else {}
    if not body or document.get("hash") != content_hash(body) or body["requested"] != requested:
        raise IntegrityError(
            f"{path} is damaged: which contract of {requested} may be held is not known",
            "close at the broker what is held of other contracts than the day's, then move the file away",
        )
    return str(body["contract"])
