"""Reads factor sets of your own from the file that GHTRADER_FACTORS or a command names: no code of ours changes.

What belongs here: reading such a file, and refusing it with the place and the reason. It is TOML, a table a set:

.. code-block:: toml

    [pressure]
    extends = "lean"                                # optional: begin with a set that is there
    ofi_fast = "Ema(Ofi(1), 20)"
    spread_z = { expression = "ZScore(Spread(), '5m')", doc = "How unusual the spread is." }
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ghtrader_base import settings
from ghtrader_base.errors import ConfigError, UsageError
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.expressions import Expression
from ghtrader_models.factors.language.parser import ExpressionError, parse

_EXTENDS = "extends"
_KEYS = {"expression", "doc"}
_FILE = re.compile(r"(.*\.toml)(?::([^:/]+))?")


@dataclass(frozen=True)
class OwnFactor:
    """A factor as its file gives it: name, expression, what it means (may be empty)."""

    name: str
    expression: Expression
    doc: str = ""


@dataclass(frozen=True)
class OwnSet:
    """A set as its file gives it: its factors, and the name of the set it begins with (may be empty)."""

    name: str
    factors: tuple[OwnFactor, ...]
    extends: str = ""


def own_sets() -> dict[str, OwnSet]:
    """The sets of the file that GHTRADER_FACTORS names; none where it names none. Read anew when the file changes.

    Raises
    ------
    ConfigError
        The file cannot be read or something in it is wrong: says file, line, column and reason.
    """
    named = settings.load_settings(settings.latest_home).factors  # the home that is in force stays in force
    return _sets_of(named, "GHTRADER_FACTORS: ") if named else {}


def file_sets(name: str) -> tuple[dict[str, OwnSet], str] | None:
    """The sets of a file and the one that is meant, where a name is ``FILE.toml`` or ``FILE.toml:SET``; else None.

    Raises
    ------
    ConfigError
        As `own_sets`.
    UsageError
        The file has no such set, or several and none is named.
    """
    found = _FILE.fullmatch(name)
    if found is None:
        return None
    file, wanted = found.groups()
    sets = _sets_of(file)
    if not wanted and len(sets) == 1:
        wanted = next(iter(sets))
    if wanted not in sets:
        said = f"has no set {wanted!r}" if wanted else f"has {len(sets)} sets"
        raise UsageError(f"{file} {said}", f"name one: {', '.join(f'{file}:{one}' for one in sets) or '[my_set]'}")
    return sets, wanted


def whole_name(name: str) -> str:
    """A set's name that means the same in every folder: a file's with its whole path."""
    found = _FILE.fullmatch(name)
    if found is None:
        return name
    file, wanted = found.groups()
    return str(Path(file).expanduser().absolute()) + (f":{wanted}" if wanted else "")


def _sets_of(file: str, named_by: str = "") -> dict[str, OwnSet]:
    path = Path(file).expanduser().absolute()
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as exc:
        raise ConfigError(f"{named_by}{path} cannot be read: {exc.strerror}", "name a TOML file") from exc


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int) -> dict[str, OwnSet]:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8: {exc.reason}", "save it as UTF-8") from exc
    return read_sets(text, str(path))


def read_sets(text: str, where: str) -> dict[str, OwnSet]:
    """Sets written as the module says.

    Parameters
    ----------
    text : str
        TOML.
    where : str
        What the text is called in messages.

    Raises
    ------
    ConfigError
        With line and column, as far as the text tells them, and the reason.

    Examples
    --------
    >>> sets = read_sets('[mine]\\nspread_ema = "Ema(Spread(), 20)"', "mine.toml")
    >>> str(sets["mine"].factors[0].expression)
    'Ema(Spread(), 20)'
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(f"{where}: {exc}", "correct the TOML") from exc
    return {name: _set(text, where, name, table) for name, table in document.items()}


def _set(text: str, where: str, name: str, table: Any) -> OwnSet:
    if not isinstance(table, dict):
        raise _wrong(text, where, "", name, f"{name} is no table", 'write [set_name], then factor = "expression"')
    extends = table.get(_EXTENDS, "")
    if not isinstance(extends, str):
        raise _wrong(text, where, name, _EXTENDS, f"{_EXTENDS} must name a factor set, not {extends!r}")
    factors = tuple(_factor(text, where, name, key, value) for key, value in table.items() if key != _EXTENDS)
    try:
        FactorSet(name, {factor.name: factor.expression for factor in factors})
    except UsageError as exc:
        guilty = next((factor.name for factor in factors if repr(factor.name) in exc.message), "")
        raise _wrong(text, where, name, guilty, exc.message, exc.hint) from exc
    return OwnSet(name, factors, extends)


def _factor(text: str, where: str, table: str, name: str, value: Any) -> OwnFactor:
    given = {"expression": value} if isinstance(value, str) else value
    if not isinstance(given, dict) or not isinstance(given.get("expression"), str) or set(given) - _KEYS:
        hint = 'a text, or { expression = "...", doc = "..." }'
        raise _wrong(text, where, table, name, f"factor {name} is not an expression", hint)
    try:
        return OwnFactor(name, parse(given["expression"]), str(given.get("doc", "")))
    except ExpressionError as exc:
        line, column = _place(text, table, name, given["expression"], exc.column)
        message = f"{where}, line {line}, column {column}: factor {name}: {exc.reason}"
        raise ConfigError(message, exc.hint) from exc
    except UsageError as exc:
        raise _wrong(text, where, table, name, f"factor {name}: {exc.message}", exc.hint) from exc


def _wrong(text: str, where: str, table: str, key: str, reason: str, hint: str = "") -> ConfigError:
    line, column = _place(text, table, key, "", 1)
    return ConfigError(f"{where}, line {line}, column {column}: {reason}", hint)


def _place(text: str, table: str, key: str, expression: str, column: int) -> tuple[int, int]:
    """Line and column, from 1, of a column within an expression; of its key where the expression is not found."""
    header = re.search(rf"^[ \t]*\[\s*[\"']?{re.escape(table)}[\"']?\s*\]", text, re.MULTILINE) if table else None
    start = header.end() if header else 0
    written = re.compile(rf"^[ \t]*[\"']?({re.escape(key)})[\"']?\s*[=.]", re.MULTILINE)
    found = written.search(text, start) if key else None
    at = found.start(1) if found else (header.start() if header else 0)
    if expression and found and (inside := text.find(expression, found.end())) >= 0:
        at = inside + column - 1
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
