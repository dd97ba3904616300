"""Defines the options that gateway and strategy start with; plain data that crosses a process boundary as JSON."""

from __future__ import annotations

from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path

import msgspec

from ghtrader_base.errors import UsageError
from ghtrader_base.plain_str_enum import read_word
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import OnKill, Peg, RunMode, SimKind, Succession, TimeInForce, UnknownOrders
from ghtrader_base.trading_limits import RATE_WINDOW_S, TRADING_LIMITS, default
from ghtrader_market.accounting.carried_position import CarriedPosition
from ghtrader_market.accounting.execution_model import FLAT_BEFORE_END_S, ExecutionModel
from ghtrader_runtime.core.order_planning import ExecutionStyle
from ghtrader_runtime.core.risk_rules import RiskLimits


def run_folder(settings: Settings, run_id: str) -> Path:
    """Where a run leaves its journal and summary."""
    return settings.runs / "trading" / run_id


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded day to trade on paper.

    Attributes
    ----------
    dataset, key : str
        Of the lake: `main_l5` and `KQ.m@SHFE.cu`, or `ticks` and `SHFE.cu2502`.
    day : str
        Trading day.
    from_ns : int
        Ticks before this moment are history, the others are played.
    pace : float
        Ticks a second; 0 is lock-step.
    held : CarriedPosition, optional
        What could not be closed on the day before, as this day has it.
    """

    dataset: str
    key: str
    day: str
    from_ns: int = 0
    pace: float = 0.0
    held: CarriedPosition | None = None


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway.

    Attributes
    ----------
    account, mode, sim
        Which account: its name, and where it is.
    symbol : str
        The contract, or a main series: the contract of each trading day.
    run_id : str
        Names the run's folder.
    max_position, max_order : int
        Lots.
    rate_orders, rate_window_s
        At most so many orders in so many seconds of market time.
    max_open_orders, max_notional, price_collar, data_age_s, daily_loss, drawdown
        See `risk_rules.RiskLimits`.
    day_orders, day_lots : int
        Opening orders, and their lots, of a contract in a trading day: TqSdk's own rules (`brokers.tqsdk_risk_rules`),
        where the login has them; 0 leaves a rule out.
    slip_ticks, tif, reprice_s, peg, chase_ticks, max_chases
        See `order_planning.ExecutionStyle`.
    latency_ms : float
        See `ExecutionModel`: of a paper account alone.
    on_kill, unknown_orders
        See `state.CoreConfig`.
    idle_end_s : float
        Seconds (ours) without a tick after which the market data counts as ended; 0 never.
    days : int
        Trading days after which the run ends; 0 never.
    """

    account: str
    mode: RunMode
    symbol: str
    run_id: str
    sim: SimKind = SimKind.TQKQ
    monitor_only: bool = False
    confirm_live: str = ""
    max_position: int = default("max_position")
    max_order: int = default("max_order")
    rate_orders: int = default("rate_orders")
    rate_window_s: float = RATE_WINDOW_S
    slip_ticks: int = default("slip_ticks")
    tif: TimeInForce = default("tif")
    reprice_s: float = default("reprice_s")
    peg: Peg = default("peg")
    chase_ticks: int = default("chase_ticks")
    max_chases: int = default("max_chases")
    max_open_orders: int = default("max_open_orders")
    max_notional: float = default("max_notional")
    price_collar: float = default("price_collar")
    data_age_s: float = default("data_age_s")
    daily_loss: float = default("daily_loss")
    drawdown: float = default("drawdown")
    day_orders: int = default("day_orders")
    day_lots: int = default("day_lots")
    latency_ms: float = default("latency_ms")
    on_kill: OnKill = default("on_kill")
    unknown_orders: UnknownOrders = default("unknown_orders")
    idle_end_s: float = 0.0
    days: int = 1
    replay: ReplayOptions | None = None


def check_options(o: GatewayOptions) -> GatewayOptions:
    """Refuse words and combinations that mean nothing, before anything is connected.

    Returns
    -------
    GatewayOptions
        The same, each word as the member of its enum, however it was given.

    Raises
    ------
    UsageError
        A word is unknown, or two options contradict each other.
    """
    words: dict[str, tuple[type[StrEnum], str]] = {"mode": (RunMode, "--mode"), "sim": (SimKind, "--sim")}
    words |= {limit.name: (limit.words, limit.flag) for limit in TRADING_LIMITS if limit.words is not None}
    given = {name: read_word(members, getattr(o, name), flag) for name, (members, flag) in words.items()}
    o = msgspec.structs.replace(o, **given)
    if o.peg == Peg.JOIN and o.tif != TimeInForce.GFD:
        raise UsageError(f"--peg join rests in the book, and {o.tif} does not", "add --tif GFD")
    if o.tif == TimeInForce.FOK and o.max_order < o.max_position:
        raise UsageError(
            f"--tif FOK with --max-order {o.max_order} below --max-position {o.max_position} would be filled in parts",
            "raise --max-order",
        )
    return o


def risk_limits(o: GatewayOptions) -> RiskLimits:
    """The limits of a gateway: its options of the same names; a recorded day has no data that goes stale."""
    limits = RiskLimits(**{field.name: getattr(o, field.name) for field in fields(RiskLimits)})
    return replace(limits, data_age_s=0.0) if o.replay else limits


def execution_style(o: GatewayOptions) -> ExecutionStyle:
    """How a gateway reaches a target: its options of the same names."""
    return ExecutionStyle(**{field.name: getattr(o, field.name) for field in fields(ExecutionStyle)})


def execution_model(o: GatewayOptions) -> ExecutionModel:
    """When orders of a paper account meet the book: a gateway's options of the same names."""
    return ExecutionModel(latency_ms=o.latency_ms, slip_ticks=o.slip_ticks, max_order=o.max_order)


class StrategyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy.

    Attributes
    ----------
    model : str
        `champion`, a bundle id, or the path of a bundle.
    horizon : int
        Whose champion.
    succession : Succession
        When a newly promoted champion takes over; only where `model` is `champion`.
    flat_before_end_s : float
        Seconds of market time before the day's last session ends from which the target is flat.
    flat_from_ns : int
        Moment (UTC epoch ns) from which the target is flat, for a run that ends early; 0 for none.
    flatten_on_stop : bool
        Ask for a flat position before leaving.
    join_timeout_s : float
        How long to wait for the gateway.
    journal_factors : bool
        Keep the factors of every tick.
    monitor_only : bool
        Join no gateway that may send: any model will do.
    """

    account: str
    mode: RunMode
    symbol: str
    sim: SimKind = SimKind.TQKQ
    model: str = "champion"
    horizon: int = 50
    succession: Succession = Succession.FLAT
    flat_before_end_s: float = FLAT_BEFORE_END_S
    flat_from_ns: int = 0
    flatten_on_stop: bool = True
    join_timeout_s: float = 90.0
    journal_factors: bool = True
    monitor_only: bool = False
