"""Answers until which trading day a natural person may hold a contract, and warns when that day is near.

Which rule a product has stands in `varieties.toml`; here it becomes a day of the calendar. That nothing is opened from
that day on is a rule of the trading core (`ghtrader_runtime/core/risk_rules.py`), which is handed the day.
"""

from __future__ import annotations

from datetime import date

from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import Variety

WARNING_DAYS = 10
"""Trading days before the last one from which on is warned."""


def last_holding_day(variety: Variety, contract: str, day: date, calendar: TradingCalendar) -> date | None:
    """The last trading day on which a natural person may hold a contract.

    Parameters
    ----------
    variety : Variety
        The contract's.
    contract : str
    day : date
        A trading day of the contract; decides the decade where the exchange prints one digit of the year.
    calendar : TradingCalendar
        Beyond its holiday list weekdays count as trading days, so the day may yet move to an earlier one.

    Returns
    -------
    date or None
        None where the exchange sets no such day (contracts settled in cash).

    Raises
    ------
    UsageError
        `contract` is none of the variety, or its year is not certain on `day`.
    """
    year, month = variety.delivery(contract, day)
    if variety.holding.days_before is None:
        return None
    provisional = calendar.assuming_weekdays
    last = provisional.previous_day(date(year, month, 1))
    for _ in range(variety.holding.days_before):
        last = provisional.previous_day(last)
    return last


def holding_warning(variety: Variety, contract: str, day: date, calendar: TradingCalendar) -> str:
    """What a person trading `contract` on trading day `day` has to know; empty more than `WARNING_DAYS` days before.

    Errors as `last_holding_day`.
    """
    last = last_holding_day(variety, contract, day, calendar)
    if last is None:
        return ""
    if day >= last:
        return f"{contract}: the last day a natural person may hold it is {last}: it is only closed, not opened"
    left = len(calendar.assuming_weekdays.days(day, last)) - 1
    if left > WARNING_DAYS:
        return ""
    doubt = "" if last <= calendar.last else f" (the holiday list ends on {calendar.last}, it may be earlier)"
    days = "1 trading day" if left == 1 else f"{left} trading days"
    return f"{contract}: a natural person may hold it until {last}, in {days}{doubt}; from then on it is only closed"


def no_open_from(variety: Variety, contract: str, day: date, calendar: TradingCalendar) -> str:
    """`last_holding_day` as the trading core is handed it: YYYY-MM-DD, empty where there is none. Errors as there."""
    last = last_holding_day(variety, contract, day, calendar)
    return "" if last is None else str(last)


def is_only_closed(variety: Variety, contract: str, day: date, calendar: TradingCalendar) -> bool:
    """Whether nothing of a contract is opened on trading day `day`, as the trading core has it. Errors as above."""
    last = last_holding_day(variety, contract, day, calendar)
    return last is not None and day >= last
