"""The factor library from the command line: what there is, what a factor says, how it is computed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ghtrader.commands.factors_evaluate import add_evaluate
from ghtrader.console_io import HomeOption, JsonOption, emit, table

SetOption = Annotated[
    str, typer.Option("--set", help="Factor set: see the first lines of `factors list`; or FILE.toml[:SET].")
]
_LIST_COLUMNS = ["factor", "group", "unit", "depth", "warm", "meaning"]


def _register_looking(factors: typer.Typer) -> None:
    @factors.command("list")
    def list_(
        set_name: SetOption = "core",
        group: Annotated[str, typer.Option("--group", help="Only this group of factors.")] = "",
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """The factors of a set, one a line. Example: ghtrader factors list --group refill"""
        from ghtrader_models.factors.library.explain import list_factors, set_rows

        rows, sets = list_factors(set_name, group), set_rows()
        text = f"{table(sets)}\n\n{set_name}: {len(rows)} factors\n"
        emit({"sets": sets, "set": set_name, "factors": rows}, json, lambda: text + table(rows, _LIST_COLUMNS))

    @factors.command()
    def show(
        name: Annotated[str, typer.Argument(help="Name of a factor or of a set.")],
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """What a factor (or a set) is. Example: ghtrader factors show ofi_1_sum_20"""
        from ghtrader_models.factors.library.explain import describe

        found = describe(name)
        emit(found, json, lambda: _lines(found))

    @factors.command()
    def explain(
        name: Annotated[str, typer.Argument(help="Name of a factor.")],
        home: HomeOption = None,
        json: JsonOption = False,
    ) -> None:
        """How a factor is computed, step by step. Example: ghtrader factors explain signed_share_100"""
        from ghtrader_models.factors.library.explain import explain_factor

        found = explain_factor(name)
        steps = [{**step, "step": "  " * step["nesting"] + step["step"]} for step in found["steps"]]
        plain = {key: value for key, value in found.items() if key != "steps"}
        columns = ["step", "unit", "warm", "levels", "rule"]
        emit(found, json, lambda: f"{_lines(plain)}\n\n{table(steps, columns)}")


def _lines(document: dict[str, Any]) -> str:
    width = max(map(len, document))
    shown = ((key, ", ".join(map(str, v)) if isinstance(v, list | tuple) else v) for key, v in document.items())
    return "\n".join(f"{key:<{width}}  {value}" for key, value in shown)


def register(app: typer.Typer) -> None:
    """Add `ghtrader factors`."""
    factors = typer.Typer(help="The factor library.", no_args_is_help=True)
    app.add_typer(factors, name="factors")
    _register_looking(factors)
    add_evaluate(factors)
