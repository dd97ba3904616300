"""The roll rule: hand-made cases, and that a longer history changes no earlier day."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ghtrader_base.errors import FailedError, IntegrityError
from ghtrader_market.reference import roll_schedule
from ghtrader_market.reference.roll_schedule import (
    RollSchedule,
    load_schedule,
    main_after,
    missing_bar_days,
    open_interest_by_day,
    save_schedule,
    schedule_from_open_interest,
    schedule_path,
)
from ghtrader_market.reference.trading_calendar import TradingCalendar, bundled_calendar
from ghtrader_market.reference.varieties import get_variety

DAYS = bundled_calendar().days(date(2025, 1, 6), date(2025, 3, 31))


def bars(rows: list[tuple[str, date, float | None]]) -> pa.Table:
    symbols, days, lots = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table(
        {
            "symbol": pa.array(symbols, pa.string()),
            "trading_day": pa.array(days, pa.date32()),
            "open_interest": pa.array(lots, pa.float64()),
        }
    )


def of(interest: dict[str, list[float | None]]) -> pa.Table:
    """Bars of consecutive days from lists of open interest by delivery (`2502`); None is no bar."""
    return bars(
        [
            (f"SHFE.cu{delivery}", DAYS[i], lots)
            for delivery, row in interest.items()
            for i, lots in enumerate(row)
            if lots is not None
        ]
    )


def contracts(schedule: RollSchedule) -> list[str]:
    return [day.contract.removeprefix("SHFE.cu") for day in schedule.days]


def test_n_days_need_one_more_and_the_switch_is_the_day_after() -> None:
    schedule = schedule_from_open_interest("cu", of({"2502": [100, 100, 100, 100], "2503": [50, 110, 111, 200]}))
    assert [day.day for day in schedule.days] == DAYS[1:4]
    assert contracts(schedule) == ["2502", "2502", "2503"]  # 110 is not more than 1.1 x 100, 111 is
    assert [day.segment_id for day in schedule.days] == [0, 0, 1]
    assert schedule.next_contract == "SHFE.cu2503"
    assert schedule.contract_on(DAYS[3]).segment_id == 1
    assert schedule_from_open_interest("cu", of({"2502": [100]})).days == ()
    assert schedule_from_open_interest("cu", of({"2502": [100]})).next_contract == "SHFE.cu2502"


def test_ties_take_the_earlier_delivery_in_any_order_of_rows() -> None:
    table = of({"2504": [100, 150], "2503": [100, 150], "2502": [90, 100]})
    for order in ([0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]):
        assert contracts(schedule_from_open_interest("cu", table.take(pa.array(order)))) == ["2503"]


def test_never_back_to_an_expired_contract() -> None:
    stale = {"SHFE.cu2501": 900.0, "SHFE.cu2503": 10.0}
    assert main_after(stale, "SHFE.cu2503", (2025, 2)) == "SHFE.cu2503"
    assert main_after(stale, None, (2025, 2)) == "SHFE.cu2503"
    assert main_after(stale, "SHFE.cu2501", (2025, 2)) == "SHFE.cu2503"
    assert main_after({"SHFE.cu2501": 900.0}, None, (2025, 2)) is None


def test_a_main_contract_that_has_no_bar_any_more_hands_over() -> None:
    schedule = schedule_from_open_interest("cu", of({"2502": [100, 100, None], "2503": [5, 5, 5, 5]}))
    assert contracts(schedule) == ["2502", "2502", "2503"]


def test_rows_of_others_and_without_open_interest_are_passed_over() -> None:
    table = bars(
        [
            ("SHFE.cu2502", DAYS[0], 10.0),
            ("SHFE.au2502", DAYS[0], 999.0),
            ("KQ.m@SHFE.cu", DAYS[0], 999.0),
            ("SHFE.cu2503", DAYS[0], None),
            ("SHFE.cu2504", DAYS[0], float("nan")),
            ("SHFE.cu2502", DAYS[1], 10.0),
        ]
    )
    assert contracts(schedule_from_open_interest("cu", table)) == ["2502"]


def test_declared_days_are_segments_of_their_own() -> None:
    day = date(2021, 1, 4)
    recorded = bars([("CFFEX.IF2101", day, 90_751.0)])
    schedule = schedule_from_open_interest("IF", recorded, {day: "CFFEX.IF2101"})
    assert [(d.day, d.contract, d.segment_id, d.declared) for d in schedule.days] == [(day, "CFFEX.IF2101", 0, True)]
    table = of({"2502": [100] * 5})
    schedule = schedule_from_open_interest("cu", table, {DAYS[2]: "SHFE.cu2502"})
    assert contracts(schedule) == ["2502"] * 4
    assert [d.segment_id for d in schedule.days] == [0, 1, 2, 2]


def test_kept_and_read_again(tmp_path: Path) -> None:
    schedule = schedule_from_open_interest("cu", of({"2502": [100, 100, 50, 9], "2503": [50, 90, 200, 300]}))
    with pytest.raises(FailedError, match="no roll schedule of cu yet"):
        load_schedule(tmp_path, "cu")
    save_schedule(tmp_path, schedule)
    assert load_schedule(tmp_path, "cu") == schedule
    with pytest.raises(FailedError, match="does not have 2025-01-06: it has 2025-01-07 to 2025-01-09"):
        schedule.contract_on(DAYS[0])
    path = schedule_path(tmp_path, "cu")
    document = json.loads(path.read_text())
    document["days"][1]["contract"] = "SHFE.cu2509"
    path.write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="hashes"):
        load_schedule(tmp_path, "cu")
    path.write_text('{"days": [{}]}')
    with pytest.raises(IntegrityError, match="no roll schedule"):
        load_schedule(tmp_path, "cu")


histories = st.lists(
    st.lists(st.one_of(st.none(), st.integers(0, 300)), min_size=4, max_size=4), min_size=2, max_size=25
)
names = [f"SHFE.cu{delivery}" for delivery in (2501, 2502, 2503, 2504)]


def table_of(history: list[list[int | None]]) -> pa.Table:
    return bars(
        [
            (name, DAYS[i], float(lots))
            for i, row in enumerate(history)
            for name, lots in zip(names, row, strict=True)
            if lots is not None
        ]
    )


@given(histories, st.integers(1, 24))
def test_a_longer_history_changes_no_earlier_day(history: list[list[int | None]], cut: int) -> None:
    whole = schedule_from_open_interest("cu", table_of(history)).days
    part = schedule_from_open_interest("cu", table_of(history[:cut])).days
    assert whole[: len(part)] == part


@given(histories)
@example([[11, 10, None, None], [None] * 4, [10, 11, None, None], [10, 11, None, None]])
def test_every_day_follows_from_the_day_before(history: list[list[int | None]]) -> None:
    schedule = schedule_from_open_interest("cu", table_of(history))
    interest = {DAYS[i]: dict(zip(names, row, strict=True)) for i, row in enumerate(history)}
    with_bars = {day for day in interest if any(lots is not None for lots in interest[day].values())}
    segment, before, last = 0, None, None
    for day in schedule.days:
        yesterday = DAYS[DAYS.index(day.day) - 1]
        assert yesterday in with_bars and day.day in with_bars, "no day is scheduled over a hole"
        if last is not None and last != yesterday:
            segment, before = segment + 1, day.contract
        last = day.day
        lots = {name: n or 0 for name, n in interest[yesterday].items()}
        assert int(day.contract[-4:]) >= day.day.year % 100 * 100 + day.day.month
        alive = {name: n for name, n in lots.items() if int(name[-4:]) >= day.day.year % 100 * 100 + day.day.month}
        if before is None and yesterday == min(with_bars):
            assert lots[day.contract] == max(alive.values())
        elif before is None:  # days before a hole chose a main contract, which only a clear lead takes over from
            assert all(n <= 1.1 * lots[day.contract] for n in alive.values())
        elif day.contract != before:
            segment += 1
            assert lots[day.contract] == max(alive.values())
            assert before not in alive or lots[day.contract] > 1.1 * lots[before]
        else:
            assert all(n <= 1.1 * lots[before] for name, n in alive.items() if name != before)
        assert day.segment_id == segment
        before = day.contract
    hashes = [day.schedule_hash for day in schedule.days]
    assert len(set(hashes)) == len(hashes)


@given(histories)
def test_every_hole_is_named(history: list[list[int | None]]) -> None:
    table = table_of(history)
    with_bars = {DAYS[i] for i, row in enumerate(history) if any(lots is not None for lots in row)}
    holes = missing_bar_days("cu", table, bundled_calendar())
    span = [day for day in DAYS if with_bars and min(with_bars) <= day <= max(with_bars)]
    assert sorted({*holes, *with_bars}) == span and not with_bars.intersection(holes)
    scheduled = {day.day for day in schedule_from_open_interest("cu", table).days}
    assert not scheduled.intersection(holes)


def test_a_hole_ends_the_segment_and_the_rule_goes_on_behind_it() -> None:
    table = of({"2502": [100, 100, None, 100, 100, 9, 9], "2503": [50, 50, None, 105, 105, 105, 105]})
    schedule = schedule_from_open_interest("cu", table)
    assert missing_bar_days("cu", table, bundled_calendar()) == [DAYS[2]]
    # 105 is the most after the hole, and no roll: the rule remembers that 2502 is main.
    assert [day.day for day in schedule.days] == [DAYS[1], DAYS[4], DAYS[5], DAYS[6]]
    assert contracts(schedule) == ["2502", "2502", "2502", "2503"]
    assert [day.segment_id for day in schedule.days] == [0, 1, 1, 2]
    with pytest.raises(FailedError, match=f"does not have {DAYS[2]}"):
        schedule.contract_on(DAYS[2])
    declared = {DAYS[2]: "SHFE.cu2502"}
    assert missing_bar_days("cu", table, bundled_calendar(), declared) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(next_contract="SHFE.cu2512"),
        lambda document: document.update(next_contract=None),
        lambda document: document.update(rule="another"),
        lambda document: document["days"][1].update(declared=True),
        lambda document: document.update(checksum="0" * 64),
        lambda document: document.update(further=1),
    ],
)
def test_an_edit_that_no_hash_of_a_day_covers_is_found_out(tmp_path: Path, change: Callable[[Any], Any]) -> None:
    path = save_schedule(tmp_path, schedule_from_open_interest("cu", of({"2502": [100] * 4, "2503": [50] * 4})))
    assert load_schedule(tmp_path, "cu").has_checksum
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="edited|hashes"):
        load_schedule(tmp_path, "cu")


@pytest.mark.parametrize("following", ["SHFE.cu2412", "SHFE.au2506", "KQ.m@SHFE.cu", "cu2505", 5, ["SHFE.cu2503"]])
def test_a_next_contract_that_cannot_follow_is_refused(tmp_path: Path, following: object) -> None:
    path = save_schedule(tmp_path, schedule_from_open_interest("cu", of({"2502": [100] * 4})))
    document = json.loads(path.read_text()) | {"next_contract": following}
    del document["checksum"]
    path.write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="trade next|no roll schedule"):
        load_schedule(tmp_path, "cu")


def test_a_schedule_of_an_older_version_opens(tmp_path: Path) -> None:
    schedule = schedule_from_open_interest("cu", of({"2502": [100] * 4}))
    path = save_schedule(tmp_path, schedule)
    document = json.loads(path.read_text())
    del document["checksum"]
    path.write_text(json.dumps(document))
    assert load_schedule(tmp_path, "cu") == schedule and not load_schedule(tmp_path, "cu").has_checksum


def test_a_schedule_whose_segments_cannot_be_is_refused(tmp_path: Path) -> None:
    schedule = schedule_from_open_interest("cu", of({"2502": [100, 100, 50, 9], "2503": [50, 90, 200, 300]}))
    for segments in ([0, 0, 0], [0, 0, 2], [1, 1, 2], [0, 1, 0]):
        days = [(d.day, d.contract, segment, d.declared) for d, segment in zip(schedule.days, segments, strict=True)]
        save_schedule(tmp_path, RollSchedule("cu", roll_schedule._hashed("cu", days), None))
        with pytest.raises(IntegrityError, match="hashes"):
            load_schedule(tmp_path, "cu")


@given(histories, st.integers(0, 24))
def test_a_changed_day_changes_its_hash_and_all_later_ones(history: list[list[int | None]], at: int) -> None:
    days = schedule_from_open_interest("cu", table_of(history)).days
    if not days:
        return
    at %= len(days)
    declared = {days[at].day: "SHFE.cu2512"}
    changed = schedule_from_open_interest("cu", table_of(history), declared).days
    same = [a.schedule_hash == b.schedule_hash for a, b in zip(days, changed, strict=True)]
    assert same == [True] * at + [False] * (len(days) - at)
    assert changed[at].day - days[at].day == timedelta(0)


def test_contracts_with_a_one_digit_year_roll_by_the_decade_of_their_day() -> None:
    interest = {"CZCE.SR501": 100.0, "CZCE.SR505": 200.0, "CZCE.SR409": 900.0}
    assert main_after(interest, None, (2024, 10)) == "CZCE.SR505", "SR409 has expired"
    assert main_after(interest, "CZCE.SR501", (2024, 12)) == "CZCE.SR505"
    assert main_after({"CZCE.SR001": 100.0, "CZCE.SR911": 100.0}, None, (2019, 10)) == "CZCE.SR911", "the earlier one"
    assert main_after({"CZCE.SR001": 100.0, "CZCE.SR911": 500.0}, None, (2019, 12)) == "CZCE.SR001"


def test_the_last_day_of_the_holiday_list_has_a_contract_and_names_the_next() -> None:
    calendar = bundled_calendar()
    days = calendar.days(date(2026, 12, 28), date(2026, 12, 31))
    held = {"SHFE.cu2612": 999.0, "SHFE.cu2701": 5.0, "SHFE.cu2702": 9.0}
    rows = [(contract, day, lots) for day in days for contract, lots in held.items()]
    names = ("symbol", "trading_day", "open_interest")
    bars = pa.table({name: [row[at] for row in rows] for at, name in enumerate(names)})
    schedule = schedule_from_open_interest("cu", bars)
    assert [str(day.day) for day in schedule.days] == ["2026-12-29", "2026-12-30", "2026-12-31"]
    assert schedule.next_contract == "SHFE.cu2702", "a contract of December trades no more"
    longer = TradingCalendar([*calendar.holidays, date(2027, 1, 1)], calendar.first, date(2027, 12, 31))
    assert schedule_from_open_interest("cu", bars, calendar=longer) == schedule, "hashes too"


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_a_missing_open_interest_decides_no_roll(unknown: float | None) -> None:
    """The main contract has a bar each day, on one of them without open interest: it has not stopped trading."""
    days = bundled_calendar().days(date(2025, 1, 6), date(2025, 1, 9))
    bars = [
        {"symbol": symbol, "trading_day": day, "open_interest": lots}
        for number, day in enumerate(days)
        for symbol, lots in (("SHFE.cu2502", unknown if number == 1 else 100.0), ("SHFE.cu2503", 60.0))
    ]
    found = schedule_from_open_interest("cu", pa.Table.from_pylist(bars))
    assert [day.contract for day in found.days] == ["SHFE.cu2502"] * 3 and found.next_contract == "SHFE.cu2502"
    assert len({day.segment_id for day in found.days}) == 1
    without = [bar for bar in bars if bar["open_interest"] == bar["open_interest"] and bar["open_interest"]]
    stopped = schedule_from_open_interest("cu", pa.Table.from_pylist(without))
    assert "SHFE.cu2503" in {day.contract for day in stopped.days}, "a contract without a bar has stopped trading"


def test_the_bar_that_tells_counts_before_one_that_does_not() -> None:
    rows = [("SHFE.cu2502", None), ("SHFE.cu2502", 5.0), ("SHFE.cu2502", 3.0), ("SHFE.cu2502", None)]
    bars = [{"symbol": s, "trading_day": date(2025, 1, 6), "open_interest": lots} for s, lots in rows]
    assert open_interest_by_day(get_variety("cu"), pa.Table.from_pylist(bars)) == {
        date(2025, 1, 6): {"SHFE.cu2502": 5.0}
    }
