"""Runs the pipeline's stages of the demo, from a source's ticks to a champion that trades.

The stages are the same on the simulated exchange and on a real service, which differ in who is asked and in what is
known afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader.demo import scores
from ghtrader.demo.effort import JUDGED, Effort
from ghtrader.demo.progress import Stages
from ghtrader.demo.report import LivePartReport, PipelineFacts
from ghtrader.demo.side_by_side import comparison_file
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode

if TYPE_CHECKING:
    from ghtrader_runtime.runlog.summary import RunSummary

VARIETY = "cu"
ACCOUNT = "demo"


@dataclass(frozen=True)
class LiveHalf:
    """What the first part leaves for the report.

    Attributes
    ----------
    part : LivePartReport
        What the report tells of it.
    folder : Path or None
        The trading run, None where nothing was promoted.
    live_day : date or None
        The trading day that was traded and built afterwards; None where it is not over.
    """

    part: LivePartReport
    folder: Path | None
    live_day: date | None

    @property
    def name(self) -> str:
        """Its key in report.json."""
        return "simulated" if self.part.simulated else "service"

    @property
    def title(self) -> str:
        """Its heading in the report."""
        return "Copper on a simulated exchange" if self.part.simulated else f"Copper: {self.part.kind}"


def to_a_champion(
    settings: Settings, days: list[date], seed: int, stages: Stages, effort: Effort, truth: Path | None = None
) -> PipelineFacts:
    """Download, roll, main_l5, factors, labels, models, gate."""
    from ghtrader_assets.runs import flows

    options: dict[str, Any] = {"source": "demo", "progress": stages.detail}
    with stages.stage(f"download: every {VARIETY} contract of {len(days)} trading days through TqSdk"):
        flows.download_range(settings, VARIETY, days[0], days[-1], **options)
    with stages.stage("roll schedule by open interest, main_l5 with provenance, factors and labels"):
        build_days(settings, VARIETY, days, stages)
    judge_models(settings, VARIETY, seed, stages, effort)
    return judged_facts(settings, VARIETY, days, effort, truth)


def build_days(settings: Settings, variety: str, days: list[date], stages: Stages) -> None:
    """Schedule, main_l5, factors and labels of days whose ticks are here."""
    from ghtrader_assets.runs import flows

    options: dict[str, Any] = {"source": "demo", "progress": stages.detail}
    flows.update_schedule(settings, variety, **options)
    flows.build_main(settings, variety, days[0], days[-1], **options)
    flows.build_datasets(settings, variety, days[0], days[-1], **options)


def judged_facts(
    settings: Settings, variety: str, days: list[date], effort: Effort, truth: Path | None = None
) -> PipelineFacts:
    """What a part was made of, its scores and the gate's decision."""
    from ghtrader_assets.results.reports_store import load_decision
    from ghtrader_market.reference.varieties import get_variety

    symbol = get_variety(variety).continuous_symbol
    found = scores.collect(settings, variety, effort.horizons, truth)
    decision = load_decision(settings, symbol, JUDGED)
    return PipelineFacts(
        data=scores.data_facts(settings, variety, days, found.metrics_hash),
        models=found.models,
        tests=found.tests,
        walk_forward_net_pnl=found.net_pnl,
        comparison=comparison_file(settings, variety, JUDGED),
        candidate=decision.bundle_id,
        candidate_family=decision.family,
        champion=decision.bundle_id if decision.promoted else None,
        refused_because=None if decision.promoted else decision.refused_because,
    )


def judge_models(
    settings: Settings, variety: str, seed: int, stages: Stages, effort: Effort, until_ns: int | None = None
) -> None:
    """Train the demo's families at the judged horizon, score them walk-forward, compare them and ask the gate.

    `until_ns` keeps the rows after it out of the candidates' training, so that they may trade there.
    """
    from ghtrader_assets.runs import flows
    from ghtrader_assets.runs.compare import CompareOptions, compare_families

    options: dict[str, Any] = {"source": "demo", "progress": stages.detail}
    with stages.stage(f"models: {_listed(effort.families)} at horizon {JUDGED}"):
        for family, changes in effort.families.items():
            flows.train_family(
                settings, family, variety, JUDGED, seed=seed, until_ns=until_ns, changes=changes, **options
            )
    for families, horizons in effort.by_horizons():
        with stages.stage(f"walk-forward tests: {_listed(families)} at horizon {_listed(horizons)}"):
            flows.benchmark_families(
                settings, families, variety, horizons, seed=seed, changes=effort.families, **options
            )
    compared = CompareOptions(
        families=tuple(effort.families),
        variety=variety,
        horizon=JUDGED,
        changes=effort.families,
        seed=seed,
        until_ns=until_ns,
    )
    with stages.stage(f"comparison at horizon {JUDGED}: {_listed(effort.families)} side by side"):
        compare_families(settings, compared, **options)
    with stages.stage(f"gate at horizon {JUDGED}: the best candidate is promoted or refused"):
        flows.decide_champion(settings, variety, JUDGED, **options)


def _listed(words: Iterable[object]) -> str:
    return ", ".join(map(str, words))


def trade_champion(
    settings: Settings,
    stages: Stages,
    where: str,
    *,
    seconds: float | None = None,
    idle_end_s: float = 10.0,
    on_ready: Callable[[], None] | None = None,
) -> RunSummary:
    """The champion in sim mode (TqKq) through gateway and strategy processes; returns the run's summary.

    Parameters
    ----------
    where : str
        For the stage's title.
    seconds : float, optional
        How long; None until the trading day or its data end.
    idle_end_s : float
        Seconds without a tick after which the data counts as ended.
    on_ready : callable, optional
        Called once the strategy is warm.
    """
    from ghtrader_market.reference.trading_calendar import load_calendar
    from ghtrader_market.reference.varieties import get_variety
    from ghtrader_runtime.gateway.contract_binding import contract_to_trade
    from ghtrader_runtime.run_options import GatewayOptions, StrategyOptions
    from ghtrader_runtime.supervisor import supervisor

    symbol = contract_to_trade(settings.data, get_variety(VARIETY).continuous_symbol, load_calendar(settings))
    with stages.stage(f"trading {symbol} {where}"):
        run_id = supervisor.new_run_id("demo")
        gateway = GatewayOptions(account=ACCOUNT, mode=RunMode.SIM, symbol=symbol, run_id=run_id, idle_end_s=idle_end_s)
        strategy = StrategyOptions(account=ACCOUNT, mode=RunMode.SIM, symbol=symbol, horizon=JUDGED)
        return supervisor.trade(settings, gateway, strategy, seconds, on_ready=on_ready)
