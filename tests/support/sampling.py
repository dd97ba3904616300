"""Chooses a seeded sample of the test matrices: pytest's option `--sample SEED` and the marker `sample`.

A matrix is a parametrized test, or several tests that name the same matrix. `@pytest.mark.sample(2)` says that a sample
takes two cases of it, `@pytest.mark.sample(1, of="download faults")` that it takes one of all tests marked with that
name. With `--sample SEED` the cases are drawn by SEED and the name of the matrix; everything unmarked is left out.
Without the option the marker changes nothing.
"""

from __future__ import annotations

import random

import pytest


def matrix_of(item: pytest.Item) -> tuple[str, int] | None:
    """Name of the matrix a test belongs to, and how many cases a sample takes; None where it is unmarked.

    Raises
    ------
    pytest.UsageError
        The marker asks for less than one case.
    """
    marker = item.get_closest_marker("sample")
    if marker is None:
        return None
    count = marker.args[0] if marker.args else 1
    if not isinstance(count, int) or count < 1:
        raise pytest.UsageError(f"{item.nodeid}: sample({count!r}) takes no case")
    return str(marker.kwargs.get("of", item.nodeid.partition("[")[0])), count


def choose(matrices: dict[str, tuple[int, list[str]]], seed: str) -> set[str]:
    """Node ids of a sample.

    Parameters
    ----------
    matrices : dict
        Name of a matrix -> how many cases to take, and the node ids of all its cases.
    seed : str
        The same seed takes the same cases, whatever other matrices there are.
    """
    chosen: set[str] = set()
    for name, (count, cases) in matrices.items():
        chosen.update(random.Random(f"{seed}:{name}").sample(sorted(cases), min(count, len(cases))))
    return chosen


def add_option(parser: pytest.Parser) -> None:
    """Add `--sample`."""
    parser.addoption("--sample", metavar="SEED", help="run a sample of the matrices alone, drawn by this seed")


def keep_sample(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the sample in `items`; tell pytest what was left out."""
    seed = config.getoption("--sample")
    if seed is None:
        return
    matrices: dict[str, tuple[int, list[str]]] = {}
    for item in items:
        if (matrix := matrix_of(item)) is not None:
            matrices.setdefault(matrix[0], (matrix[1], []))[1].append(item.nodeid)
    chosen = choose(matrices, seed)
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
    items[:] = [item for item in items if item.nodeid in chosen]


@pytest.fixture(scope="session")
def sample_seed(request: pytest.FixtureRequest) -> str | None:
    """Seed of the sample; None where everything runs. For a test that draws its own numbers."""
    return request.config.getoption("--sample")
