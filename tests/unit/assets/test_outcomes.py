"""One bad item of a run stops no other: what is made is reported for itself, and every failure is named."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from ghtrader_assets.runs.evening import Missing, require_nothing_missing
from ghtrader_assets.runs.outcomes import Outcomes, together
from ghtrader_base.errors import DiskFullError, FailedError, IntegrityError, LockHeldError


class _Context:
    """Keeps what a body would tell Dagster."""

    def __init__(self) -> None:
        self.events: list[dg.AssetMaterialization] = []
        self.metadata: dict[str, Any] = {}

    def log_event(self, event: dg.AssetMaterialization) -> None:
        self.events.append(event)

    def add_asset_metadata(self, metadata: Any, asset_key: str, partition_key: str) -> None:
        self.metadata[f"{asset_key}[{partition_key}]"] = metadata


def test_where_all_is_well_the_result_of_the_op_speaks():
    context = _Context()
    outcomes = Outcomes(context)
    for key in ("2025-04-02|cu", "2025-04-02|au"):
        with outcomes.item(key):
            outcomes.made("raw_ticks", key, {"rows": 3})
    outcomes.conclude()
    assert context.events == [] and context.metadata == dict.fromkeys(
        ("raw_ticks[2025-04-02|cu]", "raw_ticks[2025-04-02|au]"), {"rows": 3}
    )


def test_a_failed_item_is_named_and_the_others_are_reported_one_by_one():
    context = _Context()
    outcomes = Outcomes(context)
    with outcomes.item("cu 2025-04-02"):
        raise IntegrityError("the manifest is garbled", "restore it")
    with outcomes.item("au"):
        raise ZeroDivisionError("no rows")
    with outcomes.item("ag 2025-04-02"):
        outcomes.made("raw_ticks", "2025-04-02|ag", {"rows": 3})
    with pytest.raises(FailedError) as caught:
        outcomes.conclude()
    assert caught.value.message == (
        "2 failed (1 others are done): cu 2025-04-02: the manifest is garbled; au: ZeroDivisionError: no rows"
    )
    assert caught.value.hint == "restore it" and caught.value.exit_code == 1
    ((event,)) = context.events
    assert event.partition == "2025-04-02|ag" and context.metadata == {}


def test_one_error_leaves_as_itself_and_equal_kinds_keep_their_exit_code():
    held = LockHeldError("ticks is held", "wait")
    assert together({"cu": held}) is held
    both = together({"cu": held, "au": LockHeldError("bars are held", "")})
    assert type(both) is LockHeldError and both.exit_code == 3 and "au: bars are held" in both.message
    many = together({str(number): FailedError("no") for number in range(9)})
    assert many.message.endswith("; and 4 more")


def test_ctrl_c_is_no_failure_of_an_item():
    outcomes = Outcomes(_Context())
    with pytest.raises(KeyboardInterrupt), outcomes.item("cu"):
        raise KeyboardInterrupt
    assert outcomes.failed == {}


def test_a_full_disk_comes_before_what_else_went_wrong():
    full = DiskFullError("the disk is full", "make room")
    both = together({"2025-04-02": FailedError("not ready"), "2025-04-03": full, "2025-04-07": full})
    assert type(both) is DiskFullError and both.hint == "make room"
    assert "2025-04-02: not ready" in both.message and "2025-04-03: the disk is full" in both.message


def test_an_item_that_met_a_full_disk_in_words_of_sql_says_so():
    outcomes = Outcomes(_Context())
    with outcomes.item("50|cu"):
        raise RuntimeError("(sqlite3.OperationalError) database or disk is full [SQL: INSERT INTO metrics ...]")
    with pytest.raises(DiskFullError, match="^the disk is full"):
        outcomes.conclude()


def test_the_daily_update_waits_for_room():
    missing = Missing("cu", "features", DiskFullError("the disk is full", "make room"))
    assert missing.later and not missing.service_is_away
    with pytest.raises(DiskFullError, match="1 steps could not be done: cu features: the disk is full"):
        require_nothing_missing([missing])
