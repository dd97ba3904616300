"""Answers on which day a contract trades last, where its exchange's rule is certain from the name alone.

What a service says goes first (`contract_catalog`); until when a person may hold is `holding_limits`' answer.
"""

from __future__ import annotations

from datetime import date, timedelta

from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.reference.varieties import Variety

_FRIDAY, _WEEK = 4, timedelta(weeks=1)


def last_trading_day(variety: Variety, contract: str, day: date, calendar: TradingCalendar) -> date | None:
    """The last day a contract trades.

    CFFEX: the third Friday of the delivery month for stock indices, the second for bonds, or the first trading day
    after it (contract specifications). The other exchanges' rules differ by product and by year.

    Parameters
    ----------
    variety : Variety
        The contract's.
    contract : str
    day : date
        A trading day of the contract; decides the decade where the exchange prints one digit of the year.
    calendar : TradingCalendar

    Returns
    -------
    date or None
        None where the rule is not known here, or the calendar does not reach that far.

    Raises
    ------
    UsageError
        `contract` is none of the variety, or its year is not certain on `day`.
    """
    year, month = variety.delivery(contract, day)
    if variety.exchange != "CFFEX":
        return None
    first = date(year, month, 1)
    friday = first + timedelta(days=(_FRIDAY - first.weekday()) % 7)
    friday += _WEEK * (2 if variety.holding.days_before is None else 1)
    if not calendar.first <= friday <= calendar.last:
        return None
    return calendar.next_day(friday - timedelta(days=1))
