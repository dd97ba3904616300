"""Measures what a bundle costs: the time of a single row, the bytes of its model files, the numbers it learned.

The time is that of `Predictor.predict_row`, the route that the runtime takes, on one core of this machine.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.files import parse_json
from ghtrader_models.inference.lightgbm_text import LIGHTGBM_FILE, decode_lightgbm
from ghtrader_models.inference.onnx_windows import ONNX_FILE
from ghtrader_models.inference.xgboost_trees import XGBOOST_FILE, decode_xgboost

if TYPE_CHECKING:
    from ghtrader_models.bundles.bundle import Bundle

CALLS, WARM_UP = 2000, 200
_LONGEST_S = 5.0


@dataclass(frozen=True, kw_only=True)
class RowLatency:
    """Time of one row at a time.

    Attributes
    ----------
    p50_us, p99_us : float
        Microseconds.
    calls : int
        How many were measured.
    """

    p50_us: float
    p99_us: float
    calls: int


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """What a model costs to keep and to ask.

    Attributes
    ----------
    latency : RowLatency
    model_bytes : int
        Of its own files in the bundle.
    parameters : int
        Numbers it learned: coefficients, nodes of trees, weights of a network.
    """

    latency: RowLatency
    model_bytes: int
    parameters: int


def cost_of(bundle: Bundle, rows: np.ndarray) -> ModelCost:
    """Measure a bundle on rows of a trading day.

    Parameters
    ----------
    bundle : Bundle
    rows : float32[n, F]
        Consecutive, in the bundle's factor order; gone through again where they are few.

    Raises
    ------
    UsageError
        No rows.
    """
    from ghtrader_models.inference.predictors import Predictor

    return ModelCost(
        latency=row_latency(Predictor.from_bundle(bundle), rows),
        model_bytes=sum(len(data) for data in bundle.model_files.values()),
        parameters=learned_numbers(bundle.model_files),
    )


def row_latency(predictor: object, rows: np.ndarray, calls: int = CALLS) -> RowLatency:
    """Ask for one row after the other, the garbage collector aside; stops early after some seconds.

    Parameters
    ----------
    predictor : Predictor
    rows : float32[n, F]
    calls : int
        Measured ones, after a warm-up.
    """
    if rows.shape[0] == 0:
        raise UsageError("no rows to measure a model on", "build a day with features")
    rows = np.ascontiguousarray(rows, np.float32)
    ask, clock = predictor.predict_row, time.perf_counter_ns  # type: ignore[attr-defined]
    taken = np.empty(calls, np.int64)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number in range(WARM_UP):
            ask(rows[number % len(rows)])
        done, until = 0, time.monotonic() + _LONGEST_S
        while done < calls and (done < WARM_UP or time.monotonic() < until):
            row = rows[(WARM_UP + done) % len(rows)]
            started = clock()
            ask(row)
            taken[done] = clock() - started
            done += 1
    finally:
        if collecting:
            gc.enable()
    p50, p99 = np.percentile(taken[:done], (50, 99)) / 1000
    return RowLatency(p50_us=float(p50), p99_us=float(p99), calls=done)


def learned_numbers(files: Mapping[str, bytes]) -> int:
    """How many numbers a model's files hold that were learned.

    A linear model's coefficients and intercepts, a forest's nodes, a network's weights with the mean and scale of each
    input.
    """
    count = 0
    for name, data in files.items():
        if name == ONNX_FILE:
            count += _onnx_numbers(data)
        elif name == XGBOOST_FILE:
            count += decode_xgboost(data).left.size
        elif name == LIGHTGBM_FILE:
            count += decode_lightgbm(data).left.size
        elif name.endswith(".json"):
            document = parse_json(data)
            if isinstance(document, dict):
                count += sum(np.size(document[key]) for key in ("coef", "intercept") if key in document)
    return int(count)


def _onnx_numbers(data: bytes) -> int:
    """Elements of the graph's float tensors of one axis at least."""
    import onnx

    graph = onnx.load_from_string(data).graph
    tensors = [*graph.initializer]
    for node in graph.node:
        tensors += [found.t for found in node.attribute if found.HasField("t")]
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
    return sum(int(np.prod(tensor.dims)) for tensor in tensors if tensor.dims and tensor.data_type in floats)
