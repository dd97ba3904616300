"""Defines the Dagster resources that assets need: the home they work in and the source ticks come from.

A test or another installation can put its own in their place. No secret is a resource field: settings are read where
they are used, from the environment of the process that runs the asset.
"""

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from typing import Any

from ghtrader_assets.resources.home_locks import home_lock
from ghtrader_assets.resources.progress import say_or_stderr
from ghtrader_assets.run_config import RunResource
from ghtrader_base.address_passwords import hide_secrets
from ghtrader_base.errors import FailedError, GhtraderError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.inventory.stored_days import ticks_days
from ghtrader_market.reference.holiday_list import adopt_list, note_refusal
from ghtrader_market.reference.trading_calendar import TradingCalendar, load_calendar
from ghtrader_market.sources.base import TickSource
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.mirror.mirrored_lake import open_lake


class HomeResource(RunResource):
    """The home a run works in: settings, lake, calendar, locks.

    `home` empty means GHTRADER_HOME, else ./var.
    """

    home: str = ""

    @cached_property
    def settings(self) -> Settings:
        """Settings in force in this process."""
        return load_settings(self.home or None)

    @cached_property
    def lake(self) -> Lake:
        """The lake of this home; its days also go to QuestDB where one is configured."""
        return open_lake(self.settings)

    @cached_property
    def calendar(self) -> TradingCalendar:
        """Trading days: this home's refreshed list, else the bundled one."""
        return load_calendar(self.settings)

    def refresh_calendar(self, source: TickSource) -> str:
        """Take over the source's holiday list, and say in a line what came of it.

        A source that cannot be reached, or a list that is refused, leaves the list at hand in force: no error.
        """
        where = hide_secrets(self.settings.tq_chinese_holiday_url) or source.name
        try:
            change = adopt_list(self.settings, source.holidays(), where, ticks_days(self.lake))
        except FailedError as exc:
            note_refusal(self.settings, exc.message, where)
            return exc.message
        except GhtraderError as exc:
            return f"{exc.message}; the holiday list at hand reaches {self.calendar.last}"
        self.__dict__.pop("calendar", None)
        return change.words()

    def lock(
        self, names: str | Iterable[str], purpose: str, run_id: str = ""
    ) -> contextlib.AbstractContextManager[Any]:
        """Hold resources of this home (`ghtrader_base.lock_keys`), waiting as long as the settings say."""
        return home_lock(self.settings, names, purpose, run_id)


_shared: ContextVar[dict[tuple[type, Path], TickSource] | None] = ContextVar("shared sources", default=None)


@contextlib.contextmanager
def shared_clients() -> Iterator[None]:
    """Runs of this block go on with one another's clients of the source, which end with it.

    A client of TqSdk takes seconds to start; while it lives it holds one of the machine's slots, so a block is no
    longer than its downloads.
    """
    if _shared.get() is not None:
        yield
        return
    sources: dict[tuple[type, Path], TickSource] = {}
    token = _shared.set(sources)
    try:
        yield
    finally:
        _shared.reset(token)
        for source in sources.values():
            source.close()


class SourceResource(RunResource):
    """Where contracts, daily bars and ticks come from: TqSdk, against whatever server the environment names."""

    @contextlib.contextmanager
    def opened(self, settings: Settings) -> Iterator[TickSource]:
        """A source that is closed when the block ends, or the block of `shared_clients` that this one is in."""
        if (shared := _shared.get()) is not None:
            key = type(self), settings.home
            if key not in shared:
                shared[key] = self.create(settings)
            if (use_calendar := getattr(shared[key], "use_calendar", None)) is not None:
                use_calendar(load_calendar(settings))  # a run before this one may have refreshed it
            yield shared[key]
            return
        source = self.create(settings)
        try:
            yield source
        finally:
            source.close()

    def create(self, settings: Settings) -> TickSource:
        """Override this to give another source."""
        from ghtrader_market.sources.tqsdk.source import TqSdkSource

        return TqSdkSource(settings, tell=say_or_stderr)
