"""Stores a day's quality as JSON under `data/quality/`, valid only for the file it was counted on.

A stored result names the content hash of the day, the size and time of its file and a key of everything else that
went into it (thresholds, sessions, the version of the code that counts); where one of them differs, it is not there.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from ghtrader_base.errors import IntegrityError
from ghtrader_base.files import atomic_write_json, read_json
from ghtrader_market.quality.anomalies import Anomaly
from ghtrader_market.quality.day_profile import Distribution, Profile
from ghtrader_market.quality.readiness_types import DayQuality, Readiness
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.manifests import DayManifest

VERSION = 3
"""Counts up when the same ticks are counted or judged differently."""


def quality_path(lake: Lake, dataset: str, symbol: str, day: date) -> Path:
    """Where a day's result is kept."""
    return lake.root / "quality" / dataset / f"symbol={symbol}" / f"{day.isoformat()}.json"


def load_quality(lake: Lake, manifest: DayManifest, file: Path, key: str) -> DayQuality | None:
    """The stored result, or None where there is none for this file and key."""
    path = quality_path(lake, manifest.dataset, manifest.key, date.fromisoformat(manifest.day))
    if not path.exists():
        return None
    try:
        document = read_json(path)
        if document["of"] != _identity(manifest, file, key):
            return None
        return _from_json(document)
    except (IntegrityError, KeyError, TypeError, ValueError, OSError):
        return None  # it can always be counted again


def save_quality(lake: Lake, manifest: DayManifest, file: Path, key: str, found: DayQuality) -> None:
    """Keep a result; the lake itself is not touched."""
    document = {
        "of": _identity(manifest, file, key),
        "readiness": found.readiness.to_json(),
        "anomalies": [asdict(anomaly) for anomaly in found.anomalies],
        "profile": None if found.profile is None else found.profile.to_json(),
    }
    path = quality_path(lake, manifest.dataset, manifest.key, date.fromisoformat(manifest.day))
    atomic_write_json(path, document)


def _identity(manifest: DayManifest, file: Path, key: str) -> dict[str, Any]:
    stat = file.stat()
    return {
        "content_hash": manifest.content_hash,
        "source": manifest.source,
        "file": file.name,
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "key": key,
        "version": VERSION,
    }


def _from_json(document: dict[str, Any]) -> DayQuality:
    told = document["readiness"]
    anomalies = tuple(
        Anomaly(a["kind"], a["count"], a["seconds"], tuple((row, ns) for row, ns in a["examples"]))
        for a in document["anomalies"]
    )
    figures = dict(document["profile"])
    for name in ("interval_s", "spread_ticks"):
        figures[name] = Distribution(**figures[name])
    for name in ("session_rows", "session_seconds", "depth_lots"):
        figures[name] = tuple(figures[name])
    return DayQuality(Readiness(**{**told, "day": date.fromisoformat(told["day"])}), anomalies, Profile(**figures))
