"""Lists the parts of `make verify`: what each runs, and the minutes it may take on two cores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MINUTES = 90
"""For all parts together but those that run only by their name."""


@dataclass(frozen=True)
class Part:
    """A named part.

    Attributes
    ----------
    minutes : float
        Its share of `MINUTES`; three times as much ends it.
    commands : sequence of sequence of str
        Run one after the other from the root of the repository, programs of the virtual environment first.
    environment : dict
        Variables it has besides those of the caller.
    named : bool
        Whether it runs only where it is named; its minutes are then its own, not a share.
    """

    minutes: float
    commands: Sequence[Sequence[str]]
    environment: dict[str, str] = field(default_factory=dict)
    named: bool = False


def pytest(*arguments: str, jobs: int = 2) -> list[str]:
    """A run of whole test files; cases of one file are spread over `jobs` processes."""
    spread = ["-n", str(jobs), "--dist", "load"] if jobs > 1 else ["-n", "0"]
    return ["python", "-m", "pytest", *spread, "--durations=5", "-o", "faulthandler_timeout=3300", *arguments]


def verify(name: str, jobs: int = 2) -> list[str]:
    """A run of `tests/verify/test_<name>.py`."""
    return pytest(f"tests/verify/test_{name}.py", jobs=jobs)


TESTED = ["tests/integration", "tests/unit"]
"""What `make test` runs."""

DEMOS = ["tests/acceptance/test_demo.py", "tests/acceptance/test_after_the_demo.py", "tests/verify/test_demos.py"]
"""Share the default demo."""

PROPERTIES = [
    "tests/unit/runtime/accounts/test_order_ledger.py",
    *(
        f"tests/unit/models/{name}.py"
        for name in (
            "factors/test_engine", "labels/test_labels", "inference/test_predictors", "evaluation/test_evaluation",
            "datasets/test_windows", "datasets/test_build_days", "research/test_scores", "test_policy",
            "simulation/test_identities",
        )
    ),
]  # fmt: skip
"""Property tests that try a part of their examples in `make test`."""

PARTS: dict[str, Part] = {
    "lint": Part(1, [["ruff", "check", "."], ["mypy"], ["lint-imports"]]),
    "coverage": Part(
        10,
        [
            ["rm", "-rf", ".cache/coverage"],
            ["mkdir", "-p", ".cache/coverage"],
            ["coverage", "run", "-m", "pytest", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", *TESTED],
            ["coverage", "combine", "-q"],
            ["coverage", "report"],
        ],
    ),
    # Demos measure: one at a time.
    "demos": Part(12, [pytest(*DEMOS, jobs=1), verify("demo_service", jobs=1)]),
    "lines": Part(1, [pytest("tests/acceptance/test_links_shown.py", "tests/acceptance/test_second_home.py")]),
    "servers": Part(
        3,
        [
            verify("stopped_commands"),
            verify("dagster_ui", jobs=1),
            verify("closed_listeners", jobs=1),
            verify("private_home", jobs=1),
        ],
    ),
    "fresh-clone": Part(9, [verify("fresh_clone", jobs=1)]),
    "interrupts": Part(
        6,
        [
            verify("download_kills"), verify("main_l5_kills"),
            verify("registry", jobs=1), verify("training_processes", jobs=1),
        ],
    ),
    "faults": Part(2, [verify("download_faults")]),
    "disk": Part(3, [verify("full_disk")]),
    "corruption": Part(1, [pytest("tests/unit/market/audit/test_audit.py"), verify("corruptions_elsewhere")]),
    "sql": Part(1, [verify("hostile_sql")]),
    "memory": Part(1, [verify("memory", jobs=1)]),
    "questdb-kills": Part(3, [verify("questdb_kills")]),
    "factors": Part(1, [verify("factors_million", jobs=1)]),
    "datasets": Part(
        2, [verify("datasets"), verify("sweep", jobs=1), pytest("tests/unit/models/test_reproduction.py", jobs=1)]
    ),
    "worlds": Part(2, [verify("known_worlds"), verify("fitted_market", jobs=1)]),
    "ladder": Part(
        90,
        [
            verify("families", jobs=1),
            verify("ladder", jobs=1),
            verify("carried_state", jobs=1),
            pytest("tests/unit/models/families/test_auxiliary_heads.py", jobs=1),
        ],
        named=True,
    ),
    "fuzz": Part(1, [pytest("tests/integration/runtime/test_fuzz.py", jobs=1)], {"FUZZ_MESSAGES": "1000000"}),
    "simulation": Part(
        1, [verify("simulation"), verify("request_flood", jobs=1), verify("carried_position"), verify("random_days")]
    ),
    # Installs an environment of 740 MB, so it runs where it is named.
    "hftbacktest": Part(5, [verify("hftbacktest", jobs=1)], named=True),
    "mutants": Part(3, [verify("mutants")]),
    "chaos": Part(
        12, [verify("chaos"), verify("chaos_kinds"), ["python", "-m", "tests.chaos", "--faults", "--jobs", "2"]]
    ),
    "properties": Part(1, [pytest(*PROPERTIES)], {"HYPOTHESIS_PROFILE": "verify"}),
    "clock": Part(10, [["python", "-m", "tests.verify.shifted_clock"], verify("daily_update_evenings", jobs=1)]),
    "week": Part(4, [verify("week_of_evenings", jobs=1)]),
}
