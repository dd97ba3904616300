"""The variety table: facts by contract and date, and what a broken table is told."""

from __future__ import annotations

from datetime import date

import pytest

from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_market.reference.varieties import NS_PER_MINUTE, all_varieties, get_variety, parse_varieties, variety_of

DAY = date(2025, 1, 6)


@pytest.mark.parametrize(
    ("key", "contract", "tick", "multiplier", "margin", "close_today"),
    [
        ("cu", "SHFE.cu2502", 10.0, 5, 0.10, True),
        ("au", "SHFE.au2506", 0.02, 1000, 0.10, True),
        ("ag", "SHFE.ag2506", 1.0, 15, 0.12, True),
        ("IF", "CFFEX.IF2501", 0.2, 300, 0.12, False),
    ],
)
def test_facts(key: str, contract: str, tick: float, multiplier: int, margin: float, close_today: bool) -> None:
    variety = get_variety(key)
    assert variety.price_tick(contract, DAY) == tick
    assert variety.multiplier == multiplier
    assert variety.margin_ratio(contract, DAY) == margin
    assert variety.needs_close_today is close_today
    assert variety_of(contract) is variety
    assert variety_of(variety.continuous_symbol) is variety


def test_gold_changed_its_price_tick_between_two_contracts() -> None:
    au = get_variety("au")
    assert au.price_tick("SHFE.au1911", date(2019, 10, 8)) == 0.05
    assert au.price_tick("SHFE.au1912", date(2019, 10, 8)) == 0.02


def test_fees_by_ratio_by_lot_and_for_closing_today() -> None:
    cu = get_variety("cu").fees("SHFE.cu2502", DAY)
    assert (cu.open_ratio, cu.close_ratio, cu.close_today_ratio, cu.open_lot) == (5e-5, 5e-5, 1e-4, 0.0)
    au = get_variety("au").fees("SHFE.au2506", DAY)
    assert (au.open_lot, au.close_lot, au.close_today_lot, au.open_ratio) == (10.0, 10.0, 0.0, 0.0)
    future = get_variety("IF").fees("CFFEX.IF2101", date(2021, 1, 4))
    assert (future.open_ratio, future.close_ratio, future.close_today_ratio) == (2.3e-5, 2.3e-5, 3.45e-4)
    assert "confirm" in get_variety("cu").fee_source("SHFE.cu2502", DAY)


def test_nights_pass_midnight() -> None:
    assert get_variety("cu").sessions.night == (21 * 60 * NS_PER_MINUTE, 25 * 60 * NS_PER_MINUTE)
    assert get_variety("au").sessions.night == (21 * 60 * NS_PER_MINUTE, (26 * 60 + 30) * NS_PER_MINUTE)
    assert get_variety("IF").sessions.night is None
    for variety in all_varieties():
        sessions = [*([variety.sessions.night] if variety.sessions.night else []), *variety.sessions.day]
        assert all(start < end for start, end in sessions)
    seconds = [
        (end - start) // 1_000_000_000
        for start, end in (get_variety("cu").sessions.night, *get_variety("cu").sessions.day)
    ]
    assert 2 * sum(seconds) == 55_800


def test_hours_change_with_their_date() -> None:
    cu, au, future = get_variety("cu"), get_variety("au"), get_variety("IF")
    nights = {day: cu.sessions_on(day).night is not None for day in map(date.fromisoformat, (
        "2010-01-04", "2013-12-20", "2013-12-23", "2020-01-23", "2020-02-03", "2020-05-06", "2020-05-07", "2026-01-05"
    ))}  # fmt: skip
    assert list(nights.values()) == [False, False, True, True, False, False, True, True]
    assert au.sessions_on(date(2013, 7, 5)).night is None and au.sessions_on(date(2013, 7, 8)).night is not None
    first, later = future.sessions_on(date(2015, 12, 31)).day, future.sessions_on(date(2016, 1, 4)).day
    assert (first[0][0], first[-1][1]) == ((9 * 60 + 15) * NS_PER_MINUTE, (15 * 60 + 15) * NS_PER_MINUTE)
    assert (later[0][0], later[-1][1]) == ((9 * 60 + 30) * NS_PER_MINUTE, 15 * 60 * NS_PER_MINUTE)
    assert cu.sessions_on(date(1989, 1, 1)) == cu.hours[0]
    assert all(hours.source for variety in all_varieties() for hours in variety.hours)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="unknown variety 'zz'") as caught:
        get_variety("zz")
    assert "cu, au, ag, IF" in caught.value.hint
    with pytest.raises(UsageError, match="no variety in the table"):
        variety_of("DCE.m2505")
    with pytest.raises(UsageError, match="no contract of cu"):
        get_variety("cu").price_tick("SHFE.au2506", DAY)
    with pytest.raises(UsageError, match="continuous symbol"):
        get_variety("cu").fees("KQ.m@SHFE.cu", DAY)
    with pytest.raises(UsageError, match="no fees known"):
        get_variety("cu").fees("SHFE.cu9902", date(1999, 1, 4))


ROW = """
[zn]
name = "zinc"
exchange = "SHFE"
product = "zn"
multiplier = 5
needs_close_today = true
hours = [{ valid_from = 2010-01-01, source = "x", night = ["21:00", "25:00"], day = [
  ["09:00", "10:15"], ["10:30", "11:30"],
] }]
price_ticks = [{ value = 5.0, source = "x" }]
margins = [{ valid_from = 2010-01-01, ratio = 0.1, source = "x" }]
fees = [
  { valid_from = 2010-01-01, open_lot = 3.0, source = "x" },
  { valid_from = 2024-06-03, open_lot = 4.0, source = "x" },
]
"""


def test_a_new_variety_is_a_new_table_and_fees_change_with_their_date() -> None:
    zinc = parse_varieties(ROW)["zn"]
    assert zinc.fees("SHFE.zn2410", date(2024, 5, 31)).open_lot == 3.0
    assert zinc.fees("SHFE.zn2410", date(2024, 6, 3)).open_lot == 4.0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("multiplier = 5\n", "", "multiplier"),
        ("open_lot = 3.0", "opne_lot = 3.0", "opne_lot"),
        ("value = 5.0, ", "", "missing field value"),
        ('["10:30", "11:30"]', '["10:00", "11:30"]', "overlap"),
        ("hours = [{", 'hours = [{ valid_from = 2012-01-01, day = [["09:00", "10:15"]], source = "x" }, {', "in order"),
        ("hours = [{ valid_from = 2010-01-01,", "hours = [{", "valid_from"),
        ("ratio = 0.1", 'ratio = "a tenth"', "a tenth"),
        ("[zn]", "[zn", "variety table"),
    ],
)
def test_a_broken_table_is_refused_by_name(old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_varieties(ROW.replace(old, new))
