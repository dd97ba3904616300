"""The vendor's continuous table: parsed, compared day by day, and what happens when it cannot be had."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer

import pyarrow as pa
import pytest

from ghtrader_base.errors import FailedError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.main_series.roll_cross_check import compare_with_vendor, cross_check, parse_changes
from ghtrader_market.reference.roll_schedule import RollSchedule, schedule_from_open_interest
from ghtrader_market.reference.trading_calendar import bundled_calendar

DAYS = bundled_calendar().days(date(2025, 1, 6), date(2025, 1, 10))
FEBRUARY, MARCH = "SHFE.cu2502", "SHFE.cu2503"


def schedule(declared: dict[date, str] | None = None) -> RollSchedule:
    """2502 on the 7th and 8th, 2503 on the 9th and 10th."""
    rows = [
        {"symbol": name, "trading_day": day, "open_interest": lots}
        for day, (a, b) in zip(DAYS, [(100, 50), (100, 90), (100, 120), (50, 200), (9, 200)], strict=True)
        for name, lots in ((FEBRUARY, a), (MARCH, b))
    ]
    return schedule_from_open_interest("cu", pa.Table.from_pylist(rows), declared)


def document(*changes: tuple[str, str]) -> bytes:
    return json.dumps({"SHFE.au": [["20250101", "SHFE.au2502"]], "SHFE.cu": list(changes)}).encode()


def test_agreement_and_a_roll_a_day_late() -> None:
    same = parse_changes(document(("20241201", FEBRUARY), ("20250109", MARCH)), "cu")
    found = compare_with_vendor(schedule(), same)
    assert (found.days, found.differences, found.to_json()["vendor_check"]) == (4, (), "agrees")
    late = parse_changes(document(("20250110", MARCH), ("20241201", FEBRUARY)), "cu")
    (difference,) = compare_with_vendor(schedule(), late).differences
    assert (difference.day, difference.ours, difference.vendor) == (DAYS[3], MARCH, FEBRUARY)
    assert compare_with_vendor(schedule(), late).to_json() == {
        "vendor_days": 4,
        "vendor_differences": ["2025-01-09: SHFE.cu2503 by open interest, SHFE.cu2502 at the vendor"],
        "vendor_check": "differs",
    }


def test_days_before_the_table_and_declared_days_are_left_out() -> None:
    changes = parse_changes(document(("20250109", FEBRUARY)), "cu")
    assert [d.day for d in compare_with_vendor(schedule(), changes).differences] == DAYS[3:5]
    assert compare_with_vendor(schedule(), changes).days == 2
    assert compare_with_vendor(schedule({DAYS[3]: MARCH}), changes).days == 1


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"SHFE.cu": 5}', b'{"SHFE.cu": [["2025", "x", 1]]}', b"null"])
def test_a_table_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(FailedError, match="no usable SHFE.cu"):
        parse_changes(payload, "cu")


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    body = {"it": b""}

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body["it"])

        def log_message(self, *_: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}/continuous.json", body
    listening.shutdown()
    listening.server_close()


def test_what_cannot_be_asked_is_said(
    settings: Settings, server: tuple[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cross_check(settings, schedule()).not_done == "not asked: no account and no TQ_CONT_TABLE_URL"
    url, body = server
    monkeypatch.setenv("TQ_CONT_TABLE_URL", url)
    asked = load_settings(settings.home)
    assert "no usable SHFE.cu" in cross_check(asked, schedule()).to_json()["vendor_check"]
    body["it"] = document(("20241201", FEBRUARY), ("20250109", MARCH))
    assert cross_check(asked, schedule()).to_json()["vendor_check"] == "agrees"
    monkeypatch.setenv("TQ_CONT_TABLE_URL", "http://127.0.0.1:9/continuous.json")
    assert "no continuous table at http://127.0.0.1:9" in cross_check(load_settings(settings.home), schedule()).not_done
