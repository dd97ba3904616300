"""Compiles every numba kernel once, so that no first run waits for it: `python -m ghtrader.compile_kernels [HOME ...]`.

`make setup` calls it. It takes the steps of a trading day on a tiny scenario: exchange, quality, factors, every kind of
label, windows, factor research, the tabular model families, networks that are stepped, policy, orders on recorded
books. The factor kernel is one function that is handed an address, so one set compiles it for all sets, ours and a
user's own. The compiled code goes where `ghtrader_base.numba_cache` puts it, and from there under each home that is
named; a second call takes seconds.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

from ghtrader_base.private_files import FILE_MODE, keep_private, make_folder

_HORIZON = 10


def warm() -> None:
    """Run each kernel once with the argument types the product uses."""
    with tempfile.TemporaryDirectory(prefix="ghtrader-warm-") as folder:
        home = Path(folder)
        symbol, day = _play(home)
        _build(home, symbol, day)
        _read(home, symbol, day)
        _trade(home, symbol, day)
        _step()
        _simulate()


def _play(home: Path) -> tuple[str, date]:
    """A simulated day of each world, the last one into a lake: the contract, and its day."""
    from ghtrader_exchange.world.scenario import Scenario
    from ghtrader_exchange.world.tick_history import History
    from ghtrader_market.reference.tick_schema import VALUE_COLUMNS, table_from_values
    from ghtrader_market.stores.lake.lake import Lake

    for world in ("driver", "sequence", "realistic", "none"):
        history = History(Scenario(world=world, snapshot_seconds=30.0))
        day = history.days[1]
        found = history.day(history.main_contract("cu", day), day)
    values = np.array([found.values[name] for name in VALUE_COLUMNS], np.float64)
    table = table_from_values(np.arange(len(found.datetime_ns)), found.datetime_ns, values)
    Lake(home / "data").write_day("ticks", found.symbol, day, table, source="warm")
    return found.symbol, day


def _build(home: Path, symbol: str, day: date) -> None:
    """The quality gate, factors in blocks, and labels of every definition; those of models stay."""
    from ghtrader_base.settings import load_settings
    from ghtrader_market.quality.readiness import readiness
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.datasets.build_day import build_day
    from ghtrader_models.factors.library.sets import get_factor_set
    from ghtrader_models.labels.labels import DEFINITIONS, MID_MOVE, LabelSpec

    readiness(load_settings(home), "ticks", symbol, day)
    for definition in sorted(DEFINITIONS, key=lambda name: name == MID_MOVE):
        spec = LabelSpec.named(definition, (_HORIZON,))
        build_day(
            Lake(home / "data"), symbol, day, get_factor_set("lean"), spec, run_id="warm", overwrite=True, kind="ticks"
        )


def _read(home: Path, symbol: str, day: date) -> None:
    """Windows in batches, and the ranks of factor research."""
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.datasets.windows import WindowSpec, open_windows
    from ghtrader_models.research.scores import FactorDay, information_coefficients

    spec = WindowSpec(length=5, horizon=_HORIZON)
    windows = open_windows(Lake(home / "data"), home / "cache", symbol, [day], spec)
    windows.batch(np.arange(2))
    rows = windows.days[0].X.array
    information_coefficients([FactorDay(str(day), np.arange(len(rows), dtype=float), rows)], windows.names, shuffles=0)


def _trade(home: Path, symbol: str, day: date) -> None:
    """The tabular families fitted and asked, the policy replayed, and a live tick."""
    from ghtrader_market.reference.tick_schema import COLUMN_INDEX, values_matrix
    from ghtrader_market.reference.varieties import variety_of
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.calibration import Calibration, SpanScores
    from ghtrader_models.datasets.load import load_dataset
    from ghtrader_models.evaluation.policy_simulation import simulate_policy, trading_costs
    from ghtrader_models.factors.engine import FactorEngine
    from ghtrader_models.factors.library.sets import get_factor_set
    from ghtrader_models.families.base import get_family, make_config
    from ghtrader_models.inference.calibrate import calibrate
    from ghtrader_models.inference.predictors import Predictor, WarmTracker
    from ghtrader_models.policy import PolicyParams

    lake, variety = Lake(home / "data"), variety_of(symbol)
    ticks = lake.read_day("ticks", symbol, day)
    values = values_matrix(ticks)
    engine = FactorEngine(get_factor_set("lean"), variety.price_tick(symbol, day), variety.multiplier)
    engine.update(ticks["datetime_ns"][0].as_py(), np.ascontiguousarray(values[:, 0]))
    data = load_dataset(lake, symbol, [day], _HORIZON)
    rows = data.X[:]
    tracker = WarmTracker(rows.shape[1])
    usable = tracker.batch(rows) & (data.y >= 0)
    tracker.update(rows[-1])
    for name in ("logistic", "xgboost", "lightgbm"):
        family = get_family(name)
        config = make_config(family, {} if name == "logistic" else {"rounds": 2})
        model = family.fit(data.samples(np.flatnonzero(usable)), seed=0, config=config)
        folder = home / name
        folder.mkdir()
        model.save(folder)
        predictor = Predictor.from_files(name, {path.name: path.read_bytes() for path in folder.iterdir()})
        predictor.predict_row(rows[-1])
        probabilities = predictor.predict(rows)
    unknown = SpanScores(1.0, 0.0)
    calibrate(
        probabilities, Calibration(slope=1.0, offsets=(0.0, 0.0, 0.0), rows=1, before=unknown, after=unknown)
    )
    policy = PolicyParams(enter=0.1, leave=0.01)
    policy.step(0.2, 0.3, 0.5, 0, 0, 1.0)
    bid, ask = (values[COLUMN_INDEX[f"{side}_price1"]][: len(probabilities)].copy() for side in ("bid", "ask"))
    simulate_policy(probabilities, data.datetime_ns, bid, ask, policy, trading_costs(symbol, day))


def _step() -> None:
    """A row through each kind of network that is stepped, of one factor, one channel and one layer."""
    from ghtrader_models.inference.predictors import Predictor
    from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE, write_arrays

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    one = np.ones(1, np.float32)
    shared: dict[str, np.ndarray] = {"mean": zeros(1), "scale": one, "clip": one, "length": np.ones(1, np.int64)}
    shared |= {"head": zeros(1, 3), "head_bias": zeros(3)}
    block: dict[str, np.ndarray] = {f"blocks.0.{part}": zeros(1, 1, 1) for part in ("first", "second")}
    block |= {f"blocks.0.{part}_bias": zeros(1) for part in ("first", "second")}
    complex_parts = ("pole_real", "pole_imag", "gain_real", "gain_imag")
    layer: dict[str, np.ndarray] = {f"layers.0.{part}": np.zeros((1, 1)) for part in complex_parts}
    layer |= {f"layers.0.{part}": zeros(1) for part in ("norm", "norm_bias", "through")}
    layer |= {"layers.0.mix": zeros(1, 2), "layers.0.mix_bias": zeros(2)}
    layer |= {"project": zeros(1, 1), "project_bias": zeros(1), "epsilon": one, "memory": np.ones(1, np.int64)}
    for kind, arrays in (("tcn", block), ("ssm", layer)):
        Predictor.from_files(kind, {WEIGHTS_FILE: write_arrays(shared | arrays)})


def _simulate() -> None:
    """Two books through the simulation of orders."""
    from ghtrader_market.reference.closing_rules import ClosingRule
    from ghtrader_market.reference.varieties import FeeRates
    from ghtrader_models.simulation.assumptions import SimulationModel
    from ghtrader_models.simulation.book_tape import pack
    from ghtrader_models.simulation.simulate import ContractTerms, SimulatedRun, Targets
    from ghtrader_models.simulation.trade_inference import infer_trades

    times, prices, lots = np.arange(2), np.full((2, 5), 100.0), np.ones((2, 5), np.int64)
    best = prices[:, 0]
    trades = infer_trades(best, best + 10.0, best, np.array([0, 1]), np.array([0.0, 100.0]), 1, 10.0)
    tape = pack(times, prices, lots, prices + 10.0, lots, 10.0, trades=trades)
    terms = ContractTerms(rates=FeeRates(), multiplier=1, rule=ClosingRule.BY_OFFSET)
    SimulatedRun(tape, Targets(np.ones(2, np.int64)), terms, SimulationModel()).advance()


def spread(homes: list[Path]) -> None:
    """Copy the compiled code in force under each of some homes; one that cannot be written compiles its own later."""
    from ghtrader_base.numba_cache import cache_folder, code_version

    for home in homes:
        target = home.absolute() / "numba" / code_version()
        if target != cache_folder().absolute():
            try:
                for folder, _, files in os.walk(cache_folder()):
                    place = target / Path(folder).relative_to(cache_folder())
                    make_folder(place)
                    for name in files:
                        _copy_whole(Path(folder) / name, place / name)
            except OSError as exc:
                sys.stderr.write(f"compiled kernels not copied to {target}: {exc}\n")


def _copy_whole(source: Path, target: Path) -> None:
    # numba fails on half a file: a kill leaves none
    partial = f"{target}.partial"
    shutil.copyfile(source, partial)
    os.chmod(partial, FILE_MODE)
    os.replace(partial, target)


if __name__ == "__main__":
    keep_private()
    started = time.monotonic()
    warm()
    spread([Path(name) for name in sys.argv[1:]])
    sys.stderr.write(f"kernels compiled in {time.monotonic() - started:.0f} s\n")
