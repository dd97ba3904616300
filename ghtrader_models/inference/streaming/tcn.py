"""Steps a temporal convolutional network: each dilated layer keeps the rows it looks back at in a ring.

The network is `families.networks.tcn`'s. Its receptive field is at most the window, so that a row says the same as the
window that ends there, but for rounding; rows before the day count as missing ones, as the padded windows have them.
"""

from __future__ import annotations

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_base.numba_cache import njit
from ghtrader_models.inference.forest import DAMAGED, N_CLASSES
from ghtrader_models.inference.streaming.layers import add_product, copy_to, normalise, probabilities, rectify
from ghtrader_models.inference.streaming.stepped_network import (
    MAX_LENGTH,
    State,
    SteppedNetwork,
    flat,
    take_normalisation,
)
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE, NamedArrays

_MAX_LEVELS = 32


def receptive_field(kernel: int, levels: int) -> int:
    """Rows that the output at a row depends on, itself included."""
    return int(1 + 2 * (kernel - 1) * (2**levels - 1))


@njit(cache=True, error_model="numpy")
def _run(
    rows: np.ndarray, weights: np.ndarray, channels: int, levels: int, taps: int, rings: np.ndarray,
    taken: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Take rows float32[n, F] -> out float64[n, 3]; `taken[0]` counts the rows that the rings have had.

    A level has two rings, of its inputs and of what lies between its two convolutions, each of a power of two of rows;
    behind the rings lies the last level's output.
    """
    factors = rows.shape[1]
    for row in range(rows.shape[0]):
        now = taken[0]
        at, ring, inputs = 2 * factors + 1, 0, factors
        for level in range(levels):
            dilation = 1 << level
            size = 1
            while size <= (taps - 1) * dilation:
                size *= 2
            last = size - 1
            x = ring + (now & last) * inputs
            if level == 0:
                normalise(rows, row, weights, rings, x)
            second = ring + size * inputs
            between = second + (now & last) * channels
            copy_to(weights, at, channels, rings, between)
            at += channels
            for lag in range(taps):
                back = ring + ((now - lag * dilation) & last) * inputs
                add_product(rings, back, inputs, weights, at, channels, rings, between)
                at += inputs * channels
            rectify(rings, between, channels)
            ring = second + size * channels
            next_size = 1
            while next_size <= (taps - 1) * dilation * 2:
                next_size *= 2
            y = ring
            if level + 1 < levels:
                y += (now & (next_size - 1)) * channels
            copy_to(weights, at, channels, rings, y)
            at += channels
            for lag in range(taps):
                back = second + ((now - lag * dilation) & last) * channels
                add_product(rings, back, channels, weights, at, channels, rings, y)
                at += channels * channels
            rectify(rings, y, channels)
            if inputs == channels:
                for o in range(channels):
                    rings[y + o] += rings[x + o]
            else:
                for o in range(channels):
                    rings[y + o] += weights[at + o]
                at += channels
                add_product(rings, x, inputs, weights, at, channels, rings, y)
                at += inputs * channels
            rectify(rings, y, channels)
            inputs = channels
        probabilities(rings, ring, channels, weights, at, out, row)
        taken[0] = now + 1


class SteppedTCN(SteppedNetwork):
    """A temporal convolutional network, read from its file.

    The file holds mean and scale float32[F], clip float32[1], length int64[1]; of block i ``blocks.i.first``
    float32[K, inputs, C] (the tap of the row itself first) and ``blocks.i.first_bias`` float32[C], the same of
    ``second``, and ``around`` float32[inputs, C] with its bias where inputs and C differ; ``head`` float32[C, 3] and
    ``head_bias`` float32[3].

    Raises
    ------
    IntegrityError
        The file is none, or the network sees further back than its window.
    """

    def __init__(self, data: bytes) -> None:
        arrays = NamedArrays(data)
        self.length, self.n_features, parts = take_normalisation(arrays)
        shape = arrays.shape("blocks.0.first")
        if len(shape) != 3:
            raise IntegrityError(f"{WEIGHTS_FILE}: blocks.0.first is of shape {shape}", DAMAGED)
        self._taps, _, self._channels = shape
        self._levels = 0
        inputs = self.n_features
        while f"blocks.{self._levels}.first" in arrays:
            parts += self._take_block(arrays, f"blocks.{self._levels}", inputs)
            inputs, self._levels = self._channels, self._levels + 1
        parts += [arrays.take("head", self._channels, N_CLASSES), arrays.take("head_bias", N_CLASSES)]
        arrays.end()
        seen = receptive_field(self._taps, self._levels) if self._levels <= _MAX_LEVELS else MAX_LENGTH + 1
        if seen > self.length:
            raise IntegrityError(
                f"{WEIGHTS_FILE} has {self._levels} levels of {self._taps} taps, which see further than {self.length}",
                DAMAGED,
            )
        self._weights = flat(parts)
        self._fresh = self._before_the_day(seen)

    def _take_block(self, arrays: NamedArrays, name: str, inputs: int) -> list[np.ndarray]:
        taps, channels = self._taps, self._channels
        parts = [
            arrays.take(f"{name}.first_bias", channels), arrays.take(f"{name}.first", taps, inputs, channels),
            arrays.take(f"{name}.second_bias", channels), arrays.take(f"{name}.second", taps, channels, channels),
        ]  # fmt: skip
        if inputs != channels:
            parts += [arrays.take(f"{name}.around_bias", channels), arrays.take(f"{name}.around", inputs, channels)]
        return parts

    def _before_the_day(self, seen: int) -> State:
        """The state that missing rows leave: after as many as the network sees, one more changes nothing."""
        size, inputs = self._channels, self.n_features
        for level in range(self._levels):
            rows = 1 << ((self._taps - 1) << level).bit_length()
            size += rows * (inputs + self._channels)
            inputs = self._channels
        state = (np.zeros(size, np.float32), np.zeros(1, np.int64))
        self.step(state, np.full((seen, self.n_features), np.nan, np.float32), np.empty((seen, N_CLASSES)))
        return state

    def fresh_state(self) -> State:
        """As `SteppedNetwork.fresh_state`."""
        return tuple(part.copy() for part in self._fresh)

    def step(self, state: State, rows: np.ndarray, out: np.ndarray) -> None:
        """As `SteppedNetwork.step`."""
        rings, taken = state
        _run(rows, self._weights, self._channels, self._levels, self._taps, rings, taken, out)
