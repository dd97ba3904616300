"""Who may do what in a QuestDB that was started with logins: strangers nothing, readers read, we all."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode

import pandas as pd
import psycopg
import pytest

from ghtrader_base.errors import ConfigError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.samples import IF2101
from ghtrader_market.sources.recordings.reader import read_recording
from ghtrader_market.stores.questdb.schema import RAW_TICKS
from ghtrader_market.stores.questdb.store import QuestDbStore
from tests.integration.conftest import READER_LOGIN
from tests.support.cli import ghtrader

STATEMENTS = [f"DROP TABLE {RAW_TICKS}", f"TRUNCATE TABLE {RAW_TICKS}", "CREATE TABLE intruder (x INT)", "SELECT 1"]
PLACES = ["exec", "exp"]


def status_of(settings: Settings, path: str, login: str = "", method: str = "GET", data: bytes | None = None) -> int:
    headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}"} if login else {}
    address = f"http://127.0.0.1:{settings.questdb_http_port}/{path}"
    request = urllib.request.Request(address, data, headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_a_stranger_changes_and_reads_nothing_over_http(questdb: QuestDbStore, questdb_settings: Settings) -> None:
    symbol, day, table = read_recording(IF2101)[0]
    questdb.write_ticks(symbol, day, table)
    logins = ("", "admin:quest", "admin:", ":", f"{READER_LOGIN[0]}:{READER_LOGIN[1]}")
    for statement in STATEMENTS:
        query = urllib.parse.urlencode({"query": statement})
        for login in logins:
            for place in PLACES:
                assert status_of(questdb_settings, f"{place}?{query}", login) in (401, 403), (statement, login, place)
    line = f"{RAW_TICKS},symbol=x price=1.0\n".encode()
    for login in logins:
        for place in ("write", "api/v2/write", "imp?name=intruder"):
            assert status_of(questdb_settings, place, login, "POST", line) in (401, 403), (login, place)
    assert questdb.read_ticks(symbol, day).num_rows == table.num_rows
    health = questdb.health()
    assert health.ok and health.server is not None and not health.server.open and "open" not in health.detail


def test_a_wrong_login_is_named_with_its_settings(questdb: QuestDbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    symbol, day, table = read_recording(IF2101)[0]
    monkeypatch.setenv("GHTRADER_QUESTDB_HTTP_PASSWORD", "wrong")
    store = QuestDbStore(load_settings())
    for ask in (store.client.require, lambda: store.write_ticks(symbol, day, table)):
        with pytest.raises(ConfigError, match="refused user and password") as refused:
            ask()
        assert "GHTRADER_QUESTDB_HTTP_PASSWORD" in refused.value.hint and "wrong" not in str(refused.value)
    done = ghtrader("db", "questdb-health")
    assert done.returncode == 2 and "GHTRADER_QUESTDB_HTTP_USER" in done.stderr
    frame = pd.DataFrame({"ts": pd.to_datetime([1], unit="s", utc=True).as_unit("ns"), "symbol": ["x"]})
    with pytest.raises(ConfigError, match="refused user and password"):
        store.client.send(RAW_TICKS, frame, ["symbol"])


def test_a_reader_reads_and_changes_nothing(questdb: QuestDbStore, questdb_settings: Settings) -> None:
    with psycopg.connect(
        host="127.0.0.1", port=questdb_settings.questdb_pg_port, dbname="qdb", user=READER_LOGIN[0],
        password=READER_LOGIN[1], autocommit=True, prepare_threshold=None,
    ) as connection:  # fmt: skip
        assert connection.execute(f"SELECT count() FROM {RAW_TICKS}").fetchall() == [(0,)]
        further = [f"ALTER TABLE {RAW_TICKS} DROP COLUMN symbol", f"RENAME TABLE {RAW_TICKS} TO x"]
        for statement in [*STATEMENTS[:-1], *further]:
            with pytest.raises(psycopg.Error):
                connection.execute(statement)
    assert questdb.client.sql(f"SELECT count() FROM {RAW_TICKS}") == [(0,)]


def test_config_check_finds_it_closed(questdb: QuestDbStore) -> None:
    done = ghtrader("config", "check", "--json")
    assert done.returncode == 0 and done.stdout.count('"closed"') == 2, done.stdout
