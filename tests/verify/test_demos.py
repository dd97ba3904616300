"""Runs other demos: two quick ones of one seed, one without a signal, one of another seed."""

from __future__ import annotations

import pytest

from ghtrader.demo.effort import FULL, QUICK

pytestmark = pytest.mark.timeout(2400)


def test_a_quick_one_compares_the_same_families_at_the_judged_horizon_alone(demos) -> None:
    report = demos("--quick").report
    for half in ("simulated", "real"):
        models = report[half]["models"]
        assert set(QUICK.families) == set(FULL.families) < set(models)
        assert all(set(by_horizon) == {"50"} for by_horizon in models.values()), models.keys()
    assert report["simulated"]["days"] == 10


def test_without_a_signal_nothing_is_promoted(demos) -> None:
    half = demos("--no-signal").report["simulated"]
    assert half["world"] == "none" and half["champion"] is None and half["trading"] is None
    assert half["refused_because"]
    for family in FULL.families:
        for horizon, scores in half["models"][family].items():
            assert scores["logloss_gain"]["low"] <= 0, (family, horizon)


def test_the_same_seed_gives_the_same_contents(demos) -> None:
    first, again = demos("--quick").report, demos("--quick", again=True).report
    for half in ("simulated", "real"):
        assert again[half]["hashes"] == first[half]["hashes"]
        assert again[half]["models"] == first[half]["models"]


def test_another_seed_gives_other_contents(default_demo, demos) -> None:
    other = demos("--seed", "2").report
    for name, value in default_demo.report["simulated"]["hashes"].items():
        assert other["simulated"]["hashes"][name] != value, name
