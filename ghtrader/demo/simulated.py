"""Runs the demo's first part: copper on a simulated exchange, from ticks through TqSdk to a champion that trades.

Everything here is simulated and says so. The pipeline's parts are the ones a real account would meet: Dagster runs,
the unmodified TqSdk client, gateway and strategy as processes of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader.demo.effort import Effort
from ghtrader.demo.pipeline_stages import VARIETY, LiveHalf, build_days, to_a_champion, trade_champion
from ghtrader.demo.progress import Stages
from ghtrader.demo.report import LivePartReport
from ghtrader.demo.trading_results import compare_with_batch, trading_facts
from ghtrader_base.settings import load_settings

if TYPE_CHECKING:
    from ghtrader_exchange.client import ExchangeProcess
    from ghtrader_exchange.world.scenario import Scenario

STRENGTH = 2.0
"""Of the planted signal. From 1 to 2 both models find 0.63 to 0.71 of the oracle's gain on the demo's ten days; at 1
the policy about loses its fees, at 2 it earned more than them in every seed tried (docs/concepts/models.md)."""
LIVE_TICKS_A_SECOND = 250.0


def scenario_of(seed: int, signal: bool, effort: Effort) -> Scenario:
    """The demo's scenario: thinned days of copper, a roll on the fifth."""
    from ghtrader_exchange.world.scenario import Scenario

    scenario = Scenario(seed=seed, world="driver" if signal else "none", strength=STRENGTH)
    return scenario.with_changes(snapshot_seconds=effort.snapshot_seconds)


def run(home: Path, scenario: Scenario, stages: Stages, effort: Effort) -> LiveHalf:
    """Run the first part in `home`; the exchange process ends with it."""
    from ghtrader_exchange.client import ExchangeProcess

    with stages.stage("simulated exchange: an order book behind each contract, TqSdk's protocol on loopback"):
        exchange = ExchangeProcess(scenario, home / "exchange")
        exchange.start()
    try:
        with _pointed_at(exchange):
            return _play(home, exchange, scenario, stages, effort)
    finally:
        exchange.stop()


@contextmanager
def _pointed_at(exchange: ExchangeProcess) -> Iterator[None]:
    """The environment that points TqSdk at the exchange, as it was before afterwards."""
    before = {name: os.environ.get(name) for name in exchange.env}
    os.environ.update(exchange.env)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _play(home: Path, exchange: ExchangeProcess, scenario: Scenario, stages: Stages, effort: Effort) -> LiveHalf:
    from ghtrader_assets.runs import flows
    from ghtrader_market.reference.trading_calendar import load_calendar, parse_day

    settings = load_settings(home)
    calendar = load_calendar(settings)
    first, last, live = (parse_day(exchange.env[f"GHTRADER_EXCHANGE_{name}_DAY"]) for name in ("FIRST", "LAST", "LIVE"))
    days = calendar.days(calendar.next_day(first), last)
    strength = scenario.strength if scenario.world == "driver" else 0.0
    kind = f"simulated, signal planted (strength {strength:g})" if strength else "simulated, no signal"
    facts = to_a_champion(settings, days, scenario.seed, stages, effort, exchange.truth_dir)
    part = LivePartReport(
        kind=kind, simulated=True, pipeline=facts, trading=None, world=scenario.world, strength=strength
    )
    if facts.champion is None:
        return LiveHalf(part, None, None)
    speed = LIVE_TICKS_A_SECOND * scenario.snapshot_seconds

    def start_clock() -> None:
        exchange.control.set_clock(speed=speed, frozen=False)

    summary = trade_champion(settings, stages, f"on {live} (TqKq, clock x{speed:g})", on_ready=start_clock)
    folder = summary.folder
    assert folder is not None
    trading = trading_facts(summary, exchange.control.fills())
    with stages.stage("live against batch: the live day downloaded and built, factors compared bit for bit"):
        _finish_day(exchange, live)
        flows.download_range(settings, VARIETY, live, live, source="demo", progress=stages.detail)
        build_days(settings, VARIETY, [live], stages)
        compared = compare_with_batch(settings, VARIETY, live, folder)
    return LiveHalf(replace(part, trading=replace(trading, live_equals_batch=compared)), folder, live)


def _finish_day(exchange: ExchangeProcess, day: date) -> None:
    """Let the exchange's clock run to the end of the trading day."""
    deadline = time.monotonic() + 30
    while exchange.control.clock().trading_day == day and time.monotonic() < deadline:
        exchange.control.set_clock(speed=20_000.0, frozen=False)
        time.sleep(0.2)
