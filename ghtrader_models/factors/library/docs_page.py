"""Writes the text of ``docs/reference/factors.md`` (the language and every set) from the code alone.

``make docs`` writes the file; a test holds page and code equal.
"""

from __future__ import annotations

import inspect

from ghtrader_models.factors.language import sources
from ghtrader_models.factors.language.expressions import EXPRESSIONS, Expression, signature
from ghtrader_models.factors.language.parser import NAMES
from ghtrader_models.factors.library.factor_definition import PAPERS
from ghtrader_models.factors.library.sets import GROUPS, TITLES, Factor, factors_of, get_factor_set

_HEAD = """\
# Factors

Generated from the code by `make docs`; a test holds page and code equal.

A factor is an expression over order-book ticks, computed causally: it sees the present and earlier ticks of
its trading day. Prices are in price ticks of the contract, volumes in lots. Each day starts cold. Batch and live
run the same compiled step and agree to the last bit, and every factor has the same bits in any set.

Who rebuilds a factor needs two more facts. Every price is **rounded to whole price ticks** as it is read (price / price
tick, to the nearest whole number, halves to the even one), so that equal prices are equal whatever their last bits.
Turnover is divided once, by **price tick x multiplier** (that product is formed first), in float64 and without
rounding; so the average price of a tick's lots, and with it the inferred side of trades, lies between whole ticks.

```
ghtrader factors list --group refill       # what there is
ghtrader factors show kyle_lambda_100      # what one says
ghtrader factors explain kyle_lambda_100   # how it is computed, step by step
```

```python
bounds = calendar.sessions(get_variety('cu'), day)     # of the trading day, for the factors of the group time
engine = FactorEngine(get_factor_set('core'), 10.0, 5, bounds)   # price tick, multiplier
day = engine.batch(datetime_ns, values)                # int64[n], float64[27, n] -> float32[n, F]
engine.reset(bounds)                                   # the next trading day
now = engine.update(datetime_ns[0], values[:, 0])      # float32[F], the engine's own buffer
```

NaN means not known: before a window is full, while a value in it is not finite, and where a level it reads is absent.
Nothing is ever subtracted from a window (it is merged from shorter ones that touch), so a level shift, an outlier or
a gap leaves nothing behind once it is out of it. A window is a number of ticks, or wall-clock time: `50`, `'2m'`.
Units follow from the expressions. **Warm** is the tick that has the first value where everything is known from the
first tick on (time at two ticks a second).
A factor with **depth** reads beyond the first level and is left out on one-level recordings.

Whether a factor foretells anything is another question, and one of data: `ghtrader factors evaluate`."""


def to_markdown() -> str:
    """The page."""
    lines = [_HEAD, "", "## Sets", "", "| set | factors | with depth | warm | for |", "|---|---|---|---|---|"]
    for name, title in TITLES.items():
        factors = factors_of(name)
        deep = sum(factor.levels > 1 for factor in factors)
        warm = get_factor_set(name).warm_up_ticks
        lines.append(f"| `{name}` | {len(factors)} | {deep} | {warm} | {title} |")
    lines += ["", f"`lean` is {', '.join(f'`{factor.name}`' for factor in factors_of('lean'))}."]
    every = {factor.name: factor for name in TITLES for factor in factors_of(name)}.values()
    for group, meaning in GROUPS.items():
        lines += ["", f"## {group.capitalize()}", "", meaning, ""]
        lines += ["| factor | meaning | expression | unit | depth | warm | paper |", "|---|---|---|---|---|---|---|"]
        lines += [_factor_row(factor) for factor in every if factor.group == group]
    for title, is_source in (("Sources", True), ("Operators", False)):
        lines += ["", f"## {title}", "", "| written | meaning |", "|---|---|"]
        for name, cls in sorted(NAMES.items()):
            if issubclass(cls, sources.Source) == is_source:
                lines.append(f"| `{signature(cls)}` | {_one_line(EXPRESSIONS[name])} |")
    lines += ["", "## Papers", "", *(f"- {key}: {reference}" for key, reference in PAPERS.items())]
    return "\n".join(lines) + "\n"


def _factor_row(factor: Factor) -> str:
    cells = (
        f"`{factor.name}`",
        factor.doc,
        f"`{factor.expression}`",
        factor.unit,
        f"{factor.levels}" if factor.levels > 1 else "",
        str(factor.warm_up),
        factor.paper,
    )
    return f"| {' | '.join(cells)} |"


def _one_line(cls: type[Expression]) -> str:
    text = " ".join((inspect.getdoc(cls) or "").split())
    return text.replace("``", "`").replace("|", "\\|")
