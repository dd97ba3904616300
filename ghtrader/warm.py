"""`python -m ghtrader.warm [HOME ...]`: compile every numba kernel once, so that no first run waits for it.

`make setup` calls it. It goes the way a day goes, on a tiny scenario: exchange, factors, both model families, policy.
The compiled code goes where `ghtrader_base.compiled` puts it, and from there under each home that is named; a second
call takes seconds.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def warm() -> None:
    """Run each kernel once with the argument types the product uses."""
    from ghtrader_exchange.history import History
    from ghtrader_exchange.scenario import Scenario
    from ghtrader_market.ticks import VALUE_COLUMNS
    from ghtrader_market.varieties import get_variety
    from ghtrader_models.factors.engine import FactorEngine
    from ghtrader_models.factors.library import get_factor_set
    from ghtrader_models.families.base import get_family, make_config
    from ghtrader_models.inference import Predictor, WarmTracker
    from ghtrader_models.labels import event_labels, mid_prices
    from ghtrader_models.policy import PolicyParams, decide, replay

    cu = get_variety("cu")
    for world in ("driver", "sequence", "none"):
        history = History(Scenario(world=world, snapshot_seconds=30.0))
        day = history.days[1]
        found = history.day(history.main_contract("cu", day), day)
    values = np.array([found.values[name] for name in VALUE_COLUMNS], np.float64)
    tick = cu.price_tick(found.symbol, day)
    engine = FactorEngine(get_factor_set("lean"), tick, cu.multiplier)
    factors = engine.batch(found.datetime_ns, values)
    engine.reset()
    engine.update(int(found.datetime_ns[0]), np.ascontiguousarray(values[:, 0]))
    labels = event_labels(mid_prices(values), 10, 1, price_tick=tick)
    tracker = WarmTracker(factors.shape[1])
    usable = tracker.batch(factors) & (labels >= 0)
    tracker.update(factors[-1])
    for name in ("logistic", "xgboost"):
        family = get_family(name)
        config = make_config(family, {"rounds": 2} if name == "xgboost" else {})
        model = family.fit(factors[usable], labels[usable], horizon=10, seed=0, config=config)
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder))
            files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        predictor = Predictor.from_files(name, files)
        predictor.predict_row(factors[-1])
        probabilities = predictor.predict(factors)
    policy = PolicyParams(0.1, 0.01)
    decide(0.2, 0.3, 0.5, 0, policy.enter, policy.leave, policy.max_lots)
    bid, ask = (values[VALUE_COLUMNS.index(f"{side}_price1")].copy() for side in ("bid", "ask"))
    replay(probabilities, bid, ask, policy)


def spread(homes: list[Path]) -> None:
    """Copy the compiled code in force under each of some homes."""
    from ghtrader_base.compiled import cache_folder, code_version

    for home in homes:
        target = home.absolute() / "numba" / code_version()
        if target != cache_folder().absolute():
            shutil.copytree(cache_folder(), target, dirs_exist_ok=True)


if __name__ == "__main__":
    started = time.monotonic()
    warm()
    spread([Path(name) for name in sys.argv[1:]])
    sys.stderr.write(f"kernels compiled in {time.monotonic() - started:.0f} s\n")
