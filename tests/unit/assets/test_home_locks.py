"""Whether a stuck holder is one of ours: registered here or executing a run here, by pid and start time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from ghtrader_assets.instance.run_registry import executing
from ghtrader_assets.resources.home_locks import home_lock, is_ours
from ghtrader_base.errors import LockHeldError
from ghtrader_base.locks import Holder
from ghtrader_base.processes import register, start_ticks
from ghtrader_base.settings import Settings, load_settings
from tests.support.waiting import PATIENCE_S

_HOLDER = """
import sys, time
from pathlib import Path
from ghtrader_base.locks import resource_lock
from ghtrader_base.processes import register
from ghtrader_base.settings import load_settings
settings = load_settings(sys.argv[1])
with resource_lock(settings.locks, "ticks:symbol=X", "stuck"):
    if sys.argv[2] == "registered":
        with register(settings, "record", "a recorder"):
            print("held", flush=True); time.sleep(60)
    print("held", flush=True); time.sleep(60)
"""


def test_ours_is_what_is_registered_or_executes_a_run_here(settings: Settings) -> None:
    me = Holder(name="x", pid=os.getpid(), start=start_ticks(os.getpid()), purpose="a test", since="now")
    assert not is_ours(settings, me)
    with register(settings, "record", "a recorder"):
        assert is_ours(settings, me)
        assert not is_ours(settings, replace(me, start=me.start + 1)), "the pid was given to another program"
    with executing(settings, "a-run", "cli"):
        assert is_ours(settings, me)
    assert not is_ours(settings, me)


@pytest.mark.parametrize("kind", ["registered", "stranger"])
def test_only_a_holder_of_ours_is_ended_and_only_where_the_setting_says_so(
    settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GHTRADER_LOCK_WAIT_TIMEOUT_S", "0.3")
    command = [sys.executable, "-c", _HOLDER, str(settings.home), kind]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        lock = home_lock(load_settings(settings.home), "ticks:symbol=X", "a test")
        with pytest.raises(LockHeldError, match=str(holder.pid)), lock:
            pass
        assert holder.poll() is None
        monkeypatch.setenv("GHTRADER_LOCK_FORCE_CANCEL_ON_TIMEOUT", "true")
        lock = home_lock(load_settings(settings.home), "ticks:symbol=X", "a test")
        if kind == "stranger":
            with pytest.raises(LockHeldError), lock:
                pass
            assert holder.poll() is None
        else:
            with lock:
                assert holder.wait(PATIENCE_S) != 0
    finally:
        holder.kill()
        holder.wait()
