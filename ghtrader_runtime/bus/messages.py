"""Defines the messages between gateway, strategy and commands: msgspec structs, msgpack on the wire.

Every message carries the session that sent it, a revision (monotonic within that session) and the sender's
monotonic clock in ns (one machine, one clock). The session is a name and gives nobody any right: what a message may
bring about follows from the connection it came over and its seal (`message_seal`). Only shapes belong here; sockets
are in `sockets`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np

from ghtrader_base.trading_enums import RunMode
from ghtrader_market.accounting.fill import Offset
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_runtime.core.actions import AnswerStatus
from ghtrader_runtime.core.orders import OrderStatus, TradingState

VALUES_BYTES = 8 * len(VALUE_COLUMNS)
Name = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Few = Annotated[tuple[float, ...], msgspec.Meta(max_length=3)]
Marks = Annotated[tuple[int, ...], msgspec.Meta(max_length=4)]
Lots = Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)]
Near = Annotated[tuple[Lots, ...], msgspec.Meta(max_length=4)]


class Message(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Head of every message.

    Attributes
    ----------
    session : str
        Who sent it; a new process is a new session.
    revision : int
        Counts up by one within a session and kind of stream.
    sent_ns : int
        CLOCK_MONOTONIC of the sender.
    """

    session: Name
    revision: Annotated[int, msgspec.Meta(ge=0)]
    sent_ns: int


class Tick(Message, frozen=True, tag="tick"):
    """One snapshot of the book; `values` is float64[27] in `VALUE_COLUMNS` order, little endian."""

    symbol: str
    trading_day: str
    datetime_ns: int
    id: int
    values: bytes

    def array(self) -> np.ndarray:
        """The 27 numbers, float64[27], read-only."""
        return np.frombuffer(self.values, dtype="<f8")


class OrderLine(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """One order that is not over, for observers; `side` is +1 buy, -1 sell."""

    order_id: str
    symbol: str
    side: int
    offset: Offset
    volume: int
    left: int
    price: float
    status: OrderStatus


class AccountState(Message, frozen=True, tag="state"):
    """What the gateway knows of the account now; also its heartbeat. `tick_revision` is the last tick published before
    it, so that a tick that was lost is seen without waiting for the next one.

    Attributes
    ----------
    links : dict
        State of every link by name.
    orders : list of OrderLine
        At most 20 that are not over.
    net_pnl, fees : float
        CNY since the run began, what is held valued at the last mid.
    opening, peak, balance : float
        Equity of the trading day, CNY: at its start, at its highest, now.
    data_age_s : float
        Seconds of our clock since the last tick; NaN before the first.
    counts : dict
        What happened so far, by name.
    stages : dict
        Histogram counts of each stage of tick to target (`latency.STAGES`, `latency.BUCKETS_NS`), the sum in ns last.
    probabilities : list of float
        DOWN, FLAT, UP of the last target; empty where it came with none.
    reason : str
        Of the last target.
    requested, contract : str
        What was asked for, and what is traded for it now.
    """

    account: str
    mode: RunMode
    run_id: str
    trading_state: TradingState
    reasons: list[str]
    killed: bool
    link: str
    trading_day: str
    positions: dict[str, int]
    working: int
    targets: dict[str, int]
    balance: float
    tick_revision: int
    ready: list[str]
    ended: str
    links: dict[str, str] = {}
    orders: list[OrderLine] = []
    net_pnl: float = 0.0
    fees: float = 0.0
    opening: float = float("nan")
    peak: float = float("nan")
    data_age_s: float = float("nan")
    counts: dict[str, int] = {}
    stages: dict[str, list[int]] = {}
    probabilities: list[float] = []
    reason: str = ""
    requested: str = ""
    contract: str = ""


class Hello(Message, frozen=True, tag="hello"):
    """A session asks to join: it wants the day so far of `symbol`, from tick id `after_id` + 1 on.

    Attributes
    ----------
    purpose : str
        `trade`, or anything else to look on.
    proof : str
        Of who wants to trade, that it knows the account's token (`message_seal.HelloProof`); in its place older
        versions have the token.
    """

    symbol: Name
    after_id: int = -1
    purpose: Name = ""
    proof: Name = ""


class Welcome(Message, frozen=True, tag="welcome"):
    """The gateway's answer: the contract that is traded for `requested`, and how many rows of history follow in
    `History` messages; `more` says that the day has further ones, for another `Hello`. `monitor_only` says that it
    never sends an order. `nonce` is the gateway's part of the session's key on this connection; empty for who looks
    on."""

    symbol: str
    account: str
    mode: RunMode
    run_id: str
    run_dir: str
    lockstep: bool
    price_tick: float
    multiplier: int
    max_position: int
    position: int
    rows: int
    tick_revision: int
    more: bool = False
    answers: int = 0
    requested: str = ""
    monitor_only: bool = False
    nonce: bytes = b""


class History(Message, frozen=True, tag="history"):
    """A chunk of the day so far: ids and times int64[n], values float64[n, 27], all little endian bytes."""

    symbol: str
    trading_day: str
    ids: bytes
    datetime_ns: bytes
    values: bytes
    last: bool
    answers: int = 0


class Ready(Message, frozen=True, tag="ready"):
    """The strategy is warm and answers every tick from now on."""

    symbol: Name
    rows: int
    model: Name


class Target(Message, frozen=True, tag="target"):
    """The position a strategy wants after a tick: `volume` lots, negative short. Sent for every tick.

    `probabilities` are the model's (DOWN, FLAT, UP), for the views; `marks_ns` when the tick was received, its factors,
    the model and the decision were done (monotonic), for the latency of each stage; `near` what the next tick may
    well bring instead of `volume`, so that such an order is made durable while the strategy thinks. Each may be empty.
    """

    symbol: Name
    volume: Lots
    tick_id: int
    tick_ns: int
    reason: Text
    probabilities: Few = ()
    marks_ns: Marks = ()
    near: Near = ()


class Rolled(Message, frozen=True, tag="rolled"):
    """The day has another contract: what was wanted of `before` is void, nothing known of it counts for `symbol`."""

    before: Name
    symbol: Name
    trading_day: str


class DirectOrder(Message, frozen=True, tag="order"):
    """This very order: words as in `events.OrderWanted`, and refused like there where they are none. A session that
    sends one cannot send targets of the symbol."""

    symbol: Name
    side: int
    offset: Name
    volume: Lots
    price: float
    price_type: Name = "LIMIT"
    tif: Name = "FAK"


class CancelOrder(Message, frozen=True, tag="cancel"):
    """A session cancels its direct order, or all of them where `order_id` is empty."""

    order_id: Name = ""


class Ack(Message, frozen=True, tag="ack"):
    """The gateway's answer to the `Target` or `Command` whose revision is `answers`."""

    answers: int
    status: AnswerStatus
    reason: str = ""
    order_id: str = ""


class Challenge(Message, frozen=True, tag="challenge"):
    """The gateway's answer to a `Command` that is not sealed with what its connection is to seal it with now: that is
    `challenge` (`message_seal.command_key`)."""

    answers: int
    challenge: bytes
    reason: str = ""


KILL_TRIP = "trip"
"""Value of a `kill` command that trips, also where the file could not be written; without it the file is looked at."""


class Command(Message, frozen=True, tag="command"):
    """An order of a person or the supervisor, sealed with the gateway's challenge: `kill`, `state`, `stop`; and a
    session's `heartbeat`."""

    name: Name
    value: Name = ""
    reason: Text = ""


class Goodbye(Message, frozen=True, tag="goodbye"):
    """The strategy leaves."""

    reason: Text = ""


AnyMessage = (
    Tick | AccountState | Hello | Welcome | History | Ready | Target | DirectOrder | CancelOrder | Ack | Challenge
    | Command | Goodbye | Rolled
)  # fmt: skip
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: Message) -> bytes:
    """Bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes) -> AnyMessage:
    """The message in `data`; `ValueError` for anything that is none."""
    try:
        message = _decoder.decode(data)
    except msgspec.MsgspecError as exc:
        raise ValueError(f"no message: {exc}") from exc
    if isinstance(message, Tick) and len(message.values) != VALUES_BYTES:
        raise ValueError(f"a tick holds {VALUES_BYTES} bytes of values, not {len(message.values)}")
    return message


def pack_history(
    session: str, revision: int, sent_ns: int, symbol: str, day: str, ids: np.ndarray, times: np.ndarray,
    values: np.ndarray, last: bool, answers: int = 0,
) -> History:  # fmt: skip
    """Build a `History` from ids int64[n], times int64[n], values float64[n, 27]; `answers`: the hello's revision."""
    return History(
        session=session, revision=revision, sent_ns=sent_ns, symbol=symbol, trading_day=day,
        ids=np.ascontiguousarray(ids, "<i8").tobytes(), datetime_ns=np.ascontiguousarray(times, "<i8").tobytes(),
        values=np.ascontiguousarray(values, "<f8").tobytes(), last=last, answers=answers,
    )  # fmt: skip


def unpack_history(message: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ids int64[n], times int64[n], values float64[n, 27] of a `History`; `ValueError` where they do not fit."""
    ids = np.frombuffer(message.ids, "<i8")
    times = np.frombuffer(message.datetime_ns, "<i8")
    values = np.frombuffer(message.values, "<f8").reshape(-1, len(VALUE_COLUMNS))
    if not len(ids) == len(times) == len(values):
        raise ValueError("history of unequal lengths")
    return ids, times, values
