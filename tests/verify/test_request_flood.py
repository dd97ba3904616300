"""Sends ten million requests through the watermark: each counts once, and memory stays as it is."""

from __future__ import annotations

from tests.unit.runtime.core.test_request_watermark import flood


def test_ten_million_ids_stay_bounded() -> None:
    flood(1000)
