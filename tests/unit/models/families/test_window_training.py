"""Training of networks: shared between ranks, told, resumed by the run's folder, and one log-loss everywhere."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="pip install ghtrader[deep]")

import torch

from ghtrader_base.errors import FailedError, UsageError
from ghtrader_base.progress_line import CountedLine
from ghtrader_models.bundles.bundle import list_bundles
from ghtrader_models.datasets.lightning_data import EpochShuffle, WindowDataModule
from ghtrader_models.datasets.sample_windows import training_and_validation
from ghtrader_models.datasets.windows import WindowSpec
from ghtrader_models.evaluation.benchmark import score
from ghtrader_models.evaluation.calibration_fit import fit_calibrated
from ghtrader_models.evaluation.metrics import class_prior, log_loss
from ghtrader_models.families.base import ValidatedModel, get_family
from ghtrader_models.families.networks.tcn import TCN
from ghtrader_models.families.objectives import Classification
from ghtrader_models.families.tcn import TCNConfig
from ghtrader_models.families.training_session import TrainingSession, current_session
from ghtrader_models.families.window_config import Loss
from ghtrader_models.families.window_family import WindowModel
from ghtrader_models.families.window_training import _Learner, _rank_mean, _RankBatches, train_network
from ghtrader_models.training import train_on

CONFIG = TCNConfig(length=6, levels=1, kernel=2, channels=4, max_epochs=3, patience=3, batch_size=64, max_windows=400)


@pytest.fixture(scope="module")
def world(make_world: Callable[..., Any]) -> Any:
    return make_world(days=2, rows=500)[0]


class _Cut(Exception):
    pass


def cut_in_epoch(number: int) -> Callable[[str], None]:
    def tell(line: str) -> None:
        if f"epoch {number}/" in line:
            raise _Cut

    return tell


def test_a_run_goes_on_where_it_was_cut_and_leaves_its_folder_only_until_then(world: Any, tmp_path: Path) -> None:
    """Also: what it says, and that the trainer, the model, its calibration, a score and MLflow mean one log-loss."""
    said: list[str] = []
    runs = tmp_path / "runs"
    with pytest.raises(_Cut):
        train_on(
            world, tmp_path / "a", "tcn", config=CONFIG, session=TrainingSession(folder=runs, tell=cut_in_epoch(3))
        )
    (kind,) = runs.iterdir()
    (left,) = kind.iterdir()
    assert kind.name == "tcn-KQ.m-SHFE.cu-h10" and (left / "checkpoint.safetensors").exists()
    assert not list_bundles(tmp_path / "a"), "nothing is there before it is whole"
    resumed = train_on(
        world, tmp_path / "a", "tcn", config=CONFIG, session=TrainingSession(folder=runs, tell=said.append)
    )
    whole = train_on(world, tmp_path / "b", "tcn", config=CONFIG)
    assert resumed.bundle_id == whole.bundle_id and not list(kind.iterdir())
    assert said[0].startswith("tcn goes on after epoch 2 of 3, from ") and "validation log-loss" in said[-1]
    assert current_session() == TrainingSession()

    content = whole.content
    curve = whole.provenance.run.learning_curves["validation_logloss"]
    assert content.calibration is not None and len(curve) == 3
    best = min(curve)
    assert content.calibration.before.logloss == pytest.approx(best, abs=1e-5)
    assert f"{best:.5f}" in " ".join(said)


@pytest.fixture(scope="module")
def weighted(world: Any) -> WindowModel:
    samples = world.samples(np.flatnonzero(world.usable))
    return get_family("tcn").fit(samples, seed=1, config=replace(CONFIG, loss="weighted", max_epochs=1))  # type: ignore[return-value]


def test_validation_is_log_loss_in_nats_whatever_is_trained_on(world: Any, weighted: WindowModel) -> None:
    assert isinstance(weighted, ValidatedModel)
    rows = weighted.validation_rows
    p, y = weighted.predict_proba(world.samples(rows)), world.y[rows]
    assert weighted.learning_curve[0] == pytest.approx(log_loss(p, y), abs=1e-5)
    scores = score([p], [y], [np.tile(class_prior(y), (y.size, 1))])
    assert scores.logloss is not None and scores.logloss.mean == log_loss(p, y)
    assert log_loss(p, y) == pytest.approx(-np.log(p[np.arange(y.size), y]).mean())


def test_a_finished_run_trains_no_more(world: Any, tmp_path: Path) -> None:
    """Killed between its last epoch and its bundle: by the number of epochs, and stopped early."""
    samples = world.samples(np.flatnonzero(world.usable))
    spec = WindowSpec(length=CONFIG.length, horizon=samples.horizon)
    module = WindowDataModule(*training_and_validation(samples, spec, share=0.2, most=200), batch_size=64)
    for number, rate in enumerate((1e-3, 1e-12)):  # the second learns nothing, and stops for want of patience
        config = replace(CONFIG, max_epochs=2 if number == 0 else 9, patience=2, learning_rate=rate)
        folder = tmp_path / str(number)
        network = TCN(samples.X.shape[1], channels=4, levels=1, kernel=2, dropout=0.0)
        first = train_network(network, module, config, seed=1, folder=folder)
        again = train_network(_Broken(samples.X.shape[1]), module, config, seed=1, folder=folder)
        assert again.validation == first.validation and first.epochs == (2, len(first.validation))[number] < 9
        for name, value in first.network.state_dict().items():
            assert torch.equal(value, again.network.state_dict()[name]), name


class _Broken(TCN):
    """A network that cannot be asked."""

    def __init__(self, factors: int) -> None:
        super().__init__(factors, channels=4, levels=1, kernel=2, dropout=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("it is trained")


def test_what_decides_the_result_decides_the_folder(world: Any, tmp_path: Path) -> None:
    names = set()
    slower, until = replace(CONFIG, learning_rate=1e-3), int(world.datetime_ns[800])
    for seed, config, until_ns in ((0, CONFIG, None), (1, CONFIG, None), (0, slower, None), (0, CONFIG, until)):
        session = TrainingSession(folder=tmp_path, tell=cut_in_epoch(1))
        with pytest.raises(_Cut):
            train_on(world, tmp_path / "m", "tcn", seed=seed, config=config, until_ns=until_ns, session=session)
        (left,) = (tmp_path / "tcn-KQ.m-SHFE.cu-h10").iterdir()  # what cannot be gone on from is removed
        names.add(left.name)
    assert len(names) == 4


def test_progress_is_counted_and_each_epoch_has_its_line(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghtrader_models.families.window_training._SAID_EVERY_S", 0.0)
    said: list[str] = []
    with pytest.raises(_Cut):
        train_on(world, tmp_path, "tcn", config=CONFIG, session=TrainingSession(tell=_until(said, "epoch 2/3:")))
    counted = [line for line in said if isinstance(line, CountedLine)]
    steps = counted[0].wanted // CONFIG.max_epochs
    assert [line.done for line in counted] == list(range(1, 2 * steps + 1))
    assert "tcn epoch 1/3, batch 1/" in counted[0] and "log loss" in counted[0]
    (epoch,) = [line for line in said if line not in counted and "epoch 1/3:" in line]
    assert "validation log-loss" in epoch and "(best" in epoch


def test_a_ctrl_c_leaves_as_one_and_nothing_is_written(world: Any, tmp_path: Path) -> None:
    def tell(line: str) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_on(world, tmp_path, "tcn", config=CONFIG, session=TrainingSession(tell=tell))
    assert signal.getsignal(signal.SIGINT) is handler and not list_bundles(tmp_path)


def test_the_rate_rises_for_a_tenth_of_the_steps_and_falls_to_nothing() -> None:
    windows = SimpleNamespace(class_weights=torch.ones(3), train=range(64), batch_size=64)
    objective = Classification(loss="log", auxiliary_weight=0.3)
    learner = _Learner(torch.nn.Linear(2, 3), CONFIG, windows, 0, objective)  # type: ignore[arg-type]
    learner.trainer = SimpleNamespace(estimated_stepping_batches=200)  # type: ignore[assignment]
    made = learner.configure_optimizers()
    share = made["lr_scheduler"]["scheduler"].lr_lambdas[0]
    shares = np.array([share(step) for step in range(201)])
    assert made["lr_scheduler"]["interval"] == "step" and shares[19] == 1 and shares[200] == pytest.approx(0, abs=1e-9)
    assert (np.diff(shares[:20]) > 0).all() and (np.diff(shares[20:]) <= 0).all() and shares[110] == pytest.approx(0.5)


def test_no_gradient_is_longer_than_the_clip(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = world.samples(np.flatnonzero(world.usable))
    spec = WindowSpec(length=CONFIG.length, horizon=samples.horizon)
    module = WindowDataModule(*training_and_validation(samples, spec, share=0.2, most=200), batch_size=64)
    lengths: list[float] = []
    step = torch.optim.AdamW.step

    def measured(self: Any, closure: Any = None) -> Any:
        made = step(self, closure)
        lengths.append(float(sum((p.grad**2).sum() for group in self.param_groups for p in group["params"])) ** 0.5)
        return made

    monkeypatch.setattr(torch.optim.AdamW, "step", measured)
    for clip in (1e9, 1e-3):
        network = TCN(samples.X.shape[1], channels=4, levels=1, kernel=2, dropout=0.0)
        train_network(
            network, module, replace(CONFIG, max_epochs=1, gradient_clip=clip), seed=1, folder=tmp_path / f"{clip}"
        )
    plain, clipped = lengths[: len(lengths) // 2], lengths[len(lengths) // 2 :]
    assert min(plain) > 1e-2 and max(clipped) < 1.01e-3


def _until(said: list[str], last: str) -> Callable[[str], None]:
    def tell(line: str) -> None:
        said.append(line)
        if last in line:
            raise _Cut

    return tell


@pytest.mark.parametrize("size", [7, 64, 101])
def test_ranks_share_each_batch_of_one_process(size: int) -> None:
    windows = list(range(200))
    batches = [list(_RankBatches(EpochShuffle(windows, 5), size, 0, 1))]  # type: ignore[arg-type]
    for world in (2, 3):
        ranks = [_RankBatches(EpochShuffle(windows, 5), size, rank, world) for rank in range(world)]  # type: ignore[arg-type]
        parts = [list(rank) for rank in ranks]
        assert {len(part) for part in parts} == {len(rank) for rank in ranks}
        for number, whole in enumerate(batches[0][: len(parts[0])]):
            shared = [part[number] for part in parts]
            assert max(map(len, shared)) - min(map(len, shared)) <= 1 and min(map(len, shared)) > 0
            assert sorted(sum(shared, [])) == sorted(whole)
        assert len(batches[0]) - len(parts[0]) == (0 < 200 % size < world)
    assert len(_RankBatches(EpochShuffle(windows, 5), size, 0, 1)) == len(batches[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", list(Loss))
def test_the_mean_of_the_ranks_losses_is_the_loss_of_the_batch(loss: Loss) -> None:
    objective, weights = Classification(loss=loss.value, auxiliary_weight=0.3), torch.tensor([2.0, 0.5, 1.5])
    logits, y = torch.randn(65, 9), torch.randint(0, 3, (65, 3))
    for asked in (y, y[:, 0]):
        each = objective.losses(logits, logits, asked, weights)
        parts = [objective.losses(logits[rank::3], logits, asked[rank::3], weights) for rank in range(3)]
        shared = sum(_rank_mean(part, 65, 3) for part in parts) / 3
        assert torch.allclose(shared, _rank_mean(each, 65, 1), atol=1e-6)  # type: ignore[arg-type]


class _Hungry:
    """A family that wants more memory than there is."""

    name = "hungry"

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask

    def config(self, preset: Any = None) -> TCNConfig:
        return CONFIG

    def fit(self, samples: Any, *, seed: int, config: Any = None) -> Any:
        self._ask()


@pytest.mark.parametrize("ask", [lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50)], ids=["torch", "numpy"])
def test_running_out_of_memory_ends_with_what_to_do(world: Any, ask: Callable[[], object]) -> None:
    with pytest.raises(FailedError, match="not enough memory for hungry") as said:
        fit_calibrated(_Hungry(ask), world.samples(np.arange(30)), seed=0, config=CONFIG)
    assert "batch_size" in said.value.hint


def test_what_trains_in_seconds_takes_one_device(world: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="several devices"):
        train_on(world, tmp_path, "logistic", session=TrainingSession(devices=2))
    with pytest.raises(UsageError):
        TrainingSession(devices=0)


def test_the_calibrated_bundle_predicts_what_its_network_says(world: Any, weighted: WindowModel) -> None:
    samples = world.samples(np.flatnonzero(world.usable))
    found = fit_calibrated(_Fixed(weighted), samples, seed=1, config=replace(CONFIG, loss="weighted"))
    assert found.calibration is not None and found.calibration.rows == weighted.validation_rows.size
    frequencies = found.predict_proba(samples).mean(axis=0)
    np.testing.assert_allclose(frequencies, class_prior(samples.labels), atol=0.05)


class _Fixed:
    """A family whose fit is done."""

    name = "tcn"

    def __init__(self, model: Any) -> None:
        self._model = model

    def config(self, preset: Any = None) -> TCNConfig:
        return CONFIG

    def fit(self, samples: Any, *, seed: int, config: Any = None) -> Any:
        return self._model
