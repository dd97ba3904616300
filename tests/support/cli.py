"""Runs commands of ghtrader in this process: Python and what a command imports start once for all of them."""

from __future__ import annotations

import contextlib
import tempfile
from subprocess import CompletedProcess

from ghtrader.cli import run


def ghtrader(*arguments: str) -> CompletedProcess[str]:
    """Run one command as `python -m ghtrader` would; its exit code and what it wrote."""
    # Files, because a run of Dagster asks for the file descriptor of each.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(arguments))
        texts = []
        for file in (out, err):
            file.flush()
            file.seek(0)
            texts.append(file.read())
    return CompletedProcess(["ghtrader", *arguments], code, *texts)
