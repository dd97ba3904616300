"""Heads for further horizons: they shape training, see nothing beyond its rows, and are no part of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch
from torch.nn import functional

from ghtrader_base.errors import UsageError
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.datasets.sample_windows import training_and_validation
from ghtrader_models.datasets.windows import WindowSpec
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.families.networks.heads import AuxiliaryHeads
from ghtrader_models.families.objectives import Classification
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.families.window_config import WindowConfig
from ghtrader_models.families.window_family import WindowModel
from tests.support.networks import SMALL, F, T

CONFIG = TCNConfig(length=6, levels=1, kernel=2, channels=4, max_epochs=1, batch_size=64, max_windows=300)


@pytest.fixture(scope="module")
def world(make_world: Callable[..., Any]) -> Dataset:
    """Three days with labels at 3 and 40 ticks too, none where a day has not so many left."""
    found: Dataset = make_world(days=3, rows=300)[0]
    left = 300 - 1 - found.row_in_day
    return replace(
        found, further_labels={ahead: np.where(left >= ahead, np.abs(found.y), -1).astype(np.int8) for ahead in (3, 40)}
    )


@settings(max_examples=25, deadline=None)
@given(
    stop=st.integers(200, 900), length=st.integers(1, 20), share=st.floats(0.05, 0.5), most=st.sampled_from([50, 10**6])
)
def test_no_label_that_is_learned_looks_beyond_the_training_rows(
    world: Dataset, stop: int, length: int, share: float, most: int
) -> None:
    samples = world.samples(np.flatnonzero(world.usable)[:stop])
    spec = WindowSpec(length=length, horizon=world.horizon)
    sides = training_and_validation(samples, spec, share=share, most=most, further=(3, 40))
    plain = training_and_validation(samples, spec, share=share, most=10**6)
    train, validation = sides
    assert train.further is not None and train.further.shape == (len(train), 2) and validation.further is None
    assert train.targets.shape == (len(train), 3) and validation.targets.ndim == 1
    rows, last = train.day_index * 300 + train.end, int((plain[0].day_index * 300 + plain[0].end).max())
    first_held = int(validation.day_index[0]) * 300 + int(validation.end[0])
    for column, ahead in enumerate((3, 40)):
        used = train.further[:, column] >= 0
        assert (rows[used] + ahead <= last + world.horizon).all() and (rows[used] + ahead < first_held).all()
        known = rows + ahead <= last + world.horizon
        np.testing.assert_array_equal(train.further[known, column], world.further_labels[ahead][rows[known]])


@pytest.mark.parametrize("name", SMALL)
def test_every_network_takes_further_heads_and_says_what_it_said(name: str) -> None:
    torch.manual_seed(0)
    network = SMALL[name]().train()
    whole = AuxiliaryHeads(network, 2, T, F)
    assert network.training
    whole.eval()
    x = torch.randn(3, T, F)
    with torch.no_grad():
        found, own = whole(x), network(x)
    assert found.shape == (3, own.shape[1] + 6)
    torch.testing.assert_close(found[:, : own.shape[1]], own, atol=0, rtol=0)
    whole.constrain()


def test_their_loss_counts_by_its_weight_and_not_where_there_is_no_label() -> None:
    torch.manual_seed(1)
    outputs, weights = torch.randn(4, 9), torch.ones(3)
    y = torch.tensor([[0, 1, -1], [1, -1, -1], [2, 2, 0], [0, 0, 1]])
    found = Classification(loss="log", auxiliary_weight=0.5).losses(outputs, outputs, y, weights)
    own = functional.cross_entropy(outputs[:, :3], y[:, 0], reduction="none")
    each = torch.stack(
        [
            functional.cross_entropy(outputs[:, 3 * head : 3 * head + 3], y[:, head], ignore_index=-1, reduction="none")
            for head in (1, 2)
        ]
    )
    torch.testing.assert_close(found, own + 0.5 * each.mean(dim=0))
    assert found[1] == own[1]
    plain = Classification(loss="log", auxiliary_weight=0.5).losses(outputs, outputs, y[:, 0], weights)
    torch.testing.assert_close(plain, own, atol=0, rtol=0)


def graph_form(model: WindowModel) -> Any:
    graph = onnx.load_from_string(model.files["model.onnx"]).graph
    shapes = [(each.name, tuple(each.dims)) for each in graph.initializer]
    return [(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node], shapes, len(graph.output)


@pytest.mark.verify  # three exports
def test_the_model_has_one_head_and_without_further_ones_nothing_changes(world: Dataset) -> None:
    samples = world.samples(np.flatnonzero(world.usable))
    family = get_family("tcn")

    def fit(data: Any, text: str) -> WindowModel:
        return family.fit(data, seed=2, config=replace(CONFIG, auxiliary_horizons=text))  # type: ignore[return-value]

    off, heads = fit(samples, ""), fit(samples, "40,3")
    without = fit(replace(samples, further_labels={}), "")
    assert off.files == without.files and off.learning_curve == without.learning_curve
    assert heads.files != off.files, "they shape what is learned"
    assert graph_form(heads) == graph_form(off) and graph_form(heads)[2] == 1
    sizes = [{name: len(data) for name, data in model.files.items()} for model in (heads, off)]
    assert sizes[0] == sizes[1]
    assert heads.predict_proba(samples).shape == (len(samples), 3)


def test_horizons_without_labels_are_refused_with_what_to_build(world: Dataset) -> None:
    samples = world.samples(np.flatnonzero(world.usable))
    for text, words, hint in (
        ("7,40", "auxiliary horizons 7; beside 10 all have 3, 40", "--horizons 3,7,10,40 --overwrite"),
        ("10", "horizon 10 is the model's own", "leave it out"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            get_family("tcn").fit(samples, seed=0, config=replace(CONFIG, auxiliary_horizons=text))
        assert hint in caught.value.hint
    assert world.with_labels(world.y).further_labels == {}, "labels that were shuffled have no others that tell of them"
    assert make_config(get_family("tcn"), {"auxiliary_horizons": 40}).auxiliary_horizons == "40"  # type: ignore[attr-defined]


@given(st.text("0123456789, -.x", max_size=8))
def test_any_text_is_horizons_or_refused(text: str) -> None:
    try:
        found = WindowConfig(auxiliary_horizons=text).further_horizons
    except UsageError as refused:
        assert refused.hint
        return
    assert list(found) == sorted(set(found)) and all(horizon > 0 for horizon in found)
    assert sorted(found) == sorted(int(part) for part in text.split(",") if part.strip())


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_means_nothing_is_refused(weight: float) -> None:
    with pytest.raises(UsageError, match="auxiliary_weight"):
        WindowConfig(auxiliary_weight=weight)
