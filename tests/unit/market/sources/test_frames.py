"""Frames survive whatever is put into them, and whatever is not a frame is told from one."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_market.sources.tqsdk.frames import FrameError, read_frame, write_frame

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_HEADERS = st.dictionaries(st.text(max_size=8), _JSON, max_size=4)
_TABLES = st.none() | st.lists(st.floats(allow_nan=False), max_size=50).map(
    lambda numbers: pa.table({"x": pa.array(numbers, pa.float64())})
)


@given(st.lists(st.tuples(_HEADERS, _TABLES), max_size=4))
def test_frames_come_back_in_order(frames: list) -> None:
    pipe = io.BytesIO()
    for header, table in frames:
        write_frame(pipe, header, table)
    pipe.seek(0)
    for header, table in frames:
        found, body = read_frame(pipe)
        assert found == header
        assert (body is None) if table is None else body.equals(table)
    with pytest.raises(FrameError):
        read_frame(pipe)


@given(_HEADERS, st.integers(0, 10_000))
def test_a_cut_frame_is_broken(header: dict, cut: int) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, header, pa.table({"x": [1.0, 2.0]}))
    whole = pipe.getvalue()
    with pytest.raises(FrameError):
        read_frame(io.BytesIO(whole[: cut % len(whole)]))


@given(st.binary(max_size=100))
def test_noise_is_never_a_table(noise: bytes) -> None:
    try:
        header, table = read_frame(io.BytesIO(noise))
    except FrameError:
        return
    assert isinstance(header, dict) and table is None
