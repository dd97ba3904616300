"""Measures a single row through every family: what a live tick waits for, beside onnxruntime's bare call.

Each family is trained on noise in the size that its defaults have (boosted trees: 300 rounds of depth 6), on as many
factors as `core` has, and asked as a strategy asks it: `Predictor.predict_row`, one row after the other. The peer is
`InferenceSession.run` at batch 1 with one thread that does not spin: of the graph in the bundle, or, for a family that
has none, of the same model written as one here. Both are asked in turn, in blocks. What our wrapper adds is measured
against the bare call underneath it: the compiled loop or the session. A figure is a ratio within one run.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ghtrader_base.files import parse_json
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families.base import FamilyConfig, get_family, make_config
from ghtrader_models.families.table import family_names
from ghtrader_models.families.window_config import WindowConfig
from ghtrader_models.inference.forest import Forest
from ghtrader_models.inference.lightgbm_text import LIGHTGBM_FILE, decode_lightgbm
from ghtrader_models.inference.onnx_windows import ONNX_FILE
from ghtrader_models.inference.predictors import LOGISTIC_FILE, Predictor, StreamingPredictor, WindowPredictor
from ghtrader_models.inference.xgboost_trees import XGBOOST_FILE, decode_xgboost

FACTORS, ROWS, BLOCK = 269, 4_000, 250
STREAMING = "streaming"
TARGET_US = {
    "logistic": 10, "xgboost": 250, "lightgbm": 250, "mlplob": 1_000, "binctabl": 1_000, "deeplob": 3_000,
    "transformer": 3_000, "tlob": 7_000, STREAMING: 60,
}  # fmt: skip
"""Of p99, microseconds; a family that is not named here has `streaming`'s where it is stepped, and none otherwise."""
CONFIG: dict[str, dict[str, Any]] = {
    "xgboost": {"rounds": 300, "max_depth": 6, "min_child_weight": 1.0},
    "lightgbm": {"rounds": 300, "max_depth": 6, "num_leaves": 64},
}
Ask = Callable[[np.ndarray], Any]


def config_of(family_name: str) -> FamilyConfig:
    """The family's size, with as little training as there can be."""
    family = get_family(family_name)
    config = make_config(family, CONFIG.get(family_name, {}))
    if isinstance(config, WindowConfig):
        return dataclasses.replace(config, max_windows=256, max_epochs=1)
    return config


def files_of(family_name: str, samples: Samples) -> dict[str, bytes]:
    """What a bundle of the family would hold."""
    model = get_family(family_name).fit(samples, seed=0, config=config_of(family_name))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def run() -> dict[str, dict[str, Any]]:
    """Every family there is; some minutes, most of them training and export."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6_000, FACTORS)).astype(np.float32)
    y = np.clip(np.round(1 + 0.8 * x[:, 0] + rng.normal(0, 0.7, len(x))), 0, 2).astype(np.int8)
    samples, rows = Samples.of_rows(x, y, horizon=10), rng.normal(size=(ROWS, FACTORS)).astype(np.float32)
    results: dict[str, dict[str, Any]] = {}
    for name in family_names():
        files = files_of(name, samples)
        predictor = Predictor.from_files(name, files)
        peer = onnx_call(files)
        if ONNX_FILE not in files:  # written as a graph here: the same model
            found = np.vstack([peer(row)[0] for row in rows[:50]])
            np.testing.assert_allclose(found, predictor.predict(rows[:50]), atol=1e-4)
        taken = measure([predictor.predict_row, bare_call(predictor), peer], rows)
        results[f"single_row_{name}"] = _row(name, predictor, *taken)
    return results


def measure(calls: list[Ask], rows: np.ndarray) -> list[np.ndarray]:
    """Microseconds of each row through each call, float64[n] a call; block by block in turn."""
    taken = [np.empty(len(rows)) for _ in calls]
    for call in calls:
        for row in rows[:100]:
            call(row)
    for low in range(0, len(rows), BLOCK):
        for call, spent in zip(calls, taken, strict=True):
            for place in range(low, min(low + BLOCK, len(rows))):
                row = rows[place]
                began = time.perf_counter_ns()
                call(row)
                spent[place] = (time.perf_counter_ns() - began) / 1e3
    return taken


def bare_call(predictor: Predictor) -> Ask:
    """What lies under our wrapper, with its arguments made beforehand."""
    out = np.empty((1, 3))
    if isinstance(predictor, WindowPredictor):
        session = predictor.network._session
        window = np.zeros((1, predictor.network.length, predictor.n_features), np.float32)
        name = session.get_inputs()[0].name
        return lambda _: session.run(None, {name: window})
    if isinstance(predictor, StreamingPredictor):
        state, step = predictor.network.fresh_state(), predictor.network.step
        return lambda row: step(state, row.reshape(1, -1), out)
    return lambda row: predictor._run(row.reshape(1, -1), out)


def onnx_call(files: dict[str, bytes]) -> Ask:
    """onnxruntime's bare call of the same model."""
    from ghtrader_models.inference.onnx_windows import _open

    if ONNX_FILE in files:
        session = _open(files[ONNX_FILE])
        given = session.get_inputs()[0]
        window = np.zeros((1, *given.shape[1:]), np.float32)
        return lambda _: session.run(None, {given.name: window})
    makers = {
        LOGISTIC_FILE: logistic_graph,
        XGBOOST_FILE: lambda data: forest_graph(decode_xgboost(data)),
        LIGHTGBM_FILE: lambda data: forest_graph(decode_lightgbm(data)),
    }
    ((file, data),) = files.items()
    session = _open(makers[file](data))
    return lambda row: session.run(None, {"rows": row.reshape(1, -1)})


def logistic_graph(data: bytes) -> bytes:
    """Standardise, clip, multiply, softmax: the linear model as a graph."""
    from onnx import helper, numpy_helper

    spec = parse_json(data)
    arrays = {
        "mean": spec["mean"], "scale": 1 / np.array(spec["scale"]), "low": -spec["clip"], "high": spec["clip"],
        "coef": np.array(spec["coef"]).T, "intercept": spec["intercept"],
    }  # fmt: skip
    nodes = [
        helper.make_node("Sub", ["rows", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["clipped"]),
        helper.make_node("Gemm", ["clipped", "coef", "intercept"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    held = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in arrays.items()]
    return _graph(nodes, held, "probabilities")


def forest_graph(forest: Forest) -> bytes:
    """Boosted trees as onnxruntime takes them."""
    from onnx import helper

    sizes = np.diff([*forest.roots.tolist(), forest.left.size])
    tree = np.repeat(np.arange(sizes.size), sizes)
    node = np.arange(forest.left.size) - np.repeat(forest.roots, sizes)
    leaf = forest.left < 0
    first = np.where(leaf, 0, forest.left - np.repeat(forest.roots, sizes))
    made = helper.make_node(
        "TreeEnsembleClassifier", ["rows"], ["label", "probabilities"], domain="ai.onnx.ml",
        nodes_treeids=tree.tolist(), nodes_nodeids=node.tolist(), nodes_featureids=forest.feature.tolist(),
        nodes_modes=["LEAF" if end else "BRANCH_LT" for end in leaf], nodes_hitrates=[1.0] * leaf.size,
        nodes_values=np.where(leaf, 0, forest.threshold).tolist(),
        nodes_truenodeids=first.tolist(), nodes_falsenodeids=np.where(leaf, 0, first + 1).tolist(),
        nodes_missing_value_tracks_true=forest.default_left.astype(int).tolist(),
        class_treeids=tree[leaf].tolist(), class_nodeids=node[leaf].tolist(),
        class_ids=np.repeat(forest.classes, sizes)[leaf].tolist(), class_weights=forest.threshold[leaf].tolist(),
        classlabels_int64s=[0, 1, 2], base_values=forest.base.tolist(), post_transform="SOFTMAX",
    )  # fmt: skip
    return _graph([made], [], "probabilities")


def _graph(nodes: list[Any], held: list[Any], output: str) -> bytes:
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, FACTORS])
    found = helper.make_tensor_value_info(output, TensorProto.FLOAT, [None, 3])
    graph = helper.make_graph(nodes, "model", [given], [found], held)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


def _row(name: str, predictor: Predictor, ours: np.ndarray, bare: np.ndarray, onnx: np.ndarray) -> dict[str, Any]:
    p50, p99 = (float(value) for value in np.quantile(ours, (0.5, 0.99)))
    peer50, peer99 = (float(value) for value in np.quantile(onnx, (0.5, 0.99)))
    more = float(np.median(ours) - np.median(bare))
    added = more / float(np.median(bare))
    streaming = isinstance(predictor, StreamingPredictor)
    bound = TARGET_US.get(STREAMING if streaming else name)
    return {
        "value": round(p99, 1), "unit": f"us p99 (p50 {p50:.1f}; wrapper +{more:.2f}, {added:.0%})",
        "p50": round(p50, 2),
        "peer": f"onnxruntime's bare call (p50 {peer50:.1f})", "peer_value": round(peer99, 1),
        "ratio": round(p99 / peer99, 3), "wrapper_added": round(added, 3), "streaming": streaming,
        "target": f"<= {bound}" if bound else "reported", "met": p99 <= bound if bound else None,
    }  # fmt: skip


if __name__ == "__main__":
    for name, row in run().items():
        print(name, row)
