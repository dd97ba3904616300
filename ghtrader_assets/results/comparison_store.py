"""Makes a comparison of the stored walk-forward reports and candidates of a series, and keeps it.

Small files under fixed names: ``runs/compare/<symbol>/h<horizon>/`` holds `comparison.json`, `comparison.html` and
`loss_against_latency.png`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ghtrader_assets.results.comparable_reports import largest_order, with_defaults
from ghtrader_assets.results.reports_store import (
    StoredReport,
    load_candidate,
    load_predictions,
    readable_reports,
)
from ghtrader_base.errors import FailedError, GhtraderError, IntegrityError
from ghtrader_base.files import atomic_write_bytes, atomic_write_json, read_json
from ghtrader_base.settings import Settings
from ghtrader_base.trading_limits import default
from ghtrader_base.version import code_version
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.provenance import data_hash
from ghtrader_models.evaluation.comparison import (
    ComparedBaseline,
    ComparedModel,
    Comparison,
    Reliabilities,
    bounds_of,
    bounds_of_values,
    level_of_many,
    ranked,
    require_same_splits,
)
from ghtrader_models.evaluation.model_cost import ModelCost, cost_of
from ghtrader_models.families.base import FamilyConfig, Preset, get_family, make_config

if TYPE_CHECKING:
    from ghtrader_models.bundles.bundle import Bundle

JSON, PAGE, FIGURE = "comparison.json", "comparison.html", "loss_against_latency.png"
BASELINES = ("prior", "persistence", "majority")


@dataclass(frozen=True, kw_only=True)
class WantedTests:
    """Which tests of which data a comparison is about, and how families are fitted and traded in it.

    Attributes
    ----------
    splits_hash, data_hash : str
        As a walk-forward report has them.
    latency_ms : float
        How late orders of the simulation meet the market.
    max_order : int
        Lots of its largest order.
    preset : str
        Size of every family.
    changes : mapping of str to mapping
        Family -> fields of its configuration that differ from the preset's.
    seed : int
        Of each fit.
    until_ns : int or None
        What the candidates learned from ends there; None for all rows.
    words : str
        What the tests are.
    """

    splits_hash: str
    data_hash: str
    latency_ms: float
    max_order: int = field(default_factory=lambda: int(default("max_order")))
    preset: str = Preset.SMALL
    changes: Mapping[str, Mapping[str, bool | int | float | str]] = field(default_factory=dict)
    seed: int = 0
    until_ns: int | None = None
    words: str = ""

    def settings_of(self, family: str) -> dict[str, bool | int | float | str]:
        """What a run takes as the settings of a family, each of the type that it has there."""
        changes = self.changes.get(family, {})
        config = make_config(get_family(family), {"preset": str(self.preset), **changes})
        return {"preset": str(self.preset), **{name: getattr(config, name) for name in changes}}

    def config(self, family: str) -> FamilyConfig:
        """What a family is trained with; `UsageError` for an unknown one, or settings it does not have."""
        return make_config(get_family(family), self.settings_of(family))


def comparison_folder(settings: Settings, symbol: str, horizon: int) -> Path:
    """Where the last comparison of a series is."""
    return settings.runs / "compare" / symbol / f"h{horizon}"


def why_not(report: StoredReport | None, wanted: WantedTests) -> str:
    """Why a report has no part in a comparison; empty where it has.

    The same tests are not enough: a report of other settings, of a version that did not calibrate, or whose orders met
    the market sooner, would stand among the others under the family's name.
    """
    if report is None:
        return "it has no walk-forward report"
    if report.splits_hash != wanted.splits_hash:
        return f"its report is of other splits: {report.splits_hash[:12] or 'unknown'}, not {wanted.splits_hash[:12]}"
    if report.context.data_hash != wanted.data_hash:
        return "its report is of other days, features or labels"
    config = asdict(wanted.config(report.family))
    if with_defaults(report.family, report.config) != config:
        changed = "".join(f", {name}={value}" for name, value in wanted.changes.get(report.family, {}).items())
        return f"its report is of other settings than the preset {wanted.preset}{changed}"
    if report.seed != wanted.seed or report.policy:
        return "its report is of another seed or policy"
    if report.uncalibrated is None:
        return "its report is of a version that did not calibrate"
    if report.context.latency_ms != wanted.latency_ms:
        return f"its report has no trading with orders that are {wanted.latency_ms:g} ms late"
    if largest_order(report) != wanted.max_order:
        return f"its report has no trading with orders of {wanted.max_order} lots at most"
    return ""


def candidate_of(settings: Settings, symbol: str, horizon: int, family: str, wanted: WantedTests) -> Bundle | None:
    """The family's last bundle where it learned from the wanted rows with this configuration and seed."""
    try:
        bundle = load_candidate(settings, symbol, horizon, family)
    except GhtraderError:  # none yet, or one that is damaged: either way it is trained anew
        return None
    content = bundle.content
    same = data_hash(content.days) == wanted.data_hash and with_defaults(family, content.config) == asdict(
        wanted.config(family)
    )
    return bundle if same and content.seed == wanted.seed and content.until_ns == wanted.until_ns else None


def of_other_code(report: StoredReport | None, bundle: Bundle | None) -> str:
    """Which of both another version of ghtrader made, in words; empty where none was, or where there is none."""
    made = {
        "benchmark": "" if report is None else report.context.code_version,
        "model": "" if bundle is None else bundle.provenance.run.code_version,
    }
    words = [f"{what} by ghtrader {by}" for what, by in made.items() if by and by != code_version()]
    return f"made by other code: {', '.join(words)}; --again makes it anew" if words else ""


def _notes(report: StoredReport, bundle: Bundle | None, wanted: WantedTests) -> list[str]:
    """What a reader has to know of a row besides its numbers."""
    usual = asdict(replace(wanted, changes={}).config(report.family))
    changed = [f"{name} {value}, not {usual[name]}" for name, value in report.config.items() if usual[name] != value]
    words = f"{'; '.join(changed)} as in the preset {wanted.preset}" if changed else ""
    return [found for found in (words, of_other_code(report, bundle)) if found]


def compare_stored(
    settings: Settings,
    symbol: str,
    horizon: int,
    families: list[str],
    wanted: WantedTests,
    failed: Mapping[str, str],
) -> Comparison:
    """Put the families side by side whose reports are of the wanted tests.

    Parameters
    ----------
    families : list of str
        Those asked for.
    wanted : WantedTests
    failed : mapping of str to str
        Family -> what went wrong before; kept beside what is found out here.

    Raises
    ------
    FailedError
        None of them has such a report.
    """
    stored = {report.family: report for report in readable_reports(settings, symbol, horizon).reports}
    wrong, taken = dict(failed), []
    for family in families:
        report = stored.get(family)
        if why := why_not(report, wanted):
            wrong.setdefault(family, why)
        elif report is not None:
            taken.append(report)
    if not taken:
        raise FailedError(
            f"nothing to compare: {'; '.join(f'{family}: {why}' for family, why in wrong.items())}",
            f"first: ghtrader benchmark --model {families[0]}",
        )
    require_same_splits({report.family: report.splits_hash for report in taken})
    models, notes = [], {}
    for report in taken:
        bundle = candidate_of(settings, symbol, horizon, report.family, wanted)
        if found := _notes(report, bundle, wanted):
            notes[report.family] = found
        if bundle is None:
            wrong.setdefault(report.family, "no model was trained on these days: latency and size are unknown")
        models.append(_compared(settings, report, bundle, len(families)))
    first = taken[0]
    days = first.context.days
    return Comparison(
        symbol=symbol,
        horizon=horizon,
        first=days[0].isoformat(),
        last=days[-1].isoformat(),
        days=len(days),
        rows=first.context.rows,
        tests=[split.name for split in first.splits],
        splits=first.context.splits,
        splits_hash=first.splits_hash,
        data_hash=first.context.data_hash,
        origin=first.context.origin,
        models=ranked(models),
        baselines=[
            ComparedBaseline(name=name, scores=first.baselines[name], logloss=bounds_of(first.baselines[name].logloss))
            for name in BASELINES
            if name in first.baselines
        ],
        failed=wrong,
        notes=notes,
        reliability={report.family: _reliability(settings, report) for report in taken},
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        code_version=code_version(),
    )


def _compared(settings: Settings, report: StoredReport, bundle: Bundle | None, families: int) -> ComparedModel:
    return ComparedModel(
        family=report.family,
        config=report.config,
        scores=report.model,
        logloss=bounds_of(report.model.logloss),
        gain_of_many=bounds_of_values(report.model.gain.per_split, level_of_many(families)),
        fits=len(report.splits),
        fit_seconds=sum(split.fit_seconds for split in report.splits),
        train_rows=report.splits[-1].train_rows,
        trading=report.simulation,
        cost=None if bundle is None else _cost(settings, bundle),
        bundle_id="" if bundle is None else bundle.bundle_id,
    )


def _cost(settings: Settings, bundle: Bundle) -> ModelCost:
    """Measured on the rows of the bundle's last day."""
    names = list(bundle.factor_names)
    table = Lake(settings.data).read_day("features", bundle.symbol, bundle.content.days[-1].day, columns=names)
    return cost_of(bundle, np.column_stack([table[name].to_numpy() for name in names]).astype(np.float32))


def _reliability(settings: Settings, report: StoredReport) -> Reliabilities:
    from ghtrader_models.evaluation.benchmark import predicted_probabilities
    from ghtrader_models.evaluation.metrics import reliability

    predictions = load_predictions(settings, report.symbol, report.horizon, report.family)
    found = reliability(predicted_probabilities(predictions), predictions.column("y").to_numpy())
    return Reliabilities(
        confidence=found.confidence.tolist(), accuracy=found.accuracy.tolist(), count=found.count.tolist()
    )


def save_comparison(settings: Settings, comparison: Comparison) -> Path:
    """Write figure, page and JSON; the JSON last."""
    from ghtrader_models.evaluation.comparison_page import front_figure, render

    folder = comparison_folder(settings, comparison.symbol, comparison.horizon)
    atomic_write_bytes(folder / FIGURE, front_figure(comparison))
    atomic_write_bytes(folder / PAGE, render(comparison).encode())
    atomic_write_json(folder / JSON, comparison.to_dict())
    return folder


def load_comparison(settings: Settings, symbol: str, horizon: int) -> Comparison:
    """The last comparison of a series; `IntegrityError` where its file is none."""
    return read_comparison(comparison_path(settings, symbol, horizon))


def comparison_path(settings: Settings, symbol: str, horizon: int) -> Path:
    """The file of the last comparison of a series."""
    return comparison_folder(settings, symbol, horizon) / JSON


def read_comparison(path: Path) -> Comparison:
    """A comparison from its file; `IntegrityError` where it is none."""
    try:
        return msgspec.convert(read_json(path), Comparison)
    except (OSError, ValueError, msgspec.ValidationError) as exc:
        raise IntegrityError(f"the comparison {path} does not read: {exc}", "make it again: ghtrader compare") from exc
