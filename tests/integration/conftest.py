"""A real QuestDB of this test process, started at most once, on ports and in a folder of its own."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.stores.questdb.schema import LEDGER, expected_tables
from ghtrader_market.stores.questdb.store import QuestDbStore

_RUN = Path(__file__).resolve().parents[2] / "infra" / "questdb" / "run.py"
PASSWORD = "a test's own"
HTTP_LOGIN = ("of-http", "a test's; own=too")
READER_LOGIN = ("reader", "a reader's own")


def questdb_runner() -> ModuleType:
    """`infra/questdb/run.py`, which is a script and no package."""
    spec = importlib.util.spec_from_file_location("questdb_run", _RUN)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def questdb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The server; skipped where Java or Maven are missing, unless that is forbidden."""
    run = questdb_runner()
    found = run.QuestDbServer(
        tmp_path_factory.mktemp("questdb"), memory="512m", password=PASSWORD, throwaway=True,
        http_user=HTTP_LOGIN[0], http_password=HTTP_LOGIN[1], reader_user=READER_LOGIN[0],
        reader_password=READER_LOGIN[1],
    )  # fmt: skip
    try:
        found.start()
    except run.Unavailable as exc:
        if os.environ.get("GHTRADER_REQUIRE_QUESTDB") == "1":
            pytest.fail(f"QuestDB is required here: {exc}")
        pytest.skip(f"no QuestDB on this machine: {exc}")
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def questdb_settings(questdb_server: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty home that point at the server, in the environment too."""
    for name, value in questdb_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GHTRADER_QUESTDB_PG_PASSWORD", PASSWORD)
    for name, value in zip(("USER", "PASSWORD"), HTTP_LOGIN, strict=True):
        monkeypatch.setenv(f"GHTRADER_QUESTDB_HTTP_{name}", value)
    return load_settings(home)


@pytest.fixture
def pg(questdb_settings: Settings) -> Iterator[Callable[[str], list[tuple]]]:
    """One statement over a connection of the test's own, past our client; waits until it is applied."""
    client = QuestDbStore(questdb_settings).client
    with psycopg.connect(
        host="127.0.0.1",
        port=questdb_settings.questdb_pg_port,
        user="admin",
        password=PASSWORD,
        dbname="qdb",
        autocommit=True,
        prepare_threshold=None,
    ) as connection:

        def run(statement: str) -> list[tuple]:
            cursor = connection.execute(statement)
            rows = cursor.fetchall() if cursor.description else []
            if statement.split()[0] in ("ALTER", "UPDATE", "INSERT", "TRUNCATE"):
                client.wait_applied(next(word for word in statement.split() if word.startswith("ghtrader_")))
            return rows

        yield run


@pytest.fixture
def questdb(questdb_settings: Settings, pg: Callable[[str], list[tuple]]) -> QuestDbStore:
    """The store with whole, empty tables, whatever the test before left."""
    store = QuestDbStore(questdb_settings)
    known = {row[0] for row in pg("SELECT table_name FROM tables()")}
    try:
        store.init()
        for name in known & expected_tables().keys() - {LEDGER}:
            if pg(f"SELECT count() FROM {name}") != [(0,)]:
                pg(f"TRUNCATE TABLE {name}")
    except Exception:  # the test before broke the schema on purpose
        for name in known & expected_tables().keys():
            pg(f"DROP TABLE {name}")
        store.init()
    return store
