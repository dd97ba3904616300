"""Trains one family on days of the lake and writes the bundle.

What belongs here: the edge between data set, family, policy and bundle. Whether the result may trade is
`promotion`'s question, and it is asked of a benchmark, never of the training rows.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghtrader_base.errors import UsageError
from ghtrader_base.files import arrays_hash, content_hash, ensure_dir
from ghtrader_base.version import code_version, git_commit
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_models.bundles.bundle import Bundle, load_bundle, write_bundle
from ghtrader_models.bundles.package_versions import package_versions
from ghtrader_models.bundles.provenance import BundleContent, TrainingRun, TrainingSpan
from ghtrader_models.bundles.schema_versions import SCHEMA_VERSION
from ghtrader_models.datasets.load import Dataset, load_dataset, never_known
from ghtrader_models.datasets.other_series import with_varieties
from ghtrader_models.evaluation.calibration_fit import CalibratedModel, fit_calibrated
from ghtrader_models.evaluation.metrics import accuracy, class_prior, log_loss
from ghtrader_models.evaluation.policy_fit import PolicyOptions, fit_policy_on
from ghtrader_models.evaluation.splits import SplitOptions, make_splits, training_stop
from ghtrader_models.families.base import FamilyConfig, get_family, learning_curves, pretraining_of
from ghtrader_models.families.training_session import TrainingSession, training_session
from ghtrader_models.families.window_config import pretraining_varieties, require_devices
from ghtrader_models.labels.labels import NO_LABEL

if TYPE_CHECKING:
    from ghtrader_market.stores.lake.lake import Lake


def train(
    lake: Lake,
    models_dir: Path,
    symbol: str,
    family: str,
    horizon: int,
    days: Sequence[date],
    *,
    until_ns: int | None = None,
    seed: int = 0,
    config: FamilyConfig | None = None,
    policy: PolicyOptions | None = None,
    run_id: str = "",
    strict: bool = False,
    mix: bool = False,
    calendar: TradingCalendar | None = None,
    cache: Path | None = None,
    session: TrainingSession | None = None,
) -> Bundle:
    """Load the days, train, write the bundle; see `load_dataset` (`strict` to `cache`) and `train_on`."""
    dataset = load_dataset(lake, symbol, days, horizon, strict=strict, mix=mix, calendar=calendar, cache=cache)
    others = pretraining_varieties(config)
    dataset = with_varieties(dataset, lake, others, mix=mix, calendar=calendar, cache=cache)
    return train_on(
        dataset, models_dir, family, until_ns=until_ns, seed=seed, config=config, policy=policy, run_id=run_id,
        session=session,
    )  # fmt: skip


def train_on(
    dataset: Dataset,
    models_dir: Path,
    family: str,
    *,
    until_ns: int | None = None,
    seed: int = 0,
    config: FamilyConfig | None = None,
    policy: PolicyOptions | None = None,
    run_id: str = "",
    session: TrainingSession | None = None,
    calibrated: bool = True,
) -> Bundle:
    """Train on a data set at hand and write the bundle.

    Parameters
    ----------
    dataset : Dataset
        Rows of one series at one horizon.
    models_dir : Path
        `Settings.models`.
    family : str
        A name of `families.table.FAMILIES`.
    until_ns : int, optional
        Only rows whose label ends before this moment are learned from: what follows stays unseen.
    seed : int
        Of whatever the family draws.
    config : FamilyConfig, optional
        The family's own; its default where absent (`families.base.make_config`).
    policy : PolicyOptions, optional
        How probabilities become positions; the defaults where absent.
    run_id : str
        Kept in the provenance, outside the bundle id.
    session : TrainingSession, optional
        Its folder is where runs that were cut off lie: one that is asked for the same again goes on, others of the
        same series, horizon and family are removed, and nothing is left once the bundle is written.
    calibrated : bool
        Whether the family's probabilities get a temperature; a bundle of an older version, made again, has none.

    Returns
    -------
    Bundle
        As read back and checked.

    Raises
    ------
    UsageError
        Unknown family, or no row left to learn from.
    """
    rows = rows_until(dataset, until_ns)
    if rows.size == 0:
        never = never_known(dataset.names, dataset.samples(np.arange(len(dataset))).blocks())
        hint = f"never known on these days: {', '.join(never[:5])}" if never else "train on more days, or until later"
        if not (dataset.y != NO_LABEL).any():
            hint = f"no row is labelled at horizon {dataset.horizon}: train on longer days, or at a shorter horizon"
        raise UsageError(f"no row of {dataset.symbol} to learn from", hint)
    learner = get_family(family)
    settings = config or learner.config()
    y = dataset.y[rows]
    session = session or TrainingSession()
    require_devices(family, settings, session.devices)
    if session.folder is not None:
        asked_for = _key(dataset, family, rows, seed, settings, session.devices)
        session = dataclasses.replace(session, folder=_run_folder(session.folder, dataset, family, asked_for))
    with training_session(session):
        samples = dataset.samples(rows)
        if calibrated:
            fitted = fit_calibrated(learner, samples, seed=seed, config=settings)
        else:
            fitted = CalibratedModel(model=learner.fit(samples, seed=seed, config=settings), calibration=None)
    model = fitted.model
    asked = rows[:: settings.stride]
    probabilities = fitted.predict_proba(dataset.samples(asked))
    params = fit_policy_on(dataset, asked, probabilities, policy or PolicyOptions())
    content = BundleContent(
        schema_version=SCHEMA_VERSION,
        symbol=dataset.symbol,
        family=family,
        horizon=dataset.horizon,
        price_tick=dataset.price_tick,
        multiplier=dataset.multiplier,
        levels=dataset.levels,
        days=dataset.facts,
        left_out=dataset.left_out or None,
        until_ns=until_ns,
        train_rows=int(rows.size),
        class_prior=class_prior(y).tolist(),
        seed=seed,
        config=dataclasses.asdict(settings),
        importance=model.importance(dataset.names),
        training_span=TrainingSpan(
            start_ns=int(dataset.datetime_ns[rows[0]]), end_ns=int(dataset.datetime_ns[rows[-1]])
        ),
        calibration=fitted.calibration,
        devices=session.devices if session.devices > 1 else None,
        pretraining=pretraining_of(model),
    )
    run = TrainingRun(
        run_id=run_id,
        created_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        code_version=code_version(),
        git_commit=git_commit(),
        packages=package_versions(),
        splits_hash=_usual_splits(dataset),
        metrics=_training_scores(probabilities, dataset.y[asked], y),
        learning_curves=learning_curves(model),
    )
    path = write_bundle(models_dir, model, dataset.factor_set_spec, dataset.label_spec, params, content, run=run)
    bundle = load_bundle(path)
    if session.folder is not None:
        shutil.rmtree(session.folder, ignore_errors=True)
    return bundle


def _key(dataset: Dataset, family: str, rows: np.ndarray, seed: int, config: FamilyConfig, devices: int) -> str:
    """Hash of all that decides what a fit comes to: a checkpoint of another one is never gone on from."""
    return content_hash(
        {
            "days": [fact.to_dict() for fact in dataset.facts],
            "factors": dataset.factor_set_spec.to_dict(),
            "labels": dataset.label_spec.to_dict(),
            "family": family,
            "rows": arrays_hash(rows, dataset.y[rows]),
            "seed": seed,
            "config": dataclasses.asdict(config),
            "others": [[other.symbol, *(fact.features_hash for fact in other.facts)] for other in dataset.others],
            "devices": devices,
            "code": [code_version(), *(package_versions().get(name, "") for name in ("numpy", "torch", "lightning"))],
        }
    )[:16]


def _run_folder(root: Path, dataset: Dataset, family: str, key: str) -> Path:
    """The folder of a run; what is left of others of its kind goes, which nobody else works on (`train_key`)."""
    kind = root / f"{family}-{re.sub('[^A-Za-z0-9_.]', '-', dataset.symbol)}-h{dataset.horizon}"
    for left in kind.glob("*"):
        if left.name != key:
            shutil.rmtree(left, ignore_errors=True)
    return ensure_dir(kind / key)


def rows_until(dataset: Dataset, until_ns: int | None) -> np.ndarray:
    """int64[k]: usable rows whose label is known before `until_ns`; all usable rows where it is None."""
    if until_ns is None:
        return np.flatnonzero(dataset.usable)
    stop = int(np.searchsorted(dataset.datetime_ns, until_ns, side="left"))
    return np.flatnonzero(dataset.usable[: training_stop(stop, dataset.horizon, SplitOptions(embargo=0))])


def _usual_splits(dataset: Dataset) -> str:
    """The splits hash of a benchmark of the same data set by default; empty where it cannot be split."""
    try:
        return make_splits(dataset).splits_hash
    except UsageError:
        return ""


def _training_scores(probabilities: np.ndarray, y: np.ndarray, learned: np.ndarray) -> dict[str, float]:
    """Scores of float64[k, 3] on classes int8[k], beside the prior of the classes that were learned from."""
    prior = np.tile(class_prior(learned), (y.size, 1))
    loss = log_loss(probabilities, y)
    return {
        "train_logloss": float(loss),
        "train_logloss_gain": float(log_loss(prior, y) - loss),
        "train_accuracy": float(accuracy(probabilities.argmax(axis=1), y)),
    }
