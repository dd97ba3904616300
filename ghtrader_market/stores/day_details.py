"""Defines what only a dataset says of its days, one struct for each, and turns them into JSON and back.

The lake keeps it as `extra` of `_manifest.json`, QuestDB as `extra` of the build. A field that a day does not say is
None and is not written. What this version does not know, in a home of an older or a newer one, stays in `unknown` and
is written back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Self, TypeVar, get_args, get_type_hints

import msgspec

from ghtrader_base.errors import IntegrityError
from ghtrader_market.reference.tick_origin import UNKNOWN, TickOrigin
from ghtrader_market.reference.varieties import FeeRates

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Part:
    """A JSON object of a manifest.

    Attributes
    ----------
    unknown : mapping
        Keys this version has no field for, and values that are not of their field's type; as they were read.
    """

    unknown: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Self:
        """Read the object; TypeError where a field without a default is missing."""
        known: dict[str, Any] = {}
        unknown: dict[str, object] = {}
        for name, value in document.items():
            found = _read(_kinds(cls)[name], value) if name in _kinds(cls) else None
            if found is None:
                unknown[name] = value
            else:
                known[name] = found
        return cls(**known, unknown=unknown)

    def to_json(self) -> dict[str, Any]:
        """The object with its fields in their order, then what is `unknown`."""
        values = ((name, getattr(self, name)) for name in _kinds(type(self)))
        return {name: _plain(value) for name, value in values if value is not None} | dict(self.unknown)


_fields: dict[type, Mapping[str, Any]] = {}


def _kinds(part: type[Part]) -> Mapping[str, Any]:
    """Field -> type in the order they are written in: what only this dataset says comes first."""
    if part not in _fields:
        hints = get_type_hints(part)
        names = (name for one in part.__mro__ for name in vars(one).get("__annotations__", ()) if name != "unknown")
        _fields[part] = MappingProxyType({name: hints[name] for name in names})
    return _fields[part]


def _read(kind: Any, value: object) -> Any:
    """A value as its field has it; None where it is not what the field holds, or holds more."""
    kinds = get_args(kind) or (kind,)
    part = next((one for one in kinds if isinstance(one, type) and issubclass(one, Part)), None)
    try:
        if part is not None and isinstance(value, dict):
            return part.from_json(value)
        found = msgspec.convert(value, kind)
    except (msgspec.ValidationError, TypeError):
        return None
    return found if _same(_plain(found), value) else None


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are written alike, the order of keys apart: 1 and 1.0 are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(item) for name, item in asdict(value).items() if item is not None}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, kw_only=True)
class DayDetails(Part):
    """What every dataset may say of a day; daily bars say no more.

    Attributes
    ----------
    origin : TickOrigin, optional
        Where the ticks behind the day come from; see `stated_origin`.
    """

    origin: TickOrigin | None = None

    @property
    def stated_origin(self) -> TickOrigin:
        """The origin; unknown where the day does not say it, as those of older versions."""
        return self.origin or UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Recording(Part):
    """How our recorder came to a day.

    Attributes
    ----------
    missed : int
        Ticks that did not come, by their numbers.
    ended : bool
        Whether the recording went on to the day's end.
    """

    missed: int
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Replaced(Part):
    """The recorded day whose place a download took."""

    source: str
    run_id: str
    rows: int
    content_hash: str


@dataclass(frozen=True, kw_only=True)
class DeclaredOrigin(Part):
    """That a person said where a day's ticks come from (`ghtrader data origin set`).

    Attributes
    ----------
    by, at, why : str
        Login name, UTC time (ISO 8601), and the reason that was given.
    before : TickOrigin
        What the day itself said.
    """

    by: str
    at: str
    why: str
    before: TickOrigin = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class TickDetails(DayDetails):
    """What downloads, imports and the recorder say of a day of raw ticks.

    Attributes
    ----------
    dropped_duplicates : int, optional
        Rows that came twice and were left out.
    stale_rows, swapped_rows : int, optional
        Rows of a recording that were left out, and put in their places (`reference.row_judgement`).
    missing_columns : tuple of str, optional
        Columns the recording lacks; `volume_missing` where volume is one of them.
    recorded : Recording, optional
        Of a day that our own recorder wrote.
    replaced : Replaced or str, optional
        The recorded day that was here before; a sentence where its manifest was not read.
    declared : DeclaredOrigin, optional
        Of a day whose `origin` a person declared.
    """

    dropped_duplicates: int | None = None
    stale_rows: int | None = None
    swapped_rows: int | None = None
    missing_columns: tuple[str, ...] | None = None
    volume_missing: bool | None = None
    recorded: Recording | None = None
    replaced: Replaced | str | None = None
    declared: DeclaredOrigin | None = None

    @property
    def was_replaced(self) -> bool:
        """Whether the day took the place of a recorded one."""
        return self.replaced is not None or "replaced" in self.unknown


@dataclass(frozen=True, kw_only=True)
class MainDayDetails(DayDetails):
    """Where a day of main_l5 comes from.

    Attributes
    ----------
    contract : str, optional
        The main contract of the day.
    segment_id : int, optional
    schedule_hash : str, optional
        Of the roll schedule up to and including the day.
    raw_content_hash : str, optional
        `content_hash` of the raw ticks it was built from.
    raw_rows, dropped_outside_sessions : int, optional
        Rows of the raw ticks, and how many of them lay outside the sessions.
    session_rule : int, optional
        Which rows counted as inside (`session_times.SESSION_RULE`); days of older versions name none.
    """

    contract: str | None = None
    segment_id: int | None = None
    schedule_hash: str | None = None
    raw_content_hash: str | None = None
    raw_rows: int | None = None
    dropped_outside_sessions: int | None = None
    session_rule: int | None = None


@dataclass(frozen=True, kw_only=True)
class BuildContext(Part):
    """What features and labels are computed with, the ticks apart.

    Attributes
    ----------
    contract : str
    price_tick : float
        CNY.
    multiplier : int
        Units of a lot.
    sessions : tuple
        [start, end) of each session, UTC epoch ns; empty where no factor needs them.
    """

    contract: str
    price_tick: int | float
    multiplier: int
    sessions: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class QualityRecord(Part):
    """What the quality gate said of the day's ticks, and whether it was overruled (`accepted`)."""

    overall_state: str | None = None
    reason_code: str | None = None
    accepted: bool | None = None


@dataclass(frozen=True, kw_only=True)
class FactorSetRecord(Part):
    """A factor set as JSON: `factors` are pairs of name and expression, in column order."""

    language: int
    name: str
    factors: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class LabelSpecRecord(Part):
    """A label definition as JSON: `horizons` in ticks."""

    definition: str
    horizons: tuple[int, ...]
    threshold_ticks: int | float


@dataclass(frozen=True, kw_only=True)
class BuiltDetails(DayDetails):
    """What features and labels both say: the inputs a day was built from.

    Attributes
    ----------
    schema_version : int, optional
        `ghtrader_models.bundles.schema_versions`.
    main_l5_content_hash, ticks_content_hash : str, optional
        `content_hash` of the ticks; one of the two, by the dataset they are in.
    segment_id : int, optional
    schedule_hash : str, optional
    context : BuildContext, optional
    quality : QualityRecord, optional
        Where a gate was asked.
    session_rule : int, optional
        Where the source is raw ticks: which of its rows count as inside the sessions, as in `MainDayDetails`.
    """

    schema_version: int | None = None
    main_l5_content_hash: str | None = None
    ticks_content_hash: str | None = None
    segment_id: int | None = None
    schedule_hash: str | None = None
    context: BuildContext | None = None
    quality: QualityRecord | None = None
    session_rule: int | None = None

    def source_hash(self, dataset: str) -> str | None:
        """`content_hash` of the ticks the day was built from, where they were in this dataset."""
        return {"main_l5": self.main_l5_content_hash, "ticks": self.ticks_content_hash}.get(dataset)


@dataclass(frozen=True, kw_only=True)
class FeatureDetails(BuiltDetails):
    """How a day of features was made.

    Attributes
    ----------
    spec_hash : str, optional
        Of the factor set that was asked for.
    factor_set : FactorSetRecord, optional
        The factors that were computed.
    factor_set_hash : str, optional
        Of those.
    levels : int, optional
        Book levels of the ticks.
    left_out : tuple of str, optional
        Factors that these levels cannot feed.
    warm_up_ticks : int, optional
    """

    spec_hash: str | None = None
    factor_set: FactorSetRecord | None = None
    factor_set_hash: str | None = None
    levels: int | None = None
    left_out: tuple[str, ...] | None = None
    warm_up_ticks: int | None = None


@dataclass(frozen=True, kw_only=True)
class LabelDetails(BuiltDetails):
    """How a day of labels was made.

    Attributes
    ----------
    spec_hash : str, optional
        Of the label definition.
    label_spec : LabelSpecRecord, optional
    counts : dict, optional
        Label column -> rows without a label, DOWN, FLAT, UP.
    fees : FeeRates, optional
        Where the labels depend on them.
    """

    spec_hash: str | None = None
    label_spec: LabelSpecRecord | None = None
    counts: dict[str, tuple[int, ...]] | None = None
    fees: FeeRates | None = None


_DETAILS: Mapping[str, type[DayDetails]] = MappingProxyType(
    {
        "ticks": TickDetails,
        "ticks_l1": TickDetails,
        "main_l5": MainDayDetails,
        "features": FeatureDetails,
        "labels": LabelDetails,
    }
)


def details_type(dataset: str) -> type[DayDetails]:
    """The struct of a dataset's days."""
    return _DETAILS.get(dataset, DayDetails)


def read_details(dataset: str, document: Mapping[str, object]) -> DayDetails:
    """What a manifest or a build says of a day of this dataset."""
    return details_type(dataset).from_json(document)


def stated(value: T | None, what: str) -> T:
    """A value that a manifest must say.

    Raises
    ------
    IntegrityError
        It does not; `what` names the day and the value.
    """
    if value is None:
        raise IntegrityError(f"the manifest does not say {what}", "build the day again with --overwrite")
    return value
