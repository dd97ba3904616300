"""Checks QuestDB before a run writes: its schema, and the pending writes of earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ghtrader_base.settings import Settings

_TO_LAKE_ALONE = ("features", "labels")
_MIRRORED = frozenset(
    {"trading_calendar", "contracts", "daily_bars", "raw_ticks", "main_schedule", "main_l5", *_TO_LAKE_ALONE}
)
"""Assets whose days go to QuestDB, and those that only make way for them."""
_PAID_AT_ONCE = 50
"""Days written to QuestDB before a run starts; more are `ghtrader db serve-sync`'s."""


def writes_questdb(settings: Settings, assets: Iterable[str]) -> bool:
    """Whether a run over these assets needs QuestDB."""
    if not settings.questdb_host:
        return False
    wanted = _MIRRORED if settings.questdb_features else _MIRRORED.difference(_TO_LAKE_ALONE)
    return not wanted.isdisjoint(assets)


def prepare_questdb(settings: Settings, say: Callable[[str], object]) -> None:
    """Check QuestDB's schema and do pending writes; a server that is down is reported, and the lake goes on.

    Raises
    ------
    SchemaError
        A table or column is not what it must be: names it, and the command that mends it.
    UnreachableError
        It is down and GHTRADER_PIPELINE_ENFORCE_HEALTH is set.
    """
    if not settings.questdb_host:
        return
    from ghtrader_market.stores.mirror.mirrored_lake import MirroredLake, pay

    lake = MirroredLake(settings)
    if not lake.check():
        say(
            f"no QuestDB at {lake.questdb.client.http}: the lake goes on, what QuestDB misses is noted "
            "(ghtrader status) and written by `ghtrader db serve-sync`"
        )
        return
    if left := pay(lake, lake.questdb, lake.debts, _PAID_AT_ONCE, say):
        say(f"QuestDB lacks {len(left)} days: `ghtrader status` lists them, `ghtrader db serve-sync` writes them")
