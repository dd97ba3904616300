"""Writes files safely: a temporary path, fsync, rename; sha256 sidecars; content hashes.

Whatever reaches its final name here is whole: a kill at any moment leaves the old file or the new one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ghtrader_base.disk_errors import disk_errors, refusal_of
from ghtrader_base.errors import ConfigError, IntegrityError
from ghtrader_base.private_files import FILE_MODE, in_its_place, make_folder

if TYPE_CHECKING:
    import numpy as np

SHARED_MODE = 0o644
"""Of what belongs to the source tree."""
CHECKSUM = "checksum"
LARGEST_DOCUMENT = 1 << 28
"""Bytes of a document that is read as a whole."""
_CHUNK = 1 << 20
_INT_DIGITS = 20
_NO_FILE = (errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV)
"""What opening and `open_file` say of what is there and is no file."""


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
        One may not write there, or a folder has the name.
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
    except IsADirectoryError as exc:
        Path(temporary).unlink(missing_ok=True)
        raise in_its_place(path, "a folder") from exc
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


def require_file(path: Path) -> Path:
    """`path`, for a library that opens it by itself; OSError as `open_file`."""
    open_file(path).close()
    return path


def parse_json(data: str | bytes) -> Any:
    """A JSON document that means one thing.

    Raises
    ------
    ValueError
        It is none, is not UTF-8, says a name twice, is nested too deeply to be read, or holds NaN, an infinity or an
        integer of more than 64 bits.
    """
    try:
        return json.loads(
            data.decode() if isinstance(data, bytes) else data,
            object_pairs_hook=_object,
            parse_constant=_no_number,
            parse_float=_float,
            parse_int=_int,
        )
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it says a name twice")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"it holds {text}, which is no number")


def _float(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"it holds {text[:20]}, which no float can hold")
    return found


def _int(text: str) -> int:
    if len(text) > _INT_DIGITS or not -(1 << 63) <= (found := int(text)) < 1 << 64:
        raise ValueError(f"it holds {text[:20]}..., an integer of more than 64 bits")
    return found


def read_bytes(path: Path) -> bytes:
    """A file's bytes.

    Raises
    ------
    FileNotFoundError
        There is nothing.
    IntegrityError
        A folder, a pipe, a device or a socket lies there, a link that leads to itself, or a file too large for a
        document (`LARGEST_DOCUMENT`).
    OSError
        It cannot be read.
    """
    try:
        with open_file(path) as file:
            data = file.read(LARGEST_DOCUMENT + 1)
    except OSError as exc:
        if exc.errno not in _NO_FILE:
            raise
        raise IntegrityError(f"{path} is no file", "remove it and rebuild") from exc
    if len(data) > LARGEST_DOCUMENT:
        raise IntegrityError(f"{path} is larger than any document", "remove it and rebuild")
    return data


def read_json(path: Path) -> Any:
    """The JSON document at `path`; IntegrityError where `parse_json` refuses it, else errors as `read_bytes`."""
    try:
        return parse_json(read_bytes(path))
    except ValueError as exc:
        raise IntegrityError(f"{path} is not valid JSON: {exc}", "restore it or delete it and rebuild") from exc


def with_checksum(document: Any) -> Any:
    """The document with its own `content_hash` as a last field, so that an edit is found out by `read_checked_json`."""
    return {**document, CHECKSUM: content_hash(document)}


def read_checked_json(path: Path) -> tuple[Any, bool]:
    """A document that `with_checksum` was written of.

    Returns
    -------
    dict, bool
        Its fields, and whether it had a checksum: files of older versions have none.

    Raises
    ------
    FileNotFoundError, OSError, IntegrityError
        As `read_json`; also where it is no object, or not what its checksum was made of.
    """
    document = read_json(path)
    if not isinstance(document, dict):
        raise IntegrityError(f"{path} holds no JSON object", "restore it or delete it and rebuild")
    known = checksum_holds(document)
    if known is False:
        raise IntegrityError(f"{path} was edited: its checksum is of other content", "restore it or make it again")
    document.pop(CHECKSUM, None)
    return document, known is not None


def checksum_holds(document: Any) -> bool | None:
    """Whether a document is what its checksum was made of; None where it has none."""
    if CHECKSUM not in document:
        return None
    return bool(document[CHECKSUM] == content_hash({k: v for k, v in document.items() if k != CHECKSUM}))


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


def sidecar_digest(sidecar: Path) -> str:
    """The hex digest a sidecar names.

    Raises
    ------
    ValueError
        It is not the one line that `write_sidecar` writes: other digits, line ends, names or further lines.
    OSError, IntegrityError
        It cannot be read, as `read_bytes`.
    """
    text = read_bytes(sidecar).decode("ascii", errors="replace")
    digest, name = text[:64], sidecar.name.removesuffix(".sha256")
    if text != f"{digest}  {name}\n" or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ValueError("it is not one line of sha256 and file name")
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
    try:
        expected = sidecar_digest(sidecar)
    except ValueError as exc:
        raise IntegrityError(f"{sidecar} is no sidecar: {exc}", "rebuild the day it belongs to") from exc
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
    import numpy as np

    digest = hashlib.sha256()
    for array in arrays:
        contiguous = np.ascontiguousarray(array)
        digest.update(f"{contiguous.dtype.str}{contiguous.shape}".encode())
        digest.update(contiguous.data if contiguous.size else b"")
    return digest.hexdigest()
