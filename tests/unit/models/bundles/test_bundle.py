"""Bundles: whole or not there, checked before they are read, the same content the same id; and the champion pointer."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghtrader_base.errors import IntegrityError, UsageError
from ghtrader_base.files import read_checked_json, with_checksum
from ghtrader_models.bundles import bundle as bundle_module
from ghtrader_models.bundles import champions
from ghtrader_models.bundles.bundle import Bundle, bundles_dir, list_bundles, load_bundle, write_bundle
from ghtrader_models.bundles.provenance import BundleProvenance
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.evaluation.policy_fit import PolicyOptions
from ghtrader_models.evaluation.policy_simulation import trading_costs
from ghtrader_models.inference.predictors import Predictor
from ghtrader_models.model_scores import GainInterval
from ghtrader_models.policy import PolicyParams
from ghtrader_models.training import rows_until, train_on
from tests.support.forked import Forks


@pytest.fixture(scope="module")
def trained(
    make_world: Callable[..., Any],
    small_configs: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Bundle:
    dataset, _ = make_world(days=2, rows=600)
    models = tmp_path_factory.mktemp("models")
    return train_on(dataset, models, "xgboost", config=small_configs["xgboost"], seed=1, run_id="r1")


@pytest.fixture
def bundle(trained: Bundle, tmp_path: Path) -> Bundle:
    """A copy under a models folder of its own."""
    target = bundles_dir(tmp_path) / trained.bundle_id
    shutil.copytree(trained.path, target)
    return load_bundle(target)


def test_what_was_trained_is_what_is_read(make_world: Callable[..., Any], bundle: Bundle) -> None:
    dataset, _ = make_world(days=2, rows=600)
    assert bundle.kind == "xgboost"
    assert (bundle.symbol, bundle.horizon, bundle.price_tick, bundle.levels) == ("KQ.m@SHFE.cu", 10, 10.0, 1)
    assert bundle.factor_names == dataset.names
    assert [day.day.isoformat() for day in bundle.content.days] == ["2025-04-01", "2025-04-02"]
    assert bundle.provenance.run.run_id == "r1"
    p = Predictor.from_bundle(bundle).predict(dataset.X[dataset.usable])
    share = (np.abs(p[:, 2] - p[:, 0]) > bundle.policy.enter).mean()
    assert share == pytest.approx(0.1, abs=0.02)
    assert not [path for path in bundle.path.iterdir() if path.suffix in (".pkl", ".pickle", ".joblib")]


def test_provenance_and_labels_are_the_documents_on_disk(bundle: Bundle) -> None:
    """What is read is written back as it was; what an older version did not say yet is left out again."""
    stored = json.loads((bundle.path / "provenance.json").read_text())
    assert bundle.provenance.to_dict() == stored and set(stored) == {"content", "run"}
    assert set(stored["content"]) == {
        "schema_version", "symbol", "family", "horizon", "price_tick", "multiplier", "levels", "days", "until_ns",
        "train_rows", "class_prior", "seed", "config", "importance",
    }  # fmt: skip
    assert set(stored["run"]) == {"run_id", "created_at", "code_version", "git_commit", "packages", "metrics"}
    assert bundle.label_spec.to_dict() == json.loads((bundle.path / "labels.json").read_text())
    assert bundle.factor_set_spec.to_dict() == json.loads((bundle.path / "factors.json").read_text())["spec"]
    older = {**stored, "content": {k: v for k, v in stored["content"].items() if k not in ("schema_version", "family")}}
    assert BundleProvenance.from_dict(older).to_dict() == older
    for missing in ("symbol", "horizon", "price_tick", "levels", "days", "seed", "config"):
        content = {name: value for name, value in stored["content"].items() if name != missing}
        with pytest.raises(UsageError, match=missing):
            BundleProvenance.from_dict({**stored, "content": content})


def test_the_id_is_the_content_and_not_the_run(make_world: Callable[..., Any], tmp_path: Path) -> None:
    dataset, _ = make_world(days=2, rows=600)
    first = train_on(dataset, tmp_path / "a", "logistic", seed=1, run_id="r1")
    again = train_on(dataset, tmp_path / "b", "logistic", seed=1, run_id="r2")
    other = train_on(dataset, tmp_path / "a", "logistic", seed=2, run_id="r1")
    assert first.bundle_id == again.bundle_id != other.bundle_id
    repeated = train_on(dataset, tmp_path / "a", "logistic", seed=1, run_id="r3")
    assert repeated.path == first.path and repeated.provenance.run.run_id == "r1"
    assert [path.name for path in list_bundles(tmp_path / "a")] == sorted([first.bundle_id, other.bundle_id])


def test_costs_are_weighed_by_the_moves_and_fees_of_the_training_rows(
    make_world: Callable[..., Any], tmp_path: Path
) -> None:
    dataset, _ = make_world(days=2, rows=600)
    bundle = train_on(dataset, tmp_path, "logistic", seed=1, policy=PolicyOptions(cost_aware=True, cooldown=9))
    found, plain = bundle.policy, train_on(dataset, tmp_path, "logistic", seed=1).policy
    rows = np.flatnonzero(dataset.usable & (dataset.y != 1))
    moves = np.abs(dataset.mid[rows + dataset.horizon] - dataset.mid[rows])
    assert found.move == pytest.approx(np.nanmean(moves), rel=0.2) and found.cooldown == 9
    fees = trading_costs(dataset.facts[-1].contract, dataset.facts[-1].day).rates
    price, multiplier = float(np.nanmedian(dataset.mid)), dataset.multiplier
    ratio, lot = fees.open_ratio + fees.close_today_ratio, fees.open_lot + fees.close_today_lot
    assert found.fee == pytest.approx(ratio * price + lot / multiplier, rel=1e-3)
    assert (found.enter, found.leave) == (plain.enter, plain.leave) and plain.move == plain.fee == 0.0
    report = run_benchmark(make_world(days=6, rows=600)[0], "logistic", policy=PolicyOptions(cost_aware=True))
    assert report.to_dict()["policy"] == {"cost_aware": True} and report.simulation is not None
    free = run_benchmark(make_world(days=6, rows=600)[0], "logistic")
    assert report.simulation.fills < free.simulation.fills, "what does not pay is not traded"


@pytest.mark.parametrize("name", ["model.ubj", "factors.json", "labels.json", "policy.json", "provenance.json"])
def test_a_changed_byte_is_refused(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match=name):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", ["model.ubj", "policy.json"])
def test_a_missing_file_is_refused(bundle: Bundle, name: str) -> None:
    (bundle.path / name).unlink()
    with pytest.raises(IntegrityError, match=name):
        load_bundle(bundle.path)


def test_a_manifest_made_to_fit_a_changed_policy_still_has_another_id(bundle: Bundle) -> None:
    import hashlib

    policy = json.dumps({**bundle.policy.to_dict(), "max_lots": 1000}).encode()
    (bundle.path / "policy.json").write_bytes(policy)
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    manifest["files"]["policy.json"]["sha256"] = hashlib.sha256(policy).hexdigest()
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="calls itself"):
        load_bundle(bundle.path)


def test_a_manifest_cannot_name_files_elsewhere(bundle: Bundle) -> None:
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    manifest["files"]["../../secret"] = {"bytes": 1, "sha256": "0" * 64}
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="wrong files"):
        load_bundle(bundle.path)
    for garbage in (b"", b"[]", b"{}", b'{"format": "x"'):
        (bundle.path / "manifest.json").write_bytes(garbage)
        with pytest.raises(IntegrityError):
            load_bundle(bundle.path)
    with pytest.raises(UsageError):
        load_bundle(bundle.path / "nowhere")


def test_what_does_not_fit_is_not_written(make_world: Callable[..., Any], tmp_path: Path, bundle: Bundle) -> None:
    class Model:
        kind, n_features = "logistic", 2

        def save(self, directory: Path) -> None:
            raise AssertionError("must not get this far")

    policy = PolicyParams(enter=0.1, leave=0.01)
    with pytest.raises(UsageError, match="factors"):
        write_bundle(tmp_path / "m", Model(), bundle.factor_set_spec, bundle.label_spec, policy, bundle.content)
    assert not list_bundles(tmp_path / "m")


@pytest.mark.parametrize(
    ("name", "data"),
    [("extra.bin", pickle.dumps({"a": 1})), ("weights.ckpt", b"anything"), ("weights.bin", b"PK\x03\x04rest")],
)
def test_a_pickle_is_refused_wherever_it_lies(bundle: Bundle, tmp_path: Path, name: str, data: bytes) -> None:
    class Model:
        kind, n_features = bundle.kind, len(bundle.factor_names)

        def save(self, directory: Path) -> None:
            for file, content in {**bundle.model_files, name: data}.items():
                (directory / file).write_bytes(content)

    with pytest.raises(IntegrityError, match=f"{name} is a pickle"):
        write_bundle(
            tmp_path / "m", Model(), bundle.factor_set_spec, bundle.label_spec, bundle.policy, bundle.content
        )


IMPORTS = """
import signal
from pathlib import Path
from ghtrader_models.bundles import bundle
from ghtrader_models.bundles.bundle import load_bundle, write_bundle
"""
KILLED = """
source = load_bundle(Path(sys.argv[1]))
class Model:
    kind, n_features = source.kind, len(source.factor_names)
    def save(self, directory):
        for name, data in source.model_files.items():
            (directory / name).write_bytes(data)
step = int(sys.argv[3])
calls = 0
real = bundle._fsync_file
def die(path):
    global calls
    calls += 1
    if calls > step:
        os.kill(os.getpid(), signal.SIGKILL)
    real(path)
bundle._fsync_file = die
write_bundle(Path(sys.argv[2]), Model(), source.factor_set_spec, source.label_spec, source.policy, source.content)
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(IMPORTS, KILLED) as made:
        yield made


@pytest.mark.parametrize("step", [0, 3])
def test_kill_while_writing_leaves_no_bundle_and_does_not_stand_in_the_way(
    bundle: Bundle, tmp_path: Path, step: int, forks: Forks
) -> None:
    models = tmp_path / "killed"
    assert forks.run(bundle.path, models, step) == -signal.SIGKILL
    assert list_bundles(models) == []
    assert forks.run(bundle.path, models, 1000) == 0
    assert load_bundle(list_bundles(models)[0]).bundle_id == bundle.bundle_id


EVIDENCE = champions.GateEvidence(
    family="xgboost",
    horizon=10,
    logloss_gain=GainInterval(mean=0.02, low=0.01, high=0.03, n=3, per_split=[0.01, 0.02, 0.03]),
    tests_hash="t",
    metrics_hash="m",
    simulated_net_pnl=-12.5,
)


def test_champion_pointer_history_and_damage(bundle: Bundle, make_world: Callable[..., Any], tmp_path: Path) -> None:
    symbol, horizon = bundle.symbol, bundle.horizon
    assert champions.load_champion(tmp_path, symbol, horizon) is None
    with pytest.raises(UsageError, match="no champion"):
        champions.load_champion_bundle(tmp_path, symbol, horizon)
    first = champions.write_champion(tmp_path, bundle, reason="it was better", evidence=EVIDENCE, run_id="r")
    assert champions.load_champion(tmp_path, symbol, horizon) == first
    pointer = champions.champion_path(tmp_path, symbol, horizon)
    stored = json.loads(pointer.read_text())
    assert list(stored) == [
        "symbol", "horizon", "bundle_id", "path", "family", "promoted_at", "reason", "previous", "evidence", "run_id",
        "manifest_sha256", "checksum",
    ]  # fmt: skip
    assert stored["evidence"] == {
        "family": "xgboost", "horizon": 10, "tests_hash": "t", "metrics_hash": "m", "simulated_net_pnl": -12.5,
        "logloss_gain": {"mean": 0.02, "low": 0.01, "high": 0.03, "n": 3, "per_split": [0.01, 0.02, 0.03]},
    }  # fmt: skip
    assert champions.load_champion_bundle(tmp_path, symbol, horizon).bundle_id == bundle.bundle_id
    dataset, _ = make_world(days=2, rows=600)
    better = train_on(dataset, tmp_path, "logistic", seed=1)
    history = champions.history_path(tmp_path, symbol, horizon)
    with history.open("a") as file:
        file.write('{"symbol": "cut sh')  # a crash in the middle of a line
    second = champions.write_champion(tmp_path, better, reason="better still")
    assert second.previous == bundle.bundle_id
    assert json.loads(pointer.read_text())["evidence"] == {} and second.evidence is None
    assert champions.read_history(tmp_path, symbol, horizon) == [first, second]
    assert champions.list_champions(tmp_path) == [second]

    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    assert champions.load_champion_bundle(moved, symbol, horizon).bundle_id == better.bundle_id
    shutil.rmtree(moved / "bundles" / better.bundle_id)
    shutil.copytree(moved / "bundles" / bundle.bundle_id, moved / "bundles" / better.bundle_id)
    with pytest.raises(IntegrityError, match="folder holds"):
        champions.load_champion_bundle(moved, symbol, horizon)
    champions.champion_path(moved, symbol, horizon).write_text("{")
    with pytest.raises(IntegrityError):
        champions.load_champion(moved, symbol, horizon)


def edited(file: Path, whole: bool = True, **changes: object) -> None:
    """A document with some fields changed, its checksum to match where `whole`, and gone otherwise."""
    document, _ = read_checked_json(file)
    file.write_text(json.dumps(with_checksum(document | changes) if whole else document | changes))


def test_a_pointer_edited_after_the_promotion_is_refused(
    bundle: Bundle, make_world: Callable[..., Any], tmp_path: Path
) -> None:
    symbol, horizon = bundle.symbol, bundle.horizon
    champions.write_champion(tmp_path, bundle, reason="it was better")
    other = train_on(make_world(days=2, rows=600)[0], tmp_path, "logistic", seed=1)
    pointer = champions.champion_path(tmp_path, symbol, horizon)
    kept = pointer.read_text()
    there = {"bundle_id": other.bundle_id, "path": f"bundles/{other.bundle_id}"}
    for whole in (True, False):
        for changes, said in (
            (there, "no promotion that its history knows"),
            ({"path": "../elsewhere"}, "and the folder ../elsewhere"),
            ({"symbol": "KQ.m@SHFE.au"}, "is the pointer of KQ.m@SHFE.au"),
            ({"reason": "another"}, "no promotion that its history knows"),
        ):
            edited(pointer, whole, **changes)
            with pytest.raises(IntegrityError, match=said):
                champions.load_champion_bundle(tmp_path, symbol, horizon)
            pointer.write_text(kept)
    pointer.write_text(kept.replace("it was better", "it was the best"))
    with pytest.raises(IntegrityError, match="was edited"):
        champions.load_champion(tmp_path, symbol, horizon)
    pointer.write_text(kept)
    history = champions.history_path(tmp_path, symbol, horizon)
    history.write_text(history.read_text().replace("it was better", "it was the best"))
    with pytest.raises(IntegrityError, match="a line was edited"):
        champions.load_champion(tmp_path, symbol, horizon)


def test_a_bundle_edited_after_the_promotion_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    champions.write_champion(tmp_path, bundle, reason="it was better")
    provenance = json.loads((bundle.path / "provenance.json").read_text())
    provenance["run"]["run_id"] = "another"  # the only thing that no bundle id covers
    (bundle.path / "provenance.json").write_text(json.dumps(provenance))
    fit_manifest(bundle.path)
    assert load_bundle(bundle.path).bundle_id == bundle.bundle_id
    with pytest.raises(IntegrityError, match=f"the manifest of bundle {bundle.bundle_id} was edited since"):
        champions.load_champion_bundle(tmp_path, bundle.symbol, bundle.horizon)
    shutil.rmtree(bundle.path)
    with pytest.raises(IntegrityError, match="which is gone"):
        champions.load_champion_bundle(tmp_path, bundle.symbol, bundle.horizon)


def test_a_pointer_of_an_older_version_is_followed(bundle: Bundle, tmp_path: Path) -> None:
    champions.write_champion(tmp_path, bundle, reason="it was better")
    pointer = champions.champion_path(tmp_path, bundle.symbol, bundle.horizon)
    document = {k: v for k, v in json.loads(pointer.read_text()).items() if k not in ("manifest_sha256", "checksum")}
    pointer.write_text(json.dumps(document))
    champions.history_path(tmp_path, bundle.symbol, bundle.horizon).write_text(json.dumps(document) + "\n")
    assert champions.load_champion_bundle(tmp_path, bundle.symbol, bundle.horizon).bundle_id == bundle.bundle_id
    assert champions.read_pointer(pointer)[1] is False


def test_a_folder_edited_with_its_manifest_is_not_the_bundle_it_is_named_after(bundle: Bundle, tmp_path: Path) -> None:
    policy = json.dumps({**bundle.policy.to_dict(), "max_lots": 1000}).encode()
    (bundle.path / "policy.json").write_bytes(policy)
    other = fit_manifest(bundle.path)
    assert other != bundle.bundle_id
    for ask in (lambda: load_bundle(bundle.path), lambda: load_bundle(bundle.path, bundle.bundle_id)):
        with pytest.raises(IntegrityError, match=f"bundle {bundle.bundle_id} was asked for, its folder holds {other}"):
            ask()
    copy = tmp_path / "a copy"
    shutil.copytree(bundle.path, copy)
    assert load_bundle(copy).policy.max_lots == 1000, "a folder of another name stands for itself"


def test_a_size_that_the_manifest_does_not_say_is_refused(bundle: Bundle) -> None:
    path = bundle.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["policy.json"]["bytes"] += 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match=r"policy\.json is not what the manifest says"):
        load_bundle(bundle.path)


def fit_manifest(folder: Path) -> str:
    """Make a bundle's manifest agree with its files; returns the id it then has."""
    manifest = json.loads((folder / "manifest.json").read_text())
    contents = {name: (folder / name).read_bytes() for name in manifest["files"]}
    fitted = bundle_module._manifest(manifest["kind"], contents)
    (folder / "manifest.json").write_text(json.dumps(fitted))
    return str(fitted["bundle_id"])


def test_champion_refuses_what_it_cannot_point_at(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reason"):
        champions.write_champion(tmp_path, bundle, reason=" ")
    with pytest.raises(UsageError, match="does not lie under"):
        champions.write_champion(tmp_path / "other", bundle, reason="x")
    for symbol in ("../up", "", "a/b"):
        with pytest.raises(UsageError):
            champions.champion_path(tmp_path, symbol, 50)


def test_training_until_a_moment_sees_nothing_after_it(make_world: Callable[..., Any], tmp_path: Path) -> None:
    dataset, _ = make_world(days=2, rows=600)
    until = int(dataset.datetime_ns[900])
    rows = rows_until(dataset, until)
    assert rows.max() == 900 - dataset.horizon - 1
    assert np.array_equal(rows_until(dataset, None), np.flatnonzero(dataset.usable))
    bundle = train_on(dataset, tmp_path, "logistic", until_ns=until)
    changed = dataset.y.copy()
    changed[900 - dataset.horizon :] = 0
    blind = train_on(dataset.with_labels(changed), tmp_path / "other", "logistic", until_ns=until)
    assert blind.model_files == bundle.model_files
    with pytest.raises(UsageError, match="no row"):
        train_on(dataset, tmp_path, "logistic", until_ns=0)


def test_writers_of_the_same_bundle_do_not_meet(bundle: Bundle, tmp_path: Path, forks: Forks) -> None:
    models = tmp_path / "both"
    running = [forks.start(bundle.path, models, 1000) for _ in range(3)]
    assert [forks.wait(pid) for pid in running] == [0, 0, 0]
    assert [path.name for path in list_bundles(models)] == [bundle.bundle_id]
    assert os.listdir(bundles_dir(models)) == [bundle.bundle_id]
