"""Says where ticks come from: a real service, a simulated exchange, a file, or nobody knows; and which of them may mix.

How a service is asked for it is `sources.tqsdk.service_origin`'s business; where a day keeps it, `stores.day_details`'.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

import msgspec

from ghtrader_base.errors import RefusedError
from ghtrader_base.plain_str_enum import PlainStrEnum

_NAMED = 4
"""Origins that a sentence about several of them names."""


class OriginKind(PlainStrEnum):
    """What kind of place ticks come from."""

    UNKNOWN = "unknown"
    SERVICE = "service"
    SIMULATED = "simulated"
    FILE = "imported file"


@dataclass(frozen=True, kw_only=True)
class TickOrigin:
    """Where ticks come from.

    Attributes
    ----------
    kind : OriginKind
        `SERVICE` is a real one that is known by its address; `UNKNOWN` also a service that does not say what it is.
    service : str, optional
        Who served them.
    world : str, optional
        What a simulated exchange played.
    seed : int, optional
        Of its random numbers.
    scenario : str, optional
        Hash of what else decides the prices it printed: strength, pace, the fitted market.
    layout : str, optional
        Of an imported file.
    """

    kind: OriginKind
    service: str | None = None
    world: str | None = None
    seed: int | None = None
    scenario: str | None = None
    layout: str | None = None

    @property
    def words(self) -> str:
        """For people: "simulated: world driver, seed 1"."""
        if self.kind == OriginKind.SIMULATED:
            return f"simulated: world {self.world}, seed {self.seed}"
        if self.kind == OriginKind.FILE:
            return f"imported file ({self.layout})"
        if self.kind == OriginKind.SERVICE:
            return f"service {self.service}"
        return f"source unknown ({self.service})" if self.service else "source unknown"

    @property
    def market(self) -> tuple[object, ...]:
        """Equal for ticks that may stand in one series: of one real service, of one simulated market, of files."""
        if self.kind == OriginKind.SIMULATED:
            return self.kind, self.world, self.seed, self.scenario
        return (self.kind,) if self.kind == OriginKind.FILE else (self.kind, self.service)

    @property
    def if_known(self) -> Self | None:
        """As a manifest says it: nothing where nothing is known."""
        return None if self == UNKNOWN else self

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, without what is not known."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """The inverse of `to_dict` from JSON text; `msgspec.DecodeError` or `ValidationError` where it is none."""
        return msgspec.json.decode(document, type=cls)


UNKNOWN = TickOrigin(kind=OriginKind.UNKNOWN)
"""Of days that say nothing of it, such as an older version's: never taken for real ones."""


def origins_of(days: Iterable[TickOrigin | None]) -> tuple[TickOrigin, ...]:
    """The different markets among some days, one origin of each, the most frequent first; None counts as unknown."""
    counted: dict[tuple[object, ...], list[TickOrigin]] = {}
    for origin in days:
        found = origin or UNKNOWN
        counted.setdefault(found.market, []).append(found)
    return tuple(each[0] for each in sorted(counted.values(), key=len, reverse=True))


def words_of(origins: Iterable[TickOrigin]) -> str:
    """Some origins in a line."""
    return "; ".join(origin.words for origin in origins)


def require_one_origin(series: str, days: Mapping[date, TickOrigin | None]) -> None:
    """Refuse days of different markets in one series.

    Parameters
    ----------
    series : str
        As the error calls it.
    days : mapping
        Trading day -> where its ticks come from.

    Raises
    ------
    RefusedError
        Naming each origin, its days, and what to do.
    """
    markets = origins_of(days.values())
    if len(markets) < 2:
        return
    named = []
    for market in markets[:_NAMED]:
        its = sorted(day for day, origin in days.items() if (origin or UNKNOWN).market == market.market)
        span = str(its[0]) if len(its) == 1 else f"{len(its)} days from {its[0]} to {its[-1]}"
        named.append(f"{market.words} ({span})")
    more = f", and {len(markets) - _NAMED} more" if len(markets) > _NAMED else ""
    raise RefusedError(
        f"days of {series} come from {len(markets)} different markets: {'; '.join(named)}{more}",
        "keep them apart with --start and --end, or in homes of their own; --mix (GHTRADER_MIX_ORIGINS) takes them all",
    )
