"""A wall clock set back or forward breaks no order id, forgets no request, and makes nobody look dead."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ghtrader_runtime.accounts.ledger_reader import earlier_intents
from ghtrader_runtime.accounts.order_ledger import Intent, Ledger
from ghtrader_runtime.core.request_watermark import Watermark
from ghtrader_runtime.core.state import CoreState
from ghtrader_runtime.supervisor.restart_policy import Silence

HOUR = 3600 * 10**9


@pytest.mark.clock
def test_a_wall_clock_set_back_repeats_no_order_id_and_forgets_no_request(tmp_path: Path, monkeypatch) -> None:
    ids: list[str] = []
    real = time.time_ns()
    for life, now in enumerate((real, real - 24 * HOUR, real - 48 * HOUR)):  # a day back before each later start
        monkeypatch.setattr(time, "time_ns", lambda now=now: now)
        ledger = Ledger(tmp_path)
        known = ledger.state
        assert set(known.open) == set(ids[::2]) and known.watermark.get("s", 0) == life * 10
        for step in (1, 2):
            monkeypatch.setattr(time, "time_ns", lambda now=now, step=step: now - step * HOUR)  # and on the way
            number = known.next_number
            order_id = known.order_id(number)
            ids.append(order_id)
            ledger.intend(
                Intent(
                    order_id=order_id,
                    number=number,
                    symbol="SHFE.cu2502",
                    side=1,
                    offset="OPEN",
                    volume=1,
                    price=1.0,
                    tif="FAK",
                    target_session="s",
                    target_revision=life * 10 + 5 * step,
                )
            )
        ledger.close_intent(ids[-1], "filled", 0)
        ledger.close()
    assert len(set(ids)) == 6 == len(ids)
    ledger = Ledger(tmp_path)
    assert set(ledger.state.open) == {ids[0], ids[2], ids[4]} and ledger.state.watermark == {"s": 30}
    young = earlier_intents(ledger.state.open)
    assert all(0 <= intent.sent_ns <= time.monotonic_ns() for intent in young.values())
    seen = CoreState(watermark=Watermark.of(ledger.state.watermark.items())).watermark
    assert seen.note("s", 30, 1) == "duplicate" and seen.note("s", 31, 0) == "new"
    ledger.close()


@pytest.mark.parametrize("jump", [-HOUR, HOUR, 365 * 24 * HOUR])
def test_who_tells_something_is_not_silent_whatever_its_clock_says(jump: int) -> None:
    silence = Silence()
    assert silence.seconds(10**18, 100.0) == 0 and silence.seconds(10**18, 130.0) == 30
    assert silence.seconds(10**18 + jump, 130.5) == 0, "something new was told"
    assert silence.seconds(10**18 + jump, 251.0) == 120.5
