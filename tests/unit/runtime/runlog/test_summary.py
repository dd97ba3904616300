"""A run's summary and a gateway's state as files: today's keys, older homes, and what is not one of them."""

from __future__ import annotations

import json
import math
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import IntegrityError
from ghtrader_market.accounting.fill import Fill, Offset, Side
from ghtrader_runtime.runlog.gateway_state import GATEWAY_STATE, GatewayState, gateway_state, read_gateway_state
from ghtrader_runtime.runlog.summary import (
    SUMMARY,
    RestartNote,
    RunSummary,
    read_summary,
    write_summary,
)
from tests.support.run_summaries import CU, summary

OLDER = Path(__file__).parents[3] / "fixtures" / "home_fd3b953.tar.xz"
KEYS = {
    "run_id": str, "account": str, "broker": str, "mode": str, "symbol": str, "requested": str, "trading_day": str,
    "trading_days": list, "rolls": int, "ended": str, "ticks": int, "targets": int, "orders": int, "duplicates": int,
    "refused": int, "foreseen": int, "fills": int, "round_trips": int, "gross_pnl": float, "fees": float,
    "net_pnl": float, "by_contract": dict, "opening": dict, "positions": dict, "trading_state": str, "killed": bool,
    "tick_to_target_ms": dict, "missed_ticks": int, "malformed": int, "strangers": int, "journal_failure": str,
    "journal_dropped": int, "fill_list": list,
}  # fmt: skip
LATENCY = ["p50", "p99", "p999", "max", "count", "unanswered", "skipped", "with_orders", "without_orders",
           "durable_intent", "parts"]  # fmt: skip
STATE = [
    "session", "pid", "account", "broker", "mode", "symbol", "requested", "trading_day", "schedule_hash",
    "schedule_note", "holding_note", "cold_note", "state_dir", "revision", "ready", "killed", "trading_state",
    "reasons", "links", "metrics", "tqsdk_rules", "positions", "net_pnl", "data_age_s", "ended", "written_ns",
]  # fmt: skip


def older(name: str) -> dict[str, dict[str, Any]]:
    with tarfile.open(OLDER) as archive:
        files = [member for member in archive if member.name.endswith(f"/{name}")]
        return {Path(one.name).parent.name: json.load(archive.extractfile(one)) for one in files}


def test_the_file_has_todays_keys_in_their_order_and_types(tmp_path: Path) -> None:
    write_summary(tmp_path, summary())
    document = json.loads((tmp_path / SUMMARY).read_text())
    assert list(document) == list(KEYS)
    assert {name: type(value) for name, value in document.items()} == KEYS
    assert document["fill_list"] == [
        {"trade": "t|3", "order": "gt-1", "symbol": CU, "side": 1, "offset": "OPEN", "volume": 2, "price": 72_520.0,
         "market_ns": 1_744_388_975_883_414_000, "commission": 36.26}
    ]  # fmt: skip
    assert document["by_contract"] == {
        CU: {"fills": 1, "round_trips": 0, "gross_pnl": 10.0, "fees": 36.26, "net_pnl": -26.26}
    }
    assert list(document["tick_to_target_ms"]) == LATENCY
    assert document["tick_to_target_ms"]["with_orders"] == {
        "p50": None, "p99": None, "p999": None, "max": None, "count": 0,
    }  # fmt: skip
    assert document["tick_to_target_ms"]["parts"]["send"] == {"p50": 2e-4, "p99": 2e-4, "slow": 2e-4}
    assert read_summary(tmp_path) == summary(folder=tmp_path)


def test_who_started_the_run_adds_folder_restarts_and_what_the_strategy_died_of(tmp_path: Path) -> None:
    note = RestartNote(kind="gateway", reason="killed by signal 9", delay_s=0.5)
    told = summary(folder=tmp_path, strategy_error="it broke", restarts=(note,)).to_json()
    assert list(told)[len(KEYS) :] == ["folder", "strategy_error", "restarts"]
    assert told["folder"] == str(tmp_path) and told["strategy_error"] == "it broke"
    assert [*told["restarts"]] == [{"kind": "gateway", "reason": "killed by signal 9", "delay_s": 0.5}]
    assert RunSummary.from_json(told).folder == tmp_path
    calm = summary(folder=tmp_path, restarts=()).to_json()
    assert "strategy_error" not in calm and [*calm["restarts"]] == []


def test_summaries_of_an_older_home_read(tmp_path: Path) -> None:
    found = older(SUMMARY)
    assert sorted(name.partition("-")[0] for name in found) == ["paper", "trade"]
    for document in found.values():
        (tmp_path / SUMMARY).write_text(json.dumps(document))
        told = read_summary(tmp_path)
        assert told is not None and len(told.fill_list) == told.fills > 0
        back = json.loads(json.dumps(msgspec.structs.replace(told, folder=None).to_json()))
        for fill in document["fill_list"]:
            del fill["net"]  # what was held after it: no field of a fill, and nobody reads it here
        assert back == document


@given(st.floats(allow_nan=True), st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=4), max_size=3))
def test_a_fee_nobody_knows_is_null_and_keys_of_a_newer_version_are_left_out(fee: float, more: dict[str, Any]) -> None:
    known = math.isfinite(fee)
    one = summary(fill_list=(fill_with(fee),))
    document = json.loads(json.dumps(one.to_json(), allow_nan=False))
    assert document["fill_list"][0]["commission"] == (fee if known else None)
    back = RunSummary.from_json({**more, **document}).fill_list[0].fee
    assert back == fee if known else math.isnan(back)


def fill_with(fee: float) -> Fill:
    return Fill(
        symbol=CU, side=Side.SELL, offset=Offset.CLOSE, volume=1, price=1.0, fee=fee, market_ns=5, trade_id="t",
        order_id="o",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["{}", "[]", "null", '{"run_id": 5}', "{"])
def test_what_is_no_summary_or_state_is_said_with_its_path(tmp_path: Path, text: str) -> None:
    assert read_summary(tmp_path) is None and read_gateway_state(tmp_path) is None
    (tmp_path / SUMMARY).write_text(text)
    with pytest.raises(IntegrityError, match=str(tmp_path / SUMMARY)):
        read_summary(tmp_path)
    (tmp_path / GATEWAY_STATE).write_text(text)
    assert read_gateway_state(tmp_path) is None


def test_a_gateways_state_keeps_its_keys_and_an_older_one_reads(tmp_path: Path) -> None:
    found = older(GATEWAY_STATE)
    assert len(found) == 2
    for document in found.values():
        told = gateway_state(document, tmp_path)
        assert list(told.to_json()) == STATE
        later = {"holding_note": "", "cold_note": ""}  # a later version's
        assert json.loads(json.dumps(told.to_json())) == {**document, **later}
    few = {"pid": 1, "account": "a", "broker": "b", "mode": "sim", "symbol": CU, "state_dir": "/x", "new": {"a": 1}}
    assert gateway_state(few, tmp_path) == GatewayState(
        pid=1, account="a", broker="b", mode="sim", symbol=CU, state_dir="/x"
    )
    broken = gateway_state({**few, "links": {"broker": "DOWN", "data": "LIVE"}, "net_pnl": None}, tmp_path)
    assert broken.troubled_links == {"broker": "DOWN"} and broken.net_pnl is None
    with pytest.raises(IntegrityError, match="is no state of a gateway"):
        gateway_state({**few, "pid": "one"}, tmp_path)
