"""What a state that is carried is worth to a network that was trained on windows that begin with nothing.

A hidden variable is a decaying sum of a factor, over about 10 rows or over about 300, and says how prices move. Printed
(`pytest -s`) are gains of log-loss over the prior in nats on a day that was not seen: of the true probabilities; of the
window form, which begins anew at each window's first row; of the form that a bundle is scored and traded in, whose
layers look back a window's rows; and of the same weights with a memory of the whole day. With one layer the form in use
is the window form; a deeper network loses some of its gain in either form that is carried.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

from ghtrader_models.datasets.samples import Samples
from ghtrader_models.evaluation.metrics import class_prior, log_loss
from ghtrader_models.families.networks.ssm import SSM
from ghtrader_models.families.stepped_export import ssm_arrays
from ghtrader_models.families.window_config import WindowConfig
from ghtrader_models.families.window_family import fit_windows
from ghtrader_models.inference.onnx_windows import WindowNetwork
from ghtrader_models.inference.predictors import stepped_network
from ghtrader_models.inference.streaming.weights_file import write_arrays

pytestmark = pytest.mark.timeout(900)
LENGTH, ROWS, DAYS, F = 100, 3_000, 3, 4
CONFIG = WindowConfig(length=LENGTH, max_windows=5_000, max_epochs=5, patience=5, learning_rate=4e-3)


def day_of_memory(memory: float, seed: int) -> tuple[Samples, np.ndarray]:
    """`DAYS` days whose labels follow a sum that decays over `memory` rows, and the true probabilities."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(DAYS * ROWS, F)).astype(np.float32)
    keep, hidden = 1 - 1 / memory, np.empty(DAYS * ROWS)
    for row in range(DAYS * ROWS):
        before = hidden[row - 1] if row % ROWS else rng.normal()
        hidden[row] = keep * before + np.sqrt(1 - keep**2) * x[row, 0]
    z = np.stack([-1.5 * hidden, np.full(hidden.shape, 0.3), 1.5 * hidden], axis=1)
    truth = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = (rng.random(len(x))[:, None] > truth.cumsum(axis=1)[:, :2]).sum(axis=1).astype(np.int8)
    samples = Samples.of_rows(x, y)
    return replace(samples, day_index=np.repeat(np.arange(DAYS, dtype=np.int32), ROWS)), truth


@pytest.mark.parametrize(("memory", "layers"), [(10.0, 1), (10.0, 2), (300.0, 1)])
def test_the_form_in_use_beside_windows_and_a_memory_of_the_whole_day(memory: float, layers: int) -> None:
    samples, truth = day_of_memory(memory, seed=0)
    seen, unseen = samples.rows[samples.rows // ROWS < 2], samples.rows[2 * ROWS :]
    model = fit_windows(
        "ssm", lambda _, factors: SSM(factors, width=32, states=64, layers=layers, dropout=0.05),
        replace(samples, rows=seen), CONFIG, seed=1, arrays_of=ssm_arrays,
    )  # fmt: skip
    asked = replace(samples, rows=unseen)
    whole_day = stepped_network("ssm", write_arrays(load(model._stepped) | {"memory": np.zeros(1, np.int64)}))
    forms = {
        "true": truth[unseen],
        "window": WindowNetwork(model._data).at_rows(samples.X, samples.day_index, unseen),
        "in use": model.predict_proba(asked),
        "whole day": whole_day.at_rows(samples.X, samples.day_index, unseen),
    }
    y = asked.labels
    nothing = log_loss(np.tile(class_prior(samples.y[seen]), (y.size, 1)), y)
    gain = {name: nothing - log_loss(p, y) for name, p in forms.items()}
    apart = {name: float(np.abs(forms[name] - forms["window"]).max()) for name in ("in use", "whole day")}
    print(f"\nmemory {memory:.0f}, {layers} layers: gain {gain}, at most apart from the window {apart}")
    if layers == 1:
        assert apart["in use"] <= 1e-5 < apart["whole day"]
    else:
        assert gain["in use"] > 0.8 * gain["window"], "its upper layers see rows that look back further than any window"
