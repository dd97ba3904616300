"""Plays a week of evenings through one Dagster daemon, in a process of its own whose clock a file sets.

`python week_child.py FOLDER CLOCK`: CLOCK is libfaketime's file, which holds how far the clock of this process and of
its children stands from the machine's. What every evening came to goes to stdout as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from datetime import time as dtime
from pathlib import Path
from typing import TYPE_CHECKING

from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.trading_calendar import SHANGHAI, bundled_calendar

if TYPE_CHECKING:
    from dagster import DagsterInstance

VARIETIES = ("cu", "au", "ag")
BEFORE = date(2025, 3, 28)
"""What the exchange has when the week begins: the first evening finds one day before it."""
AWAY, SPOILT, MENDED, ASLEEP = date(2025, 3, 31), date(2025, 4, 1), date(2025, 4, 2), date(2025, 4, 3)
HOLIDAY, ROLL = date(2025, 4, 4), date(2025, 4, 7)
BAD_CONTRACT = "SHFE.cu2507"
"""A far month: no main series rests on it."""
EVENING_S = 1200.0
"""Real seconds that the run of one evening may take on a busy machine."""
RETRIED = ", ag again in "
"""In the line that says which varieties are tried again; the client of the service has a line of its own."""
MODULE = "ghtrader_assets.definitions"
SCHEDULE, JOB = "daily_update_evening", "daily_update"


@dataclass(frozen=True, kw_only=True)
class Evening:
    """What one evening came to.

    Attributes
    ----------
    day : str
    tick : str
        What the schedule did with its tick: success or skipped.
    runs : list of str
        Status of each run of the daily update that the evening began.
    errors : list of str
        What those said they could not do.
    made : dict of str to list of str
        Asset -> partitions that Dagster has afterwards.
    retried : bool
        Whether the run had to wait for the service.
    seconds : float
        It took, by the machine's clock.
    """

    day: str
    tick: str
    runs: list[str]
    errors: list[str]
    made: dict[str, list[str]]
    retried: bool
    seconds: float


class Clock:
    """The shifted clock of all processes, by libfaketime's file; the real one is the monotonic clock's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_s = float(path.read_text().rstrip("s\n"))
        self._true_s = time.time() - self._offset_s - time.monotonic()

    def jump(self, to: datetime) -> None:
        """Let it be `to` now, and wait until this process sees it."""
        self._offset_s = to.timestamp() - (self._true_s + time.monotonic())
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{self._offset_s:+.0f}s\n")
        fresh.replace(self._path)
        deadline = time.monotonic() + 60.0
        while abs(time.time() - to.timestamp()) > 60.0:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the clock stands at {datetime.now(SHANGHAI)}, not at {to}")
            time.sleep(0.2)


@contextmanager
def _daemon(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (home.parent / "daemon.log").open("wb") as log:
        command = [sys.executable, "-m", "ghtrader_assets.instance.server_main", "dagster-daemon", "0"]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Week:
    """The daemon's evenings, one after the other."""

    def __init__(self, exchange: ExchangeProcess, home: Path, clock: Clock) -> None:
        from ghtrader_base.settings import load_settings

        self.exchange, self.clock = exchange, clock
        self.settings = load_settings(home)

    def begin(self) -> None:
        """Make the instance and turn the schedule on, as an operator does in the UI."""
        from ghtrader_assets.instance.instance import open_instance

        with open_instance(self.settings):
            pass
        command = [str(Path(sys.executable).with_name("dagster")), "schedule", "start", SCHEDULE]
        done = subprocess.run([*command, "-m", MODULE], capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])

    def evening(self, day: date) -> Evening:
        """Let it be 17:30 of `day`, or 20:40 where the machine slept, and wait for what the daemon makes of it."""
        import dagster as dg
        from dagster import DagsterRunStatus, RunsFilter

        from ghtrader_assets.instance.instance import open_instance
        from ghtrader_assets.runs.inspect import describe_run

        began = time.monotonic()
        at = dtime(20, 40) if day == ASLEEP else dtime(17, 30, 2)
        now = datetime.combine(day, at, SHANGHAI)
        with open_instance(self.settings) as instance:
            before = {run.run_id for run in instance.get_runs(filters=RunsFilter(job_name=JOB))}
            self.clock.jump(now)
            tick = self._tick(instance, day)
            deadline = time.monotonic() + EVENING_S
            while True:
                if day == AWAY and self._retries(instance, before):
                    self.exchange.control.fault("clear")
                runs = [r for r in instance.get_runs(filters=RunsFilter(job_name=JOB)) if r.run_id not in before]
                if all(run.is_finished for run in runs) and (runs or tick == "skipped"):
                    break
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{day}: {[run.status.value for run in runs]} after {EVENING_S:.0f} s")
                time.sleep(2.0)
            errors = [
                error
                for run in runs
                if run.status is DagsterRunStatus.FAILURE
                for error in describe_run(self.settings, instance, run.run_id).errors
            ]
            retried = self._retries(instance, before)
            made = {
                name: sorted(instance.get_materialized_partitions(dg.AssetKey(name)))
                for name in ("raw_ticks", "main_l5", "features", "labels")
            }
        seconds = round(time.monotonic() - began, 1)
        return Evening(
            day=str(day), tick=tick, runs=[run.status.value for run in runs], errors=errors, made=made, retried=retried,
            seconds=seconds,
        )  # fmt: skip

    def _retries(self, instance: DagsterInstance, before: set[str]) -> bool:
        """Whether the evening's run waits for the service."""
        from dagster import RunsFilter

        new = [run.run_id for run in instance.get_runs(filters=RunsFilter(job_name=JOB)) if run.run_id not in before]
        return any(RETRIED in entry.user_message for run_id in new for entry in instance.all_logs(run_id))

    def _tick(self, instance: DagsterInstance, day: date) -> str:
        """How the schedule's tick of that evening ended."""
        deadline = time.monotonic() + EVENING_S
        while time.monotonic() < deadline:
            for state in instance.all_instigator_state():
                if state.instigator_name != SCHEDULE:
                    continue
                for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id):
                    at = datetime.fromtimestamp(tick.timestamp, SHANGHAI)
                    if at.date() == day and tick.status.value in ("SUCCESS", "SKIPPED", "FAILURE"):
                        return tick.status.value.lower()
            time.sleep(0.5)
        raise RuntimeError(f"the schedule had no tick on {day}")


def _at_the_exchange(exchange: ExchangeProcess, day: date) -> None:
    evening = datetime(day.year, day.month, day.day, 17, 30, tzinfo=SHANGHAI)
    exchange.control.set_clock(at_ns=int(evening.timestamp()) * 10**9)


def main(folder: Path, clock_path: Path) -> None:
    """Play the week and print what came of it."""
    clock, home = Clock(clock_path), folder / "home"
    home.mkdir(parents=True)
    scenario = Scenario(
        varieties=VARIETIES, start=BEFORE, end=BEFORE, snapshot_seconds=60.0, live_days=bundled_days(BEFORE, ROLL)
    )
    evenings: list[Evening] = []
    with ExchangeProcess(scenario, folder / "exchange") as exchange:
        os.environ.update(exchange.env, GHTRADER_HOME=str(home), DAGSTER_HOME=str(home / "dagster"))
        os.environ.update(
            GHTRADER_DAILY_UPDATE_TARGETS=",".join(VARIETIES), GHTRADER_MAX_PARALLEL_TQSDK_JOBS="1",
            GHTRADER_FIRST_DAY="2025-01-01", GHTRADER_INGEST_OUTAGE_S="5",
        )  # fmt: skip
        week = Week(exchange, home, clock)
        week.begin()
        with _daemon(home):
            for day in (AWAY, SPOILT, MENDED, ASLEEP, HOLIDAY, ROLL):
                exchange.control.fault("clear")
                if day == AWAY:
                    exchange.control.fault("refuse-login", seconds=3600.0)
                if day == SPOILT:
                    exchange.control.fault("empty-day", symbol=BAD_CONTRACT, day=SPOILT)
                if day != HOLIDAY:
                    _at_the_exchange(exchange, day)
                evenings.append(week.evening(day))
                sys.stderr.write(f"{evenings[-1]}\n")
    from ghtrader_market.reference.roll_schedule import load_schedule

    rolls = {
        variety: {str(each.day): each.contract for each in load_schedule(home / "data", variety).days}
        for variety in VARIETIES
    }
    print(json.dumps({"evenings": [asdict(one) for one in evenings], "schedule": rolls}))


def bundled_days(start: date, end: date) -> int:
    """Trading days after `start`, to `end`."""
    return len(bundled_calendar().days(start, end)) - 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
