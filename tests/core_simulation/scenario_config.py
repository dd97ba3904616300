"""Derives what one scenario is played with from its seed: contracts, limits, policies, faults."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ghtrader_runtime.core.order_planning import ExecutionStyle, SymbolSpec
from ghtrader_runtime.core.risk_rules import RiskLimits
from ghtrader_runtime.core.state import CoreConfig

CU = SymbolSpec("SHFE.cu2502", 10.0, 5, True)
IF = SymbolSpec("CFFEX.IF2101", 0.2, 300, False)
START_PRICE = {CU.symbol: 70_000.0, IF.symbol: 5_000.0}


@dataclass(frozen=True)
class Setup:
    """One scenario's frame.

    Attributes
    ----------
    lose, repeat : int
        Parts of a thousand of the reports that are lost, that come twice.
    delay_ms : int
        Longest delay of a message.
    strangers : bool
        Somebody else trades at the same account.
    direct : bool
        The last contract is written by direct orders.
    terms_width : float
        How far the day's price limits are from the first price.
    lots : tuple of int
        Long today, long yesterday, short today, short yesterday, of each contract at the start.
    """

    seed: int
    specs: tuple[SymbolSpec, ...]
    limits: RiskLimits
    style: ExecutionStyle
    max_rejects: int
    monitor_only: bool
    on_kill: str
    unknown_orders: str
    strangers: bool
    direct: bool
    lose: int
    repeat: int
    delay_ms: int
    reject_rate: int
    terms_width: float
    lots: tuple[int, int, int, int]
    unknown_s: float = 1.0
    settle_s: float = 0.2

    def config(self) -> CoreConfig:
        """What the core is told."""
        return CoreConfig(
            symbols={spec.symbol: spec for spec in self.specs},
            limits=self.limits,
            style=self.style,
            unknown_s=self.unknown_s,
            settle_s=self.settle_s,
            max_rejects=self.max_rejects,
            monitor_only=self.monitor_only,
            on_kill=self.on_kill,
            unknown_orders=self.unknown_orders,
        )


def setup_of(seed: int) -> Setup:
    """The frame of a seed."""
    rng = random.Random(seed * 7919 + 13)
    pick = rng.choice
    tif = pick(("FAK", "FAK", "GFD", "GFD", "FOK"))
    tight = rng.random() < 0.3
    limits = RiskLimits(
        max_position=pick((1, 2, 3, 5)), max_order=pick((1, 2, 10)), rate_orders=pick((4, 8)) if tight else 500,
        rate_window_s=10.0, max_open_orders=pick((2, 3)) if tight else 20,
        max_notional=pick((1_000_000.0, 5_000_000.0)) if tight else 20_000_000.0,
        price_collar=pick((0.0004, 0.02)) if tight else 0.02, data_age_s=pick((3.0, 3.0, 0.0)),
        daily_loss=pick((0.0, 30_000.0)), drawdown=pick((0.0, 40_000.0)),
    )  # fmt: skip
    style = ExecutionStyle(
        slip_ticks=pick((0, 1, 3)), tif=tif, reprice_s=2.0, max_order=pick((1, 2, 10)), peg=pick(("cross", "join")),
        chase_ticks=pick((0, 1, 2)), max_chases=pick((0, 2)),
    )  # fmt: skip
    specs = pick(((CU,), (CU,), (IF,), (CU, IF)))
    faulty = rng.random() < 0.85
    side = rng.randint(0, limits.max_position)
    lots = pick(((0, 0, 0, 0), (0, 0, 0, 0), (1, side, 1, 0), (0, 1, side, 1), (2, 1, 2, 1)))
    return Setup(
        seed, specs, limits, style, pick((2, 3, 1000, 1000)), rng.random() < 0.03, pick(("hold", "flatten")),
        pick(("cancel", "cancel", "adopt")), rng.random() < 0.3, len(specs) > 1 and rng.random() < 0.8 or
        rng.random() < 0.15, pick((0, 20, 60)) if faulty else 0, pick((0, 40)) if faulty else 0,
        pick((1, 40, 150)), pick((0, 30, 120)),
        pick((0.05, 0.05, 0.001)), lots,
    )  # fmt: skip
