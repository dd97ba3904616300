"""The demo's first half: copper on a simulated exchange, from ticks through TqSdk to a champion that trades.

Everything here is simulated and says so. The pipeline's parts are the ones a real account would meet: Dagster runs,
the unmodified TqSdk client, gateway and strategy as processes of their own.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader.demo import scores
from ghtrader.demo.stage import Stages
from ghtrader.demo.trading import compare_with_batch, trading_facts
from ghtrader_base.settings import Settings, load_settings

if TYPE_CHECKING:
    from ghtrader_exchange.launch import ExchangeProcess
    from ghtrader_exchange.scenario import Scenario

VARIETY = "cu"
STRENGTH = 2.0
"""Of the planted signal. From 1 to 2 both models find 0.63 to 0.71 of the oracle's gain on the demo's ten days; at 1
the policy about loses its fees, at 2 it earned more than them in every seed tried (docs/models.md)."""
LIVE_TICKS_A_SECOND = 150.0
ACCOUNT = "demo"


@dataclass(frozen=True)
class SimulatedHalf:
    """What the first half leaves for the report.

    Attributes
    ----------
    facts : dict
        `simulated` of report.json, without a verdict.
    folder : Path or None
        The trading run, None where nothing was promoted.
    live_day : str
        The trading day after the history.
    """

    facts: dict[str, Any]
    folder: Path | None
    live_day: str


def scenario_of(seed: int, signal: bool, quick: bool) -> Scenario:
    """The demo's scenario: thinned days of copper, a roll on the fifth; `quick` has longer gaps between snapshots."""
    from ghtrader_exchange.scenario import Scenario

    scenario = Scenario(seed=seed, world="driver" if signal else "none", strength=STRENGTH)
    return scenario.with_changes(snapshot_seconds=10.0) if quick else scenario


def run(home: Path, scenario: Scenario, stages: Stages) -> SimulatedHalf:
    """Play the first half in `home`; the exchange process ends with it."""
    from ghtrader_exchange.launch import ExchangeProcess

    with stages.stage("simulated exchange: an order book behind each contract, TqSdk's protocol on loopback"):
        exchange = ExchangeProcess(scenario, home / "exchange")
        exchange.start()
    before = dict(os.environ)
    try:
        os.environ.update(exchange.env)
        return _with_exchange(load_settings(home), exchange, scenario, stages)
    finally:
        exchange.stop()
        for name in exchange.env:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


def _with_exchange(settings: Settings, exchange: ExchangeProcess, scenario: Scenario, stages: Stages) -> SimulatedHalf:
    from ghtrader_assets import flows
    from ghtrader_market.calendar import load_calendar, parse_day

    first, last = (parse_day(exchange.env[f"GHTRADER_EXCHANGE_{name}_DAY"]) for name in ("FIRST", "LAST"))
    calendar = load_calendar(settings)
    days = calendar.days(calendar.next_day(first), last)
    options = {"source": "demo", "progress": stages.detail}
    with stages.stage(f"download: every {VARIETY} contract of {len(days)} trading days through TqSdk"):
        flows.download_range(settings, VARIETY, days[0], days[-1], **options)
    with stages.stage("roll schedule by open interest, main_l5 with provenance, factors and labels"):
        flows.update_schedule(settings, VARIETY, **options)
        flows.build_main(settings, VARIETY, days[0], days[-1], **options)
        flows.build_datasets(settings, VARIETY, days[0], days[-1], **options)
    judge_models(settings, VARIETY, scenario.seed, stages)
    found = scores.collect(settings, VARIETY, exchange.truth_dir)
    facts = scores.facts(settings, VARIETY, days)
    facts["hashes"]["models"] = found["hash"]
    decision = read_decision(settings, VARIETY)
    facts |= {
        "simulated": True,
        "world": scenario.world,
        "strength": scenario.strength if scenario.world == "driver" else 0.0,
        "models": found["models"],
        "tests": found["tests"],
        "walk_forward_net_pnl": found["pnl"],
        "champion": decision["bundle_id"] if decision["promoted"] else None,
        "refused_because": None if decision["promoted"] else decision["refused_because"],
        "trading": None,
    }
    folder = None
    if decision["promoted"]:
        facts["trading"], folder = _trade(settings, exchange, scenario, stages)
        with stages.stage("live against batch: the live day downloaded and built, factors compared bit for bit"):
            facts["trading"]["live_equals_batch"] = _live_equals_batch(settings, exchange, folder, options)
    return SimulatedHalf(facts, folder, exchange.env["GHTRADER_EXCHANGE_LIVE_DAY"])


def judge_models(settings: Settings, variety: str, seed: int, stages: Stages, until_ns: int | None = None) -> None:
    """Train both families at every horizon, score them walk-forward and ask the gate.

    `until_ns` keeps the rows after it out of the candidates' training, so that they may trade there.
    """
    from ghtrader_assets import flows
    from ghtrader_assets.families import FAMILIES

    options = {"source": "demo", "progress": stages.detail}
    with stages.stage(f"models: {' and '.join(FAMILIES)} at horizons {', '.join(map(str, scores.HORIZONS))}"):
        for family in FAMILIES:
            flows.train_family(settings, family, variety, scores.HORIZONS, seed=seed, until_ns=until_ns, **options)
        flows.benchmark_families(settings, FAMILIES, variety, scores.HORIZONS, seed=seed, **options)
    with stages.stage(f"gate at horizon {scores.JUDGED}: the better candidate is promoted or refused"):
        flows.decide_champion(settings, variety, scores.JUDGED, **options)


def read_decision(settings: Settings, variety: str) -> dict[str, Any]:
    """What the gate said at the judged horizon."""
    from ghtrader_assets.results import decision_path
    from ghtrader_base.files import read_json
    from ghtrader_market.varieties import get_variety

    return read_json(decision_path(settings, get_variety(variety).continuous_symbol, scores.JUDGED))


def _trade(
    settings: Settings, exchange: ExchangeProcess, scenario: Scenario, stages: Stages
) -> tuple[dict[str, Any], Path]:
    """The champion over the live day: TqKq against the exchange, whose clock waits until the strategy is warm."""
    from ghtrader_market.calendar import load_calendar
    from ghtrader_market.varieties import get_variety
    from ghtrader_runtime import supervisor
    from ghtrader_runtime.bindings import contract_to_trade
    from ghtrader_runtime.options import GatewayOptions, StrategyOptions

    speed = LIVE_TICKS_A_SECOND * scenario.snapshot_seconds
    symbol = contract_to_trade(settings.data, get_variety(VARIETY).continuous_symbol, load_calendar(settings))
    title = f"trading {symbol} on {exchange.env['GHTRADER_EXCHANGE_LIVE_DAY']} (TqKq, clock x{speed:g})"
    with stages.stage(title):
        gateway = GatewayOptions(
            account=ACCOUNT, mode="sim", symbol=symbol, run_id=supervisor.new_run_id("demo"), idle_end_s=10.0
        )
        strategy = StrategyOptions(account=ACCOUNT, mode="sim", symbol=symbol, horizon=scores.JUDGED)
        summary = supervisor.trade(
            settings, gateway, strategy, on_ready=lambda: exchange.control.set_clock(speed=speed, frozen=False)
        )
    return trading_facts(summary, exchange.control.fills()), Path(summary["folder"])


def _live_equals_batch(
    settings: Settings, exchange: ExchangeProcess, folder: Path, options: dict[str, Any]
) -> dict[str, Any]:
    """Download and build the day just traded like any other day, then compare."""
    from ghtrader_assets import flows
    from ghtrader_market.calendar import parse_day

    day = parse_day(exchange.env["GHTRADER_EXCHANGE_LIVE_DAY"])
    deadline = time.monotonic() + 30
    while exchange.control.clock()["trading_day"] == str(day) and time.monotonic() < deadline:
        exchange.control.set_clock(speed=20_000.0, frozen=False)
        time.sleep(0.2)
    flows.download_range(settings, VARIETY, day, day, **options)
    flows.update_schedule(settings, VARIETY, **options)
    flows.build_main(settings, VARIETY, day, day, **options)
    flows.build_datasets(settings, VARIETY, day, day, **options)
    return compare_with_batch(settings, VARIETY, day, folder)
