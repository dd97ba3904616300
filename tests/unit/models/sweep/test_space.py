"""A space file is read as it says, and refused with line, field and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghtrader_base.errors import ConfigError
from ghtrader_models.families.base import get_family, make_config
from ghtrader_models.sweep.space import Choice, FloatRange, IntRange, of_document, read_space

GOOD = """
preset = "paper"
[search]
max_depth = { type = "int", low = 2, high = 6 }
eta = { type = "float", low = 0.01, high = 0.3, log = true }
[search.max_bin]
type = "choice"
values = [32, 64]
[fixed]
rounds = 20
"""


def test_a_space_is_what_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(GOOD)
    family = get_family("xgboost")
    space = read_space(path, family)
    assert space.search == {
        "max_depth": IntRange(low=2, high=6),
        "eta": FloatRange(low=0.01, high=0.3, log=True),
        "max_bin": Choice(values=(32, 64)),
    }
    assert of_document(space.to_dict(), family) == space, "a run's configuration has the same"
    config = make_config(family, space.settings({"max_depth": 3, "eta": 0.1, "max_bin": 32}))
    assert (config.rounds, config.max_depth, config.max_bin, config.stride) == (20, 3, 32, 1)


ETA = "eta = { type = 'float', low = 0.1, high = 0.2 }"
ROUNDS = "rounds = { type = 'int', low = 1, high = 9 }"
# what is written, where it is said to be wrong, and what is said of it
MISTAKES = {
    "an unknown setting": (f"[search]\n{ETA.replace('eta', 'wonder')}", "line 2: search.wonder", "no setting wonder"),
    "an unknown fixed one": (f"[search]\n{ETA}\n[fixed]\nwonder = 1", "line 4: fixed.wonder", "it has: "),
    "an unknown field": (f"[search]\n{ETA.replace('high', 'most')}", "line 2: search.eta", "most"),
    "an unknown table": ("[searches]\neta = 1", "space.toml", "unknown field `searches`"),
    "a word for a number": (f"[search]\n{ETA.replace('0.1', '[]')}", "line 2: search.eta.low", "float"),
    "an unknown type": (f"[search]\n\n{ETA.replace('float', 'real')}", "line 3: search.eta.type", "real"),
    "a fixed list": (f"[search]\n{ETA}\n[fixed]\nrounds = [1]", "line 4: fixed.rounds", "array"),
    "no search": ("[fixed]\neta = 0.1", "space.toml", "missing required field `search`"),
    "an empty search": ("[search]\n[fixed]\neta = 0.1", "line 1: search", "nothing is searched"),
    "bounds that hold nothing": (f"[search]\n{ETA.replace('0.1', '0.3')}", "line 2: search.eta", "not below high"),
    "no logarithm": (f"[search]\n{ETA.replace('0.1', '0.0, log = true')}", "line 2: search.eta", "begin above 0"),
    "no step": (f"[search]\n{ROUNDS.replace('9', '9, step = 0')}", "line 2: search.rounds", "a step is 1"),
    "one choice": ("[search]\nmax_bin = { type = 'choice', values = [3] }", "line 2: search.max_bin", "two different"),
    "a float for an int": (f"[search]\n{ETA.replace('eta', 'rounds')}", "line 2: search.rounds", "give it like"),
    "searched and fixed": (f"[search]\n{ROUNDS}\n[fixed]\nrounds = 5", "line 4: fixed.rounds", "leave one"),
    "a preset there is not": (f"preset = 'huge'\n[search]\n{ETA}", "line 1: preset", "huge"),
    "no TOML": ("[search", "table declaration", "correct the TOML"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named_by_line_and_field(mistake: str, tmp_path: Path) -> None:
    text, place, told = MISTAKES[mistake]
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_space(path, get_family("xgboost"))
    words = f"{refused.value.message} / {refused.value.hint}"
    assert str(path) in words and place in words and told in words


def test_the_ends_of_a_range_are_tried_on_the_familys_own_checks(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text("[search]\nvalidation_share = { type = 'float', low = 0.1, high = 1.0 }")
    with pytest.raises(ConfigError, match="search.validation_share: this trains nothing"):
        read_space(path, get_family("tcn"))


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_space(tmp_path / "none.toml", get_family("xgboost"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_space(tmp_path / "bytes.toml", get_family("xgboost"))
