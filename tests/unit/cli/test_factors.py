"""`ghtrader factors`: what there is, what one says, how it is computed; unknown names get near ones."""

from __future__ import annotations

import json

import pytest

from ghtrader import cli


def answer(arguments: str, capsys: pytest.CaptureFixture[str]) -> dict:
    assert cli.run([*arguments.split(), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_names_the_sets_and_every_factor_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer("factors list", capsys)
    assert {row["set"] for row in found["sets"]} >= {"core", "lean"}
    assert found["set"] == "core" and len(found["factors"]) >= 256
    assert all(row["unit"] and row["meaning"] and row["formula"] and row["warm"] >= 1 for row in found["factors"])
    refill = answer("factors list --set core --group refill", capsys)["factors"]
    assert refill and {row["group"] for row in refill} == {"refill"}
    assert cli.run(["factors", "list", "--set", "lean"]) == 0
    assert "ofi_1_sum_20" in capsys.readouterr().out


def test_show_tells_of_a_factor_or_of_a_set(capsys: pytest.CaptureFixture[str]) -> None:
    factor = answer("factors show kyle_lambda_100", capsys)
    assert factor["unit"] == "price ticks / lots" and "Kyle" in factor["paper"]
    assert not factor["needs_depth"] and not factor["needs_session"] and factor["sets"] == ["core"]
    assert answer("factors show cum_imbalance_5", capsys)["needs_depth"]
    assert answer("factors show session_time", capsys)["needs_session"]
    lean = answer("factors show lean", capsys)
    assert len(lean["names"]) == lean["factors"] and len(lean["spec_hash"]) == 64


def test_explain_takes_a_factor_apart_down_to_what_a_tick_holds(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer("factors explain signed_share_100", capsys)
    steps = found["steps"]
    assert steps[0]["formula"] == found["formula"] and steps[0]["nesting"] == 0
    assert {"SignedVolume()", "VolumeDelta()", "BidPrice(1)", "AskPrice(1)"} <= {step["formula"] for step in steps}
    assert all(step["unit"] and step["rule"] and step["meaning"] and step["warm"] >= 1 for step in steps)
    once = [step["formula"] for step in steps if not step["again"]]
    assert len(once) == len(set(once)), "what is computed once is taken apart once"
    assert cli.run(["factors", "explain", "signed_share_100"]) == 0
    assert "Lee, Ready" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["show", "explain"])
def test_a_name_that_is_nearly_right_gets_a_suggestion(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["factors", command, "kyle_lamda"]) == 2
    assert "kyle_lambda_100" in capsys.readouterr().err


def test_an_unknown_set_or_group_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["factors", "list", "--set", "huge"]) == 2
    assert "core" in capsys.readouterr().err
    assert cli.run(["factors", "list", "--group", "weather"]) == 2
    assert "refill" in capsys.readouterr().err
