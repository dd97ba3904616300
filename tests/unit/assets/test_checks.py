"""Checks find what was tampered with, and pass what was not."""

import shutil
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from ghtrader_assets.checks import (
    coverage_of_day,
    labels_of_day,
    provenance_of_day,
    readiness_of_days,
    ticks_of_day,
)
from ghtrader_assets.resources.resources import HomeResource
from ghtrader_base.errors import IntegrityError

pytestmark = pytest.mark.clock

DAY = date(2021, 1, 4)
SERIES = "KQ.m@CFFEX.IF"


@pytest.fixture
def copied(real_day, tmp_path) -> HomeResource:
    """A copy of the real day's home that a test may spoil."""
    shutil.copytree(real_day[0].data, tmp_path / "home" / "data")
    return HomeResource(home=str(tmp_path / "home"))


def rewrite(home: HomeResource, dataset: str, column: str, change) -> None:
    key = "CFFEX.IF2101" if dataset == "ticks" else SERIES
    table = home.lake.read_day(dataset, key, DAY)
    index = table.column_names.index(column)
    values = change(table.column(column).to_numpy(zero_copy_only=False).copy())
    spoiled = table.set_column(index, table.schema.field(column), pa.array(values, table.schema.field(column).type))
    manifest = home.lake.manifest(dataset, key, DAY)
    home.lake.write_day(dataset, key, DAY, spoiled, source="test", details=manifest.details)


def test_a_whole_day_passes(copied):
    for check in (ticks_of_day, provenance_of_day, coverage_of_day, labels_of_day):
        wrong, figures = check(copied, "IF", DAY)
        assert wrong == [] and figures, check.__name__


def test_changed_bytes_are_found(copied):
    (path,) = copied.lake.files("ticks")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        ticks_of_day(copied, "IF", DAY)


def test_another_schedules_rows_are_found(copied):
    rewrite(copied, "main_l5", "schedule_hash", lambda values: np.full(values.shape, "0123456789abcdef", object))
    wrong, _ = provenance_of_day(copied, "IF", DAY)
    assert len(wrong) == 1 and "schedule_hash" in wrong[0]


def test_a_factor_that_is_never_there_is_found(copied):
    rewrite(copied, "features", "spread", lambda values: np.full(values.shape, np.nan, np.float32))
    assert coverage_of_day(copied, "IF", DAY)[0] == ["never there: spread"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda values: np.full_like(values, 1), "beyond the day"),
        (lambda values: np.where(values == 0, 5, values), "no class"),
        (lambda values: np.where(values >= 0, 1, values), "single class"),
    ],
)
def test_labels_that_cannot_be_are_found(copied, spoil, message):
    rewrite(copied, "labels", "label_50", spoil)
    wrong, _ = labels_of_day(copied, "IF", DAY)
    assert any(message in text for text in wrong), wrong


def test_readiness_is_what_the_gate_asks(copied):
    found = readiness_of_days(copied, {"IF": [DAY]})
    assert found["passed"] and found["metadata"]["ready"] == 1 and found["description"] == "1 days ready"
    (row,) = found["metadata"]["not as they should be"].records
    assert row.data["reason_code"] == "one_level" and row.data["source_state"] == "one_level"
    rewrite(copied, "main_l5", "volume", lambda values: values[::-1])
    found = readiness_of_days(copied, {"IF": [DAY]})
    assert not found["passed"] and "not_ready, volume_backwards" in found["description"]
