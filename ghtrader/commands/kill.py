"""Defines `kill status|trip|reset`: the durable kill switch of an account."""

from __future__ import annotations

from typing import Annotated

import typer

from ghtrader.commands.shared_options import HomeOption, JsonOption, settings_of
from ghtrader.commands.trading_options import (
    AccountOption,
    ReasonOption,
)
from ghtrader.output import emit, note, table


def register(app: typer.Typer) -> None:
    """Add `ghtrader kill`."""
    kill_app = typer.Typer(help="The durable kill switch of an account.", no_args_is_help=True)
    app.add_typer(kill_app, name="kill")

    columns = ["account", "broker", "tripped", "reason", "since", "gateway_running"]

    @kill_app.command()
    def status(
        account: Annotated[str | None, typer.Option("--account", help="One account; all without it.")] = None,
        mode: Annotated[str | None, typer.Option("--mode", help="One mode; all without it.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Whether it is tripped, why and since when. Example: ghtrader kill status --account demo"""
        from ghtrader_runtime.operator_views import kill_commands

        rows = [row.to_json() for row in kill_commands.status(settings_of(home), account, mode)]
        answer = {"account": account, "tripped": any(row["tripped"] for row in rows), "brokers": rows}
        emit(answer, json, lambda: table(rows, columns) if rows else _none(mode))

    @kill_app.command()
    def trip(
        account: AccountOption,
        reason: ReasonOption,
        mode: Annotated[str | None, typer.Option("--mode", help="One mode; all without it.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Stop all orders of the account, now and after every restart.

        Example: ghtrader kill trip --account demo --reason "spread looks wrong"
        """
        from ghtrader_runtime.operator_views import kill_commands

        settings = settings_of(home)
        known = {ref.name for ref in kill_commands.known_accounts(settings)}
        found = kill_commands.trip(settings, account, reason, mode)
        rows = [row.to_json() for row in found]
        if account not in known:
            note(f"no gateway was ever run for an account {account!r}; its switch is tripped all the same")
        tripped = all(row.tripped or row.told for row in found)
        emit({"account": account, "tripped": tripped, "brokers": rows}, json, lambda: table(rows, columns))
        kill_commands.require_durable(found)

    @kill_app.command()
    def reset(
        account: AccountOption,
        reason: ReasonOption,
        mode: Annotated[str | None, typer.Option("--mode", help="One mode; all without it.")] = None,
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """Allow orders again. Example: ghtrader kill reset --account demo --reason "fixed the model" """
        from ghtrader_runtime.operator_views import kill_commands

        rows = [row.to_json() for row in kill_commands.reset(settings_of(home), account, reason, mode)]
        emit({"account": account, "tripped": False, "brokers": rows}, json, lambda: table(rows, columns))


def _none(mode: str | None) -> str:
    """What there is to do where no account was ever traded."""
    where = f" in mode {mode}" if mode else ""
    return (
        f"no account was traded here yet{where}, so there is no switch to show: `ghtrader trade --account NAME` begins "
        "one, `ghtrader kill trip --account NAME --reason TEXT` stops one before its first order"
    )
