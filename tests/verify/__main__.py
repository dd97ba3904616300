"""`python -m tests.verify [PART ...]`: run the parts of `make verify`, and remember those that passed.

What passed is remembered for the files as they are, under `.cache/verify/`: a second call goes on where the first one
failed or was stopped, and any change of a file begins anew. `--again` forgets what passed, `--list` shows the parts.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ghtrader_base.child_processes import die_with_parent
from tests.verify.parts import PARTS, Part

ROOT = Path(__file__).resolve().parents[2]
MEMORY = ROOT / ".cache" / "verify"


def source_state(root: Path) -> str:
    """One hash over the name and content of every file git does not ignore, committed or not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    digest = hashlib.sha256()
    for name in sorted(set(listed.stdout.split("\0")) - {""}):
        path = root / name
        if path.is_file():
            digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class Memory:
    """Which parts passed with which files: one small file for each."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder, self._root = folder, root

    def passed(self, part: str) -> float | None:
        """Seconds the part took when it passed with the files as they are; None where it has not."""
        try:
            told = json.loads((self._folder / f"{part}.json").read_text())
        except (OSError, ValueError):
            return None
        return float(told["seconds"]) if told["state"] == source_state(self._root) else None

    def keep(self, part: str, state: str, seconds: float) -> None:
        """Remember that the part passed with the files of this state."""
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / f"{part}.json").write_text(json.dumps({"state": state, "seconds": seconds}))

    def forget(self, part: str) -> None:
        """As if it had never passed."""
        (self._folder / f"{part}.json").unlink(missing_ok=True)


def run_command(command: list[str], environment: Mapping[str, str], seconds: float) -> str:
    """Run to the end; why it failed, or an empty string. What it started is ended with it."""
    print("$", shlex.join(command), flush=True)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, preexec_fn=die_with_parent
    ) as process:
        try:
            code = process.wait(max(seconds, 1.0))
            return f"exit {code}" if code else ""
        except subprocess.TimeoutExpired:
            return f"not over after {seconds:.0f} s"
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(20.0)
                    os.killpg(process.pid, signal.SIGKILL)


def run_part(part: Part) -> str:
    """All commands of a part; why it failed, or an empty string."""
    programs = Path(sys.executable).parent
    environment = {**os.environ, **part.environment, "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"}
    deadline = time.monotonic() + 3 * 60 * part.minutes
    for command in part.commands:
        if why := run_command(list(command), environment, deadline - time.monotonic()):
            return f"{why}: {shlex.join(command)}"
    return ""


def show() -> None:
    """The parts with their minutes and commands."""
    for name, part in PARTS.items():
        variables = [f"{key}={value}" for key, value in part.environment.items()]
        for number, command in enumerate(part.commands):
            head = f"{name:14s}{part.minutes:4g} min{' by its name' if part.named else ''}" if number == 0 else " " * 22
            print(f"{head}  {' '.join([*variables, shlex.join(command)])}")
    share = sum(part.minutes for part in PARTS.values() if not part.named)
    print(f"{'':14s}{share:4g} min in all, without those that run only by their name")


def main(arguments: list[str]) -> int:
    """Run; 0 where every part passed, now or before, 1 where one failed, 2 where a name is no part."""
    parser = argparse.ArgumentParser(prog="python -m tests.verify", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="all but the named ones where none is given")
    parser.add_argument("--again", action="store_true", help="also what passed with these very files")
    parser.add_argument("--list", action="store_true", help="show the parts and run nothing")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is ended first
    if unknown := [name for name in given.parts if name not in PARTS]:
        print(f"no part {', '.join(unknown)}; there are: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    if given.list:
        show()
        return 0
    memory, rows, failed = Memory(MEMORY, ROOT), [], False
    for name in given.parts or [name for name, part in PARTS.items() if not part.named]:
        if given.again:
            memory.forget(name)
        elif (took := memory.passed(name)) is not None:
            rows.append((name, took, "passed before"))
            continue
        print(f"== {name}, {PARTS[name].minutes:g} min", flush=True)
        state, began = source_state(ROOT), time.monotonic()
        why = run_part(PARTS[name])
        seconds = time.monotonic() - began
        failed = failed or bool(why)
        rows.append((name, seconds, f"FAILED: {why}" if why else "passed"))
        if not why and source_state(ROOT) == state:
            memory.keep(name, state, seconds)
        elif not why:
            rows[-1] = (name, seconds, "passed, and not remembered: files changed meanwhile")
        print(f"== {name}: {rows[-1][2]} after {seconds:.0f} s", flush=True)
    print()
    for name, seconds, what in rows:
        slow = "  (over its share)" if seconds > 60 * PARTS[name].minutes else ""
        print(f"{name:14s}{seconds:7.0f} s  {what}{slow}")
    print(f"{'':14s}{sum(seconds for _, seconds, _ in rows):7.0f} s in all")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
