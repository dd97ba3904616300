"""The runtime on the unmodified TqSdk client against the simulated exchange: fills, factors, crashes, lost orders."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import ConfigError, LockHeldError, RefusedError, UnreachableError, UsageError
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.tick_schema import MAIN_L5_SCHEMA, VALUE_COLUMNS, table_from_values
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_runtime.accounts.account import account_ref
from ghtrader_runtime.accounts.bus_token import read_token
from ghtrader_runtime.accounts.order_ledger import Intent, Ledger
from ghtrader_runtime.bus import messages as msg
from ghtrader_runtime.bus.endpoints import endpoints
from ghtrader_runtime.bus.message_seal import ClientCredentials
from ghtrader_runtime.bus.sockets import ClientBus, new_session
from ghtrader_runtime.gateway.launch import run_gateway
from ghtrader_runtime.operator_views import kill_commands
from ghtrader_runtime.replay.recorded_days import paper_day
from ghtrader_runtime.run_options import GatewayOptions, StrategyOptions
from ghtrader_runtime.runlog.journal import read_factors, read_lines
from ghtrader_runtime.supervisor.supervisor import Child, Pair, new_run_id, trade
from tests.support.runtime_kit import tiny_factor_set, write_tiny_bundle
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.clock
SCENARIO = Scenario(start=date(2025, 4, 14), end=date(2025, 4, 15), snapshot_seconds=6.0, contracts=2)
LIVE_DAY = date(2025, 4, 16)
SYMBOL = "SHFE.cu2506"
ACCOUNT = "demo"


@pytest.fixture
def exchange(tmp_path, home, monkeypatch):
    with ExchangeProcess(SCENARIO, tmp_path / "exchange", speed=20.0) as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def settings(exchange, home) -> Settings:
    return load_settings(home)


def options(run_id: str, **changes) -> GatewayOptions:
    given = {"account": ACCOUNT, "mode": "sim", "symbol": SYMBOL, "rate_orders": 10_000, **changes}
    return GatewayOptions(run_id=run_id, **given)


def strategy(model: Path) -> StrategyOptions:
    return StrategyOptions(account=ACCOUNT, mode="sim", symbol=SYMBOL, model=str(model))


def run_folder(settings: Settings, run_id: str) -> Path:
    return settings.runs / "trading" / run_id


class Hand:
    """A strategy moved by hand: answers what the test tells it, over the real bus."""

    def __init__(self, settings: Settings, account: str = ACCOUNT, symbol: str = SYMBOL) -> None:
        self.symbol = symbol
        self.state_dir = account_ref(settings, account, "sim").state_dir
        self.bus = ClientBus(endpoints(settings, self.state_dir))
        self.session = new_session("hand")
        self.credentials = ClientCredentials(self.session)
        self.revision = self.asked = 0
        self.state: msg.AccountState | None = None
        self.tick: msg.Tick | None = None
        self.acks: list[msg.Ack] = []

    def head(self) -> dict:
        self.revision += 1
        return {"session": self.session, "revision": self.revision, "sent_ns": time.monotonic_ns()}

    def listen(self, until: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < deadline, f"it did not happen; the last state was {self.state}"
            self.listen_once()

    def listen_once(self) -> None:
        match self.bus.receive(0.2):
            case msg.AccountState() as state:
                self.state = state
            case msg.Tick() as tick:
                self.tick = tick
            case msg.Ack() as ack:
                self.acks.append(ack)
            case msg.Welcome() as welcome if welcome.answers == self.asked:
                self.credentials.welcomed(welcome.nonce)
        if self.credentials.sealer.has_key:
            self.send(msg.Command(**self.head(), name="heartbeat"))

    def send(self, message: msg.Message) -> None:
        self.bus.send(message, self.credentials.sealer)

    def join(self) -> None:
        deadline, sealer = time.monotonic() + PATIENCE_S, self.credentials.sealer
        sealer.use(None)
        while not sealer.has_key:  # until a gateway is there, and has made its token
            assert time.monotonic() < deadline, "no gateway"
            self.hello()
            with contextlib.suppress(AssertionError):
                self.listen(lambda: sealer.has_key, 1.0)
        self.listen(lambda: self.state is not None)
        self.send(msg.Ready(**self.head(), symbol=self.symbol, rows=0, model="by hand"))

    def hello(self) -> None:
        proof = self.credentials.proof(read_token(self.state_dir))
        hello = msg.Hello(**self.head(), symbol=self.symbol, purpose="trade", proof=proof)
        self.asked = hello.revision
        self.bus.send(hello)

    def want(self, volume: int) -> int:
        head = self.head()
        tick = self.tick.id if self.tick else -1
        self.send(msg.Target(**head, symbol=self.symbol, volume=volume, tick_id=tick, tick_ns=0, reason="by hand"))
        return head["revision"]

    def reach(self, volume: int) -> None:
        self.want(volume)

        def reached() -> bool:  # told after the wish arrived: an older state may hold as much by chance
            state = self.state
            return state.targets.get(self.symbol) == volume == self.position and not state.working

        self.listen(reached)

    @property
    def position(self) -> int:
        return self.state.positions.get(self.symbol, 0)


@pytest.fixture
def children():
    started: list[Child] = []
    yield started
    for child in started:
        if child.running:
            child.process.kill()
        child.stop()


def start(settings: Settings, children: list[Child], **changes) -> tuple[Child, str]:
    run_id = new_run_id("test")
    child = Child(settings, "gateway", run_folder(settings, run_id), options(run_id, **changes))
    children.append(child)
    return child, run_id


def events(settings: Settings, run_id: str, kind: str) -> list[dict]:
    lines = read_lines(run_folder(settings, run_id) / "events.jsonl")
    return [line for line in lines if line["kind"] == kind]


def held_at_exchange(exchange: ExchangeProcess) -> int:
    (account,) = exchange.control.positions().values()
    return account.net(SYMBOL)


def test_fills_equal_the_exchanges_record_and_factors_the_batch(exchange, settings) -> None:
    model = write_tiny_bundle(settings.models, enter=0.7, leave=0.2)
    opened = exchange.control.clock().now_ns
    exchange.control.set_clock(at_ns=opened + 1800 * 10**9)  # half an hour of the day is over when it joins
    run = trade(
        settings, options(new_run_id("test")), strategy(model), seconds=8.0,
        on_ready=lambda: exchange.control.set_clock(frozen=False, speed=300.0),
    )  # fmt: skip
    assert run.round_trips >= 1 and run.positions.get(SYMBOL, 0) == 0, "it left flat"
    recorded = exchange.control.fills()
    ours = [(f.trade_id, f.order_id, f.side, f.offset, f.volume, f.price, f.market_ns, f.fee) for f in run.fill_list]
    theirs = [(f.trade_id, f.order_id, f.direction, f.offset, f.volume, f.price,
               f.trade_date_time, f.commission) for f in recorded]  # fmt: skip
    assert ours == theirs and len(ours) == run.fills > 2
    timed = run.tick_to_target_ms  # on a busy machine a later tick answers for some, and some are open at the end
    answered = timed.count + timed.skipped
    assert timed.count > 100 and answered + timed.unanswered >= run.ticks - 5 and run.missed_ticks == 0
    orders = exchange.control.orders()
    assert len({order.order_id for order in orders}) == len(orders) == run.orders

    day = History(SCENARIO, cache_dir=exchange.state_dir / "cache").day(SYMBOL, LIVE_DAY)
    values = np.array([day.values[name] for name in VALUE_COLUMNS], np.float64)
    bounds = bundled_calendar().sessions("cu", LIVE_DAY)
    batch = FactorEngine(tiny_factor_set(), 10.0, 5, bounds).batch(day.datetime_ns, values)
    kept = read_factors(run.folder / "strategy")
    ours_at = kept["trading_day"] == str(LIVE_DAY).encode()
    n = int(ours_at.sum())
    assert n > 400 and 280 < (~kept["live"][ours_at]).sum() < 320, "the history counts too"
    assert kept["datetime_ns"][ours_at].tolist() == day.datetime_ns[:n].tolist(), "every tick, in order"
    assert kept["factors"][ours_at].tobytes() == batch[:n].tobytes(), "bit for bit"

    key = variety_of(SYMBOL).continuous_symbol  # the same day from the lake: the same targets at the same ticks
    table = table_from_values(kept["id"][ours_at], day.datetime_ns[:n], values[:, :n])
    provenance = (("underlying_contract", pa.array([SYMBOL] * n)), ("segment_id", pa.array(np.zeros(n, np.int32))),
                  ("schedule_hash", pa.array(["test"] * n)))  # fmt: skip
    for name, column in provenance:
        table = table.append_column(name, column)
    Lake(settings.data).write_day("main_l5", key, LIVE_DAY, table.cast(MAIN_L5_SCHEMA), source="test", run_id="test")
    live = kept["live"][ours_at]
    first = int(day.datetime_ns[:n][live][0])
    paper = paper_day(settings, "cu", LIVE_DAY, model=str(model), from_ns=first, rate_orders=10**6)
    replayed = read_factors(paper.folder / "strategy")
    traded = kept["target"][ours_at][live]
    until = int(np.flatnonzero(traded)[-1]) + 1  # the sim run asked to be flat when its time was over
    assert until > 100 and traded[:until].tolist() == replayed["target"][replayed["live"]][:until].tolist()


def test_kill_9_with_a_position_a_tripped_switch_and_an_order_in_flight(exchange, settings, children) -> None:
    gateway, _ = start(settings, children)
    hand = Hand(settings)
    hand.join()
    exchange.control.set_clock(frozen=False)
    hand.listen(lambda: hand.tick is not None and hand.tick.trading_day == str(LIVE_DAY))
    hand.reach(1)
    exchange.control.fault("delay-acks", seconds=60.0)
    before = len(exchange.control.orders())
    hand.want(-1)
    hand.listen(lambda: len(exchange.control.orders()) == before + 1)
    state_dir = account_ref(settings, ACCOUNT, "sim").state_dir
    row = kill_commands.trip(settings, ACCOUNT, "a test", "sim")[0]
    assert row.tripped and row.told and row.gateway_running
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait(PATIENCE_S)
    exchange.control.fault("clear")
    truth = held_at_exchange(exchange)

    ledger = Ledger(state_dir)  # as if killed once more, right after an intent became durable
    never_sent = Intent(
        order_id=ledger.state.order_id(1),
        number=1,
        symbol=SYMBOL,
        side=1,
        offset="OPEN",
        volume=1,
        price=99_999.0,
        tif="FAK",
    )
    ledger.intend(never_sent)
    ledger.close()

    second, run_id = start(settings, children)
    again = Hand(settings)
    again.join()
    assert again.state.killed and again.state.trading_state == "HALTED"
    again.listen(lambda: bool(events(settings, run_id, "order-unsent")))  # the broker was asked, and that written
    assert [line["id"] for line in events(settings, run_id, "order-unsent")] == [never_sent.order_id]
    again.listen(lambda: again.position == truth)  # the position is the exchange's
    again.want(1)
    again.listen(lambda: len(again.acks) > 0)
    assert "kill switch" in again.acks[-1].reason
    time.sleep(1.0)
    seen = [order.order_id for order in exchange.control.orders()]
    assert len(seen) == before + 1 == len(set(seen)) and never_sent.order_id not in seen

    kill_commands.reset(settings, ACCOUNT, "over", "sim")
    again.listen(lambda: not again.state.killed)
    again.reach(0)
    assert held_at_exchange(exchange) == 0
    seen = [order.order_id for order in exchange.control.orders()]
    assert len(seen) == len(set(seen)), "no order was sent twice"
    second.stop()
    assert second.error() is None


@pytest.mark.verify
@pytest.mark.sample(1, of="live processes through faults")
def test_what_is_killed_is_started_again_and_nothing_is_lost_or_sent_twice(exchange, settings) -> None:
    model = write_tiny_bundle(settings.models, enter=0.7, leave=0.2)
    told: list[str] = []
    pair = Pair(settings, options(new_run_id("test")), strategy(model), tell=told.append)

    def run_clock() -> None:
        exchange.control.set_clock(frozen=False, speed=60.0)

    def pid_of(kind: str) -> int | None:
        return next((process.pid for process in list_processes(settings) if process.kind == kind), None)

    thread = threading.Thread(target=pair.wait, args=(None, run_clock))
    thread.start()

    def until(holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline and thread.is_alive(), told
            time.sleep(0.2)

    try:
        until(lambda: len(exchange.control.fills()) >= 3)
        for kind in ("gateway", "strategy"):
            first, before = pid_of(kind), len(exchange.control.fills())
            os.kill(first, signal.SIGKILL)
            until(lambda kind=kind, first=first: pid_of(kind) not in (None, first))
            until(lambda before=before: len(exchange.control.fills()) > before + 2)
    finally:
        pair.request_stop("the test is over")
        thread.join()
        pair.stop()
    run = pair.result()
    assert [one.kind for one in run.restarts] == ["gateway", "strategy"] and len(told) == 2
    assert all("killed by signal 9" in one.reason for one in run.restarts)
    ours = sorted((f.trade_id, f.order_id, f.volume, f.price) for f in run.fill_list)
    theirs = sorted((f.trade_id, f.order_id, f.volume, f.price) for f in exchange.control.fills())
    assert ours == theirs and run.positions.get(SYMBOL, 0) == held_at_exchange(exchange) == 0
    orders = [order.order_id for order in exchange.control.orders()]
    assert len(orders) == len(set(orders))
    kept = read_factors(run.folder / "strategy")
    at = kept["trading_day"] == str(LIVE_DAY).encode()
    ids = np.unique(kept["id"][at])
    assert (np.diff(ids) == 1).all(), "every tick was seen by one life or another"


@pytest.mark.verify
@pytest.mark.sample(1, of="live processes through faults")
def test_a_lost_order_is_asked_after_and_a_broken_line_is_survived(exchange, settings, children) -> None:
    gateway, run_id = start(settings, children)
    hand = Hand(settings)
    hand.join()
    exchange.control.set_clock(frozen=False)
    hand.listen(lambda: hand.tick is not None and hand.tick.trading_day == str(LIVE_DAY))
    exchange.control.fault("lose-next-order")
    hand.want(1)
    hand.listen(lambda: hand.position == 1, 60.0)
    hand.listen(lambda: len(events(settings, run_id, "order-unsent")) == 1)
    lost = events(settings, run_id, "order-unsent")[0]["id"]
    seen = [order.order_id for order in exchange.control.orders()]
    assert lost not in seen and len(seen) == len(set(seen)) == 1
    exchange.control.fault("reject-next-order", reason="a test")
    hand.reach(-1)
    refused = [order for order in exchange.control.orders() if order.last_msg.endswith("a test")]
    assert len(refused) == 1
    exchange.control.fault("abort-td")
    hand.listen(lambda: hand.state.link == "down" and hand.state.trading_state == "HALTED")
    hand.listen(lambda: hand.state.trading_state == "ACTIVE", 90.0)
    before = hand.tick.id
    hand.listen(lambda: hand.tick.id > before + 3)
    hand.reach(0)
    hand.reach(-1)
    gateway.stop()
    assert gateway.error() is None and held_at_exchange(exchange) == -1


def test_what_cannot_start_says_why(exchange, settings, children, monkeypatch) -> None:
    monkeypatch.setenv("HOME", os.environ["HOME"])  # a gateway takes another one; these are in this process
    start(settings, children)
    Hand(settings).join()
    second, _ = start(settings, children)
    second.process.wait(PATIENCE_S)
    assert isinstance(second.error(), LockHeldError), second.error()
    with pytest.raises(RefusedError):
        run_gateway(settings, options("another", account="another"))
    children[0].stop()
    third, _ = start(settings, children)
    third.stop(0.1)
    with pytest.raises(UsageError):
        run_gateway(settings, options("bad", symbol="SHFE.cu2612"))
    monkeypatch.setenv("TQSDK_PASSWORD", "wrong")
    fourth, _ = start(settings, children)
    fourth.process.wait(PATIENCE_S)
    assert isinstance(fourth.error(), ConfigError), fourth.error()
    exchange.stop()
    with pytest.raises(UnreachableError):
        run_gateway(load_settings(settings.home), options("nobody"))
