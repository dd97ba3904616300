"""Says how a model's probabilities are calibrated: plain numbers that a bundle keeps.

What belongs here: the struct. How it is fitted is in `evaluation.calibration_fit`; how it is applied, offline and live
alike, in `inference.calibrate`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ghtrader_base.errors import IntegrityError

_CLASSES = 3


@dataclass(frozen=True)
class SpanScores:
    """How good probabilities are on the calibration span.

    Attributes
    ----------
    logloss : float
        Nats.
    ece : float
        Expected calibration error, 0 to 1.
    """

    logloss: float
    ece: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature: ln p becomes ``slope * ln p + offset`` of each class, and the sum 1 again.

    Attributes
    ----------
    slope : float
        One over the temperature; below 1 a model claimed to know more than it did. Above 0.
    offsets : tuple of float
        DOWN, FLAT, UP: they let a slope of 0 lead to the class frequencies of the training rows.
    rows : int
        Of the span it was fitted on.
    before, after : SpanScores
        On these rows; `after` has one fitted number in it, and is a little too good. Of a network both are: its best
        epoch was chosen on the same rows. Of another family they are of the model that did not learn from them.

    Raises
    ------
    IntegrityError
        The numbers are none that probabilities can be calibrated by.
    """

    slope: float
    offsets: tuple[float, float, float]
    rows: int
    before: SpanScores
    after: SpanScores

    def __post_init__(self) -> None:
        numbers = (self.slope, *self.offsets)
        if len(self.offsets) != _CLASSES or not all(math.isfinite(x) for x in numbers) or self.slope <= 0:
            raise IntegrityError(
                f"this calibrates nothing: slope {self.slope}, offsets {self.offsets}", "train the model again"
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {**asdict(self), "offsets": list(self.offsets)}
