"""Builds the `ghtrader` command from the modules of `commands` and turns errors into exit codes.

A command parses, calls a package below, prints; nothing else lives here.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from types import FrameType

import typer

from ghtrader_base.disk_errors import disk_error
from ghtrader_base.errors import GhtraderError, UsageError
from ghtrader_base.logs import LEVEL_NAME, blot_out, configure
from ghtrader_base.private_files import keep_private
from ghtrader_base.usual_places import usual_places

_COMMAND_MODULES = (
    "ingest",
    "locks",
    "main_series",
    "data",
    "record",
    "quality",
    "audit",
    "build",
    "train",
    "compare",
    "sweep",
    "models",
    "sql",
    "factors",
    "gateway",
    "strategy",
    "kill",
    "trade",
    "monitor",
    "exchange",
    "web_ui",
    "jobs",
    "demo",
    "config",
    "db",
    "status",
)
_DEBUG, _VERBOSE = "--debug", "--verbose"
_INTERRUPTED = 130
_terminated = False
"""Whether SIGTERM has come."""


def build_app() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="ghtrader",
        help="From SHFE order-book ticks to a champion model that trades. Research only by default.",
        epilog="With any command: --verbose logs what goes on, --debug more and the traceback of an error.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for name in _COMMAND_MODULES:
        importlib.import_module(f"ghtrader.commands.{name}").register(app)
    return app


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code.

    `--verbose` anywhere logs from INFO on, `--debug` from DEBUG on and shows the traceback of an error; both count for
    the processes that the command starts, too.
    """
    debug = _DEBUG in arguments
    level = "DEBUG" if debug else "INFO" if _VERBOSE in arguments else ""
    ours = {_DEBUG} if arguments[:1] == ["demo"] else {_DEBUG, _VERBOSE}  # the demo has a --verbose of its own
    arguments = [argument for argument in arguments if argument not in ours]
    with _logging_from(level):
        return _run(arguments, debug)


@contextlib.contextmanager
def _logging_from(level: str) -> Iterator[None]:
    before = os.environ.get(LEVEL_NAME)
    if level:
        os.environ[LEVEL_NAME] = level
    configure(os.environ.get(LEVEL_NAME, ""))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(LEVEL_NAME, None)
        else:
            os.environ[LEVEL_NAME] = before


def _run(arguments: list[str], debug: bool) -> int:
    try:
        result = build_app()(args=arguments, prog_name="ghtrader", standalone_mode=False)
        if result == _INTERRUPTED:  # click has swallowed the KeyboardInterrupt
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except GhtraderError as exc:
        if debug:
            _say(traceback.format_exc().rstrip("\n"))
        return _failed(exc)
    except KeyboardInterrupt:
        _say("stopped")
        return _INTERRUPTED
    except BrokenPipeError:
        return 1
    except Exception as exc:  # the last line of defence: a person gets a sentence, a developer gets --debug
        # What a signal raised may have passed through C code (an import, say) that makes an error of its own of it.
        interrupted = isinstance(exc.__cause__, KeyboardInterrupt)
        if not (_terminated or interrupted):
            return _unexpected(exc, debug)
        if debug:
            _say(traceback.format_exc().rstrip("\n"))
        _say("stopped")
        return _INTERRUPTED if interrupted else 128 + signal.SIGTERM


def _unexpected(exc: Exception, debug: bool) -> int:
    show = getattr(exc, "show", None)  # click's own usage errors know how to print themselves
    if callable(show) and hasattr(exc, "exit_code"):
        show()
        return int(exc.exit_code)
    if hasattr(exc, "exit_code"):
        return int(exc.exit_code)
    if debug:
        _say(traceback.format_exc().rstrip("\n"))
    if (refused := disk_error(exc, *usual_places())) is not None:
        return _failed(refused)
    if isinstance(exc, UnicodeEncodeError) and exc.reason == "surrogates not allowed":
        return _failed(UsageError(f"{exc.object[:60]!r} is no UTF-8 text", "write the argument in UTF-8"))
    _say(f"error: {type(exc).__name__}: {exc}\n  run it again with --debug for the traceback")
    return 1


def _failed(exc: GhtraderError) -> int:
    _say(f"error: {exc.message}" + (f"\n  {exc.hint}" if exc.hint else ""))
    return exc.exit_code


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk behind stderr changes no exit code
        sys.stderr.write(blot_out(text) + "\n")


def main() -> None:
    """Entry point of the console script."""
    keep_private()
    # Asked to end, a command unwinds as on Ctrl-C: what it started is stopped, what it was writing is left out.
    signal.signal(signal.SIGTERM, _terminate)
    os.environ["PYTHONSAFEPATH"] = "1"  # children of libraries (spawned workers) import nothing from where one stands
    code = run(sys.argv[1:])
    sys.exit(code if _flushed() else code or 1)


def _flushed() -> bool:
    """Whether all of the answer has left; else the rest goes nowhere, and Python does not complain of it at the end."""
    whole = True
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            whole = whole and stream is sys.stderr
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return whole


def _terminate(number: int, _frame: FrameType | None) -> None:
    global _terminated
    _terminated = True
    sys.exit(128 + number)
