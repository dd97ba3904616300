"""Defines the options that several commands share, and reads their values."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from ghtrader_base.errors import UsageError
from ghtrader_base.logs import configure
from ghtrader_base.settings import Settings, load_settings

HomeOption = Annotated[
    Path | None, typer.Option("--home", help="Folder everything is written under (GHTRADER_HOME, default ./var).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; progress goes to stderr.")]


def settings_of(home: Path | None) -> Settings:
    """Settings for a command's `--home`; logs go by them from here on, and so does what the pipeline loads of the home.

    Its partitions (varieties, days, horizons) are fixed when its code is imported, by GHTRADER_HOME.
    """
    settings = load_settings(home)
    if home is not None:
        os.environ["GHTRADER_HOME"] = str(settings.home)
    configure(settings.log_level)
    return settings


def parse_day(text: str, option: str) -> date:
    """A trading day typed as YYYY-MM-DD; `UsageError` names the option otherwise."""
    try:
        day = date.fromisoformat(text)
        if day.isoformat() != text:  # 20250303 and 2025-W10-1 are ISO dates too
            raise ValueError(text)
        return day
    except ValueError:
        raise UsageError(f"{option} {text!r} is no date", "write it as YYYY-MM-DD, for example 2025-03-03") from None


def group(app: typer.Typer, name: str, summary: str) -> typer.Typer:
    """The group `name` of `app`, made with this summary where nobody has made it yet."""
    for known in app.registered_groups:
        if known.name == name and known.typer_instance is not None:
            return known.typer_instance
    made = typer.Typer(help=summary, no_args_is_help=True)
    app.add_typer(made, name=name)
    return made


VarietyOption = Annotated[str, typer.Option("--var", help="Variety, as its exchange writes it: cu, SR, IF ...")]
SeriesOption = Annotated[str, typer.Option("--symbol", help="KQ.m@SHFE.cu, the same as --var cu.")]
StartOption = Annotated[str, typer.Option("--start", help="First trading day, YYYY-MM-DD.")]
EndOption = Annotated[str, typer.Option("--end", help="Last trading day, YYYY-MM-DD.")]
AnySeriesOption = Annotated[
    str, typer.Option("--symbol", help="KQ.m@SHFE.cu, the same as --var cu; or one contract: SHFE.cu2502.")
]
TicksKindOption = Annotated[
    str,
    typer.Option("--ticks-kind", help="main_l5 (a main series) or raw (one contract); what the symbol is, by default."),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Refuse where a day does not go with the others, instead of leaving it out.")
]
MixOption = Annotated[
    bool,
    typer.Option("--mix", help="Take days of different markets (simulated, another seed, real) together."),
]
UnfinishedOption = Annotated[
    bool,
    typer.Option("--allow-unfinished", help="Take days too that were not recorded to their end, as they are."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Build again what is there.")]


def variety_key(variety: str, symbol: str = "") -> str:
    """The variety named by --var, by a continuous --symbol, or by both alike.

    Raises
    ------
    UsageError
        Neither, two that contradict each other, an unknown variety, or one contract's symbol.
    """
    from ghtrader_market.reference.symbols import parse_symbol
    from ghtrader_market.reference.varieties import get_variety, variety_of

    if not variety and not symbol:
        raise UsageError("name one variety: --var or --symbol", "for example --var cu, or --symbol KQ.m@SHFE.cu")
    if not symbol:
        return get_variety(variety).key
    _require_one_variety(variety, symbol)
    if not parse_symbol(symbol).continuous:
        raise UsageError(
            f"{symbol} is one contract; this command works on the main series", "for example --symbol KQ.m@SHFE.cu"
        )
    return variety_of(symbol).key


def series_of(variety: str, symbol: str, ticks_kind: str = "") -> tuple[str, str]:
    """The series named by --var, --symbol or both: its variety, and the contract where it is one's, else empty.

    Raises
    ------
    UsageError
        As `variety_key`, or a --ticks-kind that does not go with the symbol.
    """
    from ghtrader_market.reference.symbols import parse_symbol
    from ghtrader_market.reference.varieties import get_variety, variety_of
    from ghtrader_models.datasets.tick_input import source_kind

    if symbol and not parse_symbol(symbol).continuous:
        _require_one_variety(variety, symbol)
        source_kind(symbol, ticks_kind)
        return variety_of(symbol).key, symbol
    key = variety_key(variety, symbol)
    source_kind(get_variety(key).continuous_symbol, ticks_kind)
    return key, ""


def _require_one_variety(variety: str, symbol: str) -> None:
    """UsageError where --var is given and names another variety than --symbol."""
    from ghtrader_market.reference.varieties import get_variety, variety_of

    if variety and get_variety(variety).key != variety_of(symbol).key:
        raise UsageError(
            f"--symbol {symbol} is of {variety_of(symbol).key}, --var says {variety}", "leave one of them out"
        )


def optional_day(text: str, option: str) -> date | None:
    """A trading day, or None where the option was not given."""
    return parse_day(text, option) if text else None
