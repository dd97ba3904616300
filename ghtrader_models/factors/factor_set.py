"""Defines a factor set: names and expressions in order, its JSON form and its hash.

What belongs here: what makes two sets the same, and what of a set is left on a recording with fewer levels or columns.
Which sets there are is in `library.sets`; how one is computed in `engine`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from ghtrader_base.errors import UsageError
from ghtrader_base.files import content_hash
from ghtrader_models.factors.language.expressions import LANGUAGE_VERSION, Expression
from ghtrader_models.factors.language.parser import parse

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
RESERVED_NAMES = frozenset({"datetime_ns", "mid", "underlying_contract", "segment_id", "schedule_hash"})
"""Column names of the stored tables that no factor may take."""


@dataclass(frozen=True)
class FactorSetSpec:
    """A factor set as bundles and manifests keep it: unparsed, hence also one of another version of the language.

    Attributes
    ----------
    language : int
        Version of the factor language it is written in.
    name : str
        Name of the set.
    factors : tuple of (str, str)
        Name and expression of each factor, in column order.
    """

    language: int
    name: str
    factors: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Factor names, in column order."""
        return tuple(name for name, _ in self.factors)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: language, name, factors: [[name, text]]."""
        factors = [[name, text] for name, text in self.factors]
        return {"language": self.language, "name": self.name, "factors": factors}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> FactorSetSpec:
        """The inverse of `to_dict`; UsageError where the document is none."""
        try:
            pairs = tuple((str(name), str(text)) for name, text in document["factors"])
            return cls(int(document["language"]), str(document["name"]), pairs)
        except (KeyError, TypeError, ValueError) as exc:
            raise UsageError(
                f"this is no factor set: {exc!r}", "it has language, name, factors: [[name, text]]"
            ) from exc


@dataclass(frozen=True)
class FactorSet:
    """Named factors, in the order of their columns.

    Parameters
    ----------
    name : str
        Name of the set.
    expressions : Mapping[str, Expression]
        Factor name (lower case, digits, underscores) to expression; kept read-only.

    Raises
    ------
    UsageError
        The set is empty, or a name is no column name or is taken by the stored tables.
    """

    name: str
    expressions: Mapping[str, Expression]

    def __post_init__(self) -> None:
        if not self.expressions:
            raise UsageError(f"factor set {self.name!r} holds no factor")
        for name, expression in self.expressions.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name) or name in RESERVED_NAMES:
                raise UsageError(f"factor set {self.name!r}: {name!r} is no factor name", "write it like ofi_1_20")
            if not isinstance(expression, Expression):
                raise UsageError(f"factor set {self.name!r}: factor {name} is no expression but {expression!r}")
        object.__setattr__(self, "expressions", MappingProxyType(dict(self.expressions)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, dict(self.expressions))

    def __hash__(self) -> int:
        return hash(self.spec_hash)

    @property
    def names(self) -> tuple[str, ...]:
        """Factor names, in column order."""
        return tuple(self.expressions)

    def __len__(self) -> int:
        return len(self.expressions)

    @cached_property
    def levels(self) -> int:
        """Book levels a recording must hold for every factor to be known."""
        return max(expression.levels_needed() for expression in self.expressions.values())

    @cached_property
    def needs_session(self) -> bool:
        """Whether some factor needs the session bounds of the day."""
        return any(expression.needs_session() for expression in self.expressions.values())

    @cached_property
    def warm_up_ticks(self) -> int:
        """Ticks of complete data up to and including the first at which every factor has a value."""
        return max(expression.warm_up() for expression in self.expressions.values())

    def spec(self) -> FactorSetSpec:
        """The set as bundles and manifests keep it."""
        factors = tuple((name, str(expression)) for name, expression in self.expressions.items())
        return FactorSetSpec(LANGUAGE_VERSION, self.name, factors)

    @classmethod
    def from_spec(cls, spec: FactorSetSpec) -> FactorSet:
        """The inverse of `spec`.

        Raises
        ------
        UsageError
            The set is written in another version of the language, names a factor twice, or holds a wrong expression
            (then with factor, column and reason).
        """
        name = spec.name
        if spec.language != LANGUAGE_VERSION:
            raise UsageError(
                f"factor set {name!r} speaks version {spec.language} of the factor language, this is "
                f"{LANGUAGE_VERSION}",
                "rebuild features and retrain with this version",
            )
        expressions: dict[str, Expression] = {}
        for key, text in spec.factors:
            if key in expressions:
                raise UsageError(f"factor set {name!r} names {key} twice")
            try:
                expressions[key] = parse(text)
            except UsageError as exc:
                raise UsageError(f"factor set {name!r}, factor {key}: {exc.message}", exc.hint) from exc
        return cls(name, expressions)

    @cached_property
    def spec_hash(self) -> str:
        """Hex sha256 of names, expressions, order and language version; the set's own name does not count."""
        spec = self.spec()
        return content_hash({"language": spec.language, "factors": [list(pair) for pair in spec.factors]})

    def restrict_levels(self, levels: int) -> tuple[FactorSet, tuple[str, ...]]:
        """The part of the set that a recording of so many levels can feed.

        Returns
        -------
        FactorSet
            Factors that need no deeper level; the set itself where that is all of them.
        tuple of str
            Names of those left out.

        Raises
        ------
        UsageError
            Nothing would be left.
        """
        left_out = tuple(name for name, expr in self.expressions.items() if expr.levels_needed() > levels)
        if not left_out:
            return self, ()
        kept = {name: expr for name, expr in self.expressions.items() if name not in left_out}
        if not kept:
            raise UsageError(
                f"every factor of {self.name!r} needs deeper levels of the book ({left_out[0]} ...), and these ticks "
                f"have {levels}",
                "bring five-level ticks, or choose a set with factors of the best bid and ask",
            )
        return FactorSet(self.name, kept), left_out

    def restrict_columns(self, missing: Collection[str]) -> tuple[FactorSet, tuple[str, ...]]:
        """The part of the set that a recording without some columns can feed.

        Parameters
        ----------
        missing : collection of str
            Tick columns that no row has a number in, as `tick_schema.unrecorded_columns` names them.

        Returns
        -------
        FactorSet
            Factors that read none of them; the set itself where that is all of them.
        tuple of str
            Names of those left out.

        Raises
        ------
        UsageError
            Nothing would be left.
        """
        gone = frozenset(missing)
        if not gone:
            return self, ()
        read = {name: expr.columns_needed() & gone for name, expr in self.expressions.items()}
        left_out = tuple(name for name, columns in read.items() if columns)
        if not left_out:
            return self, ()
        kept = {name: expr for name, expr in self.expressions.items() if name not in left_out}
        if not kept:
            raise UsageError(
                f"every factor of {self.name!r} reads {', '.join(sorted(frozenset().union(*read.values())))}, "
                "which these ticks do not have",
                "bring ticks with volume, or choose a set with factors of the book",
            )
        return FactorSet(self.name, kept), left_out
