"""Defines a scenario as a list of small steps, each with its own entropy, so that any of them can be left out."""

from __future__ import annotations

import random
from typing import NamedTuple

WEIGHTS = {
    "tick": 340, "target": 200, "timer": 90, "fill": 90, "repeat": 24, "intruder": 8, "order": 40, "cancel": 20,
    "expire": 8, "kill": 5, "reset": 9, "state": 9, "active": 9, "down": 4, "up": 9, "data-down": 3, "data-up": 6,
    "silence": 4, "crash": 9, "leave": 4, "stranger": 14, "stranger-fill": 14, "money": 16, "day": 3, "ask-fails": 3,
    "partial": 4, "rejects": 3, "break": 2, "old-tick": 6,
    "nan-tick": 6, "sync": 20, "pause": 6, "odd-order": 10, "zombie": 8,
}  # fmt: skip
"""How often each kind of step comes."""
_KINDS, _CUMULATED = list(WEIGHTS), [sum(list(WEIGHTS.values())[: i + 1]) for i in range(len(WEIGHTS))]
QUIET = {"tick", "target", "timer", "fill", "sync", "order", "cancel", "repeat"}


class Step(NamedTuple):
    """Something happens `wait_ms` after the last step; `dice` is its entropy (24 bits)."""

    kind: str
    wait_ms: int
    dice: int


def script_of(seed: int, length: int = 260) -> list[Step]:
    """The steps of a seed."""
    rng = random.Random(seed)
    kinds = rng.choices(_KINDS, cum_weights=_CUMULATED, k=length)
    bits = rng.getrandbits

    def wait_ms() -> int:
        """`randint(1, 120)`, the same number for less."""
        number = bits(7)
        while number >= 120:
            number = bits(7)
        return number + 1

    return [Step(kind, wait_ms(), bits(24)) for kind in kinds]
