"""Standardises factors: mean and deviation fitted on a training span alone, kept in the bundle, applied the same live.

What belongs here: mean and deviation a factor, their JSON form, and applying them. No training library, so that the
runtime may use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ghtrader_base.errors import UsageError

CLIP = 10.0


@dataclass(frozen=True)
class FeatureScaler:
    """``(x - mean) / std``, held within +-`clip`; an unknown value becomes 0, which is the mean.

    Attributes
    ----------
    names : tuple of str
        Factors, in column order.
    mean, std : float64[F]
        Of the finite values of the training span. `std` is 1 where a factor does not vary.
    rows : int
        Rows it was fitted on.
    clip : float
        Largest deviation that is let through, in standard deviations.
    """

    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    rows: int
    clip: float = CLIP

    @property
    def scale(self) -> np.ndarray:
        """float32[F]: what a deviation is multiplied by."""
        return (1.0 / self.std).astype(np.float32)

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Normalise.

        Parameters
        ----------
        rows : float32[..., F]

        Returns
        -------
        float32[..., F]
            The same bits for a row alone as in a batch of windows.
        """
        z = (np.asarray(rows, np.float32) - self.mean.astype(np.float32)) * self.scale
        return np.where(np.isnan(z), np.float32(0), np.clip(z, -np.float32(self.clip), np.float32(self.clip)))

    def to_dict(self) -> dict[str, Any]:
        """JSON form, for the bundle."""
        return {
            "kind": "standard",
            "names": list(self.names),
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "rows": self.rows,
            "clip": self.clip,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> FeatureScaler:
        """The inverse of `to_dict`; UsageError where the document is none."""
        try:
            names = tuple(str(name) for name in document["names"])
            mean, std = np.array(document["mean"], np.float64), np.array(document["std"], np.float64)
            made = cls(names, mean, std, int(document["rows"]), float(document["clip"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise UsageError(f"this is no normaliser: {exc!r}") from exc
        sound = np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all() and made.clip > 0
        if document.get("kind") != "standard" or mean.shape != (len(names),) or std.shape != mean.shape or not sound:
            raise UsageError("this is no normaliser: kind, shapes or values are wrong")
        return made


def fit_scaler(blocks: Iterable[np.ndarray], names: tuple[str, ...], *, clip: float = CLIP) -> FeatureScaler:
    """Mean and standard deviation of each factor, in one pass over blocks of rows.

    Blocks are merged by Chan, Golub and LeVeque (1983), "Algorithms for computing the sample variance", so that a
    factor far from zero keeps its digits.

    Parameters
    ----------
    blocks : iterable of float32[n, F]
        The training span, piece by piece; NaN and infinite values do not count.
    names : tuple of str
        Factors, in column order.
    clip : float
        As `FeatureScaler.clip`.

    Raises
    ------
    UsageError
        There is no row.
    """
    width = len(names)
    count, mean, square = np.zeros(width), np.zeros(width), np.zeros(width)
    rows = 0
    for block in blocks:
        if not block.shape[0]:
            continue
        rows += block.shape[0]
        finite = np.isfinite(block)
        n = finite.sum(axis=0).astype(np.float64)
        values = np.where(finite, block, 0).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            block_mean = np.where(n > 0, values.sum(axis=0) / n, 0.0)
        block_square = (np.where(finite, values - block_mean, 0.0) ** 2).sum(axis=0)
        total = count + n
        share = np.divide(n, total, out=np.zeros(width), where=total > 0)
        delta = block_mean - mean
        square += block_square + delta**2 * count * share
        mean += delta * share
        count = total
    if not rows:
        raise UsageError("there is no row to fit a normaliser on", "give it a training span that is not empty")
    std = np.sqrt(np.divide(square, count, out=np.zeros(width), where=count > 0))
    return FeatureScaler(tuple(names), mean, np.where(std > 1e-12, std, 1.0), rows, clip)
