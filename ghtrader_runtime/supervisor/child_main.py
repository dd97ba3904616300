"""Runs the gateway or the strategy as a child process of the supervisor.

`python -m ghtrader_runtime.supervisor.child_main gateway|strategy HOME OPTIONS`. How it ended is written to `<run
folder>/<kind>.exit.json`, so that the parent can raise the same error.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from pathlib import Path

import msgspec

from ghtrader_base.child_processes import die_with_parent
from ghtrader_base.disk_errors import disk_error
from ghtrader_base.errors import FailedError, GhtraderError, UnwritableError
from ghtrader_base.files import atomic_write_json, ensure_dir
from ghtrader_base.logs import configure
from ghtrader_base.private_files import keep_private
from ghtrader_base.settings import load_settings
from ghtrader_base.usual_places import usual_places
from ghtrader_runtime.run_options import GatewayOptions, StrategyOptions


def _work(kind: str, home: str, options: str) -> str:
    """Run gateway or strategy; returns why it ended."""
    settings = load_settings(Path(home))
    configure(settings.log_level)
    if kind == "gateway":
        from ghtrader_runtime.gateway.launch import run_gateway

        return run_gateway(settings, msgspec.json.decode(options, type=GatewayOptions)).ended
    from ghtrader_runtime.strategy.launch import run_strategy

    return run_strategy(settings, msgspec.json.decode(options, type=StrategyOptions)).ended


def main(arguments: list[str]) -> int:
    """Run one child; returns its exit code."""
    kind, home, folder, options, *parent = arguments
    die_with_parent(int(parent[0]) if parent else None)
    path = ensure_dir(Path(folder)) / f"{kind}.exit.json"
    try:
        ended = _work(kind, home, options)
        with contextlib.suppress(UnwritableError):  # the exit code says the same
            atomic_write_json(path, {"exit_code": 0, "ended": ended})
        return 0
    except GhtraderError as exc:
        traceback.print_exc()
        error, code = {"error": type(exc).__name__, "message": exc.message, "hint": exc.hint}, exc.exit_code
    except Exception as exc:
        traceback.print_exc()
        told = disk_error(exc, Path(folder), *usual_places()) or FailedError(f"{type(exc).__name__}: {exc}")
        error, code = {"error": type(told).__name__, "message": told.message, "hint": told.hint}, 1
    with contextlib.suppress(UnwritableError):  # the parent sees how much room there is
        atomic_write_json(path, {**error, "exit_code": code})
    return code


if __name__ == "__main__":
    keep_private()
    sys.exit(main(sys.argv[1:]))
