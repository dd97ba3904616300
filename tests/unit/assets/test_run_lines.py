"""What a run says while it works is in its event log, whoever started it; runs of one command are linked."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date

import dagster as dg
import pytest

from ghtrader.commands.jobs import _described
from ghtrader_assets.instance.instance import open_instance
from ghtrader_assets.resources.progress import progress_to, say
from ghtrader_assets.runs import flows
from ghtrader_assets.runs.errors import guarded
from ghtrader_assets.runs.execute import run_group
from ghtrader_assets.runs.inspect import describe_run, list_runs, run_events
from ghtrader_base.settings import Settings
from ghtrader_market.samples import CU1909

pytestmark = pytest.mark.clock
_HOLDER = """
import sys
from pathlib import Path
from ghtrader_base.locks import resource_lock
with resource_lock(Path(sys.argv[1]), "main_schedule:var=cu", "a long schedule"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def _messages(settings: Settings, run_id: str) -> list[str]:
    with open_instance(settings) as instance:
        return [event.message for event in run_events(settings, instance, run_id, False)]


def test_a_second_run_waits_for_a_held_lock_and_its_log_says_for_whom(settings: Settings) -> None:
    flows.import_recordings(settings, [CU1909], variety="cu")
    command = [sys.executable, "-c", _HOLDER, str(settings.locks)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    told: list[str] = []

    def listen(line: str) -> None:
        told.append(line)
        if line.startswith("waiting for"):
            holder.stdin.write("enough\n")
            holder.stdin.flush()

    try:
        assert holder.stdout.readline() == "held\n"
        (run,) = flows.update_schedule(settings, "cu", progress=listen)
    finally:
        holder.kill()
        holder.wait()
    (waited,) = [line for line in told if line.startswith("waiting for")]
    assert f"main_schedule:var=cu, held by pid {holder.pid} (a long schedule) since " in waited
    assert run.success and waited in _messages(settings, run.run_id)


def test_an_op_that_nobody_listens_to_still_logs_what_it_says(settings: Settings) -> None:
    @dg.op
    @guarded
    def speak(context):
        assert say("one line"), "somebody listens in every run"

    @dg.job
    def speaking() -> None:
        speak()

    with open_instance(settings) as instance:
        done = speaking.execute_in_process(instance=instance)
    assert _messages(settings, done.run_id).count("one line") == 1
    assert not say("nobody is left")


def test_a_line_reaches_the_log_of_the_run_and_of_the_run_it_is_part_of(settings: Settings) -> None:
    lines: list[str] = []
    flows.import_recordings(settings, [CU1909], variety="cu")
    with progress_to(lines.append), run_group():
        (first,) = flows.update_schedule(settings, "cu")
        (second,) = flows.build_main(settings, "cu", None, None)
    said = "main_l5 cu 2019-09-16: "
    assert len([line for line in lines if line.startswith(said)]) == 1
    assert any(message.startswith(said) for message in _messages(settings, second.run_id))
    with open_instance(settings) as instance:
        rows = {row.id: row for row in list_runs(settings, instance, 10)}
        shown = describe_run(settings, instance, second.run_id)
    assert rows[first.run_id].group == rows[second.run_id].group == first.run_id
    assert [row.id for row in shown.related] == [first.run_id]
    text = _described(json.loads(json.dumps(shown.to_dict())))
    assert "runs of the same group" in text and first.run_id[:8] in text
    assert {row.group for row in rows.values()} == {first.run_id, ""}, "the import stands alone"


def test_ranges_of_one_command_are_one_group(settings: Settings) -> None:
    flows.import_recordings(settings, [CU1909], variety="cu")
    days = [date(2019, 9, 16), date(2019, 9, 18)]
    config = {"ops": {"daily_bars": {}}}
    with pytest.raises(Exception, match="cu"):
        flows.run_days(settings, "daily_bars", "cu", days, run_config=config)
    with open_instance(settings) as instance:
        groups = [row.group for row in list_runs(settings, instance, 10) if row.what == "daily_bars"]
    assert groups and set(groups) == {groups[-1]} and groups[-1]
