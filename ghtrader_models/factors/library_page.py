"""The page ``docs/factors.md``: the language and every set, from the code alone.

Run as ``python -m ghtrader_models.factors.library_page > docs/factors.md``; a test holds page and code equal.
"""

from __future__ import annotations

import inspect

from ghtrader_models.factors import sources
from ghtrader_models.factors.expressions import EXPRESSIONS, Expression, signature
from ghtrader_models.factors.library import TITLES, factors_of, get_factor_set
from ghtrader_models.factors.parser import NAMES

_HEAD = """\
# Factors

Made from the code by `python -m ghtrader_models.factors.library_page > docs/factors.md`; a test holds them equal.

A factor is an expression over order-book ticks, computed causally: it sees the present and earlier ticks of
its trading day. Prices are in price ticks of the contract, volumes in lots. NaN means not known: before its
window is full of finite values, where a level it reads is absent, and for a whole window after such a value.
Each day starts cold. Batch and live run the same compiled step and agree to the last bit.

```python
engine = FactorEngine(get_factor_set('lean'), price_tick=10.0, multiplier=5)
day = engine.batch(datetime_ns, values)        # int64[n], float64[27, n] -> float32[n, F]
engine.reset()                                 # the next trading day
now = engine.update(datetime_ns[0], values[:, 0])  # float32[F], the engine's own buffer
```

A window is kept as the sums from each of its places to the end of the block before, and the sum of the block
being filled. Nothing is subtracted, so nothing is left behind by a level shift, an outlier or a gap, and a
saved state goes on with the same bits. Every factor has the same bits in any set. Times on two cores, and
against polars: `python tests/benchmarks/bench_factors.py`."""


def to_markdown() -> str:
    """The page."""
    lines = [_HEAD]
    for name, title in TITLES.items():
        factors = factors_of(name)
        deep = sum(factor.levels > 1 for factor in factors)
        lines += [
            "",
            f"## Set `{name}`: {title}",
            "",
            f"{len(factors)} factors; {deep} need depth and are left out on one-level recordings. Warm after "
            f"{get_factor_set(name).warm_up_ticks} ticks.",
            "",
            "| factor | expression | unit | levels | warm | meaning | paper |",
            "|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| `{factor.name}` | `{factor.expression}` | {factor.unit} | {factor.levels} | {factor.warm_up} "
            f"| {factor.doc} | {factor.paper} |"
            for factor in factors
        ]
    for title, is_source in (("Sources", True), ("Operators", False)):
        lines += ["", f"## {title}", "", "| written | meaning |", "|---|---|"]
        for name, cls in sorted(NAMES.items()):
            if issubclass(cls, sources.Source) == is_source:
                lines.append(f"| `{signature(cls)}` | {_one_line(EXPRESSIONS[name])} |")
    return "\n".join(lines) + "\n"


def _one_line(cls: type[Expression]) -> str:
    text = " ".join((inspect.getdoc(cls) or "").split())
    return text.replace("``", "`").replace("|", "\\|")


if __name__ == "__main__":
    print(to_markdown(), end="")
