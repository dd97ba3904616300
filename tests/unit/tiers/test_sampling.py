"""A sample of the matrices is repeatable, takes of every matrix, and leaves a whole run as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sampling import choose

MATRICES = {"a": (1, [f"a[{n}]" for n in range(50)]), "b": (3, [f"b[{n}]" for n in range(40)]), "c": (5, ["c"])}
TESTS = textwrap.dedent(
    """
    import pytest

    @pytest.mark.sample(2)
    @pytest.mark.parametrize("n", range(30))
    def test_matrix(n): pass

    @pytest.mark.sample(1, of="shared")
    @pytest.mark.parametrize("n", range(20))
    def test_one(n): pass

    @pytest.mark.sample(1, of="shared")
    def test_other(): pass

    @pytest.mark.sample
    def test_alone(sample_seed): print("seed", sample_seed)

    def test_unmarked(): pass
    """
)
CONFTEST = textwrap.dedent(
    """
    from tests.support import sampling

    sample_seed = sampling.sample_seed
    pytest_addoption = sampling.add_option
    pytest_collection_modifyitems = sampling.keep_sample
    """
)


@given(st.text(max_size=20))
@settings(max_examples=25)
def test_every_matrix_gives_as_many_cases_as_it_says(seed: str) -> None:
    chosen = choose(MATRICES, seed)
    assert [sum(case in chosen for case in cases) for _, cases in MATRICES.values()] == [1, 3, 1]
    assert chosen == choose({**MATRICES, "d": (1, ["d[0]", "d[1]"])}, seed) - {"d[0]", "d[1]"}
    assert chosen == choose({name: (n, cases[::-1]) for name, (n, cases) in MATRICES.items()}, seed)


def test_seeds_differ_and_reach_every_case() -> None:
    drawn = [choose(MATRICES, f"2026-{n}") for n in range(600)]
    assert set().union(*drawn) == {case for _, cases in MATRICES.values() for case in cases}
    assert len({frozenset(one) for one in drawn}) > 500


def collected(folder: Path, *options: str) -> list[str]:
    """Names of the tests that a run of TESTS takes."""
    (folder / "test_it.py").write_text(TESTS)
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = sample: of a matrix\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", *options, "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def test_the_option_keeps_the_sample_alone(tmp_path: Path) -> None:
    assert len(collected(tmp_path)) == 30 + 20 + 1 + 1 + 1
    found = collected(tmp_path, "--sample", "today")
    assert [sum(name.startswith(head) for name in found) for head in ("test_matrix", "test_alone")] == [2, 1]
    assert len(found) == 4, "one of the tests that share a matrix, none unmarked"


def test_a_sample_of_nothing_is_refused(request: pytest.FixtureRequest) -> None:
    from tests.support.sampling import matrix_of

    request.node.add_marker(pytest.mark.sample(0))
    with pytest.raises(pytest.UsageError, match="takes no case"):
        matrix_of(request.node)
