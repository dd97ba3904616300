"""Sequences the runs that one command or the daily schedule stands for.

A run materializes assets of one partitions definition, so a command that touches several becomes several runs. What
can be said to be wrong before a run starts is said here, as the error a terminal shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_assets.label_horizons import built_horizons
from ghtrader_assets.partitions import PARTITIONS, day_key, horizon_key
from ghtrader_assets.resources.resources import shared_clients
from ghtrader_assets.results.reports_store import readable_reports
from ghtrader_assets.runs.build_options import BuildOptions
from ghtrader_assets.runs.execute import Progress, RunResult, run_assets, run_group, run_job
from ghtrader_assets.runs.outcomes import together
from ghtrader_assets.runs.room_preflight import require_training_room
from ghtrader_base.errors import FailedError, GhtraderError, UnreachableError, UsageError
from ghtrader_base.settings import Settings
from ghtrader_market.inventory.contract_catalog import load_contracts, no_bars
from ghtrader_market.inventory.depth_start import l5_start
from ghtrader_market.reference.roll_schedule import load_schedule
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.reference.varieties import get_variety
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.unfinished_days import unfinished_days
from ghtrader_models.families.table import FAMILIES
from ghtrader_models.labels.labels import no_horizon

if TYPE_CHECKING:
    from ghtrader_models.evaluation.policy_fit import PolicyOptions
    from ghtrader_models.sweep.space import Space

JOINT_REPORT = "benchmark_report"
Changes = Mapping[str, bool | int | float | str]
"""Fields of a family's configuration that differ from its defaults, and `preset`."""
_OUTSIDE_HINT = "choose days inside them: a day is known once it is over, and GHTRADER_FIRST_DAY says where they begin"


def contiguous(days: Iterable[date]) -> list[tuple[date, date]]:
    """Runs of trading days without a gap, as first and last day: what one partition range can name."""
    wanted = sorted(set(days))
    if not wanted:
        return []
    position = {day: index for index, day in enumerate(PARTITIONS.calendar.days(wanted[0], wanted[-1]))}
    spans = [[wanted[0], wanted[0]]]
    for before, day in zip(wanted, wanted[1:], strict=False):
        if position[day] == position[before] + 1:
            spans[-1][1] = day
        else:
            spans.append([day, day])
    return [(first, last) for first, last in spans]


@run_group()
def run_days(
    settings: Settings,
    selection: str | Iterable[str],
    variety: str,
    days: Iterable[date],
    *,
    run_config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    source: str = "cli",
    progress: Progress | None = None,
) -> list[RunResult]:
    """Materialize day x variety assets for these days, one run a gapless range.

    Days without a partition, such as one that a newer holiday list calls a holiday, are named and left as they are. A
    range that fails holds up no other; only where a server is not there, nobody is asked again.

    Raises
    ------
    UsageError
        None of them has a partition.
    GhtraderError
        Every range that failed, once the others are done.
    """
    due, left = PARTITIONS.split(days)
    if left:
        told = f"{_named(left)} left as they are, outside"
        if not due:
            raise UsageError(f"{told} {PARTITIONS.words()}", _OUTSIDE_HINT)
        if progress is not None:
            progress(f"{told} {PARTITIONS.words()}")
    runs: list[RunResult] = []
    failed: dict[str, GhtraderError] = {}
    for first, last in contiguous(due):
        corners = (day_key(first, variety), day_key(last, variety))
        try:
            runs.append(
                run_assets(
                    settings,
                    selection,
                    corners if first != last else corners[0],
                    run_config=run_config,
                    tags=tags,
                    source=source,
                    progress=progress,
                )
            )
        except GhtraderError as error:
            failed[corners[0] if first == last else "...".join(corners)] = error
            if isinstance(error, UnreachableError):
                break
    if failed:
        raise together(failed, sum(len(run.metadata) for run in runs))
    return runs


def require_finished_days(settings: Settings, start: date, end: date) -> list[date]:
    """Trading days of a range that all have a partition.

    Raises
    ------
    UsageError
        The range is reversed, has no trading day, or leaves the days that have partitions.
    """
    days = load_calendar(settings).require_days(start, end)
    if PARTITIONS.split(days)[1]:
        raise UsageError(f"{days[0]} to {days[-1]} leaves {PARTITIONS.words()}", _OUTSIDE_HINT)
    return days


@run_group()
@shared_clients()
def download_range(
    settings: Settings,
    variety: str,
    start: date,
    end: date,
    *,
    workers: int = 0,
    source: str = "cli",
    progress: Progress | None = None,
) -> list[RunResult]:
    """Contracts, daily bars and ticks of every contract that traded in the range.

    Daily bars start one trading day earlier: the main contract of a day is decided by the day before.
    """
    key = get_variety(variety).key
    days = require_finished_days(settings, start, end)
    before = PARTITIONS.calendar.previous_day(days[0])
    bar_days = [before, *days] if before >= PARTITIONS.first_day else days
    options: dict[str, Any] = {"source": source, "progress": progress}
    runs = [update_contracts(settings, key, bar_days[0], days[-1], **options)]
    runs += run_days(settings, "daily_bars", key, bar_days, **options)
    _require_bars(settings, key, days)
    runs += run_days(
        settings, "raw_ticks", key, days, run_config={"ops": {"raw_ticks": {"config": {"workers": workers}}}}, **options
    )
    return runs


def update_contracts(
    settings: Settings,
    variety: str,
    start: date,
    end: date,
    *,
    source: str = "cli",
    progress: Progress | None = None,
) -> RunResult:
    """The holiday list, and the contracts of a variety that lived between two days.

    Raises
    ------
    FailedError
        None is known, now or from before.
    """
    window = {"start": start.isoformat(), "end": end.isoformat()}
    run = run_assets(
        settings, ["trading_calendar", "contracts"], variety,
        run_config={"ops": {"contracts": {"config": window}}}, source=source, progress=progress,
    )  # fmt: skip
    if not load_contracts(settings.data, variety):
        raise FailedError(f"the source lists no contract of {variety} between {start} and {end}", "choose other days")
    return run


def _require_bars(settings: Settings, variety: str, days: Sequence[date]) -> None:
    """Say so where the source has no daily bar on any of the days: then nothing traded, and there are no ticks."""
    lake = Lake(settings.data)
    if not any(lake.has_day("daily_bars", variety, day) for day in days):
        raise no_bars(lake, variety, days)


def download_contract(
    settings: Settings, symbol: str, start: date, end: date, *, progress: Progress | None = None
) -> RunResult:
    """Ticks of one symbol in a range; what is there already is kept."""
    config = {"symbol": symbol, "start": start.isoformat(), "end": end.isoformat()}
    return _run_op(settings, "download_contract", "fetch_contract", config, progress=progress)


def update_variety(
    settings: Settings,
    variety: str,
    *,
    recent_expired_days: int,
    refresh_catalog: bool,
    workers: int,
    progress: Progress | None = None,
) -> RunResult:
    """Active and recently expired contracts of a variety, up to the last finished day.

    Parameters
    ----------
    recent_expired_days : int
        Days a contract is still filled after its expiry.
    refresh_catalog : bool
        Ask for the contract list even where it is fresh.
    workers : int
        TqSdk clients at once; 0 for the job's own number.
    """
    config = {
        "variety": variety,
        "recent_expired_days": recent_expired_days,
        "refresh_catalog": refresh_catalog,
        "workers": workers,
    }
    return _run_op(settings, "update_variety", "fill_forward", config, progress=progress)


def import_recordings(
    settings: Settings,
    paths: Sequence[Path],
    *,
    variety: str = "",
    symbol: str = "",
    layout: str = "",
    time_zone: str = "",
    columns: Path | None = None,
    source: str = "cli",
    progress: Progress | None = None,
) -> RunResult:
    """Files and folders of recordings people already have; the rest where a file does not say (`columns` is a map)."""
    config = {
        "paths": [str(path.absolute()) for path in paths],
        "variety": variety,
        "symbol": symbol,
        "layout": layout,
        "time_zone": time_zone,
        "columns": str(columns.absolute()) if columns is not None else "",
    }
    return _run_op(settings, "import_recordings", "read_recordings", config, source=source, progress=progress)


def _run_op(
    settings: Settings,
    job: str,
    op: str,
    config: Mapping[str, Any],
    *,
    source: str = "cli",
    progress: Progress | None = None,
) -> RunResult:
    """A job of one op."""
    run_config = {"ops": {op: {"config": dict(config)}}}
    return run_job(settings, job, run_config=run_config, source=source, progress=progress)


def update_schedule(
    settings: Settings, variety: str, *, source: str = "cli", progress: Progress | None = None
) -> list[RunResult]:
    """The roll schedule from what is stored."""
    return [run_assets(settings, "main_schedule", get_variety(variety).key, source=source, progress=progress)]


def main_days(
    settings: Settings,
    variety: str,
    start: date | None,
    end: date | None,
    progress: Progress | None = None,
    *,
    allow_unfinished: bool = False,
) -> tuple[list[date], FailedError | None]:
    """Scheduled days whose contract has ticks, inside a range or all of them, and what is missing of the range.

    Days whose ticks are stubs (`unfinished_days`) are told to `progress` and left out, unless `allow_unfinished`.

    Without `start` it begins with the first day that has real depth, where one is known (`ghtrader data l5-start`).

    Raises
    ------
    FailedError
        No day can be built, or none has depth and no start was named; says what to do.
    UsageError
        The range is wrong.
    """
    key = get_variety(variety).key
    schedule = load_schedule(settings.data, key)
    lake = Lake(settings.data)
    calendar = load_calendar(settings)

    def inside(day: date) -> bool:
        return (start is None or day >= start) and (end is None or day <= end)

    recorded = {c: unfinished_days(lake, calendar, c) for c in {day.contract for day in schedule.days}}
    stubs = {day.day: recorded[day.contract][day.day] for day in schedule.days if day.day in recorded[day.contract]}
    asked = [why for day, why in stubs.items() if inside(day)]
    if asked and progress is not None:
        progress(f"{'not recorded to the end' if allow_unfinished else 'left out'}: {'; '.join(asked)}")
    if allow_unfinished:
        stubs = {}
    found = [d.day for d in schedule.days if d.day not in stubs and lake.has_day("ticks", d.contract, d.day)]
    if asked and not any(map(inside, found)):
        raise FailedError(
            f"{asked[0]}: no main series is made of it",
            "download the day once it is over; to use it as it is: --allow-unfinished",
        )
    if start is None and found and (depth := l5_start(settings, key)) is not None:
        flat = found[0]
        found = [day for day in found if day >= depth]
        if not found:
            raise FailedError(
                f"all ticks of {key}'s main contracts lie before {depth}, its first day with real depth",
                f"to build them all the same: ghtrader main-l5 --var {key} --start {flat}",
            )
    if start is not None or end is not None:
        if not found and (start is None or end is None):
            raise FailedError(f"no ticks of {key}'s main contracts are here", "download or import them first")
        wanted = require_finished_days(settings, start or found[0], end or found[-1])
        wanted = [day for day in wanted if day not in stubs]
        here = set(found)
        missing = [day for day in wanted if day not in here]
        if not missing:
            return wanted, None
        lacking = FailedError(
            f"{len(missing)} of {len(wanted)} days have no ticks of {key}'s main contract: {_named(missing)}",
            f"ghtrader download-contract-range --var {key} --start {missing[0]} --end {missing[-1]}",
        )
        if len(missing) == len(wanted):
            raise lacking
        return [day for day in wanted if day in here], lacking
    if not found:
        raise FailedError(f"no ticks of {key}'s main contracts are here", "download or import them first")
    return found, None


def _named(days: Sequence[date]) -> str:
    """The first of some days, for a sentence."""
    return f"{', '.join(map(str, days[:5]))}{f' and {len(days) - 5} more' if len(days) > 5 else ''}"


def build_main(
    settings: Settings,
    variety: str,
    start: date | None,
    end: date | None,
    *,
    overwrite: bool = False,
    allow_unfinished: bool = False,
    source: str = "cli",
    progress: Progress | None = None,
) -> list[RunResult]:
    """main_l5 of a range, or of everything that can be built.

    Raises
    ------
    FailedError
        Naming the days of the range whose ticks are missing; the others are built.
    """
    days, lacking = main_days(settings, variety, start, end, progress, allow_unfinished=allow_unfinished)
    config = {"ops": {"main_l5": {"config": {"overwrite": overwrite, "allow_unfinished": allow_unfinished}}}}
    key = get_variety(variety).key
    runs = run_days(settings, "main_l5", key, days, run_config=config, source=source, progress=progress)
    if lacking is not None:
        raise lacking
    return runs


def dataset_days(settings: Settings, variety: str, start: date | None, end: date | None) -> list[date]:
    """main_l5 days inside a range, or all of them; `FailedError` where there are none."""
    key = get_variety(variety).key
    found = Lake(settings.data).days("main_l5", get_variety(key).continuous_symbol)
    if start is not None and end is not None:
        require_finished_days(settings, start, end)
    days = [day for day in found if (start is None or day >= start) and (end is None or day <= end)]
    if not days:
        raise FailedError(f"no main_l5 day of {key} in this range", f"first: ghtrader main-l5 --var {key}")
    return days


def build_datasets(
    settings: Settings,
    variety: str,
    start: date | None,
    end: date | None,
    options: BuildOptions | None = None,
    *,
    source: str = "cli",
    progress: Progress | None = None,
) -> list[RunResult]:
    """Features and labels of main_l5 days; `options`: the defaults where absent."""
    days = dataset_days(settings, variety, start, end)
    config = {"ops": {"datasets": {"config": (options or BuildOptions()).to_dict()}}}
    return run_days(
        settings, ["features", "labels"], get_variety(variety).key, days,
        run_config=config, source=source, progress=progress,
    )  # fmt: skip


def contract_days(settings: Settings, dataset: str, symbol: str, start: date | None, end: date | None) -> list[date]:
    """Days of one contract that a dataset holds, inside a range or all of them.

    Raises
    ------
    FailedError
        There are none; says what to run first.
    """
    if start is not None and end is not None:
        load_calendar(settings).require_days(start, end)
    found = Lake(settings.data).days(dataset, symbol)
    days = [day for day in found if (start is None or day >= start) and (end is None or day <= end)]
    if not days:
        first = "download" if dataset == "ticks" else "build"
        kind = "" if dataset == "ticks" else " --ticks-kind raw"
        raise FailedError(f"no {dataset} of {symbol} in this range", f"first: ghtrader {first} --symbol {symbol}{kind}")
    return days


def _contract_window(
    settings: Settings, dataset: str, symbol: str, start: date | None, end: date | None
) -> dict[str, str]:
    """The contract, and the first and last of its stored days."""
    days = contract_days(settings, dataset, symbol, start, end)
    return {"symbol": symbol, "start": days[0].isoformat(), "end": days[-1].isoformat()}


def build_contract(
    settings: Settings,
    symbol: str,
    start: date | None,
    end: date | None,
    options: BuildOptions | None = None,
    *,
    progress: Progress | None = None,
) -> RunResult:
    """Features and labels of one contract's own ticks: observed, never materialized."""
    window = _contract_window(settings, "ticks", symbol, start, end)
    config = {**window, **(options or BuildOptions()).to_dict()}
    return _run_op(settings, "build_contract", "build_one_contract", config, progress=progress)


def train_contract(
    settings: Settings,
    family: str,
    symbol: str,
    horizon: int,
    start: date | None = None,
    end: date | None = None,
    *,
    seed: int = 0,
    changes: Changes | None = None,
    policy: PolicyOptions | None = None,
    strict: bool = False,
    mix: bool = False,
    devices: int = 1,
    until_ns: int | None = None,
    source: str = "cli",
    progress: Progress | None = None,
) -> RunResult:
    """Train one family on one contract's built days, at any horizon they have: observed, never materialized."""
    window = _contract_window(settings, "features", symbol, start, end)
    config = {**window, "family": family, "horizon": horizon, "seed": seed, "policy": _policy(policy), "strict": strict}
    config |= {"mix": mix, "settings": dict(changes or {}), "devices": devices}
    require_training_room(settings, symbol, start, end, work=f"a training of {family}", runs=1)
    if until_ns is not None:
        config["until_ns"] = until_ns
    return _run_op(settings, "train_contract", "train_one_contract", config, source=source, progress=progress)


def benchmark_contract(
    settings: Settings,
    families: Sequence[str],
    symbol: str,
    horizon: int,
    start: date | None = None,
    end: date | None = None,
    *,
    seed: int = 0,
    changes: Mapping[str, Changes] | None = None,
    policy: PolicyOptions | None = None,
    strict: bool = False,
    mix: bool = False,
    devices: int = 1,
    source: str = "cli",
    progress: Progress | None = None,
) -> RunResult:
    """Walk-forward reports of some families on one contract's built days: observed, never materialized."""
    window = _contract_window(settings, "features", symbol, start, end)
    config = {
        **window,
        "families": list(families),
        "horizon": horizon,
        "seed": seed,
        "policy": _policy(policy),
        "strict": strict,
        "mix": mix,
        "settings": {family: dict(found) for family, found in (changes or {}).items()},
        "devices": devices,
    }
    work = f"a benchmark of {', '.join(families)}"
    require_training_room(settings, symbol, start, end, work=work, runs=len(families))
    return _run_op(settings, "benchmark_contract", "benchmark_one_contract", config, source=source, progress=progress)


def sweep_settings(
    settings: Settings,
    family: str,
    symbol: str,
    horizon: int,
    start: date | None = None,
    end: date | None = None,
    *,
    space: Space,
    trials: int,
    workers: int = 0,
    row_limit_us: float = 0.0,
    caution: float = 1.0,
    seed: int = 0,
    mix: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Search for settings of a family on a main series or one contract: observed, never materialized.

    Parameters
    ----------
    space : Space
        What is searched.
    trials : int
        How many are wanted, with those that the study has.
    workers : int
        Trials at once; 0 for one a core.
    row_limit_us : float
        Median time of a row at the most, microseconds; 0 for none.
    caution : float
        Standard errors that are taken off the mean gain.
    """
    config = {
        **_window(settings, start, end),
        "symbol": symbol,
        "family": family,
        "horizon": horizon,
        "space": space.to_dict(),
        "trials": trials,
        "workers": workers,
        "row_limit_us": row_limit_us,
        "caution": caution,
        "seed": seed,
        "mix": mix,
    }
    require_training_room(settings, symbol, start, end, work=f"a sweep of {family}", runs=1)
    return _run_op(settings, "sweep", "search_settings", config, progress=progress)


def _policy(options: PolicyOptions | None) -> dict[str, Any]:
    return {} if options is None else options.to_dict()


def _horizon_runs(
    settings: Settings,
    selection: str | Iterable[str],
    variety: str,
    horizons: int | Sequence[int],
    run_config: Mapping[str, Any] | None,
    source: str,
    progress: Progress | None,
) -> list[RunResult]:
    """One run for all horizons that have neighbouring partitions; a range takes all that lie in it."""
    key = get_variety(variety).key
    wanted = [horizons] if isinstance(horizons, int) else sorted(set(horizons))
    for horizon in wanted:
        if horizon not in PARTITIONS.horizon_ticks:
            raise _no_partition(settings, key, horizon)
    runs = []
    for span in neighbouring(wanted, PARTITIONS.horizon_ticks):
        corners = (horizon_key(span[0], key), horizon_key(span[-1], key))
        partition = corners if len(span) > 1 else corners[0]
        runs.append(
            run_assets(settings, selection, partition, run_config=run_config, source=source, progress=progress)
        )
    return runs


def neighbouring(wanted: Sequence[int], known: Sequence[int]) -> list[list[int]]:
    """Ascending horizons in stretches without a known one between them."""
    spans: list[list[int]] = []
    for horizon in wanted:
        place = known.index(horizon)
        if spans and place and known[place - 1] == spans[-1][-1]:
            spans[-1].append(horizon)
        else:
            spans.append([horizon])
    return spans


def _no_partition(settings: Settings, key: str, horizon: int) -> UsageError:
    """What is wrong with a horizon without a partition: not built, or built since this process loaded the pipeline."""
    symbol = get_variety(key).continuous_symbol
    built = built_horizons(Lake(settings.data), symbol)
    if horizon in built:
        return UsageError(
            f"horizon {horizon} of {symbol} was built since this process loaded the pipeline",
            "start the command again; in the web UI reload the code location",
        )
    return no_horizon(symbol, horizon, built)


def require_built_horizons(settings: Settings, variety: str, horizons: int | Sequence[int]) -> None:
    """Say before a run begins that labels were built, but not at a horizon.

    Raises
    ------
    UsageError
        Naming the horizons there are.
    """
    symbol = get_variety(variety).continuous_symbol
    built = built_horizons(Lake(settings.data), symbol)
    for horizon in [horizons] if isinstance(horizons, int) else horizons:
        if built and horizon not in built:
            raise no_horizon(symbol, horizon, built)


def _window(settings: Settings, start: date | None, end: date | None) -> dict[str, str]:
    if start is not None and end is not None:
        load_calendar(settings).require_days(start, end)
    return {"start": start.isoformat() if start else "", "end": end.isoformat() if end else ""}


def train_family(
    settings: Settings,
    family: str,
    variety: str,
    horizons: int | Sequence[int],
    start: date | None = None,
    end: date | None = None,
    *,
    seed: int = 0,
    until_ns: int | None = None,
    changes: Changes | None = None,
    policy: PolicyOptions | None = None,
    strict: bool = False,
    mix: bool = False,
    devices: int = 1,
    source: str = "cli",
    progress: Progress | None = None,
) -> list[RunResult]:
    """Train one family at one horizon or at several, neighbouring ones (10, 50, 200) in one run.

    Parameters
    ----------
    until_ns : int, optional
        Learn only from rows whose label is known before this moment.
    changes : mapping, optional
        Fields of the family's configuration that differ from its defaults.
    policy : PolicyOptions, optional
        How probabilities become positions; the defaults where absent.
    strict : bool
        Refuse where a day does not go with the others, instead of leaving it out.
    mix : bool
        Take days of different markets together.
    devices : int
        Processes that train a network together.
    """
    config = {**_window(settings, start, end), "seed": seed, "policy": _policy(policy), "strict": strict}
    config |= {"mix": mix, "settings": dict(changes or {}), "devices": devices}
    if until_ns is not None:
        config["until_ns"] = until_ns
    name = f"model_{family}"
    require_built_horizons(settings, variety, horizons)
    symbol, models = get_variety(variety).continuous_symbol, 1 if isinstance(horizons, int) else len(horizons)
    require_training_room(settings, symbol, start, end, work=f"a training of {family}", runs=models)
    return _horizon_runs(settings, name, variety, horizons, {"ops": {name: {"config": config}}}, source, progress)


@run_group()
def benchmark_families(
    settings: Settings,
    families: Sequence[str],
    variety: str,
    horizons: int | Sequence[int],
    start: date | None = None,
    end: date | None = None,
    *,
    seed: int = 0,
    changes: Mapping[str, Changes] | None = None,
    policy: PolicyOptions | None = None,
    strict: bool = False,
    mix: bool = False,
    devices: int = 1,
    source: str = "cli",
    progress: Progress | None = None,
) -> list[RunResult]:
    """Walk-forward reports of some families, on the same splits, a run each; see `reports_store.load_reports`.

    Each run brings `benchmark_report` up to date; a family that fails stops no other.

    Parameters
    ----------
    changes : mapping of str to mapping, optional
        Family -> fields of its configuration that differ from its defaults.
    policy : PolicyOptions, optional
        How probabilities become positions, for all families alike; the defaults where absent.
    strict : bool
        Refuse where a day does not go with the others, instead of leaving it out.
    mix : bool
        Take days of different markets together.
    devices : int
        Processes that train a network together.

    Raises
    ------
    GhtraderError
        Every family that failed, once the reports of the others are made.
    """
    require_built_horizons(settings, variety, horizons)
    symbol, reports = get_variety(variety).continuous_symbol, 1 if isinstance(horizons, int) else len(horizons)
    work = f"a benchmark of {', '.join(families)}"
    require_training_room(settings, symbol, start, end, work=work, runs=reports * len(families))
    shared = {
        **_window(settings, start, end),
        "seed": seed,
        "policy": _policy(policy),
        "strict": strict,
        "mix": mix,
        "devices": devices,
    }
    options: dict[str, Any] = {"source": source, "progress": progress}
    runs: list[RunResult] = []
    failed: dict[str, GhtraderError] = {}
    for family in families:
        name = f"benchmark_{family}"
        config = {"ops": {name: {"config": {**shared, "settings": dict((changes or {}).get(family, {}))}}}}
        try:
            if family not in FAMILIES:
                raise UsageError(f"no model family {family!r}", f"known: {', '.join(FAMILIES)}")
            runs += _horizon_runs(settings, [name, JOINT_REPORT], variety, horizons, config, **options)
        except GhtraderError as error:
            failed[family] = error
            if isinstance(error, UnreachableError):
                break
    if failed:
        reported = _with_reports(settings, variety, horizons)
        if reported:
            runs += _horizon_runs(settings, JOINT_REPORT, variety, reported, None, **options)
        raise together(failed, len(families) - len(failed))
    return runs


def _with_reports(settings: Settings, variety: str, horizons: int | Sequence[int]) -> list[int]:
    """Those of some horizons that some family has a report at."""
    symbol = get_variety(variety).continuous_symbol
    wanted = [horizons] if isinstance(horizons, int) else horizons
    return [horizon for horizon in wanted if readable_reports(settings, symbol, horizon).reports]


def decide_champion(
    settings: Settings,
    variety: str,
    horizon: int,
    *,
    accept_large_gain: bool = False,
    source: str = "cli",
    progress: Progress | None = None,
) -> RunResult:
    """Ask the gate; its words are in the run's metadata and at `reports_store.decision_path`.

    Parameters
    ----------
    accept_large_gain : bool
        Promote also a gain that is questioned for its size alone.
    """
    config = {"ops": {"champion": {"config": {"accept_large_gain": accept_large_gain}}}}
    (run,) = _horizon_runs(settings, "champion", variety, horizon, config, source, progress)
    return run
