"""Predicts from windows of rows by onnxruntime: networks, exported once they are trained.

What belongs here: which rows a window holds, and running the graph, which normalises its input itself. A day begins
without a past: rows that are not there are NaN, which the graph takes for the mean, offline and live alike. A row in a
batch and the same row alone agree to 1e-6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_models.inference.forest import DAMAGED, N_CLASSES

if TYPE_CHECKING:
    import onnxruntime

ONNX_FILE = "model.onnx"
_BATCH = 512


class RowTable(Protocol):
    """Rows of factors, float32[n, F], that are taken by number: an array, or days mapped from their files."""

    def __getitem__(self, rows: Any, /) -> np.ndarray: ...


def softmax(logits: np.ndarray) -> np.ndarray:
    """float32[k, 3] -> float64[k, 3]."""
    z = logits.astype(np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    found: np.ndarray = e / e.sum(axis=1, keepdims=True)
    return found


def padded_windows(X: RowTable, day_index: np.ndarray, rows: np.ndarray, length: int) -> np.ndarray:  # noqa: N803
    """float32[k, length, F]: the windows that end at some rows, NaN where they would reach before their day.

    Parameters
    ----------
    X : float32[n, F]
    day_index : int32[n]
        Ascending.
    rows : int64[k]
    length : int
    """
    wanted = rows[:, None] - np.arange(length - 1, -1, -1)
    start = np.searchsorted(day_index, day_index[rows], side="left")
    found = X[np.maximum(wanted, 0)]
    found[wanted < start[:, None]] = np.nan
    return found


class WindowNetwork:
    """An exported network.

    Attributes
    ----------
    length, n_features : int
        Rows of a window and factors of a row.
    """

    def __init__(self, data: bytes) -> None:
        self._session = _open(data)
        (given,), outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = given.shape
        sound = len(shape) == 3 and all(isinstance(size, int) and size > 0 for size in shape[1:])
        if not sound or given.type != "tensor(float)" or len(outputs) != 1 or outputs[0].shape[1:] != [N_CLASSES]:
            raise IntegrityError(f"{ONNX_FILE} takes {given.type} of {shape} and gives {outputs[0].shape}", DAMAGED)
        self._input = given.name
        self.length, self.n_features = int(shape[1]), int(shape[2])

    def probabilities(self, windows: np.ndarray) -> np.ndarray:
        """float32[k, length, F] -> float64[k, 3]."""
        logits: np.ndarray = self._session.run(None, {self._input: windows})[0]
        return softmax(logits)

    def at_rows(self, X: RowTable, day_index: np.ndarray, rows: np.ndarray) -> np.ndarray:  # noqa: N803
        """float64[k, 3] of the windows that end at some rows of a tape; see `padded_windows`."""
        out = np.empty((rows.size, N_CLASSES))
        for low in range(0, rows.size, _BATCH):
            part = rows[low : low + _BATCH]
            out[low : low + part.size] = self.probabilities(padded_windows(X, day_index, part, self.length))
        return out


def _open(data: bytes) -> onnxruntime.InferenceSession:
    """One thread that does not spin: a live process has one core to itself at best."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except _errors() as exc:
        raise IntegrityError(f"{ONNX_FILE} does not open: {exc}", DAMAGED) from exc


def _errors() -> tuple[Any, ...]:
    """What onnxruntime raises: bytes that are no graph, a graph it cannot run, data it lacks."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidGraph", "InvalidProtobuf", "InvalidArgument", "NotImplemented", "RuntimeException")
    return (*(getattr(state, name) for name in names if hasattr(state, name)), ValueError, RuntimeError)
