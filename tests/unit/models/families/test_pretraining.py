"""Pretraining of encoders: days that are held out are never read, one file is shared, a killed run goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_models.datasets.load import Dataset
from ghtrader_models.datasets.sample_windows import training_and_validation
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.datasets.windows import WindowSpec
from ghtrader_models.evaluation.splits import make_splits
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.families.networks.selected_columns import SelectedColumns
from ghtrader_models.families.networks.ssm import SSM
from ghtrader_models.families.networks.tcn import TCN
from ghtrader_models.families.pretraining.encoder import (
    EncoderFile,
    encoder_key,
    pretrained_encoder,
    pretraining_config,
    read_encoder,
)
from ghtrader_models.families.pretraining.next_snapshot import NextSnapshot, SnapshotErrors
from ghtrader_models.families.pretraining.past_windows import past_of, past_series, past_sides
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.families.training_session import TrainingSession
from ghtrader_models.families.window_config import EncoderConfig, pretraining_varieties
from ghtrader_models.training import train_on

CONFIG = TCNConfig(
    length=6, levels=1, kernel=2, channels=4, max_epochs=1, batch_size=64, max_windows=300,
    pretrain="next_snapshot", pretrain_epochs=3, pretrain_windows=300,
)  # fmt: skip
DAYS, ROWS = 8, 200


def build(length: int, factors: int) -> TCN:
    return TCN(factors, channels=4, levels=1, kernel=2, dropout=0.1)


@pytest.fixture(scope="module")
def world(make_world: Callable[..., Any]) -> Dataset:
    """Eight days whose first column says its own next value, the second one that of another unit."""
    found = make_world(days=DAYS, rows=ROWS)[0]
    X = found.X.copy()
    for row in range(1, len(X)):
        X[row, 0] = 0.95 * X[row - 1, 0] + 0.3 * X[row, 0]
    X[:, 3] = 1e6 + 5e4 * X[:, 0]
    return replace(found, X=X)


@pytest.fixture(scope="module")
def samples(world: Dataset) -> Samples:
    return world.samples(np.flatnonzero(world.usable))


def end_of_day(samples: Samples, day: int) -> int:
    """A moment just after a day's last row."""
    return int(samples.datetime_ns[samples.day_index == day][-1]) + 1


def encoder(samples: Samples, before_ns: int, folder: Path | None = None, tell: Any = None) -> EncoderFile:
    session = TrainingSession(encoders=folder, **({"tell": tell} if tell else {}))
    return pretrained_encoder("tcn", build, samples, CONFIG, seed=1, before_ns=before_ns, session=session)


@settings(max_examples=30, deadline=None)
@given(row=st.integers(0, DAYS * ROWS), shift=st.sampled_from([-1, 0, 1]))
def test_days_that_are_read_end_before_the_moment(samples: Samples, row: int, shift: int) -> None:
    before = int(samples.datetime_ns[min(row, DAYS * ROWS - 1)]) + shift
    past = past_of(samples, before)
    whole = [day for day in range(DAYS) if samples.datetime_ns[samples.day_index == day].max() < before]
    assert len(past.facts) == len(whole) and np.unique(past.day_index).tolist() == whole
    assert (past.datetime_ns < before).all() and past.rows.size == len(whole) * ROWS and not past.y.any()


def test_no_walk_forward_fit_reads_a_row_of_its_test_or_of_its_validation(world: Dataset) -> None:
    for split in make_splits(world).splits:
        train = world.samples(split.train)
        spec = WindowSpec(length=CONFIG.length, horizon=train.horizon)
        held = training_and_validation(train, spec, share=CONFIG.validation_share, most=CONFIG.max_windows)[1]
        first = int(world.datetime_ns[held.day_index[0] * ROWS + held.end[0]])
        (past,) = past_series(train, first)
        sides = past_sides([past], CONFIG, 0)
        read = max(int(part.day_index.max()) for side in (sides.train, sides.validation) for part in side._parts)
        last = int(world.datetime_ns[(read + 1) * ROWS - 1])
        assert last < first < int(world.datetime_ns[split.start])


def test_what_comes_later_and_what_labels_say_changes_no_encoder(samples: Samples) -> None:
    before = end_of_day(samples, 2)
    X, later = samples.X[:].copy(), samples.datetime_ns >= before
    X[later] = np.nan
    other = replace(samples, X=X, y=samples.y[::-1].copy(), rows=samples.rows[::3])
    first, second = encoder(samples, before), encoder(other, before)
    assert first.data == second.data and first.record.ends_ns < before
    assert [day.features_hash for day in first.record.days] == ["f0", "f1", "f2"]


class _Cut(Exception):
    pass


def test_a_killed_pretraining_goes_on_and_other_fits_share_its_file(samples: Samples, tmp_path: Path) -> None:
    def cut(line: str) -> None:
        if "epoch 3/" in line:
            raise _Cut

    before, said = end_of_day(samples, 2), list[str]()
    with pytest.raises(_Cut):
        encoder(samples, before, tmp_path / "a", cut)
    (left,) = (tmp_path / "a").glob("training-*")
    assert (left / "checkpoint.safetensors").exists() and not list((tmp_path / "a").glob("*.safetensors"))
    resumed = encoder(samples, before, tmp_path / "a", said.append)
    assert "tcn pretraining goes on after epoch 2 of 3" in " ".join(said) and "held out" in said[-1]
    assert resumed.data == encoder(samples, before, tmp_path / "b").data
    said.clear()
    again = encoder(replace(samples, horizon=99), before + 5, tmp_path / "a", said.append)
    assert again.data == resumed.data and said == [f"tcn begins with the pretrained encoder {resumed.record.encoder}"]
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [f"{resumed.record.encoder}.safetensors", "locks"]


def test_it_learns_what_follows_from_the_past(samples: Samples) -> None:
    """A column that remembers itself is said better than by its mean."""
    found = encoder(samples, end_of_day(samples, 6))
    assert len(found.curve) == 3 and found.curve[-1] < found.curve[0]
    assert np.isfinite(found.curve).all()


def test_each_series_is_on_its_own_scale(samples: Samples) -> None:
    far = replace(samples, X=samples.X[:] * 1000 + 7, symbol="KQ.m@SHFE.au")
    series = past_series(replace(samples, others=(far,)), end_of_day(samples, 3), ("au",))
    sides = past_sides(series, CONFIG, 0)
    count = len(sides.train) // 2
    own, other = (sides.train.batch(np.arange(count) + part * count) for part in (0, 1))
    np.testing.assert_allclose(own, other, atol=2e-3)
    mixed = sides.train.batch(np.array([count, 0, 2 * count - 1]))
    np.testing.assert_array_equal(mixed, np.stack([other[0], own[0], other[-1]]))


def test_what_decides_the_encoder_decides_its_name(samples: Samples) -> None:
    def key(config: EncoderConfig, series: Any, seed: int = 0) -> str:
        return encoder_key("tcn", pretraining_config(config), series, seed)

    past = past_series(samples, end_of_day(samples, 2))
    other_fit = replace(CONFIG, learning_rate=0.1, max_epochs=9, loss="focal", max_windows=7, auxiliary_horizons="3")
    assert key(CONFIG, past) == key(other_fit, past)
    day = past[0].facts[0]
    changed = (replace(past[0], facts=(replace(day, features_hash="x"), *past[0].facts[1:])),)
    keys = [
        key(CONFIG, past), key(CONFIG, past, 1), key(CONFIG, changed), key(CONFIG, (*past, *past)),
        key(replace(CONFIG, channels=5), past), key(replace(CONFIG, pretrain_epochs=4), past),
        key(replace(CONFIG, length=7), past), key(replace(CONFIG, inputs="factors"), past),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("kind", ["tcn", "ssm", "selected"])
def test_no_row_is_said_from_itself_or_a_later_one(kind: str) -> None:
    torch.manual_seed(0)
    network = TCN(3 if kind == "selected" else 5, channels=4, levels=2, kernel=2)
    whole = SelectedColumns(network, (4, 0, 2)) if kind == "selected" else network
    if kind == "ssm":
        whole = SSM(5, width=4, states=4, layers=1)
    learner = NextSnapshot(whole, 5).eval()
    x = torch.randn(2, 9, 5)
    changed = x.clone()
    changed[:, 6:] += 1.0
    columns = [4, 0, 2] if kind == "selected" else slice(None)
    with torch.no_grad():
        first, second = learner(x), learner(changed)
    assert first.shape == (2, 8, 3 if kind == "selected" else 5)
    said, later = first + x[:, 1:][:, :, columns], second + changed[:, 1:][:, :, columns]
    torch.testing.assert_close(said[:, :6], later[:, :6], atol=1e-5, rtol=0)  # of rows 1 to 6
    assert not torch.allclose(said[:, 6:], later[:, 6:])
    errors = SnapshotErrors()
    assert float(errors.score(first, x, x)) == pytest.approx(float(errors.losses(first, x, x, x).mean()))


def test_a_bundle_says_what_its_encoder_learned_from(world: Dataset, tmp_path: Path) -> None:
    """Also with a further horizon, and that the pretrained weights are what training begins with."""
    labelled = replace(world, further_labels={25: world.y})
    session = TrainingSession(folder=tmp_path / "runs", encoders=tmp_path / "encoders")
    config = replace(CONFIG, auxiliary_horizons="25")
    bundle = train_on(labelled, tmp_path / "models", "tcn", config=config, session=session)
    record = bundle.content.pretraining
    assert record is not None and record.objective == "next_snapshot" and record.windows > 0
    (kept,) = (tmp_path / "encoders").glob("*.safetensors")
    assert kept.stem == record.encoder and read_encoder(kept).record == record
    assert [day.day for day in record.days] == list(world.days[: len(record.days)])
    assert {day.symbol for day in record.days} == {world.symbol}
    assert record.ends_ns < bundle.content.training_span.end_ns  # type: ignore[union-attr]
    curves = bundle.provenance.run.learning_curves
    assert len(curves["pretraining_loss"]) == 3 and len(curves["validation_logloss"]) == 1
    assert "pretraining" not in replace(bundle.content, pretraining=None).to_dict()
    graph = onnx.load(bundle.path / "model.onnx").graph
    (output,) = graph.output
    assert [each.dim_value for each in output.type.tensor_type.shape.dim][1:] == [3]
    assert {tuple(each.dims) for each in graph.initializer if "head" in each.name} == {(3, 4), (3,)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pretrain": "everything"}, "no pretraining"),
        ({"pretrain": "none", "pretrain_varieties": "au"}, "nothing is pretrained"),
        ({"pretrain_epochs": 0}, "pretrain_epochs"),
        ({"pretrain_windows": -1}, "pretrain_windows"),
        ({"pretrain_rate": 0.0}, "pretrain_rate"),
        ({"pretrain_rate": float("nan")}, "pretrain_rate"),
        ({"length": 1}, "a window of one row"),
    ],
)
def test_settings_that_pretrain_nothing_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(CONFIG, **changes)


def test_rows_that_cannot_be_pretrained_on_are_refused(samples: Samples, tmp_path: Path) -> None:
    before = end_of_day(samples, 1)
    with pytest.raises(UsageError, match="no whole day of KQ.m@SHFE.cu ends before"):
        encoder(samples, end_of_day(samples, 0) - 1)
    with pytest.raises(UsageError, match="which days"):
        encoder(replace(samples, facts=()), before)
    with pytest.raises(UsageError, match="other factors"):
        encoder(replace(samples, others=(replace(samples, names=("a",), symbol="KQ.m@SHFE.au"),)), before)
    assert pretraining_varieties(replace(CONFIG, pretrain_varieties="au, ag")) == ("au", "ag")
    with pytest.raises(UsageError, match="from ag, and no rows"):
        past_series(replace(samples, others=(replace(samples, symbol="KQ.m@SHFE.au"),)), before, ("au", "ag"))
    with pytest.raises(UsageError, match="no setting pretrain"):
        make_config(get_family("tlob"), {"pretrain": "next_snapshot"})

    found = encoder(samples, before, tmp_path)
    with pytest.raises(UsageError, match="another network"):
        found.give_to(TCN(samples.X.shape[1], channels=5, levels=1, kernel=2))
    (path,) = tmp_path.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="was changed"):
        encoder(samples, before, tmp_path)
    path.write_bytes(data[:50])
    with pytest.raises(IntegrityError, match="does not read"):
        encoder(samples, before, tmp_path)
