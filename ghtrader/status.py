"""Collects what `ghtrader status` tells, every part by itself, so that one that is down hides nothing else.

Only looks: nothing is started, locked or written. Dagster's runs are read from its database directly, since importing
dagster takes longer than everything else here together.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ghtrader_base.errors import GhtraderError
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings

_RUNS = 5
_GPU_S = 2.0
_TRADING = ("gateway", "strategy", "trade", "record")
_SERVERS = {
    "dagster-webserver": "dagster",
    "dagster-daemon": "dagster daemon",
    "mlflow": "mlflow",
    "console": "console",
}


def collect(settings: Settings) -> dict[str, Any]:
    """All parts; one that cannot be looked at is `{"error": why}`.

    Returns
    -------
    dict
        home, servers, calendar, lake, questdb, runs, champions, trading, kill_switches, disk, gpus.
    """
    parts: dict[str, Callable[[Settings], Any]] = {
        "servers": _servers,
        "calendar": _calendar,
        "lake": _lake,
        "questdb": _questdb,
        "runs": _runs,
        "champions": _champions,
        "trading": _trading,
        "kill_switches": _kill_switches,
        "disk": _disk,
        "gpus": _gpus,
    }
    return {"home": str(settings.home), **{name: _looked(part, settings) for name, part in parts.items()}}


def _looked(part: Callable[[Settings], Any], settings: Settings) -> Any:
    try:
        return part(settings)
    except GhtraderError as exc:
        return {"error": f"{exc.message}; {exc.hint}".rstrip("; ")}
    except Exception as exc:  # whatever is wrong with one part, the others are still worth knowing
        return {"error": f"{type(exc).__name__}: {exc}"}


def _servers(settings: Settings) -> list[dict[str, Any]]:
    running = {info.kind: info for info in list_processes(settings)}
    return [
        {
            "server": name,
            "up": kind in running,
            "url": running[kind].detail if kind in running else "",
            "since": running[kind].since if kind in running else "",
        }
        for kind, name in _SERVERS.items()
    ]


def _calendar(settings: Settings) -> dict[str, Any]:
    from ghtrader_market.inventory.stored_days import stored_days
    from ghtrader_market.reference.holiday_list import calendar_state
    from ghtrader_market.stores.lake.lake import Lake

    stored = stored_days(Lake(settings.data)) if settings.data.exists() else set()
    return calendar_state(settings, stored).to_json()


def _lake(settings: Settings) -> dict[str, Any]:
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import PARTITION_NAME

    lake = Lake(settings.data)
    if not settings.data.exists():
        here = next(path for path in (settings.home, *settings.home.parents) if path.exists())
        return {"ok": os.access(here, os.W_OK), "detail": str(settings.data), "datasets": {}}
    health = lake.health()
    found: dict[str, Any] = {"ok": health.ok, "detail": health.detail, "datasets": {}}
    if health.ok:
        days = {name: sum(len(listed) for listed in lake.index.day_lists(name).values()) for name in PARTITION_NAME}
        found["datasets"] = {name: count for name, count in days.items() if count}
    return found


def _questdb(settings: Settings) -> dict[str, Any]:
    if not settings.questdb_host:
        return {"configured": False}
    from ghtrader_market.stores.mirror.mirrored_lake import debt_ledger
    from ghtrader_market.stores.questdb.store import QuestDbStore

    debts = debt_ledger(settings).debts()
    states = [debt.state for debt in debts]
    health = QuestDbStore(settings).health()
    return {
        "configured": True,
        "ok": health.ok,
        "detail": health.detail,
        "debt": {state: states.count(state) for state in sorted(set(states))},
        "oldest_debt": min((debt.since for debt in debts if debt.since), default=""),
        "wal_lag": sum(table["wal_lag"] or 0 for table in health.extra.get("tables", {}).values()),
    }


def _runs(settings: Settings) -> list[dict[str, Any]]:
    from ghtrader_assets.instance.run_registry import SOURCE_TAG, executors

    path = settings.dagster / "history" / "runs.db"
    if not path.exists():
        return []
    alive = {executor.run_id: executor.pid for executor in executors(settings)}
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)) as database:
        rows = database.execute(
            "SELECT run_id, pipeline_name, status, create_timestamp, start_time, end_time, run_body FROM runs "
            "ORDER BY id DESC LIMIT ?",
            (_RUNS,),
        ).fetchall()
        tags: dict[str, dict[str, str]] = {}
        for row in rows:
            tags[row[0]] = dict(database.execute("SELECT key, value FROM run_tags WHERE run_id = ?", (row[0],)))
    return [
        {
            "id": run_id,
            "what": _what(name, body, tags[run_id]),
            "status": status.lower(),
            "source": tags[run_id].get(SOURCE_TAG, ""),
            "since": _iso(started) or created,
            "ended": _iso(ended),
            "pid": alive.get(run_id),
        }
        for run_id, name, status, created, started, ended, body in rows
    ]


def _what(name: str, body: str, tags: dict[str, str]) -> str:
    first, last = (tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end"))
    partition = tags.get("dagster/partition") or (f"{first}...{last}" if first else "")
    if name == "__ASSET_JOB":
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            selected = json.loads(body)["asset_selection"]
            keys = selected.get("__frozenset__") or selected.get("__set__")
            name = ",".join(sorted("/".join(key["path"]) for key in keys))
    return f"{name} {partition}".strip()


def _iso(timestamp: float | None) -> str:
    return datetime.fromtimestamp(timestamp).astimezone().isoformat(timespec="seconds") if timestamp else ""


def _champions(settings: Settings) -> list[dict[str, Any]]:
    from ghtrader_models.bundles.champions import list_champions

    return [
        {
            "symbol": champion.symbol,
            "horizon": champion.horizon,
            "family": champion.family,
            "bundle": champion.bundle_id,
            "since": champion.promoted_at,
            "reason": champion.reason,
        }
        for champion in list_champions(settings.models)
    ]


def _trading(settings: Settings) -> list[dict[str, Any]]:
    """Trading processes; a gateway with its state and what is wrong with its links."""
    from ghtrader_runtime.operator_views.gateway_view import running_gateways

    documents = {gateway.pid: gateway.document for gateway in running_gateways(settings)}
    return [
        {"kind": info.kind, "purpose": info.purpose, "pid": info.pid, "source": info.source, "since": info.since}
        | _stands(documents.get(info.pid))
        for info in list_processes(settings)
        if info.kind in _TRADING
    ]


def _stands(document: dict[str, Any] | None) -> dict[str, Any]:
    if document is None:
        return {}
    names = ("trading_state", "reasons", "killed", "links", "positions", "net_pnl", "data_age_s")
    troubled = [f"{link} {state}" for link, state in document["links"].items() if state != "LIVE"]
    return {name: document[name] for name in names} | {
        "degraded": ", ".join(troubled),
        "holding_note": document.get("holding_note", ""),
    }


def _kill_switches(settings: Settings) -> list[dict[str, Any]]:
    from ghtrader_runtime.accounts.kill_switch import FILE_NAME, KillSwitch

    outside = settings.account_state("x", "x").parent.parent
    folders = [*(settings.home / "accounts").glob(f"*/*/{FILE_NAME}"), *outside.glob(f"*/*/{FILE_NAME}")]
    found = []
    for folder in sorted(path.parent for path in folders):
        state = KillSwitch(folder).read()
        found.append(
            {
                "account": folder.name,
                "broker": folder.parent.name,
                "tripped": state.tripped,
                "reason": state.reason,
                "since": state.since,
            }
        )
    return found


def _disk(settings: Settings) -> dict[str, Any]:
    here = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    usage = shutil.disk_usage(here)
    return {"free_gb": round(usage.free / 1e9, 1), "total_gb": round(usage.total / 1e9, 1), "path": str(here)}


def _gpus(settings: Settings) -> list[dict[str, Any]]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=name,memory.used,memory.total,utilization.gpu"
    done = subprocess.run(
        [program, query, "--format=csv,noheader,nounits"],
        capture_output=True, text=True, timeout=_GPU_S, check=True, stdin=subprocess.DEVNULL, env=dict(os.environ),
    )  # fmt: skip
    names = ("name", "memory_used_mb", "memory_total_mb", "utilization_percent")
    return [
        dict(zip(names, (cell.strip() for cell in line.split(",")), strict=False)) for line in done.stdout.splitlines()
    ]
