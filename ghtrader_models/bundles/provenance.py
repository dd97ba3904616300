"""Says what a bundle was made of and in which run: provenance.json as structs.

What belongs here: the two parts and their JSON form. Writing and checking the file is `bundle`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

import msgspec

from ghtrader_base.errors import UsageError
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

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; an origin that is not known is left out."""
        found = {**asdict(self), "day": self.day.isoformat()}
        del found["origin"]
        return found if self.origin is None else {**found, "origin": self.origin.to_dict()}


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
    calibration : Calibration or None
        Of its probabilities; None where they are the model's own.
    learning_curve : list of float or None
        Log-loss of the validation span after each epoch, nats; None where the family has no epochs.
    devices : int or None
        Processes that trained it together; None for one.
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
    calibration: Calibration | None = None
    learning_curve: list[float] | None = None
    devices: int | None = None

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
        }
        return {name: value for name, value in found.items() if value is not None or name == "until_ns"}


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
    """

    run_id: str = ""
    created_at: str = ""
    code_version: str = ""


@dataclass(frozen=True, kw_only=True)
class BundleProvenance:
    """What a bundle was made of, and in which run."""

    content: BundleContent
    run: TrainingRun = field(default_factory=TrainingRun)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form: ``content`` and ``run``."""
        return {"content": self.content.to_dict(), "run": asdict(self.run)}

    @classmethod
    def from_dict(cls, document: object) -> BundleProvenance:
        """The inverse of `to_dict`; UsageError where the document is none."""
        try:
            return msgspec.convert(document, cls)
        except msgspec.ValidationError as exc:
            raise UsageError(f"this is no provenance of a bundle: {exc}") from exc
