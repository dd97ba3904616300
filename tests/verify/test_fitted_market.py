"""`ghtrader exchange fit` of the packaged day: quick enough, equal to what is packaged, and played by `serve`."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ghtrader_exchange.world.realistic.market_fit import packaged_fit
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.samples import IF2101
from tests.support.cli import ghtrader

LONGEST_S = 60.0


def test_the_packaged_fit_is_made_anew_from_its_recording_in_a_minute(tmp_path: Path) -> None:
    began = time.process_time()
    done = ghtrader("exchange", "fit", str(IF2101), "--home", str(tmp_path), "--json")
    took = time.process_time() - began
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    made = Scenario.from_toml(Path(answer["scenario"]))
    assert made.fit is not None and (made.fit.source == packaged_fit().source)
    for name, value in packaged_fit().played.lines().items():
        assert abs(made.fit.played.lines()[name] - value) <= 0.02 * abs(value) + 1e-3, name
    assert Path(answer["picture"]).read_bytes().startswith(b"\x89PNG")
    assert took < LONGEST_S
