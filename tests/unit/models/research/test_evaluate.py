"""A factor set on days of a real lake: the report, the page, the command."""

from __future__ import annotations

import json
import re
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from ghtrader.cli import run
from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_market.main_series.main_l5 import with_provenance
from ghtrader_market.reference.roll_schedule import ScheduleDay
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.research.clusters import cluster_factors
from ghtrader_models.research.evaluate import evaluate_factors, report_of, save_report
from ghtrader_models.research.factor_report import read_factor_report
from ghtrader_models.research.page import render

SYMBOL = "KQ.m@SHFE.cu"
CALENDAR = bundled_calendar()
DAYS = tuple(CALENDAR.days(date(2024, 12, 2), date(2024, 12, 9)))
ROWS = 900
SET = FactorSet(
    "mine",
    {
        "queue": parse("Imbalance(1)"),
        "queue_again": parse("MicropriceOffset()"),
        "depth": parse("Imbalance(2)"),
        "past": parse("MidReturn(5)"),
        "clock": parse("SessionTime()"),
    },
)


def write_day(lake: Lake, day: date, number: int, levels: int = 5, tie: float = 0.25) -> None:
    """A book whose first queues lean, a little, towards where the mid goes in the next ten ticks."""
    rng = np.random.default_rng(number)
    steps = rng.choice([-1, 0, 0, 1], ROWS)
    walk = np.append(np.cumsum(steps), np.full(10, steps.sum()))
    ahead = walk[10:] - walk[:-10]
    bid = 7000 + np.cumsum(steps)
    values = np.zeros((27, ROWS))
    values[COLUMN_INDEX["last_price"]] = bid * 10.0
    values[COLUMN_INDEX["volume"]] = np.arange(ROWS)
    values[COLUMN_INDEX["amount"]] = np.cumsum(bid * 50.0)
    for level in range(1, 6):
        lean = np.clip(0.5 + 0.15 * rng.normal(size=ROWS) + (tie * ahead / 10 if level == 1 else 0), 0.05, 0.95)
        for side, price, share in (("bid", bid - level + 1, lean), ("ask", bid + level, 1 - lean)):
            values[COLUMN_INDEX[f"{side}_price{level}"]] = price * 10.0 if level <= levels else np.nan
            values[COLUMN_INDEX[f"{side}_volume{level}"]] = np.rint(200 * share) if level <= levels else 0
    sessions = CALENDAR.sessions("cu", day)
    starts = [np.arange(start, stop, 10**9 // 2)[:300] for start, stop in sessions[-3:]]
    table = table_from_values(np.arange(ROWS), np.concatenate(starts), values)
    lake.write_day("main_l5", SYMBOL, day, with_provenance(table, ScheduleDay(day, "SHFE.cu2501", 0, "h")), source="t")


@pytest.fixture
def lake(settings) -> Lake:
    made = Lake(settings.data)
    for number, day in enumerate(DAYS):
        write_day(made, day, number)
    return made


def test_a_set_is_judged_on_ticks_and_the_report_says_what_was_found(lake, tmp_path):
    done = []
    scores, used = evaluate_factors(
        lake, CALENDAR, "main_l5", SYMBOL, DAYS, SET, (10, 50), shuffles=400, on_day=lambda *what: done.append(what)
    )
    assert used is SET and done[-1] == (len(DAYS), len(DAYS))
    report = report_of(scores, used, SYMBOL, seed=0)
    assert report.judged_horizon == 50 and report.days == [str(day) for day in DAYS]
    rows = {row.name: row for row in report.factors}
    assert {report.factors[0].name, report.factors[1].name} == {"queue", "queue_again"}
    near = rows["queue"].horizons["10"]
    assert near.ic > 0.1 and near.low > 0 and near.p_adjusted < 0.05 and near.day_agreement == 1
    assert len(near.by_day) == len(DAYS) and len(near.by_session) == 4 and near.by_session[0] is None
    assert rows["depth"].horizons["10"].p_adjusted > 0.05
    assert rows["queue"].cluster == rows["queue_again"].cluster != rows["depth"].cluster
    leads = [row.name for row in report.factors if row.represents]
    assert len(leads) == len(report.clusters) and report.factors[0].represents
    assert rows["past"].coverage == pytest.approx(1 - 5 / ROWS, abs=1e-4)
    assert rows["clock"].slow and rows["clock"].persistence > 0.99 and rows["clock"].bias["50"] > 0.1
    assert not rows["depth"].slow and rows["depth"].bias["10"] < rows["depth"].bias["50"] < 0.01
    path = save_report(tmp_path / "out", report, scores)
    assert json.loads(path.read_text()) == report.to_dict() and read_factor_report(path) == report
    page = path.with_suffix(".html").read_text()
    assert page.count("data:image/png;base64,") == 6 and "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert all(name in page for name in SET.names)
    assert "Stambaugh 1999" in page and page.count(" slow</td>") == sum(row.slow for row in report.factors) > 0


def test_one_level_and_one_day_leave_out_what_they_cannot_say(settings, tmp_path):
    lake = Lake(settings.data)
    write_day(lake, DAYS[0], 0, levels=1)
    scores, used = evaluate_factors(lake, CALENDAR, "main_l5", SYMBOL, DAYS[:1], SET, (10,), shuffles=100)
    assert "depth" not in used.names and scores.method == "rotated"
    page = save_report(tmp_path, report_of(scores, used, SYMBOL), scores).with_suffix(".html").read_text()
    assert page.count("data:image/png;base64,") == 5


def test_odd_days_are_left_out_by_name_and_the_others_are_judged(lake):
    """One level among five, and a day whose ask side is empty, change nothing of the others' scores."""
    kept = [DAYS[n] for n in (0, 2, 4, 5)]
    alone, _ = evaluate_factors(lake, CALENDAR, "main_l5", SYMBOL, kept, SET, (10,), shuffles=100)
    write_day(lake, DAYS[1], 1, levels=1)
    write_day(lake, DAYS[3], 3)
    table = lake.read_day("main_l5", SYMBOL, DAYS[3])
    place = table.schema.get_field_index("ask_price1")
    empty = pa.array(np.full(ROWS, np.nan))
    lake.write_day("main_l5", SYMBOL, DAYS[3], table.set_column(place, "ask_price1", empty), source="t")
    scores, used = evaluate_factors(lake, CALENDAR, "main_l5", SYMBOL, DAYS, SET, (10,), shuffles=100)
    assert used is SET and scores.days == tuple(map(str, kept))
    np.testing.assert_array_equal(scores.day_ic, alone.day_ic)
    assert [(each.day, each.reason.value) for each in scores.left_out] == [
        (DAYS[1], "other_depth"), (DAYS[3], "no_usable_row"),
    ]  # fmt: skip
    report = report_of(scores, used, SYMBOL)
    assert [each["reason"] for each in report.to_dict()["left_out"]] == ["other_depth", "no_usable_row"]
    assert f"left out {DAYS[1]}: book of one level" in render(report, scores)
    with pytest.raises(UsageError, match=f"no day of {SYMBOL} can be judged: {DAYS[3]}"):
        evaluate_factors(lake, CALENDAR, "main_l5", SYMBOL, [DAYS[3]], SET, (10,), shuffles=100)


def test_the_command_prints_a_table_or_one_document_and_leaves_its_report(lake, settings, capsys):
    arguments = ["factors", "evaluate", "--var", "cu", "--horizons", "10,50", "--shuffles", "200"]
    assert run(arguments) == 0
    text = capsys.readouterr()
    assert "imbalance_1" in text.out and "beyond what chance shows" in text.out and "day 6 of 6" in text.err
    assert "persistence" in text.out and " slow" in text.out and "Stambaugh 1999" in text.out
    folder = settings.runs / "factors" / SYMBOL / "lean"
    assert (folder / "report.json").exists() and (folder / "report.html").exists()
    wanted = "SELECT split, value FROM run_metrics WHERE family = 'lean' AND metric = 'ic' AND horizon = 10 AND who = "
    assert run(["sql", f"{wanted}'imbalance_1'", "--json"]) == 0
    found = {row["split"]: row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert set(found) == {"mean", "low", "high", *map(str, DAYS)} and found["low"] < found["mean"] < found["high"]
    assert run([*arguments, "--end", str(DAYS[3]), "--json", "--out", str(settings.home / "mine")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["days"]) == 4 and found["report"] == str(settings.home / "mine" / "report.json")
    assert run(["factors", "evaluate", "--var", "au"]) == 1
    assert "ghtrader main-l5 --var au" in capsys.readouterr().err
    for bad in (["--horizons", "ten"], ["--horizons", "0"], ["--set", "nonsense"], ["--ticks-kind", "raw"]):
        assert run([*arguments, *bad]) == 2


def test_a_day_that_is_not_whole_is_named(lake):
    table = lake.read_day("main_l5", SYMBOL, DAYS[2]).drop_columns(["segment_id"])
    lake.write_day("main_l5", SYMBOL, DAYS[2], table, schema=table.schema, source="t")
    with pytest.raises(IntegrityError, match=f"{DAYS[2]} has no column segment_id"):
        evaluate_factors(lake, CALENDAR, "main_l5", SYMBOL, DAYS, SET, (10,), shuffles=0)
    with pytest.raises(UsageError, match="no days"):
        evaluate_factors(lake, CALENDAR, "main_l5", SYMBOL, [], SET, (10,), shuffles=0)


def test_groups_are_what_correlates():
    correlation = np.array([[1, 0.9, 0.1, np.nan], [0.9, 1, 0.2, 0], [0.1, 0.2, 1, -0.95], [np.nan, 0, -0.95, 1]])
    found, order = cluster_factors(correlation)
    assert found.tolist() == [0, 0, 1, 1] and sorted(order) == [0, 1, 2, 3]
    assert abs(int(np.flatnonzero(order == 0)[0]) - int(np.flatnonzero(order == 1)[0])) == 1
    assert cluster_factors(np.ones((1, 1)))[0].tolist() == [0]
