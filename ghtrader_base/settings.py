"""Loads typed settings from defaults, `ghtrader.toml`, `.env` and the environment, in that order.

What `ghtrader up` handed over (`handed_credentials`) stands for the environment in its servers.

Both files are those of the home, or of the folder that `GHTRADER_SETTINGS_FOLDER` names; the folder one stands in has
no say. Secrets and the live gate come from the environment or `.env` alone; the settings store refuses them. They and
the addresses of servers are not believed of a file that somebody else may write.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import stat
import tomllib
from collections.abc import Container
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from ghtrader_base.address_passwords import HIDDEN, hide_secrets, secrets_of
from ghtrader_base.errors import ConfigError, RefusedError, UsageError
from ghtrader_base.files import atomic_write_text, ensure_dir
from ghtrader_base.handed_credentials import handed_over
from ghtrader_base.private_files import close_folder, close_home
from ghtrader_base.trading_enums import OnKill, UnknownOrders
from ghtrader_base.trading_limits import LimitValue, limit

TOML_NAME, DOTENV_NAME = "ghtrader.toml", ".env"
FOLDER_NAME = "GHTRADER_SETTINGS_FOLDER"
"""Variable that names the folder of both; empty: the home."""
ENV_ONLY = frozenset(
    {
        "TQSDK_USER",
        "TQSDK_PASSWORD",
        "TQ_BROKER_ID",
        "TQ_ACCOUNT_ID",
        "TQ_ACCOUNT_PASSWORD",
        "GHTRADER_QUESTDB_HTTP_USER",
        "GHTRADER_QUESTDB_HTTP_PASSWORD",
        "GHTRADER_QUESTDB_PG_USER",
        "GHTRADER_QUESTDB_PG_PASSWORD",
        "GHTRADER_QUESTDB_READER_USER",
        "GHTRADER_QUESTDB_READER_PASSWORD",
        "GHTRADER_SWEEP_DATABASE",
        "GHTRADER_LIVE_ENABLED",
    }
)

GUARDED = ENV_ONLY | {
    "TQ_AUTH_URL", "TQ_MD_URL", "TQ_TD_URL", "TQ_CHINESE_HOLIDAY_URL", "TQ_CONT_TABLE_URL", "GHTRADER_BUS",
    "GHTRADER_QUESTDB_HOST", "MLFLOW_TRACKING_URI",
}  # fmt: skip
"""What is not believed of a file that somebody else may write: secrets, the live gate, addresses of servers."""
HOME_FOLDERS = frozenset(
    {
        "accounts", "cache", "dagster", "data", "demo", "exchange", "keys", "locks", "logins", "logs", "mlflow",
        "models", "numba", "processes", "questdb", "questdb_debt", "runs", "state", "tmp", "tokens", "tqsdk",
    }
)  # fmt: skip
"""Folders at the top of a home that are ours; those of the demo and of QuestDB are in `var/`, the usual home."""
_TELLING = frozenset({"accounts", "dagster", "locks", "mlflow", "numba", "processes", "questdb_debt", "runs"})
HOME_FILES = frozenset({TOML_NAME, DOTENV_NAME, ".ghtrader-demo"})
_log = logging.getLogger(__name__)
_folder: ContextVar[Path | None] = ContextVar("folder of the settings files", default=None)
_told: set[Path] = set()


def _risk(name: str) -> Any:
    """The setting of a limit of `trading_limits`."""
    found = limit(name)
    text = f"{found.help} In {found.unit.lower()}." if found.unit in ("LOTS", "CNY") else found.help
    return Field(found.default, alias=found.setting, ge=found.low, le=found.high, description=text)


class Settings(BaseSettings):
    """Everything that can be set, under the names that `.env` and the environment use.

    Paths are absolute once loaded. `home` is where everything is written.
    """

    # Names are the aliases alone: by field name too, `home` would be the shell's HOME.
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    home: Path = Field(Path("var"), alias="GHTRADER_HOME", description="folder everything is written under")
    tqsdk_user: str = Field("", alias="TQSDK_USER", description="user of the quote service")
    tqsdk_password: SecretStr = Field(SecretStr(""), alias="TQSDK_PASSWORD", description="its password")
    tq_broker_id: str = Field("", alias="TQ_BROKER_ID", description="broker of the real account")
    tq_account_id: str = Field("", alias="TQ_ACCOUNT_ID", description="real account")
    tq_account_password: SecretStr = Field(SecretStr(""), alias="TQ_ACCOUNT_PASSWORD", description="its password")
    tq_auth_url: str = Field("", alias="TQ_AUTH_URL", description="login service; empty: the vendor's")
    tq_md_url: str = Field("", alias="TQ_MD_URL", description="market data socket; empty: the vendor's")
    tq_td_url: str = Field("", alias="TQ_TD_URL", description="trading socket; empty: the vendor's")
    tq_chinese_holiday_url: str = Field("", alias="TQ_CHINESE_HOLIDAY_URL", description="holiday list")
    tq_cont_table_url: str = Field("", alias="TQ_CONT_TABLE_URL", description="table of continuous contracts")
    factors: str = Field("", alias="GHTRADER_FACTORS", description="TOML file of your own factor sets; empty: none")
    bus: str = Field("ipc", alias="GHTRADER_BUS", description="ipc, or tcp://127.0.0.1:PORT (keys: config bus-keys)")
    metrics_port: int = Field(
        0, alias="GHTRADER_METRICS_PORT", ge=0, le=65535, description="a gateway's metrics on 127.0.0.1; 0: any free"
    )
    live_enabled: bool = Field(False, alias="GHTRADER_LIVE_ENABLED", description="first of two steps to real orders")
    questdb_host: str = Field("", alias="GHTRADER_QUESTDB_HOST", description="empty: no QuestDB, the lake alone")
    questdb_http_port: int = Field(
        9000, alias="GHTRADER_QUESTDB_HTTP_PORT", ge=1, le=65535, description="port for writes and exports"
    )
    questdb_pg_port: int = Field(
        8812, alias="GHTRADER_QUESTDB_PG_PORT", ge=1, le=65535, description="port for SQL over PGwire"
    )
    questdb_http_user: str = Field(
        "", alias="GHTRADER_QUESTDB_HTTP_USER",
        description="user of its HTTP side, given to the server at its start; empty: anybody who reaches the port",
    )  # fmt: skip
    questdb_http_password: SecretStr = Field(
        SecretStr(""), alias="GHTRADER_QUESTDB_HTTP_PASSWORD", description="its password"
    )
    questdb_pg_user: str = Field("admin", alias="GHTRADER_QUESTDB_PG_USER", description="user of PGwire")
    questdb_pg_password: SecretStr = Field(
        SecretStr("quest"), alias="GHTRADER_QUESTDB_PG_PASSWORD", description="its password"
    )
    questdb_reader_user: str = Field(
        "", alias="GHTRADER_QUESTDB_READER_USER",
        description="PGwire user that `make questdb` makes for readers, who can change nothing; empty: none",
    )  # fmt: skip
    questdb_reader_password: SecretStr = Field(
        SecretStr(""), alias="GHTRADER_QUESTDB_READER_PASSWORD", description="its password"
    )
    questdb_pg_dbname: str = Field("qdb", alias="GHTRADER_QUESTDB_PG_DBNAME", description="database")
    questdb_features: bool = Field(
        False, alias="GHTRADER_QUESTDB_FEATURES", description="features and labels go to QuestDB too"
    )
    pipeline_enforce_health: bool = Field(
        False, alias="GHTRADER_PIPELINE_ENFORCE_HEALTH",
        description="a configured QuestDB that is down stops the pipeline; otherwise its writes stay pending",
    )  # fmt: skip
    varieties: str = Field(
        "cu,au,ag,IF", alias="GHTRADER_VARIETIES",
        description="varieties the pipeline has partitions for; any of the variety table may be added",
    )  # fmt: skip
    horizons: str = Field(
        "10,50,200", alias="GHTRADER_HORIZONS",
        description="label horizons in ticks that build makes; models have partitions for them and for those built",
    )  # fmt: skip
    daily_update_targets: str = Field(
        "", alias="GHTRADER_DAILY_UPDATE_TARGETS", description="what the daily schedule refreshes: SHFE:cu,SHFE:au"
    )
    daily_update_retry_s: float = Field(
        10800.0, alias="GHTRADER_DAILY_UPDATE_RETRY_S", ge=0,
        description="seconds the daily update tries again what a service that is away, or a lock, keeps from it",
    )  # fmt: skip
    first_day: date = Field(
        date(2010, 1, 1), alias="GHTRADER_FIRST_DAY", ge=date(2010, 1, 1),
        description="first day the pipeline has partitions for; the later, the fewer Dagster handles",
    )  # fmt: skip
    l5_start_date_cu: str = Field(
        "", alias="GHTRADER_L5_START_DATE_CU", description="first day of cu with depth; empty: as probed or on disk"
    )
    l5_start_date_au: str = Field("", alias="GHTRADER_L5_START_DATE_AU", description="the same of au")
    l5_start_date_ag: str = Field("", alias="GHTRADER_L5_START_DATE_AG", description="the same of ag")
    max_parallel_tqsdk_jobs: int = Field(
        4, alias="GHTRADER_MAX_PARALLEL_TQSDK_JOBS", ge=1, le=16,
        description="TqSdk clients of one user of the machine that download at once",
    )  # fmt: skip
    tqsdk_slot_wait_s: float = Field(
        3600.0, alias="GHTRADER_TQSDK_SLOT_WAIT_S", ge=0, description="seconds to wait for a free client; 0: none"
    )
    tqsdk_timeout_s: float = Field(
        60.0, alias="GHTRADER_TQSDK_TIMEOUT_S", ge=1, description="seconds without a new tick: a request has failed"
    )
    ingest_attempts: int = Field(
        3, alias="GHTRADER_INGEST_ATTEMPTS", ge=1, description="times a day is asked for before it is skipped"
    )
    ingest_outage_s: float = Field(
        180.0, alias="GHTRADER_INGEST_OUTAGE_S", ge=0, description="seconds a download waits for a service that is away"
    )
    lock_wait_timeout_s: float = Field(
        120.0, alias="GHTRADER_LOCK_WAIT_TIMEOUT_S", ge=0,
        description="seconds pipeline work waits for a lock that somebody holds; 0: refuse at once",
    )  # fmt: skip
    lock_force_cancel_on_timeout: bool = Field(
        False, alias="GHTRADER_LOCK_FORCE_CANCEL_ON_TIMEOUT",
        description="end a process of ours that holds a lock for longer than that",
    )  # fmt: skip
    main_l5_total_workers: int = Field(
        0, alias="GHTRADER_MAIN_L5_TOTAL_WORKERS", ge=0, le=64, description="main_l5 days built at once; 0: one a core"
    )
    main_l5_segment_workers: int = Field(
        0, alias="GHTRADER_MAIN_L5_SEGMENT_WORKERS", ge=0, le=64, description="of these, in one segment; 0: no limit"
    )
    quality_gap_s: float = Field(
        60.0, alias="GHTRADER_QUALITY_GAP_S", gt=0, description="seconds without a tick inside a session: a gap"
    )
    quality_gap_intervals: float = Field(
        30.0, alias="GHTRADER_QUALITY_GAP_INTERVALS", ge=1,
        description="a gap also lasts so many of the day's median update intervals, so that a thin contract is no gap",
    )  # fmt: skip
    quality_stale_s: float = Field(
        30.0, alias="GHTRADER_QUALITY_STALE_S", gt=0,
        description="seconds (and QUALITY_GAP_INTERVALS intervals) of an unchanged book while lots are traded: stale",
    )  # fmt: skip
    quality_stale_trades: int = Field(
        3, alias="GHTRADER_QUALITY_STALE_TRADES", ge=1, description="ticks whose volume rose over a stale book"
    )
    quality_limit_move: float = Field(
        0.15, alias="GHTRADER_QUALITY_LIMIT_MOVE", gt=0, description="part of the first price: a move as of a limit"
    )
    quality_jump: float = Field(
        0.03, alias="GHTRADER_QUALITY_JUMP", gt=0, description="part of the price, from one tick to the next: a jump"
    )
    quality_min_coverage: float = Field(
        0.95, alias="GHTRADER_QUALITY_MIN_COVERAGE", ge=0, le=1,
        description="least part of the session time that is neither gap nor stale; below it a day feeds no features",
    )  # fmt: skip
    quality_max_bad_share: float = Field(
        0.001, alias="GHTRADER_QUALITY_MAX_BAD_SHARE", ge=0, le=1,
        description="most rows of one kind of damage, as a part; above it a day feeds no features",
    )  # fmt: skip
    quality_partial_recordings: bool = Field(
        True, alias="GHTRADER_QUALITY_PARTIAL_RECORDINGS", description="an imported part of a day feeds features too"
    )
    mix_origins: bool = Field(
        False, alias="GHTRADER_MIX_ORIGINS",
        description="days of different markets (simulated, another seed, real) may stand in one series, as with --mix",
    )  # fmt: skip
    schedule_max_age_days: int = Field(
        1, alias="GHTRADER_SCHEDULE_MAX_AGE_DAYS", ge=1,
        description="trading days from a roll schedule's last bars to the day it is traded by, at most",
    )  # fmt: skip
    risk_max_position: int = _risk("max_position")
    risk_max_order: int = _risk("max_order")
    risk_max_open_orders: int = _risk("max_open_orders")
    risk_rate_orders: int = _risk("rate_orders")
    risk_max_notional: float = _risk("max_notional")
    risk_price_collar: float = _risk("price_collar")
    risk_data_age_s: float = _risk("data_age_s")
    risk_daily_loss: float = _risk("daily_loss")
    risk_drawdown: float = _risk("drawdown")
    risk_day_orders: int = _risk("day_orders")
    risk_day_lots: int = _risk("day_lots")
    risk_on_kill: OnKill = _risk("on_kill")
    risk_unknown_orders: UnknownOrders = _risk("unknown_orders")
    risk_latency_ms: float = _risk("latency_ms")
    sql_timeout_s: float = Field(
        60.0, alias="GHTRADER_SQL_TIMEOUT_S", gt=0, description="seconds after which a query of `ghtrader sql` is ended"
    )
    sql_memory_gb: float = Field(
        2.0, alias="GHTRADER_SQL_MEMORY_GB", ge=0.5, description="memory of the process that answers it, GB"
    )
    sql_spill_gb: float = Field(
        1.0, alias="GHTRADER_SQL_SPILL_GB", ge=0, description="what it may lay down under the home's tmp/ meanwhile, GB"
    )
    sql_max_rows: int = Field(
        1_000_000, alias="GHTRADER_SQL_MAX_ROWS", ge=1, description="rows of an answer that has no --limit, at most"
    )
    web_login: bool = Field(
        False, alias="GHTRADER_WEB_LOGIN",
        description="the pages of `ghtrader up` ask for a login: it prints a link to each that works once",
    )  # fmt: skip
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", alias="GHTRADER_LOG_LEVEL", description="records from this level on go to stderr; --verbose: INFO"
    )
    mlflow_tracking_uri: str = Field("", alias="MLFLOW_TRACKING_URI", description="empty: sqlite under the home")
    sweep_database: SecretStr = Field(
        SecretStr(""), alias="GHTRADER_SWEEP_DATABASE",
        description="where several machines keep the trials of one sweep, for example "
        "postgresql+psycopg://user:password@host/name; empty: a file in the home",
    )  # fmt: skip

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = _folder.get()
        if folder is None:
            return init_settings, env_settings
        dotenv = DotEnvSettingsSource(settings_cls, env_file=folder / DOTENV_NAME)
        handed = InitSettingsSource(settings_cls, dict(handed_over()))
        return init_settings, env_settings, handed, dotenv, TomlConfigSettingsSource(settings_cls, folder / TOML_NAME)

    @property
    def data(self) -> Path:
        """The lake."""
        return self.home / "data"

    @property
    def cache(self) -> Path:
        """Days as mapped arrays; anything in it may be deleted."""
        return self.home / "cache"

    @property
    def dagster(self) -> Path:
        """The Dagster instance (DAGSTER_HOME)."""
        return self.home / "dagster"

    @property
    def mlflow(self) -> Path:
        """MLflow's database and artefacts."""
        return self.home / "mlflow"

    @property
    def models(self) -> Path:
        """Model bundles and champion pointers."""
        return self.home / "models"

    @property
    def runs(self) -> Path:
        """What single runs leave behind: reports, trading journals."""
        return self.home / "runs"

    @property
    def locks(self) -> Path:
        """Lock files of this home."""
        return self.home / "locks"

    @property
    def metrics_token(self) -> Path:
        """File of the token that shows who may see a gateway's metrics: `credentials_file` of Prometheus."""
        return self.home / "tokens" / "metrics"

    @property
    def logs(self) -> Path:
        """Logs of servers started in the background."""
        return self.home / "logs"

    @property
    def user_state(self) -> Path:
        """What belongs to the user and not to one home (XDG state folder; a relative one counts as not set, as XDG
        has it).

        Raises
        ------
        ConfigError
            XDG_STATE_HOME is relative and an older version has left accounts where it leads to from here.
        """
        base = Path(os.environ.get("XDG_STATE_HOME", ""))
        if base.is_absolute():
            return base / "ghtrader"
        if str(base) != "." and (base / "ghtrader" / "accounts").is_dir():
            raise ConfigError(
                f"XDG_STATE_HOME={base} is relative: its accounts would change with the current folder",
                f"make it absolute, for these accounts: XDG_STATE_HOME={base.absolute()}",
            )
        return Path.home() / ".local" / "state" / "ghtrader"

    def risk(self) -> dict[str, LimitValue]:
        """Limits and policies of a gateway, by the names its options have (`max_position`, `daily_loss`, ...)."""
        fields = [name for name in type(self).model_fields if name.startswith("risk_")]
        return {name.removeprefix("risk_"): getattr(self, name) for name in fields}

    def account_state(self, broker: str, account: str) -> Path:
        """Folder of an account that lives outside: by broker and account, not by home."""
        return self.user_state / "accounts" / broker / account


latest_home: Path | None = None
"""Home of the settings that this process loaded last."""


def load_settings(home: Path | str | None = None) -> Settings:
    """Settings in force here and now.

    What an earlier version left open to other users in the home, and in the folder of accounts that live outside, is
    closed (`private_files`).

    Parameters
    ----------
    home : Path or str, optional
        Overrides GHTRADER_HOME.

    Raises
    ------
    ConfigError
        A value does not parse (names the setting), or a settings file cannot be read or is not to be believed.
    """
    global latest_home
    folder = settings_folder(home)
    _refuse_pipes(folder)
    _refuse_secrets_in_toml(folder)
    _refuse_what_others_may_write(folder)
    _name_files_left_out(folder)
    given = home if home is not None or os.environ.get(FOLDER_NAME) else folder  # a home does not move itself
    overrides: dict[str, Any] = {} if given is None else {"GHTRADER_HOME": Path(given)}
    entered = _folder.set(folder)
    try:
        settings = Settings(**overrides)
    except ValidationError as exc:
        first = exc.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        hint = f"correct {name} in the environment or {TOML_NAME}"
        raise ConfigError(f"setting {name}: {first['msg']}", hint) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{folder / DOTENV_NAME} cannot be read: {exc}", "correct or remove .env") from exc
    finally:
        _folder.reset(entered)
    latest_home = settings.home.expanduser().absolute()
    close_home(latest_home, HOME_FOLDERS, HOME_FILES, _TELLING)
    loaded = settings.model_copy(update={"home": latest_home})
    with contextlib.suppress(ConfigError):  # said by who needs that folder
        close_folder(loaded.user_state)
    return loaded


def require_whole_logins(settings: Settings) -> None:
    """ConfigError where a user of QuestDB has no password or a password no user: neither side would be closed by it."""
    logins = {
        "HTTP": (settings.questdb_http_user, settings.questdb_http_password.get_secret_value()),
        "READER": (settings.questdb_reader_user, settings.questdb_reader_password.get_secret_value()),
    }
    for side, (user, password) in logins.items():
        if bool(user) != bool(password):
            there, lacking = ("USER", "PASSWORD") if user else ("PASSWORD", "USER")
            name = f"GHTRADER_QUESTDB_{side}_"
            raise ConfigError(
                f"{name}{there} is set and {name}{lacking} is not", "set both in the environment or .env, or neither"
            )


def _refuse_pipes(folder: Path) -> None:
    """ConfigError where a settings file is a pipe or a device: every command would wait for whoever writes to it."""
    for name in (TOML_NAME, DOTENV_NAME):
        path = folder / name
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise ConfigError(f"{path} is a pipe or a device, no file", "remove it, or save what it gives as a file")


def settings_folder(home: Path | str | None = None) -> Path:
    """Where `ghtrader.toml` and `.env` of a home are looked for, absolute; of the home in force where none is named."""
    named = os.environ.get(FOLDER_NAME) or home or os.environ.get("GHTRADER_HOME") or "var"
    return Path(named).expanduser().absolute()


def dotenv_of(folder: Path) -> dict[str, str]:
    """The names and values of a folder's `.env`; what is no text in it is replaced, for whoever loads it to name."""
    path = folder / DOTENV_NAME
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    return {name: value or "" for name, value in dotenv_values(stream=io.StringIO(text)).items()}


def _read_toml(folder: Path) -> dict[str, Any]:
    path = folder / TOML_NAME
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as exc:  # TOML and UTF-8 errors are ValueErrors
        raise ConfigError(f"{path} does not parse: {exc}", f"correct {TOML_NAME}") from exc


def _refuse_secrets_in_toml(folder: Path) -> None:
    for name in ENV_ONLY & _read_toml(folder).keys():
        raise ConfigError(f"{name} stands in {TOML_NAME}", "move it to the environment or .env and delete it there")


def _refuse_what_others_may_write(folder: Path) -> None:
    try:
        found = {TOML_NAME: _read_toml(folder).keys(), DOTENV_NAME: dotenv_of(folder).keys()}
    except OSError as exc:
        raise ConfigError(f"{folder / DOTENV_NAME} cannot be read: {exc}", "correct or remove .env") from exc
    for name, keys in found.items():
        guarded = sorted({key.upper() for key in keys} & GUARDED)
        if guarded and (place := _writable_by_others(folder / name)) is not None:
            raise ConfigError(
                f"{folder / name} sets {guarded[0]}, and somebody else may write {place}",
                f"chmod go-w {place} (and own it), or set it in the environment",
            )


def _writable_by_others(file: Path) -> Path | None:
    """The file itself or a folder above it that another user may write or owns; None: nobody but us (and root) may."""
    real = file.resolve()
    for place in dict.fromkeys((real, *real.parents, *file.parents)):
        found = place.stat()
        open_to_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if found.st_uid not in (0, os.geteuid()):
            return place
        if open_to_others and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
            return place
    return None


def _name_files_left_out(folder: Path) -> None:
    """Say once that settings files of the current folder do not count: earlier versions read them."""
    for path in (Path(TOML_NAME).absolute(), Path(DOTENV_NAME).absolute()):
        if path.parent != folder and path not in _told and path.is_file():
            _told.add(path)
            _log.warning("%s is not read: settings files are in %s, or where %s says", path, folder, FOLDER_NAME)


@dataclass(frozen=True, kw_only=True)
class SettingInForce:
    """A setting with its value as text (secrets hidden), the place it came from, and what it is."""

    name: str
    value: str
    source: str
    description: str

    def to_json(self) -> dict[str, Any]:
        """For `--json` and tables."""
        return asdict(self)


def describe_settings(settings: Settings) -> list[SettingInForce]:
    """Each setting with its value (secrets hidden) and where it came from."""
    folder = settings_folder(settings.home)
    places: tuple[tuple[str, Container[str]], ...]
    places = (
        (TOML_NAME, _read_toml(folder)), (DOTENV_NAME, dotenv_of(folder)), ("ghtrader up", handed_over()),
        ("environment", os.environ),
    )  # fmt: skip
    rows = []
    for field, info in Settings.model_fields.items():
        name = str(info.alias)
        source = "default"
        for place, names in places:
            if name in names:
                source = place
        value = getattr(settings, field)
        if isinstance(value, SecretStr) or name in ENV_ONLY - {"GHTRADER_LIVE_ENABLED"}:
            secret = value.get_secret_value() if isinstance(value, SecretStr) else value
            value = HIDDEN if secret else ""
        shown = hide_secrets(str(value))
        rows.append(SettingInForce(name=name, value=shown, source=source, description=info.description or ""))
    return rows


def set_setting(name: str, value: str, home: Path | str | None = None) -> Path:
    """Store one setting in `ghtrader.toml` of a home (the one in force, where none is named); returns its path.

    Raises
    ------
    RefusedError
        The key is a secret or the live gate: environment only.
    UsageError
        No such setting, or a value that does not parse.
    """
    known = {str(info.alias): field for field, info in Settings.model_fields.items()}
    if name in ENV_ONLY:
        raise RefusedError(f"{name} is never stored in a file we write", f"put {name}=... into the environment or .env")
    if name not in known:
        raise UsageError(f"no setting {name!r}", "`ghtrader config show` lists the names")
    if secrets_of(value):
        raise RefusedError(
            f"{name} has a password or token in it, which is never stored in a file we write",
            f"put {name}=... into the environment or .env",
        )
    changed: dict[str, Any] = {name: value}
    try:
        Settings(**changed)
    except ValidationError as exc:
        raise UsageError(f"{name}: {exc.errors()[0]['msg']}", "`ghtrader config show` tells what it is now") from exc
    folder = ensure_dir(settings_folder(home))
    stored = {**_read_toml(folder), name: value}
    lines = [f"{key} = {_toml_value(item)}" for key, item in sorted(stored.items())]
    path = folder / TOML_NAME
    atomic_write_text(path, "\n".join(lines) + "\n")
    return path


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")  # a TOML string, but for DEL
