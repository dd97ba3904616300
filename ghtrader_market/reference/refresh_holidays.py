"""Regenerates the bundled holiday list: `python -m ghtrader_market.reference.refresh_holidays`.

Weekdays on which Shanghai does not trade, as exchange_calendars' XSHG knows them, written to
`holidays.json` beside this file. Run it once a year when the next year's holidays are out and the library knows
them; nothing imports this at run time. Refreshing a home from the vendor's list is `holiday_list.refresh_holidays`.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

from ghtrader_base.files import SHARED_MODE, atomic_write_json

FIRST = date(2009, 12, 1)
"""A month before the first partition (2010-01-01), so that its day before is known."""
TARGET = Path(__file__).with_name("holidays.json")


def generate() -> dict[str, object]:
    """The bundled document: where it came from, the days it covers, and the holidays in between."""
    import exchange_calendars
    import pandas as pd

    calendar = exchange_calendars.get_calendar("XSHG", start=str(FIRST))
    last = calendar.last_session.date()
    holidays = pd.bdate_range(FIRST, last).difference(calendar.sessions)
    return {
        "source": f"exchange_calendars {exchange_calendars.__version__} XSHG, weekdays without a session",
        "first": str(FIRST),
        "last": str(last),
        "holidays": [str(day.date()) for day in holidays],
    }


if __name__ == "__main__":
    atomic_write_json(TARGET, generate(), SHARED_MODE)
    print(f"wrote {TARGET}")
