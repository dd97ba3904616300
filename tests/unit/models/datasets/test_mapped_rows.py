"""Mapped rows: days side by side are one array, pages go back, and a data set of them is the one in memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ghtrader_base.errors import UsageError
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.datasets import day_cache
from ghtrader_models.datasets import mapped_rows as module
from ghtrader_models.datasets.day_cache import map_array
from ghtrader_models.datasets.load import load_dataset
from ghtrader_models.datasets.mapped_rows import MappedRows
from ghtrader_models.datasets.sample_windows import training_and_validation
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.datasets.windows import WindowSpec
from ghtrader_models.evaluation.benchmark import run_benchmark
from ghtrader_models.inference.onnx_windows import padded_windows
from tests.benchmarks import year
from tests.support import full_days

SIZES = (300, 1, 250)


@pytest.fixture
def table(tmp_path: Path) -> tuple[np.ndarray, MappedRows]:
    whole = np.random.default_rng(0).normal(size=(sum(SIZES), 5)).astype(np.float32)
    days = []
    for number, part in enumerate(np.split(whole, np.cumsum(SIZES)[:-1])):
        np.save(tmp_path / f"{number}.npy", part)
        days.append(map_array(tmp_path / f"{number}.npy"))
    return whole, MappedRows(days)


def test_rows_are_those_of_one_array(table: tuple[np.ndarray, MappedRows]) -> None:
    whole, mapped = table
    assert mapped.shape == whole.shape and len(mapped) == len(whole)
    draw = np.random.default_rng(1).integers(-551, 551, (7, 9))
    for rows in (0, -1, slice(None), slice(290, 310), slice(3, 500, 7), np.arange(0), draw, draw.ravel()):
        np.testing.assert_array_equal(mapped[rows], whole[rows])
    day_index = np.repeat(np.arange(3), SIZES)
    ends = np.array([0, 5, 299, 300, 301, 310, 550])
    np.testing.assert_array_equal(padded_windows(mapped, day_index, ends, 8), padded_windows(whole, day_index, ends, 8))
    for wrong in (np.array([551]), np.array([-552])):
        with pytest.raises(IndexError):
            mapped[wrong]
    with pytest.raises(UsageError):
        mapped.span(0, 301)


def test_parts_are_views_of_the_files(table: tuple[np.ndarray, MappedRows]) -> None:
    whole, mapped = table
    rows = np.array([1, 2, 299, 300, 301, 550])
    samples = replace(Samples.of_rows(whole, np.zeros(551, np.int8)), X=mapped, rows=rows)
    parts = list(samples.parts())
    assert [chosen.tolist() for _, chosen, _ in parts] == [[1, 2, 299], [0], [0, 249]]
    assert all(not array.flags.writeable and array.base is not None for array, _, _ in parts)
    np.testing.assert_array_equal(np.concatenate([array[chosen] for array, chosen, _ in parts]), whole[rows])


def test_pages_go_back_when_much_was_read(
    table: tuple[np.ndarray, MappedRows], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, mapped = table
    given_back = []
    monkeypatch.setattr(module, "RESIDENT_BYTES", 2_000)
    real = type(mapped.span(0, 300)).forget
    monkeypatch.setattr(type(mapped.span(0, 300)), "forget", lambda self: given_back.append(1) or real(self))
    np.testing.assert_array_equal(np.concatenate(list(mapped.blocks(50))), whole)
    assert len(given_back) >= 2 * len(SIZES)


def test_a_year_of_files_is_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "day.npy", np.zeros((2, 2), np.float32))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir("/proc/self/fd")) + 10
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        with monkeypatch.context() as patched:
            patched.setattr(day_cache, "_allow_more_files", lambda: False)
            with pytest.raises(OSError, match="open files"):
                [map_array(tmp_path / "day.npy") for _ in range(20)]
        assert len([map_array(tmp_path / "day.npy") for _ in range(20)]) == 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    root = tmp_path_factory.mktemp("year") / "data"
    full_days.write_days(root, full_days.trading_days(6), range(6), factor_set="lean", seconds=60.0)
    return Lake(root)


def test_a_data_set_of_mapped_days_is_the_one_in_memory(lake: Lake, tmp_path: Path) -> None:
    days = full_days.trading_days(6)
    held = load_dataset(lake, full_days.SYMBOL, days, full_days.HORIZON)
    for _ in range(2):  # the second time the cache is there
        mapped = load_dataset(lake, full_days.SYMBOL, days, full_days.HORIZON, cache=tmp_path / "cache")
        assert isinstance(mapped.X, MappedRows) and mapped.facts == held.facts and mapped.names == held.names
        np.testing.assert_array_equal(mapped.X[:], held.X)
        for name in ("y", "datetime_ns", "day_index", "row_in_day", "segment_id", "mid", "bid", "ask", "warm"):
            np.testing.assert_array_equal(getattr(mapped, name), getattr(held, name))
    reports = [run_benchmark(found, "logistic") for found in (held, mapped)]
    assert reports[0].metrics_hash == reports[1].metrics_hash
    assert reports[0].simulation is not None and len(reports[0].splits) == 3
    spec = WindowSpec(5, horizon=full_days.HORIZON, max_gap_s=None)
    sides = [
        training_and_validation(found.samples(np.flatnonzero(found.usable)), spec, share=0.2, most=200)
        for found in (held, mapped)
    ]
    for one, other in zip(*sides, strict=True):
        np.testing.assert_array_equal(one.batch(np.arange(len(one))), other.batch(np.arange(len(other))))
        assert other.days[0].X is mapped.X.span(0, len(other.days[0].warm))


@pytest.mark.clock
@pytest.mark.parametrize("command", ["load", "train", "benchmark"])
def test_the_benchmark_of_a_year_measures_any_days(lake: Lake, command: str) -> None:
    found = year.child(lake.root.parent, command, "logistic", 6)
    assert found["rows"] == 6 * full_days.times_of(full_days.FIRST, 60.0).size and 0 < found["peak_gb"] < 8


def test_the_benchmark_of_a_year_names_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[object, ...]] = []

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        asked.append(arguments)
        figures = {"rows": 1, "peak_gb": 9.0, "load_s": 1.0, "seconds": 50.0}
        return subprocess.CompletedProcess([], int("tcn" in arguments), json.dumps(figures))

    monkeypatch.setattr(year, "_run", run)
    monkeypatch.setattr(year, "OUT", tmp_path / "year.json")
    measured = year.Measured(minutes=1)
    for family, days in (("logistic", 5), ("logistic", 20), ("tcn", 5)):
        measured.add(tmp_path, "train", family, days)
    assert [arguments[3:] for arguments in asked] == [("logistic", 5), ("tcn", 5)]
    first, second, third = json.loads((tmp_path / "year.json").read_text())["rows"]
    assert first["met"] is False and first["ratio"] == 1.0 and first["s_a_day"] == 10.0
    assert "about 200 s" in second["skipped"] and third["skipped"] == "ended with 1" and third["met"] is False
