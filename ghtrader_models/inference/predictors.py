"""Predicts class probabilities from rows of factors, by the fastest route for each kind of model; no training library.

What belongs here: decoding a bundle's model file into arrays, and the compiled kernels that run over them.
Benchmark, simulation and live trading all come through here, so that a probability is the same number
wherever it is asked for: `predict` over n rows and `predict_row` over one run the same compiled loop.

A factor that is NaN or infinite in a row counts as missing: the logistic model puts the training mean in its
place, a tree sends the row the way it learned for missing values. Rows before the factors are warm are the
caller's to leave out (`WarmTracker`).
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_base.files import parse_json
from ghtrader_base.numba_cache import njit
from ghtrader_models.inference.xgboost_ubj import read_ubj

if TYPE_CHECKING:
    from ghtrader_models.bundles.bundle import Bundle

N_CLASSES = 3
LOGISTIC_FILE = "model.json"
TREES_FILE = "model.ubj"
_HINT = "the model file is damaged or not ours; train the model again"


@njit(cache=True, error_model="numpy")
def _logistic(
    rows: np.ndarray,
    mean: np.ndarray,
    inverse_scale: np.ndarray,
    clip: float,
    coef: np.ndarray,
    intercept: np.ndarray,
    out: np.ndarray,
) -> None:
    """Softmax of a standardised linear model; rows float32[n, F] -> out float64[n, 3]."""
    n, width = rows.shape
    for i in range(n):
        z0 = intercept[0]
        z1 = intercept[1]
        z2 = intercept[2]
        for j in range(width):
            x = np.float64(rows[i, j])
            if math.isfinite(x):
                s = (x - mean[j]) * inverse_scale[j]
                s = min(max(s, -clip), clip)
                z0 += coef[0, j] * s
                z1 += coef[1, j] * s
                z2 += coef[2, j] * s
        top = max(z0, z1, z2)
        e0 = math.exp(z0 - top)
        e1 = math.exp(z1 - top)
        e2 = math.exp(z2 - top)
        total = e0 + e1 + e2
        out[i, 0] = e0 / total
        out[i, 1] = e1 / total
        out[i, 2] = e2 / total


@njit(cache=True, error_model="numpy")
def _trees(
    rows: np.ndarray,
    roots: np.ndarray,
    depths: np.ndarray,
    classes: np.ndarray,
    base: np.ndarray,
    feature: np.ndarray,
    threshold: np.ndarray,
    left: np.ndarray,
    default_left: np.ndarray,
    next_left: np.ndarray,
    next_threshold: np.ndarray,
    out: np.ndarray,
) -> None:
    """Softmax of summed leaves; as XGBoost: float32 `x < threshold`, float32 sums, missing by default direction.

    The right child stands behind the left one. A row without a missing value takes as many steps in a tree as that is
    deep, a leaf leading to itself: without a branch to guess, the walks of many trees overlap.
    """
    n, width = rows.shape
    for i in range(n):
        z0 = base[0]
        z1 = base[1]
        z2 = base[2]
        whole = True
        for j in range(width):
            whole &= math.isfinite(rows[i, j])
        for t in range(roots.shape[0]):
            node = roots[t]
            if whole:
                for _ in range(depths[t]):
                    node = next_left[node] + np.int32(rows[i, feature[node]] >= next_threshold[node])
            else:
                while left[node] >= 0:
                    x = rows[i, feature[node]]
                    go_left = x < threshold[node] if math.isfinite(x) else default_left[node]
                    node = left[node] if go_left else left[node] + 1
            leaf = threshold[node]
            c = classes[t]
            if c == 0:
                z0 += leaf
            elif c == 1:
                z1 += leaf
            else:
                z2 += leaf
        top = max(z0, z1, z2)
        e0 = math.exp(np.float64(z0) - np.float64(top))
        e1 = math.exp(np.float64(z1) - np.float64(top))
        e2 = math.exp(np.float64(z2) - np.float64(top))
        total = e0 + e1 + e2
        out[i, 0] = e0 / total
        out[i, 1] = e1 / total
        out[i, 2] = e2 / total


@njit(cache=True, error_model="numpy")
def _mark_warm(rows: np.ndarray, seen: np.ndarray, state: np.ndarray, out: np.ndarray) -> None:
    """out[i] = every factor has been finite at or before row i; state[0] counts the factors seen so far."""
    width = rows.shape[1]
    for i in range(rows.shape[0]):
        if state[0] < width:
            for j in range(width):
                if not seen[j] and math.isfinite(rows[i, j]):
                    seen[j] = True
                    state[0] += 1
        out[i] = state[0] == width


class WarmTracker:
    """Tells from which row of a trading day on a model may be asked: once each factor has had a value.

    A later single NaN (an absent level at a limit price) does not make the day cold again.
    """

    def __init__(self, n_features: int) -> None:
        self._seen = np.zeros(n_features, np.bool_)
        self._state = np.zeros(1, np.int64)
        self._out = np.zeros(1, np.bool_)

    def reset(self) -> None:
        """Start a new trading day."""
        self._seen[:] = False
        self._state[0] = 0

    def update(self, row: np.ndarray) -> bool:
        """Take the next row, float32[F]; whether the day is warm at it."""
        _mark_warm(row.reshape(1, -1), self._seen, self._state, self._out)
        return bool(self._out[0])

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Take the next n rows, float32[n, F]; bool[n]."""
        out = np.zeros(rows.shape[0], np.bool_)
        _mark_warm(rows, self._seen, self._state, out)
        return out


class Predictor(abc.ABC):
    """A model ready to be asked.

    Attributes
    ----------
    n_features : int
        Length of a row, in the bundle's factor order.
    """

    n_features: int

    @abc.abstractmethod
    def _run(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Fill out float64[n, 3] from C-contiguous rows float32[n, F]."""

    @staticmethod
    def from_files(kind: str, files: Mapping[str, bytes]) -> Predictor:
        """Decode a model.

        Parameters
        ----------
        kind : str
            "logistic" or "xgboost".
        files : mapping of file name to bytes
            As the bundle holds them.

        Raises
        ------
        IntegrityError
            The bytes do not describe such a model.
        """
        decoders = {"logistic": (LOGISTIC_FILE, LogisticPredictor), "xgboost": (TREES_FILE, TreePredictor)}
        if kind not in decoders:
            raise IntegrityError(f"no route for a model of kind {kind!r}", f"known: {', '.join(decoders)}")
        name, decoder = decoders[kind]
        if name not in files:
            raise IntegrityError(f"the bundle has no {name}", _HINT)
        return decoder(files[name])

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Predictor:
        """The predictor of a loaded bundle; `IntegrityError` where model and factor list do not fit."""
        predictor = cls.from_files(bundle.kind, bundle.model_files)
        if predictor.n_features != len(bundle.factor_names):
            raise IntegrityError(
                f"bundle {bundle.bundle_id}: the model wants {predictor.n_features} factors, "
                f"the factor list has {len(bundle.factor_names)}",
                "train the model again",
            )
        return predictor

    def _compile(self) -> None:
        # the first call compiles or loads the kernel: not at the first tick
        self.predict_row(np.zeros(self.n_features, np.float32))

    def predict_row(self, row: np.ndarray) -> np.ndarray:
        """Probabilities of one row.

        Parameters
        ----------
        row : float32[F]
            C-contiguous, in the bundle's factor order.

        Returns
        -------
        float64[3]
            DOWN, FLAT, UP; a new array.
        """
        out = np.empty((1, N_CLASSES))
        self._run(row.reshape(1, self.n_features), out)
        first: np.ndarray = out[0]
        return first

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of n rows: float32[n, F] -> float64[n, 3]; each row exactly as `predict_row` has it."""
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise UsageError(f"rows of shape {rows.shape} for a model of {self.n_features} factors")
        out = np.empty((rows.shape[0], N_CLASSES))
        self._run(np.ascontiguousarray(rows, dtype=np.float32), out)
        return out


class LogisticPredictor(Predictor):
    """Multinomial logistic regression on standardised factors, decoded from its JSON."""

    def __init__(self, data: bytes) -> None:
        try:
            spec = parse_json(data)
            self._mean = np.array(spec["mean"], np.float64)
            scale = np.array(spec["scale"], np.float64)
            self._inverse_scale = 1.0 / np.where(scale > 0, scale, np.nan)
            self._clip = float(spec["clip"])
            self._coef = np.array(spec["coef"], np.float64)
            self._intercept = np.array(spec["intercept"], np.float64)
        except (ValueError, KeyError, TypeError) as exc:
            raise IntegrityError(f"{LOGISTIC_FILE} does not read: {exc!r}", _HINT) from exc
        self.n_features = self._mean.size
        shapes = (self._mean.shape, self._inverse_scale.shape, self._coef.shape, self._intercept.shape)
        width = self.n_features
        finite = all(
            np.isfinite(a).all() for a in (self._mean, self._inverse_scale, self._coef, self._intercept, self._clip)
        )
        if shapes != ((width,), (width,), (N_CLASSES, width), (N_CLASSES,)) or not finite or self._clip <= 0:
            raise IntegrityError(f"{LOGISTIC_FILE} has arrays of shapes {shapes} or values that are no numbers", _HINT)
        self._compile()

    def _run(self, rows: np.ndarray, out: np.ndarray) -> None:
        _logistic(rows, self._mean, self._inverse_scale, self._clip, self._coef, self._intercept, out)


class TreePredictor(Predictor):
    """Boosted trees decoded from XGBoost's UBJSON (`multi:softprob`, three classes, numerical splits)."""

    def __init__(self, data: bytes) -> None:
        forest = decode_forest(data)
        self.n_features = forest["n_features"]
        names = ("roots", "depths", "classes", "base", "feature", "threshold", "left", "default_left")
        leaf = forest["left"] < 0
        itself = np.arange(leaf.size, dtype=np.int32)
        next_left = np.where(leaf, itself, forest["left"])
        next_threshold = np.where(leaf, np.float32(np.inf), forest["threshold"])
        self._arrays = (*(forest[name] for name in names), next_left, next_threshold)
        self._compile()

    def _run(self, rows: np.ndarray, out: np.ndarray) -> None:
        _trees(rows, *self._arrays, out)  # type: ignore[call-arg]  # ten arrays, as `__init__` puts them together


def decode_forest(data: bytes) -> dict[str, Any]:
    """XGBoost UBJSON -> flat arrays for the walker.

    Nodes are laid out anew, tree by tree and breadth first from each root; on the way every index is checked,
    because the compiled walker checks none.

    Returns
    -------
    dict
        n_features int; roots, depths and classes int32[T]; base float32[3]; and per node feature int32, threshold
        float32 (a leaf's value at a leaf), left int32 (-1 at a leaf; right is the one behind it), default_left bool.

    Raises
    ------
    IntegrityError
        Not such a model, or indices that point outside.
    """
    document = read_ubj(data)
    try:
        learner = document["learner"]
        params = learner["learner_model_param"]
        objective = learner["objective"]["name"]
        model = learner["gradient_booster"]["model"]
        n_features = int(params["num_feature"])
        n_classes = int(params["num_class"])
        base = np.array(parse_json(str(params["base_score"])), np.float32).reshape(-1)
        trees = model["trees"]
        tree_info = np.asarray(model["tree_info"], np.int32)
    except (KeyError, TypeError, ValueError) as exc:
        raise IntegrityError(f"{TREES_FILE} is not a boosted model: {exc!r}", _HINT) from exc
    if objective != "multi:softprob" or n_classes != N_CLASSES or base.size not in (1, N_CLASSES):
        raise IntegrityError(
            f"{TREES_FILE} holds objective {objective!r} with {n_classes} classes, not multi:softprob with 3", _HINT
        )
    if len(trees) != tree_info.size or not np.isin(tree_info, (0, 1, 2)).all() or n_features < 1:
        raise IntegrityError(f"{TREES_FILE} has {len(trees)} trees for {tree_info.size} classes", _HINT)
    if base.size == 1:  # versions before 3.1 keep one number, which softmax does not see
        base = np.repeat(base, N_CLASSES)
    parts: dict[str, list[np.ndarray]] = {key: [] for key in ("feature", "threshold", "left", "default_left")}
    roots, depths = np.zeros(len(trees), np.int32), np.zeros(len(trees), np.int32)
    offset = 0
    for index, tree in enumerate(trees):
        roots[index] = offset
        flat, depths[index] = _flatten(tree, offset, n_features)
        for key, value in flat.items():
            parts[key].append(value)
        offset += flat["left"].size
    dtypes = {"feature": np.int32, "threshold": np.float32, "left": np.int32, "default_left": bool}
    nodes = {key: np.concatenate([*parts[key], np.empty(0, dtypes[key])]).astype(dtypes[key]) for key in parts}
    return {"n_features": n_features, "roots": roots, "depths": depths, "classes": tree_info, "base": base, **nodes}


def _flatten(tree: dict[str, Any], offset: int, n_features: int) -> tuple[dict[str, np.ndarray], int]:
    """One tree's reachable nodes, breadth first, child indices shifted by `offset`; and how deep it is."""
    try:
        left = np.asarray(tree["left_children"], np.int64)
        right = np.asarray(tree["right_children"], np.int64)
        feature = np.asarray(tree["split_indices"], np.int64)
        threshold = np.asarray(tree["split_conditions"], np.float32)
        default_left = np.asarray(tree["default_left"], np.bool_)
        split_type = np.asarray(tree.get("split_type", []), np.int64)
    except (KeyError, TypeError, ValueError) as exc:
        raise IntegrityError(f"{TREES_FILE}: a tree does not read: {exc!r}", _HINT) from exc
    n = left.size
    if n == 0 or any(a.shape != (n,) for a in (right, feature, threshold, default_left)) or split_type.any():
        raise IntegrityError(f"{TREES_FILE}: a tree is empty, uneven or has categorical splits", _HINT)
    order, level = [0], {0: 0}
    for node in order:
        a, b = int(left[node]), int(right[node])
        if a == -1 and b == -1:
            continue
        if not (0 <= a < n and 0 <= b < n) or len(order) + 2 > n or not 0 <= feature[node] < n_features:
            raise IntegrityError(f"{TREES_FILE}: a tree points outside itself", _HINT)
        order += [a, b]
        level[a] = level[b] = level[node] + 1
    if len(set(order)) != len(order) or not np.isfinite(threshold[order]).all():
        raise IntegrityError(f"{TREES_FILE}: a tree reaches a node twice or holds no numbers", _HINT)
    kept = np.array(order)
    place = np.full(n, -1, np.int64)
    place[kept] = np.arange(kept.size) + offset
    leaf = left[kept] < 0
    return {
        "feature": np.where(leaf, 0, feature[kept]),
        "threshold": threshold[kept],
        "left": np.where(leaf, -1, place[left[kept]]),
        "default_left": default_left[kept],
    }, max(level.values())
