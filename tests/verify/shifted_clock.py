"""Runs the tests marked `clock` at other hours and days, under a shifted clock: `python -m tests.verify.shifted_clock`.

libfaketime moves what every process of a run takes for the time of the day by one and the same offset, so that parents
and children agree; the monotonic clock stays (timeouts and zmq's and numba's waits are measured on it), file times stay
(compiled code is found by them), and Java is left out (it hangs; infra/questdb/run.py takes the names away).
The offset is read once and kept: libfaketime looks for it in the environment again, every ten seconds, in whatever
thread asks for the time, and a test that sets a variable at that moment ends the process.
With such settings libfaketime up to 0.9.10 breaks `time.sleep`: `monotonic_sleep.c` is then built and loaded before it.

`--all` runs what `make test` runs, once in the maintenance half hour and once over the last midnight of a year.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

ROOT = Path(__file__).resolve().parents[2]
BEIJING = ZoneInfo("Asia/Shanghai")
TESTS = ("tests/unit", "tests/integration")
INSTALL = "install it: apt-get install faketime (Debian, Ubuntu), dnf install libfaketime (Fedora)"
_COUNT = re.compile(r"(\d+) (passed|failed|skipped|errors?)")


@dataclass(frozen=True)
class Moment:
    """A time to begin at, in Beijing, and what is special about it."""

    at: datetime
    why: str

    @property
    def offset_s(self) -> int:
        """Seconds from now to there."""
        return round(self.at.timestamp() - time.time())


def _moment(text: str, why: str) -> Moment:
    return Moment(datetime.fromisoformat(text).replace(tzinfo=BEIJING), why)


MOMENTS = {
    "maintenance": _moment("2026-12-08T19:05", "a weekday, TqSdk gives up a line that breaks"),
    "new-year": _moment("2025-12-31T23:55", "over midnight into another year and a holiday"),
    "night": _moment("2026-12-12T00:05", "Saturday, in the night session of Monday"),
    "holiday": _moment("2026-10-01T12:00", "a public holiday"),
    "open": _moment("2026-12-07T08:59:50", "Monday, ten seconds before the opening"),
    "last-day": _moment("2026-12-31T23:55", "over the end of the bundled calendar"),
}
WHOLE = ("maintenance", "new-year")


class Unavailable(Exception):
    """Something is not installed; the text says what and how to get it."""


def library() -> Path:
    """libfaketime for programs with threads; `Unavailable` where it is not installed."""
    found = sorted(path for base in ("/usr/lib", "/usr/lib64", "/usr/local/lib")
                   for path in Path(base).glob("**/faketime/libfaketimeMT.so.1"))  # fmt: skip
    if not found:
        raise Unavailable(f"no libfaketime here; {INSTALL}")
    return found[0]


def preloads(folder: Path) -> list[Path]:
    """What is loaded into every process: libfaketime, with `monotonic_sleep` before it where Python cannot sleep."""
    found = [library()]
    if _sleeps(found):
        return found
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unavailable("this libfaketime breaks time.sleep, and there is no C compiler to mend it; install gcc")
    found.insert(0, folder / "monotonic_sleep.so")
    source = Path(__file__).with_name("monotonic_sleep.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", found[0], source, "-ldl"], check=True)
    if not _sleeps(found):
        raise Unavailable(f"Python cannot sleep under {found[1]}; install a newer libfaketime")
    return found


def _sleeps(preload: list[Path]) -> bool:
    code = "import time; time.sleep(0.01)"
    shifted = environment(86400, preload)
    return not subprocess.run([sys.executable, "-c", code], env=shifted, capture_output=True, timeout=60).returncode


def environment(offset_s: int, preload: list[Path]) -> dict[str, str]:
    """The environment of a run whose clock stands `offset_s` seconds from the machine's."""
    return {
        **os.environ,
        "LD_PRELOAD": " ".join(filter(None, (*map(str, preload), os.environ.get("LD_PRELOAD")))),
        "FAKETIME": f"{offset_s:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": str(7 * 86400),
        "NO_FAKE_STAT": "1",
    }


def run(moment: Moment, preload: list[Path], arguments: list[str], log: Path) -> tuple[int, str, float]:
    """Run pytest at a moment; its exit status, its counts, and how long it took."""
    command = [sys.executable, "-m", "pytest", *arguments]
    began = time.monotonic()
    with log.open("wb") as out:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(moment.offset_s, preload), stdout=out, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    counts = ", ".join(" ".join(pair) for pair in _COUNT.findall(lines[-1] if lines else ""))
    return done.returncode, counts or "no result", time.monotonic() - began


def main() -> int:
    """Run what was asked for and print a table; 1 where a test failed, 4 without libfaketime."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moment", action="append", choices=MOMENTS, help="only this one (can be repeated)")
    parser.add_argument("--at", metavar="YYYY-MM-DDTHH:MM", help="a moment of your own, in Beijing")
    parser.add_argument("--all", action="store_true", help=f"all of `make test` at {' and '.join(WHOLE)}")
    parser.add_argument("--jobs", default=os.environ.get("TEST_JOBS", "2"), help="workers of pytest (default 2)")
    parser.add_argument("tests", nargs="*", help=f"files or folders (default {' '.join(TESTS)})")
    options = parser.parse_args()
    logs = ROOT / "var" / "verify" / "shifted_clock"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        preload = preloads(logs)
    except Unavailable as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 4
    moments = {name: MOMENTS[name] for name in options.moment or (WHOLE if options.all else MOMENTS)}
    if options.at:
        moments = {"own": _moment(options.at, "asked for")}
    arguments = ["-n", options.jobs, "--dist", "loadfile", *([] if options.all else ["-m", "clock"])]
    arguments += options.tests or TESTS
    failed = False
    for name, moment in moments.items():
        code, counts, seconds = run(moment, preload, arguments, log := logs / f"{name}.log")
        failed |= code != 0
        verdict = "ok" if code == 0 else f"FAILED, see {log.relative_to(ROOT)}"
        print(f"{name:<12} {moment.at:%a %Y-%m-%d %H:%M}  {seconds:5.0f} s  {counts:<24} {verdict}  # {moment.why}",
              flush=True)  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
