"""The language: what is written comes back, and nonsense is refused with its place."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader_base.errors import UsageError
from ghtrader_models.factors.factor_set import FactorSet, FactorSetSpec
from ghtrader_models.factors.language.expressions import LANGUAGE_VERSION, Add, Clip, Const, Ratio
from ghtrader_models.factors.language.parser import NAMES, parse
from ghtrader_models.factors.language.rolling_windows import Lag, Mean
from ghtrader_models.factors.language.sources import Depth, Imbalance, Mid, Ofi, Spread
from ghtrader_models.factors.language.stateful import Ema


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (Mean(Imbalance(1), 50), "Mean(Imbalance(1), 50)"),
        (Ratio(Ofi(2), Depth("bid", 3)), "Ratio(Ofi(2), Depth('bid', 3))"),
        (Ratio(1, Spread(), zero=-2), "Ratio(1.0, Spread(), zero=-2.0)"),
        (Clip(Mid(), -1, 2.5), "Clip(Mid(), -1.0, 2.5)"),
    ],
)
def test_prints_as_written_and_parses_back(expression, text):
    assert str(expression) == text
    assert parse(text) == expression
    assert hash(parse(text)) == hash(expression)


def test_white_space_and_names_of_arguments_do_not_matter():
    assert parse(" Mean(\n  x=Ofi( level = 1 ),window=20 ) ") == Mean(Ofi(1), 20)


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("Mean(Foo(1), 20)", 6, "unknown name 'Foo'"),
        ("Mean(Mid(), 0)", 1, "window must be from 1"),
        ("Mean(Mid(), 2.5)", 1, "window must be a whole number"),
        ("Sum(Mean(Mid(), True), 3)", 17, "Constant is not allowed"),
        ("Mean(Mid())", 1, "lacks window"),
        ("Mean(Mid(), 3, 4)", 1, "takes 2 arguments"),
        ("Mean(Mid(), width=3)", 1, "no argument 'width'"),
        ("Mean(Mid(), 3, window=4)", 1, "given window twice"),
        ("Mean(**Mid())", 1, "no argument None"),
        ("Mean(Mid(), 5", 5, "never closed"),
        ("Add(Mid, 1)", 5, "'Mid' is not called"),
        ("Mid() + 1", 1, "BinOp is not allowed"),
        ("Imbalance(6)", 1, "level must be from 1 to 5"),
        ("Add(Mid(), Depth('both', 2))", 12, "side must be one of bid, ask"),
        ("Clip(Mid(), 2, 1)", 1, "must not exceed high"),
        ("Add(Mid(), 1e400)", 1, "must be a number"),
        ("Mean('bid', 3)", 1, "must be an expression"),
        ("-Mid()", 1, "a sign belongs before a number"),
        ("Const(3)", 1, "unknown name 'Const'"),
        ("__import__('os').system('true')", 1, "is not allowed"),
        ("Mid().__class__", 1, "Attribute is not allowed"),
        ("3", 1, "a bare value is no factor"),
    ],
)
def test_nonsense_is_refused_with_place_and_reason(text, column, reason):
    with pytest.raises(UsageError) as refusal:
        parse(text)
    assert f"column {column}:" in refusal.value.message
    assert reason in refusal.value.message


@pytest.mark.parametrize(
    "text", ["", "   ", "(" * 9000, "-" * 9000 + "1", "Abs(" * 60 + "Mid()" + ")" * 60, "x" * 20_000]
)
def test_absurd_texts_are_refused_too(text):
    with pytest.raises(UsageError):
        parse(text)


@given(st.text(alphabet="MidAbsen(),0123456789.-'= \n#", max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_parses_or_is_refused(text):
    try:
        expression = parse(text)
    except UsageError:
        return
    assert parse(str(expression)) == expression


def test_depth_and_warm_up_follow_from_the_parts():
    expression = Mean(Lag(Ofi(3), 5), 20)
    assert expression.levels_needed() == 3
    assert expression.warm_up() == 2 + 5 + 19
    assert Ema(Mid(), 10).warm_up() == 10
    assert Add(Mid(), Const(1)).levels_needed() == 1


def test_every_name_is_documented():
    assert all(cls.__doc__ and not cls.__doc__.startswith(f"{name}(") for name, cls in NAMES.items())


def test_a_set_goes_through_its_spec_and_keeps_order_and_hash():
    pair = FactorSet("two", {"b": Mean(Mid(), 3), "a": Ofi(1)})
    document = json.loads(json.dumps(pair.spec().to_dict()))
    factors = [["b", "Mean(Mid(), 3)"], ["a", "Ofi(1)"]]
    assert document == {"language": LANGUAGE_VERSION, "name": "two", "factors": factors}
    again = FactorSet.from_spec(FactorSetSpec.from_dict(document))
    assert again.names == ("b", "a")
    assert again == pair
    assert again.spec_hash == pair.spec_hash == pickle.loads(pickle.dumps(pair)).spec_hash
    assert FactorSet("two", {"a": Ofi(1), "b": Mean(Mid(), 3)}).spec_hash != pair.spec_hash
    assert FactorSet("other name", dict(pair.expressions)).spec_hash == pair.spec_hash


@pytest.mark.parametrize("name", ["", "Upper", "1st", "a-b", "mid", "segment_id", "x" * 64])
def test_names_that_are_no_columns_are_refused(name):
    with pytest.raises(UsageError):
        FactorSet("s", {name: Mid()})


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"language": LANGUAGE_VERSION, "name": "x", "factors": [["a"]]},
        {"language": LANGUAGE_VERSION, "name": "x", "factors": []},
        {"language": 99, "name": "x", "factors": [["a", "Mid()"]]},
        {"language": LANGUAGE_VERSION, "name": "x", "factors": [["a", "Mid()"], ["a", "Mid()"]]},
        {"language": LANGUAGE_VERSION, "name": "x", "factors": [["a", "Mid("]]},
    ],
)
def test_a_wrong_spec_is_refused(spec):
    with pytest.raises(UsageError):
        FactorSet.from_spec(FactorSetSpec.from_dict(spec))


def test_a_wrong_factor_in_a_spec_is_named():
    with pytest.raises(UsageError, match="factor wrong: .*column 6: unknown name"):
        FactorSet.from_spec(FactorSetSpec(LANGUAGE_VERSION, "x", (("wrong", "Mean(Foo(), 3)"),)))
