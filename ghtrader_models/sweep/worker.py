"""Is the main of a sweep's worker process: takes its task from stdin, loads the rows, scores trials until none is left.

An error is told as JSON on stdout and by exit code 1. The process ends with the one that started it.
"""

from __future__ import annotations

import sys

import msgspec

from ghtrader_base.child_processes import die_with_parent
from ghtrader_base.errors import GhtraderError
from ghtrader_base.logs import configure
from ghtrader_base.private_files import keep_private
from ghtrader_base.settings import load_settings
from ghtrader_models.sweep.search import SweepTask, load_task_data, open_store, work


def main(number: int, parent: int) -> int:
    """Work as worker `number`; the exit code."""
    die_with_parent(parent)
    keep_private()
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=SweepTask)
    try:
        settings = load_settings(task.home)
        configure(settings.log_level)
        work(settings, task, load_task_data(settings, task), open_store(settings, task), worker=number)
    except GhtraderError as exc:
        sys.stdout.write(msgspec.json.encode((type(exc).__name__, exc.message, exc.hint)).decode())
        return 1
    return 0


if __name__ == "__main__":
    keep_private()
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
