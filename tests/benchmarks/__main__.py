"""`make bench`: run every benchmark, print one table, write var/bench/results.json.

A benchmark is a module `bench_*.py` here with `run() -> {name: {value, unit, peer, peer_value, ratio, target, met}}`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from ghtrader.console_io import table
from ghtrader_base.files import atomic_write_json

OUT = Path("var/bench/results.json")


def main() -> int:
    """Run them all; the exit code says whether they ran, not whether every target is met."""
    import tests.benchmarks as here

    results: dict[str, dict] = {}
    for module in pkgutil.iter_modules(here.__path__):
        if module.name.startswith("bench_"):
            print(f"{module.name} ...", file=sys.stderr, flush=True)
            results |= importlib.import_module(f"tests.benchmarks.{module.name}").run()
    atomic_write_json(OUT, results)
    columns = ["name", "value", "unit", "peer", "peer_value", "ratio", "target", "met"]
    print(table([{"name": name, **result} for name, result in results.items()], columns))
    print(f"written to {OUT}; ratios are of one run, on this machine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
