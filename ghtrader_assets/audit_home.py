"""Audits one home: its lake, with QuestDB where the settings name one, and the report under `runs/audit/`.

The checks are `ghtrader_market.audit.audit`'s; only computing features and labels again, which needs this package, is
here.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path

from ghtrader_assets.results.model_audit import audit_models
from ghtrader_base.disk_errors import disk_errors
from ghtrader_base.errors import GhtraderError, UnwritableError
from ghtrader_base.files import ensure_dir
from ghtrader_base.settings import Settings
from ghtrader_market.audit.audit import ALL, Progress, audit_lake
from ghtrader_market.audit.datasets import source_of
from ghtrader_market.audit.files import AuditedDay
from ghtrader_market.audit.questdb import audit_questdb
from ghtrader_market.audit.reference import audit_reference
from ghtrader_market.audit.report import AuditReport
from ghtrader_market.reference.trading_calendar import TradingCalendar
from ghtrader_market.stores.lake.lake import Lake

COMPARED = "compared"


def audit_home(
    settings: Settings,
    dataset: str = ALL,
    varieties: Iterable[str] = (),
    start: date | None = None,
    end: date | None = None,
    *,
    workers: int = 0,
    recompute: bool = False,
    questdb: bool = True,
    progress: Progress | None = None,
    tell: Callable[[str], object] = lambda line: None,
) -> tuple[AuditReport, Path | None]:
    """Audit a home's lake and models, compare it with QuestDB, keep the report; parameters as `audit_lake`.

    Models and their registry are looked at with every dataset and variety, not with some.

    Where the settings name no QuestDB, or `questdb` is false, it is left out, and where it cannot be compared the
    report says why.

    Returns
    -------
    AuditReport, Path or None
        What was found, and where the report is kept; None where the disk does not take it, which is told.

    Raises
    ------
    UsageError
        No such dataset or variety.
    """
    lake, varieties = Lake(settings.data), list(varieties)
    reference, calendar = audit_reference(settings)
    report = audit_lake(
        lake,
        calendar,
        dataset=dataset,
        varieties=varieties,
        start=start,
        end=end,
        workers=workers,
        progress=progress,
        recompute=(lambda where, day: computed_again(where, calendar, day)) if recompute else None,
    )
    if dataset == ALL:
        began = time.perf_counter()
        report.add(reference, *(audit_models(settings) if not varieties else ()))
        report.seconds += time.perf_counter() - began
    if settings.questdb_host and questdb:
        began = time.perf_counter()
        try:
            report.findings += audit_questdb(settings, lake, report.datasets, varieties, start, end, tell)
            report.questdb = COMPARED
        except GhtraderError as error:
            report.questdb = f"not compared: {error.message}"
        report.seconds += time.perf_counter() - began
    elif settings.questdb_host:
        report.questdb = "left out"
    try:
        return report, report.write(settings.runs)
    except UnwritableError as exc:  # what was found matters more than where it is kept
        tell(f"the report is not kept: {exc.message}")
        return report, None


def computed_again(lake: Lake, calendar: TradingCalendar, audited: AuditedDay) -> list[str]:
    """Build a features or labels day again, beside the lake, and say what differs.

    The specs are those of the stored manifests, so that a day of any configuration can be checked.
    """
    from ghtrader_models.datasets.build_day import build_day
    from ghtrader_models.factors.factor_set import FactorSet, FactorSetSpec
    from ghtrader_models.labels.labels import LabelSpec

    assert audited.manifest is not None
    kind, _ = source_of(audited)
    try:
        features, labels = (lake.manifest(name, audited.key, audited.day) for name in ("features", "labels"))
    except GhtraderError as error:
        return [f"features and labels are built together, and one cannot be read: {error.message}"]
    if features is None or labels is None:
        return ["features and labels are built together, and one of them is missing"]
    with tempfile.TemporaryDirectory(prefix="ghtrader-audit-") as folder:
        beside = Lake(Path(folder))
        _link(lake.day_path(kind, audited.key, audited.day), beside.day_path(kind, audited.key, audited.day))
        try:
            build_day(
                beside,
                audited.key,
                audited.day,
                FactorSet.from_spec(FactorSetSpec.from_dict(features.factor_set.to_json())),
                LabelSpec.from_dict(labels.label_spec.to_json()),
                run_id="audit",
                calendar=calendar,
                kind=kind,
                rule=features.built.session_rule,
            )
        except UnwritableError:  # no finding about the day
            raise
        except (GhtraderError, KeyError) as error:
            return [f"it cannot be built again: {getattr(error, 'message', error)}"]
        made = beside.read_day(audited.dataset, audited.key, audited.day)
    assert audited.table is not None
    if made.column_names != audited.table.column_names:
        return ["other columns"]
    wrong = [name for name in made.column_names if not _equal(made, audited.table, name)]
    return [f"{len(wrong)} columns differ: {', '.join(wrong[:5])}"] if wrong else []


def _equal(left: object, right: object, name: str) -> bool:
    from ghtrader_market.reference.tick_schema import table_hash

    return table_hash(left.select([name])) == table_hash(right.select([name]))  # type: ignore[attr-defined]


def _link(source: Path, target: Path) -> None:
    """The same files under another lake, without copying their bytes where the file system can do so."""
    ensure_dir(target)
    for path in source.iterdir():
        try:
            os.link(path, target / path.name)
        except OSError:
            with disk_errors(target):
                shutil.copy2(path, target / path.name)
