"""A day still being recorded is a stub: named, and used by nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_market.inventory.coverage import Coverage
from ghtrader_market.main_series.main_l5 import build_main_l5, build_main_l5_day, with_provenance
from ghtrader_market.quality.readiness import readiness
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.day_details import MainDayDetails, Recording, TickDetails
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.unfinished_days import unfinished_days, why_unfinished, why_unfinished_main
from ghtrader_runtime.replay.recorded_days import replay_days
from tests.support.copper_day import CONTRACT, DAY, whole_day

CALENDAR, KEY = bundled_calendar(), "KQ.m@SHFE.cu"
BEFORE = CALENDAR.previous_day(DAY)


def recorded(ended: bool) -> TickDetails:
    return TickDetails(recorded=Recording(missed=0, ended=ended))


@pytest.fixture
def lake(settings: Settings, ticks_of: Callable[..., pa.Table]) -> Lake:
    """A whole day, and 45 s of the next morning as `record` leaves them when it is stopped."""
    lake = Lake(settings.data)
    times, values = whole_day(BEFORE, 60.0)
    lake.write_day("ticks", CONTRACT, BEFORE, ticks_of(times, values), source="recorded", details=recorded(True))
    times, values = whole_day(DAY, 0.5)
    lake.write_day(
        "ticks", CONTRACT, DAY, ticks_of(times[:90], values[:, :90]), source="recorded", details=recorded(False)
    )
    rows = [
        {"symbol": CONTRACT, "trading_day": day, "open_interest": 100.0}
        for day in CALENDAR.days(CALENDAR.previous_day(BEFORE), DAY)
    ]
    save_schedule(lake.root, schedule_from_open_interest("cu", pa.Table.from_pylist(rows)))
    return lake


def test_a_stub_is_named_and_a_whole_day_is_not(lake: Lake) -> None:
    (found,) = unfinished_days(lake, CALENDAR, CONTRACT).items()
    assert found == (DAY, f"{CONTRACT} on {DAY} was recorded up to 21:00:44 only, 90 rows")


@pytest.mark.parametrize(
    ("source", "details", "last_second", "stub"),
    [
        ("recorded", recorded(False), 3600, True),
        ("recorded", recorded(True), 3600, False),  # a contract that hardly trades: the recorder saw the close
        ("recorded", TickDetails(), 3600, True),  # an older home says nothing: the rows do
        ("recorded", TickDetails(), 30, False),
        ("recorded", recorded(False), 30, False),
        ("tqsdk", TickDetails(), 3600, False),
        ("recording:cu.csv", TickDetails(), 3600, False),  # imported: asked for as it is
    ],
)
def test_what_makes_a_stub(lake: Lake, source: str, details: TickDetails, last_second: int, stub: bool) -> None:
    stored = lake.manifest("ticks", CONTRACT, DAY)
    close = CALENDAR.sessions("cu", DAY)[-1][1]
    day = replace(stored, source=source, details=details, last_ns=close - last_second * 10**9)
    assert bool(why_unfinished(CALENDAR, day)) is stub


@pytest.mark.clock
def test_nobody_makes_anything_of_it(lake: Lake, settings: Settings) -> None:
    from ghtrader_market.reference.roll_schedule import load_schedule

    schedule = load_schedule(lake.root, "cu")
    build_main_l5_day(lake, CALENDAR, schedule, BEFORE)
    with pytest.raises(FailedError, match="recorded up to 21:00:44 only, 90 rows") as refused:
        build_main_l5_day(lake, CALENDAR, schedule, DAY)
    assert f"ghtrader download --symbol {CONTRACT}" in refused.value.hint
    assert replay_days(settings, "cu", 5) == [BEFORE]

    # An older version may have built the day of the stub.
    scheduled, raw = schedule.contract_on(DAY), lake.manifest("ticks", CONTRACT, DAY)
    details = MainDayDetails(
        contract=CONTRACT, segment_id=0, schedule_hash=scheduled.schedule_hash, raw_content_hash=raw.content_hash,
        raw_rows=90, dropped_outside_sessions=0,
    )  # fmt: skip
    table = with_provenance(lake.read_day("ticks", CONTRACT, DAY), scheduled)
    made = lake.write_day("main_l5", KEY, DAY, table, source="test", details=details)
    assert "90 rows" in why_unfinished_main(lake, CALENDAR, made)
    assert replay_days(settings, "cu", 5) == [BEFORE]
    with pytest.raises(UsageError, match="it is no day to play"):
        replay_days(settings, "cu", day=DAY)
    for dataset, key in (("ticks", CONTRACT), ("main_l5", KEY)):
        found = readiness(settings, dataset, key, DAY, calendar=CALENDAR)
        assert (found.overall_state, found.reason_code) == ("not_ready", "unfinished")
        assert f"ghtrader download --symbol {CONTRACT}" in found.action_hint
    coverage = Coverage(lake, CALENDAR, "cu", datetime(2025, 3, 3, tzinfo=UTC))
    (contract,) = [one for one in coverage.contracts() if one.symbol == CONTRACT]
    assert contract.unfinished == (DAY,) and contract.to_json()["unfinished"] == [str(DAY)]
    (series,) = [one for one in coverage.series() if one.dataset == "main_l5"]
    assert DAY not in series.missing


@pytest.mark.clock
def test_the_pipeline_leaves_it_out_and_says_so(lake: Lake, settings: Settings) -> None:
    from ghtrader_assets.runs.flows import main_days

    told: list[str] = []
    assert main_days(settings, "cu", None, None, told.append) == ([BEFORE], None)
    assert told == [f"left out: {CONTRACT} on {DAY} was recorded up to 21:00:44 only, 90 rows"]
    with pytest.raises(FailedError, match="90 rows: no main series is made of it"):
        main_days(settings, "cu", DAY, DAY)


@pytest.mark.clock
def test_it_is_used_where_that_is_asked_for(lake: Lake, settings: Settings) -> None:
    """`--allow-unfinished` of main-l5, build and paper; it stays a stub, and the evening leaves it alone."""
    from ghtrader_assets.assets.datasets import quality_gate
    from ghtrader_assets.resources.resources import HomeResource
    from ghtrader_assets.runs.due_days import recorded_to_the_end
    from ghtrader_assets.runs.flows import main_days
    from ghtrader_market.reference.roll_schedule import load_schedule

    told: list[str] = []
    assert main_days(settings, "cu", None, None, told.append, allow_unfinished=True) == ([BEFORE, DAY], None)
    assert told == [f"not recorded to the end: {CONTRACT} on {DAY} was recorded up to 21:00:44 only, 90 rows"]
    report = build_main_l5(lake, CALENDAR, load_schedule(lake.root, "cu"), [BEFORE, DAY], allow_unfinished=True)
    assert not report.failed and report.built[DAY].rows == 90
    assert "90 rows" in why_unfinished_main(lake, CALENDAR, report.built[DAY])
    assert replay_days(settings, "cu", 5) == [BEFORE]
    assert replay_days(settings, "cu", 5, allow_unfinished=True) == [BEFORE, DAY]
    assert replay_days(settings, "cu", day=DAY, allow_unfinished=True) == [DAY]
    assert recorded_to_the_end(lake, CALENDAR, KEY, [BEFORE, DAY]) == [BEFORE]

    home = HomeResource(home=str(settings.home))
    refused = quality_gate(home, "main_l5", KEY, False)(DAY)
    assert refused.refusal is not None and "--allow-unfinished" in refused.refusal.hint
    taken = quality_gate(home, "main_l5", KEY, False, allow_unfinished=True)(DAY)
    assert taken.refusal is None and (taken.record.reason_code, taken.record.accepted) == ("unfinished", True)


def test_a_download_of_the_day_takes_its_place(lake: Lake, ticks_of: Callable[..., pa.Table]) -> None:
    times, values = whole_day(DAY, 60.0)
    lake.write_day("ticks", CONTRACT, DAY, ticks_of(np.asarray(times), values), source="tqsdk")
    assert unfinished_days(lake, CALENDAR, CONTRACT) == {}
