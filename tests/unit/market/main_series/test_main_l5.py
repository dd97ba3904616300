"""main_l5: the right contract's ticks, inside the sessions, in order, with provenance; refusals by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import FailedError, IntegrityError, UsageError
from ghtrader_market.main_series.main_l5 import build_main_l5_day, with_provenance
from ghtrader_market.reference.roll_schedule import RollSchedule, schedule_from_open_interest
from ghtrader_market.reference.tick_schema import MAIN_L5_SCHEMA, RAW_TICK_SCHEMA
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.closing_rows import lacks_closing_rows
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import DayManifest

CALENDAR = bundled_calendar()
FIRST, MONDAY, TUESDAY = date(2025, 2, 7), date(2025, 2, 10), date(2025, 2, 11)
KEY = "KQ.m@SHFE.cu"
Make = Callable[..., pa.Table]


def schedule_of(*contracts: str) -> RollSchedule:
    """A schedule whose days after FIRST have these contracts."""
    days = CALENDAR.days(FIRST, date(2025, 3, 31))[: len(contracts) + 1]
    rows = [
        {"symbol": name, "trading_day": day, "open_interest": 1_000.0 if name == main else 100.0}
        for day, main in zip(days, [*contracts, contracts[-1]], strict=True)
        for name in {"SHFE.cu2503", "SHFE.cu2504"}
    ]
    return schedule_from_open_interest("cu", pa.Table.from_pylist(rows))


def moments(day: date) -> np.ndarray:
    """Ticks around every session of a day: auction, first, middle, last, and one at the close."""
    step = 500_000_000
    return np.array(
        [t for a, b in CALENDAR.sessions("cu", day) for t in (a - 60 * 10**9, a, (a + b) // 2, b - step, b)]
    )


@pytest.fixture
def lake(tmp_path: Path, make_ticks: Make) -> Lake:
    lake = Lake(tmp_path)
    for seed, (day, contract) in enumerate(
        [(MONDAY, "SHFE.cu2503"), (TUESDAY, "SHFE.cu2503"), (TUESDAY, "SHFE.cu2504")]
    ):
        lake.write_day("ticks", contract, day, make_ticks(moments(day), seed=seed), source="test")
    return lake


def test_rows_are_the_scheduled_contracts_inside_the_sessions(lake: Lake) -> None:
    schedule = schedule_of("SHFE.cu2503", "SHFE.cu2504")
    manifests = [build_main_l5_day(lake, CALENDAR, schedule, day, "r1") for day in (MONDAY, TUESDAY)]
    for day, contract, segment, manifest in zip(
        (MONDAY, TUESDAY), ("SHFE.cu2503", "SHFE.cu2504"), (0, 1), manifests, strict=True
    ):
        table = lake.read_day("main_l5", KEY, day)
        assert table.schema == MAIN_L5_SCHEMA
        raw = lake.read_day("ticks", contract, day)
        kept = [i for i in range(raw.num_rows) if i % 5]
        assert table.select(RAW_TICK_SCHEMA.names).equals(raw.take(pa.array(kept)))
        assert set(table["underlying_contract"].to_pylist()) == {contract}
        assert set(table["segment_id"].to_pylist()) == {segment}
        assert set(table["schedule_hash"].to_pylist()) == {schedule.contract_on(day).schedule_hash}
        assert manifest.main_l5.dropped_outside_sessions == raw.num_rows - len(kept)
        assert manifest.main_l5.raw_content_hash == lake.manifest("ticks", contract, day).content_hash
    assert lake.days("main_l5", KEY) == [MONDAY, TUESDAY]


def test_a_day_that_an_older_version_built_is_built_again_for_its_closing_snapshots(lake: Lake) -> None:
    """The last lots of 10:15, 11:30, 15:00 and 01:00 were left out; a day without such rows is as good as new."""
    schedule = schedule_of("SHFE.cu2503", "SHFE.cu2504")
    now = build_main_l5_day(lake, CALENDAR, schedule, MONDAY, "now")
    raw = lake.read_day("ticks", "SHFE.cu2503", MONDAY)
    assert lake.read_day("main_l5", KEY, MONDAY)["volume"][-1] == raw["volume"][-1], "the day's last lots"

    def older(kept: list[int], dropped: int) -> DayManifest:
        rows = with_provenance(raw.take(pa.array(kept)), schedule.contract_on(MONDAY))
        details = replace(now.main_l5, session_rule=None, dropped_outside_sessions=dropped)
        return lake.write_day("main_l5", KEY, MONDAY, rows, source="test", run_id="older", details=details)

    inside = [i for i in range(raw.num_rows) if i % 5]
    stored = older([i for i in inside if i % 5 != 4], 8)
    assert "session_rule" not in stored.main_l5.to_json() and lacks_closing_rows(lake, CALENDAR, stored)
    again = build_main_l5_day(lake, CALENDAR, schedule, MONDAY, "again")
    assert (again.run_id, again.content_hash) == ("again", now.content_hash)
    assert not lacks_closing_rows(lake, CALENDAR, again)

    lake.write_day("ticks", "SHFE.cu2503", MONDAY, raw.take(pa.array([i for i in inside if i % 5 != 4])), source="test")
    scheduled = schedule.contract_on(MONDAY)
    rows = with_provenance(lake.read_day("ticks", "SHFE.cu2503", MONDAY), scheduled)
    manifest = lake.manifest("ticks", "SHFE.cu2503", MONDAY)
    details = replace(now.main_l5, session_rule=None, raw_content_hash=manifest.content_hash)
    lake.write_day("main_l5", KEY, MONDAY, rows, source="test", run_id="older", details=details)
    assert build_main_l5_day(lake, CALENDAR, schedule, MONDAY, "again").run_id == "older"


def test_up_to_date_days_are_left_and_changed_ones_are_built_again(lake: Lake, make_ticks: Make) -> None:
    schedule = schedule_of("SHFE.cu2503", "SHFE.cu2504")
    first = build_main_l5_day(lake, CALENDAR, schedule, MONDAY, "r1")
    assert build_main_l5_day(lake, CALENDAR, schedule, MONDAY, "r2").run_id == "r1"
    assert build_main_l5_day(lake, CALENDAR, schedule, MONDAY, "r2", overwrite=True).run_id == "r2"
    lake.write_day("ticks", "SHFE.cu2503", MONDAY, make_ticks(moments(MONDAY), seed=9), source="test")
    again = build_main_l5_day(lake, CALENDAR, schedule, MONDAY, "r3")
    assert (again.run_id, again.rows) == ("r3", first.rows) and again.content_hash != first.content_hash
    build_main_l5_day(lake, CALENDAR, schedule, TUESDAY, "r3")
    other = build_main_l5_day(lake, CALENDAR, schedule_of("SHFE.cu2503", "SHFE.cu2503"), TUESDAY, "r4")
    assert other.main_l5.contract == "SHFE.cu2503" and other.main_l5.segment_id == 0


def test_refusals(lake: Lake, make_ticks: Make) -> None:
    schedule = schedule_of("SHFE.cu2504", "SHFE.cu2504")
    with pytest.raises(UsageError, match="not a trading day"):
        build_main_l5_day(lake, CALENDAR, schedule, date(2025, 2, 8))
    with pytest.raises(FailedError, match="does not have 2025-02-07"):
        build_main_l5_day(lake, CALENDAR, schedule, FIRST)
    with pytest.raises(FailedError, match="no raw ticks of SHFE.cu2504 on 2025-02-10"):
        build_main_l5_day(lake, CALENDAR, schedule, MONDAY)
    lake.write_day("ticks", "SHFE.cu2504", MONDAY, make_ticks(moments(TUESDAY)), source="test")
    with pytest.raises(IntegrityError, match="belong to another trading day"):
        build_main_l5_day(lake, CALENDAR, schedule, MONDAY)
    lake.write_day("ticks", "SHFE.cu2504", MONDAY, make_ticks(moments(MONDAY)[:1]), source="test")
    with pytest.raises(FailedError, match="none of them inside a session"):
        build_main_l5_day(lake, CALENDAR, schedule, MONDAY)
    assert lake.days("main_l5", KEY) == []
