"""Reads and writes the arrays of a network that is stepped: one safetensors file, every array checked before use.

What belongs here: the file, and taking arrays out of it by name, shape and type. Each network says what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ghtrader_base.errors import IntegrityError
from ghtrader_models.inference.forest import DAMAGED

WEIGHTS_FILE = "model.safetensors"


def write_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The file; the same arrays give the same bytes."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})


class NamedArrays:
    """Arrays of a file, each to be taken once.

    Parameters
    ----------
    data : bytes
        Of `WEIGHTS_FILE`.

    Raises
    ------
    IntegrityError
        The bytes are no such file.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._left = load(data)
        except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as exc:
            raise IntegrityError(f"{WEIGHTS_FILE} does not read: {exc!r}", DAMAGED) from exc

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array that is still to be taken; `IntegrityError` where there is none."""
        if name not in self._left:
            raise IntegrityError(f"{WEIGHTS_FILE} has no {name}", DAMAGED)
        shape: tuple[int, ...] = self._left[name].shape
        return shape

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, *shape: int, dtype: type[np.generic] = np.float32) -> np.ndarray:
        """An array.

        Parameters
        ----------
        name : str
        shape : int
            What it must have; nothing for a single number, which the file keeps as one of shape [1].
        dtype : type
            What it must be.

        Raises
        ------
        IntegrityError
            It is not there, of another shape or type, or holds what is no number.
        """
        wanted = shape or (1,)
        if self.shape(name) != wanted or self._left[name].dtype != dtype or 0 in wanted:
            found = self._left[name]
            raise IntegrityError(f"{WEIGHTS_FILE}: {name} is {found.dtype}{list(found.shape)}", DAMAGED)
        array = self._left.pop(name)
        if not np.isfinite(array).all():
            raise IntegrityError(f"{WEIGHTS_FILE}: {name} holds what is no number", DAMAGED)
        return array

    def take_number(self, name: str, dtype: type[np.generic] = np.float32) -> float:
        """A single number; see `take`."""
        return float(self.take(name, dtype=dtype)[0])

    def end(self) -> None:
        """Every array was taken; `IntegrityError` where one is left."""
        if self._left:
            raise IntegrityError(f"{WEIGHTS_FILE} holds more than a network of its kind: {min(self._left)}", DAMAGED)
