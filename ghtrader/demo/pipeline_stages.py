"""Runs the pipeline's stages of the demo, from a source's ticks to a champion that trades.

The stages are the same on the simulated exchange and on a real service, which differ in who is asked and in what is
known afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader.demo import scores
from ghtrader.demo.progress import Stages
from ghtrader.demo.report import LivePartReport, PipelineFacts
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode

if TYPE_CHECKING:
    from ghtrader_runtime.runlog.summary import RunSummary

VARIETY = "cu"
FAMILIES = ("logistic", "xgboost")
"""The families that the demo compares, within its minutes; there are more in `ghtrader_models.families.table`."""
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
    settings: Settings, days: list[date], seed: int, stages: Stages, truth: Path | None = None
) -> PipelineFacts:
    """Download, roll, main_l5, factors, labels, models, gate."""
    from ghtrader_assets.runs import flows

    options: dict[str, Any] = {"source": "demo", "progress": stages.detail}
    with stages.stage(f"download: every {VARIETY} contract of {len(days)} trading days through TqSdk"):
        flows.download_range(settings, VARIETY, days[0], days[-1], **options)
    with stages.stage("roll schedule by open interest, main_l5 with provenance, factors and labels"):
        build_days(settings, VARIETY, days, stages)
    judge_models(settings, VARIETY, seed, stages)
    return judged_facts(settings, VARIETY, days, truth)


def build_days(settings: Settings, variety: str, days: list[date], stages: Stages) -> None:
    """Schedule, main_l5, factors and labels of days whose ticks are here."""
    from ghtrader_assets.runs import flows

    options: dict[str, Any] = {"source": "demo", "progress": stages.detail}
    flows.update_schedule(settings, variety, **options)
    flows.build_main(settings, variety, days[0], days[-1], **options)
    flows.build_datasets(settings, variety, days[0], days[-1], **options)


def judged_facts(settings: Settings, variety: str, days: list[date], truth: Path | None = None) -> PipelineFacts:
    """What a part was made of, its scores and the gate's decision."""
    from ghtrader_assets.results.reports_store import load_decision
    from ghtrader_market.reference.varieties import get_variety

    symbol = get_variety(variety).continuous_symbol
    found = scores.collect(settings, variety, truth)
    decision = load_decision(settings, symbol, scores.JUDGED)
    return PipelineFacts(
        data=scores.data_facts(settings, variety, days, found.metrics_hash),
        models=found.models,
        tests=found.tests,
        walk_forward_net_pnl=found.net_pnl,
        candidate=decision.bundle_id,
        candidate_family=decision.family,
        champion=decision.bundle_id if decision.promoted else None,
        refused_because=None if decision.promoted else decision.refused_because,
    )


def judge_models(settings: Settings, variety: str, seed: int, stages: Stages, until_ns: int | None = None) -> None:
    """Train the demo's families at every horizon, score them walk-forward and ask the gate.

    `until_ns` keeps the rows after it out of the candidates' training, so that they may trade there.
    """
    from ghtrader_assets.runs import flows

    options: dict[str, Any] = {"source": "demo", "progress": stages.detail}
    with stages.stage(f"models: {' and '.join(FAMILIES)} at horizons {', '.join(map(str, scores.HORIZONS))}"):
        for family in FAMILIES:
            flows.train_family(settings, family, variety, scores.HORIZONS, seed=seed, until_ns=until_ns, **options)
        flows.benchmark_families(settings, FAMILIES, variety, scores.HORIZONS, seed=seed, **options)
    with stages.stage(f"gate at horizon {scores.JUDGED}: the better candidate is promoted or refused"):
        flows.decide_champion(settings, variety, scores.JUDGED, **options)


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
        strategy = StrategyOptions(account=ACCOUNT, mode=RunMode.SIM, symbol=symbol, horizon=scores.JUDGED)
        return supervisor.trade(settings, gateway, strategy, seconds, on_ready=on_ready)
