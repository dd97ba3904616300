"""Audits features and labels against their manifests and against the day of ticks they were made from.

What follows from the ticks without knowing any factor is checked here: times, provenance, mid, classes, counts.
Computing a day again is the business of the room that computes it; `audit` takes that as a function.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ghtrader_market.audit.files import AuditedDay
from ghtrader_market.audit.ticks import audit_origin, column_of, first_difference
from ghtrader_market.reference.tick_schema import PROVENANCE_COLUMNS

_CLASSES = 3


def source_of(audited: AuditedDay) -> tuple[str, str]:
    """The dataset a day was made from, and the content hash it then had (empty where the manifest does not say)."""
    assert audited.manifest is not None
    dataset = audited.manifest.source
    return dataset, audited.manifest.built.source_hash(dataset) or ""


def audit_against_source(audited: AuditedDay, source: AuditedDay | None, rows: pa.Table | None) -> None:
    """One row for each row of the source, at its time, of its contract and segment.

    Parameters
    ----------
    source : AuditedDay or None
        The day of main_l5 or ticks that the manifest names.
    rows : pa.Table or None
        Its rows inside the sessions.
    """
    dataset, built_from = source_of(audited)
    if source is None or source.manifest is None:
        audited.found("source_missing", f"no {dataset} of {audited.key}")
        return
    if built_from != source.manifest.content_hash:
        now = source.manifest.content_hash[:12]
        audited.found("outdated", f"made from {dataset} {built_from[:12]}, which is {now} now")
        return
    audit_origin(audited, source)
    table = audited.table
    if table is None or rows is None:
        return
    if table.num_rows != rows.num_rows:
        audited.found("differs_from_source", f"{table.num_rows} rows, {dataset} has {rows.num_rows}")
        return
    names = [name for name in ("datetime_ns", *PROVENANCE_COLUMNS) if name in rows.column_names]
    for name in names:
        if name not in table.column_names:
            audited.found(
                "provenance_missing" if name in PROVENANCE_COLUMNS else "schema", f"there is no column {name}"
            )
        elif name == "datetime_ns":
            if (row := first_difference(table, rows, name)) is not None:
                audited.found("differs_from_source", f"{name} is not that of {dataset}", row)
        elif not table.column(name).equals(rows.column(name)):
            audited.found("differs_from_source", f"{name} is not that of {dataset}")
    if "mid" in table.column_names and "bid_price1" in rows.column_names:
        mid = (column_of(rows, "bid_price1") + column_of(rows, "ask_price1")) / 2
        expected = pa.table({"mid": mid})
        if (row := first_difference(table, expected, "mid")) is not None:
            audited.found("differs_from_source", f"mid is not that of {dataset}", row)


def audit_labels(audited: AuditedDay) -> None:
    """Labels are one of three classes or none, never look beyond the day, and are as many as the manifest counted."""
    assert audited.manifest is not None
    table, counts = audited.table, audited.manifest.labels.counts
    if table is None:
        return
    if not counts:
        audited.found("label_counts", "the manifest counts no labels")
        return
    for name, counted in counts.items():
        if name not in table.column_names:
            audited.found("schema", f"there is no column {name}")
            continue
        labels = column_of(table, name)
        outside = np.flatnonzero((labels < -1) | (labels >= _CLASSES))
        horizon = int(name.rpartition("_")[2])
        beyond = np.flatnonzero(labels[-horizon:] != -1)
        if outside.size:
            audited.found("label_value", f"{name} is {labels[outside[0]]}", int(outside[0]))
        elif beyond.size:
            row = max(0, len(labels) - horizon) + int(beyond[0])
            audited.found("label_value", f"{name} has a class although the day ends within its horizon", row)
        elif (found := np.bincount(labels + 1, minlength=_CLASSES + 1).tolist()) != list(counted):
            audited.found("label_counts", f"{name}: {found}, the manifest says {list(counted)}")
