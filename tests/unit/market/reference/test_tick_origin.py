"""Where ticks come from: what may stand in one series, what a service's answer is taken for, what is never guessed."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader_base.errors import RefusedError
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.tick_origin import (
    UNKNOWN,
    OriginKind,
    TickOrigin,
    origins_of,
    require_one_origin,
    words_of,
)
from ghtrader_market.sources.tqsdk.service_origin import VENDOR, origin_said
from ghtrader_market.stores.day_details import FeatureDetails, TickDetails, read_details

FIRST, SECOND, THIRD = date(2025, 4, 2), date(2025, 4, 3), date(2025, 4, 7)
SIMULATED = Scenario(seed=1).origin
CSV, PARQUET = (TickOrigin(kind=OriginKind.FILE, layout=layout) for layout in ("ctp", "tqsdk"))
MARKETS = {
    "simulated: world driver, seed 1": SIMULATED,
    "simulated: world driver, seed 2": Scenario(seed=2).origin,
    "simulated: world none, seed 1": Scenario(seed=1, world="none").origin,
    "service shinnytech.com": VENDOR,
    "imported file (ctp)": CSV,
    "source unknown": UNKNOWN,
}
origins = st.builds(
    TickOrigin,
    kind=st.sampled_from(OriginKind), service=st.none() | st.text(max_size=5), world=st.none() | st.text(max_size=5),
    seed=st.none() | st.integers(0, 2**63 - 1), scenario=st.none() | st.text(max_size=5),
    layout=st.none() | st.text(max_size=5),
)  # fmt: skip


@pytest.mark.parametrize("words", MARKETS)
def test_days_of_two_markets_are_refused_in_one_series(words: str) -> None:
    origin = MARKETS[words]
    assert origin.words == words
    require_one_origin("KQ.m@SHFE.cu", {FIRST: origin, SECOND: origin})
    for other in MARKETS.values():
        if other != origin:
            with pytest.raises(RefusedError, match="come from 2 different markets") as refused:
                require_one_origin("KQ.m@SHFE.cu", {FIRST: origin, SECOND: other, THIRD: other})
            assert f"{words} ({FIRST})" in refused.value.message
            assert f"{other.words} (2 days from {SECOND} to {THIRD})" in refused.value.message
            assert "--mix" in refused.value.hint and refused.value.exit_code == 3


def test_what_does_not_change_the_prices_does_not_part_days() -> None:
    longer = Scenario(seed=1, end=date(2025, 4, 18), varieties=("cu", "au"), live_days=3).origin
    assert longer == SIMULATED, "an exchange that serves more days of the same market"
    for changes in ({"strength": 0.5}, {"snapshot_seconds": 0.5}, {"seed": 3}, {"world": "sequence"}):
        assert Scenario(**changes).origin.market != SIMULATED.market, changes
    assert CSV.market == PARQUET.market, "files of two layouts"
    assert Scenario(world="none", strength=0.3).origin == Scenario(world="none").origin


def test_a_day_without_a_word_is_unknown_and_is_not_taken_for_a_real_one() -> None:
    assert origins_of([None, VENDOR, VENDOR]) == (VENDOR, UNKNOWN)
    assert words_of(origins_of([None])) == "source unknown" and origins_of([]) == ()
    with pytest.raises(RefusedError, match="source unknown"):
        require_one_origin("SHFE.cu2505", {FIRST: None, SECOND: VENDOR})
    assert TickDetails().stated_origin == UNKNOWN and "origin" not in TickDetails().to_json()
    newer = read_details("features", {"origin": {"kind": "a kind of a later version", "service": "x"}})
    assert newer.stated_origin == UNKNOWN and newer.to_json() == {
        "origin": {"kind": "a kind of a later version", "service": "x"}
    }


@given(origin=origins)
def test_an_origin_comes_back_from_a_manifest_as_it_was(origin: TickOrigin) -> None:
    for details in (TickDetails(origin=origin), FeatureDetails(origin=origin, levels=5)):
        document = json.loads(json.dumps(details.to_json()))
        dataset = "ticks" if isinstance(details, TickDetails) else "features"
        assert read_details(dataset, document) == details and document["origin"]["kind"] == origin.kind.value
    assert TickOrigin.from_json(json.dumps(origin.to_dict()).encode()) == origin


def test_only_a_service_that_says_world_and_seed_is_simulated() -> None:
    told = SIMULATED.to_dict()
    assert origin_said(json.dumps(told).encode(), "127.0.0.1:7788") == SIMULATED
    unknown = TickOrigin(kind=OriginKind.UNKNOWN, service="127.0.0.1:7788")
    for answer in (
        None, b"", b"<html>", b"[]", b"{}", json.dumps({**told, "seed": "one"}).encode(),
        json.dumps({**told, "kind": "service"}).encode(), json.dumps({**told, "world": None}).encode(),
    ):  # fmt: skip
        assert origin_said(answer, "127.0.0.1:7788") == unknown, answer
