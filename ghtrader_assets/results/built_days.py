"""Says which days of a series a model can learn from: those that have features and labels."""

from __future__ import annotations

from datetime import date

from ghtrader_base.errors import FailedError
from ghtrader_market.stores.lake.manifests import LakeDays


def built_days(lake: LakeDays, symbol: str, start: str = "", end: str = "") -> list[date]:
    """Days of a series that have features and labels, inside a range of ISO dates (empty: no bound).

    Raises
    ------
    FailedError
        There are none.
    """
    both = set(lake.days("features", symbol)) & set(lake.days("labels", symbol))
    days = [day for day in sorted(both) if (not start or str(day) >= start) and (not end or str(day) <= end)]
    if not days:
        raise FailedError(
            f"no features and labels of {symbol} in this range", f"first: ghtrader build --symbol {symbol}"
        )
    return days
