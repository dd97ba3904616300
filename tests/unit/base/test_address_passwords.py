"""A password in an address is found, and hidden wherever it would be shown or stored."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_assets.instance.web_servers import server_environment
from ghtrader_base.address_passwords import (
    HIDDEN,
    hide_secrets,
    host_of,
    login_of,
    password_of,
    secrets_of,
    without_login,
)
from ghtrader_base.errors import GhtraderError, RefusedError
from ghtrader_base.logs import configure
from ghtrader_base.settings import describe_settings, load_settings, set_setting
from ghtrader_market.main_series.roll_cross_check import _fetch as fetch_continuous_table
from ghtrader_market.reference.holiday_list import refresh_holidays
from ghtrader_market.sources.service_clock import read_service_clock
from ghtrader_market.sources.tqsdk.service_origin import origin_of_service
from ghtrader_market.sources.tqsdk.worker_client import endpoints, require_servers
from ghtrader_models.sweep.study import without_password
from ghtrader_runtime.brokers.tqsdk_isolation import probe
from ghtrader_runtime.bus.endpoints import endpoints as bus_endpoints

ADDRESS = "https://somebody:can%40ary-4711@tracking.example:5000/base"
NOWHERE = "127.0.0.1:9"
"""The discard port, where nobody listens."""
HOLDING = {
    "a login": "http://somebody:canary-4711@HOST/path",
    "a token for a user": "http://canary-4711-0123456789@HOST/path",
    "a password in the query": "http://HOST/path?a=1&password=canary-4711&b=2",
    "an encoded one": "http://HOST/path?db%5Fpassword=can%61ry-4711",
    "a token in the query": "http://HOST/?access_token=canary-4711",
    "a key": "http://HOST/?api-key=canary-4711;x=1",
    "a signature": "http://HOST/blob?sig=canary-4711",
    "a fragment": "http://HOST/#token=canary-4711",
    "a fragment after a question": "http://HOST/?x=1#/page?secret=canary-4711",
    "a matrix parameter": "http://HOST/path;password=canary-4711/more",
}
ADDRESS_SETTINGS = (
    "TQ_AUTH_URL", "TQ_MD_URL", "TQ_TD_URL", "TQ_CHINESE_HOLIDAY_URL", "TQ_CONT_TABLE_URL", "MLFLOW_TRACKING_URI",
    "GHTRADER_BUS", "GHTRADER_SWEEP_DATABASE",
)  # fmt: skip


def test_it_is_found_and_taken_out() -> None:
    assert password_of(ADDRESS) == "can%40ary-4711" and login_of(ADDRESS) == ("somebody", "can@ary-4711")
    assert without_login(ADDRESS) == "https://tracking.example:5000/base"
    assert hide_secrets(f"no answer of {ADDRESS} (can@ary-4711)", ADDRESS).count(HIDDEN) == 2
    for plain in ("", "sqlite:////srv/mlflow.db", "http://127.0.0.1:5000", "http://somebody@host/", "http://[bad"):
        assert password_of(plain) == "" and login_of(plain)[1] == "" and hide_secrets("text", plain) == "text"
    assert without_login("sqlite:////srv/a@b/mlflow.db") == "sqlite:////srv/a@b/mlflow.db"


def test_no_file_line_or_table_shows_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ADDRESS)
    rows = {row.name: row.value for row in describe_settings(load_settings())}
    assert rows["MLFLOW_TRACKING_URI"] == "https://somebody:********@tracking.example:5000/base"
    stream = io.StringIO()
    configure("INFO", stream)
    logging.getLogger("ghtrader_base.settings").warning("cannot reach %s", ADDRESS)
    assert "can%40ary" not in stream.getvalue() and "********" in stream.getvalue()
    configure("WARNING")
    with pytest.raises(RefusedError, match="password"):
        set_setting("MLFLOW_TRACKING_URI", ADDRESS)
    assert not list(home.rglob("ghtrader.toml"))


def shows(text: str) -> bool:
    return "canary" in text or "can%61ry" in text


@pytest.mark.clock
@pytest.mark.parametrize("address", HOLDING.values(), ids=HOLDING)
def test_wherever_it_stands_in_the_address(home: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    address = address.replace("HOST", NOWHERE)
    assert secrets_of(address) and not shows(hide_secrets(address)) and host_of(address) == NOWHERE
    assert not shows(without_password(address.replace("http://", "postgresql://")))
    for name in ADDRESS_SETTINGS:
        monkeypatch.setenv(name, address)
        with pytest.raises(RefusedError, match=name):
            set_setting(name, address)
    settings = load_settings()
    assert not shows(json.dumps([row.to_json() for row in describe_settings(settings)]))
    stream = io.StringIO()
    configure("INFO", stream)
    logging.getLogger("ghtrader_base.settings").warning("cannot reach %s", address)
    configure("WARNING")
    assert not shows(stream.getvalue())

    environment, handed = server_environment(settings, "dagster")
    assert not any(shows(value) for value in environment.values()) and handed["TQ_MD_URL"] == address
    asks = (
        lambda: fetch_continuous_table(address),
        lambda: refresh_holidays(settings),
        lambda: read_service_clock(settings),
        lambda: origin_of_service(settings),
        lambda: require_servers(endpoints(settings)),
        lambda: require_servers({"TQ_AUTH_URL": address.replace("http", "gopher")}),
        lambda: probe(address, "login service"),
        lambda: bus_endpoints(settings, home),
    )
    for ask in asks:
        with pytest.raises(GhtraderError) as caught:
            ask()
        assert not shows(caught.value.message + caught.value.hint), caught.value.message


def test_an_address_without_secrets_is_shown_whole() -> None:
    for address in (
        "https://host/base?sslmode=require&page=2#top", "postgresql://postgres@host/db", "sqlite:////srv/mlflow.db",
        "http://host/?keyboard=us&monkey=1", "http://[bad?password=x",
    ):  # fmt: skip
        assert hide_secrets(address) == address or "[bad" in address


def test_an_error_nobody_foresaw_shows_none(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line of defence of the command, with its traceback too."""
    address = "http://127.0.0.1:9/?token=canary-4711"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(f"no answer of {os.environ['MLFLOW_TRACKING_URI']}")

    monkeypatch.setattr("ghtrader.cli.build_app", lambda: fails)
    for arguments in (["status"], ["status", "--debug"]):
        assert run(arguments) == 1
        told = capsys.readouterr().err
        assert "no answer of" in told and not shows(told)
