"""What files call a contract, and the dates that exchanges print at night."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.recordings.contract_names import contract_in_name, contract_name
from ghtrader_market.sources.recordings.layouts.exchange_clock import are_trading_days, next_days, printed_ns

HOUR = 3_600_000_000_000


@pytest.mark.parametrize(
    ("code", "exchange", "want"),
    [
        ("cu2502", "", "SHFE.cu2502"),
        ("CU2502", "", "SHFE.cu2502"),
        ("cu2502", "SHFE", "SHFE.cu2502"),
        ("SHFE.cu2502", "", "SHFE.cu2502"),
        ("cu2502.SHFE", "", "SHFE.cu2502"),
        ("CU2502.SHF", "", "SHFE.cu2502"),
        ("SHFE.cu.2502", "", "SHFE.cu2502"),
        ("if2101.CFX", "", "CFFEX.IF2101"),
        ("IF2101", "CFFEX", "CFFEX.IF2101"),
        ("SR505", "", "CZCE.SR505"),
        ("SR2505.ZCE", "", "CZCE.SR505"),
        ("cu2502", "DCE", "DCE.cu2502"),
        ("zz2502", "", "zz2502"),
        ("KQ.m@SHFE.cu", "", "KQ.m@SHFE.cu"),
        ("", "SHFE", "SHFE."),
    ],
)
def test_one_contract_under_many_names(code: str, exchange: str, want: str) -> None:
    assert contract_name(code, exchange) == want


def test_a_files_name_may_say_the_contract() -> None:
    assert contract_in_name("20250106_CU2502.csv", None) == "SHFE.cu2502"
    assert contract_in_name("/data/2025/IF2101_20210104.csv.gz", "IF") == "CFFEX.IF2101"
    assert contract_in_name("SHFE.cu2502_20250106.parquet", None) == "SHFE.cu2502"
    assert contract_in_name("day2025.csv", None) is None
    assert contract_in_name("ticks.csv", None) is None


def test_evenings_before_the_day_of_the_same_date_are_of_a_trading_day() -> None:
    clock = np.array([21, 22, 9, 14]) * HOUR
    same = np.array(["2019-09-23"] * 4, "datetime64[D]")
    assert are_trading_days(same, clock)
    assert not are_trading_days(same[:2], clock[:2])  # the night alone says nothing
    by_date = np.array(["2019-09-20", "2019-09-20", "2019-09-23", "2019-09-23"], "datetime64[D]")
    assert not are_trading_days(by_date, clock)
    order = [2, 3, 0, 1]  # a calendar date: its day comes before its evening
    assert not are_trading_days(same[order], clock[order])


def test_a_friday_night_is_printed_on_friday_and_saturday() -> None:
    calendar = bundled_calendar()
    monday = np.array(["2019-09-23"] * 3, "datetime64[D]")
    found = printed_ns(monday, np.array([21, 0, 9]) * HOUR, calendar, "a", "TradingDay")
    assert found.astype("datetime64[ns]").astype("datetime64[h]").astype(str).tolist() == [
        "2019-09-20T21",
        "2019-09-21T00",
        "2019-09-23T09",
    ]
    assert next_days(np.array(["2019-09-20"], "datetime64[D]"), calendar).tolist() == [date(2019, 9, 23)]
