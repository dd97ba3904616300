"""Checks the main assets after they were written, and shows the results in the UI.

They never stop a run: a bad day is refused before it reaches its final name, by the code that writes it.
"""

from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import dagster as dg
import numpy as np

from ghtrader_assets.assets.tick_download import symbols_with_ticks
from ghtrader_assets.partitions import PARTITIONS, days_by_variety, split_horizon_key
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_assets.results.reports_store import readable_reports
from ghtrader_base.errors import IntegrityError
from ghtrader_market.inventory.stored_days import stored_days
from ghtrader_market.reference.holiday_list import calendar_state
from ghtrader_market.reference.roll_schedule import load_schedule
from ghtrader_market.reference.varieties import get_variety

_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_PARTITION = "dagster/partition"
TICKS_CHECK = "verified_and_monotonic"
_SHOWN_DAYS = 60
DayCheck = Callable[[HomeResource, str, date], tuple[list[str], dict[str, float]]]
"""(home, variety, day) -> (what is wrong, figures worth showing)."""


def days_of_run(context: dg.AssetCheckExecutionContext) -> dict[str, list[date]]:
    """Days by variety that the run is about; empty where a check is run by itself."""
    tags = context.run.tags
    if _PARTITION in tags:
        return days_by_variety([tags[_PARTITION]])
    if _RANGE[0] in tags:
        span = dg.PartitionKeyRange(tags[_RANGE[0]], tags[_RANGE[1]])
        return days_by_variety(PARTITIONS.day_variety.get_partition_keys_in_range(span))
    return {}


def horizon_keys_of_run(context: dg.AssetCheckExecutionContext) -> list[str]:
    """Horizon x variety keys that the run is about; empty where a check is run by itself."""
    tags = context.run.tags
    if _PARTITION in tags:
        return [tags[_PARTITION]]
    if _RANGE[0] in tags:
        span = dg.PartitionKeyRange(tags[_RANGE[0]], tags[_RANGE[1]])
        return [str(key) for key in PARTITIONS.horizon_variety.get_partition_keys_in_range(span)]
    return []


def _latest(home: HomeResource, dataset: str) -> dict[str, list[date]]:
    found = {}
    for variety in PARTITIONS.varieties.get_partition_keys():
        keys = symbols_with_ticks(home, variety) if dataset == "ticks" else [get_variety(variety).continuous_symbol]
        days = [day for key in keys for day in home.lake.days(dataset, key)]
        if days:
            found[variety] = [max(days)]
    return found


def judge_days(home: HomeResource, wanted: dict[str, list[date]], check: DayCheck) -> dict[str, Any]:
    """`passed`, `metadata` and `description` of a check over days by variety."""
    problems: list[str] = []
    figures: dict[str, list[float]] = {}
    count = 0
    for variety, days in wanted.items():
        for day in days:
            count += 1
            try:
                wrong, found = check(home, variety, day)
            except IntegrityError as exc:
                wrong, found = [exc.message], {}
            problems += [f"{variety} {day}: {text}" for text in wrong]
            for name, value in found.items():
                figures.setdefault(name, []).append(value)
    metadata = {"days": count, **{f"mean {name}": float(np.mean(values)) for name, values in figures.items()}}
    return {
        "passed": not problems,
        "metadata": {**metadata, "problems": problems[:20]},
        "description": "; ".join(problems[:3]) or f"{count} days",
    }


def report_ticks_check(instance: dg.DagsterInstance, home: HomeResource, wanted: dict[str, list[date]]) -> None:
    """Check raw ticks that a job wrote outside the asset, so that the asset's page does not show them unchecked."""
    from dagster._core.definitions.asset_checks.asset_check_evaluation import (
        AssetCheckEvaluationTargetMaterializationData,
    )

    key = dg.AssetKey("raw_ticks")
    latest = instance.fetch_materializations(key, limit=1).records[0]
    target = AssetCheckEvaluationTargetMaterializationData(
        storage_id=latest.storage_id, run_id=latest.run_id, timestamp=latest.timestamp
    )
    found = judge_days(home, wanted, ticks_of_day)
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=key, check_name=TICKS_CHECK, target_materialization_data=target, **found)
    )


def ticks_of_day(home: HomeResource, variety: str, day: date) -> tuple[list[str], dict[str, float]]:
    """Files match their sha256, ids rise by one row, times never fall, volume never falls."""
    wrong, rows, contracts = [], 0, 0
    for symbol in symbols_with_ticks(home, variety):
        if not home.lake.has_day("ticks", symbol, day):
            continue
        home.lake.verify_day("ticks", symbol, day)
        table = home.lake.read_day("ticks", symbol, day, columns=["id", "datetime_ns", "volume"])
        contracts += 1
        rows += table.num_rows
        for column, least in (("id", 1), ("datetime_ns", 0), ("volume", 0)):
            steps = np.diff(table[column].to_numpy())
            if np.any(steps < least):
                wrong.append(f"{symbol} {column} falls at row {int(np.argmax(steps < least)) + 1}")
    return wrong or ([] if contracts else ["no ticks"]), {"contracts": contracts, "rows": rows}


def provenance_of_day(home: HomeResource, variety: str, day: date) -> tuple[list[str], dict[str, float]]:
    """Every row names its contract, segment and schedule, and they are the schedule's."""
    symbol = get_variety(variety).continuous_symbol
    scheduled = load_schedule(home.settings.data, variety).contract_on(day)
    columns = ["underlying_contract", "segment_id", "schedule_hash"]
    table = home.lake.read_day("main_l5", symbol, day, columns=columns)
    expected = {
        "underlying_contract": scheduled.contract,
        "segment_id": scheduled.segment_id,
        "schedule_hash": scheduled.schedule_hash,
    }
    wrong = []
    for column in columns:
        found = set(table[column].unique().to_pylist())
        if found != {expected[column]}:
            wrong.append(f"{column} is {sorted(map(str, found))[:3]}, the schedule says {expected[column]}")
    return wrong, {"rows": table.num_rows}


def coverage_of_day(home: HomeResource, variety: str, day: date) -> tuple[list[str], dict[str, float]]:
    """One row a tick, and no factor that is absent the whole day."""
    symbol = get_variety(variety).continuous_symbol
    table = home.lake.read_day("features", symbol, day)
    expected = home.lake.manifest("main_l5", symbol, day)
    wrong = [] if expected and table.num_rows == expected.rows else ["rows differ from main_l5's"]
    shares = {}
    for name in table.column_names:
        values = table[name].to_numpy()
        if values.dtype == np.float32:
            shares[name] = float(np.isfinite(values).mean()) if len(values) else 0.0
    absent = sorted(name for name, share in shares.items() if share == 0.0)
    if absent:
        wrong.append(f"never there: {', '.join(absent)}")
    return wrong, {"share of values present": float(np.mean(list(shares.values()))) if shares else 0.0}


def labels_of_day(home: HomeResource, variety: str, day: date) -> tuple[list[str], dict[str, float]]:
    """Labels are one of three classes or none, none on the last N rows, and not all the same."""
    symbol = get_variety(variety).continuous_symbol
    manifest = home.lake.manifest("labels", symbol, day)
    horizons = list(manifest.label_spec.horizons) if manifest else []
    columns = [f"label_{horizon}" for horizon in horizons]
    table = home.lake.read_day("labels", symbol, day, columns=columns)
    wrong, figures = [], {}
    for horizon, column in zip(horizons, columns, strict=True):
        values = table[column].to_numpy()
        known = values[values >= 0]
        if np.any((values < -1) | (values > 2)):
            wrong.append(f"{column} holds values that are no class")
        if np.any(values[-horizon:] != -1):
            wrong.append(f"{column} looks beyond the day")
        if len(np.unique(known)) < 2:
            wrong.append(f"{column} has a single class")
        figures[f"flat share at {horizon}"] = float(np.mean(known == 1)) if len(known) else 1.0
    return wrong, figures


def _day_check(asset: str, name: str, dataset: str, check: DayCheck) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=asset, name=name, description=(check.__doc__ or "").strip())
    def body(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(**judge_days(home, days_of_run(context) or _latest(home, dataset), check))

    return body


DAY_CHECKS = [
    _day_check("raw_ticks", TICKS_CHECK, "ticks", ticks_of_day),
    _day_check("main_l5", "provenance_complete", "main_l5", provenance_of_day),
    _day_check("features", "coverage", "features", coverage_of_day),
    _day_check("labels", "distribution", "labels", labels_of_day),
]


@dg.asset_check(asset="benchmark_report", name="has_baselines", description="Every report stands beside its baselines.")
def benchmark_has_baselines(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
    """Prior, majority and persistence, scored on at least two tests; the gain's interval is there."""
    keys = horizon_keys_of_run(context) or list(PARTITIONS.horizon_variety.get_partition_keys())
    return dg.AssetCheckResult(**judge_reports(home, keys))


def judge_reports(home: HomeResource, keys: Iterable[str]) -> dict[str, Any]:
    """`passed`, `metadata` and `description` of the walk-forward reports of horizon x variety keys."""
    problems, count = [], 0
    for key in keys:
        horizon, variety = split_horizon_key(key)
        stored = readable_reports(home.settings, get_variety(variety).continuous_symbol, horizon)
        problems += [f"{family} {key}: {error.message}" for family, error in stored.damaged.items()]
        for report in stored.reports:
            count += 1
            missing = {"prior", "majority", "persistence"} - report.baselines.keys()
            gain = report.model.gain
            if missing:
                problems.append(f"{report.family} {key}: no {', '.join(sorted(missing))}")
            if gain.n < 2 or gain.low is None:
                problems.append(f"{report.family} {key}: no interval")
    if count == 0:
        problems.append("no report")
    return {
        "passed": not problems,
        "metadata": {"reports": count, "problems": problems},
        "description": "; ".join(problems) or f"{count} reports",
    }


_STATES = ("engineering_state", "source_state", "policy_state", "overall_state", "reason_code", "action_hint")


def readiness_of_days(home: HomeResource, wanted: dict[str, list[date]]) -> dict[str, Any]:
    """`passed`, `metadata` and `description` of the readiness of main_l5 days: what the gate of features asks."""
    from ghtrader_market.quality.readiness import readiness, schedule_now
    from ghtrader_market.quality.readiness_types import OVERALL_STATES

    symbols = {variety: get_variety(variety).continuous_symbol for variety in wanted}
    schedules = {variety: schedule_now(home.settings, symbol) for variety, symbol in symbols.items()}
    found = [
        readiness(
            home.settings, "main_l5", symbols[variety], day, calendar=home.calendar, schedule=schedules[variety]
        )
        for variety, days in wanted.items()
        for day in days
    ]  # fmt: skip
    notable = [each for each in found if each.overall_state != "ready"]
    names = ("day", "symbol", *_STATES)
    shown = [each for each in found if each.reason_code != "ok"][:_SHOWN_DAYS]
    metadata = {
        "days": len(found),
        **{state: sum(each.overall_state == state for each in found) for state in OVERALL_STATES},
        "not as they should be": dg.TableMetadataValue(
            records=[dg.TableRecord({name: str(getattr(each, name)) for name in names}) for each in shown],
            schema=dg.TableSchema([dg.TableColumn(name) for name in names]),
        ),
    }
    told = [f"{each.symbol} {each.day}: {each.overall_state}, {each.reason_code}" for each in notable[:3]]
    return {
        "passed": all(each.ready for each in found),
        "metadata": metadata,
        "description": "; ".join(told) or f"{len(found)} days ready",
    }


@dg.asset_check(
    asset="main_l5", name="readiness", description="Whether each day may feed features: the six fields of its quality."
)
def main_l5_readiness(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
    """The same answer that `ghtrader data quality readiness` and the gate of `build` give."""
    wanted = days_of_run(context) or _latest(home, "main_l5")
    return dg.AssetCheckResult(**readiness_of_days(home, wanted))


@dg.asset_check(
    asset="trading_calendar",
    name="holiday_list",
    description="The holiday list reaches far enough and fits what is stored.",
)
def holiday_list_check(context: dg.AssetCheckExecutionContext, home: HomeResource) -> dg.AssetCheckResult:
    """What `ghtrader status` says of the calendar; nothing is stopped by it."""
    state = calendar_state(home.settings, stored_days(home.lake))
    return dg.AssetCheckResult(
        passed=not state.warnings,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=state.to_json(),
        description="; ".join(state.warnings) or f"{state.days_left} days left",
    )


ALL_CHECKS = [*DAY_CHECKS, main_l5_readiness, benchmark_has_baselines, holiday_list_check]
