"""Trains a bundle again from what its manifest says, and compares what comes out.

What belongs here: what is the same here and what is not (code, packages, days), the second training into a folder that
the caller throws away, and the comparison. Nothing is registered and no bundle of the home changes.

**What is promised.** A family that reads single rows gives the same files byte for byte on a CPU with the same code,
packages and days. A network gives a log-loss within `TOLERANCE_NATS` of the recorded one: its sums have another order
on other processors. Other code or packages are named and do not stop the training, since whether they matter is what
one wants to know. Other data does, unless it is asked for: then there is nothing to reproduce.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError, UsageError
from ghtrader_base.files import parse_json, read_bytes
from ghtrader_base.version import code_version, git_commit
from ghtrader_market.ingest.report import ProgressLine
from ghtrader_models.bundles.bundle import MANIFEST, PROVENANCE, Bundle
from ghtrader_models.bundles.package_versions import package_versions
from ghtrader_models.bundles.provenance import DayFacts
from ghtrader_models.datasets.built_day import FEATURES, day_facts, day_manifests
from ghtrader_models.datasets.load import Dataset, load_dataset
from ghtrader_models.datasets.other_series import with_varieties
from ghtrader_models.evaluation.metrics import log_loss
from ghtrader_models.evaluation.policy_fit import PolicyOptions
from ghtrader_models.factors.factor_set import FactorSetSpec
from ghtrader_models.families.base import FamilyConfig, get_family, make_config
from ghtrader_models.families.window_config import WindowConfig, pretraining_varieties
from ghtrader_models.inference.predictors import Predictor
from ghtrader_models.policy import PolicyParams
from ghtrader_models.training import rows_until, train_on

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake

TOLERANCE_NATS = 1e-3
"""How far the log-loss of a network that was trained again may be from the recorded one."""
OTHER_CODE_NATS = 1e-9
"""How far the log-loss of a table's model may be where other code or packages train it: sums in another order."""


class Subject(StrEnum):
    """What may differ between then and now."""

    CODE = "code"
    PACKAGES = "packages"
    SETTINGS = "settings"
    """The family's configuration has other fields."""
    FACTORS = "factors"
    LABELS = "labels"
    DAYS = "days"


_OF_DATA = (Subject.SETTINGS, Subject.FACTORS, Subject.LABELS, Subject.DAYS)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not what it was.

    Attributes
    ----------
    subject : Subject
    what : str
        A package, a day and what of it, a setting.
    recorded, here : str
        As the bundle says it, and as it is now.
    """

    subject: Subject
    what: str
    recorded: str
    here: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.what} was {self.recorded}, is {self.here}"


@dataclass(frozen=True, kw_only=True)
class MetricComparison:
    """One number of both trainings."""

    name: str
    recorded: float
    here: float

    @property
    def difference(self) -> float:
        """How far it is from what was recorded."""
        return self.here - self.recorded


@dataclass(frozen=True, kw_only=True)
class FileComparison:
    """One file of the bundle, and whether the second training wrote the same bytes."""

    name: str
    equal: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What the second training came to.

    Attributes
    ----------
    files : tuple of FileComparison
        All of the bundle's but its manifest and provenance, which name the run.
    metrics : tuple of MetricComparison
        Log-loss of both models on the rows learned from (nats), the policy's thresholds, and what the manifest says of
        its scores.
    probability_difference : float
        Largest difference of a class probability on those rows.
    tolerance_nats : float or None
        How far the log-loss may be from what it was; None where the family promises equal files: a table's, trained by
        the same code and packages.
    seconds : float
        Wall time of the second training.
    """

    files: tuple[FileComparison, ...]
    metrics: tuple[MetricComparison, ...]
    probability_difference: float
    tolerance_nats: float | None
    seconds: float

    @property
    def same_bytes(self) -> bool:
        """Whether every file is the same."""
        return all(found.equal for found in self.files)

    @property
    def kept(self) -> bool:
        """Whether what the family promises was kept."""
        if self.tolerance_nats is None:
            return self.same_bytes and all(found.difference == 0.0 for found in self.metrics)
        loss = next(found for found in self.metrics if found.name == "train_logloss")
        return abs(loss.difference) <= self.tolerance_nats


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Whether a bundle could be made again.

    Attributes
    ----------
    bundle_id, family, symbol, horizon
        Which bundle.
    differences : tuple of Difference
        What is not what it was.
    unknown : tuple of str
        What the bundle does not say.
    comparison : Comparison or None
        None where it was not trained again, because its data is not there as it was.
    """

    bundle_id: str
    family: str
    symbol: str
    horizon: int
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    comparison: Comparison | None

    @property
    def reproduced(self) -> bool:
        """Whether it was trained again and came out as promised."""
        return self.comparison is not None and self.comparison.kept

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        found = self.comparison
        if found is None:
            return "not trained again: its data is not here as it was"
        if found.tolerance_nats is None:
            words = "the same files byte for byte and equal metrics" if found.kept else "other files or metrics"
        else:
            loss = next(metric for metric in found.metrics if metric.name == "train_logloss")
            words = (
                f"log-loss differs by {abs(loss.difference):.2g} nats, {found.tolerance_nats:g} are allowed"
                f"{', the same files byte for byte' if found.same_bytes else ''}"
            )
        return f"{'reproduced' if found.kept else 'not reproduced'}: {words}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        document = dataclasses.asdict(self)
        comparison = self.comparison
        if comparison is not None:
            document["comparison"]["same_bytes"] = comparison.same_bytes
            for row, metric in zip(document["comparison"]["metrics"], comparison.metrics, strict=True):
                row["difference"] = metric.difference
        return {**document, "reproduced": self.reproduced, "verdict": self.verdict}


def reproduce(
    lake: Lake,
    bundle: Bundle,
    folder: Path,
    *,
    other_data: bool = False,
    progress: Callable[[str], object] = lambda _: None,
) -> Reproduction:
    """Compare code, packages and days with what a bundle says, train again, compare the results.

    Parameters
    ----------
    lake : Lake
        Where the days lie; read alone.
    bundle : Bundle
        Loaded, hence checked.
    folder : Path
        An empty folder for the second bundle; the caller removes it.
    other_data : bool
        Train again also where days are gone or differ, on those that are here.
    progress : callable
        Takes a line about what goes on.

    Raises
    ------
    FailedError
        The family's configuration has no longer the fields that the bundle names, or no day of it is here.
    GhtraderError
        As training raises it.
    """
    here, data = _days_here(lake, bundle, progress)
    data = (*data, *_pretraining_differences(lake, bundle))
    config, settings, lacking = _config_of(bundle)
    differences = (*_code_differences(bundle), *settings, *data)
    report = Reproduction(
        bundle_id=bundle.bundle_id,
        family=bundle.kind,
        symbol=bundle.symbol,
        horizon=bundle.horizon,
        differences=differences,
        unknown=(*_unknown(bundle), *lacking),
        comparison=None,
    )
    if not other_data and any(found.subject in _OF_DATA for found in differences):
        return report
    if config is None:
        raise FailedError(
            f"bundle {bundle.bundle_id} cannot be trained again: {settings[0]}", "check out the code that made it"
        )
    if not here:
        raise FailedError(f"no day of bundle {bundle.bundle_id} is here", "download and build them first")
    content = bundle.content
    progress(f"loading {len(here)} days of {bundle.symbol}")
    dataset = load_dataset(lake, bundle.symbol, here, bundle.horizon, mix=True)
    dataset = dataclasses.replace(dataset, left_out=content.left_out or ())
    if content.pretraining is not None:
        days: dict[str, list[date]] = {}
        for each in content.pretraining.days:
            days.setdefault(each.symbol, []).append(each.day)
        others = pretraining_varieties(config)
        dataset = with_varieties(dataset, lake, others, days=days, mix=True)
    progress(f"training {bundle.kind} at horizon {bundle.horizon} again, seed {content.seed}")
    started = time.perf_counter()
    again = train_on(
        dataset,
        folder,
        bundle.kind,
        until_ns=content.until_ns,
        seed=content.seed,
        config=config,
        policy=policy_options(bundle.policy),
        calibrated=content.calibration is not None,
    )
    seconds = time.perf_counter() - started
    progress("comparing the two")
    asked = rows_until(dataset, content.until_ns)[:: config.stride]
    other_code = any(found.subject in (Subject.CODE, Subject.PACKAGES) for found in differences)
    tolerance = TOLERANCE_NATS if isinstance(config, WindowConfig) else OTHER_CODE_NATS if other_code else None
    comparison = _compare(bundle, again, dataset, asked, tolerance, seconds)
    return dataclasses.replace(report, comparison=comparison)


def policy_options(params: PolicyParams) -> PolicyOptions:
    """What was asked of a policy with these numbers, as far as they tell: the quantile is the default."""
    usual = PolicyOptions()
    by_default = params.leave == usual.leave_fraction * params.enter
    return PolicyOptions(
        leave_fraction=usual.leave_fraction if by_default or params.enter <= 0 else params.leave / params.enter,
        max_lots=params.max_lots,
        sized=params.per_lot > 0 and params.max_lots > 1,
        cost_aware=params.move > 0,
        cooldown=params.cooldown,
    )


def _code_differences(bundle: Bundle) -> Iterator[Difference]:
    run = bundle.provenance.run
    then, now = (run.git_commit, git_commit()) if run.git_commit else (run.code_version, code_version())
    if then and then != now:
        what = "git commit" if run.git_commit else "version"
        yield Difference(subject=Subject.CODE, what=what, recorded=then, here=now or "no git checkout")
    installed = package_versions()
    for name, version in run.packages.items():
        if installed.get(name) != version:
            there = installed.get(name, "not installed")
            yield Difference(subject=Subject.PACKAGES, what=name, recorded=version, here=there)


def _unknown(bundle: Bundle) -> Iterator[str]:
    """What an older bundle does not say."""
    run, facts = bundle.provenance.run, bundle.content.days
    if not run.git_commit:
        yield "the whole git commit" if "+" in run.code_version else "the git commit"
    if not run.packages:
        yield "versions of packages"
    if any(fact.ticks_hash is None for fact in facts):
        yield "hashes of the ticks (those of features and labels were compared)"
    if bundle.symbol.startswith("KQ.m@") and any(fact.schedule_hash is None for fact in facts):
        yield "hashes of the roll schedule"
    if any(fact.origin is None for fact in facts):
        yield "where the ticks came from"
    if not run.metrics:
        yield "its own metrics (both models were scored on the rows learned from)"
    yield f"the quantile of its policy ({PolicyOptions().quantile:g} was taken)"


def _config_of(bundle: Bundle) -> tuple[FamilyConfig | None, tuple[Difference, ...], tuple[str, ...]]:
    """The configuration a bundle was trained with, None where the family refuses it; what differs; what it lacks."""
    family = get_family(bundle.kind)
    recorded = dict(bundle.content.config)
    usual = family.config()
    known = {field.name for field in dataclasses.fields(usual)}
    taken = {name: getattr(usual, name) for name in sorted(known - set(recorded))}
    lacking = tuple(f"setting {name} ({'none' if value == '' else value} was taken)" for name, value in taken.items())
    gone = tuple(
        Difference(subject=Subject.SETTINGS, what=name, recorded=str(recorded[name]), here="no setting")
        for name in sorted(set(recorded) - known)
    )
    if gone:
        return None, gone, lacking
    try:
        return make_config(family, recorded), (), lacking
    except UsageError as exc:
        refused = Difference(subject=Subject.SETTINGS, what="configuration", recorded="accepted", here=exc.message)
        return None, (refused,), lacking


def _days_here(
    lake: Lake, bundle: Bundle, progress: Callable[[str], object]
) -> tuple[list[date], tuple[Difference, ...]]:
    """Days of the bundle that are here, and what of them is not what it was."""
    here: list[date] = []
    differences: list[Difference] = []
    started, rows, other_factors = time.monotonic(), 0, False
    for number, then in enumerate(bundle.content.days, 1):
        try:
            features, labels = day_manifests(lake, bundle.symbol, then.day, "train")
        except GhtraderError as exc:
            gone = "not here" if isinstance(exc, FailedError) else exc.message
            differences.append(Difference(subject=Subject.DAYS, what=str(then.day), recorded="there", here=gone))
            continue
        here.append(then.day)
        rows += features.rows
        differences += _day_differences(then, day_facts(then.day, features, labels))
        factors = FactorSetSpec.from_dict(features.factor_set.to_json())
        if not other_factors and factors != bundle.factor_set_spec:
            other_factors = True
            words = (f"{len(spec.names)} factors" for spec in (bundle.factor_set_spec, factors))
            differences.append(
                Difference(subject=Subject.FACTORS, what=f"set of {then.day}", recorded=next(words), here=next(words))
            )
        if (found := labels.label_spec.definition) != bundle.label_spec.definition:
            differences.append(
                Difference(
                    subject=Subject.LABELS,
                    what=f"definition of {then.day}",
                    recorded=bundle.label_spec.definition,
                    here=str(found),
                )
            )
        total = len(bundle.content.days)
        progress(ProgressLine(rows, number, total, time.monotonic() - started, unit="days compared"))
    return here, tuple(differences)


def _pretraining_differences(lake: Lake, bundle: Bundle) -> Iterator[Difference]:
    """Days of other series, which the encoder learned from, that are not here as they were."""
    record = bundle.content.pretraining
    for then in record.days if record is not None else ():
        if then.symbol == bundle.symbol:  # among the bundle's own days
            continue
        manifest = lake.manifest(FEATURES, then.symbol, then.day)
        found = manifest.content_hash if manifest is not None else ""
        if found != then.features_hash:
            yield Difference(
                subject=Subject.DAYS,
                what=f"features of {then.symbol} on {then.day}",
                recorded=_short(then.features_hash),
                here=_short(found) or "not here",
            )


def _day_differences(then: DayFacts, now: DayFacts) -> Iterator[Difference]:
    for field in dataclasses.fields(DayFacts):
        recorded, found = getattr(then, field.name), getattr(now, field.name)
        if recorded is not None and recorded != found:
            yield Difference(
                subject=Subject.DAYS, what=f"{field.name} of {then.day}", recorded=_short(recorded), here=_short(found)
            )


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) == 64 else text


def _compare(
    bundle: Bundle, again: Bundle, dataset: Dataset, asked: np.ndarray, tolerance_nats: float | None, seconds: float
) -> Comparison:
    y = dataset.y[asked]
    then, now = (_probabilities(one, dataset, asked) for one in (bundle, again))
    metrics = [
        MetricComparison(name="train_logloss", recorded=float(log_loss(then, y)), here=float(log_loss(now, y))),
        MetricComparison(name="policy_enter", recorded=bundle.policy.enter, here=again.policy.enter),
        MetricComparison(name="policy_leave", recorded=bundle.policy.leave, here=again.policy.leave),
    ]
    recorded, found = bundle.provenance.run.metrics, again.provenance.run.metrics
    metrics += [
        MetricComparison(name=f"manifest {name}", recorded=recorded[name], here=found[name])
        for name in sorted(recorded.keys() & found.keys())
    ]
    return Comparison(
        files=tuple(_files(bundle, again)),
        metrics=tuple(metrics),
        probability_difference=float(np.abs(then - now).max()),
        tolerance_nats=tolerance_nats,
        seconds=round(seconds, 3),
    )


def _files(bundle: Bundle, again: Bundle) -> Iterator[FileComparison]:
    names = parse_json(read_bytes(bundle.path / MANIFEST))["files"]
    for name in sorted(set(names) - {PROVENANCE}):
        other = again.path / name
        yield FileComparison(name=name, equal=other.exists() and read_bytes(other) == read_bytes(bundle.path / name))


def _probabilities(bundle: Bundle, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """float64[k, 3] of some rows, int64[k] ascending, as the bundle says them live: day by day."""
    predictor = Predictor.from_bundle(bundle)
    if predictor.n_features != dataset.X.shape[1]:
        raise IntegrityError(
            f"bundle {bundle.bundle_id} takes {predictor.n_features} factors, its days have {dataset.X.shape[1]}",
            "build the days with the bundle's factors",
        )
    wanted = np.zeros(len(dataset), np.bool_)
    wanted[rows] = True
    parts = []
    for index in range(len(dataset.days)):
        low, high = np.searchsorted(dataset.day_index, [index, index + 1])
        parts.append(predictor.predict_day(dataset.X[low:high], wanted[low:high])[wanted[low:high]])
    return np.concatenate(parts)
