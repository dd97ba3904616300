"""The tick that is said to have a factor's first value has it, for every factor of the library and every operator.

The stream suits them: two ticks a second, all that a source reads is known from the first tick on, and every tick
moves the mid and trades; what takes logarithms or roots of it finds them at its first values.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_market.reference.tick_schema import COLUMN_INDEX, VALUE_COLUMNS
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.factors.factor_set import FactorSet
from ghtrader_models.factors.language.expressions import Expression
from ghtrader_models.factors.language.parser import NAMES, parse
from ghtrader_models.factors.language.sources import Source
from ghtrader_models.factors.library.sets import get_factor_set

ROWS, TICK, MULTIPLIER = 1500, 10.0, 5.0


@pytest.fixture(scope="module")
def stream() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mid = 7000 + np.cumsum(rng.choice([-1, 1], ROWS))
    traded = rng.integers(1, 50, ROWS)
    last = (mid + rng.choice([-1, 1], ROWS)) * TICK
    values = np.zeros((len(VALUE_COLUMNS), ROWS))
    columns = {
        "last_price": last, "average": mid * TICK, "highest": np.maximum.accumulate(last),
        "lowest": np.minimum.accumulate(last), "open_interest": 100_000 + rng.integers(0, 100, ROWS),
        "volume": np.cumsum(traded), "amount": np.cumsum(traded * last) * MULTIPLIER,
    }  # fmt: skip
    for level in range(1, 6):
        for side, sign in (("bid", -1), ("ask", 1)):
            columns[f"{side}_price{level}"] = (mid + sign * level) * TICK
            columns[f"{side}_volume{level}"] = rng.integers(1, 60, ROWS)
    for name, column in columns.items():
        values[COLUMN_INDEX[name]] = column
    return 1_736_000_000 * 10**9 + np.arange(ROWS) * 500_000_000, values


def wrong(factors: dict[str, Expression], stream: tuple[np.ndarray, np.ndarray]) -> list[tuple[str, int, int]]:
    """Factors whose first value is at another tick than they say: text, said, found (0: none)."""
    times, values = stream
    bounds = [(int(times[0]), int(times[-1]) + 1)]
    known = np.isfinite(FactorEngine(FactorSet("s", factors), TICK, MULTIPLIER, bounds).batch(times, values))
    found = np.where(known.any(axis=0), known.argmax(axis=0) + 1, 0)
    rows = zip(factors.values(), found, strict=True)
    return [(str(factor), factor.warm_up(), int(first)) for factor, first in rows if factor.warm_up() != first]


def test_every_factor_of_the_library_says_when_it_begins(stream) -> None:
    core = get_factor_set("core")
    assert wrong(dict(core.expressions), stream) == []
    said = {name: core.expressions[name].warm_up() for name in core.names}
    assert (said["ofi_1_sum_2m"], said["large_trade_fresh"], said["large_trade_side_decay_50"]) == (241, 1, 101)


def written(name: str, operator: type[Expression], x: str, window: str) -> str:
    """The operator over `x`, and what it takes besides."""
    by_kind = {"Window": window, "float": "0.5"}
    arguments = []
    for field in fields(operator):
        kind, sized = str(field.type), field.name in ("window", "span", "lag")
        operand = x if not arguments else "Ofi(1)"
        arguments.append(operand if kind == "Expression" else by_kind.get(kind, "3" if sized else "1"))
    return f"{name}({', '.join(arguments)})"


def test_every_operator_says_when_it_begins(stream) -> None:
    texts = [
        written(name, cls, x, window)
        for name, cls in NAMES.items() if not issubclass(cls, Source)
        for x in ("Spread()", "Ofi(1)", "Mul(MidReturn(1), Lag(MidReturn(1), 1))", "Mean(VolumeDelta(), '2s')")
        for window in ("3", "20", "'500ms'", "'750ms'", "'1s'", "'10s'")
    ]  # fmt: skip
    factors = {}
    for text in dict.fromkeys(texts):
        try:
            factors[f"f{len(factors)}"] = parse(text)
        except UsageError:
            continue  # it takes no such window
    assert len(factors) > 500 and {type(factor).__name__ for factor in factors.values()} >= {"Ema", "Std", "Decay"}
    keys = list(factors)
    parts = [{key: factors[key] for key in keys[start : start + 250]} for start in range(0, len(keys), 250)]
    assert [one for part in parts for one in wrong(part, stream)] == []
