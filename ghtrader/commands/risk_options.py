"""Defines the options of a gateway's limits, policies and execution: one table, given to every command that starts one.

What is not typed comes from the settings (`GHTRADER_RISK_...`), where they have it, else from `GatewayOptions`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from ghtrader_base.settings import Settings
from ghtrader_base.trading_limits import TRADING_LIMITS, Limit, LimitValue


def annotation(limit: Limit) -> Any:
    """What Typer reads of a limit; None stands for `not typed`."""
    kind: Any = limit.words if limit.words is not None else type(limit.default)
    option = typer.Option(
        limit.flag, help=f"{limit.help} Default {limit.default_text}.", min=limit.low, max=limit.high,
        rich_help_panel=str(limit.group), metavar=limit.unit or None, show_default=False,
    )  # fmt: skip
    return Annotated[kind | None, option]


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all `TRADING_LIMITS` as options; it takes what was typed as its parameter `limits`."""
    hints = get_type_hints(command, include_extras=True)
    own = [p.replace(annotation=hints[n]) for n, p in inspect.signature(command).parameters.items() if n != "limits"]
    optional = [
        inspect.Parameter(limit.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation(limit))
        for limit in TRADING_LIMITS
    ]
    plain = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    last = [p for p in plain if p.name in ("home", "json")]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        typed = {limit.name: given.pop(limit.name) for limit in TRADING_LIMITS}
        command(**given, limits={name: value for name, value in typed.items() if value is not None})

    parameters = [*(p for p in plain if p not in last), *optional, *last]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def in_force(settings: Settings, limits: dict[str, LimitValue]) -> dict[str, LimitValue]:
    """What was typed over what the settings say: fields of `GatewayOptions`."""
    return {**settings.risk(), **limits}
