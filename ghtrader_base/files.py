"""Writes files safely: a temporary path, fsync, rename; sha256 sidecars; content hashes.

Whatever reaches its final name here is whole: a kill at any moment leaves the old file or the new one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ghtrader_base.disk_errors import disk_errors, refusal_of
from ghtrader_base.errors import ConfigError, IntegrityError
from ghtrader_base.private_files import FILE_MODE, make_folder

SHARED_MODE = 0o644
"""Of what belongs to the source tree."""
_CHUNK = 1 << 20


def ensure_dir(path: Path) -> Path:
    """Make `path` and its parents, for this user alone.

    Raises
    ------
    ConfigError
        One may not write there.
    UnwritableError
        The disk refuses.
    """
    try:
        with disk_errors(path):
            make_folder(path)
    except OSError as exc:
        raise ConfigError(
            f"cannot write under {path}: {exc.strerror or exc}",
            "choose a folder you may write to with --home DIR or GHTRADER_HOME",
        ) from exc
    return path


def fsync_dir(path: Path) -> None:
    """Make a rename inside `path` durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def atomic_write_bytes(path: Path, data: bytes, mode: int = FILE_MODE) -> None:
    """Replace `path` by `data` in one step, durable when this returns; for this user alone, unless `mode` says so.

    Raises
    ------
    ConfigError
        One may not write there.
    UnwritableError
        The disk refuses: `path` is as it was.
    """
    ensure_dir(path.parent)
    with disk_errors(path, doing=f"cannot write {path}"):
        _replace(path, data, mode)


def _replace(path: Path, data: bytes, mode: int) -> None:
    try:
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as exc:
        if refusal_of(exc) is not None:
            raise
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}", "check the folder's permissions") from exc
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode != FILE_MODE:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def atomic_write_text(path: Path, text: str, mode: int = FILE_MODE) -> None:
    """As `atomic_write_bytes`, for UTF-8 text."""
    atomic_write_bytes(path, text.encode(), mode)


def atomic_write_json(path: Path, obj: Any, mode: int = FILE_MODE) -> None:
    """As `atomic_write_bytes`, for a JSON document that a person may read (indented, keys in given order)."""
    atomic_write_text(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n", mode)


def open_file(path: Path) -> BinaryIO:
    """Open a file to be read; OSError where it is missing or something else: a pipe would be waited for without end."""
    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)

    file = open(path, "rb", opener=opener)  # noqa: SIM115 (handed on)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return file


def parse_json(data: str | bytes) -> Any:
    """A JSON document; ValueError where it is none, says a name twice, or is nested too deeply to be read."""
    try:
        return json.loads(data, object_pairs_hook=_object)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it says a name twice")
    return found


def read_json(path: Path) -> Any:
    """The JSON document at `path`; `IntegrityError` where it does not parse or is no file."""
    try:
        with open_file(path) as file:
            return parse_json(file.read())
    except FileNotFoundError:
        raise
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        raise IntegrityError(f"{path} is no file", "remove it and rebuild") from exc
    except ValueError as exc:
        raise IntegrityError(f"{path} is not valid JSON: {exc}", "restore it or delete it and rebuild") from exc


def append_durable(fd: int, data: bytes) -> None:
    """Write all of `data` to an O_APPEND descriptor and fsync it before returning."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    os.fdatasync(fd)


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sidecar_of(path: Path) -> Path:
    """Where the sha256 of `path` is kept."""
    return path.with_name(path.name + ".sha256")


def write_sidecar(path: Path) -> str:
    """Write `<path>.sha256` in sha256sum's own format and return the hex digest."""
    digest = sha256_file(path)
    atomic_write_text(sidecar_of(path), f"{digest}  {path.name}\n")
    return digest


def verify_sidecar(path: Path) -> str:
    """Check `path` against its sidecar.

    Returns
    -------
    str
        The hex digest.

    Raises
    ------
    IntegrityError
        The sidecar is missing or differs.
    """
    sidecar = sidecar_of(path)
    if not sidecar.exists():
        raise IntegrityError(f"{path} has no sha256 sidecar", "rebuild the day it belongs to")
    with open_file(sidecar) as file:
        expected = (file.read(_CHUNK).decode(errors="replace").split() or [""])[0]
    found = sha256_file(path)
    if found != expected:
        raise IntegrityError(f"{path} does not match its sha256 sidecar", "rebuild the day it belongs to")
    return found


def content_hash(obj: Any) -> str:
    """Hex sha256 of a JSON-able object, independent of key order and white space."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def arrays_hash(*arrays: np.ndarray) -> str:
    """Hex sha256 of arrays: dtype, shape and bytes of each, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        contiguous = np.ascontiguousarray(array)
        digest.update(f"{contiguous.dtype.str}{contiguous.shape}".encode())
        digest.update(contiguous.data if contiguous.size else b"")
    return digest.hexdigest()
