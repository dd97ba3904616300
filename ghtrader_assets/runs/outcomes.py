"""Keeps one bad item from stopping the others of a run: what can be done is done, what cannot is named at the end.

An item is a variety, a day, a horizon: whatever a body goes through one by one. Which items there are, and what is done
with each, is the body's business.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from ghtrader_base.disk_errors import disk_error
from ghtrader_base.errors import FailedError, GhtraderError, UnwritableError
from ghtrader_base.usual_places import usual_places

_NAMED = 5


class Outcomes:
    """What became of the items of one run.

    Parameters
    ----------
    context
        Of the asset's body.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._made: list[tuple[str, str, Mapping[str, Any]]] = []
        self.failed: dict[str, GhtraderError] = {}
        """Item -> why it could not be done."""

    @contextlib.contextmanager
    def item(self, name: str) -> Iterator[None]:
        """Do one item; an error of it is noted and the body goes on. Ctrl-C and a cancelled run pass through."""
        try:
            yield
        except Exception as exc:  # whatever it is, a fault of one item is that item's alone
            self.failed[name] = as_ours(exc)

    def made(self, asset: str, partition: str, metadata: Mapping[str, Any]) -> None:
        """A partition is there now, and what is to be told of it."""
        self._made.append((asset, partition, metadata))

    def conclude(self) -> None:
        """Tell Dagster what was made, and raise where an item failed.

        The result of an op speaks for every partition of its run; where some failed, each of the others is reported for
        itself.

        Raises
        ------
        GhtraderError
            All failed items named; see `together`.
        """
        for asset, partition, metadata in self._made:
            if self.failed:
                self._context.log_event(dg.AssetMaterialization(asset, partition=partition, metadata=dict(metadata)))
            else:
                self._context.add_asset_metadata(metadata, asset_key=asset, partition_key=partition)
        if self.failed:
            raise together(self.failed, len(self._made))


def as_ours(exc: Exception) -> GhtraderError:
    """An error as one of ours, which a person can read."""
    if isinstance(exc, GhtraderError):
        return exc
    if (refused := disk_error(exc, *usual_places())) is not None:
        return refused
    error = FailedError(f"{type(exc).__name__}: {exc}", "run it again with --debug for the traceback")
    error.__cause__ = exc
    return error


def of_item(name: str, error: GhtraderError) -> GhtraderError:
    """The same error with the item it is of in its message, where it does not say by itself."""
    named = type(error)(f"{name}: {error.message}", error.hint)
    named.__cause__ = error
    return named


def together(failed: Mapping[str, GhtraderError], done: int = 0) -> GhtraderError:
    """Several errors as one: the very one where it is alone, else of their common class, each item named.

    What the disk refused comes before what else went wrong: that is what has to be mended first.

    Parameters
    ----------
    failed : mapping of str to GhtraderError
        Item -> why; at least one.
    done : int
        How many others could be done.
    """
    if len(failed) == 1:
        return next(iter(failed.values()))
    refused = [error for error in failed.values() if isinstance(error, UnwritableError)]
    kinds = {type(error) for error in refused[:1] or failed.values()}
    named = "; ".join(f"{item}: {error.message}" for item, error in list(failed.items())[:_NAMED])
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    others = f" ({done} others are done)" if done else ""
    kind = kinds.pop() if len(kinds) == 1 else FailedError
    return kind(f"{len(failed)} failed{others}: {named}{more}", [*refused, *failed.values()][0].hint)
