"""The last day of a contract, as its exchange published it."""

from __future__ import annotations

from datetime import date

import pytest

from ghtrader_base.errors import UsageError
from ghtrader_market.reference.last_trading_day import last_trading_day
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import get_variety


@pytest.mark.parametrize(
    ("contract", "expected"),
    [
        ("CFFEX.IF2101", date(2021, 1, 15)),
        ("CFFEX.IF2302", date(2023, 2, 17)),
        ("CFFEX.IC2206", date(2022, 6, 17)),
        ("CFFEX.IH2402", date(2024, 2, 19)),  # the Friday was a holiday
        ("CFFEX.T2103", date(2021, 3, 12)),
        ("SHFE.cu2502", None),
    ],
)
def test_the_day_is_the_exchanges(contract: str, expected: date | None) -> None:
    variety = get_variety(contract.partition(".")[2].rstrip("0123456789"))
    assert last_trading_day(variety, contract, date(2021, 1, 4), bundled_calendar()) == expected


def test_another_variety_is_refused_and_beyond_the_calendar_nothing_is_guessed() -> None:
    with pytest.raises(UsageError):
        last_trading_day(get_variety("IF"), "CFFEX.IC2101", date(2021, 1, 4), bundled_calendar())
    assert last_trading_day(get_variety("IF"), "CFFEX.IF9901", date(2098, 1, 4), bundled_calendar()) is None
