"""Runs one web server of this home in the foreground.

`python -m ghtrader_assets.instance.server_main KIND PORT [DESCRIPTOR]`.

Registers itself as a running process, so that `jobs list` and `down` know it by pid, then becomes the server:
the Dagster web UI, the Dagster daemon, or the MLflow UI. Everything binds 127.0.0.1, and both UIs stand behind
`loopback_gate`. Credentials come by the descriptor (`handed_credentials`), none by the environment.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_assets.instance.instance import MODULE, open_instance
from ghtrader_assets.instance.login_links import take_ticket
from ghtrader_base import handed_credentials
from ghtrader_base.files import ensure_dir
from ghtrader_base.locks import resource_lock
from ghtrader_base.private_files import keep_private
from ghtrader_base.processes import register
from ghtrader_base.settings import Settings, load_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

HOST = "127.0.0.1"
KINDS = ("dagster-webserver", "dagster-daemon", "mlflow")
_STATEMENT_MS = 15_000
_POOL_RECYCLE_S = 3600
_POOL_OVERFLOW = 20
_POLL_MS = 2000
_INIT_WAIT_S = 120.0
_CLOSE_S = 5
"""Seconds that open pages have, once the server is told to end."""


def _serve(settings: Settings, kind: str, app: ASGIApp, port: int, log_level: str) -> None:
    """Serve an application behind the gate until a signal ends this process."""
    import uvicorn

    from ghtrader_assets.instance.loopback_gate import LoopbackGate

    login = functools.partial(take_ticket, settings, kind) if settings.web_login else None
    uvicorn.run(
        LoopbackGate(app, login, f"{kind}-{port}"), host=HOST, port=port, log_level=log_level, access_log=False,
        proxy_headers=False, server_header=False, timeout_graceful_shutdown=_CLOSE_S,
    )  # fmt: skip


def _dagster_webserver(settings: Settings, port: int) -> None:
    from dagster import DagsterInstance
    from dagster._core.workspace.context import WorkspaceProcessContext
    from dagster._core.workspace.load_target import ModuleTarget
    from dagster_webserver.app import create_app_from_workspace_process_context
    from dagster_webserver.version import __version__

    with open_instance(settings):
        pass
    # What Dagster's own command does, up to the server.
    target = ModuleTarget(module_name=MODULE, attribute=None, working_directory=None, location_name=None)
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT_MS, _POOL_RECYCLE_S, _POOL_OVERFLOW)
        with WorkspaceProcessContext(
            instance, target, version=__version__, code_server_log_level="warning"
        ) as context:
            app = create_app_from_workspace_process_context(context, live_data_poll_rate=_POLL_MS)
            _serve(settings, "dagster-webserver", app, port, "warning")


def _dagster_daemon(settings: Settings, port: int) -> None:
    from dagster._daemon.cli import create_dagster_daemon_cli

    with open_instance(settings):
        pass
    create_dagster_daemon_cli()(["run", "-m", MODULE])


def _mlflow(settings: Settings, port: int) -> None:
    from mlflow.server import constants

    from ghtrader_models.registry.mlflow_tracking import (
        artifact_root,
        default_artifact_root,
        mend_addresses,
        tracking_uri,
    )

    ensure_dir(settings.mlflow)
    # No telemetry, and none of its background jobs: this UI only shows. The others are what its own command sets; its
    # server reads them when it is imported.
    os.environ.update({
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        constants.BACKEND_STORE_URI_ENV_VAR: tracking_uri(settings),
        constants.REGISTRY_STORE_URI_ENV_VAR: tracking_uri(settings),
        constants.ARTIFACT_ROOT_ENV_VAR: default_artifact_root(settings),
        constants.SERVE_ARTIFACTS_ENV_VAR: "true",
        constants.ARTIFACTS_DESTINATION_ENV_VAR: Path(artifact_root(settings)).as_uri(),
    })  # fmt: skip
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    uri = tracking_uri(settings)
    with resource_lock(settings.locks, "mlflow-init", "open MLflow's database", wait_s=_INIT_WAIT_S):
        initialize_backend_stores(uri, uri, default_artifact_root(settings))
        mend_addresses(settings)
    _serve(settings, "mlflow", app, port, "info")


def main(kind: str, port: int, credentials: int | None) -> None:
    """Register and serve until a signal ends this process."""
    if credentials is not None:
        handed_credentials.own(credentials)
    settings = load_settings()
    serve = {"dagster-webserver": _dagster_webserver, "dagster-daemon": _dagster_daemon, "mlflow": _mlflow}[kind]
    url = f"http://{HOST}:{port}" if port else ""
    with register(settings, kind=kind, purpose="web UI" if port else "schedules and queued runs", detail=url):
        serve(settings, port)


if __name__ == "__main__":
    keep_private()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
