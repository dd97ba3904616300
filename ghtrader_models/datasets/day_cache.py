"""Caches days of features and labels as memory-mapped arrays; the cache may be deleted at any time.

What belongs here: one day from Parquet to plain arrays, once, and opening them. The cache is keyed by the files of
features and labels and by their content, which is checked where arrays are made of it: a rebuilt or an edited day never
finds another's arrays. What windows there are in a day is `windows`' business.

Layout of ``cache/days/<key>/``: ``X.npy`` float32[n, F], ``labels.npy`` int8[H, n], ``datetime_ns.npy`` int64[n],
``warm.npy`` bool[n], ``mid.npy`` float64[n], a sha256 beside each.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.disk_space import require_room
from ghtrader_base.errors import FailedError, IntegrityError, UsageError
from ghtrader_base.files import content_hash, ensure_dir, verify_sidecar, write_sidecar
from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.built_day import FEATURES, LABELS, day_facts, day_manifests, require_provenance
from ghtrader_models.datasets.day_integrity import require_content, require_unchanged, schedule_of
from ghtrader_models.factors.factor_set import FactorSetSpec
from ghtrader_models.inference.predictors import WarmTracker
from ghtrader_models.labels.labels import LabelSpec, label_column

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import DayManifest

_FORMAT = 2
_ARRAYS = ("X", "labels", "datetime_ns", "warm", "mid")


@dataclass(frozen=True)
class MappedArray:
    """A read-only array over a mapped file, and the mapping it lies in; another process gets it by its path."""

    path: Path
    array: np.ndarray
    mapping: mmap.mmap

    def __reduce__(self) -> tuple[Any, ...]:
        return map_array, (self.path,)

    def forget(self) -> None:
        """Give the pages back to the system; the array stays as it was and is read again where it is asked."""
        if hasattr(self.mapping, "madvise"):
            self.mapping.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, kw_only=True)
class CachedDay:
    """One day, opened.

    Attributes
    ----------
    facts : DayFacts
        What the day is.
    names : tuple of str
        Factors, columns of `X`.
    factor_set_spec : FactorSetSpec
    label_spec : LabelSpec
        As the manifests have them.
    X : MappedArray
        float32[n, F].
    labels : int8[H, n]
        By the label spec's horizons.
    datetime_ns : int64[n]
    warm : bool[n]
        As `datasets.Dataset.warm`.
    mid : float64[n]
    """

    facts: DayFacts
    names: tuple[str, ...]
    factor_set_spec: FactorSetSpec
    label_spec: LabelSpec
    X: MappedArray
    labels: np.ndarray
    datetime_ns: np.ndarray
    warm: np.ndarray
    mid: np.ndarray

    def y(self, horizon: int) -> np.ndarray:
        """int8[n]; `UsageError` where the horizon was not built."""
        built = self.label_spec.horizons
        if horizon not in built:
            raise UsageError(f"no labels at horizon {horizon} on {self.facts.day}", f"built are {list(built)}")
        labels: np.ndarray = self.labels[built.index(horizon)]
        return labels


def open_day(lake: Lake, cache: Path, symbol: str, day: date, *, entry: str = "train") -> CachedDay:
    """Map one day, filling the cache first where it does not hold it.

    Parameters
    ----------
    lake : Lake
        Holds features and labels.
    cache : Path
        ``<home>/cache``; anything in it may be deleted between two calls.
    symbol, day
        Which day of which series.
    entry : str
        "train" or "benchmark", for the check of schema versions.

    Raises
    ------
    FailedError
        The day is not built.
    IntegrityError
        Features and labels do not belong together or were changed since they were built, or the cache cannot be read.
    """
    features, labels = day_manifests(lake, symbol, day, entry)
    require_unchanged(lake, (features, labels), schedule_of(lake, symbol))
    return map_day(lake, cache, symbol, day, features, labels)


def map_day(lake: Lake, cache: Path, symbol: str, day: date, features: DayManifest, labels: DayManifest) -> CachedDay:
    """As `open_day`, of a day whose files are known to be those its two manifests name (`require_unchanged`).

    Raises
    ------
    IntegrityError
        As `open_day`.
    FailedError
        The system lets this process open no further file.
    """
    folder = _folder(cache, features, labels)
    if not folder.is_dir():
        _fill(lake, folder, symbol, day, features, labels)
    try:
        mapped = {name: map_array(folder / f"{name}.npy") for name in _ARRAYS}
        for name in _ARRAYS:
            verify_sidecar(folder / f"{name}.npy")
    except (OSError, ValueError, IntegrityError) as exc:
        if isinstance(exc, OSError) and exc.errno in (errno.EMFILE, errno.ENFILE):
            raise FailedError(
                f"{symbol} on {day}: no further file can be opened", "raise the limit: ulimit -n"
            ) from exc
        raise IntegrityError(f"{folder} cannot be read: {exc}", "delete it: it is a cache, and is made again") from exc
    factor_set_spec = FactorSetSpec.from_dict(features.factor_set.to_json())
    return CachedDay(
        facts=day_facts(day, features, labels),
        names=factor_set_spec.names,
        factor_set_spec=factor_set_spec,
        label_spec=LabelSpec.from_dict(labels.label_spec.to_json()),
        X=mapped["X"],
        **{name: mapped[name].array for name in _ARRAYS[1:]},
    )


def require_cache_room(lake: Lake, cache: Path, symbol: str, days: Iterable[date], entry: str = "train") -> None:
    """Refuse where the arrays of days that are not in the cache yet cannot fit; parameters as `open_day`.

    Raises
    ------
    NoRoomError
        It names what they need and what there is.
    """
    need, count = uncached_bytes(lake, cache, symbol, days, entry)
    if count:
        require_room(cache, need, f"the arrays of {count} days of {symbol}")


def uncached_bytes(
    lake: Lake, cache: Path, symbol: str, days: Iterable[date], entry: str = "train"
) -> tuple[int, int]:
    """What the arrays of days that are not in the cache yet take at least, and how many days those are; parameters and
    errors as `open_day`."""
    need, count = 0, 0
    for day in days:
        features, labels = day_manifests(lake, symbol, day, entry)
        if not _folder(cache, features, labels).is_dir():
            need, count = need + features.rows * 4 * len(features.factor_names), count + 1
    return need, count


def _folder(cache: Path, features: DayManifest, labels: DayManifest) -> Path:
    made_of = [[manifest.content_hash, dict(manifest.files)] for manifest in (features, labels)]
    return Path(cache) / "days" / content_hash([_FORMAT, *made_of])[:32]


def map_array(path: Path) -> MappedArray:
    """Map a ``.npy`` file; ValueError where it is none or is cut short.

    A mapped file stays open: the process's own limit of open files is raised where a year needs more.
    """
    try:
        return _map(path)
    except OSError as exc:
        if exc.errno != errno.EMFILE or not _allow_more_files():
            raise
        return _map(path)


def _allow_more_files() -> bool:
    """Raise this process's limit of open files, as far as the system lets it; False where it does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * max(soft, 1024) if hard == resource.RLIM_INFINITY else min(hard, 4 * max(soft, 1024))
    if wanted <= soft:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


def _map(path: Path) -> MappedArray:
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        if fortran:
            raise ValueError("columns first")
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        count = int(np.prod(shape))
        return MappedArray(path, np.frombuffer(mapping, dtype, count, file.tell()).reshape(shape), mapping)


def _fill(lake: Lake, folder: Path, symbol: str, day: date, features: DayManifest, labels: DayManifest) -> None:
    """Write a day's arrays into a folder of their own, then give it its name: whole or not at all."""
    root = ensure_dir(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=".filling-", dir=root))
    try:
        table = lake.read_day(FEATURES, symbol, day)
        names = features.factor_names
        times = _column(table, "datetime_ns")
        rows = np.empty((times.size, len(names)), np.float32)
        for index, name in enumerate(names):
            rows[:, index] = _column(table, name)
        labelled = lake.read_day(LABELS, symbol, day)
        require_provenance(table, features, labelled, labels)
        require_content(table, features)
        require_content(labelled, labels)
        del table
        if not np.array_equal(times, _column(labelled, "datetime_ns")):
            raise IntegrityError(f"{symbol} on {day}: features and labels are not the same ticks", "build it again")
        found = [_column(labelled, label_column(horizon)) for horizon in labels.label_spec.horizons]
        arrays = {
            "X": rows,
            "labels": np.stack(found).astype(np.int8),
            "datetime_ns": times,
            "warm": WarmTracker(len(names)).batch(rows),
            "mid": _column(labelled, "mid"),
        }
        for name, array in arrays.items():
            with (temporary / f"{name}.npy").open("wb") as file:
                np.save(file, np.ascontiguousarray(array))
                file.flush()
                os.fsync(file.fileno())
            write_sidecar(temporary / f"{name}.npy")
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():  # another process of the same training may have been first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _column(table: Any, name: str) -> np.ndarray:
    values: np.ndarray = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return values
