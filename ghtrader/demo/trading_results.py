"""Reads what a trading run left, for the report: figures, fills against the exchange's record, live against batch."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghtrader.demo.report import BatchComparison, ReportedFill, TradingFacts
from ghtrader_base.settings import Settings
from ghtrader_market.accounting.fill import Offset

if TYPE_CHECKING:
    from ghtrader_exchange.control_messages import FillRecord
    from ghtrader_runtime.runlog.summary import RunSummary


def own_fills(run: RunSummary) -> list[ReportedFill]:
    """The gateway's fills under the report's names."""
    return [
        ReportedFill(
            order_id=fill.order_id,
            trade_id=fill.trade_id,
            symbol=fill.symbol,
            side=fill.side,
            offset=Offset(str(fill.offset)),  # a gateway's fill always tells it
            price=fill.price,
            volume=fill.volume,
            fee=fill.fee,
            datetime_ns=fill.market_ns,
        )
        for fill in run.fill_list
    ]


def same_fills(ours: list[ReportedFill], theirs: list[FillRecord]) -> bool:
    """Whether our fills are the exchange's, one by one: order, side, offset, price and volume."""
    # The exchange has enums of its own; their words are compared.
    a = sorted((fill.order_id, fill.volume, round(fill.price, 6), str(fill.side), str(fill.offset)) for fill in ours)
    b = sorted((o.order_id, o.volume, round(o.price, 6), str(o.direction), str(o.offset)) for o in theirs)
    return a == b


def trading_facts(run: RunSummary, exchange_fills: list[FillRecord] | None) -> TradingFacts:
    """What the report tells of a run. `exchange_fills` is the exchange's own record, None where there is none."""
    ours = own_fills(run)
    return TradingFacts(
        ticks=run.ticks,
        targets=run.targets,
        orders=run.orders,
        fills=run.fills,
        round_trips=run.round_trips,
        net_pnl=run.net_pnl,
        gross_pnl=run.gross_pnl,
        fees=run.fees,
        exchange_fills=None if exchange_fills is None else len(exchange_fills),
        fills_equal_exchange=None if exchange_fills is None else same_fills(ours, exchange_fills),
        tick_to_target_ms=run.tick_to_target_ms.to_json(),
        positions=run.positions,
        ended=run.ended,
        mode=run.mode,
        run_id=run.run_id,
        missed_ticks=run.missed_ticks,
        fill_list=ours,
        sample=None if run.sample is None else str(run.sample),
    )


def latencies_ms(folder: Path) -> np.ndarray:
    """float64[n]: tick-to-target latency of every answered tick of a run, ms."""
    with np.load(folder / "latency.npz", allow_pickle=False) as arrays:
        latencies: np.ndarray = arrays["ns"] / 1e6
    return latencies


def compare_with_batch(settings: Settings, variety: str, day: date, folder: Path) -> BatchComparison:
    """Hold the factors a strategy process computed live against the stored batch of the same ticks, bit for bit."""
    from ghtrader_market.reference.varieties import get_variety
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_runtime.runlog.journal import read_factors

    lake, symbol = Lake(settings.data), get_variety(variety).continuous_symbol
    manifest = lake.manifest("features", symbol, day)
    assert manifest is not None
    names = manifest.factor_names
    table = lake.read_day("features", symbol, day)
    batch = np.column_stack([table.column(name).to_numpy() for name in names]).astype(np.float32, copy=False)
    times = table.column("datetime_ns").to_numpy()
    found = read_factors(folder / "strategy")
    row_of = {int(ns): row for row, ns in enumerate(times)}
    assert len(row_of) == len(times), "two ticks of the day share a time"
    rows = np.array([row_of.get(int(ns), -1) for ns in found["datetime_ns"]], np.int64)
    known = rows >= 0
    ours, theirs = found["factors"][known], np.ascontiguousarray(batch[rows[known]])
    different = (ours.view(np.uint32) != theirs.view(np.uint32)).any(axis=1)
    return BatchComparison(
        ticks=int(known.sum()),
        live=int((known & found["live"].astype(bool)).sum()),
        day_ticks=len(times),
        outside_sessions=int((~known).sum()),
        different=int(different.sum()),
    )
