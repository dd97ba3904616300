"""Symbols as each exchange writes them: what is accepted, what is refused, and the decade of a one-digit year."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ghtrader_base.errors import UsageError
from ghtrader_market.inventory.contract_catalog import bundled_contracts
from ghtrader_market.reference.symbols import NEAR_MONTHS, NOTATIONS, Exchange, Symbol, continuous_symbol, parse_symbol
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import all_varieties, variety_of

LOWER = ("SHFE", "INE", "DCE", "GFEX")
UPPER = ("CZCE", "CFFEX")
SMALL, CAPITAL, DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"


def products(letters: str) -> st.SearchStrategy[str]:
    return st.text(letters, min_size=1, max_size=2)


names = st.tuples(st.sampled_from(LOWER), products(SMALL)) | st.tuples(st.sampled_from(UPPER), products(CAPITAL))


@st.composite
def contracts(draw: st.DrawFn) -> str:
    exchange, product = draw(names)
    year = draw(st.integers(0, 9)) if exchange == "CZCE" else draw(st.integers(0, 99))
    return f"{exchange}.{product}{year:0{1 if exchange == 'CZCE' else 2}d}{draw(st.integers(1, 12)):02d}"


series = st.builds(lambda name, kind: f"KQ.{kind}@{name[0]}.{name[1]}", names, st.sampled_from("mi"))


def is_symbol(text: str) -> bool:
    """The same grammar, character by character."""
    rest, is_series = text, False
    for prefix in ("KQ.m@", "KQ.i@"):
        if text.startswith(prefix):
            rest, is_series = text[len(prefix) :], True
    exchange, point, name = rest.partition(".")
    letters = SMALL if exchange in LOWER else CAPITAL if exchange in UPPER else ""
    product = name.rstrip(DIGITS)
    delivery = name[len(product) :]
    named = bool(point and letters) and 1 <= len(product) <= 2 and all(letter in letters for letter in product)
    if is_series:
        return named and not delivery
    return named and len(delivery) == (3 if exchange == "CZCE" else 4) and 1 <= int(delivery[-2:]) <= 12


@given(contracts() | series)
def test_what_an_exchange_writes_round_trips(text: str) -> None:
    symbol = parse_symbol(text)
    assert str(symbol) == text and parse_symbol(str(symbol)) == symbol
    assert symbol.continuous == text.startswith("KQ.") and symbol.index == text.startswith("KQ.i@")
    if not symbol.continuous:
        assert 1 <= symbol.month <= 12


@given(
    st.text(max_size=14)
    | st.text("SHFECZINDKQG.@mi&- " + SMALL[:4] + "RCP0123459\n\u0661", max_size=14)
    | st.builds(
        lambda text, place, put: text[: place % len(text)] + put + text[place % len(text) + 1 :],
        contracts() | series, st.integers(0, 20), st.text("aAzZ059.@&-\n \u0661\uff12", max_size=2),
    )
)  # fmt: skip
@example("SHFE.cu2502\n")
@example("SHFE.cu\uff12\uff15\uff10\uff12")
@example("KQ.m@SHFE.cu2502")
@example("CZCE.SR2501")
@example("SHFE.cu502")
def test_no_other_string_is_a_symbol(text: str) -> None:
    try:
        accepted = str(parse_symbol(text)) == text
    except UsageError as error:
        assert error.exit_code == 2 and error.hint
        accepted = False
    assert accepted == is_symbol(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SHFE.cu2502C70000", "option"),
        ("DCE.m2505-C-3000", "option"),
        ("DCE.m2505-MS-P-3000", "option"),
        ("CZCE.SR501P6000", "option"),
        ("CFFEX.IO2501-C-3500", "option"),
        ("GFEX.si2505-P-10000", "option"),
        ("DCE.SP a2505&a2509", "combination"),
        ("CZCE.IPS SF501&SM501", "combination"),
        ("DCE.SPC y2505&p2505", "combination"),
        ("SHFE.CU2502", "small letters"),
        ("CZCE.sr501", "capitals"),
        ("CZCE.SR2501", "3 digits"),
        ("CFFEX.IF501", "4 digits"),
        ("SHFE.cu2513", "13 is no month"),
        ("SSE.cu2502", "SSE is no futures exchange"),
        ("shfe.cu2502", "no symbol"),
        ("SHFE.cu", "no symbol"),
        ("cu2502", "no symbol"),
        ("", "no symbol"),
    ],
)
def test_what_is_refused_is_named(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        parse_symbol(text)
    assert "is no symbol" in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    ("text", "day", "delivery"),
    [
        ("CZCE.SR501", date(2024, 6, 3), (2025, 1)),
        ("CZCE.SR501", date(2025, 1, 14), (2025, 1)),
        ("CZCE.SR501", date(2014, 6, 3), (2015, 1)),
        ("CZCE.SR501", date(2026, 11, 30), (2025, 1)),
        ("CZCE.SR005", date(2019, 12, 31), (2020, 5)),
        ("CZCE.SR912", date(2020, 1, 2), (2019, 12)),
        ("SHFE.cu2502", date(2016, 1, 4), (2025, 2)),
        ("CFFEX.IF0001", date(2016, 1, 4), (2000, 1)),
    ],
)
def test_the_day_tells_the_decade(text: str, day: date, delivery: tuple[int, int]) -> None:
    assert parse_symbol(text).delivered(day) == delivery


def test_a_decade_that_no_day_tells_is_refused_with_both_named() -> None:
    with pytest.raises(UsageError, match="CZCE.SR501 may be 2015-01 or 2025-01") as caught:
        parse_symbol("CZCE.SR501").delivered(date(2020, 1, 6))
    assert "36 months" in caught.value.hint
    with pytest.raises(UsageError, match="2025-01 or 2035-01"):
        parse_symbol("CZCE.SR501").delivered(date(2028, 2, 1))
    assert parse_symbol("CZCE.SR501").delivered(date(2028, 1, 31)) == (2025, 1)
    with pytest.raises(UsageError, match="continuous"):
        parse_symbol("KQ.m@CZCE.SR").delivered(date(2025, 1, 6))


@given(contracts().filter(lambda text: text.startswith("CZCE")), st.dates(date(2005, 1, 1), date(2095, 12, 31)))
def test_a_one_digit_year_is_near_its_day_or_refused(text: str, day: date) -> None:
    symbol = parse_symbol(text)
    candidates = [
        year for year in range(1990, 2120) if year % 10 == int(symbol.delivery[0])
        and abs((year - day.year) * 12 + symbol.month - day.month) <= NEAR_MONTHS
    ]  # fmt: skip
    try:
        assert [symbol.delivered(day).year] == candidates
    except UsageError:
        assert not candidates


def test_every_variety_is_written_as_its_exchange_writes_it() -> None:
    for exchange, notation in NOTATIONS.items():
        assert parse_symbol(notation.example).exchange == exchange
    for variety in all_varieties():
        delivery = "505" if variety.exchange == Exchange.CZCE else "2505"
        contract = f"{variety.exchange}.{variety.product}{delivery}"
        assert parse_symbol(contract) == Symbol(variety.exchange, variety.product, delivery)
        assert variety_of(contract) is variety is variety_of(variety.continuous_symbol)
        assert variety.delivery(contract, date(2025, 1, 6)) == (2025, 5)


def test_an_index_parses_and_belongs_to_no_variety() -> None:
    index = parse_symbol("KQ.i@SHFE.cu")
    assert index.index and index.continuous and str(index) == "KQ.i@SHFE.cu"
    assert continuous_symbol("SHFE", "cu") == "KQ.m@SHFE.cu"
    with pytest.raises(UsageError, match="is an index") as caught:
        variety_of("KQ.i@SHFE.cu")
    assert "KQ.m@SHFE.cu" in caught.value.hint


def test_the_vendors_list_of_expired_contracts_parses_and_expires_where_its_symbols_say() -> None:
    for variety in all_varieties():
        for info in bundled_contracts(variety.key):
            year, month = parse_symbol(info.symbol).delivered(info.expires)
            assert -1 <= (year - info.expires.year) * 12 + month - info.expires.month <= 1, info
            # The rule counts from the last trading day of the month before delivery; the vendor's list knows nothing of
            # public holidays there, nor of the Spring Festival that was lengthened in 2020.
            if variety.holding.days_before and info.expires.year >= 2018:
                last = bundled_calendar().previous_day(date(year, month, 1))
                assert 0 <= (info.expires - last).days <= 10, info
