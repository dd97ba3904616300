"""Logs go to stderr by level, and no secret is in them."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_base import settings
from ghtrader_base.logs import LEVEL_NAME, PACKAGES, SECRETS, configure
from ghtrader_base.settings import ENV_ONLY, load_settings

log = logging.getLogger("ghtrader_market.test")


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    yield
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize(("level", "told"), [("DEBUG", "dive"), ("INFO", "ive"), ("WARNING", "ve"), ("", "ve")])
def test_a_level_tells_what_is_at_least_as_grave(level: str, told: str) -> None:
    stream = io.StringIO()
    configure(level, stream)
    for tell, letter in zip((log.debug, log.info, log.warning, log.error), "dive", strict=True):
        tell(letter)
    assert [line[-1] for line in stream.getvalue().splitlines()] == list(told)
    assert all("ghtrader_market.test: " in line for line in stream.getvalue().splitlines())


def test_no_secret_is_told_not_even_in_a_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TQSDK_PASSWORD", "canary-in-environment")
    monkeypatch.setenv("GHTRADER_HOME", str(tmp_path))
    monkeypatch.setattr(settings, "latest_home", None)
    Path(".env").write_text("export TQ_ACCOUNT_PASSWORD='canary-in-dotenv'\nTQSDK_USER=canary-user\n")
    stream = io.StringIO()
    configure("DEBUG", stream)
    try:
        raise ValueError("login canary-in-dotenv refused")
    except ValueError:
        log.exception("asked with %s as %s", "canary-in-environment", "canary-user")
    assert "canary" not in stream.getvalue() and stream.getvalue().count("********") >= 3


AFTER_TQSDK = """
import logging, sys
from ghtrader_base.logs import configure, loggers_kept
configure("INFO")
with loggers_kept():
    import shinny_structlog
for name in ("ghtrader_market.later", "ghtrader_runtime", "ghtrader_models.new.module"):
    logging.getLogger(name).info("told by %s", "canary-in-environment")
"""


def test_what_is_imported_after_tqsdk_tells_no_secret_either() -> None:
    environment = {**os.environ, "TQSDK_PASSWORD": "canary-in-environment"}
    command = [sys.executable, "-c", AFTER_TQSDK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert [line.split(" ", 1)[1] for line in done.stderr.splitlines()] == [
        f"INFO    {name}: told by ********"
        for name in ("ghtrader_market.later", "ghtrader_runtime", "ghtrader_models.new.module")
    ]


def test_every_secret_of_the_settings_is_known() -> None:
    assert set(SECRETS) == ENV_ONLY - {"GHTRADER_LIVE_ENABLED", "TQ_BROKER_ID"}


def test_the_command_line_sets_the_level_for_itself_and_its_children(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    seen: list[tuple[str, int]] = []

    def look() -> dict[str, str]:
        seen.append((load_settings().log_level, logging.getLogger("ghtrader").level))
        return {}

    monkeypatch.setattr("ghtrader.commands.config.version_table", look)
    for flags in ([], ["--verbose"], ["--debug"]):
        assert run(["version", *flags]) == 0
    assert [level for level, _ in seen] == ["WARNING", "INFO", "DEBUG"]
    assert [logging.getLevelName(number) for _, number in seen] == ["WARNING", "INFO", "DEBUG"]
    assert load_settings().log_level == "WARNING", "nothing is left behind"
    monkeypatch.setenv(LEVEL_NAME, "loud")
    assert run(["status", "--home", str(home)]) == 2
