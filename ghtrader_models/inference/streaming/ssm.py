"""Steps a stack of diagonal state-space layers: each channel carries a few complex numbers from row to row.

The network is `families.networks.ssm`'s, and a layer looks back as many rows as its file says. Where these are the rows
of a training window, a network of one layer says of a row what it says of the window that ends there: what was trained
is what is asked. A row that leaves a layer's memory is taken out of its states again, by the power of the pole that it
has come to. Without a bound a layer remembers its whole day, more than any window it was trained on held. States are
float64: what rounding leaves in them fades as everything else does.
"""

from __future__ import annotations

import math

import numpy as np

from ghtrader_base.errors import IntegrityError
from ghtrader_base.numba_cache import njit
from ghtrader_models.inference.forest import DAMAGED, N_CLASSES
from ghtrader_models.inference.streaming.layers import add_product, copy_to, normalise, probabilities
from ghtrader_models.inference.streaming.stepped_network import (
    MAX_LENGTH,
    State,
    SteppedNetwork,
    flat,
    take_normalisation,
)
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE, NamedArrays


@njit(cache=True, error_model="numpy")
def _turn(
    poles: np.ndarray, at: int, carried: np.ndarray, state_at: int, held: np.ndarray, given: int, gone: int,
    states: int, width: int, sums: np.ndarray,
) -> None:  # fmt: skip
    """Take ``held[given:]`` into the states of a layer and ``held[gone:]`` out, and add what they say to ``sums``.

    Unsigned as in `layers.add_product`.
    """
    wide, size = np.uint64(width), np.uint64(states) * np.uint64(width)
    x, left = np.uint64(given), np.uint64(gone)
    for n in range(np.uint64(states)):
        real, imag = np.uint64(state_at) + n * wide, np.uint64(state_at) + size + n * wide
        a = np.uint64(at) + n * wide
        b, c, d = a + size, a + size + size, a + size + size + size
        e, f = d + size, d + size + size
        for h in range(wide):
            was, turned = carried[real + h], carried[imag + h]
            now = poles[a + h] * was - poles[b + h] * turned + held[x + h] - poles[e + h] * held[left + h]
            turned = poles[a + h] * turned + poles[b + h] * was - poles[f + h] * held[left + h]
            carried[real + h], carried[imag + h] = now, turned
            sums[h] += poles[c + h] * now - poles[d + h] * turned


@njit(cache=True, error_model="numpy")
def _run(
    rows: np.ndarray, weights: np.ndarray, poles: np.ndarray, width: int, states: int, layers: int, memory: int,
    carried: np.ndarray, held: np.ndarray, taken: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Take rows float32[n, F] -> out float64[n, 3].

    `poles` has of each layer the real and imaginary parts of its poles, of its gains and of its poles to the power of
    `memory`, [states, width] each, and `carried` those of its states. `held` is room for a row on its way (normalised
    factors, x, its norm, both halves of the mixture), and then has of each layer the last `memory` rows that it took,
    of which `taken[0]` counts.
    """
    factors = rows.shape[1]
    size = states * width
    x, normed, mixed, past = factors, factors + width, factors + 2 * width, factors + 4 * width
    sums = np.empty(width)
    for row in range(rows.shape[0]):
        slot = taken[0] % memory
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
            gone = past + (layer * memory + slot) * width
            _turn(poles, 6 * layer * size, carried, 2 * layer * size, held, normed, gone, states, width, sums)
            for h in range(width):
                held[gone + h] = held[normed + h]
            for h in range(width):
                held[normed + h] = 0.5 * sums[h] * (1.0 + math.erf(sums[h] * math.sqrt(0.5)))
            copy_to(weights, at, 2 * width, held, mixed)
            at += 2 * width
            add_product(held, normed, width, weights, at, 2 * width, held, mixed)
            at += 2 * width * width
            for h in range(width):
                held[x + h] += held[mixed + h] / (1.0 + math.exp(-np.float64(held[mixed + width + h])))
        probabilities(held, x, width, weights, at, out, row)
        taken[0] += 1


class SteppedSSM(SteppedNetwork):
    """A stack of diagonal state-space layers, read from its file.

    The file holds mean and scale float32[F], clip and epsilon float32[1], length and memory int64[1] (rows that a layer
    looks back, the row itself counted; 0 for the whole day); ``project`` float32[F, H] and its bias; of layer i
    ``layers.i.norm``, ``.norm_bias`` and ``.through`` float32[H], ``.pole_real``, ``.pole_imag``, ``.gain_real`` and
    ``.gain_imag`` float64[N, H] (what a state is multiplied by from row to row, and what it adds to the output),
    ``.mix`` float32[H, 2H] and its bias; ``head`` float32[H, 3] and ``head_bias`` float32[3].

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
        memory = int(arrays.take("memory", dtype=np.int64)[0])
        if not 0 <= memory <= MAX_LENGTH:
            raise IntegrityError(f"{WEIGHTS_FILE} looks back {memory} rows", DAMAGED)
        self._memory = max(memory, 1)
        parts.append(arrays.take("epsilon"))
        if not parts[-1][0] > 0:
            raise IntegrityError(f"{WEIGHTS_FILE}: epsilon is not above 0", DAMAGED)
        parts += [arrays.take("project_bias", self._width), arrays.take("project", self.n_features, self._width)]
        poles: list[np.ndarray] = []
        while f"layers.{self._layers}.norm" in arrays:
            name = f"layers.{self._layers}"
            poles += self._take_poles(arrays, name, memory)
            parts += [arrays.take(f"{name}.{part}", self._width) for part in ("norm", "norm_bias", "through")]
            parts += [
                arrays.take(f"{name}.mix_bias", 2 * self._width),
                arrays.take(f"{name}.mix", self._width, 2 * self._width),
            ]
            self._layers += 1
        parts += [arrays.take("head", self._width, N_CLASSES), arrays.take("head_bias", N_CLASSES)]
        arrays.end()
        self._weights, self._poles = flat(parts), flat(poles)
        self._fresh = self._before_the_day(self._layers * (memory - 1) + 1 if memory else 0)

    def _take_poles(self, arrays: NamedArrays, name: str, memory: int) -> list[np.ndarray]:
        kinds = ("pole_real", "pole_imag", "gain_real", "gain_imag")
        parts = [arrays.take(f"{name}.{kind}", self._states, self._width, dtype=np.float64) for kind in kinds]
        if not (np.hypot(parts[0], parts[1]) < 1).all():
            raise IntegrityError(f"{WEIGHTS_FILE}: a state of {name} would grow without bound", DAMAGED)
        gone = (parts[0] + 1j * parts[1]) ** memory * (1.0 if memory else 0.0)
        return [*parts, gone.real, gone.imag]

    def _before_the_day(self, missing: int) -> State:
        """The state that missing rows leave, as many as the network sees, as the padded windows have them."""
        carried = np.zeros(2 * self._layers * self._states * self._width)
        room = self.n_features + 4 * self._width + self._layers * self._memory * self._width
        state = (carried, np.zeros(room, np.float32), np.zeros(1, np.int64))
        self.step(state, np.full((missing, self.n_features), np.nan, np.float32), np.empty((missing, N_CLASSES)))
        return state

    def fresh_state(self) -> State:
        """As `SteppedNetwork.fresh_state`."""
        return tuple(part.copy() for part in self._fresh)

    def step(self, state: State, rows: np.ndarray, out: np.ndarray) -> None:
        """As `SteppedNetwork.step`."""
        carried, held, taken = state
        shape = (self._width, self._states, self._layers, self._memory)
        _run(rows, self._weights, self._poles, *shape, carried, held, taken, out)
