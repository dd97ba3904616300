"""No run config can name an environment variable, whatever the job, the field or the way a run begins."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster._config.config_type import ConfigTypeKind

from ghtrader_assets.definitions import defs
from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.runs.execute import run_job

pytestmark = pytest.mark.clock
CANARY = "canary-in-the-environment"
NAMED = {"env": "TQSDK_PASSWORD"}


def fields(config_type: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every place of a config, and its type."""
    yield path, config_type
    for name, field in (getattr(config_type, "fields", None) or {}).items():
        yield from fields(field.config_type, (*path, name))
    for part in (*(config_type.type_params or ()), *filter(None, [getattr(config_type, "inner_type", None)])):
        yield from fields(part, (*path, "*"))


def test_no_field_of_any_job_takes_the_name_of_a_variable():
    jobs = defs.get_repository_def().get_all_jobs()
    assert len(jobs) >= 8
    for job in jobs:
        places = dict(fields(job.run_config_schema.run_config_schema_type))
        assert len(places) > 10, job.name
        for place, found in places.items():
            assert found.kind != ConfigTypeKind.SCALAR_UNION, (job.name, place)
            assert "env" not in (getattr(found, "fields", None) or {}), (job.name, place)


REFUSED = [
    {"ops": {"read_recordings": {"config": {"paths": [NAMED]}}}},
    {"ops": {"read_recordings": {"config": {"paths": ["x"], "symbol": NAMED}}}},
    {"ops": {"read_recordings": {"config": {"paths": ["x"]}}}, "resources": {"home": {"config": {"home": NAMED}}}},
]


def test_a_run_that_names_a_variable_is_refused_before_it_exists(settings, monkeypatch):
    monkeypatch.setenv("TQSDK_PASSWORD", CANARY)
    for config in REFUSED:
        with pytest.raises(dg.DagsterInvalidConfigError) as refused:
            run_job(settings, "import_recordings", run_config=config)
        assert CANARY not in str(refused.value)
    with open_instance(settings) as instance:
        assert instance.get_runs_count() == 0
    written = b"".join(path.read_bytes() for path in settings.home.rglob("*") if path.is_file())
    assert CANARY.encode() not in written
