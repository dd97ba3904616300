"""Compares model families: makes the benchmarks and models that are missing, then puts all side by side.

What is there, on the same days and splits and with the same configuration, is not made again: a comparison that was
interrupted goes on where it stopped. A family that fails is named and stops no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    why_not,
)
from ghtrader_assets.results.reports_store import readable_reports
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.execute import Progress, RunResult, run_group, run_job
from ghtrader_base.errors import GhtraderError, NoRoomError, UnreachableError, UnwritableError
from ghtrader_base.progress_line import CountedLine
from ghtrader_base.settings import Settings
from ghtrader_market.reference.varieties import get_variety
from ghtrader_models.bundles.provenance import data_hash
from ghtrader_models.evaluation.comparison import Comparison
from ghtrader_models.families.base import Preset, get_family


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
    seed : int
        Of each fit.
    strict, mix : bool
        As `benchmark` has them.
    """

    families: tuple[str, ...]
    variety: str
    horizon: int
    contract: str = ""
    start: date | None = None
    end: date | None = None
    preset: Preset = Preset.SMALL
    seed: int = 0
    strict: bool = False
    mix: bool = False

    @property
    def symbol(self) -> str:
        """The series."""
        return self.contract or get_variety(self.variety).continuous_symbol


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
        An unknown family, or a horizon or days that were not built.
    UnreachableError, UnwritableError, NoRoomError
        A server is not there, or the disk refuses or has no room: run it again, and it goes on from here.
    GhtraderError
        No family could be compared.
    """
    for name in options.families:
        get_family(name)
    if not options.contract:
        flows.require_built_horizons(settings, options.variety, options.horizon)
    tell: Progress = progress or (lambda line: None)
    wanted = wanted_tests(settings, options)
    tell(f"{options.symbol}: {wanted.words}")
    runs: list[RunResult] = []
    failed: dict[str, str] = {}
    more: dict[str, Any] = {"progress": progress, **({} if options.contract else {"source": source})}
    count = len(options.families)
    for number, family in enumerate(options.families):
        tell(CountedLine(f"{number}/{count} {family}", number, count))
        try:
            runs += _made_for(settings, options, family, wanted, more, tell)
        except (UnreachableError, UnwritableError, NoRoomError):
            raise  # no other family would fare better; what is made is kept
        except GhtraderError as error:
            failed[family] = error.message
            tell(f"{family} failed: {error.message}")
    tell(CountedLine(f"{count}/{count} side by side", count, count))
    run_config = {
        "symbol": options.symbol,
        "horizon": options.horizon,
        "families": list(options.families),
        "splits_hash": wanted.splits_hash,
        "data_hash": wanted.data_hash,
        "preset": wanted.preset,
        "seed": wanted.seed,
        "failed": failed,
    }
    joined = {"ops": {"join_families": {"config": run_config}}}
    runs.append(run_job(settings, "compare_families", run_config=joined, source=source, progress=progress))
    return CompareResult(
        comparison=load_comparison(settings, options.symbol, options.horizon),
        page=comparison_folder(settings, options.symbol, options.horizon) / PAGE,
        runs=runs,
    )


def _made_for(
    settings: Settings,
    options: CompareOptions,
    family: str,
    wanted: WantedTests,
    more: Mapping[str, Any],
    tell: Progress,
) -> list[RunResult]:
    """The runs that one family still needed: its walk-forward report, and a model of all days."""
    of, horizon, days = options.contract or options.variety, options.horizon, (options.start, options.end)
    changes = {"preset": options.preset.value}
    shared = {"seed": options.seed, "strict": options.strict, "mix": options.mix, **more}
    runs: list[RunResult] = []
    reports = {found.family: found for found in readable_reports(settings, options.symbol, horizon).reports}
    if not why_not(reports.get(family), wanted):
        tell(f"{family}: its benchmark is there")
    elif options.contract:
        run = flows.benchmark_contract(settings, [family], of, horizon, *days, changes={family: changes}, **shared)
        runs.append(run)
    else:
        runs += flows.benchmark_families(settings, [family], of, horizon, *days, changes={family: changes}, **shared)
    if candidate_of(settings, options.symbol, horizon, family, wanted) is not None:
        tell(f"{family}: its model is there")
    elif options.contract:
        runs.append(flows.train_contract(settings, family, of, horizon, *days, changes=changes, **shared))
    else:
        runs += flows.train_family(settings, family, of, horizon, *days, changes=changes, **shared)
    return runs


def wanted_tests(settings: Settings, options: CompareOptions) -> WantedTests:
    """The tests that every family is to be scored on, found out from the built days."""
    from ghtrader_market.reference.trading_calendar import load_calendar
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.datasets.load import load_dataset
    from ghtrader_models.evaluation.splits import make_splits

    first, last = (day.isoformat() if day is not None else "" for day in (options.start, options.end))
    lake = Lake(settings.data)
    dataset = load_dataset(
        lake,
        options.symbol,
        built_days(lake, options.symbol, first, last),
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
        preset=options.preset.value,
        seed=options.seed,
        words=plan.words,
    )
