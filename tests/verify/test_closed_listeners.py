"""Everything `ghtrader up` serves, attacked as a web page, a rebound name or another program would, and still working.

The servers are started as a person would, but from a folder full of traps and with secrets in the environment. At the
end nothing of the folder was run or believed, and no secret is in anything written or in an environment.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.sync.client import connect

from ghtrader.listener_check import ListenerState, check_listeners
from ghtrader_assets.instance import web_servers
from ghtrader_assets.instance.instance import MODULE
from ghtrader_base.handed_credentials import VARIABLE
from ghtrader_base.settings import ENV_ONLY, Settings, load_settings
from ghtrader_market.samples import IF2101
from ghtrader_market.stores.questdb.store import QuestDbStore
from ghtrader_models.registry.mlflow_tracking import CREDENTIALS
from tests.integration.conftest import questdb_runner
from tests.integration.pipeline.test_web_servers import free_port
from tests.support.http_requests import Answer, Headers, ask, handshake
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.timeout(3 * int(PATIENCE_S))
CANARY = "canary-4711"
NOBODY = "http://127.0.0.1:9"
"""Where no quote service is."""
SECRETS = ENV_ONLY | CREDENTIALS
TRAPS = ("msgspec", "dagster", "mlflow", "uvicorn", "starlette", "ghtrader_base", "sitecustomize", "usercustomize")
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
KINDS = ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
FORMS = [*KINDS[1:], "", "application/graphql", "text/plain; application/json", "application/graphql+json"]
HOSTS = [
    "evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "localhost.:{port}", "0.0.0.0:{port}", "",
]  # fmt: skip
ORIGINS = ["http://evil.example", "null", "https://{here}", "http://localhost:{port}", "http://127.0.0.1:1", "file://"]
SELECTOR = {"repositoryLocationName": MODULE, "repositoryName": "__repository__"}
LAUNCH = """mutation($p: ExecutionParams!) { launchRun(executionParams: $p) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId status } } } }"
EVENTS = """query($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection { events {
  ... on MessageEvent { message } ... on ExecutionStepFailureEvent { error { message } } } } } }"""


@dataclass(frozen=True)
class Served:
    """What was started: the settings of its home, its ports, and the folder where traps leave their marks."""

    settings: Settings
    dagster: int
    mlflow: int
    marks: Path

    def port(self, listener: str) -> int:
        return self.dagster if listener == "dagster" else self.mlflow

    def changes(self, listener: str) -> list[tuple[str, str, bytes]]:
        """Paths, queries and bodies of what changes something, for requests of any method."""
        if listener == "mlflow":
            made = json.dumps({"name": "intruder"}).encode()
            create = "/ajax-api/2.0/mlflow/experiments/create"
            return [(create, "name=intruder", made), ("/graphql", "query=%7Ba%7D", b"{}")]
        asked = {"query": LAUNCH, "variables": {"p": launching({"paths": [str(IF2101)], "variety": "IF"})}}
        query = urllib.parse.urlencode({"query": LAUNCH, "variables": json.dumps(asked["variables"])})
        reported = "asset_key=raw_ticks&partition=2025-01-02|cu"
        return [
            ("/graphql", query, json.dumps(asked).encode()),
            ("/report_asset_materialization/raw_ticks", reported, b"{}"),
        ]

    def state(self) -> tuple[Any, Any]:
        """Runs and experiments there are, asked as the pages ask."""
        found = graphql(self, "{ runsOrError { ... on Runs { results { runId } } } }")
        body = json.dumps({"max_results": 100}).encode()
        listed = ask(self.mlflow, "POST", "/ajax-api/2.0/mlflow/experiments/search", ours(self.mlflow), body)
        return found, [row["name"] for row in json.loads(listed.body)["experiments"]]


def launching(config: dict[str, Any], job: str = "import_recordings", op: str = "read_recordings") -> dict[str, Any]:
    return {
        "selector": {**SELECTOR, "jobName": job},
        "runConfigData": {"ops": {op: {"config": config}}},
    }


def ours(port: int, kind: str = "application/json") -> Headers:
    """What the page of that server sends."""
    here = f"127.0.0.1:{port}"
    site = [("Origin", f"http://{here}"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")]
    return [("Host", here), *site, ("Content-Type", kind)]


def graphql(served: Served, query: str, variables: dict[str, Any] | None = None) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    answer = ask(served.dagster, "POST", "/graphql", ours(served.dagster), body)
    assert answer.status == 200, answer.body
    found = json.loads(answer.body)
    assert "errors" not in found, found
    return found["data"]


def trapped(folder: Path, marks: Path) -> None:
    """Fill a folder with what Python, Dagster, MLflow and ghtrader of a careless kind would run or believe."""
    folder.mkdir()
    marks.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(marks / name)!r}, 'w').close()\n")
    settings = {"GHTRADER_HOME": str(marks / "home"), "TQ_AUTH_URL": "http://evil.example"}
    settings["MLFLOW_TRACKING_URI"] = f"sqlite:///{marks / 'mlflow.db'}"
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    (folder / ".env").write_text(f"{lines}PYTHONPATH={folder}\nDAGSTER_HOME={marks / 'dagster'}\n")
    (folder / "ghtrader.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in settings.items()))
    (folder / "workspace.yaml").write_text("load_from:\n  - python_module: msgspec\n")
    (folder / "pyproject.toml").write_text('[tool.dagster]\nmodule_name = "msgspec"\n')
    launcher = "run_launcher:\n  module: msgspec\n  class: Launcher\n"
    (folder / "dagster.yaml").write_text(f"{launcher}storage:\n  sqlite:\n    base_dir: {marks / 'dagster'}\n")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("closed")
    home, here, marks = root / "home", root / "here", root / "marks"
    trapped(here, marks)
    environment = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "PYTHONPATH")}
    environment |= {"GHTRADER_HOME": str(home), "XDG_STATE_HOME": str(root / "state"), "TQ_AUTH_URL": NOBODY}
    environment["DAGSTER_GRPC_TIMEOUT_SECONDS"] = str(int(PATIENCE_S))  # a busy machine loads the code for longer
    environment |= {name: "true" if name == "GHTRADER_LIVE_ENABLED" else f"{CANARY}-{name}" for name in SECRETS}
    dagster, mlflow = free_port(), free_port()
    command = [str(Path(sys.executable).parent / "ghtrader"), "up", "--json"]
    command += ["--dagster-port", str(dagster), "--mlflow-port", str(mlflow)]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GHTRADER_HOME", raising=False)
        settings = load_settings(home)
        try:
            done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert CANARY not in done.stdout + done.stderr
            yield Served(settings, dagster, mlflow, marks)
        finally:
            for info in web_servers.servers(settings):
                os.killpg(info.pid, signal.SIGKILL)


def tree(served: Served) -> list[psutil.Process]:
    found = [psutil.Process(info.pid) for info in web_servers.servers(served.settings)]
    assert len(found) == 3
    return [*found, *(child for process in found for child in process.children(recursive=True))]


def refused(answer: Answer) -> bool:
    shared = answer.headers.get("access-control-allow-origin")
    return answer.status in (400, 403, 405, 415, 421) and shared is None


def each(served: Served, listener: str, methods: Sequence[str], headers: Headers) -> Iterator[tuple[str, Answer]]:
    """Every change by every method with these headers; body and query both carry it."""
    port = served.port(listener)
    for (path, query, body), method in itertools.product(served.changes(listener), methods):
        yield f"{method} {path} {headers}", ask(port, method, f"{path}?{query}", headers, body)


@pytest.mark.sample(1, of="closed listeners")
@pytest.mark.parametrize("listener", ["dagster", "mlflow"])
def test_no_foreign_host_gets_in(served: Served, listener: str) -> None:
    before, port = served.state(), served.port(listener)
    for name, kind in itertools.product(HOSTS, KINDS):
        host = name.format(port=port)
        for page in ([], [("Origin", f"http://{host}")], [("Origin", f"http://127.0.0.1:{port}")]):
            for what, answer in each(served, listener, METHODS, [("Host", host), *page, ("Content-Type", kind)]):
                assert refused(answer), (what, answer.status)
        for path in ("/", "/runs", "/health", "/version", "/server_info", "/logs/x", "/get-artifact", "/ajax-api/x"):
            assert refused(ask(port, "GET", path, [("Host", host)])), (host, path)
    assert served.state() == before


@pytest.mark.sample(1, of="closed listeners")
@pytest.mark.parametrize("listener", ["dagster", "mlflow"])
def test_no_foreign_page_gets_in(served: Served, listener: str) -> None:
    before, port = served.state(), served.port(listener)
    here = f"127.0.0.1:{port}"
    for name, kind in itertools.product(ORIGINS, KINDS):
        page = [("Host", here), ("Origin", name.format(port=port, here=here)), ("Content-Type", kind)]
        for what, answer in each(served, listener, METHODS, page):
            assert refused(answer), (what, answer.status)
    for kind in KINDS:
        page = [("Host", here), ("Sec-Fetch-Site", "cross-site"), ("Content-Type", kind)]
        for what, answer in each(served, listener, METHODS, page):
            assert refused(answer), (what, answer.status)
    asked = [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")]
    assert refused(ask(port, "OPTIONS", "/graphql", [("Host", here), ("Origin", "http://evil.example"), *asked]))
    assert served.state() == before


@pytest.mark.sample(1, of="closed listeners")
@pytest.mark.parametrize("listener", ["dagster", "mlflow"])
def test_nothing_is_changed_by_get_nor_by_what_a_form_can_send(served: Served, listener: str) -> None:
    before, port = served.state(), served.port(listener)
    here = ("Host", f"127.0.0.1:{port}")
    image = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "image"), ("Accept", "image/*,*/*;q=0.8")]
    for what, answer in each(served, listener, ["GET", "HEAD"], [here, *image]):
        assert refused(answer), (what, answer.status)
    for what, answer in each(served, listener, ["GET", "HEAD", "OPTIONS"], [here, ("Accept", "*/*")]):
        # A browser of old says nothing about the page; MLflow has no such path by GET.
        assert refused(answer) or (answer.status in (200, 204, 404) and "/graphql" not in what), (what, answer.status)
    for kind in FORMS:
        for more in ([], [("Origin", f"http://{here[1]}")]):
            for what, answer in each(served, listener, ["POST"], [here, *more, ("Content-Type", kind)]):
                assert answer.status == 415, (what, answer.status)
    assert served.state() == before


def test_a_websocket_opens_for_the_page_alone_and_changes_nothing(served: Served) -> None:
    before, here = served.state(), f"127.0.0.1:{served.dagster}"
    for path in ("/graphql", "/"):
        for name in HOSTS:
            host = name.format(port=served.dagster)
            assert handshake(served.dagster, path, [("Host", host), ("Origin", f"http://{host}")]) in (400, 403), host
        for name in ORIGINS:
            origin = name.format(port=served.dagster, here=here)
            assert handshake(served.dagster, path, [("Host", here), ("Origin", origin)]) == 403, origin
        assert handshake(served.dagster, path, [("Host", here)]) == 403
        from_elsewhere = [("Host", here), ("Origin", f"http://{here}"), ("Sec-Fetch-Site", "cross-site")]
        assert handshake(served.dagster, path, from_elsewhere) == 403
    with connect(f"ws://{here}/graphql", origin=f"http://{here}", subprotocols=["graphql-ws"]) as page:
        page.send(json.dumps({"type": "connection_init"}))
        assert json.loads(page.recv(PATIENCE_S))["type"] == "connection_ack"
        variables = {"p": launching({"paths": [str(IF2101)], "variety": "IF"})}
        page.send(json.dumps({"type": "start", "id": "1", "payload": {"query": LAUNCH, "variables": variables}}))
        assert json.loads(page.recv(PATIENCE_S))["type"] == "error"
    assert served.state() == before


def test_only_the_two_ports_listen_and_sockets_are_the_users_own(served: Served) -> None:
    ports, sockets = set(), set()
    for process in tree(served):
        for connection in process.net_connections("all"):
            if connection.status == psutil.CONN_LISTEN:
                ports.add((connection.laddr.ip, connection.laddr.port))
            elif isinstance(connection.laddr, str) and connection.laddr.startswith("/"):
                sockets.add(Path(connection.laddr))
    assert ports == {("127.0.0.1", served.dagster), ("127.0.0.1", served.mlflow)}
    assert sockets, "the code servers' own"
    for path in sockets:
        assert path.stat().st_mode & 0o077 == 0, path
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GHTRADER_HOME", str(served.settings.home))
        found = check_listeners(served.settings)
    assert {(row.name, row.state) for row in found} == {
        ("dagster-webserver", ListenerState.CLOSED), ("mlflow", ListenerState.CLOSED)
    }  # fmt: skip


def status_of(served: Served, run_id: str) -> str:
    rows = graphql(served, RUNS)["runsOrError"]["results"]
    return next(row["status"] for row in rows if row["runId"] == run_id)


def ended(served: Served, launched: dict[str, Any]) -> tuple[str, str]:
    """How a run ended, and all its events say."""
    assert launched["launchRun"]["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["launchRun"]["run"]["runId"]
    over = {"SUCCESS", "FAILURE", "CANCELED"}
    until(lambda: status_of(served, run_id) in over, "the run's end")
    return status_of(served, run_id), json.dumps(graphql(served, EVENTS, {"id": run_id}))


def test_the_page_launches_runs_and_none_of_them_names_a_variable(served: Served) -> None:
    for named in ({"env": "TQSDK_PASSWORD"}, {"env": "HOME"}):
        answer = graphql(served, LAUNCH, {"p": launching({"paths": [named]})})["launchRun"]
        assert answer["__typename"] == "RunConfigValidationInvalid", answer
        elsewhere = launching({"paths": ["x"]})
        elsewhere["runConfigData"]["resources"] = {"home": {"config": {"home": named}}}
        answer = graphql(served, LAUNCH, {"p": elsewhere})["launchRun"]
        assert answer["__typename"] == "RunConfigValidationInvalid", answer
    config = {"paths": [str(IF2101)], "variety": "IF"}
    assert ended(served, graphql(served, LAUNCH, {"p": launching(config)}))[0] == "SUCCESS"


def test_a_run_of_the_servers_has_the_credentials_though_no_environment_does(served: Served) -> None:
    config = {"symbol": "SHFE.cu2503", "start": "2025-01-02", "end": "2025-01-02"}
    launched = graphql(served, LAUNCH, {"p": launching(config, "download_contract", "fetch_contract")})
    status, events = ended(served, launched)
    # Credentials are asked for before the service is: it is away, they are not.
    assert status == "FAILURE" and f"no quote service at {NOBODY}" in events and "TQSDK_USER" not in events
    pointed = 0
    for process in tree(served):
        environment = process.environ()
        assert CANARY not in str(environment), process.cmdline()
        assert not environment.keys() & SECRETS, process.cmdline()
        pointed += VARIABLE in environment
    assert pointed >= 2, "the code servers know where they lie"


def test_nothing_of_the_folder_one_stands_in_was_run_or_believed(served: Served) -> None:
    assert list(served.marks.iterdir()) == []
    assert [info.kind for info in web_servers.servers(served.settings)]
    (location,) = graphql(
        served, "{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"
    )["workspaceOrError"]["locationEntries"]
    assert location["name"] == MODULE
    assert (served.settings.dagster / "history").is_dir() and (served.settings.mlflow / "mlflow.db").is_file()


def test_no_secret_is_in_anything_that_was_written(served: Served) -> None:
    files = [path for path in served.settings.home.parent.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
    for name in ("dagster", "mlflow"):
        for path in (served.settings.home / name).rglob("*.db"):
            assert path.stat().st_mode & 0o077 == 0, path


def test_an_older_questdb_without_a_login_works_and_is_named_open(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = questdb_runner()
    monkeypatch.setenv("TQSDK_PASSWORD", CANARY)
    server = run.QuestDbServer(home / "questdb", memory="512m", throwaway=True)
    try:
        server.start()
    except run.Unavailable as exc:
        pytest.skip(f"no QuestDB on this machine: {exc}")
    try:
        assert CANARY not in Path(f"/proc/{server.process.pid}/environ").read_text()
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        settings = load_settings(home)
        store = QuestDbStore(settings)
        store.init()
        health = store.health()
        assert health.ok and health.server is not None and health.server.open
        assert "open" in health.detail and "GHTRADER_QUESTDB_HTTP_USER" in health.detail
        found = {row.name: row for row in check_listeners(settings)}
        assert {row.state for row in found.values()} == {ListenerState.OPEN}
        assert "GHTRADER_QUESTDB_HTTP_PASSWORD" in found["QuestDB, HTTP"].hint
        with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/exec?query=SELECT%201") as answer:
            assert answer.status == 200, "the attack is real"
    finally:
        server.stop()
