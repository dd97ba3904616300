"""What a demo empties and what it refuses: only what it made itself, compiled code apart, ever goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghtrader import cli
from ghtrader.demo.run import MADE, claim, start_over, strangers
from ghtrader_base.errors import RefusedError
from ghtrader_base.locks import resource_lock

pytestmark = pytest.mark.clock

MARKER = ".ghtrader-demo"
HALF_MARKER = f".{MARKER}.k3x9.tmp"
GONE = sorted(MADE - {"numba", "locks"})


def make(home: Path, *names: str) -> None:
    """Entries of a home; a name with a dot is a file, any other a folder with a file in it."""
    home.mkdir(parents=True, exist_ok=True)
    for name in names:
        if "." in name:
            (home / name).write_text(name)
        else:
            (home / name).mkdir()
            (home / name / "inside").write_text(name)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything under a folder, with what it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(
    "before",
    [
        (),
        ("numba",),  # what set-up leaves
        (HALF_MARKER,),  # killed while the marker was written
        ("numba", HALF_MARKER),
        (MARKER,),
        (MARKER, "numba", "locks", HALF_MARKER),  # killed while the home was emptied
        (MARKER, *sorted(MADE)),
    ],
)
def test_a_home_of_any_stage_is_taken_and_keeps_compiled_code(tmp_path: Path, before: tuple[str, ...]) -> None:
    home = tmp_path / "var" / "demo"
    if before:
        make(home, *before)
    for _ in range(2):
        claim(home)
        start_over(home)
        assert {path.name for path in home.iterdir()} == {MARKER} | (set(before) & {"numba", "locks"})
    if "numba" in before:
        assert (home / "numba" / "inside").read_text() == "numba"


@pytest.mark.parametrize(
    ("before", "named"),
    [
        (("notes.txt",), ["notes.txt"]),
        (("data",), ["data"]),  # a lake, but nobody says that a demo made it
        (("numba", "demo"), ["demo"]),  # `--home var`
        ((MARKER, "data", "thesis.tex", "my models", "笔记.md"), ["my models", "thesis.tex", "笔记.md"]),
        ((MARKER, "keys"), ["keys"]),
        ((MARKER, ".bashrc"), [".bashrc"]),
    ],
)
def test_a_persons_files_are_named_and_nothing_is_touched(
    tmp_path: Path, before: tuple[str, ...], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    make(home, *before)
    there = tree(home)
    assert cli.run(["demo", "--home", str(home)]) == 3
    said = capsys.readouterr().err
    assert all(name in said for name in named) and "Traceback" not in said
    assert strangers(home) == named and tree(home) == there


@pytest.mark.parametrize("used", ["", "dagster/history/runs/0f3c.db", "mlflow/artifacts/1/model"])
def test_what_the_web_uis_made_before_the_first_demo_counts_as_made_unless_something_ran(
    tmp_path: Path, used: str
) -> None:
    """As `make ui` leaves it (tests/integration/pipeline/test_web_servers.py looks at a real one)."""
    home = tmp_path / "home"
    make(home, "numba", "logs", "mlflow", "processes", "locks")
    for name in ("dagster/history/runs/index.db", "dagster/history/runs.db", *([used] if used else [])):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("x")
    if not used:
        claim(home)
        start_over(home)
        assert {path.name for path in home.iterdir()} == {MARKER, "numba", "locks"}
        return
    there = tree(home)
    with pytest.raises(RefusedError):
        claim(home)
    assert tree(home) == there


def test_a_file_in_the_place_of_a_folder_is_a_persons(tmp_path: Path) -> None:
    make(tmp_path / "home", MARKER)
    (tmp_path / "home" / "data").write_text("mine")
    with pytest.raises(RefusedError, match="data"):
        claim(tmp_path / "home")


@pytest.mark.parametrize("home", ["file", "file/demo", "n" * 300])
def test_where_no_folder_can_be_a_sentence_says_so(
    tmp_path: Path, home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert cli.run(["demo", "--home", str(tmp_path / home)]) == 2
    assert "Traceback" not in capsys.readouterr().err and (tmp_path / "file").read_text() == "mine"


def test_links_are_removed_and_never_followed(tmp_path: Path) -> None:
    outside, home = tmp_path / "outside", tmp_path / "home"
    make(outside, "lake", "kept.txt")
    make(home, MARKER, "runs")
    (home / "data").symlink_to(outside)
    (home / "runs" / "deep").symlink_to(outside)
    there = tree(outside)
    claim(home)
    start_over(home)
    assert {path.name for path in home.iterdir()} == {MARKER} and tree(outside) == there


def test_what_comes_between_claim_and_emptying_stays(tmp_path: Path) -> None:
    home = tmp_path / "home"
    claim(home)
    make(home, "data", "late.txt")
    start_over(home)
    assert {path.name for path in home.iterdir()} == {MARKER, "late.txt"}


def test_a_second_demo_of_the_home_empties_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make(home, MARKER, "data")
    with resource_lock(home / "locks", "demo", "the first one"):
        # A process of its own: within one, a lock is held as often as it is taken.
        command = [sys.executable, "-m", "ghtrader", "demo", "--home", str(home)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "the first one" in done.stderr
    assert (home / "data" / "inside").exists()


@settings(max_examples=40)
@given(st.sets(st.sampled_from([MARKER, HALF_MARKER, "numba", "locks", *GONE[:3], "a.txt", "mine", "keys"])))
def test_only_what_the_demo_makes_ever_goes(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    home = tmp_path_factory.mktemp("home")
    make(home, *sorted(names))
    there = tree(home)
    try:
        claim(home)
    except RefusedError:
        assert tree(home) == there
        assert names - MADE - {MARKER, HALF_MARKER} or MARKER not in names
        return
    assert not names - MADE - {MARKER, HALF_MARKER}
    start_over(home)
    assert {path.name for path in home.iterdir()} == {MARKER} | (names & {"numba", "locks"})
