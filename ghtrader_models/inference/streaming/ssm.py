"""Steps a stack of diagonal state-space layers: each channel carries a few complex numbers from row to row.

The network is `families.networks.ssm`'s. A day begins with all of them at 0 and they are carried to its end, so that a
row knows all of its day that came before; the windows it was trained on begin with nothing at their first row. Both
are the same over the first `length` rows of a day and differ after them, which is why a model of this kind is scored in
this form wherever it is asked. The state is float64: after a day of 100,000 rows it is as exact as after one.
"""

from __future__ import annotations

import math

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_base.numba_cache import njit
from ghtrader_models.inference.forest import DAMAGED, N_CLASSES
from ghtrader_models.inference.streaming.layers import add_product, copy_to, normalise, probabilities
from ghtrader_models.inference.streaming.stepped_network import State, SteppedNetwork, flat, take_normalisation
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE, NamedArrays


@njit(cache=True, error_model="numpy")
def _turn(
    poles: np.ndarray, at: int, carried: np.ndarray, state_at: int, given: np.ndarray, given_at: int, states: int,
    width: int, sums: np.ndarray,
) -> None:  # fmt: skip
    """Take a row into the states of a layer, and add what they say to ``sums``; unsigned as in `layers.add_product`."""
    wide, size = np.uint64(width), np.uint64(states) * np.uint64(width)
    x = np.uint64(given_at)
    for n in range(np.uint64(states)):
        real, imag = np.uint64(state_at) + n * wide, np.uint64(state_at) + size + n * wide
        a = np.uint64(at) + n * wide
        b, c, d = a + size, a + size + size, a + size + size + size
        for h in range(wide):
            was = carried[real + h]
            now = poles[a + h] * was - poles[b + h] * carried[imag + h] + given[x + h]
            turned = poles[a + h] * carried[imag + h] + poles[b + h] * was
            carried[real + h], carried[imag + h] = now, turned
            sums[h] += poles[c + h] * now - poles[d + h] * turned


@njit(cache=True, error_model="numpy")
def _run(
    rows: np.ndarray, weights: np.ndarray, poles: np.ndarray, width: int, states: int, layers: int,
    carried: np.ndarray, held: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Take rows float32[n, F] -> out float64[n, 3].

    `poles` has of each layer the real and imaginary parts of its poles and of its gains, [states, width] each, and
    `carried` those of its states; `held` is room for a row on its way: normalised factors, x, its norm, both halves of
    the mixture.
    """
    factors = rows.shape[1]
    size = states * width
    x, normed, mixed = factors, factors + width, factors + 2 * width
    sums = np.empty(width)
    for row in range(rows.shape[0]):
        normalise(rows, row, weights, held, 0)
        at = 2 * factors + 1
        epsilon = np.float64(weights[at])
        at += 1
        copy_to(weights, at, width, held, x)
        add_product(held, 0, factors, weights, at + width, width, held, x)
        at += width + factors * width
        for layer in range(layers):
            mean, square = 0.0, 0.0
            for h in range(width):
                mean += held[x + h]
            mean /= width
            for h in range(width):
                square += (held[x + h] - mean) ** 2
            scale = 1.0 / math.sqrt(square / width + epsilon)
            for h in range(width):
                held[normed + h] = (held[x + h] - mean) * scale * weights[at + h] + weights[at + width + h]
            at += 2 * width
            for h in range(width):
                sums[h] = weights[at + h] * held[normed + h]
            at += width
            _turn(poles, 4 * layer * size, carried, 2 * layer * size, held, normed, states, width, sums)
            for h in range(width):
                held[normed + h] = 0.5 * sums[h] * (1.0 + math.erf(sums[h] * math.sqrt(0.5)))
            copy_to(weights, at, 2 * width, held, mixed)
            at += 2 * width
            add_product(held, normed, width, weights, at, 2 * width, held, mixed)
            at += 2 * width * width
            for h in range(width):
                held[x + h] += held[mixed + h] / (1.0 + math.exp(-np.float64(held[mixed + width + h])))
        probabilities(held, x, width, weights, at, out, row)


class SteppedSSM(SteppedNetwork):
    """A stack of diagonal state-space layers, read from its file.

    The file holds mean and scale float32[F], clip and epsilon float32[1], length int64[1]; ``project`` float32[F, H]
    and its bias; of layer i ``layers.i.norm``, ``.norm_bias`` and ``.through`` float32[H], ``.pole_real``,
    ``.pole_imag``, ``.gain_real`` and ``.gain_imag`` float64[N, H] (what a state is multiplied by from row to row, and
    what it adds to the output), ``.mix`` float32[H, 2H] and its bias; ``head`` float32[H, 3] and ``head_bias``
    float32[3].

    Raises
    ------
    IntegrityError
        The file is none, or a state would grow without bound.
    """

    def __init__(self, data: bytes) -> None:
        arrays = NamedArrays(data)
        self.length, self.n_features, parts = take_normalisation(arrays)
        shape, inner = arrays.shape("project"), arrays.shape("layers.0.pole_real")
        if len(shape) != 2 or len(inner) != 2:
            raise IntegrityError(f"{WEIGHTS_FILE}: project is of shape {shape}, poles of {inner}", DAMAGED)
        self._width, self._states, self._layers = shape[1], inner[0], 0
        parts.append(arrays.take("epsilon"))
        if not parts[-1][0] > 0:
            raise IntegrityError(f"{WEIGHTS_FILE}: epsilon is not above 0", DAMAGED)
        parts += [arrays.take("project_bias", self._width), arrays.take("project", self.n_features, self._width)]
        poles: list[np.ndarray] = []
        while f"layers.{self._layers}.norm" in arrays:
            name = f"layers.{self._layers}"
            poles += self._take_poles(arrays, name)
            parts += [arrays.take(f"{name}.{part}", self._width) for part in ("norm", "norm_bias", "through")]
            parts += [
                arrays.take(f"{name}.mix_bias", 2 * self._width),
                arrays.take(f"{name}.mix", self._width, 2 * self._width),
            ]
            self._layers += 1
        parts += [arrays.take("head", self._width, N_CLASSES), arrays.take("head_bias", N_CLASSES)]
        arrays.end()
        self._weights, self._poles = flat(parts), flat(poles)

    def _take_poles(self, arrays: NamedArrays, name: str) -> list[np.ndarray]:
        kinds = ("pole_real", "pole_imag", "gain_real", "gain_imag")
        parts = [arrays.take(f"{name}.{kind}", self._states, self._width, dtype=np.float64) for kind in kinds]
        if not (np.hypot(parts[0], parts[1]) < 1).all():
            raise IntegrityError(f"{WEIGHTS_FILE}: a state of {name} would grow without bound", DAMAGED)
        return parts

    def fresh_state(self) -> State:
        """As `SteppedNetwork.fresh_state`."""
        carried = np.zeros(2 * self._layers * self._states * self._width)
        return carried, np.zeros(self.n_features + 4 * self._width, np.float32)

    def step(self, state: State, rows: np.ndarray, out: np.ndarray) -> None:
        """As `SteppedNetwork.step`."""
        carried, held = state
        _run(rows, self._weights, self._poles, self._width, self._states, self._layers, carried, held, out)
