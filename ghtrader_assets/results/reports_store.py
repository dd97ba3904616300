"""Stores models and reports of a series: candidates, walk-forward reports, the gate's decisions.

Small JSON files under fixed names, each replaced in one step; predictions and PnL curves lie beside as Parquet. What
they mean is said in `ghtrader_models`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ghtrader_base.errors import FailedError, IntegrityError, UsageError
from ghtrader_base.files import atomic_write_bytes, atomic_write_json, read_checked_json, with_checksum
from ghtrader_base.settings import Settings
from ghtrader_models.bundles.left_out_days import LeftOutDay
from ghtrader_models.evaluation.report_types import ScoredSplit, SimulatedTrading
from ghtrader_models.model_scores import ModelScores

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_models.bundles.bundle import Bundle
    from ghtrader_models.evaluation.benchmark import BenchmarkReport
    from ghtrader_models.registry.promotion import Decision


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What a walk-forward report was made from.

    Attributes
    ----------
    days : list of date
        Trading days that took part, ascending.
    rows : int
        Of the data set.
    data_hash : str
        See `bundles.provenance.data_hash`.
    run_id, code_version : str
        Of the pipeline's run, and of ghtrader.
    origin : str
        Where the ticks come from, in words; empty in a report of an older version.
    left_out : list of LeftOutDay
        Days of the range that took no part, and why.
    splits : str
        What the tests are, in words; empty in a report of an older version, as is `made_at`.
    made_at : str
        ISO 8601, UTC.
    configurations_tried : int
        Of this family on this series and horizon, in all sweeps so far (`sweeps_store`): what a score is deflated for.
    latency_ms : float or None
        How late orders of the simulation met the market; None in a report of an older version.
    max_order : int or None
        Lots of its largest order; None in a report of an older version, which took the default.
    """

    days: list[date]
    rows: int
    data_hash: str
    run_id: str
    code_version: str = ""
    origin: str = ""
    left_out: list[LeftOutDay] = field(default_factory=list)
    splits: str = ""
    made_at: str = ""
    configurations_tried: int = 0
    latency_ms: float | None = None
    max_order: int | None = None


@dataclass(frozen=True, kw_only=True)
class StoredReport:
    """A walk-forward report as it lies on disk: what `BenchmarkReport.to_dict` said, and its context.

    Attributes
    ----------
    family, symbol, horizon, seed
        What was run.
    splits : list of ScoredSplit
        One a test.
    model : ModelScores
        Scores of the family.
    baselines : dict of str to ModelScores
        Scores of prior, majority and persistence.
    simulation : SimulatedTrading or None
        The policy's PnL; None where it was not simulated.
    importance : dict of str to float
        Share of each factor, mean over splits.
    tests_hash : str
        Hash of the test rows; equal for reports that may be compared.
    metrics_hash : str
        Hash of every number that does not depend on the clock.
    context : ReportContext
        What the report was made from.
    splits_hash : str
        Of the rows learned from and tested; empty in a report of an older version.
    uncalibrated : ModelScores or None
        Scores of the family without its calibration; None in a report of an older version.
    config : dict
        The family's configuration.
    policy : dict
        Of `PolicyOptions` what differs from the defaults.
    seconds : float
        Wall time of all fits and scores.
    """

    family: str
    symbol: str
    horizon: int
    seed: int
    splits: list[ScoredSplit]
    model: ModelScores
    baselines: dict[str, ModelScores]
    simulation: SimulatedTrading | None
    importance: dict[str, float]
    tests_hash: str
    metrics_hash: str
    context: ReportContext
    splits_hash: str = ""
    uncalibrated: ModelScores | None = None
    config: dict[str, bool | int | float | str] = field(default_factory=dict)
    policy: dict[str, bool | int | float | str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ReadableReports:
    """The walk-forward reports of a series that read, and which do not.

    Attributes
    ----------
    reports : list of StoredReport
        By family.
    damaged : dict of str to IntegrityError
        Family -> what is wrong with its file.
    """

    reports: list[StoredReport]
    damaged: dict[str, IntegrityError]


@dataclass(frozen=True, kw_only=True)
class StoredDecision:
    """What the gate last said of a series.

    Attributes
    ----------
    promoted : bool
        Whether the candidate took the place.
    reasons : list of str
        Every rule with its numbers.
    refused_because : str or None
        The first rule that failed.
    bundle_id, family : str
        The candidate.
    run_id : str
        Of the pipeline's run.
    """

    promoted: bool
    reasons: list[str]
    refused_because: str | None
    bundle_id: str
    family: str
    run_id: str = ""


@dataclass(frozen=True)
class StoredCandidate:
    """The bundle of a family's last training.

    Attributes
    ----------
    bundle_id : str
    run_id : str
        Of the pipeline's run.
    """

    bundle_id: str
    run_id: str = ""

    def to_dict(self) -> dict[str, str]:
        """JSON-able form, with the bundle's folder under the models folder for whoever looks."""
        return {"bundle_id": self.bundle_id, "path": f"bundles/{self.bundle_id}", "run_id": self.run_id}


_TRAIN_AGAIN = "train it again: ghtrader train"


def _series(root: Path, symbol: str, horizon: int) -> Path:
    return root / symbol / f"h{horizon}"


def candidate_path(settings: Settings, symbol: str, horizon: int, family: str) -> Path:
    """Which bundle a family's last training made."""
    return _series(settings.models / "candidates", symbol, horizon) / f"{family}.json"


def report_path(settings: Settings, symbol: str, horizon: int, family: str) -> Path:
    """A family's last walk-forward report; `.predictions.parquet` and `.pnl.parquet` lie beside it."""
    return _series(settings.runs / "benchmark", symbol, horizon) / f"{family}.json"


def decision_path(settings: Settings, symbol: str, horizon: int) -> Path:
    """What the gate last said."""
    return _series(settings.models / "decisions", symbol, horizon) / "decision.json"


def save_decision(settings: Settings, bundle: Bundle, decision: Decision, run_id: str) -> None:
    """Note what the gate said of a candidate."""
    found = {**decision.to_dict(), "bundle_id": bundle.bundle_id, "family": bundle.kind, "run_id": run_id}
    atomic_write_json(decision_path(settings, bundle.symbol, bundle.horizon), with_checksum(found))


def load_decision(settings: Settings, symbol: str, horizon: int) -> StoredDecision:
    """What the gate last said.

    Raises
    ------
    FailedError
        It was never asked.
    IntegrityError
        The file is no decision.
    """
    path = decision_path(settings, symbol, horizon)
    if not path.exists():
        raise FailedError(f"no decision on {symbol} at horizon {horizon}", "materialize the asset champion first")
    return read_decision(path)


def read_decision(path: Path) -> StoredDecision:
    """What the gate said, from its file; `IntegrityError` where it is no decision, or was edited."""
    try:
        return msgspec.convert(read_checked_json(path)[0], StoredDecision)
    except msgspec.ValidationError as exc:
        raise IntegrityError(f"the gate's decision {path} does not read: {exc}", "ask the gate again") from exc


def save_candidate(settings: Settings, bundle: Bundle, run_id: str) -> None:
    """Note the bundle as its family's candidate."""
    path = candidate_path(settings, bundle.symbol, bundle.horizon, bundle.kind)
    atomic_write_json(path, with_checksum(StoredCandidate(bundle.bundle_id, run_id).to_dict()))


def load_candidate(settings: Settings, symbol: str, horizon: int, family: str) -> Bundle:
    """The bundle of a family's last training.

    Raises
    ------
    FailedError
        Nothing was trained yet.
    IntegrityError
        The note of it was edited, or names a bundle that is gone, damaged or another one.
    """
    path = candidate_path(settings, symbol, horizon, family)
    if not path.exists():
        raise FailedError(
            f"{family} was not trained yet on {symbol} at horizon {horizon}",
            f"first: ghtrader train --model {family} --symbol {symbol} --horizon {horizon}",
        )
    bundle = bundle_of_candidate(settings.models, path)
    if (bundle.symbol, bundle.horizon, bundle.kind) != (symbol, horizon, family):
        raise IntegrityError(
            f"{path} names a bundle of {bundle.kind} on {bundle.symbol} at horizon {bundle.horizon}", _TRAIN_AGAIN
        )
    return bundle


def bundle_of_candidate(models_dir: Path, path: Path) -> Bundle:
    """The bundle that a candidate's file names; `IntegrityError` where it is none, or another one than that."""
    from ghtrader_models.bundles.bundle import bundles_dir, load_bundle

    try:
        candidate = msgspec.convert(read_checked_json(path)[0], StoredCandidate)
        return load_bundle(bundles_dir(models_dir) / candidate.bundle_id, candidate.bundle_id)
    except msgspec.ValidationError as exc:
        raise IntegrityError(f"{path} names no candidate: {exc}", _TRAIN_AGAIN) from exc
    except UsageError as exc:
        raise IntegrityError(f"{path} names bundle {candidate.bundle_id}, which is gone", _TRAIN_AGAIN) from exc


def save_report(settings: Settings, report: BenchmarkReport, context: ReportContext) -> Path:
    """Write a report, its predictions and its PnL curve; the JSON last, so that it never speaks of others' rows."""
    import pyarrow as pa

    path = report_path(settings, report.symbol, report.horizon, report.family)
    times, equity = report.pnl
    atomic_write_bytes(path.with_suffix(".predictions.parquet"), _parquet(report.predictions))
    atomic_write_bytes(path.with_suffix(".pnl.parquet"), _parquet(pa.table({"datetime_ns": times, "net_pnl": equity})))
    atomic_write_json(path, with_checksum({**report.to_dict(), "context": msgspec.to_builtins(context)}))
    return path


def load_reports(settings: Settings, symbol: str, horizon: int) -> list[StoredReport]:
    """Reports of a symbol and horizon, by family; empty where none was made."""
    folder = report_path(settings, symbol, horizon, "any").parent
    return [read_report(path) for path in sorted(folder.glob("*.json"))]


def readable_reports(settings: Settings, symbol: str, horizon: int) -> ReadableReports:
    """Reports of a symbol and horizon, by family; one that does not read holds up no other."""
    found, damaged = [], {}
    for path in sorted(report_path(settings, symbol, horizon, "any").parent.glob("*.json")):
        try:
            found.append(read_report(path))
        except IntegrityError as exc:
            damaged[path.stem] = exc
    return ReadableReports(reports=found, damaged=damaged)


def read_report(path: Path) -> StoredReport:
    """One report from its file; `IntegrityError` where it is none, or was edited."""
    try:
        return msgspec.convert(read_checked_json(path)[0], StoredReport)
    except msgspec.ValidationError as exc:
        raise IntegrityError(
            f"the walk-forward report {path} does not read: {exc}", "make it again: ghtrader benchmark"
        ) from exc


def load_predictions(settings: Settings, symbol: str, horizon: int, family: str) -> pa.Table:
    """Scored test rows of a family's last report, `benchmark.PREDICTION_SCHEMA`; `FailedError` where there is none."""
    import pyarrow.parquet as pq

    path = report_path(settings, symbol, horizon, family).with_suffix(".predictions.parquet")
    if not path.exists():
        raise FailedError(f"no report of {family} on {symbol} at horizon {horizon}", "first: ghtrader benchmark")
    return pq.read_table(path, partitioning=None)


def load_pnl(settings: Settings, symbol: str, horizon: int, family: str) -> pa.Table:
    """PnL curve of a family's last report: datetime_ns int64, net_pnl float64."""
    import pyarrow.parquet as pq

    path = report_path(settings, symbol, horizon, family).with_suffix(".pnl.parquet")
    if not path.exists():
        raise FailedError(f"no report of {family} on {symbol} at horizon {horizon}", "first: ghtrader benchmark")
    return pq.read_table(path, partitioning=None)


def _parquet(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
