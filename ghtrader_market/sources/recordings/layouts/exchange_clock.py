"""Works out when a row was printed from its trading day, the calendar date beside it, and the exchange's clock.

Loggers of CTP write what the exchanges send, and at night these disagree: DCE puts the trading day into both dates,
CZCE the calendar date, and many files have no calendar date. The trading day and the time of day say all there is: an
evening belongs to the trading day before, the hours after midnight to the calendar day after that one.
"""

from __future__ import annotations

import numpy as np

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.reference.trading_calendar import DAY_CHANGE_NS, NS_PER_DAY, NS_PER_HOUR, TradingCalendar

_MORNING_NS = 6 * NS_PER_HOUR


def are_trading_days(days: np.ndarray, of_day_ns: np.ndarray) -> bool:
    """Whether a column of dates holds trading days: its evenings come before the day sessions of the same date.

    Parameters
    ----------
    days : datetime64[D][n]
        In file order.
    of_day_ns : int64[n]
        Times of day.
    """
    evening = of_day_ns >= DAY_CHANGE_NS
    for day in np.unique(days[evening]):
        of_date = days == day
        by_day = of_date & (of_day_ns >= _MORNING_NS) & ~evening
        if by_day.any():
            return bool(np.argmax(of_date & evening) < np.argmax(by_day))
    return False


def evenings_alone(days: np.ndarray, of_day_ns: np.ndarray) -> bool:
    """Whether there are evenings, and no row of a day session under the date of any; as `are_trading_days`."""
    evening = of_day_ns >= DAY_CHANGE_NS
    by_day = (of_day_ns >= _MORNING_NS) & ~evening
    return bool(evening.any()) and not np.isin(days[evening], days[by_day]).any()


def printed_ns(
    trading_days: np.ndarray, of_day_ns: np.ndarray, calendar: TradingCalendar, name: str, column: str
) -> np.ndarray:
    """ns of Shanghai's wall clock, from trading days and times of day.

    Parameters
    ----------
    trading_days : datetime64[D][n]
    of_day_ns : int64[n]
    calendar : TradingCalendar
    name, column : str
        For errors.

    Returns
    -------
    int64[n]

    Raises
    ------
    BadRecordingError
        A trading day that does not trade.
    """
    unique, inverse = np.unique(trading_days, return_inverse=True)
    days = unique.tolist()
    for day in days:
        if not calendar.is_trading_day(day):
            raise BadRecordingError(
                f"{name}, column {column}: {day} is not a trading day", "correct that column, or leave it out"
            )
    before = np.array([calendar.previous_day(day) for day in days], dtype="datetime64[D]")[inverse]
    dates = trading_days.copy()
    evening, early = of_day_ns >= DAY_CHANGE_NS, of_day_ns < _MORNING_NS
    dates[evening] = before[evening]
    dates[early] = before[early] + 1
    return wall_ns(dates, of_day_ns)


def dated_ns(
    dates: np.ndarray,
    trading_days: np.ndarray,
    of_day_ns: np.ndarray,
    calendar: TradingCalendar,
    name: str,
    column: str,
) -> np.ndarray:
    """ns of Shanghai's wall clock, from calendar dates that may be wrong at night, and trading days beside them.

    By the trading days, where each date is its trading day or, at night, lies between the trading day before and it:
    DCE prints the trading day, loggers keep the evening's date after midnight. Else by the dates, and whoever holds
    them against the trading days says so.

    Arguments, errors as `printed_ns`; `dates` datetime64[D][n].
    """
    unique, inverse = np.unique(trading_days, return_inverse=True)
    known = all(calendar.is_trading_day(day) for day in unique.tolist())
    before = np.array([calendar.previous_day(day) for day in unique.tolist()], dtype="datetime64[D]")[inverse]
    night = (of_day_ns >= DAY_CHANGE_NS) | (of_day_ns < _MORNING_NS)
    near = (dates >= np.where(night, before, trading_days)) & (dates <= trading_days)
    if not known or not near.all():
        return wall_ns(dates, of_day_ns)
    return printed_ns(trading_days, of_day_ns, calendar, name, column)


def wall_ns(dates: np.ndarray, of_day_ns: np.ndarray) -> np.ndarray:
    """int64[n], ns of the wall clock: dates datetime64[D][n] and times of day int64[n]."""
    ns: np.ndarray = dates.astype(np.int64) * NS_PER_DAY + of_day_ns
    return ns


def next_days(dates: np.ndarray, calendar: TradingCalendar) -> np.ndarray:
    """datetime64[D][n]: the trading day after each date."""
    unique, inverse = np.unique(dates, return_inverse=True)
    following: np.ndarray = np.array([calendar.next_day(day) for day in unique.tolist()], dtype="datetime64[D]")
    return following[inverse]
