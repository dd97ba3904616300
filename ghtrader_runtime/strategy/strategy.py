"""Runs the strategy: tick -> factors -> model -> policy -> target, for every tick.

The same runner for replay, paper, sim and live; only what feeds the gateway differs. It starts cold with each trading
day, is warmed with the day so far when it joins late, and answers every tick, also with "as before".

Here is what it makes of each message, and its end. Messages to and from the gateway are in `gateway_client`, factors
and model of the contract at hand in `traded_model`, champions in `champion_watcher`.
"""

from __future__ import annotations

import contextlib
import gc
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ghtrader_base.errors import RefusedError
from ghtrader_base.settings import Settings
from ghtrader_base.trading_enums import Succession
from ghtrader_market.reference.symbols import parse_symbol
from ghtrader_market.reference.trading_calendar import load_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_models.bundles.bundle import Bundle
from ghtrader_runtime.accounts.account import AccountRef
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.core.actions import AnswerStatus
from ghtrader_runtime.run_options import StrategyOptions
from ghtrader_runtime.runlog.journal import Journal
from ghtrader_runtime.strategy.champion_watcher import ChampionWatcher
from ghtrader_runtime.strategy.context import StopRequest, StrategyContext
from ghtrader_runtime.strategy.gateway_client import GatewayClient
from ghtrader_runtime.strategy.model_runner import TradedModel
from ghtrader_runtime.strategy.shutdown import Shutdown, is_flat
from ghtrader_runtime.strategy.signal_engine import Decision

_GATEWAY_LOST_S = 120.0
"""Silence after which a strategy leaves; a supervised gateway that crashed is back, and logged in, well before."""


@dataclass(frozen=True, kw_only=True)
class StrategyResult:
    """How a strategy's run went.

    Attributes
    ----------
    ended : str
        Why it ended.
    answered : int
        Ticks that a target was sent for.
    refused : dict
        Reasons of refused targets, counted.
    model : str
        The bundle that traded last.
    """

    ended: str
    answered: int
    refused: dict[str, int]
    model: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def run(settings: Settings, options: StrategyOptions, ref: AccountRef, bundle: Bundle) -> StrategyResult:
    """Join, answer every tick until the gateway ends or we are told to stop; returns how it went.

    Hold the strategy's lock before.

    Raises
    ------
    UnreachableError
        No gateway answers.
    RefusedError
        The gateway trades something else, allows fewer lots than the model wants, or may send although the strategy
        is only to monitor.
    """
    stop = StopRequest()
    with contextlib.ExitStack() as stack:
        calendar = load_calendar(settings)
        client = GatewayClient(endpoints(settings, ref.state_dir), ref, options.symbol, stop.requested)
        stack.callback(client.close)
        stop.catch_signals()
        welcome = client.join(options.join_timeout_s)
        if welcome is None:
            return StrategyResult(ended=f"stopped by {stop.signal}", answered=0, refused={}, model=bundle.bundle_id)
        _check_welcome(welcome, options, bundle)
        journal = client.journal = Journal(Path(welcome.run_dir) / "strategy")
        stack.callback(journal.close)
        context = StrategyContext(
            settings=settings, options=options, calendar=calendar, client=client, journal=journal, stop=stop
        )
        model = TradedModel(context, bundle, welcome)
        stack.callback(model.flush)
        strategy = Strategy(context, model, _succession(context, bundle, welcome))
        journal.write("events", "start", {
            "session": client.session, "model": bundle.bundle_id, "symbol": model.contract,
            "requested": options.symbol, "position": welcome.position, "factor_spec": bundle.factor_spec_hash,
            "history": welcome.rows,
        })  # fmt: skip
        strategy.warm(welcome)
        gc.collect()
        gc.freeze()  # no full collection in the middle of a tick
        client.say_ready(model.contract, welcome.rows, model.bundle.bundle_id)
        strategy.trade()
        ended, answered, refused = strategy.ended, strategy.answered, strategy.refused
        journal.write("events", "end", {"reason": ended, "answered": answered, "refused": refused})
        client.say_goodbye(ended)
        return StrategyResult(ended=ended, answered=answered, refused=refused, model=model.bundle.bundle_id)


def _check_welcome(welcome: msg.Welcome, options: StrategyOptions, bundle: Bundle) -> None:
    wanted, series = options.symbol, variety_of(welcome.symbol).continuous_symbol
    if wanted not in (welcome.symbol, series):
        raise RefusedError(f"the gateway trades {welcome.symbol}, not {wanted}", "start both with the same --symbol")
    if options.monitor_only and not welcome.monitor_only:
        raise RefusedError(
            "the gateway may send orders, and this strategy is only to monitor", "start the gateway with --monitor-only"
        )
    if bundle.policy.max_lots > welcome.max_position:
        raise RefusedError(
            f"the model wants up to {bundle.policy.max_lots} lots, the gateway allows {welcome.max_position}",
            "raise the gateway's --max-position",
        )


def _succession(context: StrategyContext, bundle: Bundle, welcome: msg.Welcome) -> ChampionWatcher:
    options = context.options
    way = options.succession if options.model == "champion" else Succession.KEEP
    series = variety_of(options.symbol).continuous_symbol
    return ChampionWatcher(
        context.settings.models, series, options.horizon, way, bundle.bundle_id, welcome.max_position,
        mode=options.mode, monitor_only=options.monitor_only,
    )  # fmt: skip


class Strategy:
    """What a strategy that has joined makes of the gateway's messages.

    Parameters
    ----------
    context : StrategyContext
    model : TradedModel
    succession : ChampionWatcher
        The champions that may take over.

    Attributes
    ----------
    ended : str
        Why the run ended; empty while it goes on.
    answered : int
        Ticks that a target was sent for.
    refused : dict
        Reasons of refused targets, counted.
    gaps : int
        How often ticks were lost on the way.
    """

    def __init__(self, context: StrategyContext, model: TradedModel, succession: ChampionWatcher) -> None:
        self._context, self._client, self._model, self._succession = context, context.client, model, succession
        self._departure = Shutdown()
        self._left: list[str] = []
        self.ended = ""
        self.answered = 0
        self.refused: dict[str, int] = {}
        self.gaps = 0

    def warm(self, welcome: msg.Welcome) -> None:
        """Take the day so far, unanswered."""
        self._take_history(welcome.rows, answer="none")
        if welcome.more:
            self._catch_up(answer="none")

    def trade(self) -> None:
        """Deal with every message until the run has `ended`."""
        client, stop = self._client, self._context.stop
        while not self.ended:
            message = client.next_message(0.2)
            if isinstance(message, msg.Tick | msg.AccountState) and message.session != client.gateway_session:
                self._rejoin("a new gateway answers")  # what came is in what it tells us now
            elif isinstance(message, msg.Tick):
                self._on_tick(message)
            elif isinstance(message, msg.AccountState):
                self._on_state(message)
            elif isinstance(message, msg.Rolled):
                self._roll()
            elif isinstance(message, msg.Ack):
                self._on_ack(message)
            if message is None and client.silent_s() > _GATEWAY_LOST_S:
                self.ended = "the gateway is silent"
            if stop.signal:
                self._leave()

    def _on_ack(self, ack: msg.Ack) -> None:
        self._client.acknowledged(ack)
        self._departure.on_ack(ack)
        if ack.status == AnswerStatus.REFUSED:
            self.refused[ack.reason] = self.refused.get(ack.reason, 0) + 1
        elif ack.status == AnswerStatus.UNKNOWN:
            self._rejoin("it does not know us")

    def _on_tick(self, tick: msg.Tick) -> None:
        client, model = self._client, self._model
        if tick.symbol != model.contract:
            if client.is_news(tick.revision):
                self._roll()
            return
        if tick.id <= model.last_id and tick.trading_day == model.signal.day:
            client.skip_to(tick.revision)
            return
        if client.lost_before(tick.revision):
            self._repair()
            return
        if tick.trading_day != model.signal.day and (successor := self._succession.due(new_day=True, flat=False)):
            # Nothing of the new day was seen yet: it starts cold, as every day does.
            model.hand_over(successor)
        got_ns = time.monotonic_ns()
        decision = model.on_tick(tick.id, tick.trading_day, tick.datetime_ns, tick.array())
        self._answer(tick.id, tick.datetime_ns, decision, got_ns)
        model.journal_decision(tick.id, tick.trading_day, tick.datetime_ns, decision, live=True)

    def _answer(self, tick_id: int, moment: int, decision: Decision | None, got_ns: int = 0) -> None:
        client, model = self._client, self._model
        if decision is None:
            client.send_target(model.contract, model.signal.target, tick_id, moment, "outside the sessions")
        else:
            marks = (got_ns, *decision.marks_ns) if got_ns else ()
            opinion = tuple(decision.probabilities.tolist())
            client.send_target(
                model.contract, model.signal.target, tick_id, moment, decision.reason, opinion, marks, decision.near
            )
        self.answered += 1

    def _resume(self, reason: str = "") -> None:
        """Ready after a break; with a `reason`, the target at hand is sent for every tick that was not answered."""
        if self.ended:
            return
        client, model = self._client, self._model
        client.say_ready(model.contract, 0, model.bundle.bundle_id)
        if reason:
            client.send_target(model.contract, model.signal.target, model.last_id, 0, reason)

    def _repair(self) -> None:
        """Ticks were lost on the way: degraded until they are here and answered."""
        self.gaps += 1
        self._client.trouble("gap", "ticks were lost on the way")
        self._catch_up(answer="all")
        self._client.mended("gap")

    def _rejoin(self, why: str) -> None:
        """Another gateway answers now, or ours forgot us: what was missed is made good, and the last tick answered."""
        self._client.trouble("rejoin", why)
        self._client.start_over()
        self._catch_up(answer="last")
        self._resume()
        self._client.mended("rejoin")

    def _roll(self) -> None:
        """The day has another contract: it is asked for, and its day so far warms new factors."""
        self._catch_up(answer="none")
        self._resume("rolled")

    def _catch_up(self, answer: str) -> None:
        """Say hello again and take what is missing, the tick that told included; answered late where `answer` says."""
        model = self._model
        for welcome in self._client.welcomes(lambda: model.last_id):
            if welcome.symbol != model.contract:
                self._change_contract(welcome)
                if self.ended:
                    return
                answer = "none"  # its day so far, from the beginning
                continue
            self._take_history(welcome.rows, answer)
            if not welcome.more:
                return
        self.ended = self.ended or "the gateway does not answer"

    def _take_history(self, rows: int, answer: str) -> None:
        """Rows the gateway kept for us: the day so far (answered by `none`: it warms the engine), ticks we missed
        (`all`, late), or what happened while a gateway was being started again (the `last` alone)."""
        model, left = self._model, rows
        for day, ids, times, values in self._client.history(rows):
            held = model.signal.target
            for place, (tick_id, moment, row) in enumerate(zip(ids.tolist(), times.tolist(), values, strict=True), 1):
                decision = model.on_tick(tick_id, day, moment, row)
                if answer == "all" or (answer == "last" and place == left):
                    self._answer(tick_id, moment, decision)
                model.journal_decision(tick_id, day, moment, decision, live=answer != "none")
            if answer == "none":
                model.signal.forget(held)
            left -= len(ids)

    def _change_contract(self, welcome: msg.Welcome) -> None:
        """The gateway trades another contract now: nothing of the one before crosses."""
        model, before = self._model, self._model.contract
        self._client.change_contract(welcome.symbol)
        model.change_contract(welcome, self._succession.due(new_day=True, flat=False))
        if not parse_symbol(self._context.options.symbol).continuous:
            self.ended = f"the gateway trades {model.contract} now, not {self._context.options.symbol}"
        self._left.append(before)
        self._tell("roll", {"before": before, "contract": model.contract})

    def _on_state(self, state: msg.AccountState) -> None:
        self._look_for_a_champion(state)
        client, contract = self._client, self._model.contract
        if state.ended:
            self.ended = state.ended
        elif state.contract != contract and state.sent_ns > client.welcomed_ns:
            self._roll()
        elif client.is_news(state.tick_revision) and not client.pending:  # the last ticks were lost, no later one tells
            client.skip_to(state.tick_revision)
            self._repair()
        elif client.is_forgotten(state):
            self._rejoin("it does not count us as ready")
        elif self._departure.may_go(state, (contract, *self._left)):
            self.ended = f"stopped by {self._context.stop.signal}"

    def _look_for_a_champion(self, state: msg.AccountState) -> None:
        client, model, succession = self._client, self._model, self._succession
        if (found := succession.look(time.monotonic())) is not None:
            self._tell("champion-waits", {"model": found.bundle_id})
        elif succession.refused:
            self._tell("champion-refused", {"reason": succession.refused})
            succession.refused = ""
        flat = is_flat(state, (model.contract,)) and not (model.signal.target or client.pending or len(client.outbox))
        if not self._context.stop.signal and (successor := succession.due(new_day=False, flat=flat)):
            model.hand_over(successor)
            model.forget_ticks()  # the day so far warms it
            self._catch_up(answer="none")
            self._resume("taken over")

    def _tell(self, kind: str, fields: dict[str, Any]) -> None:
        self._context.journal.write("events", kind, fields)

    def _leave(self) -> None:
        """Told to stop: want a flat position, go on answering ticks, and go once the gateway says it is flat."""
        now, stopped = time.monotonic(), f"stopped by {self._context.stop.signal}"
        if not self._departure.begun:
            self._departure.begin(now)
            self._model.stop_trading()
            if not self._context.options.flatten_on_stop:
                self.ended = stopped
                return
        if self._departure.too_late(now):
            self.ended = f"{stopped}, the position was not flat in time"
        elif self._departure.asks(now):
            self._departure.asked(self._client.send_target(self._model.contract, 0, -1, 0, "leaving"))
