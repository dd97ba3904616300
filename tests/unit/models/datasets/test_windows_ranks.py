"""Two real processes train through the data module (torch.distributed, gloo over loopback): who gets which windows."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.waiting import PATIENCE_S

if importlib.util.find_spec("lightning") is None:  # not imported here: the children take seconds for that
    pytest.skip("pip install ghtrader[deep]", allow_module_level=True)
CHILD = Path(__file__).parents[3] / "support" / "children" / "ranks_child.py"
ROWS, DAYS, LENGTH, HORIZON = 400, 3, 20, 10
CUT = int(DAYS * ROWS * 0.6)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ends(first: int, last: int) -> list[int]:
    """Rows at which the windows inside a span end, days apart."""
    found = []
    for day in range(DAYS):
        low, high = max(first, day * ROWS), min(last, (day + 1) * ROWS)
        found += range(low + LENGTH - 1, high - HORIZON)
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two ranks was given, epoch by epoch."""
    folder, port = tmp_path_factory.mktemp("ranks"), free_port()
    for day in range(DAYS):
        np.save(folder / f"{day}.npy", (day * ROWS + np.arange(ROWS, dtype=np.float32))[:, None])
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(port), str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said = child.communicate(timeout=PATIENCE_S)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == 0, said
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_lightning_puts_its_distributed_sampler_into_our_loaders(ranks):
    assert [found["world"] for found in ranks] == [2, 2]
    assert [found["sampler"] for found in ranks] == ["DistributedSampler"] * 2
    assert [len(found["train"]) for found in ranks] == [2, 2]


def test_the_ranks_share_the_training_span_between_them_anew_each_epoch(ranks):
    wanted = ends(0, CUT)
    for epoch in range(2):
        one, other = (found["train"][epoch] for found in ranks)
        assert len(one) == len(other) == -(-len(wanted) // 2), "as many steps on each"
        padding = 2 * len(one) - len(wanted)
        assert sorted(set(one) | set(other)) == wanted, "the training span, whole, and nothing outside it"
        assert len(set(one) & set(other)) <= padding <= 1, "disjoint, but for what makes the halves alike"
        assert one != sorted(one)
    for found in ranks:
        first, second = found["train"]
        assert first != second and set(first) != set(second), "another order, and other windows"


def test_validation_is_shared_too_and_stays_in_its_span(ranks):
    wanted = ends(CUT, DAYS * ROWS)
    for epoch in range(2):
        one, other = (found["validation"][epoch] for found in ranks)
        assert sorted({*one, *other}) == wanted and len({*one} & {*other}) <= 1
        assert min(one + other) >= CUT + LENGTH - 1
