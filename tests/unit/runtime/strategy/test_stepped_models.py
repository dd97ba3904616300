"""A model that is stepped, asked live: the same as a day at once, and the same after a restart in mid-session."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from ghtrader_base.settings import Settings
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_models.bundles.bundle import load_bundle
from ghtrader_runtime.strategy.signal_engine import SignalEngine
from tests.support.runtime_kit import session_times, synthetic_values
from tests.support.stepped_models import write_stepped_bundle

CONTRACT, DAY, NEXT = "SHFE.cu2502", date(2025, 1, 8), date(2025, 1, 9)
ROWS = 400


@pytest.mark.parametrize("kind", ["tcn", "ssm"])
def test_live_is_the_day_at_once_and_a_restart_warms_again_from_the_days_ticks(settings: Settings, kind: str) -> None:
    bundle = load_bundle(write_stepped_bundle(settings.models, kind))
    times, values = session_times(CONTRACT, DAY, 60_000), synthetic_values(ROWS, 3)
    opens = int(np.searchsorted(times, bundled_calendar().sessions("cu", DAY)[1][0]))
    times = times[opens - ROWS // 2 : opens + ROWS // 2]  # a break between sessions lies in the middle

    def engine() -> SignalEngine:
        return SignalEngine(bundle, bundled_calendar(), CONTRACT, 10.0, 5)

    def play(signal: SignalEngine, day: date, moments: np.ndarray, first: int = 0) -> list[tuple[bytes, int]]:
        found = []
        for i, moment in enumerate(moments.tolist()):
            decision = signal.on_tick(str(day), moment, values[:, first + i])
            assert decision is not None
            found.append((decision.probabilities.tobytes(), decision.target))
        return found

    whole = engine()
    live = play(whole, DAY, times)
    assert len({probabilities for probabilities, _ in live}) > ROWS / 2 and len({target for _, target in live}) > 1
    assert engine().on_day(str(DAY), times, values).tolist() == [target for _, target in live]

    cut = ROWS // 2 + 37
    killed = engine()
    play(killed, DAY, times[:cut])
    again = engine()  # another process: it has the bundle and the day so far
    assert play(again, DAY, times[:cut]) == live[:cut]
    assert play(again, DAY, times[cut:], cut) == live[cut:]

    tomorrow = session_times(CONTRACT, NEXT, 50)
    fresh = play(engine(), NEXT, tomorrow)
    assert [one for one, _ in play(whole, NEXT, tomorrow)] == [one for one, _ in fresh], "the day before is forgotten"
