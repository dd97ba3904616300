"""Keeps a step's own output out of the terminal: it goes into its log file, which the web UI shows.

Dagster's usual manager also mirrors it to the terminal through `tail` and watcher processes. A command's stdout
belongs to its answer, and those helpers answer a Ctrl-C with tracebacks of their own.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._serdes import ConfigurableClassData
from dagster._utils import ensure_file, touch_file


@contextlib.contextmanager
def sent_to(stream: TextIO, path: str) -> Iterator[None]:
    """Send what is written to a stream of this process to the end of a file while the block runs.

    Afterwards the stream is as it was, also where the file's disk was full: what that did not take goes nowhere.
    """
    fd = stream.fileno()
    stream.flush()
    before = os.dup(fd)
    try:
        with open(path, "ab") as file:
            os.dup2(file.fileno(), fd)
        yield
    finally:
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, fd)
            os.close(nowhere)
            with contextlib.suppress(OSError):
                stream.flush()
        os.dup2(before, fd)
        os.close(before)


class StepLogs(LocalComputeLogManager):
    """The same files in the same places as `LocalComputeLogManager`, without the mirror."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> "StepLogs":
        """As Dagster makes it from an instance's settings."""
        return cls(inst_data=inst_data, **config_value)

    @contextlib.contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Send stdout and stderr of this process to the step's files while the step works."""
        out, err = (
            self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind])
            for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        )
        ensure_file(out)
        ensure_file(err)
        with sent_to(sys.stdout, out), sent_to(sys.stderr, err):
            yield CapturedLogContext(log_key)
        touch_file(self.complete_artifact_path(log_key))  # type: ignore[no-untyped-call]
