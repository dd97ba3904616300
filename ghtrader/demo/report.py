"""Holds what the demo found: report.json as structs, and the honest sentence about each part.

What belongs here: what is told. Who finds it out is in `pipeline_stages`, `scores` and `trading_results`; how a person
sees it in `report_page` and `run`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from ghtrader_market.accounting.fill import Offset, Side
from ghtrader_models.model_scores import GainInterval, ModelScores

BASELINES = ("prior", "majority", "persistence", "oracle")


@dataclass(frozen=True, kw_only=True)
class ContentHashes:
    """Hashes of a part's contents over its days; of its models, over all their metrics."""

    ticks: str
    main_l5: str
    factors: str
    labels: str
    models: str


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What a part was made of.

    Attributes
    ----------
    ticks, main_l5_ticks : int
        Of all contracts, and of the main series.
    contracts : list of str
        Those with ticks.
    days : int
        Trading days.
    first_day, last_day : str
        ISO.
    segments : int
        Roll segments.
    factors : int
        Computed on the last day.
    left_out : list of str
        Factors that need deeper levels than there are.
    left_out_days : list of str
        Days that took no part in models and tests at the judged horizon, each with its reason.
    hashes : ContentHashes
        Of the contents.
    """

    ticks: int
    main_l5_ticks: int
    contracts: list[str]
    days: int
    first_day: str
    last_day: str
    segments: int
    factors: int
    left_out: list[str]
    left_out_days: list[str] = field(default_factory=list)
    hashes: ContentHashes


@dataclass(frozen=True, kw_only=True)
class PipelineFacts:
    """What a part was made of, how its models scored and what the gate said.

    Attributes
    ----------
    data : DataFacts
        What it was made of.
    models : dict
        Model or baseline -> horizon (text) -> its scores.
    tests : list of str
        Names of the judged horizon's tests.
    walk_forward_net_pnl : dict of str to float or None
        Family -> what its policy earned over the tests at the judged horizon, CNY.
    comparison : str
        Under the demo's home: the families side by side at the judged horizon, as `ghtrader compare` keeps them.
    candidate, candidate_family : str
        Bundle id and family that the gate was asked about.
    champion : str or None
        Bundle id, where it was promoted.
    refused_because : str or None
        The gate's reason, where it was not.
    """

    data: DataFacts
    models: dict[str, dict[str, ModelScores]]
    tests: list[str]
    walk_forward_net_pnl: dict[str, float | None]
    comparison: str
    candidate: str
    candidate_family: str
    champion: str | None
    refused_because: str | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, flat."""
        found = asdict(self)
        return {**found.pop("data"), **found}


@dataclass(frozen=True, kw_only=True)
class ReportedFill:
    """One fill of ours.

    Attributes
    ----------
    order_id, trade_id : str
        Of the order, and of the trade at the exchange.
    symbol : str
        The contract.
    side, offset : Side, Offset
        BUY or SELL; OPEN, CLOSE or CLOSETODAY.
    price, fee : float
        CNY.
    volume : int
        Lots.
    datetime_ns : int
        The market's time, UTC epoch.
    """

    order_id: str
    trade_id: str
    symbol: str
    side: Side
    offset: Offset
    price: float
    volume: int
    fee: float
    datetime_ns: int


@dataclass(frozen=True, kw_only=True)
class BatchComparison:
    """Factors computed live, held against the stored batch of the same ticks, bit for bit.

    Attributes
    ----------
    ticks : int
        Compared.
    live : int
        Those of them that came live; the others are the history that a start in mid-session replays.
    day_ticks : int
        Of the stored day.
    outside_sessions : int
        Live ticks that the stored day does not have.
    different : int
        Ticks with any differing bit.
    """

    ticks: int
    live: int
    day_ticks: int
    outside_sessions: int
    different: int


@dataclass(frozen=True, kw_only=True)
class TradingFacts:
    """What a trading run came to.

    Attributes
    ----------
    ticks, targets, orders, fills, round_trips : int
        How many.
    net_pnl, gross_pnl, fees : float
        CNY.
    exchange_fills : int or None
        Fills of the exchange's own record; None where there is none.
    fills_equal_exchange : bool or None
        Whether they are ours one by one.
    tick_to_target_ms : dict
        Latency, as the gateway's summary has it: count, p50, p99 and so on.
    positions : dict of str to int
        Contract -> lots held at the end.
    ended : str
        Why the run ended.
    mode : str
        paper or sim.
    run_id : str
        Its folder under runs/trading.
    missed_ticks : int
        That the broker did not bring.
    fill_list : list of ReportedFill
        Ours.
    live_equals_batch : BatchComparison or None
        None where the traded day is not over.
    lock_step_ms : dict or None
        Latency of the run in lock-step, where `tick_to_target_ms` is of one at a pace.
    sample : str or None
        Of a recorded day: whether the model had learned from what it traded (`Sample`).
    """

    ticks: int
    targets: int
    orders: int
    fills: int
    round_trips: int
    net_pnl: float
    gross_pnl: float
    fees: float
    exchange_fills: int | None
    fills_equal_exchange: bool | None
    tick_to_target_ms: dict[str, Any]
    positions: dict[str, int]
    ended: str
    mode: str
    run_id: str
    missed_ticks: int
    fill_list: list[ReportedFill]
    live_equals_batch: BatchComparison | None = None
    lock_step_ms: dict[str, Any] | None = None
    sample: str | None = None

    def money(self, edge: bool) -> str:
        """What was earned, and what that says of an edge in the scores, in a sentence."""
        sample = f" ({self.sample})" if self.sample else ""
        told = f"Traded{sample}: net {self.net_pnl:+,.0f} CNY after {self.fees:,.0f} of fees"
        if self.net_pnl > 0 or not self.round_trips:
            return f"{told}."
        if self.gross_pnl > 0:
            return f"{told}, which take more than the {self.gross_pnl:,.0f} it earns before them."
        before = f"{told}; it loses {-self.gross_pnl:,.0f} before them too"
        return f"{before}: the edge is in the scores alone." if edge else f"{before}."

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        found = asdict(self)
        for name in ("lock_step_ms", "sample"):
            if found[name] is None:
                del found[name]
        return found


@dataclass(frozen=True, kw_only=True)
class PartReport:
    """One part of the demo.

    Attributes
    ----------
    kind : str
        What it ran on, in words.
    simulated : bool
        Whether the market was.
    pipeline : PipelineFacts
        From ticks to the gate's decision.
    trading : TradingFacts or None
        None where nothing traded.
    """

    kind: str
    simulated: bool
    pipeline: PipelineFacts
    trading: TradingFacts | None

    def verdict(self, judged: int) -> str:
        """The honest sentence about it, at the judged horizon."""
        scores = {name: by_horizon[str(judged)] for name, by_horizon in self.pipeline.models.items()}
        best = max((name for name in scores if name not in BASELINES), key=lambda name: scores[name].gain.mean)
        gain = scores[best].gain
        numbers = (
            f"{best} gains {gain.mean:+.4f} nats over the prior at horizon {judged}, "
            f"95 % interval {interval(gain)} over {gain.n} tests"
        )
        share = ""
        if "oracle" in scores:
            oracle = scores["oracle"].gain.mean
            share = f"; the oracle gains {oracle:+.4f}" + (
                f", so {gain.mean / oracle:.0%} of it" if oracle > 0.005 else ""
            )
        real = gain.low is not None and gain.low > 0
        edge = "an edge over the prior" if real else "no edge that chance would not explain"
        gate = "promoted" if self.pipeline.champion else f"refused: {self.pipeline.refused_because}"
        money = f" {self.trading.money(real)}" if self.trading else ""
        return f"{self.kind}: {edge}. {numbers}{share}.{money} Gate: {gate.rstrip('.')}."

    def to_dict(self, judged: int) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "verdict": self.verdict(judged),
            "kind": self.kind,
            "simulated": self.simulated,
            **self.pipeline.to_dict(),
            "trading": self.trading.to_dict() if self.trading is not None else None,
        }


@dataclass(frozen=True, kw_only=True)
class LivePartReport(PartReport):
    """The first part: the simulated exchange's world and its signal's strength, None on a service."""

    world: str | None
    strength: float | None

    def to_dict(self, judged: int) -> dict[str, Any]:
        """JSON-able form."""
        return {**super().to_dict(judged), "world": self.world, "strength": self.strength}


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the demo found.

    Attributes
    ----------
    version : str
        Of ghtrader.
    seed : int
        Of the simulated world and of every fit.
    seconds : float
        Wall time of the whole.
    stages : dict of str to float
        Stage -> seconds, in order.
    judged_horizon : int
        The horizon that is judged, gated and traded.
    live : LivePartReport
        The first part.
    recorded : PartReport
        The second one.
    """

    version: str
    seed: int
    seconds: float
    stages: dict[str, float]
    judged_horizon: int
    live: LivePartReport
    recorded: PartReport

    @property
    def parts(self) -> dict[str, PartReport]:
        """Both parts, under their keys in report.json."""
        return {"simulated" if self.live.simulated else "service": self.live, "real": self.recorded}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "version": self.version,
            "seed": self.seed,
            "world": self.live.world,
            "strength": self.live.strength,
            "seconds": self.seconds,
            "stages": self.stages,
            "judged_horizon": self.judged_horizon,
            **{name: part.to_dict(self.judged_horizon) for name, part in self.parts.items()},
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> DemoReport:
        """Back from `to_dict`; KeyError or msgspec.ValidationError where the document is none."""
        live, real = document["simulated" if "simulated" in document else "service"], document["real"]
        return cls(
            version=document["version"],
            seed=document["seed"],
            seconds=document["seconds"],
            stages=document["stages"],
            judged_horizon=document["judged_horizon"],
            live=msgspec.convert({**live, "pipeline": {**live, "data": live}}, LivePartReport),
            recorded=msgspec.convert({**real, "pipeline": {**real, "data": real}}, PartReport),
        )


def interval(gain: GainInterval) -> str:
    """Bounds of a gain as `[-0.0010, +0.0020]`; an unknown one as a dash."""
    low, high = ("\N{EN DASH}" if bound is None else f"{bound:+.4f}" for bound in (gain.low, gain.high))
    return f"[{low}, {high}]"
