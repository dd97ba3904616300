"""The disk's refusal is told in one sentence, whichever library met it, and nothing else is taken for one."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ghtrader_base.disk_errors import DiskRefusal, disk_error, disk_errors, error_of_text
from ghtrader_base.disk_space import require_room, room_at, size_words
from ghtrader_base.errors import (
    ConfigError,
    DiskFullError,
    FailedError,
    NoRoomError,
    UnwritableError,
    error_from_name,
)
from ghtrader_base.files import atomic_write_bytes, ensure_dir
from ghtrader_base.reserved_file import ReservedFile
from tests.support.failing_disk import nothing_grows, small_disk

TABLE = pa.table({"n": np.random.default_rng(0).integers(0, 1 << 60, 50_000)})


@pytest.mark.parametrize(
    ("number", "refusal", "kind"),
    [
        (errno.ENOSPC, DiskRefusal.FULL, DiskFullError),
        (errno.EDQUOT, DiskRefusal.QUOTA, DiskFullError),
        (errno.EFBIG, DiskRefusal.FILE_SIZE, DiskFullError),
        (errno.EROFS, DiskRefusal.READ_ONLY, UnwritableError),
        (errno.EIO, DiskRefusal.BROKEN, UnwritableError),
        (errno.EMFILE, DiskRefusal.OPEN_FILES, UnwritableError),
        (errno.ENFILE, DiskRefusal.OPEN_FILES, UnwritableError),
    ],
)
def test_an_errno_becomes_a_sentence_that_names_the_file(
    tmp_path: Path, number: int, refusal: DiskRefusal, kind: type[UnwritableError]
) -> None:
    found = disk_error(OSError(number, os.strerror(number), str(tmp_path / "x")))
    assert type(found) is kind and found.exit_code == 1 and found.hint
    assert found.message.startswith(f"{refusal.value}: cannot write {tmp_path / 'x'}")
    assert ("are free there" in found.message) == (kind is DiskFullError)


@pytest.mark.parametrize(
    "exc",
    [
        OSError(errno.EACCES, "Permission denied", "x"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "no space left on device"),
        sqlite3.OperationalError("database is locked"),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        ValueError("5 rows"),
        FailedError("the source said: no space left on device"),
    ],
)
def test_nothing_else_is_taken_for_the_disk(exc: Exception, tmp_path: Path) -> None:
    assert disk_error(exc, tmp_path) is None
    with pytest.raises(type(exc)), disk_errors(tmp_path):
        raise exc


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: \"No space left on device\" })",
         DiskRefusal.FULL),
        ("IO Error: Could not write file: No space left on device", DiskRefusal.FULL),
        ("could not write [errno=28, fd=12]", DiskRefusal.FULL),
        ("[Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp']", DiskRefusal.FULL),
        ("(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT INTO runs ...]", DiskRefusal.FULL),
        ("(sqlite3.OperationalError) attempt to write a readonly database", DiskRefusal.READ_ONLY),
        ("(sqlite3.OperationalError) disk I/O error", DiskRefusal.BROKEN),
        ("failed to write: Disk quota exceeded (os error 122)", DiskRefusal.QUOTA),
        ("the source has no tick; errno = 285", None),
    ],
)  # fmt: skip
def test_words_of_other_libraries_are_known(text: str, refusal: DiskRefusal | None) -> None:
    found = error_of_text(text)
    assert (found.message.split(":")[0] if found else None) == (refusal.value if refusal else None)


def _sqlite(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.execute("CREATE TABLE t (x)")
        base.execute("INSERT INTO t VALUES (zeroblob(300000))")
        base.commit()


def _sqlalchemy(path: Path) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (x)"))
        connection.execute(sa.text("INSERT INTO t VALUES (zeroblob(300000))"))


WRITERS: dict[str, Callable[[Path], object]] = {
    "python": lambda path: path.write_bytes(bytes(300_000)),
    "numpy": lambda path: np.save(path, np.zeros(100_000)),
    "parquet by path": lambda path: pq.write_table(TABLE, path),
    "arrow": lambda path: pa.OSFile(str(path), "wb").write(bytes(300_000)),
    "sqlite": _sqlite,
    "sqlalchemy": _sqlalchemy,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_real_libraries_beyond_a_limit_of_file_sizes(tmp_path: Path, writer: str) -> None:
    with nothing_grows(tmp_path, most=1 << 16):
        with pytest.raises(Exception) as caught:
            WRITERS[writer](tmp_path / "x")
        assert isinstance(disk_error(caught.value, tmp_path), DiskFullError)


@pytest.mark.parametrize("scarce", ["room", "inodes"])
def test_real_libraries_on_a_full_disk(tmp_path: Path, scarce: str) -> None:
    with small_disk(tmp_path / "disk") as disk:
        for name, write in WRITERS.items():
            disk.empty()
            if scarce == "room":
                disk.leave(0)
            else:
                disk.leave_inodes(0)
            with pytest.raises(Exception) as caught:
                write(disk.folder / name.replace(" ", "-"))
            found = disk_error(caught.value, disk.folder)
            assert isinstance(found, DiskFullError), (name, caught.value)
            assert ("no inodes are left" if scarce == "inodes" else "the disk is full") in found.message, name


def test_a_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path)])
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(FileNotFoundError) as caught, nothing_grows(tmp_path):
        tempfile.gettempdir()
    assert isinstance(disk_error(caught.value, tmp_path), DiskFullError)


def test_our_own_writers_leave_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    atomic_write_bytes(path, b"old")
    with pytest.raises(DiskFullError, match=f"cannot write {path}; .*limit is 4.1 kB"), nothing_grows(tmp_path, 4096):
        atomic_write_bytes(path, bytes(5000))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.json"]


def test_no_inode_left_for_a_folder_or_a_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        atomic_write_bytes(disk.folder / "x", b"old")
        disk.leave_inodes(0)
        for write in (lambda: ensure_dir(disk.folder / "a"), lambda: atomic_write_bytes(disk.folder / "x", b"new")):
            with pytest.raises(DiskFullError, match="no inodes are left"):
                write()
        assert (disk.folder / "x").read_bytes() == b"old"


def test_what_one_may_not_write_stays_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match="cannot write under"):
        ensure_dir(Path("/proc/nothing/here"))


def test_it_crosses_a_process_as_itself() -> None:
    found = error_from_name("DiskFullError", "the disk is full", "make room")
    assert type(found) is DiskFullError and not isinstance(found, FailedError), "that is a source's fault"


def test_room_is_told_and_demanded(tmp_path: Path) -> None:
    room = room_at(tmp_path / "not" / "yet" / "there")
    assert room is not None and room.folder == tmp_path and 0 < room.free <= room.total and not room.none
    require_room(tmp_path, 1, "a byte")
    with pytest.raises(NoRoomError, match=r"a year of ticks needs at least .* and .* of .* are free in") as caught:
        require_room(tmp_path, 2 * room.total, "a year of ticks")
    assert caught.value.exit_code == 3
    assert [size_words(size) for size in (12, 4096, 2.5e6, 1.25e9)] == ["12 bytes", "4.1 kB", "2.5 MB", "1.2 GB"]


def test_reserved_room_takes_a_document_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        room = ReservedFile(disk.folder / "summary.json", 1 << 18)
        disk.leave(0)
        room.write(b"x" * 100_000)
        assert (disk.folder / "summary.json").read_bytes() == b"x" * 100_000
        assert sorted(os.listdir(disk.folder)) == [".ballast", "summary.json"]
        with pytest.raises(DiskFullError, match="cannot keep room"):
            ReservedFile(disk.folder / "other.json", 1 << 20)
        assert sorted(os.listdir(disk.folder)) == [".ballast", "summary.json"]


def test_reserved_room_that_is_too_small_leaves_nothing(tmp_path: Path) -> None:
    room = ReservedFile(tmp_path / "summary.json", 1 << 10)
    with pytest.raises(DiskFullError), nothing_grows(tmp_path, 1 << 12):
        room.write(bytes(1 << 13))
    assert os.listdir(tmp_path) == []
    room.release()
    other = ReservedFile(tmp_path / "summary.json", 1 << 10)
    other.write(bytes(1 << 13))
    assert (tmp_path / "summary.json").stat().st_size == 1 << 13
