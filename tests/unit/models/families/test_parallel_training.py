"""What processes that train together are handed: the samples, written without being in memory at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghtrader_models.datasets.mapped_rows import BLOCK_ROWS, HeldRows, MappedRows
from ghtrader_models.datasets.samples import Samples
from ghtrader_models.families import parallel_training
from ghtrader_models.families.tcn import TCNConfig


class AskedRows(MappedRows):
    """Keeps how many rows each call wanted."""

    def __init__(self, days: list[HeldRows]) -> None:
        super().__init__(days)
        self.asked: list[int] = []

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        found = super().__getitem__(rows)
        self.asked.append(len(found) if isinstance(rows, slice) else 0)
        return found


@pytest.mark.parametrize("sizes", [(1, 40_000, 3), (BLOCK_ROWS, BLOCK_ROWS)])
def test_mapped_days_are_handed_over_block_by_block(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    days = [rng.normal(size=(size, 3)).astype(np.float32) for size in sizes]
    days[0][0, 1] = np.nan
    whole = np.concatenate(days)
    samples = Samples.of_rows(whole)
    rows = AskedRows([HeldRows(day) for day in days])
    mapped = Samples(**{**vars(samples), "X": rows})
    parallel_training._hand_over(tmp_path, "tcn", mapped, TCNConfig(), seed=1, devices=2, encoder=None)
    _, read = parallel_training.read_task(tmp_path)
    assert np.array_equal(np.asarray(read.X), whole, equal_nan=True) and np.array_equal(read.rows, samples.rows)
    assert len(rows.asked) == -(-len(whole) // BLOCK_ROWS) and max(rows.asked) == BLOCK_ROWS
