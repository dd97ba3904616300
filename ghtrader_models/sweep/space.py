"""Reads and checks a space file: which settings of a family are searched, within which bounds, and which are fixed.

What belongs here: the file's structs, and refusing it with line and field. It is TOML:

.. code-block:: toml

    preset = "small"                                    # optional: what is not named below is as there
    [search]
    max_depth = { type = "int", low = 2, high = 6 }
    eta = { type = "float", low = 0.01, high = 0.3, log = true }
    loss = { type = "choice", values = ["log", "focal"] }
    [fixed]
    rounds = 120
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ghtrader_base.errors import ConfigError, GhtraderError
from ghtrader_models.families.base import ModelFamily, Preset, make_config

Setting = bool | int | float | str


class IntRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="int", tag_field="type"):
    """Whole numbers from `low` to `high`, both among them, `step` apart; `log`: small ones as likely as large ones."""

    low: int
    high: int
    step: int = 1
    log: bool = False


class FloatRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="float", tag_field="type"):
    """Numbers from `low` to `high`; `log`: each order of magnitude is as likely."""

    low: float
    high: float
    log: bool = False


class Choice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="choice", tag_field="type"):
    """One of some values."""

    values: tuple[Setting, ...]


Parameter = IntRange | FloatRange | Choice


class Space(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is searched.

    Attributes
    ----------
    search : dict of str to Parameter
        Setting of the family -> its values.
    fixed : dict of str to bool, int, float or str
        Settings with one value that is not the preset's.
    preset : Preset
        Where all other settings come from.
    """

    search: dict[str, Parameter]
    fixed: dict[str, Setting] = {}
    preset: Preset = Preset.SMALL

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, which `of_document` takes."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document

    def settings(self, found: Mapping[str, Setting]) -> dict[str, Setting]:
        """What `families.base.make_config` takes for some values of what is searched."""
        return {"preset": self.preset.value, **self.fixed, **found}


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's tables, before what stands in them is looked at one by one: so that a mistake has its name."""

    search: dict[str, Any]
    fixed: dict[str, Any] = {}
    preset: Preset = Preset.SMALL


def read_space(path: Path, family: ModelFamily) -> Space:
    """A space file, checked against the family.

    Raises
    ------
    ConfigError
        The file cannot be read or something in it is wrong: says file, line, field and what to do.
    """
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}", "name a TOML file with --space") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8: {exc.reason}", "save it as UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: {exc}", "correct the TOML") from exc
    return of_document(document, family, where=str(path), text=text)


def of_document(document: Any, family: ModelFamily, *, where: str = "space", text: str = "") -> Space:
    """A space from its document, checked against the family.

    Parameters
    ----------
    document : object
        As TOML or a run's configuration has it.
    family : ModelFamily
    where, text : str
        Name and text of the file, for messages; a run's configuration has no text.

    Raises
    ------
    ConfigError
        A field that is none, a value of a wrong type, bounds that hold nothing, a setting the family does not have or
        does not take.
    """
    outer = _converted(document, _Document, "", where, text)
    search = {name: _converted(raw, Parameter, f"search.{name}", where, text) for name, raw in outer.search.items()}
    fixed = {name: _converted(raw, Setting, f"fixed.{name}", where, text) for name, raw in outer.fixed.items()}
    space = Space(search=search, fixed=fixed, preset=outer.preset)
    if not space.search:
        raise _wrong(where, text, "search", "nothing is searched", "name a setting of the family under [search]")
    for field, reason, hint in _mistakes(space, family):
        raise _wrong(where, text, field, reason, hint)
    return space


def _converted(raw: Any, kind: Any, field: str, where: str, text: str) -> Any:
    """A part of the document as a struct; `ConfigError` naming its field."""
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as exc:
        reason, _, place = str(exc).partition(" - at `$")
        inner = place.rstrip("`").lstrip(".")
        hint = 'for example eta = { type = "float", low = 0.01, high = 0.3, log = true } under [search]'
        raise _wrong(where, text, ".".join(filter(None, (field, inner))), reason, hint) from exc


def _mistakes(space: Space, family: ModelFamily) -> Iterator[tuple[str, str, str]]:
    """Field, what is wrong with it and what to do, one after the other."""
    usual = family.config(space.preset)
    known = sorted(usual.__dataclass_fields__)
    for table, names in (("search", space.search), ("fixed", space.fixed)):
        for name in names:
            if name not in known:
                yield f"{table}.{name}", f"{family.name} has no setting {name}", f"it has: {', '.join(known)}"
    for name in sorted(set(space.search) & set(space.fixed)):
        yield f"fixed.{name}", f"{name} is searched and fixed", "leave one of them out"
    for name, parameter in space.search.items():
        for reason, hint in _bad_bounds(parameter):
            yield f"search.{name}", reason, hint
    for name, value in space.fixed.items():
        try:
            make_config(family, {"preset": space.preset.value, name: value})
        except GhtraderError as exc:
            yield f"fixed.{name}", exc.message, exc.hint
    for name, parameter in space.search.items():
        for value in corners(parameter):
            try:
                make_config(family, {"preset": space.preset.value, **space.fixed, name: value})
            except GhtraderError as exc:
                yield f"search.{name}", exc.message, exc.hint


def corners(parameter: Parameter) -> tuple[Setting, ...]:
    """The ends of a range, or all values of a choice."""
    return parameter.values if isinstance(parameter, Choice) else (parameter.low, parameter.high)


def _bad_bounds(parameter: Parameter) -> Iterator[tuple[str, str]]:
    if isinstance(parameter, Choice):
        if len(parameter.values) < 2 or len(set(map(repr, parameter.values))) < len(parameter.values):
            yield f"{len(parameter.values)} values, or one of them twice", "give two different ones at least, or fix it"
        return
    if not parameter.low < parameter.high:
        yield f"low {parameter.low} is not below high {parameter.high}", "exchange them, or put the value under [fixed]"
    if parameter.log and parameter.low <= 0:
        yield f"low {parameter.low} has no logarithm", "begin above 0, or leave log out"
    if isinstance(parameter, IntRange):
        if parameter.step < 1:
            yield f"step {parameter.step}", "a step is 1 at least"
        if parameter.log and parameter.step != 1:
            yield "step and log together", "leave one of them out"


def _wrong(where: str, text: str, field: str, reason: str, hint: str) -> ConfigError:
    line = _line(text, field)
    place = f"{where}, line {line}" if line else where
    return ConfigError(f"{place}: {field + ': ' if field else ''}{reason}", hint)


def _line(text: str, field: str) -> int:
    """Line, from 1, of a field of a TOML text, of its table where it is not found; 0 where neither is there."""
    table, _, rest = field.partition(".")
    name = rest.partition(".")[0] or table
    header = re.search(rf"^[ \t]*\[\s*{re.escape(table)}\b", text, re.MULTILINE) if table else None
    written = re.compile(rf"^[ \t]*(\[\s*{re.escape(table)}\.)?[\"']?{re.escape(name)}[\"']?\s*[\]=.]", re.MULTILINE)
    found = written.search(text, header.start() if header else 0) if name else None
    at = found or header
    return text.count("\n", 0, at.start()) + 1 if at else 0
