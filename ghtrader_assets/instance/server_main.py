"""Runs one web server of this home in the foreground.

`python -m ghtrader_assets.instance.server_main KIND PORT`.

Registers itself as a running process, so that `jobs list` and `down` know it by pid, then becomes the server:
the Dagster web UI, the Dagster daemon, or the MLflow UI. Everything binds 127.0.0.1.
"""

from __future__ import annotations

import os
import sys

from ghtrader_assets.instance.instance import MODULE, open_instance
from ghtrader_base.files import ensure_dir
from ghtrader_base.private_files import keep_private
from ghtrader_base.processes import register
from ghtrader_base.settings import Settings, load_settings

HOST = "127.0.0.1"
KINDS = ("dagster-webserver", "dagster-daemon", "mlflow")


def _dagster_webserver(settings: Settings, port: int) -> None:
    from dagster_webserver.cli import create_dagster_webserver_cli

    with open_instance(settings):
        pass
    cli = create_dagster_webserver_cli()  # type: ignore[no-untyped-call]
    cli(["-m", MODULE, "-h", HOST, "-p", str(port), "--code-server-log-level", "warning"])


def _dagster_daemon(settings: Settings, port: int) -> None:
    from dagster._daemon.cli import create_dagster_daemon_cli

    with open_instance(settings):
        pass
    create_dagster_daemon_cli()(["run", "-m", MODULE])


def _mlflow(settings: Settings, port: int) -> None:
    from ghtrader_models.registry.mlflow_tracking import artifact_root, tracking_uri

    # No telemetry, and none of its background jobs: this UI only shows.
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    from mlflow.cli import cli

    ensure_dir(settings.mlflow)
    stores = ["--backend-store-uri", tracking_uri(settings), "--default-artifact-root", artifact_root(settings)]
    cli(["server", *stores, "--host", HOST, "--port", str(port), "--workers", "1"])


def main(kind: str, port: int) -> None:
    """Register and serve until a signal ends this process."""
    settings = load_settings()
    serve = {"dagster-webserver": _dagster_webserver, "dagster-daemon": _dagster_daemon, "mlflow": _mlflow}[kind]
    url = f"http://{HOST}:{port}" if port else ""
    with register(settings, kind=kind, purpose="web UI" if port else "schedules and queued runs", detail=url):
        serve(settings, port)


if __name__ == "__main__":
    keep_private()
    main(sys.argv[1], int(sys.argv[2]))
