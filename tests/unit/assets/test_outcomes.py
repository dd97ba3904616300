"""One bad item of a run stops no other: what is made is reported for itself, and every failure is named."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from ghtrader_assets.runs.outcomes import Outcomes, together
from ghtrader_base.errors import FailedError, IntegrityError, LockHeldError


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
