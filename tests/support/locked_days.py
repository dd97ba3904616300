"""Makes recorded days on which a lot cannot be closed, plays them on paper, and simulates them as a benchmark does."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.accounting.execution_model import ExecutionModel
from ghtrader_market.accounting.fill import Fill
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_models.evaluation.recorded_books import books_of
from ghtrader_models.evaluation.simulated_days import SimulatedDays
from ghtrader_runtime.replay.recorded_days import paper_days
from ghtrader_runtime.runlog.journal import read_factors
from ghtrader_runtime.runlog.summary import RunSummary
from tests.support.runtime_kit import session_times, synthetic_values, write_main_l5, write_tiny_bundle

ROWS, LOCKED = 400, 130
"""Ticks of a day, and those at its end for which nobody bids: longer than the minute in which a strategy closes."""


def write_locked_day(settings: Settings, contract: str, day: date, seed: int, locked: bool) -> None:
    """The first and the last minutes of a day; where it is `locked` the model buys in the last ones, and then nobody
    bids any more while the ask falls tick by tick."""
    variety = variety_of(contract)
    tick = variety.price_tick(contract, day)
    times = session_times(contract, day, 10**6)
    times = np.concatenate([times[: ROWS // 2], times[-ROWS // 2 :]])
    price = 70_000.0 if contract.startswith("SHFE") else 5_200.0
    values = np.round(synthetic_values(ROWS, seed, price, tick), 6)
    if locked:
        values[COLUMN_INDEX["bid_volume1"], ROWS // 2 :] = 500.0  # the model buys
        values[COLUMN_INDEX["ask_volume1"], ROWS // 2 :] = 3.0
        falls = tick * np.arange(1, LOCKED + 1)
        for level in range(1, 6):
            for name in ("bid_price", "bid_volume"):
                values[COLUMN_INDEX[f"{name}{level}"], -LOCKED:] = np.nan if name == "bid_price" else 0.0
            values[COLUMN_INDEX[f"ask_price{level}"], -LOCKED:] -= falls
    write_main_l5(settings, contract, day, times, values)


def as_told(fills: list[Fill] | tuple[Fill, ...]) -> list[tuple]:
    return [
        (fill.symbol, fill.side, fill.offset, fill.volume, fill.price, fill.market_ns, pytest.approx(fill.fee))
        for fill in fills
    ]


def simulate(settings: Settings, key: str, model: Path, runs: list[RunSummary]) -> SimulatedDays:
    """The benchmark's simulation over the days of paper runs, with the probabilities that the strategy had."""
    bundle, days = load_bundle(model), SimulatedDays(model=ExecutionModel())
    for run in runs:
        day = date.fromisoformat(run.trading_day)
        table = Lake(settings.data).read_day("main_l5", key, day)
        times, values = table["datetime_ns"].to_numpy(), values_matrix(table)
        contract = str(table["underlying_contract"][0].as_py())
        end = bundled_calendar().sessions(variety_of(contract), day)[-1][1]
        days.play(
            read_factors(run.folder / "strategy")["probabilities"], times, values[COLUMN_INDEX["bid_price1"]],
            values[COLUMN_INDEX["ask_price1"]], bundle.policy, contract, day, times >= end - 60 * 10**9,
            books_of(values),
        )  # fmt: skip
    return days


def play(home: Path, contracts: tuple[str, str], days: tuple[date, date]) -> tuple[Settings, Path, list[RunSummary]]:
    settings = load_settings(home)
    for seed, (contract, day) in enumerate(zip(contracts, days, strict=True)):
        write_locked_day(settings, contract, day, seed + 3, locked=day == days[0])
    variety = variety_of(contracts[0])
    tick = variety.price_tick(contracts[0], days[0])
    model = write_tiny_bundle(settings.models, variety.continuous_symbol, 0.7, 0.2, tick)
    runs = paper_days(settings, variety.key, days, model=str(model), rate_orders=10**6, daily_loss=0.0, drawdown=0.0)
    return settings, model, runs
