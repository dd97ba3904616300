"""What the pipeline's commands share: options, the variety a user named, how runs are printed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ghtrader.console_io import emit, parse_day
from ghtrader_base.errors import UsageError

if TYPE_CHECKING:
    from ghtrader_assets.runs.execute import RunResult

VarietyOption = Annotated[str, typer.Option("--var", help="Variety: cu, au, ag, IF.")]
SeriesOption = Annotated[str, typer.Option("--symbol", help="KQ.m@SHFE.cu, the same as --var cu.")]
StartOption = Annotated[str, typer.Option("--start", help="First trading day, YYYY-MM-DD.")]
EndOption = Annotated[str, typer.Option("--end", help="Last trading day, YYYY-MM-DD.")]
AnySeriesOption = Annotated[
    str, typer.Option("--symbol", help="KQ.m@SHFE.cu, the same as --var cu; or one contract: SHFE.cu2502.")
]
TicksKindOption = Annotated[
    str,
    typer.Option("--ticks-kind", help="main (a main series) or raw (one contract); what the symbol is, by default."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Build again what is there.")]


def variety_key(variety: str, symbol: str = "") -> str:
    """The variety named by --var, or by a continuous --symbol.

    Raises
    ------
    UsageError
        Neither or both, an unknown variety, or one contract's symbol.
    """
    from ghtrader_market.reference.symbols import parse_symbol
    from ghtrader_market.reference.varieties import get_variety, variety_of

    if bool(variety) == bool(symbol):
        raise UsageError("name one variety: --var or --symbol", "for example --var cu, or --symbol KQ.m@SHFE.cu")
    if variety:
        return get_variety(variety).key
    if not parse_symbol(symbol).continuous:
        raise UsageError(
            f"{symbol} is one contract; this command works on the main series", "for example --symbol KQ.m@SHFE.cu"
        )
    return variety_of(symbol).key


def series_of(variety: str, symbol: str, ticks_kind: str = "") -> tuple[str, str]:
    """The series named by --var or --symbol: its variety, and the contract where it is one contract's, else empty.

    Raises
    ------
    UsageError
        As `variety_key`, or a --ticks-kind that does not go with the symbol.
    """
    from ghtrader_market.reference.symbols import parse_symbol
    from ghtrader_market.reference.varieties import get_variety, variety_of
    from ghtrader_models.datasets.tick_input import source_kind

    if symbol and not variety and not parse_symbol(symbol).continuous:
        source_kind(symbol, ticks_kind)
        return variety_of(symbol).key, symbol
    key = variety_key(variety, symbol)
    source_kind(get_variety(key).continuous_symbol, ticks_kind)
    return key, ""


def optional_day(text: str, option: str) -> date | None:
    """A trading day, or None where the option was not given."""
    return parse_day(text, option) if text else None


def run_rows(runs: Iterable[RunResult]) -> list[dict[str, Any]]:
    """Runs as JSON: id, seconds, and what each materialization says of itself, plots left out."""
    return [
        {
            "run_id": run.run_id,
            "success": run.success,
            "seconds": run.seconds,
            "made": {
                name: {key: value for key, value in found.items() if key != "plot" and _plain(value)}
                for name, found in sorted(run.metadata.items())
            },
        }
        for run in runs
    ]


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | list | dict) or value is None


def emit_runs(runs: list[RunResult], as_json: bool, **extra: Any) -> None:
    """Print what a pipeline command did: the run ids and one line for each thing made."""
    rows = run_rows(runs)

    def text() -> str:
        lines = []
        for row in rows:
            lines.append(f"run {row['run_id']} ({row['seconds']:.1f} s)")
            lines += [f"  {name}: {_summary(found)}" for name, found in row["made"].items()]
        return "\n".join([*lines, *(f"{key}: {value}" for key, value in extra.items())])

    emit({"runs": rows, **extra}, as_json, text)


def _summary(found: dict[str, Any]) -> str:
    parts = [
        f"{key} {value}" for key, value in found.items() if isinstance(value, str | int | float) and "hash" not in key
    ]
    return ", ".join(parts[:6])
