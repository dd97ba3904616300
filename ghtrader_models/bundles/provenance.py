"""Says what a bundle was made of and in which run: provenance.json as structs.

What belongs here: the two parts and their JSON form. Writing and checking the file is `bundle`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import msgspec

from ghtrader_base.errors import UsageError
from ghtrader_base.files import content_hash
from ghtrader_market.reference.tick_origin import UNKNOWN, TickOrigin, origins_of
from ghtrader_models.bundles.left_out_days import LeftOutDay
from ghtrader_models.calibration import Calibration


@dataclass(frozen=True, kw_only=True)
class DayFacts:
    """What one day of a data set is.

    Attributes
    ----------
    day : date
        Trading day.
    contract : str
        The day's main contract.
    segment_id : int
        Its segment.
    price_tick : float
        CNY.
    multiplier : int
        Units of the product a lot.
    rows : int
        Ticks.
    features_hash, labels_hash : str
        Content hashes of what was read.
    origin : TickOrigin or None
        Where the day's ticks come from; None where its manifests do not say it.
    ticks_hash : str or None
        Content hash of the ticks that features and labels were built from; None in a bundle of format 1.
    schedule_hash : str or None
        Of the roll schedule up to and including the day; None where there is none, as for one contract.
    """

    day: date
    contract: str
    segment_id: int
    price_tick: float
    multiplier: int
    rows: int
    features_hash: str
    labels_hash: str
    origin: TickOrigin | None = None
    ticks_hash: str | None = None
    schedule_hash: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; what is not known is left out."""
        origin = self.origin.to_dict() if self.origin is not None else None
        found = {**asdict(self), "day": self.day.isoformat(), "origin": origin}
        return {name: value for name, value in found.items() if value is not None}


def data_hash(facts: Sequence[DayFacts]) -> str:
    """One hash over the days, features and labels that something was made from."""
    return content_hash([[fact.day.isoformat(), fact.features_hash, fact.labels_hash] for fact in facts])


@dataclass(frozen=True, kw_only=True)
class TrainingSpan:
    """The stretch of time that a model learned from.

    Attributes
    ----------
    start_ns, end_ns : int
        Of the first and the last row that was learned from, UTC epoch ns.
    """

    start_ns: int
    end_ns: int


@dataclass(frozen=True, kw_only=True)
class PretrainingDay:
    """One day of a series whose rows an encoder learned from, without their labels."""

    symbol: str
    day: date
    features_hash: str


@dataclass(frozen=True, kw_only=True)
class PretrainingRecord:
    """What a model's encoder learned before the model was trained.

    Attributes
    ----------
    objective : str
        `window_config.Pretraining`.
    encoder : str
        Hash of all that decides the encoder: its days, size, settings, seed and code; the name of its file.
    weights : str
        sha256 of its weights' file.
    windows : int
        It learned from.
    ends_ns : int
        UTC epoch of the last row of those days: before any row that the model was validated or tested on.
    days : tuple of PretrainingDay
    """

    objective: str
    encoder: str
    weights: str
    windows: int
    ends_ns: int
    days: tuple[PretrainingDay, ...]


@dataclass(frozen=True, kw_only=True)
class BundleContent:
    """What a bundle was made of; the bundle id covers all of it.

    Attributes
    ----------
    schema_version : int or None
        Of the features and labels; None in a bundle of the first version (see `schema_versions`).
    symbol : str
        Series the model was trained on, for example KQ.m@SHFE.cu.
    family : str or None
        As the bundle's kind.
    horizon : int
        Ticks ahead the model predicts.
    price_tick : float
        Price step of the contracts, CNY.
    multiplier : int or None
        Units of the product a lot.
    levels : int
        Book levels the factors need: 5 or 1.
    days : tuple of DayFacts
        The data set's days, ascending.
    left_out : tuple of LeftOutDay, or None
        Days that were asked for and took no part; None where there were none.
    until_ns : int or None
        Rows whose label was known before this moment were learned from; None for all.
    train_rows : int or None
        How many those were.
    class_prior : list of float or None
        Shares of DOWN, FLAT and UP in them.
    seed : int
        Of whatever the family draws.
    config : mapping of str to bool, int, float or str
        The family's configuration.
    importance : dict of str to float, or None
        Share of each factor.
    training_span : TrainingSpan or None
        When those rows were; None in a bundle of format 1.
    calibration : Calibration or None
        Of its probabilities; None where they are the model's own.
    devices : int or None
        Processes that trained it together; None for one.
    pretraining : PretrainingRecord or None
        What its encoder learned before; None where nothing was pretrained.
    """

    schema_version: int | None = None
    symbol: str
    family: str | None = None
    horizon: int
    price_tick: float
    multiplier: int | None = None
    levels: int
    days: tuple[DayFacts, ...]
    left_out: tuple[LeftOutDay, ...] | None = None
    until_ns: int | None = None
    train_rows: int | None = None
    class_prior: list[float] | None = None
    seed: int
    config: Mapping[str, bool | int | float | str]
    importance: dict[str, float] | None = None
    training_span: TrainingSpan | None = None
    calibration: Calibration | None = None
    devices: int | None = None
    pretraining: PretrainingRecord | None = None

    @property
    def origins(self) -> tuple[TickOrigin, ...]:
        """The different markets that the days' ticks come from; unknown where the bundle does not say it."""
        return origins_of(fact.origin for fact in self.days) or (UNKNOWN,)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; what a bundle does not say is left out."""
        left_out = [found.to_dict() for found in self.left_out] if self.left_out else None
        calibration = self.calibration.to_dict() if self.calibration is not None else None
        found = {
            **asdict(self),
            "days": [fact.to_dict() for fact in self.days],
            "left_out": left_out,
            "calibration": calibration,
            "pretraining": _pretraining_dict(self.pretraining) if self.pretraining is not None else None,
        }
        return {name: value for name, value in found.items() if value is not None or name == "until_ns"}


def _pretraining_dict(record: PretrainingRecord) -> dict[str, Any]:
    days = [{**asdict(day), "day": day.day.isoformat()} for day in record.days]
    return {**asdict(record), "days": days}


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """Which run made a bundle; the bundle id does not depend on it.

    Attributes
    ----------
    run_id : str
        Of the pipeline's run.
    created_at : str
        ISO 8601 with offset.
    code_version : str
        Version of ghtrader.
    git_commit : str
        The whole commit; empty outside of a checkout.
    packages : dict of str to str
        Versions of Python and of the packages that take part in training.
    splits_hash : str
        `SplitPlan.splits_hash` of these days under the usual options: that of the walk-forward report which a benchmark
        of the same days makes; empty where they are too few to be split.
    metrics : dict of str to float
        Scores on the rows that the policy was fitted on, which were learned from: no measure of worth.
    learning_curves : dict of str to list of float
        Score -> its value after each epoch; of families that have epochs.
    """

    run_id: str = ""
    created_at: str = ""
    code_version: str = ""
    git_commit: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    splits_hash: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    learning_curves: dict[str, list[float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; what format 1 did not have is left out where it is not known."""
        usual = ("run_id", "created_at", "code_version")
        return {name: value for name, value in asdict(self).items() if value or name in usual}


@dataclass(frozen=True, kw_only=True)
class BundleProvenance:
    """What a bundle was made of, and in which run."""

    content: BundleContent
    run: TrainingRun = field(default_factory=TrainingRun)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: ``content`` and ``run``."""
        return {"content": self.content.to_dict(), "run": self.run.to_dict()}

    @classmethod
    def from_dict(cls, document: object) -> BundleProvenance:
        """The inverse of `to_dict`; UsageError where the document is none."""
        try:
            return msgspec.convert(document, cls)
        except msgspec.ValidationError as exc:
            raise UsageError(f"this is no provenance of a bundle: {exc}") from exc
