"""Tells which code made a result: the package's version and, in a checkout, the commit it stands on."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path


def _commit(root: Path) -> str:
    git = root / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).exists():
            return (git / name).read_text().strip()
        packed = (git / "packed-refs").read_text().splitlines()
        return next(line.split()[0] for line in packed if line.endswith(" " + name))
    except (OSError, StopIteration):
        return ""


@cache
def git_commit() -> str:
    """The commit that the code stands on, 40 hex digits; empty outside of a git checkout."""
    return _commit(Path(__file__).resolve().parent.parent)


@cache
def code_version() -> str:
    """`0.1.0+16b0103c2d4e` in a git checkout, the bare version elsewhere."""
    try:
        version = metadata.version("ghtrader")
    except metadata.PackageNotFoundError:
        version = "0"
    commit = git_commit()
    return f"{version}+{commit[:12]}" if commit else version
