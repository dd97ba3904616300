"""Contract-days of `realistic` as the exchange prints them: whole, scaled to the variety, in any order."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_base.errors import FailedError
from ghtrader_exchange.world.oracle import Oracle
from ghtrader_exchange.world.realistic.market_fit import packaged_fit
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_exchange.world.tick_history import ContractDay, History
from ghtrader_market.reference.tick_schema import RAW_TICK_SCHEMA, VALUE_COLUMNS, validate_ticks

QUICK = Scenario(world="realistic", varieties=("cu", "au", "ag"), snapshot_seconds=20.0)


@cache
def played(scenario: Scenario = QUICK) -> History:
    return History(scenario)


def every_day(history: History) -> list[ContractDay]:
    return [history.day(s, day) for s in history.instruments for day in history.contract_days(s)]


def test_every_tick_is_whole_and_agrees_with_its_trades() -> None:
    history = played()
    for ticks in every_day(history):
        values, trades, instrument = ticks.values, ticks.trades, history.instruments[ticks.symbol]
        tick, rows = instrument.price_tick, ticks.datetime_ns.size
        prices = [values[f"bid_price{k}"] for k in range(5, 0, -1)] + [values[f"ask_price{k}"] for k in range(1, 6)]
        assert all((b - a > tick / 2).all() for a, b in zip(prices, prices[1:], strict=False)), "strictly ordered"
        assert all((values[f"{side}_volume{k}"] > 0).all() for side in ("bid", "ask") for k in range(1, 6))
        assert all(np.abs(p / tick - np.round(p / tick)).max() < 1e-6 for p in (*prices, values["last_price"]))
        assert trades.row[0] == 0 and (trades.volume > 0).all() and (np.diff(trades.row) >= 0).all()
        upto = np.searchsorted(trades.row, np.arange(rows), side="right")
        assert np.array_equal(values["volume"], np.cumsum(trades.volume)[upto - 1])
        lots = np.rint(trades.price / tick).astype(np.int64) * trades.volume
        exact = np.cumsum(lots)[upto - 1] * round(tick * instrument.multiplier, 6)
        assert np.allclose(values["amount"], exact, rtol=1e-15)
        assert np.array_equal(values["last_price"], trades.price[upto - 1])
        assert np.array_equal(values["highest"], np.maximum.accumulate(trades.price)[upto - 1])
        assert np.array_equal(values["lowest"], np.minimum.accumulate(trades.price)[upto - 1])
        assert values["open_interest"][-1] == history.closing_interest(ticks.symbol, ticks.day)
        assert (values["open_interest"] >= 0).all()
        # No trade outside what was quoted before or after it.
        low = np.minimum(values["bid_price1"], np.roll(values["bid_price1"], 1))[trades.row]
        high = np.maximum(values["ask_price1"], np.roll(values["ask_price1"], 1))[trades.row]
        after_first = trades.row > 0
        assert ((trades.price >= low - tick / 2) & (trades.price <= high + tick / 2))[after_first].all()


def test_ticks_pass_the_lakes_own_validation() -> None:
    for ticks in every_day(played())[::9]:
        columns = {"id": np.arange(ticks.datetime_ns.size), "datetime_ns": ticks.datetime_ns, **ticks.values}
        validate_ticks(pa.table([pa.array(columns[f.name], f.type) for f in RAW_TICK_SCHEMA], schema=RAW_TICK_SCHEMA))


def test_a_day_alone_equals_the_day_after_all_others() -> None:
    for made in every_day(played())[::-11]:
        again = History(QUICK).day(made.symbol, made.day)
        assert all(np.array_equal(again.values[name], made.values[name]) for name in VALUE_COLUMNS)


def test_contracts_of_a_variety_share_their_mid_and_have_their_own_book() -> None:
    history = played()
    a, b = (history.day(symbol, history.days[2]).values for symbol in history.contracts("cu")[:2])
    mids = [values["bid_price1"] + values["ask_price1"] for values in (a, b)]
    assert np.unique(np.round(mids[1] - mids[0], 6)).tolist() == [60.0], "three ticks apart, twice in the sum"
    assert not np.array_equal(a["bid_volume1"], b["bid_volume1"])
    assert not np.array_equal(a["ask_price1"] - a["bid_price1"], b["ask_price1"] - b["bid_price1"])


@pytest.mark.parametrize(("variety", "ticks_dearer"), [("cu", 3.5), ("au", 0.85), ("ag", 3.4)])
def test_moves_are_scaled_to_the_price_of_a_tick(variety: str, ticks_dearer: float) -> None:
    """A tick of copper is 3.5 times as large a part of its price as one of the recorded contract: fewer ticks move."""
    history = played(QUICK.with_changes(snapshot_seconds=3.0))
    symbol, day = history.main_contract(variety, history.days[1]), history.days[1]
    values, tick = history.day(symbol, day).values, history.instruments[symbol].price_tick
    moves = np.abs(np.diff(values["bid_price1"] + values["ask_price1"])) / tick
    assert moves.mean() == pytest.approx(packaged_fit().mean_move / ticks_dearer, rel=0.2)
    spread = np.round((values["ask_price1"] - values["bid_price1"]) / tick)
    assert {1.0, 2.0} <= set(spread), "the mid stands on ticks and between them"


def test_the_truth_goes_to_the_oracle_through_files(tmp_path: Path) -> None:
    scenario = QUICK.with_changes(varieties=("au", "cu"), strength=2.0, contracts=2)
    history = History(scenario)
    history.write_truth(tmp_path)
    oracle = Oracle(tmp_path)
    assert oracle.scenario == scenario
    day = history.days[1]
    gains = []
    for variety in ("au", "cu"):
        ticks = history.day(history.main_contract(variety, day), day)
        mid = np.round(
            (ticks.values["bid_price1"] + ticks.values["ask_price1"]) / history.instruments[ticks.symbol].price_tick
        )
        chances = oracle.probabilities(variety, day, ticks.datetime_ns, 5)[:-5]
        move = mid[5:] - mid[:-5]
        found = np.where(move >= 2, 2, np.where(move <= -2, 0, 1))
        frequency = np.bincount(found, minlength=3) / found.size
        gains.append(np.log(chances[np.arange(found.size), found]).mean() - np.log(frequency[found]).mean())
    assert sum(gains) > 0


def test_a_fit_that_would_break_the_price_is_refused() -> None:
    from dataclasses import replace

    wild = QUICK.with_changes(fit=replace(packaged_fit(), mean_move=90.0, tick_share=0.1))
    with pytest.raises(FailedError, match="lower mean_move|moves by"):
        History(wild).day("SHFE.cu2505", wild.start)
