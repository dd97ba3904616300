"""Makes the summary of a run that lost it, or never had one, from the run's journal and the gateway's last state.

A gateway killed at once writes none, and a hand may remove one. What the journal does not hold (ticks, targets,
latency, marks) is left out, and the summary says so. How a gateway that ends sums itself up is in
`gateway/run_summary.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import FailedError, IntegrityError, RefusedError, UsageError
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.pnl import by_contract, profit
from ghtrader_market.accounting.round_trips import round_trips
from ghtrader_market.reference.varieties import variety_of
from ghtrader_runtime.runlog.fill_lines import read_fill
from ghtrader_runtime.runlog.gateway_state import GatewayState, read_gateway_state
from ghtrader_runtime.runlog.journal import read_lines
from ghtrader_runtime.runlog.latency import TickToTarget
from ghtrader_runtime.runlog.summary import ContractResult, RunSummary, read_summary, write_summary

NOTE = (
    "made from the run's journal: ticks, targets, latency and counts of messages are not known and stand as none; "
    "what was held at the end is valued at its last fill, lots it began with count no PnL, and the last moment before "
    "a kill may be missing"
)
UNENDED = "the process ended without closing the run"


def run_folder(settings: Settings, run_id: str = "") -> Path:
    """The folder of a trading run, of the newest one where none is named; `UsageError` where there is none."""
    base = settings.runs / "trading"
    found = [one for one in base.glob("*") if one.is_dir() and run_id in ("", one.name)]
    if run_id and not found:
        raise UsageError(f"no trading run {run_id!r} in {base}", f"`ls {base}` names them")
    if not found:
        raise UsageError(f"no trading run in {base}", "`ghtrader trade` or `ghtrader paper` makes one")
    return max(found, key=lambda folder: folder.stat().st_mtime_ns)


def summary_of(settings: Settings, run_dir: Path) -> RunSummary:
    """The summary of a run that is over; one that is lost is made from the journal and written.

    Raises
    ------
    RefusedError
        Its gateway still runs.
    FailedError
        There is no journal to make it of.
    IntegrityError
        The summary, or a line of the journal, does not read.
    UnwritableError
        The disk refuses it.
    """
    found = read_summary(run_dir)
    if found is not None and (not found.rebuilt or not (run_dir / "events.jsonl").exists()):
        return found  # one that was rebuilt is made anew: the run may have gone on
    state = read_gateway_state(run_dir)
    if (state is None or not state.ended) and _goes_on(settings, state):
        raise RefusedError(f"the run {run_dir.name} goes on", "its summary is written as it ends; stop it first")
    rebuilt = rebuild(run_dir, state)
    write_summary(run_dir, rebuilt)
    return msgspec.structs.replace(rebuilt, folder=run_dir)


def _goes_on(settings: Settings, state: GatewayState | None) -> bool:
    """Whether a process may still write to the run: its gateway, or the one that starts its gateway again."""
    for one in list_processes(settings):
        if one.kind == "gateway" and (state is None or one.pid == state.pid):
            return True
        if one.kind == "trade" and (state is None or one.purpose.startswith(f"{state.account} ({state.mode})")):
            return True
    return False


def rebuild(run_dir: Path, state: GatewayState | None) -> RunSummary:
    """What the journal of a run, and the state its gateway told last, add up to; errors as `summary_of`."""
    events = read_lines(run_dir / "events.jsonl")
    try:
        starts = [line for line in events if line["kind"] == "start"]
        if not starts:
            raise FailedError(f"{run_dir} has no journal of a trading run", "there is nothing to make its summary of")
        return _added_up(run_dir, events, starts[-1], state)
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as exc:
        raise IntegrityError(
            f"the journal in {run_dir} has a line that is none of ours: {exc!r}", "mend or remove that line"
        ) from exc


def _added_up(
    run_dir: Path, events: list[dict[str, Any]], start: Mapping[str, Any], state: GatewayState | None
) -> RunSummary:
    fills = _fills(run_dir)
    rolls = [line for line in events if line["kind"] == "roll" and line["at"] == "day"]
    opening: dict[str, int] = next((line["positions"] for line in events if line["kind"] == "opening"), {})
    symbol = rolls[-1]["contract"] if rolls else start["symbol"]
    days = {str(line["trading_day"]) for line in rolls} | ({state.trading_day} if state is not None else set())
    multiplier = variety_of(symbol).multiplier
    multipliers = dict.fromkeys({symbol, *opening, *(fill.symbol for fill in fills)}, multiplier)
    money = profit(fills, multipliers, {}, opening)
    held = dict(opening)
    for fill in fills:
        held[fill.symbol] = held.get(fill.symbol, 0) + fill.signed
    sent = [line for line in read_lines(run_dir / "orders.jsonl") if line["kind"] == "sent"]
    return RunSummary(
        run_id=run_dir.name, account=start["account"], broker=start["broker"], mode=start["mode"], symbol=symbol,
        requested=start["requested"], trading_day=max(days, default=""), trading_days=tuple(sorted(days - {""})),
        rolls=len(rolls), ended=(state.ended if state is not None else "") or UNENDED,
        ticks=0, targets=0, orders=len(sent), duplicates=0,
        refused=sum(line["kind"] == "order-refused" for line in events), foreseen=0, fills=len(fills),
        round_trips=round_trips(fills, multipliers, opening).count,
        gross_pnl=round(money["gross_pnl"], 6), fees=round(money["fees"], 6), net_pnl=round(money["net_pnl"], 6),
        by_contract=msgspec.convert(by_contract(fills, multipliers, {}, opening), dict[str, ContractResult]),
        opening=dict(opening), positions=held, trading_state=state.trading_state if state is not None else "",
        killed=state.killed if state is not None else False, tick_to_target_ms=TickToTarget().summary(),
        missed_ticks=0, malformed=0, strangers=0, journal_failure="", journal_dropped=0, fill_list=tuple(fills),
        rebuilt=NOTE,
    )  # fmt: skip


def _fills(run_dir: Path) -> list[Fill]:
    """Each trade once, in the market's order: a gateway that was started again may have told one twice."""
    found = {fill.trade_id: fill for fill in map(read_fill, read_lines(run_dir / "fills.jsonl"))}
    return sorted(found.values(), key=lambda fill: fill.market_ns)
