"""Names rows of a tape that a model learns from or is asked about, together with the rows that come before them.

What belongs here: the struct, and going through the rows block by block: a year of factors is never in memory. A
family that reads windows goes back from a row to the rows before it of the same day, which is why the tape stays whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.mapped_rows import BLOCK_ROWS, FactorRows, parts_of

_TICK_NS = 500_000_000


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Some rows of a tape.

    Attributes
    ----------
    X : float32[n, F]
        Factors of the whole tape, in time order; NaN where unknown. An array, or days mapped from their files.
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
    further_labels : mapping of int to int8[n]
        Other horizon -> its labels, as `y`; those that every day was built for.
    symbol : str
        Series of the tape; empty where nobody asks.
    facts : tuple of DayFacts
        What each day of the tape is, by `day_index`; empty where nobody asks.
    others : tuple of Samples
        Tapes of other series that a network may learn from without labels.
    """

    X: FactorRows
    y: np.ndarray
    datetime_ns: np.ndarray
    day_index: np.ndarray
    warm: np.ndarray
    rows: np.ndarray
    horizon: int
    names: tuple[str, ...] = ()
    further_labels: Mapping[int, np.ndarray] = field(default_factory=dict)
    symbol: str = ""
    facts: tuple[DayFacts, ...] = ()
    others: tuple[Samples, ...] = ()

    def __len__(self) -> int:
        return self.rows.size

    @property
    def factors(self) -> np.ndarray:
        """float32[k, F]: the rows meant, all at once; a copy, hence for few rows. See `blocks`."""
        chosen: np.ndarray = self.X[self.rows]
        return chosen

    @property
    def labels(self) -> np.ndarray:
        """int8[k]: their labels."""
        chosen: np.ndarray = self.y[self.rows]
        return chosen

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
        """float32[b, F]: the rows meant, `size` at a time, in order; copies, to be changed at will."""
        for low in range(0, len(self), size):
            yield self.X[self.rows[low : low + size]]

    def parts(self, size: int = BLOCK_ROWS) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The rows meant as they lie, nothing copied.

        Yields
        ------
        float32[m, F], int64[b], int8[b]
            A stretch of the tape, read-only; which of its rows are meant, `size` at most; their labels.
        """
        for low in range(0, len(self), size):
            rows = self.rows[low : low + size]
            y, done = self.y[rows], 0
            for array, inside in parts_of(self.X, rows):
                seen = array.view()
                seen.flags.writeable = False  # one type for compiled loops, mapped or not
                yield seen, inside, y[done : done + inside.size]
                done += inside.size

    def ask(self, predict: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """float64[k, 3]: what `predict`, float32[b, F] -> float64[b, 3], says of the rows meant, block by block."""
        out = np.empty((len(self), 3))
        done = 0
        for rows in self.blocks():
            out[done : done + len(rows)] = predict(rows)
            done += len(rows)
        return out

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
