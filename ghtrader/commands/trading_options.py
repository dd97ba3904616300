"""Defines the options that trading commands share, builds a gateway's options of them, and formats a run's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ghtrader.commands.risk_options import in_force
from ghtrader_base.errors import UsageError
from ghtrader_base.settings import Settings
from ghtrader_base.trading_limits import LimitValue

if TYPE_CHECKING:
    from ghtrader_runtime.run_options import GatewayOptions
    from ghtrader_runtime.runlog.summary import RunSummary

AccountOption = Annotated[str, typer.Option("--account", help="Account name; locks and kill switch go by it.")]
ModeOption = Annotated[str, typer.Option("--mode", help="paper (own fills), sim (TqKq) or live.")]
SimOption = Annotated[str, typer.Option("--sim", help="tqkq (held by the service) or tqsim (dies with the process).")]
SymbolOption = Annotated[
    str, typer.Option("--symbol", help="SHFE.cu2502, or KQ.m@SHFE.cu: the contract of each trading day.")
]
DaysOption = Annotated[int, typer.Option("--days", min=0, help="Trading days to trade; 0 until stopped.")]
ModelOption = Annotated[str, typer.Option("--model", help="champion, a bundle id, or a bundle's folder.")]
HorizonOption = Annotated[int, typer.Option("--horizon", help="Whose champion: ticks ahead.")]
MonitorOption = Annotated[bool, typer.Option("--monitor-only", help="Send nothing, whatever happens.")]
ConfirmOption = Annotated[str, typer.Option("--confirm-live", help="I_UNDERSTAND: second step to real orders.")]
StopOption = Annotated[
    bool, typer.Option("--flatten-on-stop/--hold-on-stop", help="Ask for a flat position before leaving.")
]
FlatOption = Annotated[
    float, typer.Option("--flat-before-end", min=0, help="Flat so many market seconds before the day's end.")
]
SuccessionOption = Annotated[
    str, typer.Option("--succession", help="When a new champion takes over: flat, day (the next one), or keep.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the switch.")]


def gateway_options(
    settings: Settings, run_id: str, symbol: str, limits: dict[str, LimitValue], **given: Any
) -> GatewayOptions:
    """Checked `GatewayOptions` of what was typed over what is set."""
    from ghtrader_runtime.run_options import GatewayOptions, check_options

    given |= in_force(settings, limits)
    options = check_options(GatewayOptions(run_id=run_id, symbol=symbol, **given))
    return msgspec.structs.replace(options, symbol=symbol or _only_series(settings))


def run_line(settings: Settings, options: GatewayOptions) -> str:
    """The run and its contract in a line, to be told once nothing stands against it; the errors of a roll schedule that
    does not say which contract that is."""
    from ghtrader_market.reference.trading_calendar import load_calendar
    from ghtrader_runtime.gateway.contract_binding import ContractResolver

    contract = ContractResolver(settings.data, options.symbol, load_calendar(settings)).first()
    meaning = "" if contract == options.symbol else f", next {contract}"
    return f"run {options.run_id}: {options.symbol}{meaning}, account {options.account} ({options.mode})"


def _only_series(settings: Settings) -> str:
    """The main series a gateway trades where nobody named one: that of the only roll schedule there is."""
    from ghtrader_market.reference.varieties import get_variety

    known = sorted(path.stem for path in (settings.data / "schedules").glob("*.json"))
    if len(known) != 1:
        found = f"this home has roll schedules of {', '.join(known)}" if known else "this home has no roll schedule"
        raise UsageError(f"--symbol is missing, and {found}", "name a contract or a main series, as KQ.m@SHFE.cu")
    return get_variety(known[0]).continuous_symbol


def describe(run: RunSummary) -> str:
    """A run's summary as lines a person reads."""
    latency = run.tick_to_target_ms
    timing = f"p50 {latency.p50:.2f} ms, p99 {latency.p99:.2f} ms" if latency.count else "no sample"
    lines = [
        f"run         {run.run_id} ({run.mode}, {run.broker}, {run.symbol})",
        f"ended       {run.ended}",
        f"ticks       {run.ticks}, targets {run.targets}, orders {run.orders}",
        f"fills       {run.fills}, round trips {run.round_trips}, position {run.positions}",
        f"net PnL     {run.net_pnl:,.2f} CNY after {run.fees:,.2f} fees",
        f"tick->target {timing} over {latency.count} ticks",
        f"state       {run.trading_state}{', kill switch tripped' if run.killed else ''}",
    ]
    if run.settled is not None:
        lines.append(f"settled     {run.settled}")
    if run.rebuilt is not None:
        lines.append(f"rebuilt     {run.rebuilt}")
    if run.sample is not None:
        lines.append(f"sample      {run.sample}: {run.sample_reason}")
    return "\n".join([*lines, f"folder      {run.folder}"] if run.folder is not None else lines)
