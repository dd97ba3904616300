"""`make setup` and `make demo` in a fresh clone: interrupted, in any folder, with either Python, and what they refuse.

One clone, in a folder with blanks and Chinese characters, is set up once. A case breaks it in its way, types the
command again and leaves it whole, which set-up itself must say: run once more it finds nothing to do.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ghtrader.demo.run import MADE
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(1800)
REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = "新 克隆/ghTrader 一"
CLOSED = "http://127.0.0.1:9/simple"
NOT_A_USERS = ("GHTRADER_", "TQ", "NUMBA_", "COVERAGE_", "PYTEST_", "MAKE", "MFLAGS", "VIRTUAL_ENV", "PYTHON")
FIRST_STAGE = "simulated exchange: "
MARKER = ".ghtrader-demo"


class Clone:
    """A clone of the repository under test, and commands typed in it."""

    def __init__(self, folder: Path, path: str | None = None) -> None:
        self.folder = folder
        self.home = folder / "var" / "demo"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(NOT_A_USERS)}
        if path is not None:
            self.env["PATH"] = path
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(folder)], check=True)

    def begin(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own; both its outputs go to one pipe."""
        return subprocess.Popen(
            command, cwd=self.folder, env=self.env | env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=hears_ctrl_c,
        )  # fmt: skip

    def typed(self, *command: str, **env: str) -> tuple[int, str]:
        """Exit code and output of a command that ends by itself."""
        began = time.monotonic()
        with self.begin(*command, **env) as process:
            said = process.communicate()[0].decode()
        print(f"{' '.join(command)}: exit {process.returncode}, {time.monotonic() - began:.0f} s\n{said}")
        return process.returncode, said

    def set_up(self) -> str:
        """`make setup`, which must work, and find nothing to do when run again."""
        code, said = self.typed("make", "setup")
        assert code == 0, said
        assert self.typed("make", "setup") == (0, "")
        assert self.typed(".venv/bin/ghtrader", "version")[0] == 0
        return said

    def interrupted(self, number: int, mark: str, *command: str, wait_s: float = 0.0, group: bool = True) -> str:
        """Start a command, wait until it says `mark`, and `wait_s` longer, and send it a signal."""
        with self.begin(*command) as process:
            said = hear(process, mark)
            time.sleep(wait_s)
            for pid in [-process.pid] if group else commanders(process.pid):
                os.killpg(-pid, number) if pid < 0 else os.kill(pid, number)
            if number == signal.SIGINT:
                said += process.communicate()[0].decode()
            process.stdout.close()
        assert process.returncode != 0
        return said

    def demo_begins(self) -> None:
        """`make demo` is not refused; Ctrl-C ends it, and all that it started."""
        said = self.interrupted(signal.SIGINT, FIRST_STAGE, "make", "demo", wait_s=1)
        assert "Traceback" not in said, said
        until(lambda: not self.running(), lambda: f"the end of {self.running()}")

    def running(self) -> list[str]:
        """Processes that work in this clone."""
        found = []
        for process in psutil.process_iter(["cwd", "cmdline"]):
            line = " ".join(process.info["cmdline"] or [])
            if str(self.folder) in f"{process.info['cwd']} {line}":
                found.append(line)
        return found


def hears_ctrl_c() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so would our commands."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def hear(process: subprocess.Popen[bytes], mark: str) -> str:
    """What a process says, up to `mark`."""
    heard = b""
    while mark.encode() not in heard:
        more = os.read(process.stdout.fileno(), 1 << 16)
        assert more, f"it ended before it said {mark!r}: {heard.decode()}"
        heard += more
    return heard.decode()


def commanders(pid: int) -> list[int]:
    """make and the set-up's own process, without the tool that it runs."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(True) if "infra/setup.py" in child.cmdline())]


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of all that lies in a folder."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    made = Clone(tmp_path_factory.mktemp("fresh") / FOLDER)
    made.set_up()
    yield made
    shutil.rmtree(made.folder)


@pytest.fixture
def in_var(clone: Clone) -> Iterator[Clone]:
    """The clone, with a `var/` as set-up leaves it, which the case may spoil."""
    clone.set_up()
    yield clone
    shutil.rmtree(clone.folder / "var")


# Set-up


@pytest.mark.acceptance
def test_after_setup_the_demo_is_not_refused(in_var: Clone) -> None:
    assert [path.name for path in in_var.home.iterdir()] == ["numba"]
    in_var.demo_begins()
    in_var.demo_begins()


# (what set-up says before, seconds after it, whether all its processes die)
MOMENTS = {
    "pip": (".venv with", 3.0, True),
    "uv": ("setup: uv", 1.0, True),
    "packages": ("setup: packages", 0.5, True),
    "packages-orphaned": ("setup: packages", 1.0, False),
    "ghtrader": ("setup: ghtrader", 0.1, True),
}


@pytest.mark.parametrize("moment", ["pip", "uv", "packages-orphaned", "ghtrader"])
def test_a_killed_setup_is_mended(clone: Clone, moment: str) -> None:
    mark, wait_s, group = MOMENTS[moment]
    shutil.rmtree(clone.folder / ".venv")
    clone.interrupted(signal.SIGKILL, mark, "make", "setup", wait_s=wait_s, group=group)
    said = clone.set_up()
    assert "its set-up did not end" in said
    assert ("waiting for" in said) == (not group)


@pytest.mark.acceptance
def test_a_setup_killed_among_its_packages_is_mended(clone: Clone) -> None:
    test_a_killed_setup_is_mended(clone, "packages")


def test_ctrl_c_is_told_in_a_sentence(clone: Clone) -> None:
    shutil.rmtree(clone.folder / ".venv")
    said = clone.interrupted(signal.SIGINT, "setup: packages", "make", "setup", wait_s=0.5)
    assert "interrupted; `make setup` goes on" in said and "Traceback" not in said
    clone.set_up()


def test_a_killed_compilation_goes_on(clone: Clone) -> None:
    shutil.rmtree(clone.folder / ".cache")
    clone.interrupted(signal.SIGKILL, "setup: compiled kernels", "make", "setup", wait_s=15)
    kernels = {path: when for path, when in tree(clone.folder / ".cache" / "numba").items() if path.endswith(".nbc")}
    said = clone.set_up()
    assert re.findall(r"setup: (\w+)", said) == ["compiled"]
    assert kernels and kernels.items() <= tree(clone.folder / ".cache" / "numba").items(), "none is compiled again"


def no_pip(venv: Path) -> None:
    for path in [*venv.glob("lib/python*/site-packages/pip*"), *venv.glob("bin/pip*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def half_made(venv: Path) -> None:
    no_pip(venv)
    (venv / ".installed").unlink()


def broken_pip(venv: Path) -> None:
    for path in venv.glob("lib/python*/site-packages/pip/__main__.py"):
        path.write_text("raise SystemError")
    (venv / ".installed").unlink()


def package_lost(venv: Path) -> None:
    shutil.rmtree(next(venv.glob("lib/python*/site-packages/numpy")))


def file_lost(venv: Path) -> None:
    next(venv.glob("lib/python*/site-packages/pandas/core/frame.py")).unlink()


def python_gone(venv: Path) -> None:
    for path in venv.glob("bin/python*"):
        path.unlink()
    (venv / "bin" / "python").symlink_to(venv / "gone")


def old_stamp(venv: Path) -> None:
    (venv / ".installed").write_text("")


def a_file(venv: Path) -> None:
    shutil.rmtree(venv)
    venv.write_text("")


def a_dangling_link(venv: Path) -> None:
    shutil.rmtree(venv)
    venv.symlink_to(venv.parent / "nowhere")


def moved_folder(venv: Path) -> None:
    """The clone was moved: the environment still names its old folder."""
    stamp = venv / ".installed"
    folder = str(venv.parent.with_name("before") / ".venv")
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "folder": folder}))


def bare_python(venv: Path) -> None:
    """An empty environment that something else made."""
    shutil.rmtree(venv)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)


@pytest.mark.parametrize(
    "damage",
    [no_pip, half_made, broken_pip, package_lost, file_lost, python_gone, old_stamp, a_file, a_dangling_link,
     moved_folder, bare_python],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_a_half_installed_venv_is_mended(clone: Clone, damage: Callable[[Path], None]) -> None:
    damage(clone.folder / ".venv")
    assert "removing .venv: " in clone.set_up()


def test_a_changed_lock_is_installed_without_starting_anew(clone: Clone) -> None:
    lock = clone.folder / "requirements.lock"
    before = lock.read_text()
    for text in (before + "# another comment\n", before):
        lock.write_text(text)
        said = clone.set_up()
        assert "removing" not in said and "packages" in said


def tampered(text: str, package: str) -> str:
    """A lock with another first digit in each hash of a package."""
    start = text.index(f"{package}==")
    lines = text[start:].splitlines(keepends=True)
    for number, line in enumerate(lines[1:], 1):
        if "--hash=sha256:" not in line:
            break
        at = line.index("sha256:") + len("sha256:")
        lines[number] = line[:at] + ("1" if line[at] == "0" else "0") + line[at + 1 :]
    return text[:start] + "".join(lines)


@pytest.mark.parametrize("anew", [True, False], ids=["anew", "installed"])
@pytest.mark.parametrize("lock, package", [("requirements.lock", "click"), ("infra/installer.lock", "uv")])
def test_a_package_with_another_hash_is_refused(clone: Clone, lock: str, package: str, anew: bool) -> None:
    path = clone.folder / lock
    right = path.read_text()
    path.write_text(tampered(right, package))
    if anew:
        shutil.rmtree(clone.folder / ".venv")
    code, said = clone.typed("make", "setup")
    assert code != 0 and "by its hash" in one_sentence(clone, said) and "requirements.lock" in said
    path.write_text(right)
    clone.set_up()


def test_the_bill_of_materials_names_what_is_installed(clone: Clone) -> None:
    code, said = clone.typed("make", "sbom")
    assert code == 0, said
    document = json.loads((clone.folder / ".cache" / "sbom.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    named = {f"{re.sub('[._]', '-', part['name']).lower()}=={part['version']}" for part in document["components"]}
    lock = (clone.folder / "requirements.lock").read_text()
    assert named >= set(re.findall(r"^(?:dagster|tqsdk|hatchling)==\S+", lock, re.MULTILINE))
    besides = {name.split("==")[0] for name in named if f"\n{name} " not in f"\n{lock}"}
    assert besides <= {"uv", "pip", "setuptools", "ghtrader"}


# What set-up cannot do


def one_sentence(clone: Clone, said: str) -> str:
    """The one line that says what is wrong."""
    errors = [line for line in said.splitlines() if line.startswith("setup: error: ")]
    assert len(errors) == 1 and "Traceback" not in said, said
    assert len([line for line in said.splitlines() if line.strip()]) <= 6, said
    return errors[0]


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own; skipped where nobody may mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "ghtrader-test", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_without_write_permission(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "64m"):
        fresh = Clone(tmp_path / "disk" / FOLDER)
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "disk")], check=True)
        code, said = fresh.typed("make", "demo")
    assert code != 0 and "permissions" in one_sentence(fresh, said)


def test_without_room_on_the_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "100m"):
        fresh = Clone(tmp_path / "disk" / FOLDER)
        code, said = fresh.typed("make", "demo")
    assert code != 0 and "make room" in one_sentence(fresh, said)


def test_a_file_in_a_folders_place(clone: Clone) -> None:
    shutil.rmtree(clone.folder / ".cache")
    (clone.folder / ".cache").write_text("")
    code, said = clone.typed("make", "setup")
    assert code != 0 and "permissions" in one_sentence(clone, said)
    (clone.folder / ".cache").unlink()
    clone.set_up()


@pytest.mark.parametrize("when", ["pip", "uv"])
def test_without_network(clone: Clone, tmp_path: Path, when: str) -> None:
    pip = {"PIP_INDEX_URL": CLOSED, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": ""}
    uv = {"UV_INDEX_URL": CLOSED, "UV_CACHE_DIR": str(tmp_path), "UV_NO_CONFIG": "1", "UV_HTTP_RETRIES": "1"}
    shutil.rmtree(clone.folder / ".venv")
    code, said = clone.typed("make", "setup", **(pip if when == "pip" else uv))
    assert code != 0 and "the package index cannot be reached" in one_sentence(clone, said)
    clone.set_up()


# The demo


def other_versions_demo(home: Path) -> None:
    for name in ("data", "dagster", "runs", "numba", "locks"):
        (home / name / "old").mkdir(parents=True)
        (home / name / "old" / "file").write_text("")
    (home / MARKER).write_text("This folder is emptied by each `ghtrader demo`.\n")


def other_versions_setup(home: Path) -> None:
    (home / "numba" / "0123456789abcdef").mkdir(parents=True)
    (home / "numba" / "0123456789abcdef" / "half.nbi").write_bytes(b"\x80")


def killed_before_its_marker(home: Path) -> None:
    (home / f".{MARKER}.x7.tmp").write_text("")


def empty(home: Path) -> None:
    """A folder that `mkdir` left."""


@pytest.mark.parametrize(
    "left",
    [other_versions_demo, other_versions_setup, killed_before_its_marker, empty],
    ids=lambda left: left.__name__,
)
def test_a_var_left_over_is_no_obstacle(in_var: Clone, left: Callable[[Path], None]) -> None:
    shutil.rmtree(in_var.folder / "var")
    in_var.home.mkdir(parents=True)
    left(in_var.home)
    in_var.demo_begins()


@pytest.mark.parametrize("marked", [True, False])
def test_a_persons_files_are_named_and_stay(in_var: Clone, marked: bool) -> None:
    (in_var.home / "我的 notes.txt").write_text("mine")
    (in_var.home / "data").mkdir(exist_ok=True)
    (in_var.home / MARKER).unlink(missing_ok=True)
    if marked:
        (in_var.home / MARKER).write_text("")
    before = tree(in_var.home)
    code, said = in_var.typed("make", "demo")
    assert code != 0 and "我的 notes.txt" in said and "Error 3" in said and "Traceback" not in said
    assert tree(in_var.home) == before


# (what the demo says before, seconds after it, what the next demo must come to)
KILLS = {
    "exchange": (FIRST_STAGE, 0.5, "roll schedule"),
    "download": ("] download:", 5.0, "roll schedule"),
    "trading": ("] trading", 6.0, ""),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_killed_demo_is_played_again(in_var: Clone, moment: str) -> None:
    mark, wait_s, goal = KILLS[moment]
    quick = (".venv/bin/ghtrader", "demo", "--quick")
    in_var.interrupted(signal.SIGKILL, mark, *quick, wait_s=wait_s)
    if goal:
        in_var.interrupted(signal.SIGKILL, goal, *quick)
    else:
        assert in_var.typed(*quick)[0] == 0
    until(lambda: not in_var.running(), lambda: f"the end of {in_var.running()}")


def test_the_demo_runs_to_its_end_and_makes_what_it_says(in_var: Clone) -> None:
    code, said = in_var.typed("make", "demo")
    assert code == 0 and "SIMULATED: " in said and "REAL: " in said and "Report: " in said
    assert {path.name for path in in_var.home.iterdir()} <= {MARKER, *MADE}
    code, said = in_var.typed(".venv/bin/python", "-m", "pytest", "--collect-only")
    assert code == 0 and "tests collected" in said


def test_a_long_path_anywhere_is_a_home(in_var: Clone, tmp_path: Path) -> None:
    home = tmp_path / "很 长 的 路径" / ("long folder " * 10) / ("长" * 50)
    assert len(str(home).encode()) > 300
    code, said = in_var.typed(".venv/bin/ghtrader", "demo", "--quick", "--home", str(home))
    assert code == 0
    shown = re.search(r"^export GHTRADER_HOME=.*$", said, re.MULTILINE)[0]
    assert in_var.typed("sh", "-c", f'{shown}; test -d "$GHTRADER_HOME"/data')[0] == 0


# What is on the PATH


def lone_python(folder: Path, python: str) -> str:
    """A PATH on which `python` is the only Python, and neither Java nor Maven is."""
    folder.mkdir()
    hidden = re.compile(r"(python|pip|pydoc|pyenv|uv|java|jar|mvn)")
    for place in ("/bin", "/usr/bin"):
        for tool in Path(place).iterdir():
            if not hidden.match(tool.name) and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    (folder / Path(python).name).symlink_to(python)
    return str(folder)


def pythons(version: str) -> list[str]:
    """Real interpreters of a version, not shims."""
    places = [*Path("/usr/bin").glob(f"python{version}"), *Path("/usr/local/bin").glob(f"python{version}")]
    places += (Path.home() / ".pyenv" / "versions").glob(f"{version}*/bin/python{version}")
    check = "import sys, venv, ensurepip; print(sys.executable)"
    return [
        str(place) for place in places
        if subprocess.run([place, "-c", check], capture_output=True, check=False).returncode == 0
    ]  # fmt: skip


@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_with_one_python_alone_and_without_java(tmp_path: Path, version: str) -> None:
    if not pythons(version):
        pytest.skip(f"no Python {version} here")
    fresh = Clone(tmp_path / FOLDER, lone_python(tmp_path / "bin", pythons(version)[-1]))
    assert f".venv with Python {version}" in fresh.set_up()
    if version == "3.12":
        code, said = fresh.typed(".venv/bin/ghtrader", "demo", "--quick")
        assert code == 0 and "Report: " in said
        assert fresh.typed(".venv/bin/python", "-m", "pytest", "--collect-only", "-q")[0] == 0
    else:
        fresh.demo_begins()
    code, said = fresh.typed(".venv/bin/python", "-m", "pytest", "tests/integration/questdb/test_store.py")
    assert code == 0 and "skipped" in said
    shutil.rmtree(fresh.folder)


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_another_python_is_refused(tmp_path: Path, version: str) -> None:
    if not pythons(version):
        pytest.skip(f"no Python {version} here")
    fresh = Clone(tmp_path / FOLDER)
    code, said = fresh.typed("make", f"PYTHON={pythons(version)[0]}", "demo")
    assert code != 0 and "Python 3.11 or 3.12" in said and not (fresh.folder / ".venv").exists()
