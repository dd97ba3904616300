"""Ends commands by the signals that `make test` does not send them: it sends one of each kind."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ghtrader_exchange.client import ExchangeProcess
from tests.integration.cli.test_bad_input import exchange, stopped_download, stopped_exchange  # noqa: F401 (fixture)
from tests.integration.exchange.test_serve_command import serves_and_ends


def test_a_download_interrupted_at_the_keyboard_leaves_whole_days_alone(
    exchange: ExchangeProcess,  # noqa: F811
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    stopped_download(exchange, home, signal.SIGINT)


def test_an_exchange_whose_group_is_terminated_is_gone(home: Path, tmp_path: Path) -> None:
    stopped_exchange(home, tmp_path, signal.SIGTERM)


def test_an_exchange_that_is_interrupted_ends_well(tmp_path: Path) -> None:
    serves_and_ends(tmp_path, signal.SIGINT)
