"""Defines `train` and `benchmark`: fits a model family on built days, or judges it walk-forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from ghtrader.commands.shared_options import (
    AnySeriesOption,
    EndOption,
    HomeOption,
    JsonOption,
    MixOption,
    StartOption,
    StrictOption,
    TicksKindOption,
    VarietyOption,
    optional_day,
    series_of,
    settings_of,
)
from ghtrader.output import emit_runs
from ghtrader_base.errors import UsageError
from ghtrader_base.settings import Settings
from ghtrader_models.families.table import FAMILIES, family_names

if TYPE_CHECKING:
    from ghtrader_assets.runs.execute import RunResult
    from ghtrader_models.evaluation.policy_fit import PolicyOptions

ModelOption = Annotated[str, typer.Option("--model", help=f"Family: {', '.join(family_names())}.")]
HorizonOption = Annotated[int, typer.Option("--horizon", help="Label horizon in ticks, one that was built.")]

MaxLotsOption = Annotated[int, typer.Option("--max-lots", min=1, help="Policy: lots of a position at the most.")]
SizedOption = Annotated[bool, typer.Option("--sized", help="Policy: lots grow with the edge, up to --max-lots.")]
CostAwareOption = Annotated[
    bool, typer.Option("--cost-aware", help="Policy: enter only where the promised move exceeds spread and fees.")
]
CooldownOption = Annotated[
    int, typer.Option("--cooldown", min=0, help="Policy: ticks after leaving in which nothing is entered.")
]


def _family(name: str) -> str:
    if name not in FAMILIES:
        raise UsageError(f"no model family {name!r}", f"there are: {', '.join(FAMILIES)}")
    return name


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What both commands are asked for: a family at a horizon, on a variety or one contract, and with what policy."""

    settings: Settings
    family: str
    variety: str
    contract: str
    horizon: int
    start: date | None
    end: date | None
    seed: int
    strict: bool
    mix: bool
    policy: PolicyOptions


def _model_options(work: Callable[[_Asked], list[RunResult]]) -> Callable[..., None]:
    """The command that reads the options both commands take, does `work` and prints its run."""

    def command(
        model: ModelOption,
        var: VarietyOption = "",
        symbol: AnySeriesOption = "",
        ticks_kind: TicksKindOption = "",
        horizon: HorizonOption = 50,
        start: StartOption = "",
        end: EndOption = "",
        seed: Annotated[int, typer.Option("--seed", help="Seed of each fit.")] = 0,
        strict: StrictOption = False,
        mix: MixOption = False,
        max_lots: MaxLotsOption = 1,
        sized: SizedOption = False,
        cost_aware: CostAwareOption = False,
        cooldown: CooldownOption = 0,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        settings = settings_of(home)
        key, contract = series_of(var, symbol, ticks_kind)
        first, last = optional_day(start, "--start"), optional_day(end, "--end")
        family = _family(model)

        from ghtrader_models.evaluation.policy_fit import PolicyOptions

        asked = _Asked(
            settings=settings,
            family=family,
            variety=key,
            contract=contract,
            horizon=horizon,
            start=first,
            end=last,
            seed=seed,
            strict=strict,
            mix=mix,
            policy=PolicyOptions(max_lots=max_lots, sized=sized, cost_aware=cost_aware, cooldown=cooldown),
        )
        emit_runs(work(asked), json, variety=key, **({"symbol": contract} if contract else {}))

    command.__name__, command.__doc__ = work.__name__, work.__doc__
    return command


def register(app: typer.Typer) -> None:
    """Add both commands."""

    @app.command()
    @_model_options
    def train(asked: _Asked) -> list[RunResult]:
        """Fit one family on built days and write its bundle. Example: ghtrader train --model xgboost --var cu"""
        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import train_contract, train_family

        if asked.contract:
            run = train_contract(
                asked.settings, asked.family, asked.contract, asked.horizon, asked.start, asked.end,
                seed=asked.seed, policy=asked.policy, strict=asked.strict, mix=asked.mix, progress=stderr_progress(),
            )  # fmt: skip
            return [run]
        return train_family(
            asked.settings, asked.family, asked.variety, asked.horizon, asked.start, asked.end,
            seed=asked.seed, policy=asked.policy, strict=asked.strict, mix=asked.mix, progress=stderr_progress(),
        )  # fmt: skip

    @app.command()
    @_model_options
    def benchmark(asked: _Asked) -> list[RunResult]:
        """Walk-forward report of one family beside the baselines.

        Example: ghtrader benchmark --model logistic --var cu
        """
        from ghtrader_assets.runs.execute import stderr_progress
        from ghtrader_assets.runs.flows import benchmark_contract, benchmark_families

        if asked.contract:
            run = benchmark_contract(
                asked.settings, [asked.family], asked.contract, asked.horizon, asked.start, asked.end,
                seed=asked.seed, policy=asked.policy, strict=asked.strict, mix=asked.mix, progress=stderr_progress(),
            )  # fmt: skip
            return [run]
        return benchmark_families(
            asked.settings, [asked.family], asked.variety, asked.horizon, asked.start, asked.end,
            seed=asked.seed, policy=asked.policy, strict=asked.strict, mix=asked.mix, progress=stderr_progress(),
        )  # fmt: skip
