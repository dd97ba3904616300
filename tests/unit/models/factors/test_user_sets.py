"""Factor sets from a file of the user's: used by name like ours, refused with the place and the reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_models.factors.language.parser import parse
from ghtrader_models.factors.library.sets import factors_of, find_factor, get_factor_set, set_names
from ghtrader_models.factors.library.user_sets import own_sets, read_sets, whole_name

GOOD = """
[pressure]
extends = "lean"
ofi_fast = "Ema(Ofi(1), 20)"
spread_z = { expression = "ZScore(Spread(), '300s')", doc = "How unusual the spread is." }
mid_return_1 = "MidReturn(2)"

[steep]
extends = "pressure"
slope = "Slope(Mid(), '30s')"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that GHTRADER_FACTORS names, not yet written."""
    path = tmp_path / "factors.toml"
    monkeypatch.setenv("GHTRADER_FACTORS", str(path))
    return path


def test_own_sets_are_used_by_name(file):
    file.write_text(GOOD)
    assert set_names()[-2:] == ("pressure", "steep")
    pressure, steep = get_factor_set("pressure"), get_factor_set("steep")
    assert len(pressure) == len(get_factor_set("lean")) + 2
    assert str(pressure.expressions["spread_z"]) == "ZScore(Spread(), '5m')"
    assert str(pressure.expressions["mid_return_1"]) == "MidReturn(2)"  # ours, replaced
    assert steep.names[-1] == "slope"
    assert find_factor("spread_z").doc == "How unusual the spread is."


def test_the_file_is_read_again_when_it_changes(file):
    import os

    file.write_text('[a]\nx = "Mid()"')
    assert str(get_factor_set("a").expressions["x"]) == "Mid()"
    file.write_text('[a]\nx = "Spread()"')
    os.utime(file, ns=(1, 1))
    assert str(get_factor_set("a").expressions["x"]) == "Spread()"


def test_a_file_is_a_set_by_itself(tmp_path, monkeypatch):
    monkeypatch.delenv("GHTRADER_FACTORS", raising=False)
    one, many = tmp_path / "one.toml", tmp_path / "many.toml"
    one.write_text('[mine]\nextends = "lean"\nx = "Ema(Spread(), 20)"')
    many.write_text(GOOD)
    assert get_factor_set(str(one)).name == "mine" and get_factor_set(str(one)).names[-1] == "x"
    assert get_factor_set(f"{many}:steep").names[-1] == "slope", "which extends another of its file"
    assert get_factor_set(str(one)) == get_factor_set(f"{one}:mine")
    monkeypatch.chdir(tmp_path)
    assert whole_name("one.toml:mine") == f"{one}:mine" and whole_name("core") == "core"
    with pytest.raises(UsageError, match="has 2 sets"):
        get_factor_set(str(many))
    with pytest.raises(UsageError, match="has no set 'his'"):
        get_factor_set(f"{one}:his")
    with pytest.raises(ConfigError, match="cannot be read"):
        get_factor_set("none.toml")
    one.write_text('[mine]\nx = "Ema(Spred(), 20)"')
    with pytest.raises(ConfigError, match=r"one.toml, line 2, column 10: factor x: unknown name 'Spred'"):
        get_factor_set(str(one))


def test_looking_for_sets_leaves_the_home_in_force_alone(file, tmp_path):
    from ghtrader_base import settings

    file.write_text(GOOD)
    settings.load_settings(tmp_path / "a home")
    get_factor_set("pressure")
    assert settings.latest_home == tmp_path / "a home", "compiled code goes there"


def test_no_file_no_sets(monkeypatch):
    monkeypatch.delenv("GHTRADER_FACTORS", raising=False)
    assert own_sets() == {}


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ('[a]\nx = "Mean(Foo(1), 20)"', 2, 11, "unknown name 'Foo'"),
        ('[b]\nx = "Mid()"\n[a]\nx = "Add(Mid(), Mean(Mid(), 0))"', 4, 17, "window must be from 1"),
        ('[a]\n\nx = """\nAdd(Mid(),\n  Imbalance(6))"""', 5, 3, "level must be from 1 to 5"),
        ("[a]\n  x = { expression = \"Mean(Mid(), '3 s')\" }", 2, 23, "must be ticks or a time"),
        ("[a]\nx = 3", 2, 1, "factor x is not an expression"),
        ('[a]\nx = { text = "Mid()" }', 2, 1, "factor x is not an expression"),
        ('[a]\nX = "Mid()"', 2, 1, "'X' is no factor name"),
        ('[a]\nmid = "Mid()"', 2, 1, "'mid' is no factor name"),
        ('[a]\ny = "Mid()"\n[c]\nextends = 4\nx = "Mid()"', 4, 1, "extends must name"),
        ('x = "Mid()"', 1, 1, "x is no table"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, line, column, reason):
    with pytest.raises(ConfigError) as refusal:
        read_sets(text, "mine.toml")
    assert refusal.value.message.startswith(f"mine.toml, line {line}, column {column}: "), refusal.value.message
    assert reason in refusal.value.message


def test_a_file_that_is_no_toml_or_not_there_is_said(file):
    with pytest.raises(ConfigError, match="cannot be read"):
        own_sets()
    file.write_text("[a\nx = 1")
    with pytest.raises(ConfigError, match="line 1"):
        own_sets()
    file.write_bytes(b"[a]\nx = '\xff'")
    with pytest.raises(ConfigError, match="UTF-8"):
        own_sets()


def test_a_set_cannot_extend_itself_or_nothing(file):
    file.write_text('[a]\nextends = "b"\nx = "Mid()"\n[b]\nextends = "a"\ny = "Mid()"\n[c]\nextends = "d"\nz = "Mid()"')
    with pytest.raises(UsageError, match="extends itself"):
        factors_of("a")
    with pytest.raises(UsageError, match="unknown factor set 'd'"):
        factors_of("c")


def test_a_near_name_is_offered_and_the_error_travels_between_processes():
    with pytest.raises(UsageError) as refusal:
        parse("Maen(Mid(), 3)")
    assert "Mean" in refusal.value.hint
    assert pickle.loads(pickle.dumps(refusal.value)).message == refusal.value.message
