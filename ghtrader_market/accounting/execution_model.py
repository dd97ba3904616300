"""Says when an order meets the market where there is no exchange to ask: on paper, in a replay, in a benchmark.

One struct for all of them, so that they come to the same fills. An order decided on a tick meets the first book at or
after that tick plus the latency, which with snapshots every half second is the next one: the book an order was decided
on is gone when the order arrives. It then takes what that book shows, up to its limit price, and no lot twice; no queue
position, no market impact. How a limit price is chosen and in which steps a target is reached is `ExecutionStyle` and
`order_planning` in the runtime, and the same in `ghtrader_models/evaluation/order_simulation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ghtrader_base.errors import UsageError
from ghtrader_base.settings import Settings
from ghtrader_base.trading_limits import default

MOST_SHOWN = 1e9
"""Lots: a displayed volume beyond it (DBL_MAX, infinity) is none that anybody knows, and shows nothing."""
FLAT_BEFORE_END_S = 60.0
"""Seconds of market time before the day's last session ends from which a strategy wants to be flat."""


@dataclass(frozen=True, kw_only=True)
class ExecutionModel:
    """What happens to an order between the decision and its fills.

    Attributes
    ----------
    latency_ms : float
        Milliseconds of market time from the tick that an order was decided on to its arrival; 0 meets that very tick.
    slip_ticks : int
        Price ticks beyond the opposite best price that an order may pay.
    max_order : int
        Lots of one order.

    Raises
    ------
    UsageError
        A latency below 0.
    """

    latency_ms: float = default("latency_ms")
    slip_ticks: int = default("slip_ticks")
    max_order: int = default("max_order")

    def __post_init__(self) -> None:
        if not 0.0 <= self.latency_ms < float("inf"):
            raise UsageError(f"a latency of {self.latency_ms} ms makes no sense", "2 is the default, 0 is none")

    @classmethod
    def of_settings(cls, settings: Settings) -> ExecutionModel:
        """As a home has it: what `paper` takes where no option says otherwise."""
        return cls(latency_ms=settings.risk_latency_ms, max_order=settings.risk_max_order)

    @property
    def latency_ns(self) -> int:
        """The latency in ns."""
        return round(self.latency_ms * 1e6)

    def arrives_ns(self, decided_ns: int) -> int:
        """When an order that was decided on a tick of that market time arrives, UTC epoch ns."""
        return decided_ns + self.latency_ns
