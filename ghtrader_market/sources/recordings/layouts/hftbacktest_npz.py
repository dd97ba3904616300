"""Reads hftbacktest's event arrays (``.npz``, ``.npy``) and makes one snapshot for each changed local timestamp.

Depth and trade events with the local flag, applied in order; a snapshot is the best five levels and the last trade's
price after all events of one local timestamp, at the last of their exchange timestamps. Cumulative volume, turnover and
open interest are not in such a file: they are null, and the day is marked `volume_missing`.
"""

from __future__ import annotations

import heapq
import io
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.reference.tick_schema import LEVELS
from ghtrader_market.reference.varieties import variety_of
from ghtrader_market.sources.recordings.contract_names import one_contract
from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions
from ghtrader_market.sources.recordings.layouts.layout import Layout
from ghtrader_market.sources.recordings.recording_file import Container, RecordingFile
from ghtrader_market.sources.recordings.size_limit import most_bytes, too_large
from ghtrader_market.sources.recordings.table_values import NO_PRICE
from ghtrader_market.sources.recordings.wall_clock import Clock, Moments, epoch_ns, utc_times

_FIELDS = frozenset({"ev", "exch_ts", "local_ts", "px", "qty"})
_LOCAL, _BUY, _SELL = 1 << 30, 1 << 29, 1 << 28
_DEPTH, _TRADE, _CLEAR, _SNAPSHOT = 1, 2, 3, 4
_KIND = 0xFF


def _events(file: RecordingFile) -> np.ndarray | None:
    """The event array of a NumPy file; None where it holds none.

    Raises
    ------
    BadRecordingError
        It cannot be read, or is a zip archive of other files.
    """
    try:
        if file.data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
                if sum(member.file_size for member in archive.infolist()) > most_bytes():
                    raise too_large(file.name)
        loaded = np.load(io.BytesIO(file.data), allow_pickle=False)
        names = [file.name] if isinstance(loaded, np.ndarray) else loaded.files
        arrays = [loaded] if isinstance(loaded, np.ndarray) else [loaded[name] for name in names]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError) as exc:
        raise BadRecordingError(f"{file.name} is no NumPy file that can be read: {exc}", "copy it again") from exc
    if others := [name for name, array in zip(names, arrays, strict=True) if not isinstance(array, np.ndarray)]:
        raise BadRecordingError(
            f"{file.name} is a zip archive of other files ({others[0]} ...)", "unpack it and import what is in it"
        )
    return next((array for array in arrays if set(array.dtype.names or ()) >= _FIELDS), None)


def _recognises(file: RecordingFile) -> bool:
    if file.container is not Container.NUMPY:
        return False
    return _events(file) is not None


def snapshots(events: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Snapshots of a list of events.

    Parameters
    ----------
    events : structured array [n]
        hftbacktest's `event_dtype`.

    Returns
    -------
    int64[m]
        Exchange timestamps, as the file counts them.
    int64[m]
        Position of each snapshot's last event.
    dict of float64[m]
        ``last_price`` and the five levels; a price that is not there is NaN.
    """
    kept = np.flatnonzero(events["ev"] & np.uint64(_LOCAL))
    local = events["local_ts"][kept]
    ends = np.flatnonzero(np.append(np.diff(local) != 0, True)) if kept.size else np.zeros(0, np.int64)
    flags = events["ev"][kept].astype(np.int64).tolist()
    prices, lots = events["px"][kept].tolist(), events["qty"][kept].tolist()
    books: dict[int, dict[float, float]] = {_BUY: {}, _SELL: {}}
    out = np.full((4 * LEVELS + 1, len(ends)), np.nan)
    last, first = np.nan, 0
    for number, end in enumerate(ends.tolist()):
        for at in range(first, end + 1):
            kind, price = flags[at] & _KIND, prices[at]
            if kind == _CLEAR:
                _clear(books, flags[at], price)
            elif not 0.0 < price < NO_PRICE:
                continue  # NaN, 0, DBL_MAX: no price is no level, and orders no book
            elif kind == _TRADE:
                last = price
            elif kind in (_DEPTH, _SNAPSHOT):
                side = books[_BUY if flags[at] & _BUY else _SELL]
                if lots[at] > 0:
                    side[price] = lots[at]
                else:
                    side.pop(price, None)
        first = end + 1
        out[0, number] = last
        _fill(out[1 : 2 * LEVELS + 1, number], books[_BUY], heapq.nlargest(LEVELS, books[_BUY]))
        _fill(out[2 * LEVELS + 1 :, number], books[_SELL], heapq.nsmallest(LEVELS, books[_SELL]))
    values = {"last_price": out[0]}
    for offset, side_name in ((1, "bid"), (1 + 2 * LEVELS, "ask")):
        for level in range(LEVELS):
            values[f"{side_name}_price{level + 1}"] = out[offset + 2 * level]
            values[f"{side_name}_volume{level + 1}"] = out[offset + 2 * level + 1]
    places = kept[ends]
    return events["exch_ts"][places].astype(np.int64), places, values


def _fill(into: np.ndarray, book: dict[float, float], prices: list[float]) -> None:
    for level, price in enumerate(prices):
        into[2 * level], into[2 * level + 1] = price, book[price]


def _clear(books: dict[int, dict[float, float]], flags: int, price: float) -> None:
    """Empty a side up to a price, both where no side is said; all of it where the price is no number."""
    sides = [side for side in (_BUY, _SELL) if flags & side] or [_BUY, _SELL]
    for side in sides:
        whole = not np.isfinite(price) or len(sides) == 2
        gone = [each for each in books[side] if whole or (each >= price if side == _BUY else each <= price)]
        for each in gone:
            del books[side][each]


def _read(file: RecordingFile, options: ReadOptions) -> Iterator[ContractRows]:
    events = _events(file) if file.container is Container.NUMPY else None
    if events is None:
        raise BadRecordingError(f"{file.name} holds no array of hftbacktest events", "give its .npz of version 2")
    contract = one_contract(file.name, options.variety, None, options.symbol)
    times, places, values = snapshots(events)
    if not times.size:
        raise BadRecordingError(f"{file.name} holds no event with the local flag", "give the array a backtest reads")
    moments = Moments(epoch_ns(times), Clock.EPOCH, "exch_ts")
    yield ContractRows(
        contract=contract,
        times=utc_times(moments, variety_of(contract), options.calendar, options.time_zone, file.name),
        values=values,
        rows=places,
        time_column="exch_ts",
    )


LAYOUT = Layout(
    name="hftbacktest",
    about="hftbacktest's .npz of events: ev, exch_ts, local_ts, px, qty",
    recognises=_recognises,
    read=_read,
)
