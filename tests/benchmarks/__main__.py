"""Runs every benchmark, prints one table and writes var/bench/results.json: `make bench`.

`python -m tests.benchmarks factors tick_to_target` runs these alone; what was measured of others stays in the file.

A benchmark is a module `bench_*.py` here with `run() -> {name: {value, unit, peer, peer_value, ratio, target, met}}`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from ghtrader.output import table
from ghtrader_base.files import atomic_write_json, read_json

OUT = Path("var/bench/results.json")


def main() -> int:
    """Run them all; the exit code says whether they ran, not whether every target is met."""
    import tests.benchmarks as here

    known = [found.name for found in pkgutil.iter_modules(here.__path__) if found.name.startswith("bench_")]
    wanted = [f"bench_{name.removeprefix('bench_')}" for name in sys.argv[1:]]
    if unknown := sorted(set(wanted) - set(known)):
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    results: dict[str, dict] = {}
    for name in wanted or known:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results |= importlib.import_module(f"tests.benchmarks.{name}").run()
    earlier = read_json(OUT) if wanted and OUT.exists() else {}
    atomic_write_json(OUT, earlier | results)
    columns = ["name", "value", "unit", "peer", "peer_value", "ratio", "target", "met"]
    print(table([{"name": name, **result} for name, result in results.items()], columns))
    print(f"written to {OUT}; ratios are of one run, on this machine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
