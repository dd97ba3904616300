"""Starts Python children that import nothing from the folder they are started in, and ties a child to its parent.

Which processes run is `processes`' business.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def python_module(module: str, *arguments: str, isolated: bool = False) -> list[str]:
    """The command that runs `module` in this Python.

    Parameters
    ----------
    module : str
        As after `python -m`; the current folder is not searched for it, nor for anything it imports.
    *arguments : str
    isolated : bool
        Neither `PYTHON...` variables nor the user's own packages count, either.
    """
    return [sys.executable, "-I" if isolated else "-P", "-m", module, *arguments]


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to end this process when its parent dies (Linux; elsewhere nothing happens).

    Parameters
    ----------
    parent : int, optional
        Process id of who started this one: where that died before this was asked, nothing would tell, so it ends now.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if parent is not None and os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)
