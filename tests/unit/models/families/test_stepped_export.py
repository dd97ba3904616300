"""Networks taken out of torch to be stepped say what torch says of the window that ends at a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch

from ghtrader_base.errors import FailedError
from ghtrader_models.bundles.feature_scaler import FeatureScaler
from ghtrader_models.families.networks.ssm import SSM
from ghtrader_models.families.networks.tcn import TCN
from ghtrader_models.families.onnx_export import Normalised
from ghtrader_models.families.stepped_export import Arrays, export_stepped, ssm_arrays, tcn_arrays, what_torch_says
from ghtrader_models.inference.onnx_windows import padded_windows, softmax
from ghtrader_models.inference.predictors import stepped_network
from ghtrader_models.inference.streaming.stepped_network import SteppedNetwork

if TYPE_CHECKING:
    from torch import nn

T, F, TOLERANCE = 40, 7, 1e-5
MADE: dict[str, tuple[Callable[[], Any], Callable[[Any, int], Arrays]]] = {
    "tcn": (lambda: TCN(F, 9, channels=8, levels=3, kernel=3), tcn_arrays),
    "tcn_as_wide_as_its_input": (lambda: TCN(F, channels=F, levels=2, kernel=4), tcn_arrays),
    "ssm": (lambda: SSM(F, 9, width=8, states=16, layers=1), ssm_arrays),
}

DEEPER: dict[str, tuple[Callable[[], Any], Callable[[Any, int], Arrays]]] = {
    "ssm_of_two_layers": (lambda: SSM(F, 9, width=8, states=16, layers=2), ssm_arrays),
}


def rows_of(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(n, F)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.03] = np.nan
    rows[rng.random(rows.shape) < 0.01] = -np.inf
    return rows


def scaler() -> FeatureScaler:
    rng = np.random.default_rng(0)
    return FeatureScaler(tuple(str(i) for i in range(F)), rng.normal(size=F), rng.uniform(0.5, 2, F), 1)


def made(name: str) -> tuple[nn.Module, SteppedNetwork]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    make, arrays_of = (MADE | DEEPER)[name]
    network = make().eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.shape[-1] > 1 and not name.startswith("ssm"):
                weight.normal_(0, 0.4)  # a fresh network of small weights hardly moves
    windows = np.lib.stride_tricks.sliding_window_view(rows_of(80), T, axis=0).transpose(0, 2, 1).copy()
    kind = name.split("_")[0]
    return network, stepped_network(kind, export_stepped(kind, network, arrays_of, scaler(), T, windows))


@pytest.mark.parametrize("name", MADE)
def test_a_stepped_network_says_of_every_row_of_a_day_what_torch_says_of_the_window_that_ends_there(name: str) -> None:
    network, stepped = made(name)
    rows, day = rows_of(150), np.zeros(150, np.int32)
    windows = padded_windows(rows, day, np.arange(150), T)
    with torch.no_grad():
        expected = softmax(Normalised(network, scaler())(torch.from_numpy(windows)).numpy())
    assert np.ptp(expected, axis=0).min() > (0.1 if name != "ssm" else 0.01)
    np.testing.assert_allclose(stepped.day(rows), expected, atol=TOLERANCE, rtol=0)


def test_layers_of_a_state_space_model_each_look_back_a_windows_rows() -> None:
    network, stepped = made("ssm_of_two_layers")
    rows, asked = rows_of(300), np.array([0, 1, T - 1, T, 2 * T, 150, 299])
    expected = [what_torch_says(network, scaler(), T, rows[None, : row + 1])[0] for row in asked]
    found = stepped.day(rows)
    np.testing.assert_allclose(found[asked], expected, atol=TOLERANCE, rtol=0)
    other = rows.copy()
    other[: 299 - 2 * (T - 1)] = 3.0
    np.testing.assert_allclose(stepped.day(other)[-1], found[-1], atol=1e-9, rtol=0)
    assert np.abs(stepped.day(other)[-2] - found[-2]).max() > 1e-9


def test_a_form_that_says_something_else_is_not_exported() -> None:
    network = TCN(F, channels=8, levels=2, kernel=2).eval()

    def without_its_bias(given: TCN, length: int) -> Arrays:
        arrays = tcn_arrays(given, length)
        arrays["head_bias"] = arrays["head_bias"] + np.array([0.1, 0, 0], np.float32)
        return arrays

    with pytest.raises(FailedError, match="differs"):
        export_stepped("tcn", network, without_its_bias, scaler(), T, rows_of(T)[None])
