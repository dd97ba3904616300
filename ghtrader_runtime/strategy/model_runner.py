"""Applies a model to the contract that is traded: its factors, buffers and policy begin here, and are journalled.

They begin anew for another contract and for a champion that takes over; nothing crosses.
"""

from __future__ import annotations

import time

import numpy as np

from ghtrader_models.bundles.bundle import Bundle
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.runlog.journal import FactorJournal, read_lines
from ghtrader_runtime.strategy.context import StrategyContext
from ghtrader_runtime.strategy.signal_engine import Decision, SignalEngine


class TradedModel:
    """The model and the contract that are traded now.

    Parameters
    ----------
    context : StrategyContext
    bundle : Bundle
        The model.
    welcome : Welcome
        Names the contract, its price tick and multiplier, and what is held of it.

    Attributes
    ----------
    bundle : Bundle
    signal : SignalEngine
        Of `bundle` and `contract`.
    contract : str
    last_id : int
        Of the last tick that was taken; -1 where the day so far is missing.
    """

    def __init__(self, context: StrategyContext, bundle: Bundle, welcome: msg.Welcome) -> None:
        self._context, self._welcome = context, welcome
        self.bundle, self.contract, self.last_id = bundle, welcome.symbol, -1
        journal = context.journal
        first = [line for line in read_lines(journal.folder / "events.jsonl") if line["kind"] == "start"]
        self._first_contract = first[0]["symbol"] if first else welcome.symbol  # of the run, not of this process of it
        self._models = 1
        self._stopped = False
        self.signal = self._new_signal(welcome.position)
        self._factors = self._new_factor_journal()

    def on_tick(self, tick_id: int, day: str, moment: int, values: np.ndarray) -> Decision | None:
        """Take one tick; see `SignalEngine.on_tick`."""
        self.last_id = tick_id
        return self.signal.on_tick(day, moment, values)

    def journal_decision(self, tick_id: int, day: str, moment: int, decision: Decision | None, live: bool) -> None:
        """Journal a decision, before the next tick and after its target has left."""
        if decision is not None and self._context.options.journal_factors:
            self._factors.add(tick_id, moment, day, decision.factors, decision.probabilities, decision.target, live)

    def flush(self) -> None:
        """Queue the factors so far for writing."""
        self._factors.flush()

    def stop_trading(self) -> None:
        """From now on the target is flat, whatever takes over."""
        self._stopped = self.signal.stop_trading = True

    def forget_ticks(self) -> None:
        """The day so far is missing, and is to be taken from its first tick on."""
        self.last_id = -1

    def hand_over(self, bundle: Bundle) -> None:
        """Swap the model for another one with buffers of its own; nothing is held."""
        before, self.bundle = self.bundle.bundle_id, bundle
        self._models += 1
        self._begin()
        self._context.journal.write("events", "champion-takes-over", {"before": before, "model": bundle.bundle_id})

    def change_contract(self, welcome: msg.Welcome, successor: Bundle | None) -> None:
        """Begin with another contract, and with the champion that takes over now, if any: nothing of the one before
        crosses."""
        self._welcome, self.contract, self.last_id = welcome, welcome.symbol, -1
        if successor is not None:
            self.hand_over(successor)
        else:
            self._begin()

    def _begin(self) -> None:
        self.flush()
        self.signal = self._new_signal(position=0)
        self._factors = self._new_factor_journal()

    def _new_signal(self, position: int) -> SignalEngine:
        options, welcome = self._context.options, self._welcome
        made = SignalEngine(
            self.bundle, self._context.calendar, self.contract, welcome.price_tick, welcome.multiplier,
            int(options.flat_before_end_s * 1e9), options.flat_from_ns, position, time.monotonic_ns,
        )  # fmt: skip
        made.stop_trading = self._stopped
        return made

    def _new_factor_journal(self) -> FactorJournal:
        name = "factors" if self.contract == self._first_contract else f"factors-{self.contract}"
        name += f"-{self._models}" if self._models > 1 else ""
        return FactorJournal(self._context.journal, self.signal.width, name)
