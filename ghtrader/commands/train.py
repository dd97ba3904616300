"""Defines `train` and `benchmark`: fits a model family on built days, or judges it walk-forward."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    StartOption,
    TicksKindOption,
    VarietyOption,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.output import emit_runs
from ghtrader_base.errors import UsageError

ModelOption = Annotated[str, typer.Option("--model", help="Family: logistic or xgboost.")]
HorizonOption = Annotated[int, typer.Option("--horizon", help="Label horizon in ticks: 10, 50, 200.")]

MaxLotsOption = Annotated[int, typer.Option("--max-lots", min=1, help="Policy: lots of a position at the most.")]
SizedOption = Annotated[bool, typer.Option("--sized", help="Policy: lots grow with the edge, up to --max-lots.")]
CostAwareOption = Annotated[
    bool, typer.Option("--cost-aware", help="Policy: enter only where the promised move exceeds spread and fees.")
]
CooldownOption = Annotated[
    int, typer.Option("--cooldown", min=0, help="Policy: ticks after leaving in which nothing is entered.")
]


def _policy(max_lots: int, sized: bool, cost_aware: bool, cooldown: int) -> dict[str, Any]:
    """Fields of `PolicyOptions`; what makes no sense is said before a run begins."""
    from ghtrader_models.evaluation.policy_fit import PolicyOptions

    return PolicyOptions(max_lots=max_lots, sized=sized, cost_aware=cost_aware, cooldown=cooldown).changed()


def _family(name: str) -> str:
    from ghtrader_assets.families import FAMILIES

    if name not in FAMILIES:
        raise UsageError(f"no model family {name!r}", f"there are: {', '.join(FAMILIES)}")
    return name


def _horizon(horizon: int, contract: str = "") -> int:
    """A horizon that has a partition; one contract's models have none, so any that was built will do."""
    from ghtrader_assets.families import HORIZONS

    if not contract and horizon not in HORIZONS:
        raise UsageError(f"no labels for horizon {horizon}", f"there are: {', '.join(map(str, HORIZONS))}")
    return horizon


def register(app: typer.Typer) -> None:
    """Add both commands."""

    @app.command()
    def train(
        model: ModelOption,
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        seed: Annotated[int, typer.Option("--seed", help="Seed of the fit.")] = 0,
        max_lots: MaxLotsOption = 1,
        sized: SizedOption = False,
        cost_aware: CostAwareOption = False,
        cooldown: CooldownOption = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Fit one family on built days and write its bundle. Example: ghtrader train --model xgboost --var cu"""
        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        family, ticks = _family(model), _horizon(horizon, contract)
        policy = _policy(max_lots, sized, cost_aware, cooldown)

        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import run_contract, train_family

        if contract:
            config = {"family": family, "horizon": ticks, "seed": seed, "policy": policy}
            run = run_contract(settings, "train_contract", contract, first, last, config, progress=stderr_progress())
        else:
            run = train_family(
                settings, family, key, ticks, first, last, seed=seed, policy=policy, progress=stderr_progress()
            )
        emit_runs([run], json, variety=key, **({"symbol": contract} if contract else {}))

    @app.command()
    def benchmark(
        model: ModelOption,
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        seed: Annotated[int, typer.Option("--seed", help="Seed of the fits.")] = 0,
        max_lots: MaxLotsOption = 1,
        sized: SizedOption = False,
        cost_aware: CostAwareOption = False,
        cooldown: CooldownOption = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Walk-forward report of one family beside the baselines.

        Example: ghtrader benchmark --model logistic --var cu
        """
        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        family, ticks = _family(model), _horizon(horizon, contract)
        policy = _policy(max_lots, sized, cost_aware, cooldown)

        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import benchmark_families, run_contract

        if contract:
            config = {"families": [family], "horizon": ticks, "seed": seed, "policy": policy}
            run = run_contract(
                settings, "benchmark_contract", contract, first, last, config, progress=stderr_progress()
            )
        else:
            run = benchmark_families(
                settings, [family], key, ticks, first, last, seed=seed, policy=policy, progress=stderr_progress()
            )
        emit_runs([run], json, variety=key, **({"symbol": contract} if contract else {}))
