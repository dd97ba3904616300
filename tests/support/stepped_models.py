"""Makes the file of a network that is stepped, of random weights and without torch, and a bundle of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ghtrader_models.bundles.bundle import write_bundle
from ghtrader_models.bundles.provenance import BundleContent
from ghtrader_models.inference.streaming.weights_file import WEIGHTS_FILE, write_arrays
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.policy import PolicyParams
from tests.support.runtime_kit import tiny_factor_set

Arrays = dict[str, np.ndarray]


def _normalisation(rng: np.random.Generator, factors: int, length: int) -> Arrays:
    return {
        "mean": rng.normal(size=factors).astype(np.float32),
        "scale": rng.uniform(0.5, 2, factors).astype(np.float32),
        "clip": np.array([10], np.float32),
        "length": np.array([length], np.int64),
    }


def tcn(
    factors: int = 5, *, channels: int = 6, levels: int = 3, taps: int = 3, length: int = 40, seed: int = 0
) -> Arrays:
    """Arrays of a temporal convolutional network; it sees 29 rows by default."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1]) if len(shape) > 1 else 4), shape).astype(np.float32)

    arrays = _normalisation(rng, factors, length) | {"head": draw(channels, 3), "head_bias": draw(3)}
    for level in range(levels):
        inputs = channels if level else factors
        name = f"blocks.{level}"
        arrays |= {f"{name}.first": draw(taps, inputs, channels), f"{name}.first_bias": draw(channels)}
        arrays |= {f"{name}.second": draw(taps, channels, channels), f"{name}.second_bias": draw(channels)}
        if inputs != channels:
            arrays |= {f"{name}.around": draw(inputs, channels), f"{name}.around_bias": draw(channels)}
    return arrays


def ssm(
    factors: int = 5,
    *,
    width: int = 6,
    states: int = 4,
    layers: int = 2,
    length: int = 40,
    memory: int = 40,
    seed: int = 0,
) -> Arrays:
    """Arrays of a stack of diagonal state-space layers."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.5, shape).astype(np.float32)

    arrays = _normalisation(rng, factors, length) | {"head": draw(width, 3), "head_bias": draw(3)}
    arrays |= {"epsilon": np.array([1e-5], np.float32), "memory": np.array([memory], np.int64)}
    arrays |= {"project": draw(factors, width), "project_bias": draw(width)}
    for layer in range(layers):
        name = f"layers.{layer}"
        pole = rng.uniform(0.8, 0.999, (states, width)) * np.exp(1j * rng.uniform(0, 3, (states, width)))
        gain = rng.normal(size=(states, width)) + 1j * rng.normal(size=(states, width))
        arrays |= {f"{name}.pole_real": pole.real.copy(), f"{name}.pole_imag": pole.imag.copy()}
        arrays |= {f"{name}.gain_real": gain.real.copy(), f"{name}.gain_imag": gain.imag.copy()}
        arrays |= {f"{name}.norm": draw(width) + 1, f"{name}.norm_bias": draw(width), f"{name}.through": draw(width)}
        arrays |= {f"{name}.mix": draw(width, 2 * width), f"{name}.mix_bias": draw(2 * width)}
    return arrays


@dataclass
class SteppedModel:
    """A model of random weights, as a bundle takes it."""

    kind: str
    arrays: Arrays

    @property
    def n_features(self) -> int:
        """Factors of a row."""
        return self.arrays["mean"].size

    def save(self, directory: Path) -> None:
        """Write its file."""
        (directory / WEIGHTS_FILE).write_bytes(write_arrays(self.arrays))


def write_stepped_bundle(models_dir: Path, kind: str, *, price_tick: float = 10.0) -> Path:
    """A bundle of copper on the tiny factor set that trades often."""
    factors = tiny_factor_set()
    model = SteppedModel(kind, {"tcn": tcn, "ssm": ssm}[kind](len(factors)))
    model.arrays["mean"] = np.array([0, 20, 0], np.float32)  # the second is the spread, of two price ticks here
    content = BundleContent(
        symbol="KQ.m@SHFE.cu", horizon=50, price_tick=price_tick, levels=5, days=(), seed=0, config={}
    )
    policy = PolicyParams(enter=0.3, leave=0.05)
    return write_bundle(models_dir, model, factors.spec(), LabelSpec((50,)), policy, content)
