"""What is installed and run is what the repository names by a hash: the locks, QuestDB's jar, the actions of CI."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "infra/installer.lock", "infra/hftbacktest.lock")
SHA256 = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def script(path: str) -> ModuleType:
    """A script of `infra/`, which is no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def packages(lock: str) -> dict[str, list[str]]:
    """Name and version as a lock writes them -> its lines of hashes."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if line[:1].isalnum():
            found[line.split(" ")[0]] = []
        elif "--hash" in line:
            found[list(found)[-1]].append(line)
    return found


# Locks


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_one_version_and_hashes(lock: str) -> None:
    found = packages(lock)
    assert found and all(re.fullmatch(r"[a-z0-9._-]+==[^\s*]+", name) for name in found)
    assert all(lines and all(SHA256.fullmatch(line) for line in lines) for lines in found.values())


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_no_address_and_no_option(lock: str) -> None:
    for line in (ROOT / lock).read_text().splitlines():
        assert "://" not in line and " @ " not in line, line
        assert line.startswith(("    --hash=sha256:", "    #")) or line[:1].isalnum(), line


def test_what_builds_ghtrader_is_locked_as_it_is_pinned() -> None:
    (pinned,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    names = {name.split("==")[0] for name in packages(LOCKS[0])}
    assert pinned in packages(LOCKS[0]) and "editables" in names
    assert [name.split("==")[0] for name in packages(LOCKS[1])] == ["uv"]


def test_setup_sees_which_hashes_changed(tmp_path: Path) -> None:
    setup = script("infra/setup.py")
    setup.ROOT = tmp_path
    text = "a==1 ; any \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n    # via b\nb==2 \\\n    --hash=sha256:02\n"
    (tmp_path / "lock").write_text(text)
    known = setup.locked("lock")
    assert list(known) == ["a==1", "b==2"]
    for changed, names in ((text, []), (text.replace("01", "03"), ["a"]), (text.replace("b==2", "b==3"), []),
                           (text + "    # via c\n", []), (text.replace(":02", ":12"), ["b"])):  # fmt: skip
        (tmp_path / "lock").write_text(changed)
        assert setup.with_other_hashes(setup.locked("lock"), known) == names
    assert setup.with_other_hashes(known, {}) == []


# QuestDB


def test_a_jar_that_is_not_questdb_is_named_and_not_run(tmp_path: Path) -> None:
    runner = ROOT / "infra" / "questdb" / "run.py"
    copy = tmp_path / "infra" / "questdb" / "run.py"  # the jar's folder goes by the script's own
    copy.parent.mkdir(parents=True)
    copy.write_text(runner.read_text())
    cached = tmp_path / ".cache" / "questdb"
    cached.mkdir(parents=True)
    jar = cached / f"questdb-{script('infra/questdb/run.py').VERSION}.jar"
    jar.write_bytes(b"PK\x03\x04 something else")
    command = [sys.executable, "-P", str(copy), "--root", str(tmp_path / "data"), "--http-port", "0", "--pg-port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False)
    assert done.returncode == 4 and done.stdout == ""
    assert str(jar) in done.stderr and "sha256" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists() and jar.exists()


# Continuous integration


def test_actions_are_named_by_their_commit() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    used = re.findall(r"uses: (.*)", text)
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used)
