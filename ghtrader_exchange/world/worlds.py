"""Defines the worlds a simulated exchange can play, as numbers: how the efficient price moves and how orders arrive.

`none` is a world in which nobody can predict: the half-tick mid is an exogenous symmetric walk plus half a tick, and
everything else depends on that walk's past and on independent noise. `driver` adds one hidden AR(1) driver that skews
the sign of the price's jumps (by `strength`) and leaves marks in the order flow (which do not depend on `strength`).
`sequence` hides its truth in the order of trades: blocks of snapshots in which successive buys and sells repeat or
alternate, and which of the two says where the price drifts in the block after. No single snapshot tells.
A fourth world, fitted to a recorded day, is in the folder `realistic`.
How the numbers are used is in `order_book_kernel`. Rates are per engine second; a snapshot is half an engine second.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from ghtrader_base.errors import ConfigError

DRIVER_SKEW = 0.45
"""Skew of the jump sign a unit of strength at the driver's full deflection."""
SEQUENCE_SKEW = 0.35
"""Skew of the jump sign a unit of strength in `sequence`; the sign is that of the block before."""
MAX_STRENGTH = 2.2
"""Above it the chance of an upward jump would leave [0, 1]."""


class PathParameters(NamedTuple):
    """The efficient price E and the driver behind it: a compound Poisson walk on the tick grid.

    jump_rate : jumps a second. two_ticks, three_ticks : chance of a jump that wide (else one tick).
    driver_memory : snapshots after which the driver has lost most of its deflection; phi = 1 - 1 / driver_memory.
    skew : P(up) = (1 + skew * tanh(driver)) / 2.
    block : snapshots a block, 0 for none. With blocks the driver is no AR(1) but a sign drawn for each block, which
        the orders of the block spell and which steers the next one: P(up) = (1 + skew * sign of the block before) / 2.
    """

    jump_rate: float
    two_ticks: float
    three_ticks: float
    driver_memory: float
    skew: float
    block: int = 0


class FlowParameters(NamedTuple):
    """Order flow around the efficient price, at activity 1.

    sweep : chance that a jump is a market order that clears the queue (else the queue is cancelled).
    limit_rate, limit_decay, limit_floor : limit orders a second, a side, at level k: rate * exp(-decay * k) + floor.
    cancel_rate : cancels a second an order. market_rate : noise market orders a second.
    metaorder_tail : Pareto exponent of the number of market orders with one sign (0: signs are independent).
    widen_rate, restore_rate : how often both bests are pulled, and how soon they are back.
    fresh_depth : mean orders on a queue that has just become the best.
    limit_mark, market_mark, depth_mark : how strongly the driver's tanh shows in the side of limit orders, in the
        sign of market orders, in the depth of fresh queues.
    open_fraction : chance that a fill opens interest on both sides; the same chance that it closes.
    pattern_chance : chance a snapshot of a pattern order, whose sign is the previous pattern order's times the block's.
    pattern_echo : chance that it really is (else it is the opposite).
    redraw : whether all the kept levels are quoted anew after a jump, so that the book remembers no direction.
    """

    sweep: float
    limit_rate: float
    limit_decay: float
    limit_floor: float
    cancel_rate: float
    market_rate: float
    metaorder_tail: float
    widen_rate: float
    restore_rate: float
    fresh_depth: float
    limit_mark: float
    market_mark: float
    depth_mark: float
    open_fraction: float
    pattern_chance: float = 0.0
    pattern_echo: float = 0.95
    redraw: bool = False


@dataclass(frozen=True)
class World:
    """A world: its name, which enters the random keys, and its numbers."""

    name: str
    path: PathParameters
    flow: FlowParameters


NONE = World(
    name="none",
    path=PathParameters(jump_rate=0.22, two_ticks=0.06, three_ticks=0.02, driver_memory=60.0, skew=0.0),
    flow=FlowParameters(
        sweep=0.6,
        limit_rate=1.4,
        limit_decay=0.25,
        limit_floor=0.5,
        cancel_rate=0.08,
        market_rate=0.9,
        metaorder_tail=1.5,
        widen_rate=0.02,
        restore_rate=0.6,
        fresh_depth=10.0,
        limit_mark=0.0,
        market_mark=0.0,
        depth_mark=0.0,
        open_fraction=0.3,
    ),
)


def driver(strength: float) -> World:
    """The world with a hidden driver; `strength` 0 to 2.2 (at 0 the marks are there and tell nothing)."""
    flow = NONE.flow._replace(
        limit_rate=2.8,
        limit_floor=1.0,
        cancel_rate=0.16,
        metaorder_tail=0.0,
        limit_mark=0.6,
        market_mark=0.6,
        depth_mark=0.6,
    )
    return World("driver", NONE.path._replace(skew=DRIVER_SKEW * strength), flow)


def sequence(strength: float) -> World:
    """The world whose truth lies in the order of trades; `strength` 0 to 2.2 (at 0 the pattern tells nothing)."""
    flow = NONE.flow._replace(market_rate=0.3, pattern_chance=0.6, redraw=True)
    return World("sequence", NONE.path._replace(skew=SEQUENCE_SKEW * strength, block=50), flow)


def get_world(name: str, strength: float) -> World:
    """The world called `name`; ConfigError for an unknown one."""
    if name == "none":
        return replace(NONE)
    if name == "driver":
        return driver(strength)
    if name == "sequence":
        return sequence(strength)
    raise ConfigError(f"scenario: unknown world {name!r}", "worlds: none, driver, sequence, realistic")
