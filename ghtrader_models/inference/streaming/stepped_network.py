"""Defines a network that is stepped: rows go in one by one, and a state of fixed size holds what it knows of a day.

What belongs here: what all of them share, and reading a whole tape. A day begins without a past, and nothing resets a
state within it: it is carried over the breaks between sessions, offline and live alike. A day at once and row by row
are one compiled loop, equal to the last bit.
"""

from __future__ import annotations

import abc

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_models.inference.forest import DAMAGED, N_CLASSES
from ghtrader_models.inference.onnx_windows import RowTable
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE, NamedArrays

MAX_LENGTH = 10_000
"""Rows of a window at the most: bounds the memory of a state."""

State = tuple[np.ndarray, ...]


class SteppedNetwork(abc.ABC):
    """A network read from `weights_file`; it never changes, what changes is a state that its caller keeps.

    Attributes
    ----------
    n_features : int
        Factors of a row.
    length : int
        Rows of the windows it was trained on.
    """

    n_features: int
    length: int

    @abc.abstractmethod
    def fresh_state(self) -> State:
        """A new state, as a day begins."""

    @abc.abstractmethod
    def step(self, state: State, rows: np.ndarray, out: np.ndarray) -> None:
        """Take the next rows of a day.

        Parameters
        ----------
        state : State
            Changed in place; its size never changes.
        rows : float32[n, F]
            C-contiguous. What is NaN or infinite counts as the mean.
        out : float64[n, 3]
            Filled with probabilities, DOWN, FLAT, UP.
        """

    def day(self, rows: np.ndarray) -> np.ndarray:
        """float64[n, 3]: probabilities of the first n rows of a day, float32[n, F]."""
        out = np.empty((rows.shape[0], N_CLASSES))
        # what is mapped is read-only, hence of another type to compiled code: it is copied
        self.step(self.fresh_state(), np.require(rows, np.float32, ["C", "W", "E"]), out)
        return out

    def at_rows(self, X: RowTable, day_index: np.ndarray, rows: np.ndarray) -> np.ndarray:  # noqa: N803
        """Probabilities at some rows of a tape, each with all of its day that came before.

        Parameters
        ----------
        X : float32[n, F]
        day_index : int32[n]
            Ascending.
        rows : int64[k]

        Returns
        -------
        float64[k, 3]
        """
        out = np.empty((rows.size, N_CLASSES))
        days = day_index[rows]
        for day in np.unique(days):
            asked = np.flatnonzero(days == day)
            start = int(np.searchsorted(day_index, day, side="left"))
            out[asked] = self.day(X[start : int(rows[asked].max()) + 1])[rows[asked] - start]
        return out

    def of_windows(self, windows: np.ndarray) -> np.ndarray:
        """float64[k, 3] of windows float32[k, T, F], each taken for the beginning of a day."""
        return np.array([self.day(window)[-1] for window in windows]).reshape(-1, N_CLASSES)


def take_normalisation(arrays: NamedArrays) -> tuple[int, int, list[np.ndarray]]:
    """What every stepped network has in its file besides its weights: length, number of factors, [mean, scale, clip].

    Raises
    ------
    IntegrityError
        A length out of range, no factors, or a scale or clip that is not above 0.
    """
    length = int(arrays.take("length", dtype=np.int64)[0])
    shape = arrays.shape("mean")
    if not 1 <= length <= MAX_LENGTH or len(shape) != 1:
        raise IntegrityError(f"{WEIGHTS_FILE} is of windows of {length} rows, mean of shape {shape}", DAMAGED)
    mean, scale, clip = arrays.take("mean", *shape), arrays.take("scale", *shape), arrays.take("clip")
    if not ((scale > 0).all() and clip[0] > 0):
        raise IntegrityError(f"{WEIGHTS_FILE}: scale or clip is not above 0", DAMAGED)
    return length, shape[0], [mean, scale, clip]


def flat(parts: list[np.ndarray]) -> np.ndarray:
    """One array of the parts one after another: a compiled step takes few arguments quickly."""
    return np.concatenate([part.ravel() for part in parts])
