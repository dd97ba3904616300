"""Safe files: whole or not there, sidecars that catch a changed byte, hashes that do not depend on order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base import files
from ghtrader_base.errors import ConfigError, IntegrityError
from tests.support.waiting import PATIENCE_S


def test_sidecar_catches_one_changed_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    files.atomic_write_bytes(path, b"hello")
    files.write_sidecar(path)
    assert files.verify_sidecar(path) == files.sha256_file(path)
    path.write_bytes(b"hellp")
    with pytest.raises(IntegrityError):
        files.verify_sidecar(path)


def test_a_missing_sidecar_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(IntegrityError):
        files.verify_sidecar(tmp_path / "a")


def test_unwritable_folder_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError) as caught:
        files.atomic_write_text(tmp_path / "file" / "below", "x")
    assert caught.value.exit_code == 2 and "GHTRADER_HOME" in caught.value.hint


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_content_hash_ignores_key_order(obj: dict) -> None:
    assert files.content_hash(obj) == files.content_hash(dict(reversed(obj.items())))


def test_arrays_hash_sees_dtype_shape_and_value() -> None:
    a = np.arange(6)
    hashes = {files.arrays_hash(x) for x in (a, a.astype(np.int32), a.reshape(2, 3), a + 1, np.empty(0))}
    assert len(hashes) == 5
    assert files.arrays_hash(a.reshape(2, 3).T) == files.arrays_hash(np.ascontiguousarray(a.reshape(2, 3).T))


def test_kill_9_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    code = (
        "import sys; from pathlib import Path; from ghtrader_base.files import atomic_write_json\n"
        "p = Path(sys.argv[1]); i = 0\n"
        "while True:\n    i += 1; atomic_write_json(p, {'i': i, 'pad': [i] * 20000})"
    )
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)])
        deadline = time.monotonic() + PATIENCE_S
        before = path.stat().st_mtime_ns if path.exists() else 0
        while (not path.exists() or path.stat().st_mtime_ns == before) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        obj = files.read_json(path)
        assert set(obj["pad"]) == {obj["i"]}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, '{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}', "{", "\udcff", "", "[NaN]", "-Infinity", "1e999",
        f"[{1 << 64}]", "9" * 5000, '"\udced\udca0\udc80"',
    ],
)  # fmt: skip
def test_json_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(IntegrityError, match="is not valid JSON"):
        files.read_json(path)


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(FileNotFoundError):
        files.read_json(path)
    os.mkfifo(path)
    with pytest.raises(IntegrityError, match="is no file"):
        files.read_json(path)
    for read in (files.sha256_file, files.open_file):
        with pytest.raises(OSError, match="it is no file"):
            read(path)


def test_a_folder_and_a_link_to_itself_are_no_documents(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    for name in ("folder.json", "loop.json"):
        with pytest.raises(IntegrityError, match="is no file"):
            files.read_json(tmp_path / name)


def test_numbers_that_fit_are_read() -> None:
    text = f'{{"a": {-(1 << 63)}, "b": {(1 << 64) - 1}, "c": -0.5, "d": 1e300, "e": "\\u4e2d"}}'
    assert files.parse_json(text) == {"a": -(1 << 63), "b": (1 << 64) - 1, "c": -0.5, "d": 1e300, "e": "中"}


def test_an_edited_document_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    document = {"contract": "SHFE.cu2505", "days": [1, 2.5, None], "更": {"b": True}}
    files.atomic_write_json(path, files.with_checksum(document))
    assert files.read_checked_json(path) == (document, True)
    path.write_text(path.read_text().replace("cu2505", "cu2512"))
    with pytest.raises(IntegrityError, match="was edited"):
        files.read_checked_json(path)
    files.atomic_write_json(path, document)
    assert files.read_checked_json(path) == (document, False), "one of an older version has no checksum"
    path.write_text("[1]")
    with pytest.raises(IntegrityError, match="no JSON object"):
        files.read_checked_json(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"), lambda text: text + text, lambda text: text.rstrip("\n"),
        lambda text: text.replace("  ", " *"), lambda text: text.upper(), lambda text: text.replace("a.bin", "b.bin"),
        lambda text: "\ufeff" + text, lambda text: "", lambda text: text.replace("  ", " ", 1),
    ],
)  # fmt: skip
def test_a_sidecar_is_one_line(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc")
    digest = files.write_sidecar(path)
    assert files.verify_sidecar(path) == files.sidecar_digest(files.sidecar_of(path)) == digest
    sidecar = files.sidecar_of(path)
    sidecar.write_bytes(change(sidecar.read_text()).encode())
    with pytest.raises(IntegrityError, match="sidecar"):
        files.verify_sidecar(path)
