"""Predicts class probabilities from rows of factors, by the fastest route for each kind of model; no training library.

What belongs here: the compiled kernels, and the table of which file a kind of model has and what reads it. What is in a
file of trees is read in `xgboost_trees` and `lightgbm_text`.
Benchmark, simulation and live trading all come through here, so that a probability is the same number
wherever it is asked for: `predict` over n rows and `predict_row` over one run the same compiled loop. Networks that
onnxruntime runs on windows are the exception, see `onnx_windows`.

A factor that is NaN or infinite in a row counts as missing: the logistic model puts the training mean in its
place, a tree sends the row the way it learned for missing values. Rows before the factors are warm are the
caller's to leave out (`WarmTracker`).
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_base.files import parse_json
from ghtrader_base.numba_cache import njit
from ghtrader_models.inference.calibrate import calibrate
from ghtrader_models.inference.forest import DAMAGED, N_CLASSES, Forest
from ghtrader_models.inference.lightgbm_text import LIGHTGBM_FILE, decode_lightgbm
from ghtrader_models.inference.onnx_windows import ONNX_FILE, WindowNetwork
from ghtrader_models.inference.streaming.ssm import SteppedSSM
from ghtrader_models.inference.streaming.stepped_network import SteppedNetwork
from ghtrader_models.inference.streaming.tcn import SteppedTCN
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE
from ghtrader_models.inference.xgboost_trees import XGBOOST_FILE, decode_xgboost

if TYPE_CHECKING:
    from ghtrader_models.bundles.bundle import Bundle
    from ghtrader_models.calibration import Calibration

LOGISTIC_FILE = "model.json"


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
    """Softmax of summed leaves: float32 `x < threshold`, float32 sums, missing by default direction.

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
        self._state[0], self._out[0] = 0, False

    def update(self, row: np.ndarray) -> bool:
        """Take the next row, float32[F]; whether the day is warm at it."""
        if self._out[0]:  # nothing makes it cold again
            return True
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
            A key of `STEPPED` or `DECODERS`; of one in both, the form that is stepped is taken where the bundle has it.
        files : mapping of file name to bytes
            As the bundle holds them.

        Raises
        ------
        IntegrityError
            The bytes do not describe such a model.
        """
        if kind in STEPPED and (WEIGHTS_FILE in files or kind not in DECODERS):
            return StreamingPredictor(stepped_network(kind, files.get(WEIGHTS_FILE, b"")))
        if kind not in DECODERS:
            known = ", ".join(sorted({*DECODERS, *STEPPED}))
            raise IntegrityError(f"no route for a model of kind {kind!r}", f"known: {known}")
        name, decode = DECODERS[kind]
        if name not in files:
            raise IntegrityError(f"the bundle has no {name}", DAMAGED)
        return decode(files[name])

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Predictor:
        """The predictor of a loaded bundle, calibrated; `IntegrityError` where model and factor list do not fit."""
        predictor = cls.from_files(bundle.kind, bundle.model_files)
        if predictor.n_features != len(bundle.factor_names):
            raise IntegrityError(
                f"bundle {bundle.bundle_id}: the model wants {predictor.n_features} factors, "
                f"the factor list has {len(bundle.factor_names)}",
                "train the model again",
            )
        calibration = bundle.content.calibration
        return predictor if calibration is None else CalibratedPredictor(predictor, calibration)

    def _compile(self) -> None:
        # the first call compiles or loads the kernel: not at the first tick
        self.predict_row(np.zeros(self.n_features, np.float32))

    def reset(self) -> None:  # noqa: B027  (most models have no past)
        """A new trading day begins: a model of windows forgets the day before."""

    def observe(self, row: np.ndarray) -> None:  # noqa: B027
        """Take the next row, float32[F], of a day that is not warm yet: a model of windows remembers it."""

    def predict_day(self, rows: np.ndarray, warm: np.ndarray) -> np.ndarray:
        """Probabilities of a day's rows.

        Parameters
        ----------
        rows : float32[n, F]
            From the day's first on.
        warm : bool[n]
            Which of them the model may be asked about.

        Returns
        -------
        float64[n, 3]
            NaN where not warm.
        """
        out = np.full((rows.shape[0], N_CLASSES), np.nan)
        out[warm] = self.predict(rows[warm])
        return out

    def predict_row(self, row: np.ndarray) -> np.ndarray:
        """Probabilities of the next row.

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
        """Probabilities of n rows: float32[n, F] -> float64[n, 3]; as `predict_row` has them, from a reset on."""
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise UsageError(f"rows of shape {rows.shape} for a model of {self.n_features} factors")
        out = np.empty((rows.shape[0], N_CLASSES))
        self._run(np.ascontiguousarray(rows, dtype=np.float32), out)
        return out


class CalibratedPredictor(Predictor):
    """Any predictor, its probabilities calibrated."""

    def __init__(self, predictor: Predictor, calibration: Calibration) -> None:
        self.n_features = predictor.n_features
        self._predictor, self._calibration = predictor, calibration
        calibrate(np.full((1, N_CLASSES), 1 / N_CLASSES), calibration)  # compiles or loads the kernel

    def reset(self) -> None:
        """As the predictor has it, like all below."""
        self._predictor.reset()

    def observe(self, row: np.ndarray) -> None:
        """As `Predictor.observe`."""
        self._predictor.observe(row)

    def predict_row(self, row: np.ndarray) -> np.ndarray:
        """As `Predictor.predict_row`."""
        p = self._predictor.predict_row(row)
        calibrate(p.reshape(1, N_CLASSES), self._calibration)
        return p

    def predict_day(self, rows: np.ndarray, warm: np.ndarray) -> np.ndarray:
        """As `Predictor.predict_day`."""
        return calibrate(self._predictor.predict_day(rows, warm), self._calibration)

    def _run(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._predictor._run(rows, out)
        calibrate(out, self._calibration)


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
            raise IntegrityError(f"{LOGISTIC_FILE} does not read: {exc!r}", DAMAGED) from exc
        self.n_features = self._mean.size
        shapes = (self._mean.shape, self._inverse_scale.shape, self._coef.shape, self._intercept.shape)
        width = self.n_features
        finite = all(
            np.isfinite(a).all() for a in (self._mean, self._inverse_scale, self._coef, self._intercept, self._clip)
        )
        if shapes != ((width,), (width,), (N_CLASSES, width), (N_CLASSES,)) or not finite or self._clip <= 0:
            raise IntegrityError(
                f"{LOGISTIC_FILE} has arrays of shapes {shapes} or values that are no numbers", DAMAGED
            )
        self._compile()

    def _run(self, rows: np.ndarray, out: np.ndarray) -> None:
        _logistic(rows, self._mean, self._inverse_scale, self._clip, self._coef, self._intercept, out)


class TreePredictor(Predictor):
    """Boosted trees, laid out by `forest`."""

    def __init__(self, forest: Forest) -> None:
        self.n_features = forest.n_features
        leaf = forest.left < 0
        itself = np.arange(leaf.size, dtype=np.int32)
        next_left = np.where(leaf, itself, forest.left)
        next_threshold = np.where(leaf, np.float32(np.inf), forest.threshold)
        self._trees = (forest.roots, forest.depths, forest.classes, forest.base)
        self._nodes = (forest.feature, forest.threshold, forest.left, forest.default_left, next_left, next_threshold)
        self._compile()

    def _run(self, rows: np.ndarray, out: np.ndarray) -> None:
        _trees(rows, *self._trees, *self._nodes, out)

    @classmethod
    def of_xgboost(cls, data: bytes) -> TreePredictor:
        """From XGBoost's UBJSON; `IntegrityError` where it is none."""
        return cls(decode_xgboost(data))

    @classmethod
    def of_lightgbm(cls, data: bytes) -> TreePredictor:
        """From LightGBM's text; `IntegrityError` where it is none."""
        return cls(decode_lightgbm(data))


class WindowPredictor(Predictor):
    """A network that reads the rows before a row; see `onnx_windows`."""

    def __init__(self, data: bytes) -> None:
        self.network = WindowNetwork(data)
        self.n_features, self._length = self.network.n_features, self.network.length
        # each row is written twice, so that the last `length` of them always lie side by side
        self._rows = np.full((1, 2 * self._length, self.n_features), np.nan, np.float32)
        self._next = 0
        self._compile()
        self.reset()

    def reset(self) -> None:
        """Forget the day before."""
        self._rows.fill(np.nan)

    def observe(self, row: np.ndarray) -> None:
        """Remember a row."""
        self._rows[0, self._next] = self._rows[0, self._next + self._length] = row
        self._next = (self._next + 1) % self._length

    def predict_row(self, row: np.ndarray) -> np.ndarray:
        """Probabilities of the next row of the day, float64[3], with those that were taken before it."""
        self.observe(row)
        first: np.ndarray = self.network.probabilities(self._rows[:, self._next : self._next + self._length])[0]
        return first

    def predict_day(self, rows: np.ndarray, warm: np.ndarray) -> np.ndarray:
        """As `Predictor.predict_day`."""
        out = np.full((rows.shape[0], N_CLASSES), np.nan)
        day = np.zeros(rows.shape[0], np.int32)
        out[warm] = self.network.at_rows(rows, day, np.flatnonzero(warm))
        return out

    def _run(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Rows that follow each other on one day."""
        out[:] = self.predict_day(rows, np.ones(rows.shape[0], np.bool_))


class StreamingPredictor(Predictor):
    """A network that is stepped row by row; see `streaming`. What it knows of the day is one state of fixed size."""

    def __init__(self, network: SteppedNetwork) -> None:
        self.network, self.n_features = network, network.n_features
        self._fresh, self._state = network.fresh_state(), network.fresh_state()
        self._compile()
        self.reset()

    def reset(self) -> None:
        """Forget the day before."""
        for part, fresh in zip(self._state, self._fresh, strict=True):
            part[:] = fresh

    def observe(self, row: np.ndarray) -> None:
        """Take a row in."""
        self.predict_row(row)

    def predict_row(self, row: np.ndarray) -> np.ndarray:
        """Probabilities of the next row of the day, float64[3], with all that were taken before it."""
        out = np.empty((1, N_CLASSES))
        self.network.step(self._state, row.reshape(1, self.n_features), out)
        first: np.ndarray = out[0]
        return first

    def predict_day(self, rows: np.ndarray, warm: np.ndarray) -> np.ndarray:
        """As `Predictor.predict_day`; the day that is being stepped stays as it is."""
        out = self.network.day(rows)
        out[~warm] = np.nan
        return out

    def _run(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Rows that follow each other from a day's first on."""
        self.network.step(self.network.fresh_state(), rows, out)


STEPPED: dict[str, Callable[[bytes], SteppedNetwork]] = {"tcn": SteppedTCN, "ssm": SteppedSSM}
"""Kind of model that can be stepped -> what reads its `WEIGHTS_FILE`."""


def stepped_network(kind: str, data: bytes) -> SteppedNetwork:
    """The network of a `WEIGHTS_FILE`; `IntegrityError` where the bytes are none of that kind."""
    return STEPPED[kind](data)


DECODERS: dict[str, tuple[str, Callable[[bytes], Predictor]]] = {
    "logistic": (LOGISTIC_FILE, LogisticPredictor),
    "xgboost": (XGBOOST_FILE, TreePredictor.of_xgboost),
    "lightgbm": (LIGHTGBM_FILE, TreePredictor.of_lightgbm),
    "tcn": (ONNX_FILE, WindowPredictor),
    "deeplob": (ONNX_FILE, WindowPredictor),
    "transformer": (ONNX_FILE, WindowPredictor),
    "tlob": (ONNX_FILE, WindowPredictor),
    "mlplob": (ONNX_FILE, WindowPredictor),
    "binctabl": (ONNX_FILE, WindowPredictor),
    "ssm": (ONNX_FILE, WindowPredictor),
    "hybrid": (ONNX_FILE, WindowPredictor),
}
"""Kind of model -> its file in a bundle, and what reads it; what is always stepped is in `STEPPED` alone."""
