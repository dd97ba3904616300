"""Defines a failed judgement."""

from __future__ import annotations


class Broken(AssertionError):
    """An invariant does not hold; `name` says which."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


def require(holds: bool, name: str, text: object = "") -> None:
    """Raise `Broken` where an invariant does not hold."""
    if not holds:
        raise Broken(name, str(text))
