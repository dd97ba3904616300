"""Requested symbol to contract of the day, over random schedules: never two, never a guess, a roll exactly when due."""

from __future__ import annotations

import json
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import BeyondCalendarError, FailedError, IntegrityError, RefusedError
from ghtrader_base.files import with_checksum
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest, schedule_path
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_runtime.gateway.contract_binding import ContractResolver, bind, contract_to_trade

MAIN, CONTRACTS = "KQ.m@SHFE.cu", ("SHFE.cu2503", "SHFE.cu2504", "SHFE.cu2505", "SHFE.cu2506")
CALENDAR = bundled_calendar()
DAYS = CALENDAR.days(date(2025, 2, 10), date(2025, 4, 10))


def bars_of(interest: list[tuple[int, ...]], first: int = 0) -> pa.Table:
    """Bars of each day's open interest, day after day from `DAYS[first]` on."""
    rows = [
        (contract, DAYS[first + i], float(lots))
        for i, day in enumerate(interest)
        for contract, lots in zip(CONTRACTS, day, strict=True)
    ]
    symbol, day, lots = zip(*rows, strict=True)
    return pa.table({"symbol": list(symbol), "trading_day": list(day), "open_interest": list(lots)})


def schedule_of(interest: list[tuple[int, ...]], first: int = 0):
    """A schedule from each day's open interest, day after day from `DAYS[first]` on."""
    return schedule_from_open_interest("cu", bars_of(interest, first), calendar=CALENDAR)


interests = st.lists(st.tuples(*[st.integers(0, 300)] * len(CONTRACTS)), min_size=3, max_size=35)


@settings(max_examples=60, deadline=None)
@given(interests, st.integers(0, 5))
def test_one_contract_a_day_as_known_the_evening_before_and_for_ever_after(interest, first) -> None:
    whole = schedule_of(interest, first)
    for n in range(2, len(interest)):
        known = schedule_of(interest[:n], first)
        today = DAYS[first + n]
        if not known.days:
            continue
        assert known.days[-1].day == DAYS[first + n - 1]
        if known.next_contract is None:
            with pytest.raises(FailedError, match="what trades after"):
                bind(MAIN, today, known, CALENDAR)
            continue
        live = bind(MAIN, today, known, CALENDAR)
        later = bind(MAIN, today, whole, CALENDAR)
        assert (live.age, later.age) == (1, 0)
        assert live.contract == later.contract, "what traded live is what the schedule has afterwards"
        before = bind(MAIN, known.days[-1].day, known, CALENDAR)
        segments = [whole.contract_on(day).segment_id for day in (before.trading_day, today)]
        assert (live.contract != before.contract) == (segments[0] != segments[1]), "a roll exactly when it says so"
        assert before.schedule_hash == whole.contract_on(before.trading_day).schedule_hash == live.schedule_hash


@settings(max_examples=60, deadline=None)
@given(interests, st.integers(0, 12), st.integers(0, 4))
def test_an_old_schedule_stops_orders_and_is_told_to_who_looks_on(tmp_path_factory, interest, days, most) -> None:
    schedule = schedule_of(interest)
    if not schedule.days or schedule.next_contract is None:
        return
    data = tmp_path_factory.mktemp("lake")
    save_schedule(data, schedule)
    day = schedule.days[-1].day
    for _ in range(days):
        day = CALENDAR.next_day(day)
    traded = ContractResolver(data, MAIN, CALENDAR, most)
    watched = ContractResolver(data, MAIN, CALENDAR, most, monitor_only=True).on(day)
    assert watched.age == days
    if days > most:
        with pytest.raises(RefusedError, match=f"ends {days} trading days before {day}, {most} allowed"):
            traded.on(day)
        assert f"{most} allowed" in watched.note
    else:
        assert traded.on(day) == watched and not watched.note
    assert ContractResolver(data, CONTRACTS[0], CALENDAR, most).on(day).contract == CONTRACTS[0], (
        "a named contract is itself"
    )


def test_missing_short_and_damaged_schedules(tmp_path) -> None:
    binder = ContractResolver(tmp_path, MAIN, CALENDAR)
    for ask in (binder.first, lambda: binder.on(DAYS[3])):
        with pytest.raises(RefusedError, match="no roll schedule of cu yet"):
            ask()
    looking = ContractResolver(tmp_path, MAIN, CALENDAR, monitor_only=True)
    with pytest.raises(RefusedError):
        looking.on(DAYS[3])
    kept = looking.on(DAYS[3], current=CONTRACTS[1])
    assert (kept.contract, kept.age) == (CONTRACTS[1], -1) and "no roll schedule" in kept.note
    save_schedule(tmp_path, schedule_of([(0, 9, 1, 0)] * 3, first=2))
    assert binder.first() == contract_to_trade(tmp_path, MAIN, CALENDAR) == CONTRACTS[1]
    with pytest.raises(RefusedError, match=f"does not have {DAYS[1]}"):
        binder.on(DAYS[1])
    schedule_path(tmp_path, "cu").write_text("{}")
    with pytest.raises(IntegrityError):
        binder.on(DAYS[3])
    assert looking.on(DAYS[3], CONTRACTS[0]).contract == CONTRACTS[0]


def test_an_edited_next_contract_is_never_traded(tmp_path) -> None:
    bars = bars_of([(300, 200, 0, 0)] * 3)
    lake = Lake(tmp_path)
    for day in DAYS[:3]:
        of_day = bars.filter(pc.equal(bars["trading_day"], pa.scalar(day, pa.date32())))
        lake.write_day("daily_bars", "cu", day, of_day, source="test")
    schedule, today = schedule_from_open_interest("cu", bars, calendar=CALENDAR), DAYS[3]
    path = save_schedule(tmp_path, schedule)
    traded = ContractResolver(tmp_path, MAIN, CALENDAR)
    assert traded.first() == traded.on(today).contract == CONTRACTS[0]
    edited = json.loads(path.read_text()) | {"next_contract": "SHFE.cu2512"}
    older = {name: value for name, value in edited.items() if name != "checksum"}
    for document, said in (
        (edited, "was edited"),
        (older, "does not follow from its daily bars"),
        (with_checksum(older), "does not follow from its daily bars"),
    ):
        path.write_text(json.dumps(document))
        for ask in (traded.first, lambda: traded.on(today), lambda: contract_to_trade(tmp_path, MAIN, CALENDAR)):
            with pytest.raises(IntegrityError, match=said):
                ask()
    path.write_text(json.dumps(older | {"next_contract": CONTRACTS[0]}))
    assert traded.on(today).contract == CONTRACTS[0], "one of an older version goes on"


def test_a_month_that_ends_with_its_own_main_contract() -> None:
    interest = [(300, 200, 0, 0)] * len(CALENDAR.days(DAYS[0], date(2025, 4, 1)))
    known, whole = schedule_of(interest[:-1]), schedule_of(interest)
    assert known.days[-1].day == date(2025, 3, 31) and known.days[-1].contract == CONTRACTS[0]
    today = date(2025, 4, 1)
    assert bind(MAIN, today, known, CALENDAR).contract == bind(MAIN, today, whole, CALENDAR).contract == CONTRACTS[1]


def test_what_trades_next_is_known_on_the_last_day_of_the_holiday_list(tmp_path) -> None:
    calendar = bundled_calendar()
    days = calendar.days(date(2026, 12, 29), date(2026, 12, 31))
    bars = pa.table({
        "symbol": ["SHFE.cu2702"] * 3, "trading_day": days, "open_interest": [9.0] * 3,
    })  # fmt: skip
    save_schedule(tmp_path, schedule_from_open_interest("cu", bars))
    resolver = ContractResolver(tmp_path, MAIN, calendar)
    assert resolver.first() == "SHFE.cu2702"
    assert resolver.on(date(2026, 12, 31)).contract == "SHFE.cu2702"
    with pytest.raises(BeyondCalendarError, match="not for 2027-01-04"):
        resolver.on(date(2027, 1, 4))
