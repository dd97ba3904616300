"""What a demo leaves in Dagster and MLflow, read through their own servers and shells."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from ghtrader.demo.effort import FULL
from tests.support.waiting import PATIENCE_S

pytestmark = [pytest.mark.acceptance, pytest.mark.clock, pytest.mark.timeout(1500)]
NODES = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } }
  assetNodes { assetKey { path } assetMaterializations(limit: 200) { partition metadataEntries { label } } } }"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _post(url: str, body: dict) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
        return json.load(reply)


@pytest.fixture(scope="module")
def servers(default_demo):
    """Dagster's and MLflow's web UIs on the demo's home: what `make ui` starts."""
    ports = {"dagster": _free_port(), "mlflow": _free_port()}
    arguments = [f"--{name}-port={port}" for name, port in ports.items()]
    command = [sys.executable, "-m", "ghtrader"]
    up = subprocess.run(
        [*command, "up", *arguments, "--json"], env=default_demo.env, capture_output=True, text=True, timeout=300
    )
    assert up.returncode == 0, up.stderr
    pids = [server["pid"] for server in json.loads(up.stdout)["servers"]]
    yield {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    down = subprocess.run([*command, "down"], env=default_demo.env, capture_output=True, text=True, timeout=PATIENCE_S)
    for pid in pids if down.returncode else []:
        os.killpg(pid, signal.SIGKILL)


def test_dagster_shows_the_demos_partitions(default_demo, servers) -> None:
    found = _post(servers["dagster"] + "/graphql", {"query": NODES})
    assert "errors" not in found
    entries = found["data"]["workspaceOrError"]["locationEntries"]
    assert [entry["locationOrLoadError"]["__typename"] for entry in entries] == ["RepositoryLocation"]
    made = {
        node["assetKey"]["path"][-1]: {
            event["partition"]: {entry["label"] for entry in event["metadataEntries"]}
            for event in node["assetMaterializations"]
        }
        for node in found["data"]["assetNodes"]
    }
    half = default_demo.report["simulated"]
    for name in ("raw_ticks", "main_l5", "features", "labels"):
        days = [key for key in made[name] if key.endswith("|cu")]
        assert len(days) == half["days"] + 1 and "2021-01-04|IF" in made[name], name  # the live day was built too
        assert all({"rows", "content_hash"} <= labels for labels in made[name].values()), made[name]
    assert all("plot" in labels for labels in made["main_l5"].values())
    horizons = {f"{horizon}|{variety}" for horizon in (10, 50, 200) for variety in ("cu", "IF")}
    judged = {"50|cu", "50|IF"}
    for families, of in FULL.by_horizons():
        tested = {f"{horizon}|{variety}" for horizon in of for variety in ("cu", "IF")}
        for family in families:
            for name, keys in ((f"model_{family}", judged), (f"benchmark_{family}", tested)):
                assert set(made[name]) == keys and all("plot" in labels for labels in made[name].values()), name
    assert set(made["benchmark_report"]) == horizons
    assert set(made["champion"]) == judged


def test_mlflow_shows_runs_and_the_registered_champion(default_demo, servers) -> None:
    url = servers["mlflow"] + "/api/2.0/mlflow"
    experiments = _post(f"{url}/experiments/search", {"max_results": 50})["experiments"]
    ids = [experiment["experiment_id"] for experiment in experiments]
    runs = _post(f"{url}/runs/search", {"experiment_ids": ids, "max_results": 200})["runs"]
    assert len(runs) >= 12
    metrics = {metric["key"] for run in runs for metric in run["data"].get("metrics", [])}
    assert any("logloss" in name for name in metrics)
    with urllib.request.urlopen(f"{url}/registered-models/search?max_results=50", timeout=PATIENCE_S) as reply:
        models = json.load(reply)["registered_models"]
    aliases = {alias["alias"] for model in models for alias in model.get("aliases", [])}
    assert "champion" in aliases, models


def test_dagsters_own_shell_builds_a_day(default_demo) -> None:
    day = default_demo.report["simulated"]["last_day"]
    dagster = str(Path(sys.executable).with_name("dagster"))
    command = [dagster, "asset", "materialize", "-m", "ghtrader_assets.definitions", "--select", "main_l5"]
    done = subprocess.run(
        [*command, "--partition", f"{day}|cu"],
        env=default_demo.env, cwd="/", capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
