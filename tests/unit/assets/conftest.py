"""One home with the packaged real day taken through the pipeline, shared by the tests that only look at it."""

from pathlib import Path

import pytest

from ghtrader_assets.runs import flows
from ghtrader_assets.runs.execute import RunResult, run_job
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.samples import IF2101

DAY_KEY = "2021-01-04|IF"


_POINTED = ("GHTRADER_HOME", "DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY")
"""What opening an instance points at its home."""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Opening an instance points these at its home; put them back after each test.
    for name in _POINTED:
        monkeypatch.setenv(name, "1" if name.endswith("TELEMETRY") else str(tmp_path / "unused"))


@pytest.fixture(scope="session")
def real_day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, dict[str, RunResult]]:
    """Settings of the home, and the run of each stage."""
    settings = load_settings(tmp_path_factory.mktemp("real"))
    config = {"paths": [str(IF2101)], "variety": "IF"}
    with pytest.MonkeyPatch.context() as environment:  # made before any test's own environment
        for name in _POINTED:
            environment.setenv(name, "1")
        runs = {
            "import": run_job(
                settings, "import_recordings", run_config={"ops": {"read_recordings": {"config": config}}}
            )
        }
        (runs["schedule"],) = flows.update_schedule(settings, "IF")
        (runs["main"],) = flows.build_main(settings, "IF", None, None)
        (runs["datasets"],) = flows.build_datasets(settings, "IF", None, None)
    return settings, runs
