"""Defines the options of a gateway's limits, policies and execution: one table, given to every command that starts one.

What is not typed comes from the settings (`GHTRADER_RISK_...`), where they have it, else from `GatewayOptions`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_type_hints

import typer

from ghtrader_base.settings import Settings
from ghtrader_runtime.core.enums import ON_KILL, PEGS, TIFS, UNKNOWN_ORDERS


@dataclass(frozen=True)
class Knob:
    """One option: the field of `GatewayOptions` it sets, and how it is typed.

    `usual` is what holds where neither option nor setting says otherwise, as --help shows it; `low` and `high` are
    the range, both ends in it.
    """

    field: str
    flag: str
    kind: type
    help: str
    usual: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    metavar: str = ""
    panel: str = "Risk limits"

    @property
    def annotation(self) -> Any:
        """What Typer reads; None stands for `not typed`."""
        kind: Any = Literal[self.choices] if self.choices else self.kind
        option = typer.Option(
            self.flag, help=f"{self.help} Default {self.usual}.", min=self.low, max=self.high,
            rich_help_panel=self.panel, metavar=self.metavar or None, show_default=False,
        )  # fmt: skip
        return Annotated[kind | None, option]


_POLICY, _STYLE = "What happens when", "How a target is reached"
KNOBS = (
    Knob("max_position", "--max-position", int, "Lots of one contract, long or short.", "1", 1, metavar="LOTS"),
    Knob("max_order", "--max-order", int, "Lots of one order.", "10", 1, metavar="LOTS"),
    Knob("max_open_orders", "--max-open-orders", int, "Orders at work at once.", "20", 1, metavar="N"),
    Knob("rate_orders", "--max-orders-per-minute", int, "Orders in a minute of market time.", "20; paper: 120", 1,
         metavar="N"),
    Knob("max_notional", "--max-notional", float, "Worth of one order.", "20000000", 1.0, metavar="CNY"),
    Knob("price_collar", "--price-collar", float, "A limit price's largest distance from the mid, as a part of it.",
         "0.02", 0.0001, 1.0, metavar="PART"),
    Knob("data_age_s", "--data-age", float, "Seconds without a tick, in a session, from which nothing is opened; 0: "
         "never.", "15", 0.0, metavar="SECONDS"),
    Knob("daily_loss", "--daily-loss", float, "Lost since the day opened: the kill switch trips; 0: never.", "100000",
         0.0, metavar="CNY"),
    Knob("drawdown", "--drawdown", float, "Below the day's highest equity: the kill switch trips; 0: never.",
         "150000", 0.0, metavar="CNY"),
    Knob("day_orders", "--day-orders", int, "Opening orders of a contract in a day, by TqSdk's own rule where the "
         "login has it; 0: no rule.", "2000", 0, metavar="N"),
    Knob("day_lots", "--day-lots", int, "The same of their lots.", "10000", 0, metavar="LOTS"),
    Knob("on_kill", "--on-kill", str, "A tripped switch leaves positions, or closes them first.", "hold",
         choices=ON_KILL, panel=_POLICY),
    Knob("unknown_orders", "--unknown-orders", str, "Working orders nobody here sent: cancelled, or left to work and "
         "counted.", "cancel", choices=UNKNOWN_ORDERS, panel=_POLICY),
    Knob("slip_ticks", "--slip-ticks", int, "Price ticks beyond the opposite best price.", "1", 0, metavar="TICKS",
         panel=_STYLE),
    Knob("tif", "--tif", str, "FAK: at once or cancelled; FOK: all or nothing; GFD: rests, re-priced.", "FAK",
         choices=TIFS, panel=_STYLE),
    Knob("peg", "--peg", str, "Where a GFD order is put: the opposite best, or our own.", "cross", choices=PEGS,
         panel=_STYLE),
    Knob("reprice_s", "--reprice", float, "Market seconds after which a resting order is sent anew.", "5", 0.1,
         metavar="SECONDS", panel=_STYLE),
    Knob("chase_ticks", "--chase", int, "Price ticks a resting order may be away from where it would be put now; 0: "
         "any.", "0", 0, metavar="TICKS", panel=_STYLE),
    Knob("max_chases", "--max-chases", int, "After so many, a --peg join order crosses.", "3", 0, metavar="N",
         panel=_STYLE),
)  # fmt: skip


def with_knobs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all `KNOBS` as options; it takes what was typed as its parameter `knobs`."""
    hints = get_type_hints(command, include_extras=True)
    own = [p.replace(annotation=hints[n]) for n, p in inspect.signature(command).parameters.items() if n != "knobs"]
    optional = [
        inspect.Parameter(knob.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=knob.annotation)
        for knob in KNOBS
    ]
    plain = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    last = [p for p in plain if p.name in ("home", "json")]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        typed = {knob.field: given.pop(knob.field) for knob in KNOBS}
        command(**given, knobs={name: value for name, value in typed.items() if value is not None})

    parameters = [*(p for p in plain if p not in last), *optional, *last]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def in_force(settings: Settings, knobs: dict[str, Any]) -> dict[str, Any]:
    """What was typed over what the settings say: fields of `GatewayOptions`."""
    return {**settings.risk(), **knobs}
