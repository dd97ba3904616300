"""Files are 0600 and folders 0700 under any umask; what lies open in an older home is closed, never opened further."""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ghtrader_base.private_files as private_files
from ghtrader.demo.run import MADE
from ghtrader_base.files import SHARED_MODE, atomic_write_json, atomic_write_text, ensure_dir, write_sidecar
from ghtrader_base.private_files import close_folder, close_home, make_file, make_folder, private_opener
from ghtrader_base.settings import HOME_FILES, HOME_FOLDERS, load_settings

ROOT = Path(__file__).parents[3]
OPEN_DIR, OPEN_FILE = 0o755, 0o644


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o077], ids=["umask 000", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes are looked at once a process."""
    monkeypatch.setattr(private_files, "_looked_at", set())
    monkeypatch.setattr(private_files, "_cannot", set())
    monkeypatch.setattr(logging.getLogger("ghtrader_base"), "propagate", True)


def older_home(home: Path) -> Path:
    """A home as earlier versions left it."""
    for name in ("data/ticks/day=1", "runs/a", "dagster/history", "locks", "accounts/paper/x"):
        (home / name).mkdir(parents=True)
    for name in ("data/ticks/day=1/part.parquet", "runs/a/journal.jsonl", "dagster/history/runs.db", "dagster/run-wal",
                 "ghtrader.toml", ".env"):  # fmt: skip
        (home / name).write_text("")
        (home / name).chmod(OPEN_FILE)
    for folder in (home, *home.rglob("*")):
        if folder.is_dir():
            folder.chmod(OPEN_DIR)
    (home / "accounts/paper/x").chmod(0o700)
    return home


def still_open(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in (folder, *folder.rglob("*")) if mode(path) & 0o077)


def close(home: Path) -> None:
    close_home(home, HOME_FOLDERS, HOME_FILES, frozenset({"locks"}))


# New files


def test_what_is_made_is_private_under_any_umask(tmp_path: Path, umask: None) -> None:
    home = tmp_path / "some" / "home"
    ensure_dir(home / "a" / "b")
    make_folder(home / "c" / "d")
    make_file(home / "c" / "base.sqlite")
    make_file(home / "nowhere" / "base.sqlite")
    atomic_write_text(home / "e" / "f" / "text", "x")
    atomic_write_json(home / "document.json", {})
    write_sidecar(home / "document.json")
    with open(home / "g", "ab", opener=private_opener) as file:
        file.write(b"x")
    assert still_open(tmp_path / "some") == []
    assert all(mode(path) == (0o700 if path.is_dir() else 0o600) for path in home.rglob("*"))


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=OPEN_DIR)
    (tmp_path / "file").write_text("")
    make_folder(tmp_path / "mine" / "x")
    make_folder(tmp_path / "mine")
    assert (mode(tmp_path / "mine"), mode(tmp_path / "mine" / "x")) == (OPEN_DIR, 0o700)
    for place in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(OSError):
            make_folder(place)


def test_what_belongs_to_the_source_tree_is_readable(tmp_path: Path, umask: None) -> None:
    atomic_write_text(tmp_path / "page.md", "x", SHARED_MODE)
    assert mode(tmp_path / "page.md") == OPEN_FILE


def test_every_program_of_ours_begins_with_it() -> None:
    """Modules that are run: all but those that write into the source tree."""
    writers = {"ghtrader/reference_docs.py", "ghtrader_market/reference/refresh_holidays.py", "ghtrader/__main__.py"}
    programs = {
        str(path.relative_to(ROOT)): path.read_text()
        for room in ROOT.glob("ghtrader*") if room.is_dir()
        for path in room.rglob("*.py") if '\nif __name__ == "__main__":' in path.read_text()
    }  # fmt: skip
    assert len(programs) > 8
    begins = 'if __name__ == "__main__":\n    keep_private()\n'
    assert {name for name, text in programs.items() if begins not in text} == writers
    assert "    keep_private()\n" in (ROOT / "ghtrader" / "cli.py").read_text()


def test_no_module_opens_a_file_further() -> None:
    """Modes for others are written nowhere but for the source tree."""
    wide = re.compile(r"0o[67][0-7]?[1-7]\b|0o[67][1-7][0-7]\b")
    found = {
        f"{path.relative_to(ROOT)}:{number}"
        for room in ROOT.glob("ghtrader*") if room.is_dir()
        for path in room.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if wide.search(line) and "SHARED_MODE" not in line
    }  # fmt: skip
    assert found == set()


# An older home


def test_an_older_home_is_closed_once_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = older_home(tmp_path / "home")
    private = {path: mode(path) for path in home.rglob("*") if not mode(path) & 0o077}
    with caplog.at_level(logging.WARNING, "ghtrader_base"):
        load_settings(home)
        load_settings(home)
    assert still_open(home) == []
    assert all(mode(path) == before for path, before in private.items())
    assert [record.getMessage() for record in caplog.records] == [
        f"{home}: other users could read files and folders of it (16); now only you can"
    ]


def test_a_closed_home_is_not_gone_through_again(tmp_path: Path) -> None:
    home = older_home(tmp_path / "home")
    (home / "runs").chmod(0o700)
    close(home)
    assert mode(home / "runs" / "a" / "journal.jsonl") == OPEN_FILE, "nobody else gets there"
    assert still_open(home) == ["runs/a", "runs/a/journal.jsonl"]


def test_a_users_own_files_keep_their_modes(tmp_path: Path) -> None:
    home = older_home(tmp_path / "home")
    for name in ("notes", "public"):
        (home / name).mkdir()
        (home / name).chmod(OPEN_DIR)
    (home / "notes" / "a").write_text("")
    (home / "notes" / "a").chmod(OPEN_FILE)
    close(home)
    assert still_open(home) == [".", "notes", "notes/a", "public"]


def test_a_home_beside_other_things_that_others_may_write_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = older_home(tmp_path / "home")
    (home / "notes").mkdir()
    home.chmod(0o777)
    with caplog.at_level(logging.WARNING, "ghtrader_base"):
        close(home)
    assert f"chmod go-w {home}" in caplog.text and mode(home) == 0o777


def test_a_folder_that_is_no_home_is_left_alone(tmp_path: Path) -> None:
    """`--home /var` by mistake: cache and tmp are names of ours, too."""
    for name in ("cache", "tmp", "lib"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(OPEN_DIR)
    tmp_path.chmod(OPEN_DIR)
    close(tmp_path)
    assert still_open(tmp_path) == [".", "cache", "lib", "tmp"]


def test_links_are_not_followed_and_shared_files_stay(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(OPEN_DIR)
    for name in ("file", "shared"):
        (outside / name).write_text("")
        (outside / name).chmod(OPEN_FILE)
    home = older_home(tmp_path / "home")
    (home / "runs" / "link").symlink_to(outside)
    (home / "runs" / "link to a file").symlink_to(outside / "file")
    (home / "runs" / "gone").symlink_to(outside / "gone")
    (home / "models").symlink_to(outside)
    os.link(outside / "shared", home / "runs" / "shared")
    os.mkfifo(home / "runs" / "pipe")
    (home / "runs" / "pipe").chmod(0o666)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(home / "runs" / "socket"))
        (home / "runs" / "socket").chmod(0o777)
        close(home)
    assert still_open(outside) == [".", "file", "shared"]
    assert [name for name in still_open(home) if not (home / name).is_symlink()] == ["runs/shared"]


def test_a_home_on_a_disk_without_modes_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = older_home(tmp_path / "home")
    monkeypatch.setattr(os, "chmod", lambda *_, **__: None)
    with caplog.at_level(logging.WARNING, "ghtrader_base"):
        close(home)
        close_folder(home / "runs")
    (said,) = [record.getMessage() for record in caplog.records]
    assert "stays open to other users" in said and "keeps no modes" in said and "another disk" in said


def test_a_home_of_somebody_else_is_named_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = older_home(tmp_path / "home")
    before = still_open(home)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with caplog.at_level(logging.WARNING, "ghtrader_base"):
        close(home)
    assert "belongs to another user" in caplog.text and still_open(home) == before


def test_a_locked_database_of_this_process_stays_locked(tmp_path: Path) -> None:
    """Closing another descriptor of a file drops the locks that SQLite holds on it."""
    import sqlite3

    home = older_home(tmp_path / "home")
    base = sqlite3.connect(home / "runs" / "x.db", isolation_level=None)
    base.execute("CREATE TABLE t (a)")
    (home / "runs" / "x.db").chmod(OPEN_FILE)
    base.execute("BEGIN EXCLUSIVE")
    close(home)
    code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM t')"
    command = [sys.executable, "-c", code, str(home / "runs" / "x.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    base.close()
    assert "database is locked" in done.stderr and mode(home / "runs" / "x.db") == 0o600


def test_what_the_demo_makes_is_known() -> None:
    assert MADE <= HOME_FOLDERS
