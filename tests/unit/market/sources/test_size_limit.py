"""A file that unpacks to more than the machine has is named, and not unpacked."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.sources.recordings import columns, recording_file, size_limit
from ghtrader_market.sources.recordings.layouts import hftbacktest_npz
from ghtrader_market.sources.recordings.reader import parse_recording, read_recording

MOST = 100_000


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (size_limit, columns, recording_file, hftbacktest_npz):
        monkeypatch.setattr(module, "most_bytes", lambda: MOST)


def archive(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data.npy", content)
    return packed.getvalue()


def parquet() -> bytes:
    packed = io.BytesIO()
    pq.write_table(pa.table({"datetime": pa.array([1] * MOST)}), packed)
    return packed.getvalue()


def array(shape: str) -> bytes:
    """An array of no content whose header says `shape`."""
    plain = io.BytesIO()
    np.save(plain, np.zeros(0))
    return plain.getvalue().replace(b"(0,), }" + b" " * (len(shape) - 4), f"{shape}, }}".encode())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("IF2101.csv.gz", gzip.compress(bytes(MOST + 1))),
        ("day.npz", archive(bytes(MOST + 1))),
        ("IF2101.parquet", parquet()),
    ],
)
def test_a_file_that_unpacks_to_too_much_is_named(name: str, content: bytes) -> None:
    assert len(content) < MOST / 10
    with pytest.raises(BadRecordingError, match=rf"{name} holds more than 100.0 kB"):
        parse_recording(content, name)


def test_a_large_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "IF2101.csv"
    path.write_bytes(b"datetime,last_price\n" + b"0,0\n" * MOST)
    with pytest.raises(BadRecordingError, match="too much to be read at once"):
        read_recording(path)


def test_an_array_that_claims_to_be_endless_is_named() -> None:
    with pytest.raises(BadRecordingError, match="is no NumPy file that can be read"):
        parse_recording(array("(1000000000000000,)"), "day.npy")
