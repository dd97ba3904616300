"""Says what a simulation takes for granted: when orders arrive, which book they meet, where they stand in a queue.

Numbers and the sentences that belong next to them in a report; what happens by them is `kernel`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.plain_str_enum import PlainStrEnum
from ghtrader_market.accounting.execution_model import ExecutionModel


class BookMet(PlainStrEnum):
    """Which book an order meets.

    NEXT
        The first one at or after its arrival, as `ExecutionModel` has it: what it was decided on is gone.
    IN_FORCE
        The last one before its arrival or at it, which a snapshot every half second may have outlived.
    """

    NEXT = "next"
    IN_FORCE = "in-force"


class QueueModel(PlainStrEnum):
    """What a smaller queue means for an order in it, beyond the trades.

    RISK_AVERSE
        All cancelled lots stood behind: the order comes forward by trades alone.
    POWER, LOG
        They stood behind with the chance f(back) / (f(back) + f(front)), of f(x) = x ** power or log(1 + x).
    """

    RISK_AVERSE = "risk-averse"
    POWER = "power"
    LOG = "log"


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Delays in ns of market time, each one number or one for each row of the tape.

    Attributes
    ----------
    feed : int or int64[n]
        From a row's time to the strategy's eyes; rows are seen in order.
    order : int or int64[n]
        From a decision on that row to the exchange, of orders and cancels.
    answer : int or int64[n]
        From a fill or the end of an order that was decided on that row to the strategy.

    Raises
    ------
    UsageError
        A delay below 0, or an array of more than one dimension.
    """

    feed: int | np.ndarray = 0
    order: int | np.ndarray = 0
    answer: int | np.ndarray = 0

    def __post_init__(self) -> None:
        for name in ("feed", "order", "answer"):
            delay = np.asarray(getattr(self, name))
            if delay.ndim > 1 or (delay.size and delay.min() < 0):
                raise UsageError(f"{name} latencies below 0 or of shape {delay.shape} make no sense", "ns, one a row")

    @classmethod
    def constant(cls, *, feed_ms: float = 0.0, order_ms: float = 0.0, answer_ms: float = 0.0) -> Latencies:
        """The same for each row, in milliseconds."""
        return cls(feed=round(feed_ms * 1e6), order=round(order_ms * 1e6), answer=round(answer_ms * 1e6))

    @classmethod
    def drawn(cls, rows: int, seed: int, *, feed: np.ndarray, order: np.ndarray, answer: np.ndarray) -> Latencies:
        """Drawn for each of `rows` rows from measured delays, int64[m] in ns each, one draw for all three of a row
        where they have one length: what was slow together stays together."""
        rng, drawn = np.random.default_rng(seed), {}
        sizes = {feed.size, order.size, answer.size}
        if 0 in sizes:
            raise UsageError("there is no measured latency to draw from", "measure some, or name constants")
        together = rng.integers(0, feed.size, rows)
        for name, delays in (("feed", feed), ("order", order), ("answer", answer)):
            place = together if len(sizes) == 1 else rng.integers(0, delays.size, rows)
            drawn[name] = np.asarray(delays, np.int64)[place]
        return cls(**drawn)

    def text(self, name: str) -> str:
        """One of the three in words."""
        delay = np.asarray(getattr(self, name)) / 1e6
        if delay.ndim == 0:
            return f"{delay:g} ms"
        low, high = np.quantile(delay, [0.5, 0.99])
        return f"one a row, p50 {low:.3g} ms, p99 {high:.3g} ms"


@dataclass(frozen=True)
class Assumption:
    """One line of a report: what is assumed, its value here, and what that means."""

    name: str
    value: str
    meaning: str


_BOOKS = {
    BookMet.NEXT: "an order meets the first snapshot at or after its arrival",
    BookMet.IN_FORCE: "an order meets the last snapshot before its arrival",
}
_QUEUES = {
    QueueModel.RISK_AVERSE: "only trades bring a resting order forward",
    QueueModel.POWER: "cancels stand behind with chance back^p / (back^p + front^p)",
    QueueModel.LOG: "cancels stand behind with chance log(1+back) / (log(1+back) + log(1+front))",
}


@dataclass(frozen=True, kw_only=True)
class SimulationModel:
    """Everything a simulation assumes about the market and the way to it.

    Attributes
    ----------
    execution : ExecutionModel
        Slip and lots of an order; its latency is the order's where `latencies` is absent.
    latencies : Latencies, optional
    book : BookMet
    queue : QueueModel
    power : float
        Of `QueueModel.POWER`.

    Raises
    ------
    UsageError
        A power that is not positive.
    """

    execution: ExecutionModel = field(default_factory=ExecutionModel)
    latencies: Latencies | None = None
    book: BookMet = BookMet.NEXT
    queue: QueueModel = QueueModel.RISK_AVERSE
    power: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 < self.power < float("inf"):
            raise UsageError(f"a queue of power {self.power} makes no sense", "1 to 3 are usual")

    @property
    def delays(self) -> Latencies:
        """The latencies in force."""
        return self.latencies or Latencies(order=self.execution.latency_ns)

    def assumptions(self) -> tuple[Assumption, ...]:
        """What stands next to the numbers in a report."""
        delays = self.delays
        power = f", p = {self.power:g}" if self.queue == QueueModel.POWER else ""
        return (
            Assumption("feed latency", delays.text("feed"), "from the exchange's time of a row to the decision on it"),
            Assumption("order latency", delays.text("order"), "from a decision to the exchange, in order"),
            Assumption("response latency", delays.text("answer"), "from a fill to the position that decisions know"),
            Assumption("book", self.book.value, _BOOKS[self.book]),
            Assumption("slip", f"{self.execution.slip_ticks} price ticks", "beyond the best price of the decision"),
            Assumption("depth", "5 levels", "orders walk what is shown; nothing fills beyond the last level shown"),
            Assumption("impact", "until the next snapshot", "what orders took is missing until then, and back with it"),
            Assumption("queue", f"{self.queue.value}{power}", _QUEUES[self.queue]),
            Assumption("unseen queue", "last", "at a price beyond the levels shown an order stands behind all lots"),
            Assumption("trades", "inferred", "side and price of trades come from volume and turnover of snapshots"),
            Assumption("breaks", "refused", "an order that arrives outside of its session is not filled"),
            Assumption("closing", "by the exchange's rule", "a fill closes what is held against it before it opens"),
        )
