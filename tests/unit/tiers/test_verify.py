"""`python -m tests.verify` remembers what passed with the files as they are, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import tests.verify.__main__ as verify
from tests.support.waiting import until
from tests.verify.parts import Part


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small repository with three parts: one that passes, one that fails while `broken` is there, one more."""
    root = tmp_path / "root"
    root.mkdir()
    for command in (["init", "-q"], ["config", "user.email", "a@b.c"], ["config", "user.name", "a"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    (root / ".gitignore").write_text("ran\nbroken\n.cache\n")
    (root / "code.py").write_text("1\n")
    parts = {
        "first": Part(1, [["sh", "-c", "echo first $WORD >> ran"]], {"WORD": "word"}),
        "second": Part(1, [["sh", "-c", "echo second >> ran"], ["sh", "-c", "! test -e broken"]]),
        "third": Part(1, [["sh", "-c", "echo third >> ran; test ! -e broken || sleep 60"]]),
    }
    for name, value in (("ROOT", root), ("MEMORY", root / ".cache"), ("PARTS", parts)):
        monkeypatch.setattr(verify, name, value)
    return root


def ran(root: Path) -> list[str]:
    found = (root / "ran").read_text().splitlines() if (root / "ran").exists() else []
    (root / "ran").unlink(missing_ok=True)
    return found


def test_a_second_call_goes_on_where_the_first_failed(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (root / "broken").touch()
    third = verify.PARTS["third"]
    verify.PARTS["third"] = replace(third, minutes=0.008)  # the one call in which it is ended
    began = time.monotonic()
    assert verify.main([]) == 1
    assert time.monotonic() - began < 40
    assert ran(root) == ["first word", "second", "third"]
    told = capfd.readouterr().out
    assert "FAILED: exit 1" in told and "FAILED: not over after" in told and "first" in told
    (root / "broken").unlink()
    verify.PARTS["third"] = third
    assert verify.main([]) == 0
    assert ran(root) == ["second", "third"] and "passed before" in capfd.readouterr().out
    assert verify.main([]) == 0 and ran(root) == []
    assert verify.main(["first", "--again"]) == 0 and ran(root) == ["first word"]


@pytest.mark.parametrize("change", ["edited", "new", "committed"])
def test_another_state_of_the_files_begins_anew(root: Path, change: str) -> None:
    assert verify.main(["first"]) == 0 and len(ran(root)) == 1
    match change:
        case "edited":
            (root / "code.py").write_text("2\n")
        case "new":
            (root / "more.py").write_text("1\n")
        case "committed":  # the same files as before
            subprocess.run(["git", "add", "-A"], cwd=root, check=True)
            subprocess.run(["git", "commit", "-qm", "x"], cwd=root, check=True)
    assert verify.main(["first"]) == 0
    assert len(ran(root)) == (change != "committed")


def test_files_that_change_meanwhile_are_not_called_verified(root: Path) -> None:
    verify.PARTS["first"] = Part(1, [["sh", "-c", "echo x >> ran; date +%N >> code.py"]])
    for _ in range(2):
        assert verify.main(["first"]) == 0
    assert len(ran(root)) == 2


def test_a_name_that_is_no_part_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.main(["first", "fourth"]) == 2
    assert "no part fourth; there are: first, second, third" in capsys.readouterr().err
    assert verify.main(["--list"]) == 0
    assert "WORD=word sh" in capsys.readouterr().out and ran(root) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_part_that_is_killed_is_not_remembered_and_does_not_go_on(root: Path, number: signal.Signals) -> None:
    code = (
        "import sys; from pathlib import Path; import tests.verify.__main__ as v; from tests.verify.parts import Part\n"
        f"v.ROOT = Path({str(root)!r}); v.MEMORY = v.ROOT / '.cache'\n"
        "v.PARTS = {'long': Part(1, [['sh', '-c', 'echo $$ >> ran; exec sleep 50']])}\n"
        "sys.exit(v.main([]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as runner:
        child = int(until(lambda: (root / "ran").exists() and (root / "ran").read_text().strip()))
        runner.send_signal(number)
        assert runner.wait(60) != 0
    until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])
    assert not list((root / ".cache").glob("*.json"))
