"""A child process that TqSdk would live in, and its parent's death."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ghtrader_market.sources.tqsdk.worker_pipe import SCRATCH_ENV
from tests.support.waiting import PATIENCE_S

WORKER = """
from ghtrader_market.sources.tqsdk.worker_pipe import run_worker

def serve(requests, out):
    while True:
        out.send("beat")

run_worker(serve, "it")
"""


def test_a_parent_that_dies_leaves_no_folder_whichever_pipe_is_seen_to_break_first(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "HOME": str(scratch), SCRATCH_ENV: str(scratch)}
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert worker.stdin is not None and worker.stdout is not None
    try:
        assert worker.stdout.read(1)
        worker.stdout.close()  # its next answer breaks, and it knows nothing of its other pipe yet
        try:
            worker.wait(1.0)
        except subprocess.TimeoutExpired:
            worker.stdin.close()
        assert worker.wait(PATIENCE_S) == 0 and not scratch.exists()
    finally:
        worker.kill()
        worker.wait()
