"""Watches the account as a whole: its equity against the day's loss limits, and the kill switch."""

from __future__ import annotations

import math

from ghtrader_base.trading_enums import OnKill
from ghtrader_runtime.core import events as ev
from ghtrader_runtime.core.actions import Action, Record, TripKill, WriteMarks
from ghtrader_runtime.core.block_reasons import BlockReason
from ghtrader_runtime.core.order_entry import OrderEntry
from ghtrader_runtime.core.orders import TradingState
from ghtrader_runtime.core.risk_rules import first_breach
from ghtrader_runtime.core.state import CoreConfig, CoreState, Marks

_PEAK_STEP = 0.05
"""The peak is written again once it rose by this part of the drawdown limit."""


class AccountRisk:
    """Trips on losses; halts and cancels, or flattens, while the switch is tripped.

    Parameters
    ----------
    config : CoreConfig
    state : CoreState
    orders : OrderEntry
    """

    def __init__(self, config: CoreConfig, state: CoreState, orders: OrderEntry) -> None:
        self.config, self.state, self._orders = config, state, orders
        self._rules = config.limits.account_rules()

    def on_equity(self, equity: ev.Equity) -> list[Action]:
        """Equity now, CNY: moves the marks, trips where a loss limit is broken."""
        state = self.state
        if not math.isfinite(equity.balance) or not state.trading_day:
            return []
        actions: list[Action] = []
        if state.trading_day != state.marks.trading_day:
            actions += self._enter_day(equity.balance)
        marks = state.marks
        marks.last = equity.balance
        marks.peak = max(marks.peak, equity.balance)
        if self.config.limits.drawdown and marks.peak - marks.written >= _PEAK_STEP * self.config.limits.drawdown:
            actions += self._write_marks()
        reason = first_breach(self._rules, marks.opening, marks.peak, equity.balance)
        if reason and not state.killed and not self.config.monitor_only:
            actions += [TripKill(reason), *self._trip(reason)]
        return actions

    def _enter_day(self, balance: float) -> list[Action]:
        """Marks count for their own trading day alone: those of a later one, which a ledger may have, wait for it."""
        state = self.state
        if state.marks.trading_day > state.trading_day:
            state.later_marks[state.marks.trading_day] = state.marks
        kept = state.later_marks.pop(state.trading_day, None)
        if kept is not None:
            state.marks = kept
            return []
        state.marks = Marks(last=balance)
        return self._mark_day()

    def _mark_day(self) -> list[Action]:
        """The day's marks start where equity stands now."""
        marks = self.state.marks
        marks.trading_day, marks.opening, marks.peak = self.state.trading_day, marks.last, marks.last
        return self._write_marks()

    def _write_marks(self) -> list[Action]:
        marks = self.state.marks
        marks.written = marks.peak
        return [WriteMarks(marks.trading_day, marks.opening, marks.peak)]

    def on_kill(self, change: ev.KillChange) -> list[Action]:
        """The kill switch was tripped or reset."""
        if change.tripped:
            return [] if self.state.killed else self._trip(change.reason)
        if not self.state.killed:
            return []
        self.state.killed = False
        self.state.unblock(BlockReason.KILL)
        # Who resets the switch has accepted the loss so far: it counts anew from here.
        again = self._mark_day() if math.isfinite(self.state.marks.last) else []
        return [Record("kill-reset", {}), *again]

    def _trip(self, reason: str) -> list[Action]:
        self.state.killed = True
        self.state.block(BlockReason.KILL, TradingState.HALTED, f"the kill switch is tripped: {reason}")
        actions: list[Action] = [Record("killed", {"reason": reason})]
        for order in self.state.every_live_order():
            if not order.over and not order.cancel_ns:
                actions += self._orders.cancel(order)
        return actions

    def set_kill_block(self) -> None:
        """Flattening, closing orders may leave while something is held; else nothing."""
        state = self.state
        held = any(state.position(symbol).net for symbol in self.config.symbols)
        flattens = held and self.config.on_kill == OnKill.FLATTEN
        wanted = TradingState.REDUCING if flattens else TradingState.HALTED
        if state.blocks[BlockReason.KILL][0] is not wanted:
            state.block(BlockReason.KILL, wanted, state.blocks[BlockReason.KILL][1])
