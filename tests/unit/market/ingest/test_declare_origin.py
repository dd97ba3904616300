"""`data origin set`: a person says where days of an older version come from, what days say themselves stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pyarrow as pa
import pytest

from ghtrader.cli import run
from ghtrader_base.settings import Settings
from ghtrader_market.audit.audit import audit_lake
from ghtrader_market.main_series.main_l5 import build_main_l5_day, is_up_to_date
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest
from ghtrader_market.reference.tick_origin import UNKNOWN, OriginKind, TickOrigin, require_one_origin
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.lake.lake import Lake
from tests.support.copper_day import CONTRACT, DAY, whole_day

pytestmark = pytest.mark.clock

CALENDAR, KEY = bundled_calendar(), "KQ.m@SHFE.cu"
BEFORE = CALENDAR.previous_day(DAY)
REAL = TickOrigin(kind=OriginKind.SERVICE, service="shinnytech.com")
SIMULATED = TickOrigin(kind=OriginKind.SIMULATED, world="driver", seed=7, scenario="ab")


def write(lake: Lake, ticks_of: Callable[..., pa.Table], day: date, origin: TickOrigin | None) -> None:
    times, values = whole_day(day, 60.0)
    details = TickDetails(origin=origin, dropped_duplicates=3)
    lake.write_day("ticks", CONTRACT, day, ticks_of(times, values), source="tqsdk", run_id="old", details=details)


@pytest.fixture
def lake(settings: Settings, ticks_of: Callable[..., pa.Table]) -> Lake:
    """Two days of an older version, up to main_l5."""
    lake = Lake(settings.data)
    days = CALENDAR.days(CALENDAR.previous_day(BEFORE), DAY)
    rows = [{"symbol": CONTRACT, "trading_day": day, "open_interest": 100.0} for day in days]
    schedule = schedule_from_open_interest("cu", pa.Table.from_pylist(rows))
    save_schedule(lake.root, schedule)
    for day in (BEFORE, DAY):
        write(lake, ticks_of, day, None)
        build_main_l5_day(lake, CALENDAR, schedule, day)
    return lake


def declare(*more: str) -> int:
    return run(["data", "origin", "set", "--var", "cu", "--reason", "downloaded with our account", *more])


def test_the_days_and_what_was_built_of_them_say_so_and_who_said_it(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lake.manifest("ticks", CONTRACT, DAY)
    assert declare("--kind", "service", "--start", str(DAY), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["days"] == [{"symbol": CONTRACT, "day": str(DAY)}] and told["built_days"] == 1
    after = lake.manifest("ticks", CONTRACT, DAY)
    declared = after.ticks.declared
    assert after.details.origin == REAL and declared.before == UNKNOWN and declared.by and declared.at
    assert declared.why == "downloaded with our account"
    plain = replace(after, details=replace(after.details, origin=None, declared=None))
    assert plain == replace(before, code_version=after.code_version), "the rows, and all else, stay as they were"
    main = lake.manifest("main_l5", KEY, DAY)
    schedule = schedule_from_open_interest("cu", _bars())
    assert main.details.origin == REAL and is_up_to_date(lake, CALENDAR, main, after, schedule.contract_on(DAY))
    assert lake.manifest("ticks", CONTRACT, BEFORE).details.origin is None
    assert lake.manifest("main_l5", KEY, BEFORE).details.origin is None
    report = audit_lake(lake, CALENDAR)
    assert not report.findings and f"{REAL.words} (1 days)" in report.origin_words()

    assert declare("--kind", "service") == 0, "the same once more, for all there are"
    origins = {day: lake.manifest("main_l5", KEY, day).details.origin for day in (BEFORE, DAY)}
    require_one_origin("cu", origins)
    assert lake.manifest("ticks", CONTRACT, DAY).ticks.declared.before == UNKNOWN, "what the day said, not the person"


def _bars() -> pa.Table:
    days = CALENDAR.days(CALENDAR.previous_day(BEFORE), DAY)
    return pa.Table.from_pylist([{"symbol": CONTRACT, "trading_day": day, "open_interest": 100.0} for day in days])


@pytest.mark.parametrize("said", [SIMULATED, REAL, TickOrigin(kind=OriginKind.FILE, layout="ctp")])
def test_what_a_day_says_itself_is_not_changed_and_nothing_is(
    lake: Lake, ticks_of: Callable[..., pa.Table], capsys: pytest.CaptureFixture[str], said: TickOrigin
) -> None:
    write(lake, ticks_of, DAY, said)
    assert declare("--kind", "service") == 3
    assert said.words in capsys.readouterr().err
    assert lake.manifest("ticks", CONTRACT, DAY).details.origin == said
    assert lake.manifest("ticks", CONTRACT, BEFORE).details.origin is None


def test_a_day_that_was_declared_simulated_is_never_called_real(lake: Lake) -> None:
    assert declare("--kind", "simulated", "--world", "driver", "--seed", "1") == 0
    assert declare("--kind", "service") == 3 and declare("--kind", "file") == 3
    assert declare("--kind", "simulated", "--world", "driver", "--seed", "2") == 0, "a wrong seed is corrected"
    assert lake.manifest("main_l5", KEY, DAY).details.origin.seed == 2


def test_what_is_no_origin_is_a_usage_error(lake: Lake) -> None:
    assert run(["data", "origin", "set", "--var", "cu", "--kind", "service"]) == 2, "no reason"
    assert declare("--kind", "real") == declare("--kind", "unknown") == declare("--kind", "simulated") == 2
    assert declare() == 2
    assert run(["data", "origin", "set", "--var", "au", "--kind", "service", "--reason", "x"]) == 1, "no days"
