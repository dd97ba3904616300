"""A password in an address is found, and hidden wherever it would be shown or stored."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from ghtrader_base.address_passwords import hide_password, login_of, password_of, without_login
from ghtrader_base.errors import RefusedError
from ghtrader_base.logs import configure
from ghtrader_base.settings import describe_settings, load_settings, set_setting

ADDRESS = "https://somebody:can%40ary-4711@tracking.example:5000/base"


def test_it_is_found_and_taken_out() -> None:
    assert password_of(ADDRESS) == "can%40ary-4711" and login_of(ADDRESS) == ("somebody", "can@ary-4711")
    assert without_login(ADDRESS) == "https://tracking.example:5000/base"
    assert hide_password(f"no answer of {ADDRESS} (can@ary-4711)", ADDRESS).count("********") == 2
    for plain in ("", "sqlite:////srv/mlflow.db", "http://127.0.0.1:5000", "http://somebody@host/", "http://[bad"):
        assert password_of(plain) == "" and login_of(plain)[1] == "" and hide_password("text", plain) == "text"
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
