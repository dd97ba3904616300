"""The variety table: facts by contract and date, and what a broken table is told."""

from __future__ import annotations

from datetime import date

import pytest

from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_market.reference.symbols import Exchange
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


@pytest.mark.parametrize(("day", "today"), [
    (date(2015, 9, 2), 0.000023), (date(2015, 9, 7), 0.0023), (date(2017, 9, 18), 0.00069),
    (date(2018, 12, 3), 0.00046), (date(2023, 8, 25), 0.000345), (date(2023, 8, 28), 0.00023),
    (date(2026, 11, 27), 0.00023),
])  # fmt: skip
def test_closing_todays_lots_of_a_stock_index_costs_what_its_day_says(day: date, today: float) -> None:
    """Every notice so far named all products at once."""
    for key in ("IF", "IH", "IC", "IM"):
        contract = f"CFFEX.{key}{(day.year + 1) % 100}03"
        if key != "IM" or day >= date(2022, 7, 22):
            rates = get_variety(key).fees(contract, day)
            assert (rates.open_ratio, rates.close_ratio, rates.close_today_ratio) == (0.000023, 0.000023, today), key


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
    assert "SHFE cu, au, ag, al" in caught.value.hint and "CFFEX IF, IH" in caught.value.hint
    with pytest.raises(UsageError, match="no variety in the table"):
        variety_of("DCE.zz2505")
    with pytest.raises(UsageError, match="no contract of cu"):
        get_variety("cu").price_tick("SHFE.au2506", DAY)
    with pytest.raises(UsageError, match="continuous symbol"):
        get_variety("cu").fees("KQ.m@SHFE.cu", DAY)
    with pytest.raises(UsageError, match="no fees known"):
        get_variety("cu").fees("SHFE.cu9902", date(1999, 1, 4))


ROW = """
[shared.holding.metals]
days_before = 0
source = "x"

[zn]
name = "zinc"
exchange = "SHFE"
product = "zn"
multiplier = 5
source = "x"
needs_close_today = true
holding = "metals"
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


SECOND = ROW.partition("[zn]")[2]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("multiplier = 5\n", "", "missing field multiplier"),
        ("multiplier = 5\n", "multiplier = 5.5\n", "multiplier is 5.5 and no whole number"),
        ("multiplier = 5\n", "multiplier = true\n", "multiplier is True"),
        ("multiplier = 5\n", 'multiplier = "5"\n', "multiplier is '5'"),
        ("multiplier = 5\n", "multiplier = 0\n", "from 1 on"),
        ("multiplier = 5\n", "multiplier = 5\nlot = 5\n", "unknown field lot"),
        ("needs_close_today = true", 'needs_close_today = "false"', "needs_close_today is 'false'"),
        ("needs_close_today = true", "needs_close_today = false", "true at SHFE and INE"),
        ('exchange = "SHFE"', 'exchange = "LME"', "LME is no futures exchange"),
        ('exchange = "SHFE"', 'exchange = "CZCE"', "capitals"),
        ('product = "zn"', 'product = "ZN"', "small letters"),
        ('name = "zinc"', "name = 5", "name is 5 and no text"),
        ('name = "zinc"', 'name = " "', "no text"),
        ('holding = "metals"', 'holding = "mettals"', "unknown holding rule 'mettals'.*metals"),
        ("days_before = 0", "days_before = -1", r"\[shared\].*days_before is -1"),
        ("days_before = 0", "days = 0", r"\[shared\].*unknown field days"),
        ("[shared.holding.metals]", "[shared.holdings.metals]", r"\[shared\].*unknown field holdings"),
        ("open_lot = 3.0", "opne_lot = 3.0", "opne_lot"),
        ("open_lot = 3.0", "open_lot = -3.0", "open_lot is -3.0"),
        ("open_lot = 3.0", "open_lot = nan", "open_lot is nan"),
        ("open_lot = 3.0, ", "", "fees: a row without a figure"),
        ("2024-06-03", "2010-01-01", "two rows begin with the same day"),
        ("2024-06-03", "2009-01-01", "fees must be in order"),
        ("2024-06-03", '"2024-06-03"', "valid_from is '2024-06-03' and no date"),
        ("value = 5.0, ", "", "missing field value"),
        ("value = 5.0, ", "value = 0, ", "above 0"),
        ("value = 5.0, ", "value = 5.0, first_contract = 1913, ", "no delivery YYMM"),
        ('price_ticks = [{ value = 5.0, source = "x" }]', "price_ticks = []", "at least one row"),
        ('price_ticks = [{ value = 5.0, source = "x" }]', "price_ticks = 5.0", "at least one row"),
        ('price_ticks = [{ value = 5.0, source = "x" }]', "price_ticks = [5.0]", "no table"),
        ('value = 5.0, source = "x"', "value = 5.0", "missing field source"),
        ('["10:30", "11:30"]', '["10:00", "11:30"]', "overlap"),
        ('["10:30", "11:30"]', '["10:30", "11:60"]', "'11:60' is no time of day"),
        ('["10:30", "11:30"]', '["10:30"]', r"no \[start, end\)"),
        ('night = ["21:00", "25:00"]', 'night = ["21:00", "1:00"]', "backwards"),
        ('night = ["21:00", "25:00"]', 'night = ["21:00", 25]', "25 is no time of day"),
        ("hours = [{", 'hours = [{ valid_from = 2012-01-01, day = [["09:00", "10:15"]], source = "x" }, {', "in order"),
        ("hours = [{", 'hours = [{ valid_from = 2009-01-01, day = "metals", source = "x" }, {', "unknown day sessions"),
        ("hours = [{ valid_from = 2010-01-01,", "hours = [{", "valid_from"),
        ("ratio = 0.1", 'ratio = "a tenth"', "a tenth"),
        ("ratio = 0.1", "ratio = 10", "below 1"),
        ("[zn]", "[zn", "variety table"),
        ("[shared.holding.metals]", "al = 5\n[shared.holding.metals]", r"\[al\].*it is 5 and no table"),
        ("[zn]", f"[ZN]{SECOND}\n[zn]", "differs from .ZN. in case alone"),
        ("[zn]", f"[zinc]{SECOND}\n[zn]", "SHFE.zn is .zinc. already"),
    ],
)
def test_a_broken_table_is_refused_by_name(old: str, new: str, told: str) -> None:
    assert old in ROW
    with pytest.raises(ConfigError, match=told):
        parse_varieties(ROW.replace(old, new))


def test_the_table_covers_every_exchange_with_sources() -> None:
    varieties = all_varieties()
    assert len(varieties) >= 60 and {variety.exchange for variety in varieties} == set(Exchange)
    assert [variety.key for variety in varieties][:3] == ["cu", "au", "ag"]
    for variety in varieties:
        rows = (*variety._price_ticks, *variety._fees, *variety._margins, *variety.hours, variety.holding)
        assert variety.source and all(row.source for row in rows)
        assert variety.key == variety.product and variety.needs_close_today == (variety.exchange in ("SHFE", "INE"))
        contract = f"{variety.exchange}.{variety.product}{'701' if variety.exchange == 'CZCE' else '2701'}"
        assert variety.price_tick(contract, date(2026, 11, 30)) > 0
        assert 0 < variety.margin_ratio(contract, date(2026, 11, 30)) < 0.5
        rates = variety.fees(contract, date(2026, 11, 30))
        assert 0 <= rates.open_ratio < 1e-3 and 0 <= rates.open_lot <= 20 and 0 <= rates.close_today_lot <= 20
        assert (rates.open_ratio > 0) != (rates.open_lot > 0)


@pytest.mark.parametrize(
    ("contract", "tick", "multiplier", "night_end"),
    [
        ("INE.sc2503", 0.1, 1000, "26:30"),
        ("SHFE.rb2505", 1.0, 10, "23:00"),
        ("SHFE.ni2502", 10.0, 1, "25:00"),
        ("DCE.m2505", 1.0, 10, "23:00"),
        ("DCE.i2505", 0.5, 100, "23:00"),
        ("DCE.lh2505", 5.0, 16, ""),
        ("CZCE.SR505", 1.0, 10, "23:00"),
        ("CZCE.TA505", 2.0, 5, "23:00"),
        ("CZCE.AP505", 1.0, 10, ""),
        ("CFFEX.IC2502", 0.2, 200, ""),
        ("CFFEX.T2503", 0.005, 10000, ""),
        ("GFEX.lc2405", 50.0, 1, ""),
        ("GFEX.lc2505", 20.0, 1, ""),
    ],
)
def test_facts_of_every_exchange(contract: str, tick: float, multiplier: int, night_end: str) -> None:
    variety = variety_of(contract)
    assert (variety.price_tick(contract, DAY), variety.multiplier) == (tick, multiplier)
    night = variety.sessions_on(DAY).night
    hours, minutes = (int(part) for part in (night_end or "0:0").split(":"))
    assert (night[1] if night else 0) == (hours * 60 + minutes) * NS_PER_MINUTE


def test_the_pause_of_2020_took_the_nights_of_all_who_had_one() -> None:
    before, paused, last, again = (date.fromisoformat(text) for text in (
        "2020-01-23", "2020-02-03", "2020-05-06", "2020-05-07"
    ))  # fmt: skip
    had = [variety for variety in all_varieties() if variety.sessions_on(before).night]
    assert len(had) > 30
    for variety in had:
        assert variety.sessions_on(paused).night is variety.sessions_on(last).night is None
        assert variety.sessions_on(again).night == variety.sessions_on(before).night
    assert get_variety("pg").sessions_on(last).night is None and get_variety("pg").sessions_on(again).night
    assert len(get_variety("IF").hours) == 2 and len(get_variety("cu").hours) == 4


PAUSED = """
[shared.day]
short = [["09:00", "11:30"]]
[[shared.night_pauses]]
first = 2020-02-03
again = 2020-05-07
source = "pause"
"""


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (["2010-01-04 23"], ["2010-01-04 23", "2020-02-03 -", "2020-05-07 23"]),
        (["2010-01-04 -"], ["2010-01-04 -"]),
        (["2010-01-04 23", "2020-03-02 25"], ["2010-01-04 23", "2020-02-03 -", "2020-03-02 -", "2020-05-07 25"]),
        (["2010-01-04 23", "2020-05-07 25"], ["2010-01-04 23", "2020-02-03 -", "2020-05-07 25"]),
        (["2020-02-03 23"], ["2020-02-03 -", "2020-05-07 23"]),
        (["2020-06-01 23"], ["2020-06-01 23"]),
        (["2010-01-04 23", "2015-01-05 -"], ["2010-01-04 23", "2015-01-05 -"]),
    ],
)
def test_a_pause_leaves_the_nights_out_and_nothing_else(hours: list[str], expected: list[str]) -> None:
    rows = []
    for text in hours:
        day, _, end = text.partition(" ")
        night = "" if end == "-" else f'night = ["21:00", "{end}:00"], '
        rows.append(f'{{ valid_from = {day}, {night}day = "short", source = "x" }}')
    head, _, tail = ROW.partition("hours = [")
    text = PAUSED + head + f"hours = [{', '.join(rows)}]\n" + tail.partition("}]\n")[2]
    found = parse_varieties(text)["zn"].hours
    told = [f"{each.valid_from} {each.night[1] // NS_PER_MINUTE // 60 if each.night else '-'}" for each in found]
    assert told == expected and all(len(each.day) == 1 for each in found)
