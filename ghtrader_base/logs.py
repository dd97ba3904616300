"""Sets up logging: one line a record on stderr, level by `GHTRADER_LOG_LEVEL` or `--verbose`, secrets blotted out.

Progress for people is printed by commands; what a run decided is in its journal. Logs are for whoever asks why
something took so long or happened twice: `logging.getLogger(__name__)` in any module of ours. Other libraries keep
their own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from ghtrader_base import settings
from ghtrader_base.address_passwords import HIDDEN, secrets_of
from ghtrader_base.handed_credentials import handed_over
from ghtrader_base.settings import ENV_ONLY, GUARDED

PACKAGES = (
    "ghtrader", "ghtrader_runtime", "ghtrader_assets", "ghtrader_models", "ghtrader_exchange", "ghtrader_market",
    "ghtrader_base",
)  # fmt: skip
SECRETS = ENV_ONLY - {"GHTRADER_LIVE_ENABLED", "TQ_BROKER_ID"}
"""Names whose values, in the environment (or handed over in its place) or `.env`, appear in no line."""
ADDRESSES = GUARDED - ENV_ONLY
"""Names whose values may hold a password or a token, which appears in no line either."""
LEVEL_NAME = "GHTRADER_LOG_LEVEL"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_SHORTEST = 4
"""A value of fewer letters than this is part of ordinary words."""
_PUBLISHED = {"ghtrader", "simulated"}
"""The simulated exchange's own login, which its documentation tells, and words of most messages."""
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class SecretsFormatter(logging.Formatter):
    """Formats a record and replaces each secret's value by asterisks, in tracebacks too."""

    def __init__(self) -> None:
        super().__init__(_FORMAT, "%Y-%m-%dT%H:%M:%S")
        self._secrets = _secrets()

    def format(self, record: logging.LogRecord) -> str:
        """One line, or a line and a traceback."""
        return _without(self._secrets, super().format(record))


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
    handler.setFormatter(SecretsFormatter())
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False


@contextlib.contextmanager
def loggers_kept() -> Iterator[None]:
    """Keep our loggers what they are while TqSdk is imported.

    It puts a new manager in the place of `logging`'s: whatever asks for a logger of ours afterwards would be given
    another one, which knows neither the level nor the formatter that blots out secrets.
    """
    before = logging.Logger.manager
    for name in PACKAGES:
        before.getLogger(name)
    yield
    now = logging.Logger.manager
    if now is not before:
        for name, found in before.loggerDict.items():
            if name.split(".")[0] in PACKAGES:
                now.loggerDict[name] = found
                if isinstance(found, logging.Logger):
                    found.manager = now  # which is told when a level changes
                    found.parent = now.root if found.parent is before.root else found.parent


def blot_out(text: str) -> str:
    """A text with each secret's value replaced by asterisks, as in a record: for whatever else a person is shown."""
    return _without(_secrets(), text)


def _without(secrets: list[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _secrets() -> list[str]:
    """Values of `SECRETS` here and now, the longest first: one may hold another."""
    handed = handed_over()
    values = {found.get(name, "") for name in SECRETS for found in (os.environ, handed)}
    addresses = {found.get(name, "") for name in ADDRESSES for found in (os.environ, handed)}
    with contextlib.suppress(OSError):  # said by who loads the settings
        found = settings.dotenv_of(settings.settings_folder(settings.latest_home))
        values |= {found.get(name, "") for name in SECRETS}
        addresses |= {found.get(name, "") for name in ADDRESSES}
    values = values.union(*(secrets_of(address) for address in addresses))
    values -= _PUBLISHED
    return sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)
