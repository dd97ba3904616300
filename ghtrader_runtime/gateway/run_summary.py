"""Sums up a run of a gateway, and finds the fills it had before its process was started again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from ghtrader_market.accounting.carried_position import CarriedPosition, carried
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.accounting.pnl import by_contract, profit
from ghtrader_market.accounting.positions import Position
from ghtrader_market.accounting.round_trips import round_trips
from ghtrader_runtime.core.events import Snapshot
from ghtrader_runtime.core.position_updates import fill_of
from ghtrader_runtime.gateway.action_executor import ActionExecutor
from ghtrader_runtime.gateway.context import GatewayContext
from ghtrader_runtime.gateway.traded_market import TradedMarket
from ghtrader_runtime.runlog.fill_lines import fill_fields, read_fill
from ghtrader_runtime.runlog.journal import read_lines
from ghtrader_runtime.runlog.summary import ContractResult, RunSummary


def earlier_fills(context: GatewayContext, snapshot: Snapshot) -> list[Fill]:
    """Fills of this run before its gateway was started again: those its journal has, and what the broker tells beyond
    (a kill -9 costs the journal its last moment)."""
    folder, known = context.run_dir, context.ledger.state
    fills = [read_fill(line) for line in read_lines(folder / "fills.jsonl")]
    seen = {fill.trade_id for fill in fills}
    epochs = {line["epoch"] for line in read_lines(folder / "events.jsonl") if line["kind"] == "start"}
    ours = tuple(f"gt{known.ledger_id}-{epoch}-" for epoch in epochs if epoch != known.epoch)
    for trade in snapshot.trades if ours else ():
        if trade.order_id.startswith(ours) and trade.trade_id not in seen:
            fills.append(fill_of(trade))
            context.journal.write("fills", "fill", fill_fields(fills[-1]))
    return sorted(fills, key=lambda fill: fill.market_ns)


def summarise(context: GatewayContext, traded: TradedMarket, executor: ActionExecutor, ended: str) -> RunSummary:
    """The run in numbers; what is still held is valued at its contract's mark."""
    symbol, state, opening = traded.binding.contract, executor.core.state, executor.opening
    since = executor.opening_marks
    held_or_traded = {symbol, *opening, *(fill.symbol for fill in executor.fills)}
    multipliers = dict.fromkeys(held_or_traded, traded.market.multiplier)
    counts, money = context.counts, profit(executor.fills, multipliers, traded.marks, opening, since)
    return RunSummary(
        run_id=context.options.run_id, account=context.ref.name, broker=context.ref.broker,
        mode=context.options.mode, symbol=symbol, requested=context.options.symbol,
        trading_day=traded.day.name, trading_days=tuple(sorted(traded.days_traded)), rolls=traded.rolls,
        ended=ended,
        ticks=counts.ticks, targets=counts.targets, orders=counts.orders, duplicates=counts.duplicates,
        refused=counts.refused, foreseen=context.ledger.foreseen, fills=len(executor.fills),
        round_trips=round_trips(executor.fills, multipliers, opening).count,
        gross_pnl=round(money["gross_pnl"], 6), fees=round(money["fees"], 6), net_pnl=round(money["net_pnl"], 6),
        by_contract=msgspec.convert(
            by_contract(executor.fills, multipliers, traded.marks, opening, since), dict[str, ContractResult]
        ),
        opening=dict(opening),
        positions={name: position.net for name, position in state.positions.items()},
        trading_state=str(state.trading_state), killed=executor.killed,
        tick_to_target_ms=context.latency.summary(),
        missed_ticks=context.broker.missed, malformed=context.bus.malformed,
        strangers=context.refused.counts.total(),
        journal_failure=context.journal.failure, journal_dropped=context.journal.dropped,
        fill_list=tuple(executor.fills), held=_held(traded, state.positions, executor.fills),
    )  # fmt: skip


def _held(
    traded: TradedMarket, positions: Mapping[str, Position], fills: Sequence[Fill]
) -> tuple[CarriedPosition, ...] | None:
    """What is held at the end, at its mark or, where no row gave one, at its last fill; None where nothing is."""
    marks = {fill.symbol: fill.price for fill in fills}
    marks |= {symbol: mark for symbol, mark in traded.marks.items() if mark > 0}
    marks = {symbol: marks.get(symbol, math.nan) for symbol in positions}
    found = (
        carried(symbol, traded.date, position, marks[symbol])
        for symbol, position in sorted(positions.items())
        if marks[symbol] > 0
    )
    return tuple(one for one in found if one is not None) or None
