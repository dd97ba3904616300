"""Takes a trained network's weights out for the form that is stepped row by row, and checks that it says the same.

What belongs here: from torch to the arrays that `inference.streaming` names. A network in this form has no torch in it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from ghtrader_base.errors import FailedError
from ghtrader_models.bundles.feature_scaler import FeatureScaler
from ghtrader_models.families.networks.ssm import SSM, S4DLayer
from ghtrader_models.families.networks.tcn import TCN, CausalConvolution, ResidualBlock
from ghtrader_models.families.onnx_export import TOLERANCE, Normalised
from ghtrader_models.inference.forest import N_CLASSES
from ghtrader_models.inference.onnx_windows import softmax
from ghtrader_models.inference.predictors import stepped_network
from ghtrader_models.inference.streaming.weights_file import write_arrays

Arrays = dict[str, np.ndarray]
ArraysOf = Callable[[Any, int], Arrays]
"""A network of a kind and the rows of its windows -> its weights by the names of `inference.streaming`."""


def export_stepped(
    kind: str, network: nn.Module, arrays_of: ArraysOf, scaler: FeatureScaler, length: int, windows: np.ndarray
) -> bytes:
    """The file of the form that is stepped.

    Parameters
    ----------
    kind : str
        A key of `inference.predictors.STEPPED`.
    network : Module
        Trained, of normalised windows, in evaluation mode.
    arrays_of : callable
        `tcn_arrays`, `ssm_arrays`.
    scaler : FeatureScaler
        Of its training span.
    length : int
        Rows of a window.
    windows : float32[k, length, F]
        Raw windows to compare both on, each taken for the beginning of a day.

    Raises
    ------
    FailedError
        The stepped form does not say what the network says.
    """
    data = write_arrays(
        {
            **arrays_of(network, length),
            "mean": scaler.mean.astype(np.float32),
            "scale": scaler.scale,
            "clip": np.array([scaler.clip], np.float32),
            "length": np.array([length], np.int64),
        }
    )
    expected = what_torch_says(network, scaler, length, windows)
    worst = float(np.abs(stepped_network(kind, data).of_windows(windows) - expected).max())
    if not worst <= TOLERANCE:
        raise FailedError(
            f"the stepped network differs from the trained one by {worst:.1e}", "report it with the family's settings"
        )
    return data


def what_torch_says(network: nn.Module, scaler: FeatureScaler, length: int, days: np.ndarray) -> np.ndarray:
    """float64[k, 3] of the last rows of days float32[k, n, F], each layer looking back `length` rows.

    What a network of several layers sees reaches further back than one window: rows that are missing stand before.
    """
    whole = copy.deepcopy(network)
    if isinstance(whole, SSM):
        whole.freeze(length)
        before = np.full((len(days), len(whole.body.layers) * length, days.shape[2]), np.nan, np.float32)
        days = np.concatenate([before, days], axis=1)
    with torch.no_grad():
        return softmax(Normalised(whole, scaler)(torch.from_numpy(days)).numpy())


def tcn_arrays(network: TCN, length: int) -> Arrays:
    """Weights of a temporal convolutional network; see `inference.streaming.tcn.SteppedTCN`."""
    arrays = _linear("head", network.head, N_CLASSES)
    for index, block in enumerate(network.body.blocks):
        assert isinstance(block, ResidualBlock)
        name = f"blocks.{index}"
        for part, layer in (("first", block.inner[0]), ("second", block.inner[3])):
            assert isinstance(layer, CausalConvolution)
            weight = _array(layer.convolution.weight).transpose(2, 1, 0)[::-1]
            arrays |= {f"{name}.{part}": weight, f"{name}.{part}_bias": _array(layer.convolution.bias)}
        if isinstance(block.around, nn.Conv1d):
            arrays |= _linear(f"{name}.around", block.around)
    return arrays


def ssm_arrays(network: SSM, length: int) -> Arrays:
    """Weights of a stack of diagonal state-space layers; see `inference.streaming.ssm.SteppedSSM`.

    A layer looks back as many rows as a training window has: it never learned what more of them would do to it.
    Poles are made discrete in float64: a rounded one would turn away from the kernel row by row.
    """
    arrays = _linear("head", network.head, N_CLASSES) | _linear("project", network.project)
    arrays["memory"] = np.array([length], np.int64)
    for index, (layer, norm) in enumerate(zip(network.body.layers, network.body.norms, strict=True)):
        assert isinstance(layer, S4DLayer) and isinstance(norm, nn.LayerNorm)
        name = f"layers.{index}"
        rate = -np.exp(_array(layer.log_decay, np.float64)) + 1j * _array(layer.frequency, np.float64)
        pole = np.exp(rate * np.exp(_array(layer.log_step, np.float64))[:, None])
        output = _array(layer.output, np.float64)
        gain = 2 * (output[..., 0] + 1j * output[..., 1]) * (pole - 1) / rate
        arrays |= {
            f"{name}.{part}": np.ascontiguousarray(values.T)
            for part, values in (
                ("pole_real", pole.real), ("pole_imag", pole.imag), ("gain_real", gain.real), ("gain_imag", gain.imag),
            )
        }  # fmt: skip
        arrays |= {f"{name}.norm": _array(norm.weight), f"{name}.norm_bias": _array(norm.bias)}
        arrays |= {f"{name}.through": _array(layer.through)}
        arrays |= _linear(f"{name}.mix", layer.mix[2])
        arrays["epsilon"] = np.array([norm.eps], np.float32)
    return arrays


def _linear(name: str, layer: Any, outputs: int | None = None) -> Arrays:
    """Weight [inputs, outputs] and bias of a linear layer, or of a convolution of one tap."""
    weight, bias = _array(layer.weight)[:outputs], _array(layer.bias)[:outputs]
    return {name: weight.reshape(weight.shape[0], -1).T, f"{name}_bias": bias}


def _array(tensor: Any, dtype: type[np.generic] = np.float32) -> np.ndarray:
    found: np.ndarray = tensor.detach().cpu().numpy().astype(dtype)
    return found
