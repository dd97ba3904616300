"""Compares model families: makes the benchmarks and models that are missing, then puts all side by side.

What is there, on the same days and splits and with the same configuration, is not made again: a comparison that was
interrupted goes on where it stopped. A family that fails is named and stops no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ghtrader_assets.results.built_days import built_days
from ghtrader_assets.results.comparison_store import (
    PAGE,
    WantedTests,
    candidate_of,
    comparison_folder,
    load_comparison,
    of_other_code,
    why_not,
)
from ghtrader_assets.results.reports_store import readable_reports
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.execute import Progress, RunResult, run_group, run_job
from ghtrader_assets.runs.series_runs import SeriesRuns
from ghtrader_base.errors import GhtraderError, NoRoomError, UnreachableError, UnwritableError, UsageError
from ghtrader_base.progress_line import CountedLine
from ghtrader_base.settings import Settings
from ghtrader_models.bundles.provenance import data_hash
from ghtrader_models.evaluation.comparison import Comparison
from ghtrader_models.families.base import Preset, get_family, make_config


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What is compared.

    Attributes
    ----------
    families : tuple of str
        Names of `families.table`.
    variety : str
    horizon : int
    contract : str
        One contract instead of the variety's main series.
    start, end : date or None
        Trading days; None for all that are built.
    preset : Preset
        Size of every family.
    changes : mapping of str to mapping
        Family -> fields of its configuration that differ from the preset's.
    seed : int
        Of each fit.
    until_ns : int or None
        Models learn only from rows whose label is known before this moment; their tests are all the same.
    strict, mix : bool
        As `benchmark` has them.
    again : bool
        Make benchmarks and models anew that are there.
    """

    families: tuple[str, ...]
    variety: str
    horizon: int
    contract: str = ""
    start: date | None = None
    end: date | None = None
    preset: Preset = Preset.SMALL
    changes: Mapping[str, flows.Changes] = field(default_factory=dict)
    seed: int = 0
    until_ns: int | None = None
    strict: bool = False
    mix: bool = False
    again: bool = False

    def series(self, settings: Settings) -> SeriesRuns:
        """The runs of the series."""
        return SeriesRuns(
            settings=settings,
            variety=self.variety,
            contract=self.contract,
            horizon=self.horizon,
            start=self.start,
            end=self.end,
        )


@dataclass(frozen=True, kw_only=True)
class CompareResult:
    """What a comparison came to.

    Attributes
    ----------
    comparison : Comparison
    page : Path
        As HTML.
    runs : list of RunResult
        Those that were needed; the last put all side by side.
    """

    comparison: Comparison
    page: Path
    runs: list[RunResult]


@run_group()
def compare_families(
    settings: Settings, options: CompareOptions, *, source: str = "cli", progress: Progress | None = None
) -> CompareResult:
    """Benchmark and train the families for which it is still to be done, and compare them.

    Raises
    ------
    UsageError
        An unknown family or setting, settings of a family that is not compared, a horizon or days that were not built.
    UnreachableError, UnwritableError, NoRoomError
        A server is not there, or the disk refuses or has no room: run it again, and it goes on from here.
    GhtraderError
        No family could be compared.
    """
    for name in options.families:
        make_config(get_family(name), {"preset": options.preset, **options.changes.get(name, {})})
    if others := sorted(set(options.changes) - set(options.families)):
        raise UsageError(f"settings of {others[0]}, which is not compared", f"there are: {', '.join(options.families)}")
    if not options.contract:
        flows.require_built_horizons(settings, options.variety, options.horizon)
    tell: Progress = progress or (lambda line: None)
    wanted, symbol = wanted_tests(settings, options), options.series(settings).symbol
    tell(f"{symbol}: {wanted.words}")
    runs: list[RunResult] = []
    failed: dict[str, str] = {}
    count = len(options.families)
    for number, family in enumerate(options.families):
        tell(CountedLine(f"{number}/{count} {family}", number, count))
        try:
            runs += _made_for(settings, options, family, wanted, tell, source=source, progress=progress)
        except (UnreachableError, UnwritableError, NoRoomError):
            raise  # no other family would fare better; what is made is kept
        except GhtraderError as error:
            failed[family] = error.message
            tell(f"{family} failed: {error.message}")
    tell(CountedLine(f"{count}/{count} side by side", count, count))
    run_config = {
        "symbol": symbol,
        "horizon": options.horizon,
        "families": list(options.families),
        "splits_hash": wanted.splits_hash,
        "data_hash": wanted.data_hash,
        "preset": wanted.preset,
        "settings": {family: dict(changes) for family, changes in wanted.changes.items()},
        "seed": wanted.seed,
        **({} if wanted.until_ns is None else {"until_ns": wanted.until_ns}),
        "failed": failed,
    }
    joined = {"ops": {"join_families": {"config": run_config}}}
    runs.append(run_job(settings, "compare_families", run_config=joined, source=source, progress=progress))
    return CompareResult(
        comparison=load_comparison(settings, symbol, options.horizon),
        page=comparison_folder(settings, symbol, options.horizon) / PAGE,
        runs=runs,
    )


def _made_for(
    settings: Settings,
    options: CompareOptions,
    family: str,
    wanted: WantedTests,
    tell: Progress,
    **how: Any,
) -> list[RunResult]:
    """The runs that one family still needed: its walk-forward report, and a model."""
    series = options.series(settings)
    how |= {"seed": options.seed, "strict": options.strict, "mix": options.mix, "changes": wanted.settings_of(family)}
    stored = readable_reports(settings, series.symbol, options.horizon).reports
    report = next((found for found in stored if found.family == family and not why_not(found, wanted)), None)
    bundle = candidate_of(settings, series.symbol, options.horizon, family, wanted)
    runs: list[RunResult] = []
    if report is None or options.again:
        runs += series.benchmark(family, **how)
    else:
        tell(f"{family}: its benchmark is there")
    if bundle is None or options.again:
        runs += series.train(family, until_ns=options.until_ns, **how)
    else:
        tell(f"{family}: its model is there")
    if not options.again and (other := of_other_code(report, bundle)):
        tell(f"{family}: {other}")
    return runs


def wanted_tests(settings: Settings, options: CompareOptions) -> WantedTests:
    """The tests that every family is to be scored on, found out from the built days."""
    from ghtrader_market.reference.trading_calendar import load_calendar
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.datasets.load import load_dataset
    from ghtrader_models.evaluation.splits import make_splits

    first, last = (day.isoformat() if day is not None else "" for day in (options.start, options.end))
    lake, symbol = Lake(settings.data), options.series(settings).symbol
    dataset = load_dataset(
        lake,
        symbol,
        built_days(lake, symbol, first, last),
        options.horizon,
        entry="benchmark",
        strict=options.strict,
        mix=options.mix or settings.mix_origins,
        calendar=load_calendar(settings),
    )
    plan = make_splits(dataset)
    return WantedTests(
        splits_hash=plan.splits_hash,
        data_hash=data_hash(dataset.facts),
        latency_ms=settings.risk_latency_ms,
        max_order=settings.risk_max_order,
        preset=options.preset.value,
        changes=options.changes,
        seed=options.seed,
        until_ns=options.until_ns,
        words=plan.words,
    )
