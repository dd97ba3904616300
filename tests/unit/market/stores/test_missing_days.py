"""The skip ledger: why a day is not here, how often it was tried, gone when it is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ghtrader_base.errors import IntegrityError
from ghtrader_market.sources.base import DAILY_BAR_SCHEMA
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import (
    SKIPPED_NAME,
    SkipEntry,
    add_no_data,
    add_skips,
    clear_skips,
    no_data_days,
    skipped_days,
    traded_by_bars,
)

SYMBOL = "SHFE.cu2502"
FIRST, SECOND = date(2025, 1, 6), date(2025, 1, 7)
NOW = datetime(2025, 1, 8, tzinfo=UTC)


def test_a_day_is_named_with_its_reason_and_counts_its_tries(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert skipped_days(lake, SYMBOL) == {}
    add_skips(lake, SYMBOL, {SECOND: ("partial", "10 of 20 lots")}, now=NOW)
    add_skips(lake, SYMBOL, {FIRST: ("timed-out", "60 s"), SECOND: ("no-ticks", "20 lots")}, now=NOW + timedelta(1))
    first, second = "2025-01-08T00:00:00+00:00", "2025-01-09T00:00:00+00:00"
    assert skipped_days(lake, SYMBOL) == {
        FIRST: SkipEntry("timed-out", "60 s", 1, second, second),
        SECOND: SkipEntry("no-ticks", "20 lots", 2, first, second),
    }
    assert list(skipped_days(lake, SYMBOL)) == [FIRST, SECOND]
    assert skipped_days(lake, SYMBOL, "ticks_l1") == {} == skipped_days(lake, "SHFE.cu2503")


def test_what_came_leaves_the_ledger_and_an_empty_ledger_the_disk(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    add_skips(lake, SYMBOL, {FIRST: ("partial", ""), SECOND: ("partial", "")})
    clear_skips(lake, SYMBOL, [FIRST])
    assert list(skipped_days(lake, SYMBOL)) == [SECOND]
    clear_skips(lake, SYMBOL, [SECOND])
    assert skipped_days(lake, SYMBOL) == {} and list(lake.key_path("ticks", SYMBOL).iterdir()) == []
    clear_skips(lake, SYMBOL, [SECOND])


def test_a_reason_nobody_defined_and_a_broken_ledger_are_errors(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    with pytest.raises(ValueError, match="no reason"):
        add_skips(lake, SYMBOL, {FIRST: ("because", "")})
    lake.key_path("ticks", SYMBOL).mkdir(parents=True)
    for text in ("[1]", '{"x": {}}', '{"2025-01-06": {"reason": "partial"}}', "{"):
        (lake.key_path("ticks", SYMBOL) / SKIPPED_NAME).write_text(text)
        with pytest.raises(IntegrityError):
            skipped_days(lake, SYMBOL)


@pytest.mark.parametrize("text", ["{", "[1]", '["2025-13-01"]', '{"2025-01-06": 1}', "[" * 100_000, "null"])
def test_a_broken_list_of_empty_days_is_an_error(tmp_path: Path, text: str) -> None:
    lake = Lake(tmp_path)
    add_no_data(lake, SYMBOL, [FIRST])
    (lake.key_path("ticks", SYMBOL) / "_no_data_dates.json").write_text(text)
    with pytest.raises(IntegrityError):
        no_data_days(lake, SYMBOL)


def test_a_day_that_traded_by_its_bar_is_not_empty(tmp_path: Path) -> None:
    lake, bar = Lake(tmp_path), dict.fromkeys(DAILY_BAR_SCHEMA.names, 1)
    bars = [bar | {"symbol": SYMBOL, "trading_day": FIRST}, bar | {"symbol": "SHFE.cu2503", "trading_day": FIRST}]
    bars[1]["volume"] = 0
    table = pa.Table.from_pylist(bars, schema=DAILY_BAR_SCHEMA)
    lake.write_day("daily_bars", "cu", FIRST, table, source="test")
    assert traded_by_bars(lake, SYMBOL, [FIRST, SECOND]) == {FIRST}
    assert traded_by_bars(lake, "SHFE.cu2503", [FIRST, SECOND]) == set()


def test_empty_days_are_iso_dates_in_order(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    add_no_data(lake, SYMBOL, [SECOND])
    add_no_data(lake, SYMBOL, [FIRST, SECOND])
    assert no_data_days(lake, SYMBOL) == {FIRST, SECOND}
    path = lake.key_path("ticks", SYMBOL) / "_no_data_dates.json"
    assert path.read_text() == '[\n  "2025-01-06",\n  "2025-01-07"\n]\n'
    before = path.stat().st_ino
    add_no_data(lake, SYMBOL, [FIRST])
    assert path.stat().st_ino == before
