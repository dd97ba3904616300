"""Shares a run of a recorded day, which costs two processes, among the tests that only read it."""

from __future__ import annotations

import pytest

from tests.support.lock_step import LockStepRun, play_lock_step


@pytest.fixture(scope="session")
def lock_step(tmp_path_factory: pytest.TempPathFactory) -> LockStepRun:
    """One run in lock-step; nobody writes into its folder."""
    return play_lock_step(tmp_path_factory.mktemp("lock-step"))
