"""Holds a trained boosted model, whichever library grew its trees: what it predicts, saves and tells of its factors.

How one is trained is its family's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_models.datasets.samples import Samples

if TYPE_CHECKING:
    from ghtrader_models.inference.predictors import TreePredictor


class TreeModel:
    """A trained boosted model.

    Parameters
    ----------
    kind : str
        Name of its family.
    file : str
        Name of its file in a bundle.
    data : bytes
        That file.
    predictor : TreePredictor
        Read from it.
    gains : sequence of float
        Share of each factor in the summed gain of all splits, by the factor's place.
    """

    def __init__(self, kind: str, file: str, data: bytes, predictor: TreePredictor, gains: Sequence[float]) -> None:
        self.kind, self.n_features = kind, predictor.n_features
        self._file, self._data, self._predictor, self._gains = file, data, predictor, gains

    def predict_proba(self, samples: Samples) -> np.ndarray:
        """float64[k, 3] of the rows meant."""
        return samples.ask(self._predictor.predict)

    def save(self, directory: Path) -> None:
        """Write its one file."""
        (directory / self._file).write_bytes(self._data)

    def importance(self, names: tuple[str, ...]) -> dict[str, float]:
        """Share of each factor in the summed gain of all splits."""
        return dict(zip(names, self._gains, strict=True))
