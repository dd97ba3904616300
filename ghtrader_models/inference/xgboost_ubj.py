"""Reads Universal Binary JSON, the format XGBoost saves models in.

What belongs here: bytes in, plain Python objects and NumPy arrays out. What the keys mean is decided
in `xgboost_trees`. Covers the whole UBJSON draft 12 value set with optimised containers (typed and counted), numbers
big-endian as the draft and XGBoost have them. Never more is read or allocated than the input holds.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ghtrader_base.errors import IntegrityError

_NUMBERS: dict[int, np.dtype[Any]] = {
    ord("i"): np.dtype(">i1"),
    ord("U"): np.dtype(">u1"),
    ord("I"): np.dtype(">i2"),
    ord("l"): np.dtype(">i4"),
    ord("L"): np.dtype(">i8"),
    ord("d"): np.dtype(">f4"),
    ord("D"): np.dtype(">f8"),
}
_SCALARS = {
    ord("i"): struct.Struct(">b"),
    ord("U"): struct.Struct(">B"),
    ord("I"): struct.Struct(">h"),
    ord("l"): struct.Struct(">i"),
    ord("L"): struct.Struct(">q"),
    ord("d"): struct.Struct(">f"),
    ord("D"): struct.Struct(">d"),
}
_INTEGERS = frozenset(b"iUIlL")
_CONSTANTS: dict[int, Any] = {ord("Z"): None, ord("T"): True, ord("F"): False}
_MAX_DEPTH = 64
_HINT = "the model file is damaged; train the model again"


class _Reader:
    """A cursor over the bytes; each method consumes what it returns."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def fail(self, what: str) -> IntegrityError:
        return IntegrityError(f"not valid UBJSON at byte {self.at}: {what}", _HINT)

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise self.fail(f"{count} bytes wanted, {len(self.data) - self.at} left")
        self.at += count
        return self.data[self.at - count : self.at]

    def marker(self) -> int:
        found = self.take(1)[0]
        while found == ord("N"):  # a no-op may stand between any two values
            found = self.take(1)[0]
        return found

    def length(self) -> int:
        marker = self.marker()
        if marker not in _INTEGERS:
            raise self.fail(f"a length cannot start with {chr(marker)!r}")
        count: int = _SCALARS[marker].unpack(self.take(_SCALARS[marker].size))[0]
        if count < 0:
            raise self.fail(f"negative length {count}")
        return count

    def text(self) -> str:
        try:
            return self.take(self.length()).decode()
        except UnicodeDecodeError as exc:
            raise self.fail("text that is not UTF-8") from exc

    def header(self) -> tuple[int | None, int | None]:
        """Type and count of a container that declares them."""
        kind = count = None
        if self.data[self.at : self.at + 1] == b"$":
            self.at += 1
            kind = self.take(1)[0]
            if self.data[self.at : self.at + 1] != b"#":
                raise self.fail("a typed container must be counted")
        if self.data[self.at : self.at + 1] == b"#":
            self.at += 1
            count = self.length()
            if count > len(self.data) - self.at and not (kind in _CONSTANTS or count == 0):
                raise self.fail(f"container of {count} items in {len(self.data) - self.at} bytes")
            if count > len(self.data):
                raise self.fail(f"container of {count} items")
        return kind, count

    def array(self, depth: int) -> Any:
        kind, count = self.header()
        if kind is not None and count is not None and kind in _NUMBERS:
            dtype = _NUMBERS[kind]
            raw = np.frombuffer(self.take(count * dtype.itemsize), dtype=dtype)
            return raw.astype(dtype.newbyteorder("="))
        if count is not None:
            return [self.value(kind if kind is not None else self.marker(), depth) for _ in range(count)]
        items = []
        while (marker := self.marker()) != ord("]"):
            items.append(self.value(marker, depth))
        return items

    def object(self, depth: int) -> dict[str, Any]:
        kind, count = self.header()
        found: dict[str, Any] = {}
        if count is not None:
            for _ in range(count):
                key = self.text()
                found[key] = self.value(kind if kind is not None else self.marker(), depth)
            return found
        while self.data[self.at : self.at + 1] != b"}":
            key = self.text()
            found[key] = self.value(self.marker(), depth)
        self.at += 1
        return found

    def value(self, marker: int, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise self.fail("nested too deep")
        if marker in _SCALARS:
            return _SCALARS[marker].unpack(self.take(_SCALARS[marker].size))[0]
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == ord("S") or marker == ord("H"):
            return self.text()
        if marker == ord("C"):
            return chr(self.take(1)[0])
        if marker == ord("["):
            return self.array(depth + 1)
        if marker == ord("{"):
            return self.object(depth + 1)
        raise self.fail(f"unknown marker {chr(marker)!r}")


def read_ubj(data: bytes) -> Any:
    """Decode one UBJSON document.

    Parameters
    ----------
    data : bytes
        The whole document; anything after its last byte is an error.

    Returns
    -------
    object
        dict, list, str, int, float, bool or None; typed arrays of numbers as NumPy arrays in native byte order.

    Raises
    ------
    IntegrityError
        The bytes are not one whole document.
    """
    reader = _Reader(bytes(data))
    found = reader.value(reader.marker(), 0)
    if reader.at != len(reader.data):
        raise reader.fail(f"{len(reader.data) - reader.at} bytes after the end")
    return found
