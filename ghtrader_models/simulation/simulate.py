"""Runs targets, orders or quotes over a tape: holds the arrays of a run, and hands them to the compiled kernel.

A run stands still between rows and goes on from there, so that many of them can share one pass over a tape (`sweep`).
Policies, reports and files do not belong here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_base.plain_str_enum import PlainStrEnum
from ghtrader_market.accounting.fill import Fill, Offset, Side
from ghtrader_market.accounting.positions import Position
from ghtrader_market.reference.closing_rules import ClosingRule
from ghtrader_market.reference.varieties import FeeRates
from ghtrader_models.simulation import kernel as k
from ghtrader_models.simulation.assumptions import BookMet, QueueModel, SimulationModel
from ghtrader_models.simulation.book_tape import BookTape

OFFSETS = (Offset.OPEN, Offset.CLOSE, Offset.CLOSETODAY)
_RULES = {ClosingRule.BY_OFFSET: 0, ClosingRule.TODAY_FIRST: 1, ClosingRule.YESTERDAY_FIRST: 2}
_QUEUES = {QueueModel.RISK_AVERSE: 0, QueueModel.POWER: 1, QueueModel.LOG: 2}
_BLOCK = 4096
"""Rows that each run of a sweep takes in turn: their books stay in the processor's cache."""


class TimeInForce(PlainStrEnum):
    """What becomes of what an order does not take at once.

    FAK
        It is cancelled.
    GTC
        It rests, until the end of the tape.
    POST_ONLY
        It rests; an order that would take anything is refused instead.
    """

    FAK = "fak"
    GTC = "gtc"
    POST_ONLY = "post-only"


_TIFS = {TimeInForce.FAK: k.FAK, TimeInForce.GTC: k.GTC, TimeInForce.POST_ONLY: k.POST_ONLY}


@dataclass(frozen=True, kw_only=True)
class ContractTerms:
    """What the exchange asks for a contract on a day.

    Attributes
    ----------
    rates : FeeRates
    multiplier : int
        Units a lot.
    rule : ClosingRule
    only_closed : bool
        Nothing may be opened.
    """

    rates: FeeRates
    multiplier: int
    rule: ClosingRule
    only_closed: bool = False


@dataclass(frozen=True)
class Targets:
    """Net lots wanted after each row, int64[n]: reached step by step, closing before opening, with FAK orders at the
    opposite best price plus the slip (`ghtrader_runtime/core/order_planning.py`)."""

    lots: np.ndarray


@dataclass(frozen=True, kw_only=True)
class OrderStream:
    """Orders and cancels of m lines, by row.

    Attributes
    ----------
    row : int64[m]
        The row each is decided on, not descending.
    side : int64[m]
        +1 buys, -1 sells; 0 cancels.
    lots : int64[m]
        Positive; of a cancel ignored.
    price : float64[m]
        Limits, CNY; an infinite one takes all levels shown, and what is left is cancelled.
    tif : int64[m]
        Places in `TimeInForce`.
    order : int64[m]
        Number of the order, not negative and each of its own; of a cancel that of the order it ends.
    """

    row: np.ndarray
    side: np.ndarray
    lots: np.ndarray
    price: np.ndarray
    tif: np.ndarray
    order: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Quotes:
    """A bid and an ask wanted after each row, at most one of each resting.

    Another price is a cancel, and a new order once that is answered.

    Attributes
    ----------
    bid, ask : float64[n]
        CNY; NaN for none.
    lots : int64[n]
    most : int
        Net lots that are held at most on either side; a quote that might lead beyond is smaller or not sent.
    tif : TimeInForce
        POST_ONLY, or GTC where a quote may take.
    """

    bid: np.ndarray
    ask: np.ndarray
    lots: np.ndarray
    most: int
    tif: TimeInForce = TimeInForce.POST_ONLY


@dataclass(frozen=True, kw_only=True)
class SimulatedExecutions:
    """Fills of a run, in order.

    Attributes
    ----------
    row : int64[m]
        Of the book.
    datetime_ns, known_ns : int64[m]
        When at the exchange, and when the strategy knew, UTC epoch ns.
    order : int64[m]
        Number of the order.
    lots : int64[m]
        Sold negative.
    offset : int64[m]
        Places in `OFFSETS`.
    maker : bool[m]
        Whether the order rested.
    price, fee : float64[m]
        CNY; the fee of the whole fill.
    """

    row: np.ndarray
    datetime_ns: np.ndarray
    known_ns: np.ndarray
    order: np.ndarray
    lots: np.ndarray
    offset: np.ndarray
    maker: np.ndarray
    price: np.ndarray
    fee: np.ndarray

    def as_fills(self, contract: str) -> list[Fill]:
        """What `ghtrader_market.accounting` takes."""
        columns = (self.datetime_ns, self.order, self.lots, self.offset, self.price, self.fee)
        return [
            Fill(
                symbol=contract, side=Side.of(lots), offset=OFFSETS[offset], volume=abs(lots), price=price, fee=fee,
                market_ns=at, order_id=str(order),
            )  # fmt: skip
            for at, order, lots, offset, price, fee in zip(*(column.tolist() for column in columns), strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class KnownAccount:
    """What the strategy knew at each decision: net lots int64[n], cash and fees float64[n] in CNY.

    Cash is what sales brought less what purchases cost, without fees.
    """

    net: np.ndarray
    cash: np.ndarray
    fees: np.ndarray


@dataclass(frozen=True, kw_only=True)
class RunTotals:
    """Where a run stands.

    Attributes
    ----------
    net, today : int
        Lots held, and how many of them were opened today.
    cash, fees : float
        CNY; cash without fees.
    sent, refused, cancelled, working : int
        Orders: sent, refused by the exchange, ended with lots left, and under way or resting.
    """

    net: int
    today: int
    cash: float
    fees: float
    sent: int
    refused: int
    cancelled: int
    working: int

    def equity(self, mark: float, multiplier: int) -> float:
        """Net PnL in CNY with what is held valued at `mark`; opening lots cost none of the cash."""
        return self.cash - self.fees + (self.net * mark * multiplier if self.net else 0.0)


class SimulatedRun:
    """One account on one tape: call `advance`, then read.

    Parameters
    ----------
    tape : BookTape
    wanted : Targets, OrderStream or Quotes
    terms : ContractTerms
    model : SimulationModel
    opening : Position, optional
        Held before the first row, on one side alone.
    flat_from : int, optional
        Row from which on nothing is wanted: what rests is withdrawn, what is held is closed. The end of a segment.
    watch : bool
        Keep what was known at each decision.
    next_change : int64[n], optional
        See `next_changes`; runs of one path of targets share it.

    Raises
    ------
    UsageError
        What is wanted is not of the tape's rows.
    """

    def __init__(
        self,
        tape: BookTape,
        wanted: Targets | OrderStream | Quotes,
        terms: ContractTerms,
        model: SimulationModel,
        *,
        opening: Position | None = None,
        flat_from: int | None = None,
        watch: bool = False,
        next_change: np.ndarray | None = None,
    ) -> None:
        opening = opening or Position()
        if opening.long and opening.short:
            raise UsageError("a simulation begins with lots on one side alone", "close one of them first")
        self.tape, self.wanted, self.terms, self.model = tape, wanted, terms, model
        rows, delays = tape.rows, model.delays
        self._settings = np.zeros(k.SETTING_SIZE, np.int64)
        self._values = np.zeros(k.VALUE_SIZE)
        self._address = np.zeros(k.ADDRESS_SIZE, np.int64)
        self._arrays: dict[int, np.ndarray] = {}
        seen = np.maximum.accumulate(tape.times + _of_rows(delays.feed, rows)) if rows else tape.times
        for place, array in (
            (k.A_TIMES, tape.times), (k.A_PRICES, tape.prices), (k.A_LOTS, tape.lots), (k.A_SEEN, seen),
            (k.A_MARKS, tape.marks),
            (k.A_SESSION, np.ascontiguousarray(tape.sessions.row, np.int32)),
            (k.A_SESSION_END, np.ascontiguousarray(tape.sessions.ends_ns, np.int64)),
            (k.A_TRADE_FIRST, np.ascontiguousarray(tape.trades.first, np.int64)),
            (k.A_TRADE_PRICE, np.ascontiguousarray(tape.trades.price, np.float64)),
            (k.A_TRADE_LOTS, np.ascontiguousarray(tape.trades.lots, np.int64)),
            (k.A_ORDER, _of_rows(delays.order, rows)), (k.A_ANSWER, _of_rows(delays.answer, rows)),
            (k.A_MONEY, np.zeros(4)), (k.A_ORDERS, np.zeros((k.MOST_ORDERS, k.ORDER_SIZE), np.int64)),
            (k.A_ORDER_VALUES, np.zeros((k.MOST_ORDERS, k.ORDER_VALUES))),
            (k.A_TAKEN, np.zeros((2, k.LEVELS), np.int64)),
        ):  # fmt: skip
            self._hand_over(place, array)
        self._state = np.zeros(k.STATE_SIZE, np.int64)
        self._state[[k.NEXT_ARRIVAL, k.TAKEN_ROW, k.STEP, k.BUY_QUOTE, k.SELL_QUOTE]] = k.NEVER, -1, -1, -1, -1
        self._state[[k.NET, k.KNOWN_NET, k.WANTED]] = opening.net
        self._state[k.TODAY] = opening.long_today + opening.short_today
        for place, array in ((k.A_STATE, self._state), (k.A_SETTINGS, self._settings), (k.A_VALUES, self._values)):
            self._hand_over(place, array)
        slip = model.execution.slip_ticks * tape.price_tick if tape.price_tick > 0 else math.inf
        tolerance = tape.price_tick / 4 if tape.price_tick > 0 else 1e-9
        rates = terms.rates
        self._values[:] = (
            tolerance, slip, model.power, terms.multiplier, rates.open_ratio, rates.open_lot, rates.close_ratio,
            rates.close_lot, rates.close_today_ratio, rates.close_today_lot, tape.lower, tape.upper,
        )  # fmt: skip
        for place, setting in (
            (k.N_ROWS, rows), (k.N_SHOWN_LEVELS, tape.levels), (k.N_NEXT_BOOK, model.book == BookMet.NEXT),
            (k.N_QUEUE, _QUEUES[model.queue]), (k.N_RULE, _RULES[terms.rule]),
            (k.N_MAX_ORDER, model.execution.max_order), (k.N_ONLY_CLOSED, terms.only_closed),
            (k.N_FLAT_FROM, k.NEVER if flat_from is None else flat_from), (k.N_WATCH, watch),
            (k.N_ORDER_STEP, np.ndim(delays.order)), (k.N_ANSWER_STEP, np.ndim(delays.answer)),
            (k.N_SKIP, next_change is not None),
        ):  # fmt: skip
            self._settings[place] = setting
        if next_change is not None:
            self._hand_over(k.A_SKIP, np.ascontiguousarray(next_change, np.int64))
        self._take(wanted, rows)
        self._watched = np.zeros(rows if watch else 0, np.int64), np.zeros((rows if watch else 0, 2))
        self._hand_over(k.A_SEEN_NET, self._watched[0])
        self._hand_over(k.A_SEEN_MONEY, self._watched[1])
        self._make_room(2 * k.FILL_ROOM)

    def _hand_over(self, place: int, array: np.ndarray) -> None:
        """Keep an array alive and tell the kernel where it lies."""
        self._arrays[place] = array
        self._address[place] = array.ctypes.data

    def _take(self, wanted: Targets | OrderStream | Quotes, rows: int) -> None:
        if isinstance(wanted, Targets):
            if wanted.lots.shape != (rows,):
                raise UsageError(f"{wanted.lots.shape} targets for {rows} rows", "one target a row")
            self._hand_over(k.A_TARGETS, np.ascontiguousarray(wanted.lots, np.int64))
            self._settings[k.N_MODE] = k.TARGETS
        elif isinstance(wanted, OrderStream):
            self._take_orders(wanted, rows)
        else:
            if not wanted.bid.shape == wanted.ask.shape == wanted.lots.shape == (rows,) or wanted.most < 1:
                raise UsageError(f"quotes are not one a row of {rows}, or hold less than a lot", "one a side and row")
            lots = np.ascontiguousarray(np.stack([wanted.lots, wanted.lots], axis=1), np.int64)
            prices = np.ascontiguousarray(np.stack([wanted.bid, wanted.ask], axis=1), np.float64)
            self._hand_over(k.A_QUOTE_PRICES, prices)
            self._hand_over(k.A_QUOTE_LOTS, lots)
            self._settings[k.N_MODE], self._settings[k.N_MOST] = k.QUOTES, wanted.most
            self._settings[k.N_QUOTE_TIF] = _TIFS[wanted.tif]

    def _take_orders(self, wanted: OrderStream, rows: int) -> None:
        news = wanted.side != 0
        ordered = bool((np.diff(wanted.row) >= 0).all()) and bool(((wanted.row >= 0) & (wanted.row < rows)).all())
        if not ordered or (wanted.lots[news] < 1).any() or np.isnan(wanted.price[news]).any():
            raise UsageError(
                "orders are not in the order of their rows, or without lots or a price",
                "sort them by row; lots from 1, a price or infinity",
            )
        if (wanted.order < 0).any() or np.unique(wanted.order[news]).size != news.sum():
            raise UsageError("two orders have one number, or one below 0", "number them from 0")
        lines = np.zeros((wanted.row.size, k.IN_SIZE), np.int64)
        lines[:, k.I_ROW], lines[:, k.I_CANCEL], lines[:, k.I_SIDE] = wanted.row, ~news, np.sign(wanted.side)
        lines[:, k.I_LOTS], lines[:, k.I_TIF], lines[:, k.I_ORDER] = wanted.lots, wanted.tif, wanted.order
        self._hand_over(k.A_STREAM, lines)
        self._hand_over(k.A_STREAM_PRICE, np.ascontiguousarray(wanted.price, np.float64))
        self._settings[k.N_MODE], self._settings[k.N_STREAM] = k.ORDERS, wanted.row.size
        self._state[k.NEXT_ID] = wanted.order.max(initial=-1) + 1

    def _make_room(self, room: int) -> None:
        done = int(self._state[k.FILLS])
        for place, width, kind in ((k.A_FILLS, k.FILL_SIZE, np.int64), (k.A_FILL_VALUES, k.FILL_VALUES, np.float64)):
            larger = np.empty((room, width), kind)
            if place in self._arrays:
                larger[:done] = self._arrays[place][:done]
            self._hand_over(place, larger)
        self._settings[k.N_ROOM] = room

    @property
    def row(self) -> int:
        """The row that is next."""
        return int(self._state[k.ROW])

    def advance(self, until: int | None = None) -> None:
        """Simulate up to row `until`, or all rows.

        Raises
        ------
        FailedError
            More orders are under way or resting than a run has places for, or more fills come between two decisions.
        """
        until = self.tape.rows if until is None else min(until, self.tape.rows)
        while True:
            done = k.run(self._address.ctypes.data, until)
            overflow = self._state[k.OVERFLOW]
            if overflow == k.NEVER:
                raise FailedError(
                    f"more than {k.FILL_ROOM} fills come between two decisions at row {self.row}",
                    "send smaller orders, or take a feed latency without such a gap",
                )
            if overflow:
                raise FailedError(
                    f"more than {k.MOST_ORDERS} orders work at row {overflow - 1}", "cancel some before sending more"
                )
            if done >= until:
                return
            self._make_room(2 * int(self._settings[k.N_ROOM]))

    @property
    def executions(self) -> SimulatedExecutions:
        """Fills so far."""
        count = int(self._state[k.FILLS])
        whole, values = self._arrays[k.A_FILLS][:count], self._arrays[k.A_FILL_VALUES][:count]
        return SimulatedExecutions(
            row=whole[:, k.F_ROW].copy(), datetime_ns=whole[:, k.F_TIME].copy(), known_ns=whole[:, k.F_KNOWN].copy(),
            order=whole[:, k.F_ORDER].copy(), lots=whole[:, k.F_LOTS].copy(), offset=whole[:, k.F_OFFSET].copy(),
            maker=whole[:, k.F_MAKER] != 0, price=values[:, k.F_PRICE].copy(), fee=values[:, k.F_FEE].copy(),
        )  # fmt: skip

    @property
    def known(self) -> KnownAccount:
        """What was known at each decision, of a run that watches; rows to come are 0."""
        return KnownAccount(net=self._watched[0], cash=self._watched[1][:, 0], fees=self._watched[1][:, 1])

    @property
    def totals(self) -> RunTotals:
        """Where the run stands."""
        s, money = self._state.tolist(), self._arrays[k.A_MONEY].tolist()
        working = (self._arrays[k.A_ORDERS][: s[k.ACTIVE], k.O_STATUS] != k.ENDED).sum()
        return RunTotals(
            net=s[k.NET], today=s[k.TODAY], cash=money[k.CASH], fees=money[k.FEES], sent=s[k.SENT],
            refused=s[k.REFUSED], cancelled=s[k.CANCELLED], working=int(working),
        )  # fmt: skip


def _of_rows(delay: int | np.ndarray, rows: int) -> np.ndarray:
    """One delay or one a row, as an array."""
    delays = np.atleast_1d(np.ascontiguousarray(delay, np.int64))
    if delays.size not in (1, rows) or (np.ndim(delay) and delays.size != rows):
        raise UsageError(f"{delays.size} latencies for {rows} rows", "one number, or one a row")
    return delays


def next_changes(targets: np.ndarray) -> np.ndarray:
    """int64[n]: for each row the next one whose target differs from its own; n where there is none.

    Worth its time where several runs follow one path.
    """
    changes = np.flatnonzero(np.diff(targets)) + 1
    ends = np.append(changes, targets.size)
    return np.repeat(ends, np.diff(np.concatenate([[0], ends])))


def sweep(runs: Iterable[SimulatedRun]) -> Sequence[SimulatedRun]:
    """Take runs over one tape to its end in one pass: block by block, each in turn."""
    todo = list(runs)
    for until in range(_BLOCK, max((run.tape.rows for run in todo), default=0) + _BLOCK, _BLOCK):
        for run in todo:
            run.advance(until)
    return todo
