"""Removes what killed writers left in the lake: temporary files, and files that no manifest names.

A day is swept when it is written again; this is for the days that are not. Only whoever holds the key's lock may sweep:
a temporary file of a writer at work looks the same.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import read_json, sidecar_of
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import MANIFEST


def _named(folder: Path) -> set[str] | None:
    """Names a day's manifest vouches for; None where the manifest is garbled: that is the audit's to tell."""
    try:
        files = [folder / name for name in read_json(folder / MANIFEST)["files"]]
    except FileNotFoundError:
        files = []
    except (IntegrityError, KeyError, TypeError):
        return None
    return {MANIFEST, *(path.name for path in files), *(sidecar_of(path).name for path in files)}


def sweep_orphans(lake: Lake, dataset: str, key: str) -> list[Path]:
    """Remove what no manifest of a key names; returns what was removed.

    Day folders that are empty afterwards go too. Anything a person may have put there stays, and stays the audit's to
    name: only temporary files (`.*.tmp`) and data files (`part-*`) are ours to remove.
    """
    removed: list[Path] = []
    root = lake.key_path(dataset, key)
    if not root.exists():
        return removed
    removed += [path for path in root.glob(".*.tmp") if path.is_file()]
    for entry in os.scandir(root):
        if not entry.name.startswith("date="):
            continue
        names = {item.name for item in os.scandir(entry.path)}
        if MANIFEST in names and len(names) == 3 and not any(name.endswith(".tmp") for name in names):
            continue  # manifest, file, sidecar: nothing to read for the common case
        vouched = _named(Path(entry.path))
        if vouched is None:
            continue
        ours = {name for name in names if name.endswith(".tmp") or (name.startswith("part-") and name not in vouched)}
        removed += [Path(entry.path, name) for name in sorted(ours)]
    for path in removed:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in removed if path.parent != root}:
        with contextlib.suppress(OSError):
            folder.rmdir()
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith("date="):
                with contextlib.suppress(OSError):
                    os.rmdir(entry.path)
    return removed
