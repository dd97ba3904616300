"""Defines `strategy run`: the process that turns ticks into targets."""

from __future__ import annotations

from typing import Annotated

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.commands.trading_options import (
    AccountOption,
    FlatOption,
    HorizonOption,
    ModelOption,
    SimOption,
    StopOption,
    SuccessionOption,
    SymbolOption,
)
from ghtrader.output import emit
from ghtrader_base.plain_str_enum import read_word
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import RunMode, SimKind, Succession


def _mode_of(settings: Settings, account: str, mode: str | None, sim: str) -> tuple[RunMode, SimKind]:
    """Mode and simulation of a strategy: as typed, else those of the account's gateway, else `sim`."""
    from ghtrader_runtime.operator_views.gateway_view import running_gateways

    typed = read_word(SimKind, sim, "--sim")
    if mode is not None:
        return read_word(RunMode, mode, "--mode"), typed
    found = {(RunMode(one.mode), SimKind.TQSIM if one.broker.startswith("tqsim") else SimKind.TQKQ)
             for one in running_gateways(settings) if one.account == account}  # fmt: skip
    return found.pop() if len(found) == 1 else (RunMode.SIM, typed)


def register(app: typer.Typer) -> None:
    """Add `ghtrader strategy`."""
    strategy_app = typer.Typer(help="The process that turns ticks into targets.", no_args_is_help=True)
    app.add_typer(strategy_app, name="strategy")

    @strategy_app.callback()
    def about() -> None:
        """The process that turns ticks into targets."""

    @strategy_app.command()
    def run(
        account: AccountOption,
        symbol: SymbolOption,
        mode: Annotated[
            str | None, typer.Option("--mode", help="paper, sim or live; without it that of the account's gateway.")
        ] = None,
        sim: SimOption = "tqkq",
        model: ModelOption = "champion",
        horizon: HorizonOption = 50,
        succession: SuccessionOption = "flat",
        flat_before_end: FlatOption = 60.0,
        flatten_on_stop: StopOption = True,
        monitor_only: Annotated[
            bool, typer.Option("--monitor-only", help="Join no gateway that may send; any model will do then.")
        ] = False,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Join the account's gateway and answer every tick until it ends, SIGTERM or Ctrl-C.

        Example: ghtrader strategy run --account demo --symbol SHFE.cu2502 --model champion
        """
        from ghtrader_runtime.run_options import StrategyOptions
        from ghtrader_runtime.strategy.launch import run_strategy

        settings = settings_of(home)
        run_mode, sim_kind = _mode_of(settings, account, mode, sim)
        options = StrategyOptions(
            account=account, mode=run_mode, symbol=symbol, sim=sim_kind, model=model, horizon=horizon,
            succession=read_word(Succession, succession, "--succession"), flat_before_end_s=flat_before_end,
            flatten_on_stop=flatten_on_stop, monitor_only=monitor_only,
        )  # fmt: skip
        result = run_strategy(settings, options)
        emit(result.to_json(), json, lambda: f"{result.ended}; {result.answered} ticks answered")
