"""Reads WonderTrader's historical ticks, ``.dsb``: a block header, then tick structs, plain or compressed with zstd.

Both struct versions: that of before 2021-12 (counts of 32 bits) and today's (doubles). Blocks of bars or orders are
refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.reference.tick_schema import LEVELS
from ghtrader_market.sources.recordings.contract_names import rows_by_contract
from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions
from ghtrader_market.sources.recordings.layouts.layout import Layout
from ghtrader_market.sources.recordings.layouts.wondertrader_csv import contract_rows
from ghtrader_market.sources.recordings.recording_file import Container, RecordingFile
from ghtrader_market.sources.recordings.table_values import PRICES, no_sentinels

_HEADER = np.dtype([("flag", "S8"), ("type", "<u2"), ("version", "<u2")])
_SIZE = np.dtype("<u8")
_TICKS = 24
_KINDS = {21: "1-minute bars", 22: "5-minute bars", 23: "daily bars", 25: "transactions", 26: "orders", 27: "queues"}
_RAW_OLD, _PACKED_OLD, _RAW, _PACKED = 1, 2, 3, 4
"""Versions of a block: struct old or new, plain or compressed; the compressed ones say their size."""


def _struct(count: str, exchange: int, change: str, before: str, reserve: bool = False) -> np.dtype:
    return np.dtype(
        [
            ("exchg", f"S{exchange}"), ("code", "S32"), ("price", "<f8"), ("open", "<f8"), ("high", "<f8"),
            ("low", "<f8"), ("settle_price", "<f8"), ("upper_limit", "<f8"), ("lower_limit", "<f8"),
            ("total_volume", count), ("volume", count), ("total_turnover", "<f8"), ("turn_over", "<f8"),
            ("open_interest", count), ("diff_interest", change), ("trading_date", "<u4"), ("action_date", "<u4"),
            ("action_time", "<u4"), *([("reserve", "<u4")] if reserve else []), ("pre_close", "<f8"),
            ("pre_settle", "<f8"), ("pre_interest", before), ("bid_prices", "<f8", 10), ("ask_prices", "<f8", 10),
            ("bid_qty", count, 10), ("ask_qty", count, 10),
        ]
    )  # fmt: skip


_NEW = (_struct("<f8", 16, "<f8", "<f8", reserve=True), _struct("<f8", 16, "<f8", "<f8"))
"""Of versions 3 and 4: aligned to 8 bytes as written today, and packed as in its first weeks."""
_OLD = (_struct("<u4", 10, "<i4", "<i4"),)
_DATES = (19_900_101, 21_000_101)
_VALUES = {
    "last_price": "price",
    "highest": "high",
    "lowest": "low",
    "volume": "total_volume",
    "amount": "total_turnover",
    "open_interest": "open_interest",
}


def _recognises(file: RecordingFile) -> bool:
    return file.container is Container.WONDERTRADER


def read_ticks(data: bytes, name: str) -> np.ndarray:
    """The tick structs of a block.

    Returns
    -------
    structured array [n]
        Fields as WonderTrader calls them.

    Raises
    ------
    BadRecordingError
        Another kind of block, an unknown version, cut off, or damaged.
    """
    if len(data) < _HEADER.itemsize:
        raise BadRecordingError(f"{name} is cut off in its header", "copy the file again")
    header = np.frombuffer(data, _HEADER, 1)[0]
    kind, version = int(header["type"]), int(header["version"])
    if kind != _TICKS:
        found = _KINDS.get(kind, f"a block of type {kind}")
        raise BadRecordingError(f"{name} holds {found}, no historical ticks", "give a .dsb of ticks")
    if version not in (_RAW_OLD, _PACKED_OLD, _RAW, _PACKED):
        raise BadRecordingError(f"{name} is a block of version {version}; known are 1 to 4", "export it as CSV")
    body = data[_HEADER.itemsize :]
    if version in (_PACKED_OLD, _PACKED):
        body = _unpacked(body, name)
    for kept in _OLD if version in (_RAW_OLD, _PACKED_OLD) else _NEW:
        if body and len(body) % kept.itemsize == 0:
            ticks = np.frombuffer(body, kept)
            if ((ticks["trading_date"] >= _DATES[0]) & (ticks["trading_date"] < _DATES[1])).all():
                return ticks
    raise BadRecordingError(
        f"{name} is cut off or damaged: its {len(body)} bytes are no ticks of version {version}", "copy it again"
    )


def _unpacked(body: bytes, name: str) -> bytes:
    size = int(np.frombuffer(body[: _SIZE.itemsize], _SIZE)[0]) if len(body) >= _SIZE.itemsize else -1
    packed = body[_SIZE.itemsize :]
    if size != len(packed):
        raise BadRecordingError(f"{name} is cut off: {len(packed)} bytes where its header says {size}", "copy it again")
    try:
        with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
            unpacked: bytes = stream.read()
            return unpacked
    except OSError as exc:
        raise BadRecordingError(f"{name} does not unpack: {exc}", "copy the file again") from exc


def _read(file: RecordingFile, options: ReadOptions) -> Iterator[ContractRows]:
    ticks = read_ticks(file.data, file.name)
    codes, exchanges = (np.char.decode(ticks[field], "ascii", "replace") for field in ("code", "exchg"))
    days, dates = (_days(file, ticks, field) for field in ("trading_date", "action_date"))
    clock = ticks["action_time"].astype(np.int64)
    seconds = (clock // 10_000_000 * 60 + clock // 100_000 % 100) * 60 + clock // 1000 % 100
    of_day = seconds * 1_000_000_000 + clock % 1000 * 1_000_000
    for contract, rows in rows_by_contract(file.name, codes, exchanges, options.variety, options.symbol):
        own = ticks[rows]
        values = {name: own[field].astype(np.float64) for name, field in _VALUES.items()}
        for level in range(LEVELS):
            for side in ("bid", "ask"):
                values[f"{side}_price{level + 1}"] = own[f"{side}_prices"][:, level].astype(np.float64)
                values[f"{side}_volume{level + 1}"] = own[f"{side}_qty"][:, level].astype(np.float64)
        values = {name: no_sentinels(each, "price" in name or name in PRICES) for name, each in values.items()}
        yield contract_rows(file, options, contract, dates[rows], of_day[rows], days[rows], values, rows)


def _days(file: RecordingFile, ticks: np.ndarray, field: str) -> np.ndarray:
    numbers = ticks[field].astype(np.int64)
    unique, inverse = np.unique(numbers, return_inverse=True)
    found = []
    for number in unique.tolist():
        text = f"{number:08d}"
        try:
            found.append(np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}", "D"))
        except ValueError as exc:
            row = int(np.flatnonzero(numbers == number)[0])
            raise BadRecordingError(f"{file.place(row)}: {field} {number} is no date", "copy the file again") from exc
    days: np.ndarray = np.array(found, dtype="datetime64[D]")[inverse]
    return days


LAYOUT = Layout(
    name="wondertrader-dsb",
    about="WonderTrader's historical ticks: .dsb blocks of tick structs",
    recognises=_recognises,
    read=_read,
)
