"""Tapes: the same whoever asks in whatever order, whole, consistent with their trades, through nights and a roll."""

from __future__ import annotations

import threading
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import ContractDay, History
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, VALUE_COLUMNS, validate_ticks
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import get_variety
from tests.support.waiting import PATIENCE_S

QUICK = Scenario(snapshot_seconds=30.0)


@cache
def played(scenario: Scenario = QUICK) -> History:
    return History(scenario)


def every_day(history: History) -> list[ContractDay]:
    return [history.day(s, day) for s in history.instruments for day in history.contract_days(s)]


def same(a: ContractDay, b: ContractDay) -> bool:
    return (
        np.array_equal(a.datetime_ns, b.datetime_ns)
        and all(np.array_equal(a.values[name], b.values[name]) for name in VALUE_COLUMNS)
        and all(np.array_equal(getattr(a.trades, n), getattr(b.trades, n)) for n in ("row", "price", "volume", "side"))
    )


def mid(ticks: ContractDay) -> np.ndarray:
    return (ticks.values["bid_price1"] + ticks.values["ask_price1"]) / 2


@pytest.mark.parametrize("varieties", [("cu",), ("au",), ("ag", "cu")])
def test_a_day_alone_equals_the_day_after_all_others(varieties: tuple[str, ...]) -> None:
    scenario = QUICK.with_changes(varieties=varieties)
    whole = every_day(History(scenario))
    for made in whole[::-7]:
        assert same(History(scenario).day(made.symbol, made.day), made)


def test_the_live_day_needs_no_other_tape(monkeypatch: pytest.MonkeyPatch) -> None:
    from ghtrader_exchange.world import day_simulation

    expected = played().day("SHFE.cu2506", played().live_day)
    rendered, render = [], day_simulation.render
    monkeypatch.setattr(day_simulation, "render", lambda *a: rendered.append(a[2:4]) or render(*a))
    history = History(QUICK)
    symbol = history.main_contract("cu", history.live_day)
    assert same(history.day(symbol, history.live_day), expected)
    assert rendered == [(symbol, history.live_day)]


def test_a_variety_is_the_same_whatever_plays_beside_it() -> None:
    beside = History(QUICK.with_changes(varieties=("au", "cu")))
    made = played().day("SHFE.cu2506", played().days[5])
    assert same(beside.day("SHFE.cu2506", made.day), made)


def test_another_seed_differs_everywhere() -> None:
    for a, b in zip(every_day(played()), every_day(played(QUICK.with_changes(seed=2))), strict=True):
        for name in VALUE_COLUMNS:
            assert not np.array_equal(a.values[name], b.values[name]), (a.symbol, a.day, name)


def test_worlds_and_contracts_have_their_own_noise() -> None:
    other = played(QUICK.with_changes(world="none"))
    day = played().days[3]
    a, b = (played().day(s, day) for s in ("SHFE.cu2505", "SHFE.cu2506"))
    assert not np.array_equal(a.values["bid_volume1"], b.values["bid_volume1"])
    assert not np.array_equal(a.values["bid_volume1"], other.day("SHFE.cu2505", day).values["bid_volume1"])


def test_every_tick_is_whole_and_nothing_is_crossed() -> None:
    history = played()
    for ticks in every_day(history):
        values, tick = ticks.values, history.instruments[ticks.symbol].price_tick
        assert list(values) == list(VALUE_COLUMNS)
        assert all(np.isfinite(column).all() for column in values.values())
        prices = [values[f"bid_price{k}"] for k in range(5, 0, -1)] + [values[f"ask_price{k}"] for k in range(1, 6)]
        assert all((b - a > tick / 2).all() for a, b in zip(prices, prices[1:], strict=False)), "strictly ordered"
        assert all((values[f"{side}_volume{k}"] > 0).all() for side in ("bid", "ask") for k in range(1, 6))
        assert all(np.abs(p / tick - np.round(p / tick)).max() < 1e-6 for p in (*prices, values["last_price"]))
        spread = np.round((values["ask_price1"] - values["bid_price1"]) / tick)
        assert set(spread) <= {1.0, 3.0}
        assert (np.diff(ticks.datetime_ns) > 0).all()


def test_ticks_pass_the_lakes_own_validation() -> None:
    for ticks in every_day(played())[::5]:
        ids = np.arange(ticks.datetime_ns.size)
        columns = {"id": ids, "datetime_ns": ticks.datetime_ns, **ticks.values}
        validate_ticks(pa.table([pa.array(columns[f.name], f.type) for f in RAW_TICK_SCHEMA], schema=RAW_TICK_SCHEMA))


@pytest.mark.parametrize("variety", ["cu", "au", "ag"])
def test_counts_agree_with_the_trades_printed(variety: str) -> None:
    history = played(QUICK.with_changes(varieties=(variety,)))
    for ticks in every_day(history):
        values, trades, instrument = ticks.values, ticks.trades, history.instruments[ticks.symbol]
        rows = ticks.datetime_ns.size
        assert trades.row[0] == 0, "the opening auction trades"
        assert (trades.volume > 0).all() and (np.diff(trades.row) >= 0).all()
        upto = np.searchsorted(trades.row, np.arange(rows), side="right")
        volume = np.cumsum(trades.volume)[upto - 1]
        assert np.array_equal(values["volume"], volume)
        lots_value = np.rint(trades.price / instrument.price_tick).astype(np.int64) * trades.volume
        exact = np.cumsum(lots_value)[upto - 1] * round(instrument.price_tick * instrument.multiplier)
        assert np.array_equal(values["amount"], exact.astype(float)), "turnover is exact, not nearly"
        assert np.array_equal(values["last_price"], trades.price[upto - 1])
        assert np.array_equal(values["highest"], np.maximum.accumulate(trades.price)[upto - 1])
        assert np.array_equal(values["lowest"], np.minimum.accumulate(trades.price)[upto - 1])
        assert np.allclose(values["average"], values["amount"] / volume / instrument.multiplier, rtol=1e-15)
        assert ((values["last_price"] <= values["highest"]) & (values["last_price"] >= values["lowest"])).all()
        assert (
            np.clip(values["average"], values["lowest"] - 1e-6, values["highest"] + 1e-6) == values["average"]
        ).all()


def test_open_interest_closes_at_its_target_without_a_leap() -> None:
    history = played(Scenario(seed=3))
    for ticks in every_day(history):
        interest = ticks.values["open_interest"]
        opening = history._listing("cu").opening_interest(ticks.symbol, ticks.day)
        target = history.closing_interest(ticks.symbol, ticks.day)
        assert interest[-1] == target and (interest >= 0).all()
        moved = np.abs(interest[20:] - interest[:-20])
        traded = ticks.values["volume"][20:] - ticks.values["volume"][:-20]
        # Beyond what the trades of 20 snapshots can carry, they add no more than a sliver of the day's change.
        assert (moved <= traded + 10 + 0.02 * abs(target - opening)).all(), (ticks.symbol, ticks.day)
        assert abs(interest[0] - opening) < 200


def test_snapshots_are_the_sessions_and_holidays_take_the_night() -> None:
    history, calendar = played(), bundled_calendar()
    nights = {}
    for day in (*history.days, history.live_day):
        ticks = history.day("SHFE.cu2506", day)
        sessions = calendar.sessions(get_variety("cu"), day)
        assert ticks.datetime_ns.size == sum((b - a) // 30_000_000_000 for a, b in sessions)
        assert (calendar.session_index("cu", day, ticks.datetime_ns) >= 0).all()
        assert {calendar.trading_day_of(int(t)) for t in ticks.datetime_ns[[0, -1]]} == {day}
        assert ticks.datetime_ns[0] == sessions[0][0]
        nights[day] = len(sessions) == 4
    assert [day for day, night in nights.items() if not night] == [date(2025, 4, 7)]


def test_thinning_stretches_time_and_samples_nothing() -> None:
    """A thinned day is the beginning of the full day's engine steps, not every sixth snapshot of it."""
    full, thin = played(Scenario(snapshot_seconds=0.5)), played(Scenario(snapshot_seconds=3.0))
    day = full.days[1]
    n = thin.path("cu", day).driver.size
    assert n == 9300 and full.path("cu", day).driver.size == 55_800
    assert np.array_equal(thin.path("cu", day).driver, full.path("cu", day).driver[:n])
    assert (np.diff(thin.day("SHFE.cu2505", day).datetime_ns) >= 3_000_000_000).all()


def test_a_roll_happens_with_one_price_and_one_driver_through_it() -> None:
    history = played()
    mains = [main for _, main in history.continuous("cu")]
    assert mains == ["SHFE.cu2505"] * 4 + ["SHFE.cu2506"] * 8
    for day in (*history.days, history.live_day):
        tapes = [history.day(symbol, day) for symbol in history.contracts("cu")]
        path = history.path("cu", day)
        steps = np.zeros(path.driver.size)
        np.add.at(steps, np.floor(path.jump_time / 0.5).astype(int), path.jump_ticks)
        moves = 10.0 * (np.cumsum(steps) - steps[0])
        for ticks in tapes:
            assert np.array_equal(mid(ticks) - mid(ticks)[0], moves), "the mid is the shared efficient price"
        basis = [float(np.unique(mid(b) - mid(a)).item()) for a, b in zip(tapes, tapes[1:], strict=False)]
        assert basis == [30.0, 30.0], "constant between contracts, the same on every day"


def test_the_book_carries_the_drivers_marks_in_every_contract() -> None:
    history = played(Scenario(seed=4))
    for day in history.days[3:6]:  # across the roll
        tilt = np.tanh(history.path("cu", day).driver)
        for symbol in ("SHFE.cu2505", "SHFE.cu2506"):
            values = history.day(symbol, day).values
            bids, asks = (sum(values[f"{side}_volume{k}"] for k in range(1, 6)) for side in ("bid", "ask"))
            assert np.corrcoef((bids - asks) / (bids + asks), tilt)[0, 1] > 0.5


def test_prices_run_on_from_day_to_day() -> None:
    history = played()
    for symbol in history.contracts("cu"):
        days = [history.day(symbol, day) for day in history.contract_days(symbol)]
        gaps = [(mid(b)[0] - mid(a)[-1]) / 10.0 for a, b in zip(days, days[1:], strict=False)]
        assert max(abs(g) for g in gaps) < 110, "an overnight gap of N(0, 25 ticks)"
        assert len(set(gaps)) > 5
        assert all(60_000 < mid(ticks)[0] < 90_000 for ticks in days)


def test_ids_are_contiguous_and_counts_known_beforehand() -> None:
    history = History(QUICK)
    for symbol in history.instruments:
        expected = 0
        for day in history.contract_days(symbol):
            assert history.first_id(symbol, day) == expected
            expected += history.count(symbol, day)
            assert history.count(symbol, day) == history.day(symbol, day).datetime_ns.size


def test_daily_bars_speak_of_history_days_alone() -> None:
    history = played()
    bars = history.daily_bars("SHFE.cu2506")
    assert [bar.day for bar in bars] == history.days
    for bar in bars:
        values = history.day("SHFE.cu2506", bar.day).values
        assert all(bar.low <= price <= bar.high for price in (bar.open, bar.close, bar.settlement))
        assert (bar.high, bar.low, bar.volume) == (values["highest"][-1], values["lowest"][-1], values["volume"][-1])
        assert bar.open_interest == history.closing_interest("SHFE.cu2506", bar.day)
        assert abs(bar.settlement - values["average"][-1]) <= 5.0 and bar.settlement % 10 == 0


def test_a_cached_tape_reads_back_equal_and_a_garbled_one_is_made_anew(tmp_path: Path) -> None:
    first = History(QUICK, tmp_path)
    made = first.day("SHFE.cu2505", first.days[0])
    (stored,) = tmp_path.rglob("*.npz")
    assert same(History(QUICK, tmp_path).day("SHFE.cu2505", first.days[0]), made)
    for garbage in (b"", b"PK\x03\x04 nothing", stored.read_bytes()[:2000]):
        stored.write_bytes(garbage)
        assert same(History(QUICK, tmp_path).day("SHFE.cu2505", first.days[0]), made)
    other = History(QUICK.with_changes(seed=9), tmp_path)
    assert not same(other.day("SHFE.cu2505", first.days[0]), made), "a cache never mixes scenarios"


def test_two_threads_get_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(QUICK)
    got: list[ContractDay] = []
    start = threading.Barrier(4)

    def ask() -> None:
        start.wait(timeout=PATIENCE_S)
        got.append(history.day("SHFE.cu2505", history.days[2]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE_S)
    assert len(got) == 4 and all(made is got[0] for made in got)


def test_memory_is_bounded_and_evicted_days_come_back_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    from ghtrader_exchange.world import tick_history as module

    monkeypatch.setattr(module, "MEMORY_BYTES", 500_000)
    history = History(QUICK)
    for made in every_day(history):
        assert sum(size for _, size in history._memory.values()) <= 500_000 or len(history._memory) == 1
        assert same(made, played().day(made.symbol, made.day))


def test_shared_arrays_cannot_be_changed() -> None:
    ticks = played().day("SHFE.cu2505", played().days[0])
    with pytest.raises(ValueError, match="read-only"):
        ticks.values["last_price"][0] = 0.0


def test_what_is_not_there_is_a_usage_error() -> None:
    history = played()
    for symbol, day in (
        ("SHFE.cu2512", history.days[0]),
        ("SHFE.cu2505", date(2025, 4, 5)),
        ("SHFE.cu2505", date(2025, 6, 3)),
    ):
        with pytest.raises(UsageError):
            history.day(symbol, day)
    with pytest.raises(UsageError, match="does not play"):
        history.contracts("au")


def test_gold_keeps_its_price_tick_and_night() -> None:
    history = played(QUICK.with_changes(varieties=("au",)))
    ticks = history.day("SHFE.au2506", date(2025, 4, 2))
    assert history.instruments["SHFE.au2506"].price_tick == 0.02
    assert np.array_equal(ticks.values["bid_price1"], np.round(ticks.values["bid_price1"], 2)), "no float dust"
    assert ticks.datetime_ns.size == (5.5 + 3.75) * 120
