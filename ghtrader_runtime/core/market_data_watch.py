"""Keeps what the market says: terms, books, the trading day; limits trading while a symbol goes silent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ghtrader_market.accounting.marks import is_price
from ghtrader_market.reference.session_times import session_silence_ns
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Record, Resubscribe
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.core.risk_rules import beyond_holding, only_closed
from ghtrader_runtime.core.state import CoreConfig, CoreState

_LONGEST_PAUSE = 16
"""Times the age from which a book is stale: the longest pause between two alarms, or between two looks at the feed."""


@dataclass(frozen=True)
class Silence:
    """A symbol whose ticks are missing.

    Attributes
    ----------
    symbol : str
    gone_ns : int
        Since the last one, or since it was subscribed.
    due_ns : int
        Time of the present session without one.
    opens_a_day : bool
        The present session is the first of a trading day.
    """

    symbol: str
    gone_ns: int
    due_ns: int
    opens_a_day: bool

    @property
    def since_session_began(self) -> bool:
        """Whether the last tick is of an earlier session."""
        return self.due_ns < self.gone_ns

    @property
    def misses_opening(self) -> bool:
        """Whether a trading day began without a tick."""
        return self.opens_a_day and self.since_session_began

    def words(self) -> str:
        """For people."""
        if self.since_session_began:
            return f"{self.symbol}: the session began {self.due_ns / 1e9:.0f} s ago without a tick"
        return f"{self.symbol}: no tick for {self.gone_ns / 1e9:.0f} s"


class MarketData:
    """Handles terms and books, and knows since when none came.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
    advance : callable
        Takes a symbol's next step towards its target.
    is_left : callable
        Whether a symbol is a contract of an earlier day, whose silence does not matter.
    """

    def __init__(
        self,
        config: CoreConfig,
        state: CoreState,
        advance: Callable[[str], list[Action]],
        is_left: Callable[[str], bool],
    ) -> None:
        self.config, self.state, self._advance, self._is_left = config, state, advance, is_left
        self._stale_ns = int(config.limits.data_age_s * 1e9)

    def on_terms(self, terms: ev.Terms) -> list[Action]:
        """A symbol's terms of a trading day."""
        self.state.terms[terms.symbol] = terms
        self.state.enter_day(terms.trading_day)
        self._limit_holding()
        return []

    def _limit_holding(self) -> None:
        """Limit trading where a contract at hand is only closed from this day on."""
        state = self.state
        for symbol, spec in self.config.symbols.items():
            if beyond_holding(spec.no_open_from, state.trading_day) and not self._is_left(symbol):
                state.block(BlockReason.HOLDING, TradingState.REDUCING, only_closed(symbol, spec.no_open_from))
                return
        state.unblock(BlockReason.HOLDING)

    def on_book(self, book: ev.Book) -> list[Action]:
        """A symbol's book; one that is not newer than the last is dropped."""
        state = self.state
        last = state.books.get(book.symbol)
        if last is not None and (book.trading_day, book.tick_id) <= (last.trading_day, last.tick_id):
            return []  # repeated or out of order: the newer one is known
        state.books[book.symbol] = book = self._with_prices_alone(book)
        state.market_ns = max(state.market_ns, book.market_ns)
        state.enter_day(book.trading_day)
        if state.resubscribe_tries and self._silent() is None:
            state.unblock(BlockReason.DATA)
            state.resubscribe_at_ns = state.resubscribe_tries = state.excused_until_ns = 0
        return self._advance(book.symbol)

    def _with_prices_alone(self, book: ev.Book) -> ev.Book:
        """The book with what cannot be a price taken for an empty side: nothing is priced, checked or sent by it.

        The day's limits are the orders' to keep (`order_planning.crossing_price`, `risk_rules.PriceCollar`).
        """
        spec = self.config.symbols.get(book.symbol)
        price_tick = spec.price_tick if spec is not None else math.nan
        bid = book.bid if is_price(book.bid, price_tick) else math.nan
        ask = book.ask if is_price(book.ask, price_tick) else math.nan
        if bid == book.bid and ask == book.ask:
            return book
        return msgspec.structs.replace(book, bid=bid, ask=ask)

    def _silent(self) -> Silence | None:
        """The first symbol that should have ticked by now; None where none has to."""
        state = self.state
        if not self._stale_ns or state.now_ns < state.excused_until_ns:
            return None
        for symbol, terms in state.terms.items():
            last = state.books.get(symbol) or terms
            gone_ns = state.now_ns - last.now_ns
            if gone_ns <= self._stale_ns or not last.market_ns or self._is_left(symbol):
                continue
            due_ns = session_silence_ns((*terms.sessions, *terms.next_sessions), last.market_ns, gone_ns)
            if due_ns > self._stale_ns:
                return Silence(symbol, gone_ns, due_ns, self._opens_a_day(terms, last.market_ns + gone_ns))
        return None

    @staticmethod
    def _opens_a_day(terms: ev.Terms, market_ns: int) -> bool:
        """Whether a moment lies in the first session of a trading day."""
        return any(start <= market_ns < end for start, end in (*terms.sessions[:1], *terms.next_sessions[:1]))

    def watch(self) -> list[Action]:
        """Limit trading and subscribe anew where a symbol went silent; with growing pauses."""
        state = self.state
        silence = self._silent()
        if silence is None:
            return []
        state.block(BlockReason.DATA, TradingState.REDUCING, silence.words())
        if state.now_ns < state.resubscribe_at_ns:
            return []
        state.resubscribe_at_ns = state.now_ns + self._pause_ns()
        state.resubscribe_tries += 1
        told = {"symbol": silence.symbol, "age_s": silence.gone_ns / 1e9}
        return [Record("data-stale", told), Resubscribe(f"{silence.symbol} went silent")]

    def _pause_ns(self) -> int:
        return self._stale_ns * int(min(2**self.state.resubscribe_tries, _LONGEST_PAUSE))

    def on_feed_checked(self, checked: ev.FeedChecked) -> list[Action]:
        """The silence is the market's own: nothing is wrong until the next look, after a pause that grows.

        Not where a trading day begins without a tick: every contract that trades has one of its opening. Nothing opens
        before that, though the client is as good as it can be.
        """
        state = self.state
        silence = self._silent()
        if silence is not None and silence.misses_opening:
            return [Record("feed-checked", {"symbol": checked.symbol})]
        state.excused_until_ns = state.now_ns + self._pause_ns()
        state.unblock(BlockReason.DATA)
        return [Record("feed-checked", {"symbol": checked.symbol})]

    def on_link(self, up: bool) -> list[Action]:
        """The market data line broke or is back."""
        if up:
            self.state.unblock(BlockReason.DATA_LINK)
        else:
            self.state.block(BlockReason.DATA_LINK, TradingState.REDUCING, "the market data link is down")
        return [Record("data-link", {"up": up})]
