"""Sets up logging: one line a record on stderr, level by `GHTRADER_LOG_LEVEL` or `--verbose`, secrets blotted out.

Progress for people is printed by commands; what a run decided is in its journal. Logs are for whoever asks why
something took so long or happened twice: `logging.getLogger(__name__)` in any module of ours. Other libraries keep
their own.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TextIO

PACKAGES = (
    "ghtrader", "ghtrader_runtime", "ghtrader_assets", "ghtrader_models", "ghtrader_exchange", "ghtrader_market",
    "ghtrader_base",
)  # fmt: skip
SECRETS = (
    "TQSDK_USER", "TQSDK_PASSWORD", "TQ_ACCOUNT_ID", "TQ_ACCOUNT_PASSWORD", "GHTRADER_QUESTDB_PG_USER",
    "GHTRADER_QUESTDB_PG_PASSWORD",
)  # fmt: skip
"""Names whose values, in the environment or `.env`, appear in no line."""
LEVEL_NAME = "GHTRADER_LOG_LEVEL"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_SHORTEST = 4
"""A value of fewer letters than this is part of ordinary words."""
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class SecretsFormatter(logging.Formatter):
    """Formats a record and replaces each secret's value by asterisks, in tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or a line and a traceback."""
        text = super().format(record)
        for secret in _secrets():
            text = text.replace(secret, "********")
        return text


class StderrHandler(logging.Handler):
    """Writes to what stderr is when a record comes, which need not be what it was at the start."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send records of our packages from `level` on to `stream` (stderr); a second call replaces the first.

    Parameters
    ----------
    level : str
        DEBUG, INFO, WARNING or ERROR; anything else is WARNING (the settings refuse it by name).
    stream : text file, optional
        For tests.
    """
    level = level if level in LEVELS else "WARNING"
    handler = StderrHandler() if stream is None else logging.StreamHandler(stream)
    handler.setFormatter(SecretsFormatter(_FORMAT, "%Y-%m-%dT%H:%M:%S"))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False


def _secrets() -> list[str]:
    values = [os.environ.get(name, "") for name in SECRETS]
    dotenv = Path(".env")
    if dotenv.is_file():
        for line in dotenv.read_text("utf-8", "replace").splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            if name.strip() in SECRETS:
                values.append(value.strip().strip("\"'"))
    return sorted({value for value in values if len(value) >= _SHORTEST}, key=len, reverse=True)
