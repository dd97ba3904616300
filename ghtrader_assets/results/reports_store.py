"""Stores models and reports of a series: candidates, walk-forward reports, the gate's decisions.

Small JSON files under fixed names, each replaced in one step; predictions and PnL curves lie beside as Parquet. What
they mean is said in `ghtrader_models`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghtrader_base.errors import FailedError
from ghtrader_base.files import atomic_write_bytes, atomic_write_json, content_hash, read_json
from ghtrader_base.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from ghtrader_models.bundles.bundle import Bundle
    from ghtrader_models.datasets.load import DayFacts
    from ghtrader_models.evaluation.benchmark import BenchmarkReport


@dataclass(frozen=True)
class StoredReport:
    """A walk-forward report as it lies on disk; `document` is `BenchmarkReport.to_dict()` and its `context`.

    Attributes
    ----------
    context : dict
        days, rows, data_hash, run_id, code_version: what the report was made from.
    """

    document: dict[str, Any]

    @property
    def family(self) -> str:
        """Model family."""
        return str(self.document["family"])

    @property
    def model(self) -> dict[str, Any]:
        """Scores of the family."""
        scores: dict[str, Any] = self.document["model"]
        return scores

    @property
    def tests_hash(self) -> str:
        """Hash of the test rows; equal for reports that may be compared."""
        return str(self.document["tests_hash"])

    @property
    def context(self) -> dict[str, Any]:
        """What the report was made from."""
        context: dict[str, Any] = self.document["context"]
        return context


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


def data_hash(days: list[Mapping[str, Any]]) -> str:
    """One hash over the days, features and labels that something was made from (`DayFacts` as dicts)."""
    return content_hash([[str(day["day"]), day["features_hash"], day["labels_hash"]] for day in days])


def facts_hash(facts: tuple[DayFacts, ...]) -> str:
    """`data_hash` of a data set's days."""
    return data_hash(
        [{"day": f.day.isoformat(), "features_hash": f.features_hash, "labels_hash": f.labels_hash} for f in facts]
    )


def save_candidate(settings: Settings, bundle: Bundle, run_id: str) -> None:
    """Note the bundle as its family's candidate."""
    path = candidate_path(settings, bundle.symbol, bundle.horizon, bundle.kind)
    atomic_write_json(path, {"bundle_id": bundle.bundle_id, "path": f"bundles/{bundle.path.name}", "run_id": run_id})


def load_candidate(settings: Settings, symbol: str, horizon: int, family: str) -> Bundle:
    """The bundle of a family's last training.

    Raises
    ------
    FailedError
        Nothing was trained yet.
    """
    from ghtrader_models.bundles.bundle import load_bundle

    path = candidate_path(settings, symbol, horizon, family)
    if not path.exists():
        raise FailedError(
            f"{family} was not trained yet on {symbol} at horizon {horizon}",
            f"first: ghtrader train --model {family} --symbol {symbol} --horizon {horizon}",
        )
    return load_bundle(settings.models / read_json(path)["path"])


def save_report(settings: Settings, report: BenchmarkReport, context: Mapping[str, Any]) -> Path:
    """Write a report, its predictions and its PnL curve; the JSON last, so that it never speaks of others' rows."""
    import pyarrow as pa

    path = report_path(settings, report.symbol, report.horizon, report.family)
    times, equity = report.pnl
    atomic_write_bytes(path.with_suffix(".predictions.parquet"), _parquet(report.predictions))
    atomic_write_bytes(path.with_suffix(".pnl.parquet"), _parquet(pa.table({"datetime_ns": times, "net_pnl": equity})))
    atomic_write_json(path, {**report.to_dict(), "context": dict(context)})
    return path


def load_reports(settings: Settings, symbol: str, horizon: int) -> list[StoredReport]:
    """Reports of a symbol and horizon, by family; empty where none was made."""
    folder = report_path(settings, symbol, horizon, "any").parent
    return [StoredReport(read_json(path)) for path in sorted(folder.glob("*.json"))]


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
