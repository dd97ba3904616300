"""What `make setup` compiles is all that a user's first steps need: `core` and sets of one's own included."""

from __future__ import annotations

import subprocess
import sys

_CHILD = """
import sys
from pathlib import Path

import numpy as np

from ghtrader.compile_kernels import warm

warm()

from numba.core.dispatcher import Dispatcher

from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.library.sets import get_factor_set
from ghtrader_models.factors.language.parser import parse


def compiled():
    return {
        f"{name}.{key}": len(value.signatures)
        for name, module in list(sys.modules.items()) if name.startswith("ghtrader")
        for key, value in vars(module).items() if isinstance(value, Dispatcher)
    }


before = compiled()
wanted = {
    "ghtrader_exchange.world.order_book_kernel.play_day",
    "ghtrader_exchange.world.realistic.snapshot_kernel.play_snapshots",
    "ghtrader_exchange.world.realistic.snapshot_kernel.draw_moves", "ghtrader_market.quality.anomalies._scan",
    "ghtrader_models.factors.compiler.kernel.run",
    "ghtrader_models.labels.kernel.mid_move", "ghtrader_models.labels.kernel.smoothed",
    "ghtrader_models.labels.kernel.cost_aware", "ghtrader_models.datasets.windows_kernel.gather",
    "ghtrader_models.research.ranks._average_ranks", "ghtrader_models.inference.predictors._logistic",
    "ghtrader_models.inference.predictors._trees", "ghtrader_models.policy.step",
    "ghtrader_models.inference.streaming.tcn._run", "ghtrader_models.inference.streaming.ssm._run",
    "ghtrader_models.simulation.kernel.run", "ghtrader_models.simulation.book_tape._pack",
    "ghtrader_models.simulation.trade_inference._infer",
    "ghtrader_models.policy._target_path", "ghtrader_models.evaluation.order_simulation._fill_targets",
}
assert all(before[name] for name in wanted), [name for name in wanted if not before[name]]
own = FactorSet("own", {"x": parse("Std(Add(Mid(), Lag(Spread(), 3)), '30s')"), "y": parse("Quantile(Mid(), 0.5, 9)")})
for factors in (get_factor_set("core"), own):
    engine = FactorEngine(factors, 10.0, 5, [(0, 10**18)])
    engine.batch(np.arange(300) * 10**9, np.ones((27, 300)))
    engine.update(301 * 10**9, np.ones(27))
assert compiled() == before, "something was compiled that setting up did not"
"""


def test_nothing_is_left_to_compile_for_core_or_a_set_of_ones_own() -> None:
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
