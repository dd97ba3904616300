"""Says which days took no part in a data set, and why: what reports, bundles and runs tell of them.

What belongs here: the words. Which days these are is decided in `datasets.day_selection`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

_NAMED = 3


class LeftOutReason(StrEnum):
    """Why a day takes no part in a data set."""

    NO_TRADING_DAY = "no_trading_day"
    """The holiday list there is now calls it a holiday."""
    HORIZON_NOT_BUILT = "horizon_not_built"
    """It has no labels at the wanted horizon."""
    OTHER_DEPTH = "other_depth"
    """Its ticks have another number of book levels, and its factors are therefore others."""
    OTHER_FACTORS = "other_factors"
    """It was built with another factor set."""
    OTHER_LABELS = "other_labels"
    """It was built with another label definition."""
    NO_USABLE_ROW = "no_usable_row"
    """None of its rows is warm and labelled: locked at its limit all day, or too short."""


@dataclass(frozen=True, kw_only=True)
class LeftOutDay:
    """A day that takes no part.

    Attributes
    ----------
    day : date
        Trading day.
    reason : LeftOutReason
    detail : str
        For people: how the day differs from those that stay.
    """

    day: date
    reason: LeftOutReason
    detail: str

    def __str__(self) -> str:
        return f"{self.day}: {self.detail}"

    def to_dict(self) -> dict[str, str]:
        """JSON-able form."""
        return {"day": self.day.isoformat(), "reason": self.reason.value, "detail": self.detail}


def describe_left_out(left_out: Sequence[LeftOutDay], shown: int = _NAMED) -> str:
    """The first of them by day and reason, and how many more there are."""
    named = "; ".join(str(found) for found in left_out[:shown])
    more = len(left_out) - shown
    return f"{named}; and {more} more" if more > 0 else named
