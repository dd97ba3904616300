"""Dagster's servers as `up` starts them: a graph without errors, a run done again from the UI, and `down`."""

import json
import time
import urllib.request

from ghtrader_assets.instance import web_servers
from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.execute import run_job
from ghtrader_assets.runs.inspect import list_runs
from ghtrader_market.samples import IF2101
from ghtrader_models.families.table import family_names
from tests.integration.pipeline.test_web_servers import free_port, stopped_afterwards, up_and_gone  # noqa: F401
from tests.support.cli import ghtrader
from tests.support.waiting import PATIENCE_S

REEXECUTE = """mutation($p: ReexecutionParams!) { launchRunReexecution(reexecutionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
GRAPH = """{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename
  ... on PythonError { message } } } } } assetNodes { assetKey { path } partitionKeysByDimension { name } } }"""


def graphql(port: int, query: str, variables: dict | None = None) -> dict:
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
        found = json.load(reply)
    assert "errors" not in found, found
    return found["data"]


def test_up_shows_the_graph_runs_again_and_down_stops_it(stopped_afterwards):  # noqa: F811
    settings = stopped_afterwards
    config = {"ops": {"read_recordings": {"config": {"paths": [str(IF2101)], "variety": "IF"}}}}
    run_job(settings, "import_recordings", run_config=config)
    (first,) = flows.update_schedule(settings, "IF")
    port = free_port()
    started = up_and_gone("--only", "dagster", "--dagster-port", str(port))
    assert {server["server"] for server in started["servers"]} == {"dagster-webserver", "dagster-daemon"}
    assert f"-L {port}:127.0.0.1:{port}" in started["ssh"]

    shown = graphql(port, GRAPH)
    (location,) = shown["workspaceOrError"]["locationEntries"]
    assert location["locationOrLoadError"]["__typename"] == "RepositoryLocation", location
    assert len(shown["assetNodes"]) == 10 + 2 * len(family_names())

    again = graphql(port, REEXECUTE, {"p": {"parentRunId": first.run_id, "strategy": "ALL_STEPS"}})
    launched = again["launchRunReexecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    deadline, status = time.monotonic() + 120, ""
    while time.monotonic() < deadline and status not in ("success", "failure", "canceled"):
        with open_instance(settings) as instance:
            rows = {row.id: row for row in list_runs(settings, instance, 10)}
        row = rows[launched["run"]["runId"]]
        status = row.status
        time.sleep(1)
    assert (status, row.source, row.detail) == ("success", "re-executed", "IF")

    done = ghtrader("up", "--only", "dagster", "--dagster-port", str(port), "--json")
    assert {server["now"] for server in json.loads(done.stdout)["servers"]} == {"ran already"}
    pids = {server["pid"] for server in started["servers"]}
    done = ghtrader("down", "--json")
    assert {server["pid"] for server in json.loads(done.stdout)["stopped"]} == pids
    assert web_servers.servers(settings) == []
    web_servers.require_free_port(port, "--dagster-port")
