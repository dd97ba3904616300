"""A roll during a run, with a position, in sim mode on the unmodified TqSdk client: what the exchange recorded."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import RefusedError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import History
from ghtrader_market.reference.roll_schedule import save_schedule, schedule_from_open_interest, schedule_path
from ghtrader_market.reference.tick_schema import VALUE_COLUMNS
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_runtime.run_options import GatewayOptions, StrategyOptions
from ghtrader_runtime.runlog.decision_log import replay_decisions
from ghtrader_runtime.runlog.gateway_state import read_gateway_state
from ghtrader_runtime.runlog.journal import read_factors, read_lines
from ghtrader_runtime.supervisor.supervisor import Pair, new_run_id
from tests.support.runtime_kit import tiny_factor_set, write_tiny_bundle
from tests.support.waiting import until

SCENARIO = Scenario(start=date(2025, 3, 4), end=date(2025, 3, 5), snapshot_seconds=60.0, contracts=2, live_days=3)
FIRST, ROLL, AFTER = date(2025, 3, 6), date(2025, 3, 7), date(2025, 3, 10)
MAIN, OLD, NEW = "KQ.m@SHFE.cu", "SHFE.cu2504", "SHFE.cu2505"
CALENDAR = bundled_calendar()
MINUTE = 60 * 10**9
SIGNS = {"BUY": 1, "SELL": -1}


@pytest.fixture
def exchange(tmp_path, home, monkeypatch) -> Iterator[ExchangeProcess]:
    with ExchangeProcess(SCENARIO, tmp_path / "exchange", speed=1200.0) as running:
        for name, value in running.env.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def settings(exchange, home) -> Settings:
    return load_settings(home)


@pytest.fixture
def history(exchange) -> History:
    return History(SCENARIO, cache_dir=exchange.state_dir / "cache")


def publish_schedule(settings: Settings, history: History, until: date) -> None:
    """What the daily pipeline writes after the day's close: the schedule by the bars up to `until`."""
    days = CALENDAR.days(SCENARIO.start, until)
    rows = [(symbol, day, float(history.closing_interest(symbol, day)))
            for day in days for symbol in history.contracts("cu")]  # fmt: skip
    symbol, day, lots = zip(*rows, strict=True)
    bars = pa.table({"symbol": list(symbol), "trading_day": list(day), "open_interest": list(lots)})
    save_schedule(settings.data, schedule_from_open_interest("cu", bars, calendar=CALENDAR))


@contextmanager
def running(settings: Settings, days: int) -> Iterator[Pair]:
    """A supervised gateway and strategy on the main series, stopped in order at the end."""
    model = write_tiny_bundle(settings.models, enter=0.05, leave=0.0)
    gateway = GatewayOptions(
        account="demo", mode="sim", symbol=MAIN, run_id=new_run_id("test"), rate_orders=10_000, days=days
    )
    strategy = StrategyOptions(account="demo", mode="sim", symbol=MAIN, model=str(model), flat_before_end_s=0.0)
    pair = Pair(settings, gateway, strategy)
    watch = threading.Thread(target=pair.wait, args=(None,), daemon=True)
    watch.start()
    try:
        until(lambda: pair.ready() or not pair.gateway.running, "the strategy is ready")
        if pair.ready():
            yield pair
    finally:
        pair.request_stop("the test is over")
        watch.join(30)
        pair.stop()
    if not pair.ready():
        pair.result()


def events(settings: Settings, pair: Pair, kind: str) -> list[dict]:
    return [line for line in read_lines(pair.folder / "events.jsonl") if line["kind"] == kind]


def left_for(settings: Settings, pair: Pair, contract: str) -> bool:
    return any(line["contract"] == contract for line in events(settings, pair, "rolled"))


def held(exchange: ExchangeProcess) -> dict[str, int]:
    found: dict[str, int] = {}
    for fill in exchange.control.fills():
        found[fill.symbol] = found.get(fill.symbol, 0) + SIGNS[fill.direction] * fill.volume
    return {symbol: lots for symbol, lots in found.items() if lots}


def walk_to_the_end(exchange: ExchangeProcess, day: date, minutes: int = 12) -> dict[str, int]:
    """Tick by tick up to the day's last one, each answered while the clock stands; what is held when all are."""
    end = CALENDAR.sessions("cu", day)[-1][1]
    for left in range(minutes, 0, -1):
        exchange.control.set_clock(at_ns=end - left * MINUTE, frozen=True)
        time.sleep(0.15)
    until(lambda: held(exchange), f"a position at the end of {day}")
    known, since = -1, time.monotonic()
    while time.monotonic() - since < 2.0:  # a slow machine still answers the last ticks
        if (now := len(exchange.control.fills()) + len(exchange.control.orders())) != known:
            known, since = now, time.monotonic()
        time.sleep(0.1)
    return held(exchange)


def open_day(exchange: ExchangeProcess, day: date) -> None:
    """The first tick of a trading day, of its night session where it has one; the clock stands at it."""
    exchange.control.set_clock(at_ns=CALENDAR.sessions("cu", day)[0][0])


def check_the_roll(exchange: ExchangeProcess) -> None:
    """By the exchange's own numbers: all of the old contract was done before anything of the new one began."""
    orders, fills = exchange.control.orders(), exchange.control.fills()
    old_fills = [fill for fill in fills if fill.symbol == OLD]
    first_new = min(order.seqno for order in orders if order.symbol == NEW)
    assert old_fills and sum(SIGNS[fill.direction] * fill.volume for fill in old_fills) == 0
    assert max(fill.seqno for fill in old_fills) < first_new
    assert max(order.seqno for order in orders if order.symbol == OLD) < first_new
    closing = [fill for fill in old_fills if fill.trading_day == ROLL]
    assert closing and {fill.offset for fill in closing} == {"CLOSE"}, "yesterday's lots, closed in the new day"
    assert not [order for order in orders if order.symbol == NEW and order.trading_day == FIRST]
    assert len({order.order_id for order in orders}) == len(orders), "nothing was sent twice"


def cold_batch(history: History, symbol: str, day: date) -> tuple[np.ndarray, np.ndarray]:
    ticks = history.day(symbol, day)
    values = np.array([ticks.values[name] for name in VALUE_COLUMNS], np.float64)
    return ticks.datetime_ns, FactorEngine(tiny_factor_set(), 10.0, 5, CALENDAR.sessions("cu", day)).batch(
        ticks.datetime_ns, values
    )


def check_factors(kept: dict[str, np.ndarray], history: History, symbol: str, day: date) -> int:
    """Journalled factors of a day are those of a cold start at that contract's first tick of it; how many."""
    at = kept["trading_day"] == str(day).encode()
    times, batch = cold_batch(history, symbol, day)
    n = int(at.sum())
    assert kept["datetime_ns"][at].tolist() == times[:n].tolist(), "every tick, in order, of this contract alone"
    assert kept["factors"][at].tobytes() == batch[:n].tobytes(), "bit for bit"
    return n


def test_a_roll_with_a_position_and_a_day_without_one(exchange, settings, history) -> None:
    publish_schedule(settings, history, SCENARIO.end)
    exchange.control.set_clock(at_ns=CALENDAR.sessions("cu", FIRST)[-1][1] - 15 * MINUTE)
    with running(settings, days=0) as pair:
        told = read_gateway_state(pair.folder)
        assert (told.symbol, told.requested) == (OLD, MAIN)
        assert set(walk_to_the_end(exchange, FIRST)) == {OLD}
        publish_schedule(settings, history, FIRST)  # the pipeline has been there after the close
        open_day(exchange, ROLL)
        until(lambda: events(settings, pair, "roll"), "the roll begins")
        exchange.control.set_clock(frozen=False)
        until(lambda: left_for(settings, pair, NEW), "the old contract was left")
        until(lambda: held(exchange).get(NEW), "a position in the new contract")
        check_the_roll(exchange)
        publish_schedule(settings, history, ROLL)
        carried = walk_to_the_end(exchange, ROLL)
        open_day(exchange, AFTER)
        until(lambda: read_gateway_state(pair.folder).trading_day == str(AFTER), "the gateway's day after")
        assert held(exchange) == carried and set(carried) == {NEW}, "nothing was closed over this night"
        exchange.control.set_clock(frozen=False)
        time.sleep(1.0)
    run = pair.result()
    assert run.rolls == 1 and run.trading_days == (str(FIRST), str(ROLL), str(AFTER))
    assert run.symbol == NEW and run.requested == MAIN and not run.positions.get(OLD)
    assert set(run.by_contract) == {OLD, NEW}
    net = sum(one.net_pnl for one in run.by_contract.values())
    assert net == pytest.approx(run.net_pnl, abs=1e-3) and run.missed_ticks == 0
    theirs = [(fill.trade_id, fill.symbol, fill.price) for fill in exchange.control.fills()]
    assert [(fill.trade_id, fill.symbol, fill.price) for fill in run.fill_list] == theirs
    rolls = [line for line in events(settings, pair, "roll") if line["at"] == "day"]
    assert [(line["before"], line["contract"], line["trading_day"]) for line in rolls] == [(OLD, NEW, str(ROLL))]
    assert rolls[0]["held"] != 0 and len(events(settings, pair, "bound")) == 2, "bound at the start and at the roll"

    strategy = run.folder / "strategy"
    before, after = read_factors(strategy), read_factors(strategy, f"factors-{NEW}")
    assert set(before["trading_day"]) == {str(FIRST).encode()}, "no tick of the roll's day"
    check_factors(before, history, OLD, FIRST)
    assert check_factors(after, history, NEW, ROLL) == len(history.day(NEW, ROLL).datetime_ns), "the whole day"
    assert check_factors(after, history, NEW, AFTER) > 3
    live = after["live"]
    assert after["target"][0] == 0, "nothing of the old contract's opinion"
    assert live.sum() > 100 and replay_decisions(run.folder).difference == ""
    carried = [order for order in exchange.control.orders() if order.trading_day == AFTER]
    assert all(order.symbol == NEW for order in carried)


@pytest.mark.verify
@pytest.mark.sample(1, of="live processes through faults")
def test_a_gateway_killed_in_the_middle_of_a_roll_and_a_day_without_a_schedule(exchange, settings, history) -> None:
    with pytest.raises(RefusedError, match="no roll schedule of cu"), running(settings, days=0):
        pass
    publish_schedule(settings, history, SCENARIO.end)
    exchange.control.set_clock(at_ns=CALENDAR.sessions("cu", FIRST)[-1][1] - 15 * MINUTE)
    with running(settings, days=0) as pair:
        walk_to_the_end(exchange, FIRST)
        publish_schedule(settings, history, FIRST)
        exchange.control.fault("reject-next-order", count=1, reason="a test")  # closing it does not succeed at once
        open_day(exchange, ROLL)
        until(lambda: exchange.control.orders()[-1].last_msg.endswith("a test"), "the roll begins")
        until(lambda: events(settings, pair, "roll"), "it is written")
        first = pair.gateway.process.pid
        os.kill(first, signal.SIGKILL)
        still = held(exchange)
        assert set(still) == {OLD}, "it is killed in the middle"
        until(lambda: pair.gateway.process.pid != first, "it is started again")
        exchange.control.set_clock(frozen=False)
        until(lambda: left_for(settings, pair, NEW), "the second life leaves it")
        until(lambda: [line["before"] for line in events(settings, pair, "roll")] == [OLD, OLD], "both lives told it")
        until(lambda: held(exchange).get(NEW), "a position in the new contract")
        check_the_roll(exchange)

        schedule_path(settings.data, "cu").unlink()
        walk_to_the_end(exchange, ROLL)
        open_day(exchange, AFTER)
        exchange.control.set_clock(frozen=False)
        until(lambda: events(settings, pair, "unbound"), "the day without a schedule")
        until(lambda: not held(exchange), "what was held is closed")
        told = until(lambda: (d := read_gateway_state(pair.folder)).trading_state == "HALTED" and d, "it is halted")
        assert any("no roll schedule of cu yet" in reason for reason in told.reasons)
        sent = len(exchange.control.orders())
        time.sleep(1.0)
        assert len(exchange.control.orders()) == sent, "nothing more is sent"
    run = pair.result()
    assert [one.kind for one in run.restarts] == ["gateway"] and run.trading_state == "HALTED"
