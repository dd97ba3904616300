"""Exports a trained network with its normalisation as one ONNX graph, and checks that it says the same.

What belongs here: from torch to bytes. Nothing of this machine stays in the graph: the same network gives the same
bytes.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from ghtrader_base.errors import FailedError
from ghtrader_models.bundles.feature_scaler import FeatureScaler
from ghtrader_models.inference.onnx_windows import WindowNetwork, softmax

TOLERANCE = 1e-5
_OPSET = 20


class Normalised(nn.Module):
    """A network of raw rows: what is NaN or infinite is taken for the mean."""

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, network: nn.Module, scaler: FeatureScaler) -> None:
        super().__init__()
        self.network, self.clip = network, float(scaler.clip)
        self.register_buffer("mean", torch.from_numpy(scaler.mean.astype(np.float32)))
        self.register_buffer("scale", torch.from_numpy(scaler.scale))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """float32[B, T, F] -> logits float32[B, 3]."""
        z = torch.clamp((rows - self.mean) * self.scale, -self.clip, self.clip)
        z = torch.where(rows.abs() < float("inf"), z, torch.zeros_like(z))
        logits: torch.Tensor = self.network(z)
        return logits[:, :3]


def export(network: nn.Module, scaler: FeatureScaler, length: int, windows: np.ndarray) -> bytes:
    """The graph.

    Parameters
    ----------
    network : Module
        Trained, of normalised windows.
    scaler : FeatureScaler
        Of its training span.
    length : int
        Rows of a window.
    windows : float32[k, length, F]
        Raw windows to compare both on, by one and together.

    Raises
    ------
    FailedError
        The graph does not say what the network says.
    """
    whole = _frozen(network, scaler, length)
    given = torch.from_numpy(windows)
    for noisy in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            whole,
            (given[:2],),
            dynamo=True,
            input_names=["rows"],
            output_names=["logits"],
            dynamic_shapes={"rows": {0: torch.export.Dim("batch")}},
            opset_version=_OPSET,
            external_data=False,
            verbose=False,
        )
        expected = softmax(whole(given).numpy())
    assert program is not None
    data = _bare(program)
    exported = WindowNetwork(data)
    alone = np.concatenate([exported.probabilities(windows[i : i + 1]) for i in range(min(len(windows), 8))])
    worst = max(
        float(np.abs(exported.probabilities(windows) - expected).max()),
        float(np.abs(alone - expected[: len(alone)]).max()),
    )
    if not worst <= TOLERANCE:
        raise FailedError(
            f"the exported graph differs from the network by {worst:.1e}", "report it with the family and its settings"
        )
    return data


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """What torch computes in the block takes so many threads; more of them turn idly where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def probabilities_of(network: nn.Module, scaler: FeatureScaler, length: int) -> Callable[[np.ndarray], np.ndarray]:
    """What the graph would say, of the network itself: raw windows float32[k, length, F] -> float64[k, 3]."""
    whole = _frozen(network, scaler, length)

    def probabilities(windows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return softmax(whole(torch.from_numpy(windows)).numpy())

    return probabilities


def _frozen(network: nn.Module, scaler: FeatureScaler, length: int) -> Normalised:
    """A copy in the form that is exported: what training computes anew at each step stands in it as numbers."""
    whole = Normalised(copy.deepcopy(network), scaler).eval()
    for part in whole.modules():
        if parametrize.is_parametrized(part):
            _store_weights(part)
    freeze = getattr(whole.network, "freeze", None)
    if callable(freeze):
        freeze(length)
    return whole


def _store_weights(part: nn.Module) -> None:
    """Make what a parametrization computes a plain parameter of this copy.

    torch's own `remove_parametrizations` takes the property off the class, which the copy shares with the network.
    """
    values = {name: getattr(part, name).detach() for name in part.parametrizations}  # type: ignore[union-attr]
    part.__class__ = type(part).__bases__[0]
    del part.parametrizations
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value))


def _bare(program: torch.onnx.ONNXProgram) -> bytes:
    """Bytes without the places in the source that torch notes on every node."""
    model = program.model_proto
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    graph = model.graph
    for each in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        each.ClearField("doc_string")
        each.ClearField("metadata_props")
    return bytes(model.SerializeToString(deterministic=True))
