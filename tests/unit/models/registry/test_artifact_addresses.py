"""Addresses of artefacts name no home; those of older homes are mended, and nothing else is touched."""

from __future__ import annotations

import sqlite3
import tarfile
from pathlib import Path

import pytest

from ghtrader_models.registry.artifact_addresses import (
    DATABASE,
    artifact_repository,
    local_path,
    make_addresses_relative,
    relative_address,
)

FIXTURE = Path(__file__).parents[3] / "fixtures" / "home_fd3b953.tar.xz"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("file:///srv/h/mlflow/artifacts/KQ.m-SHFE.cu/abc/artifacts", "mlflow-artifacts:/KQ.m-SHFE.cu/abc/artifacts"),
        ("/srv/h/mlflow/artifacts/1", "mlflow-artifacts:/1"),
        ("/srv/mlflow/artifacts/h/mlflow/artifacts", "mlflow-artifacts:/"),
        ("file:///srv/h/my%20home/mlflow/artifacts/1", "mlflow-artifacts:/1"),
        ("mlflow-artifacts:/KQ.m-SHFE.cu", "mlflow-artifacts:/KQ.m-SHFE.cu"),
        ("s3://bucket/mlflow/artifacts/1", "s3://bucket/mlflow/artifacts/1"),
        ("/srv/mlruns/0", "/srv/mlruns/0"),
        ("models:/m-1", "models:/m-1"),
    ],
)
def test_the_form_of_an_address(address: str, expected: str) -> None:
    assert relative_address(address) == expected


def test_where_its_files_lie(tmp_path: Path) -> None:
    assert local_path(tmp_path, "mlflow-artifacts:/a/b") == tmp_path / "artifacts" / "a" / "b"
    assert local_path(tmp_path, "file:///elsewhere/mlflow/artifacts/a") == tmp_path / "artifacts" / "a"
    for foreign in ("mlflow-artifacts:/../../etc", "s3://bucket/a", "models:/m-1", ""):
        assert local_path(tmp_path, foreign) is None


@pytest.mark.parametrize("folder", ["plain", "my home", "100%", "a%41%20b", "%2e%2e", "量#?"])
def test_files_stay_in_the_home_however_it_is_called(tmp_path: Path, folder: str) -> None:
    """MLflow decodes percent signs of a path: an address could lead out, and a home of such a name into another."""
    mlflow = tmp_path / folder / "mlflow"
    (mlflow / "artifacts").mkdir(parents=True)
    (tmp_path / "given.txt").write_text("x")
    for address in ("a", "a/%2e%2e/%2e%2e/b", "%2e%2e/mlflow.db", "a%2F..%2F..%2Fb", "/etc", "file:///etc"):
        found = artifact_repository(f"mlflow-artifacts:/{address}", f"sqlite:///{mlflow / DATABASE}")
        found.log_artifact(str(tmp_path / "given.txt"))
        place = local_path(mlflow, f"mlflow-artifacts:/{address}")
        assert place is not None and (place / "given.txt").is_file()
        assert place.resolve().is_relative_to(mlflow / "artifacts")
    everything = {path.parent for path in tmp_path.rglob("given.txt")} - {tmp_path}
    assert len(everything) == 6 and all(one.is_relative_to(mlflow / "artifacts") for one in everything)


def test_an_older_home_is_mended_once(tmp_path: Path) -> None:
    with tarfile.open(FIXTURE) as archive:
        archive.extract("home/mlflow/mlflow.db", tmp_path, filter="data")
    database = tmp_path / "home" / "mlflow" / "mlflow.db"
    with sqlite3.connect(database) as opened:
        opened.execute("UPDATE runs SET name = 's3://mine'")
    assert make_addresses_relative(database) == 5
    assert make_addresses_relative(database) == 0
    with sqlite3.connect(database) as opened:
        ids = opened.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        (source,) = opened.execute("SELECT source FROM model_versions").fetchone()
        assert ids == [(0, "mlflow-artifacts:/0"), (1, "mlflow-artifacts:/KQ.m-SHFE.cu")]
        assert source.startswith("mlflow-artifacts:/KQ.m-SHFE.cu/") and source.endswith("/artifacts/bundle")
        whole = "\n".join(opened.iterdump())
    assert "/srv/ghtrader" not in whole
