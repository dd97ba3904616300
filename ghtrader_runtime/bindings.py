"""Which contract a symbol stands for: a contract for itself, a main series for the contract of the day."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ghtrader_base.errors import FailedError
from ghtrader_market.calendar import TradingCalendar
from ghtrader_market.roll import load_schedule
from ghtrader_market.symbols import parse_symbol
from ghtrader_market.varieties import variety_of


def contract_to_trade(data_dir: Path, symbol: str, calendar: TradingCalendar, day: date | None = None) -> str:
    """The contract behind `symbol` on a trading day.

    Parameters
    ----------
    data_dir : Path
        The lake, which keeps the roll schedule.
    symbol : str
        `SHFE.cu2502` stands for itself, `KQ.m@SHFE.cu` for the main contract.
    day : date, optional
        Trading day; None is the first day after the schedule's last bars, the one that trades next.

    Raises
    ------
    FailedError
        The schedule is missing or does not reach the day: never a guess.
    """
    if not parse_symbol(symbol).continuous:
        return symbol
    variety = variety_of(symbol)
    schedule = load_schedule(data_dir, variety.key)
    upcoming = calendar.next_day(schedule.days[-1].day) if schedule.days else None
    if schedule.next_contract and (day is None or day == upcoming):
        return schedule.next_contract
    if day is None:
        raise FailedError(
            f"the roll schedule of {variety.key} does not say what trades next",
            f"refresh it: ghtrader main-schedule --var {variety.key}, or name a contract",
        )
    return schedule.contract_on(day).contract
