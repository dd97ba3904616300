"""Collects what `ghtrader status` tells, every part by itself, so that one that is down hides nothing else.

Only looks: nothing is started, locked or written. Dagster's runs are read from its database directly, since importing
dagster takes longer than everything else here together.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ghtrader_base.disk_errors import disk_error
from ghtrader_base.disk_space import room_at
from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.files import parse_json
from ghtrader_base.processes import list_processes
from ghtrader_base.settings import Settings
from ghtrader_base.usual_places import usual_places

if TYPE_CHECKING:
    from ghtrader_market.reference.holiday_list import CalendarState
    from ghtrader_market.sources.service_clock import ClockState
    from ghtrader_runtime.runlog.gateway_state import GatewayState

T = TypeVar("T")
_RUNS = 5
_GPU_S = 2.0
_TRADING = ("gateway", "strategy", "trade", "record")
_SERVERS = {
    "dagster-webserver": "dagster",
    "dagster-daemon": "dagster daemon",
    "mlflow": "mlflow",
    "console": "console",
}


@dataclass(frozen=True, kw_only=True)
class NotLookedAt:
    """Why a part could not be looked at."""

    error: str


@dataclass(frozen=True, kw_only=True)
class ServerRow:
    """A server of ours: whether it runs, where, and since when (ISO)."""

    server: str
    up: bool
    url: str = ""
    since: str = ""


@dataclass(frozen=True, kw_only=True)
class LakeStatus:
    """Whether the lake can be written, and its days by dataset."""

    ok: bool
    detail: str
    datasets: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class QuestDbStatus:
    """The QuestDB server that is configured.

    Attributes
    ----------
    ok, detail
        As `StoreHealth`.
    debt : dict
        State of a pending write -> how many.
    oldest_debt : str
        Since when the oldest is pending (ISO); empty where none is.
    wal_lag : int
        Transactions that are not applied yet.
    """

    configured: bool = True
    ok: bool
    detail: str
    debt: dict[str, int]
    oldest_debt: str
    wal_lag: int


@dataclass(frozen=True, kw_only=True)
class QuestDbAbsent:
    """No QuestDB is configured."""

    configured: bool = False


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A Dagster run; `pid` of the process that works on it now."""

    id: str
    what: str
    status: str
    source: str
    since: str
    ended: str
    pid: int | None


@dataclass(frozen=True, kw_only=True)
class ChampionRow:
    """The champion of a symbol and horizon (ticks), since when and why; `origin`: whence the ticks it learned from."""

    symbol: str
    horizon: int
    family: str
    bundle: str
    since: str
    reason: str
    origin: str


@dataclass(frozen=True, kw_only=True)
class TradingRow:
    """A trading process; of a gateway also the state it wrote last, and the file of the token that its metrics want."""

    kind: str
    purpose: str
    pid: int
    source: str
    since: str
    gateway: GatewayState | None = None
    metrics_token: str = ""

    def to_json(self) -> dict[str, Any]:
        """One row; `degraded` names the links that are not LIVE."""
        row: dict[str, Any] = {name: getattr(self, name) for name in ("kind", "purpose", "pid", "source", "since")}
        if self.gateway is None:
            return row
        told = self.gateway
        names = "trading_state", "reasons", "killed", "links", "positions", "net_pnl", "data_age_s", "metrics"
        troubled = ", ".join(f"{link} {state}" for link, state in told.troubled_links.items())
        more = {"degraded": troubled, "holding_note": told.holding_note, "cold_note": told.cold_note}
        return row | {name: getattr(told, name) for name in names} | {"metrics_token": self.metrics_token} | more


@dataclass(frozen=True, kw_only=True)
class KillSwitchRow:
    """A kill switch that was ever touched."""

    account: str
    broker: str
    tripped: bool
    reason: str
    since: str


@dataclass(frozen=True, kw_only=True)
class DiskStatus:
    """Room of the disk under the home.

    Attributes
    ----------
    free_gb, total_gb : float
    path : str
    inodes : int or None
        Files that can still be made; None where the file system does not count them.
    warning : str
        Why nothing more can be written there; empty where something can.
    """

    free_gb: float
    total_gb: float
    path: str
    inodes: int | None = None
    warning: str = ""


@dataclass(frozen=True, kw_only=True)
class GpuRow:
    """A GPU as nvidia-smi prints it."""

    name: str
    memory_used_mb: str
    memory_total_mb: str
    utilization_percent: str


@dataclass(frozen=True, kw_only=True)
class HomeStatus:
    """What `ghtrader status` tells of a home; a part that could not be looked at says why."""

    home: str
    servers: list[ServerRow] | NotLookedAt
    clock: ClockState | NotLookedAt
    calendar: CalendarState | NotLookedAt
    lake: LakeStatus | NotLookedAt
    questdb: QuestDbStatus | QuestDbAbsent | NotLookedAt
    runs: list[RunRow] | NotLookedAt
    champions: list[ChampionRow] | NotLookedAt
    trading: list[TradingRow] | NotLookedAt
    kill_switches: list[KillSwitchRow] | NotLookedAt
    disk: DiskStatus | NotLookedAt
    gpus: list[GpuRow] | NotLookedAt

    def to_json(self) -> dict[str, Any]:
        """For `--json`; a part that could not be looked at is `{"error": why}`."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}


def _plain(part: Any) -> Any:
    if isinstance(part, list):
        return [_plain(row) for row in part]
    if isinstance(part, str):
        return part
    return part.to_json() if hasattr(part, "to_json") else asdict(part)


def collect(settings: Settings) -> HomeStatus:
    """Look at all parts."""
    return HomeStatus(
        home=str(settings.home),
        servers=_looked(_servers, settings),
        clock=_looked(_clock, settings),
        calendar=_looked(_calendar, settings),
        lake=_looked(_lake, settings),
        questdb=_looked(_questdb, settings),
        runs=_looked(_runs, settings),
        champions=_looked(_champions, settings),
        trading=_looked(_trading, settings),
        kill_switches=_looked(_kill_switches, settings),
        disk=_looked(_disk, settings),
        gpus=_looked(_gpus, settings),
    )


def _looked(part: Callable[[Settings], T], settings: Settings) -> T | NotLookedAt:
    try:
        return part(settings)
    except GhtraderError as exc:
        return NotLookedAt(error=f"{exc.message}; {exc.hint}".rstrip("; "))
    except Exception as exc:  # whatever is wrong with one part, the others are still worth knowing
        refused = disk_error(exc, *usual_places())
        return NotLookedAt(error=refused.message if refused is not None else f"{type(exc).__name__}: {exc}")


def _servers(settings: Settings) -> list[ServerRow]:
    running = {info.kind: info for info in list_processes(settings)}
    return [
        ServerRow(server=name, up=True, url=running[kind].detail, since=running[kind].since)
        if kind in running
        else ServerRow(server=name, up=False)
        for kind, name in _SERVERS.items()
    ]


def _clock(settings: Settings) -> ClockState:
    from ghtrader_market.sources.service_clock import read_service_clock

    return read_service_clock(settings)


def _calendar(settings: Settings) -> CalendarState:
    from ghtrader_market.inventory.stored_days import stored_days
    from ghtrader_market.reference.holiday_list import calendar_state
    from ghtrader_market.stores.lake.lake import Lake

    stored = stored_days(Lake(settings.data)) if settings.data.exists() else set()
    return calendar_state(settings, stored)


def _lake(settings: Settings) -> LakeStatus:
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_market.stores.lake.manifests import PARTITION_NAME

    lake = Lake(settings.data)
    if not settings.data.exists():
        here = next(path for path in (settings.home, *settings.home.parents) if path.exists())
        return LakeStatus(ok=os.access(here, os.W_OK), detail=str(settings.data), datasets={})
    health = lake.health()
    days: dict[str, int] = {}
    if health.ok:
        days = {name: sum(len(listed) for listed in lake.index.day_lists(name).values()) for name in PARTITION_NAME}
    return LakeStatus(
        ok=health.ok, detail=health.detail, datasets={name: count for name, count in days.items() if count}
    )


def _questdb(settings: Settings) -> QuestDbStatus | QuestDbAbsent:
    if not settings.questdb_host:
        return QuestDbAbsent()
    from ghtrader_market.stores.mirror.mirrored_lake import debt_ledger
    from ghtrader_market.stores.questdb.store import QuestDbStore

    debts = debt_ledger(settings).debts()
    states = [debt.state for debt in debts]
    health = QuestDbStore(settings).health()
    tables = health.server.tables.values() if health.server is not None else ()
    return QuestDbStatus(
        ok=health.ok,
        detail=health.detail,
        debt={state: states.count(state) for state in sorted(set(states))},
        oldest_debt=min((debt.since for debt in debts if debt.since), default=""),
        wal_lag=sum(table.wal_lag or 0 for table in tables),
    )


def _runs(settings: Settings) -> list[RunRow]:
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
        RunRow(
            id=run_id,
            what=_what(name, body, tags[run_id]),
            status=status.lower(),
            source=tags[run_id].get(SOURCE_TAG, ""),
            since=_iso(started) or created,
            ended=_iso(ended),
            pid=alive.get(run_id),
        )
        for run_id, name, status, created, started, ended, body in rows
    ]


def _what(name: str, body: str, tags: dict[str, str]) -> str:
    first, last = (tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end"))
    partition = tags.get("dagster/partition") or (f"{first}...{last}" if first else "")
    if name == "__ASSET_JOB":
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
            selected = parse_json(body)["asset_selection"]
            keys = selected.get("__frozenset__") or selected.get("__set__")
            name = ",".join(sorted("/".join(key["path"]) for key in keys))
    return f"{name} {partition}".strip()


def _iso(timestamp: float | None) -> str:
    return datetime.fromtimestamp(timestamp).astimezone().isoformat(timespec="seconds") if timestamp else ""


def _champions(settings: Settings) -> list[ChampionRow]:
    from ghtrader_market.reference.tick_origin import UNKNOWN
    from ghtrader_models.bundles.champions import list_champions

    return [
        ChampionRow(
            symbol=champion.symbol,
            horizon=champion.horizon,
            family=champion.family,
            bundle=champion.bundle_id,
            since=champion.promoted_at,
            reason=champion.reason,
            origin=champion.origin or UNKNOWN.words,
        )
        for champion in list_champions(settings.models)
    ]


def _trading(settings: Settings) -> list[TradingRow]:
    """Trading processes; a gateway with the state it wrote last."""
    from ghtrader_runtime.operator_views.gateway_view import running_gateways

    told = {gateway.pid: gateway.told for gateway in running_gateways(settings)}
    return [
        TradingRow(
            kind=info.kind, purpose=info.purpose, pid=info.pid, source=info.source, since=info.since,
            gateway=told.get(info.pid), metrics_token=str(settings.metrics_token),
        )
        for info in list_processes(settings)
        if info.kind in _TRADING
    ]  # fmt: skip


def _kill_switches(settings: Settings) -> list[KillSwitchRow]:
    from ghtrader_runtime.accounts.kill_switch import FILE_NAME, KillSwitch
    from ghtrader_runtime.accounts.ledger_reader import ID_NAME

    roots = (settings.home / "accounts", settings.account_state("x", "x").parent.parent)
    traces = (FILE_NAME, ID_NAME)  # a switch whose file is gone is told of, too
    found = []
    for folder in sorted({path.parent for root in roots for name in traces for path in root.glob(f"*/*/{name}")}):
        state = KillSwitch(folder).read()
        found.append(
            KillSwitchRow(
                account=folder.name,
                broker=folder.parent.name,
                tripped=state.tripped,
                reason=state.reason,
                since=state.since,
            )
        )
    return found


def _disk(settings: Settings) -> DiskStatus:
    room = room_at(settings.home)
    if room is None:
        raise FailedError(f"nobody can say how much room there is under {settings.home}")
    warning = "no more files can be made (no inodes are left)" if room.no_inodes else "full" if room.none else ""
    return DiskStatus(
        free_gb=round(room.free / 1e9, 1), total_gb=round(room.total / 1e9, 1), path=str(room.folder),
        inodes=room.inodes, warning=warning,
    )  # fmt: skip


def _gpus(settings: Settings) -> list[GpuRow]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = "--query-gpu=name,memory.used,memory.total,utilization.gpu"
    done = subprocess.run(
        [program, query, "--format=csv,noheader,nounits"],
        capture_output=True, text=True, timeout=_GPU_S, check=True, stdin=subprocess.DEVNULL, env=dict(os.environ),
    )  # fmt: skip
    names = [one.name for one in fields(GpuRow)]
    rows = (line.rsplit(",", len(names) - 1) for line in done.stdout.splitlines())
    return [GpuRow(**dict(zip(names, (cell.strip() for cell in cells), strict=True))) for cells in rows]
