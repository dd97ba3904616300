"""Lists the layouts of recordings, and finds the one a file has by its content."""

from __future__ import annotations

from ghtrader_base.errors import BadRecordingError, UsageError
from ghtrader_market.sources.recordings.layouts import (
    ctp,
    hftbacktest_npz,
    mapped_columns,
    tqsdk,
    tqsdk_downloader,
    vnpy_csv,
    vnpy_database,
    wondertrader_csv,
    wondertrader_dsb,
)
from ghtrader_market.sources.recordings.layouts.layout import Layout
from ghtrader_market.sources.recordings.recording_file import RecordingFile

LAYOUTS: tuple[Layout, ...] = (
    wondertrader_csv.LAYOUT,
    tqsdk_downloader.LAYOUT,
    ctp.LAYOUT,
    vnpy_csv.LAYOUT,
    tqsdk.LAYOUT,
    vnpy_database.LAYOUT,
    wondertrader_dsb.LAYOUT,
    hftbacktest_npz.LAYOUT,
    mapped_columns.LAYOUT,
)
"""Asked in this order; the narrower ones first."""
_SHOWN = 40


def layout_named(name: str) -> Layout:
    """The layout of that name; UsageError lists them."""
    for layout in LAYOUTS:
        if layout.name == name:
            return layout
    raise UsageError(f"there is no layout {name!r}", "known: " + ", ".join(layout.name for layout in LAYOUTS))


def layout_of(file: RecordingFile) -> Layout:
    """The layout a file has.

    Raises
    ------
    BadRecordingError
        None of them: the message shows the columns found, the hint lists the layouts.
    """
    for layout in LAYOUTS:
        if layout.recognises(file):
            return layout
    if file.is_table:
        names = file.columns.names
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        found = f"its columns are {', '.join(names[:_SHOWN])}{more}"
    else:
        found = f"it is a {file.container} without ticks"
    known = "; ".join(f"{layout.name} ({layout.about})" for layout in LAYOUTS)
    raise BadRecordingError(f"{file.name} has no layout known here: {found}", f"known layouts: {known}")
