"""Keeps the addresses of a home's MLflow artefacts free of the home's own place, so that a home may be copied.

What belongs here: the form of an address, where its files are, and giving older addresses that form. What is stored
there is `mlflow_tracking`'s business.

An address is ``mlflow-artifacts:/KQ.m-SHFE.cu/...``. MLflow's server serves it from the folder it was told; a client
that opens the home's sqlite file without a server finds the same files in the folder beside that file, by way of
`artifact_repository` (entry point ``mlflow.artifact_repository`` in pyproject.toml). Earlier versions stored absolute
addresses: a copied home wrote into the one it was copied from.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

SCHEME = "mlflow-artifacts"
ROOT = f"{SCHEME}:/"
DATABASE, FOLDER = "mlflow.db", "artifacts"
_OLDER = re.compile(r"(?:file://)?/.*/mlflow/artifacts(?:/(?P<rest>.*))?")
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
_BUSY_S = 60.0


def relative_address(address: str) -> str:
    """An address in the form that names no home; one that is of no home's artefacts is left as it is."""
    found = _OLDER.fullmatch(address)
    return address if found is None else ROOT + (found["rest"] or "")


def local_path(mlflow_folder: Path, address: str) -> Path | None:
    """Where the files of an address of this home lie; None where it is none of ours.

    Parameters
    ----------
    mlflow_folder : Path
        `Settings.mlflow`.
    address : str
        In either form.
    """
    address = relative_address(address)
    if not address.startswith(ROOT):
        return None
    root = (mlflow_folder / FOLDER).absolute()
    path = root / address.removeprefix(ROOT).strip("/")
    return path if ".." not in path.parts else None


def make_addresses_relative(database: Path) -> int:
    """Give every stored address the form that names no home; returns how many had another.

    The first experiment, which MLflow makes by itself, gets an address under the home too: it was one under the folder
    that the process stood in.

    Raises
    ------
    sqlite3.Error
        The database cannot be read or written.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=_BUSY_S)) as opened:
        wanted: list[tuple[str, str, int, str]] = []
        for table, column in _COLUMNS:
            rows = opened.execute(
                f"SELECT rowid, {column} FROM {table} WHERE {column} LIKE '/%' OR {column} LIKE 'file:%'"
            )
            for row, address in rows.fetchall():
                changed = relative_address(address)
                if table == "experiments" and row == 0 and changed == address:
                    changed = f"{ROOT}0"
                if changed != address:
                    wanted.append((table, column, row, changed))
        with opened:
            for table, column, row, address in wanted:
                opened.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (address, row))
    return len(wanted)


def artifact_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """What reads and writes an address: the folder beside a home's database, or MLflow's server.

    Parameters
    ----------
    artifact_uri : str
        Of the scheme `SCHEME`.
    tracking_uri, registry_uri : str, optional
        As MLflow gives them; the one in force where absent.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository
    from mlflow.tracking import get_tracking_uri

    repository: Any
    database = _database_of(tracking_uri or get_tracking_uri())
    if database is None:
        repository = MlflowArtifactsRepository(artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri)
    elif (path := local_path(database.parent, artifact_uri)) is not None:
        repository = LocalArtifactRepository(path.as_uri())  # of a plain path MLflow would decode a "%2e%2e"
    else:
        raise MlflowException(f"{artifact_uri} does not lie under {database.parent}")
    found: ArtifactRepository = repository
    return found


def _database_of(tracking_uri: str) -> Path | None:
    """The sqlite file of a home that an address of MLflow names, if it does."""
    scheme, _, rest = tracking_uri.partition(":///")
    path = Path(rest)
    return path if scheme == "sqlite" and path.is_absolute() and path.name == DATABASE else None
