"""Hashes everything a lake holds, for runs that must leave the same to the byte.

Left out is what says when and by whom and is no content: the manifests of runs, the index (a copy of the manifests),
the list of contracts with the time it was asked for; of a day's manifest the id of the run that wrote it, of the list
of holidays when it was fetched, and the checksum over that.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_NOT_CONTENT = ("manifests/", "coverage.sqlite", "catalog/")
_LEFT_OUT = {"_manifest.json": ("run_id", "checksum"), "holidays.json": ("fetched_at", "checksum")}


def tree(data: Path) -> dict[str, str]:
    """Path -> sha256 of every file, without the entries of `_LEFT_OUT`."""
    found = {}
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        if not path.is_file() or name.startswith(_NOT_CONTENT):
            continue
        content = path.read_bytes()
        if left_out := _LEFT_OUT.get(path.name):
            content = json.dumps({**json.loads(content), **dict.fromkeys(left_out, "")}).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def folders(data: Path) -> set[str]:
    """Every folder, so that an empty one left behind is seen too."""
    found = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_dir()}
    return {name for name in found if not f"{name}/".startswith(_NOT_CONTENT)}
