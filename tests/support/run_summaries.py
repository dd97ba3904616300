"""Makes the summary of a small trading run."""

from __future__ import annotations

from typing import Any

import msgspec

from ghtrader_market.accounting.fill import Fill, Offset, Side
from ghtrader_runtime.runlog.latency import TickToTarget
from ghtrader_runtime.runlog.summary import ContractResult, RunSummary

CU = "SHFE.cu2506"
FILL = Fill(
    symbol=CU, side=Side.BUY, offset=Offset.OPEN, volume=2, price=72_520.0, fee=36.26,
    market_ns=1_744_388_975_883_414_000, trade_id="t|3", order_id="gt-1",
)  # fmt: skip


def summary(**changes: Any) -> RunSummary:
    """One fill and one answered tick, with some fields changed."""
    clock = TickToTarget()
    clock.tick(1, 1000)
    clock.marked(1, (1100, 1150, 1180, 1190), 1300)
    clock.answered(1, [], 1500)
    plain = RunSummary(
        run_id="r", account="a", broker="paper", mode="paper", symbol=CU, requested="KQ.m@SHFE.cu",
        trading_day="2025-04-14", trading_days=("2025-04-11", "2025-04-14"), rolls=1, ended="the day is over", ticks=1,
        targets=1, orders=1, duplicates=0, refused=0, foreseen=0, fills=1, round_trips=0, gross_pnl=10.0, fees=36.26,
        net_pnl=-26.26,
        by_contract={CU: ContractResult(fills=1, round_trips=0, gross_pnl=10.0, fees=36.26, net_pnl=-26.26)},
        opening={}, positions={CU: 2}, trading_state="ACTIVE", killed=False, tick_to_target_ms=clock.summary(),
        missed_ticks=0, malformed=0, strangers=0, journal_failure="", journal_dropped=0, fill_list=(FILL,),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)
