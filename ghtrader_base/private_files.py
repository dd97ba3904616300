"""Keeps what is written from other users of the machine: files 0600, folders 0700, under any umask.

Every process of ours begins with `keep_private`, and what it starts inherits that. `make_folder` and `private_opener`
hold in a process that is not ours, too (a notebook, a test). What an earlier version left open `close_home` and
`close_folder` close when the settings of its home are loaded; nothing is ever opened further. Homes that several users
share are not supported. Which folders there are is `settings`' business, how files become whole that of `files`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import stat
from pathlib import Path

from ghtrader_base.errors import ConfigError

FILE_MODE, FOLDER_MODE = 0o600, 0o700
_OTHERS, _WRITING = 0o077, 0o022
_log = logging.getLogger(__name__)
_looked_at: set[Path] = set()
"""Folders that this process has seen to."""
_cannot: set[int] = set()
"""Devices of which it was said that what lies there cannot be closed."""


def keep_private() -> None:
    """Let nobody but this user read what this process and its children make from now on: first thing of a process."""
    os.umask(_OTHERS)


def private_opener(path: str, flags: int) -> int:
    """Open a file that is 0600 where it has to be made: `open(path, "ab", opener=private_opener)`; as `open_plain`."""
    return open_plain(Path(path), flags)


def open_plain(path: Path, flags: int) -> int:
    """A close-on-exec descriptor of a file that is ours to write, made 0600 where `flags` say so.

    A link is not followed: what is written would destroy whatever it leads to. A pipe is not waited for.

    Raises
    ------
    ConfigError
        A link, a folder, a pipe, a socket or a device has the name, or another user owns what has it.
    OSError
        It cannot be opened.
    """
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
    except OSError as exc:
        if (why := _no_plain_file(path, exc)) is not None:
            raise why from exc
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise in_its_place(path, "something else than a file")
    return fd


def _no_plain_file(path: Path, error: OSError) -> ConfigError | None:
    """Why a file of ours cannot be opened, where what lies there is to blame."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(found.st_mode))
    if kind is not None:
        return in_its_place(path, kind)
    if isinstance(error, PermissionError) and found.st_uid != os.geteuid():
        owner = f"another user ({found.st_uid}) owns {path}"
        return ConfigError(owner, f"take it over: sudo chown {os.geteuid()} {shlex.quote(str(path))}")
    return None


def in_its_place(path: Path, kind: str) -> ConfigError:
    """The error where something else than a file has the name of one: `kind` is what ("a folder")."""
    name = shlex.quote(str(path))
    hint = f"move it away (mv {name} {name}.old), then run the same command again"
    return ConfigError(f"{path} is {kind}, where a file is expected", hint)


def make_file(path: Path) -> None:
    """Make an empty file, 0600, where there is none: SQLite, whose logs get the same mode, cannot be told how to.

    Where that cannot be done nothing happens: who opens the file says why.
    """
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))


def make_folder(path: Path) -> None:
    """Make a folder and the parents it lacks, each 0700; one that is there keeps its mode.

    Raises
    ------
    OSError
        The file system says no, or something else has the name.
    """
    try:
        _make_one(path)
    except FileNotFoundError:
        if path.parent == path:
            raise
        if not path.parent.is_dir():
            make_folder(path.parent)
        _make_one(path)  # once: somebody else may have made the parent, and in /proc nobody can make anything


def _make_one(path: Path) -> None:
    try:
        os.mkdir(path, FOLDER_MODE)
    except FileNotFoundError:
        raise
    except OSError:  # also on a read-only disk, where it is there already
        if not path.is_dir():
            raise


def close_home(home: Path, folders: frozenset[str], files: frozenset[str], telling: frozenset[str]) -> None:
    """Close to other users what lies open in a home, once a process; said in one line of the log.

    A folder at the top of a home that nobody else may enter counts as closed, with all that is in it. The home itself
    is closed where it holds nothing besides ours; another's folder, and whatever a link leads to, is left as it is.

    Parameters
    ----------
    home : Path
        Nothing happens where it is not there yet.
    folders, files : frozenset of str
        Names at its top that are ours.
    telling : frozenset of str
        Those of the folders without one of which this is no home yet, but any folder that somebody named.
    """
    if home in _looked_at or not hasattr(os, "O_PATH"):  # which Linux alone has
        return
    _looked_at.add(home)
    try:
        found = os.stat(home)
        names = set(os.listdir(home))
    except OSError:  # said by who needs it
        return
    if found.st_uid != os.geteuid():
        _log.warning(
            "%s belongs to another user (%d), who can replace what is in it: use a home of your own (--home DIR)",
            home, found.st_uid,
        )  # fmt: skip
        return
    closed = sum(_close_file(home / name) for name in sorted(names & files))
    if names & telling:
        closed += sum(_close_tree(home / name) for name in sorted(names & folders))
    sticky = found.st_mode & stat.S_ISVTX
    if names <= folders | files and not sticky and home not in (home.parent, _of_the_user()):
        _close_file(home)
    elif found.st_mode & _WRITING and not sticky:
        _log.warning("%s: other users can replace what is in it: chmod go-w %s", home, home)
    _tell(home, closed)


def close_folder(folder: Path) -> None:
    """As `close_home`, for a folder that is ours whole."""
    if folder in _looked_at or not hasattr(os, "O_PATH"):
        return
    _looked_at.add(folder)
    with contextlib.suppress(OSError):
        if os.stat(folder).st_uid == os.geteuid():
            _tell(folder, _close_tree(folder))


def _of_the_user() -> Path:
    return Path(os.path.expanduser("~"))


def _tell(place: Path, closed: int) -> None:
    if closed:
        _log.warning("%s: other users could read files and folders of it (%d); now only you can", place, closed)


def _close_tree(folder: Path) -> int:
    """Close a folder that others may enter, itself last: an interrupted call is made good by the next."""
    try:
        found = os.lstat(folder)
    except OSError:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        if stat.S_ISLNK(found.st_mode):
            _log.info("%s is a link: the modes of what it leads to are left as they are", folder)
        return _close_file(folder)
    if not found.st_mode & _OTHERS or found.st_uid != os.geteuid():
        return 0
    closed = 0
    for place, _, files, fd in os.fwalk(folder, topdown=False):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                closed += _close_file(Path(place) / name, name, fd)
        closed += _close_descriptor(fd, Path(place))
    return closed


def _close_file(path: Path, name: str | None = None, folder: int | None = None) -> int:
    """Close a file (or folder) of this user that is no link; 1 where it was open."""
    try:
        # Not opened to be read: closing that would drop the locks that SQLite holds on it in this process.
        fd = os.open(name or path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return 0
    try:
        return _close_descriptor(fd, path)
    finally:
        os.close(fd)


def _close_descriptor(fd: int, path: Path) -> int:
    found = os.fstat(fd)
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFLNK or found.st_uid != os.geteuid() or not found.st_mode & _OTHERS:
        return 0
    if kind != stat.S_IFDIR and found.st_nlink > 1:  # it has a name elsewhere, where it may be meant for others
        return 0
    try:
        os.chmod(f"/proc/self/fd/{fd}", stat.S_IMODE(found.st_mode) & ~_OTHERS)
    except OSError as exc:
        _cannot_close(path, found.st_dev, exc.strerror or str(exc))
        return 0
    if os.fstat(fd).st_mode & _OTHERS:
        _cannot_close(path, found.st_dev, "its file system keeps no modes")
        return 0
    return 1


def _cannot_close(path: Path, device: int, why: str) -> None:
    if device not in _cannot:
        _cannot.add(device)
        _log.warning("%s stays open to other users of this machine: %s; choose a home on another disk", path, why)
