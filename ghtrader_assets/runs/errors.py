"""Wraps the bodies of assets and ops: their lines reach the run's event log, their errors whoever waits for the run.

Dagster records an exception as text. A terminal that ran the asset wants the exception itself, with its exit
code; it is kept here by run id until `execute` takes it.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg

from ghtrader_assets.resources.progress import progress_to, throttled
from ghtrader_base.disk_errors import disk_error, refusal_of
from ghtrader_base.errors import GhtraderError
from ghtrader_base.usual_places import usual_places

_LOG_EVERY_S = 30.0
"""Between two lines of one download's progress in the event log."""
_raised: dict[str, Exception] = {}


def take_error(run_id: str) -> Exception | None:
    """The first exception of a run of this process, once."""
    return _raised.pop(run_id, None)


def guarded(body: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an asset's or op's body (first argument: its context).

    A `GhtraderError`, and the disk's refusal in whatever words, becomes a `dagster.Failure` whose description a person
    can act on, never retried. Any other exception passes through unchanged. Both are kept for `take_error`. What the
    body says is in the run's event log, whoever started it.
    """

    if inspect.isgeneratorfunction(body):

        @functools.wraps(body)
        def generator(context: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            with _kept(context.run_id), _logged(context):
                yield from body(context, *args, **kwargs)

        return generator

    @functools.wraps(body)
    def wrapper(context: Any, *args: Any, **kwargs: Any) -> Any:
        with _kept(context.run_id), _logged(context):
            return body(context, *args, **kwargs)

    return wrapper


def _logged(context: Any) -> contextlib.AbstractContextManager[None]:
    def line(text: str) -> None:
        try:
            context.log.info(text)
        except Exception as exc:  # a line that a full disk does not take ends no work
            if refusal_of(exc) is None:
                raise

    return progress_to(throttled(line, _LOG_EVERY_S))


@contextlib.contextmanager
def _kept(run_id: str) -> Iterator[None]:
    try:
        yield
    except GhtraderError as exc:
        _raised.setdefault(run_id, exc)
        raise _failure(exc) from exc
    except Exception as exc:
        refused = disk_error(exc, *usual_places())
        _raised.setdefault(run_id, refused or exc)
        if refused is not None:
            raise _failure(refused) from exc
        raise


def _failure(exc: GhtraderError) -> dg.Failure:
    return dg.Failure(
        description=f"{exc.message}\n{exc.hint}".strip(),
        metadata={"error": type(exc).__name__, "exit_code": exc.exit_code},
        allow_retries=False,
    )
