"""Names rows of a tape that a model learns from or is asked about, together with the rows that come before them.

What belongs here: the struct. A family that reads single rows takes `factors`; one that reads windows goes back from a
row to the rows before it of the same day, which is why the tape stays whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ghtrader_base.errors import UsageError

_TICK_NS = 500_000_000


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Some rows of a tape.

    Attributes
    ----------
    X : float32[n, F]
        Factors of the whole tape, in time order; NaN where unknown.
    y : int8[n]
        0 DOWN, 1 FLAT, 2 UP, -1 none.
    datetime_ns : int64[n]
        UTC epoch.
    day_index : int32[n]
        Ascending from 0; no window crosses a day.
    warm : bool[n]
        Rows whose factors are known.
    rows : int64[k]
        The rows meant, ascending.
    horizon : int
        Ticks ahead that `y` looks.
    names : tuple of str
        Columns of `X`; empty where nobody asks for one by its name.
    """

    X: np.ndarray
    y: np.ndarray
    datetime_ns: np.ndarray
    day_index: np.ndarray
    warm: np.ndarray
    rows: np.ndarray
    horizon: int
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.rows.size

    @property
    def factors(self) -> np.ndarray:
        """float32[k, F]: the rows meant; a copy."""
        chosen: np.ndarray = self.X[self.rows]
        return chosen

    @property
    def labels(self) -> np.ndarray:
        """int8[k]: their labels."""
        chosen: np.ndarray = self.y[self.rows]
        return chosen

    def every(self, stride: int) -> Samples:
        """Every how many-th of the rows meant, from the first on."""
        return self if stride == 1 else replace(self, rows=self.rows[::stride])

    @classmethod
    def of_rows(cls, rows: np.ndarray, y: np.ndarray | None = None, *, horizon: int = 1) -> Samples:
        """All of some rows as one day, half a second apart.

        Parameters
        ----------
        rows : float32[n, F]
        y : int8[n], optional
            None known where absent.

        Raises
        ------
        UsageError
            The labels are not one a row.
        """
        n = rows.shape[0] if rows.ndim == 2 else -1
        y = np.full(max(n, 0), -1, np.int8) if y is None else y
        if y.shape != (n,):
            raise UsageError(f"rows of shape {rows.shape} with labels of shape {y.shape}", "give one label a row")
        return cls(
            X=rows,
            y=y,
            datetime_ns=np.arange(n, dtype=np.int64) * _TICK_NS,
            day_index=np.zeros(n, np.int32),
            warm=np.ones(n, np.bool_),
            rows=np.arange(n, dtype=np.int64),
            horizon=horizon,
        )
