"""Gives TqSdk another hour of the day between 19:00 and 19:30 in Beijing, in each process that finds this first.

Python imports `sitecustomize` as it starts; `tests.support.tqsdk_maintenance` puts this folder on a child's PYTHONPATH.
Nothing else of TqSdk changes: the clock that `tqsdk.connect` asks for the service's maintenance stands two hours back,
always, so that a test meets the same TqSdk at every hour.
"""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder


def moved(now: datetime) -> datetime:
    """`now`, and in the hour of the maintenance two hours earlier."""
    return now - timedelta(hours=2) if now.hour == 19 else now


class _ConnectFinder(MetaPathFinder):
    """Finds `tqsdk.connect` as Python would, and replaces the clock that the loaded module asks."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "tqsdk.connect":
            return None
        spec = PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def exec_module(module: object) -> None:
            load(module)
            clock = module._cst_now
            module._cst_now = lambda: moved(clock())

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _ConnectFinder())
