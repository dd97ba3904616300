"""Reads what TqSdk's DataDownloader writes: columns prefixed by the symbol, ``#N/A`` where a level is absent.

``datetime`` (text, Shanghai) and ``datetime_nano`` (UTC epoch ns), then ``SHFE.cu2502.last_price`` ...
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ghtrader_base.errors import BadRecordingError
from ghtrader_market.sources.recordings.contract_rows import ContractRows, ReadOptions
from ghtrader_market.sources.recordings.layouts.layout import Layout
from ghtrader_market.sources.recordings.layouts.tqsdk import read_tqsdk_columns
from ghtrader_market.sources.recordings.recording_file import RecordingFile

_PREFIXED = re.compile(r"^([A-Z]{3,5}\.[A-Za-z]{1,4}\d{3,4})\.(\w+)$")


def _recognises(file: RecordingFile) -> bool:
    return file.is_table and any(_PREFIXED.match(name) for name in file.columns.names)


def _read(file: RecordingFile, options: ReadOptions) -> Iterator[ContractRows]:
    matches = {name: match for name in file.columns.names if (match := _PREFIXED.match(name))}
    found = sorted({match[1] for match in matches.values()})
    if len(found) > 1:
        raise BadRecordingError(
            f"{file.name} holds several contracts side by side: {', '.join(found)}", "one file a contract"
        )
    plain = file.with_columns(file.columns.renamed({name: match[2] for name, match in matches.items()}))
    yield from read_tqsdk_columns(plain, options, found[0] if found else None)


LAYOUT = Layout(
    name="tqsdk-downloader",
    about="CSV of TqSdk's DataDownloader: datetime, datetime_nano, SHFE.cu2502.last_price ...",
    recognises=_recognises,
    read=_read,
)
