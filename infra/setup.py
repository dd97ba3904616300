"""Makes `.venv` and compiles the kernels: `make setup`. Standard library only; runs with the system's Python.

Run again it does only what is missing. `.venv/.installed` is written last and says what was installed, for which Python
and in which folder; a `.venv` without it, or one that is not what it says, is removed and made anew. Whatever is
installed is a wheel whose sha256 stands in a lock: uv in `infra/installer.lock`, all else, what builds ghtrader itself
among it, in `requirements.lock`.
"""

import argparse
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMP = VENV / ".installed"
LOCK, INSTALLER_LOCK = "requirements.lock", "infra/installer.lock"
INPUTS = (LOCK, INSTALLER_LOCK, "pyproject.toml")
ONLY_WHEELS = ("--require-hashes", "--only-binary", ":all:")
"""A source package would be built by what no lock names."""
COMPILED = ROOT / ".cache" / "numba"
HOMES = ("var/demo", "var")
"""Homes that get a copy of the compiled kernels; the first one is the demo's, which keeps it."""
TAIL_LINES = 15
# (what a tool prints, what to tell the user)
CAUSES = (
    (
        ("Hash mismatch", "DO NOT MATCH THE HASHES", "no wheels with a matching hash", "hashes are required",
         "must have a hash"),
        f"a package is not the one that {LOCK} or {INSTALLER_LOCK} names by its hash, and is not installed: "
        "restore both files (git checkout); if they are right, do not trust the package index",
    ),
    (
        ("No space left on device", "os error 28", "Disk quota exceeded"),
        f"no space is left on the disk: make room (about 6 GB for {VENV} and the package cache)",
    ),
    (
        ("Permission denied", "Read-only file system", "Not a directory", "os error 13", "os error 30", "os error 20"),
        f"cannot write under {ROOT}, or in the package cache or the temporary folder: check their permissions",
    ),
    (
        ("NewConnectionError", "ConnectionError", "Connection refused", "ConnectTimeout", "Could not connect",
         "error sending request", "dns error", "Name or service not known", "Temporary failure in name resolution",
         "Failed to fetch", "network was disabled", "network is disabled", "Network connectivity is disabled",
         "No matching distribution found", "timed out", "ProxyError"),
        "the package index cannot be reached: check the network (and PIP_INDEX_URL, UV_INDEX_URL where they are set)",
    ),
)  # fmt: skip


class SetupError(Exception):
    """One sentence for the user; `details` are the last lines of an unknown fault."""

    def __init__(self, sentence, details=""):
        super().__init__(sentence)
        self.details = details


def say(text, end="\n"):
    """Print to stderr at once."""
    sys.stderr.write(text + end)
    sys.stderr.flush()


@contextlib.contextmanager
def step(title):
    """A step of the set-up, on one line with its seconds."""
    began = time.monotonic()
    say(f"setup: {title} ... ", end="")
    try:
        yield
    except BaseException:
        say("failed")
        raise
    say(f"{time.monotonic() - began:.0f} s")


@contextlib.contextmanager
def one_at_a_time():
    """Hold the clone's folder locked. Children keep the lock, so what a killed set-up left running is waited for."""
    fd = os.open(ROOT, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("setup: waiting for another set-up of this folder, or for what an interrupted one left running")
        fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def run(*command, **env):
    """Run a tool quietly; `SetupError` in a sentence where it fails."""
    clean = {name: value for name, value in os.environ.items()
             if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_USER", "PIP_TARGET")}  # fmt: skip
    done = subprocess.run(
        [str(part) for part in command], cwd=str(ROOT), env=dict(clean, **env), close_fds=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode == 0:
        return
    output = done.stdout.decode("utf-8", "replace").strip()
    for marks, sentence in CAUSES:
        if any(mark.lower() in output.lower() for mark in marks):
            raise SetupError(sentence)
    tail = "\n".join(output.splitlines()[-TAIL_LINES:])
    raise SetupError(f"{Path(command[0]).name} {command[1]} ended with {done.returncode}", tail)


def inputs_hash():
    """Of the files that decide what is installed."""
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def version_of(python):
    """Version and place of a Python as it says itself; empty where it does not run."""
    code = "import os, sys; print(sys.version, os.path.realpath(sys.executable))"
    with contextlib.suppress(OSError):
        done = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
    return ""


def locked(lock):
    """Name and version of each package of a lock -> sha256 of the hashes that it may have."""
    found, package = {}, ""
    for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
        if line[:1].isalnum():
            package = line.split(";")[0].strip(" \\")
            found[package] = hashlib.sha256()
        elif line.strip().startswith("--hash="):
            found[package].update(line.strip(" \\").encode())
    return {package: digest.hexdigest() for package, digest in found.items()}


def with_other_hashes(hashes, known):
    """Names of packages that are installed (`known`) under other hashes than they have now.

    What is there is good to pip and uv, whatever the lock says: these must be fetched and looked at again.
    """
    return [name.split("==")[0] for name, digest in hashes.items() if known.get(name, digest) != digest]


def packages():
    """Names of the installed distributions' metadata folders."""
    return sorted(path.name for path in VENV.glob("lib/python*/site-packages/*.dist-info"))


def first_missing(names):
    """A file that an installed distribution lists and that is not there, or None."""
    for site in VENV.glob("lib/python*/site-packages"):
        present = {}  # folder -> names; asking for folders is quicker than asking for each of 60,000 files
        for name in names:
            record = site / name / "RECORD"
            if not record.is_file():
                return record
            for line in record.read_text(encoding="utf-8").splitlines():
                path = line.rsplit(",", 2)[0].strip('"')
                if not path.endswith(".pyc"):
                    folder, _, file = path.rpartition("/")
                    if folder not in present:
                        where = os.path.join(str(site), folder)
                        present[folder] = set(os.listdir(where)) if os.path.isdir(where) else set()
                    if file not in present[folder]:
                        return site / path
        return None
    return VENV / "lib"


def read_stamp():
    """What `.venv` says that it is; empty where its set-up did not end."""
    with contextlib.suppress(OSError, ValueError):
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        if isinstance(stamp, dict) and set(stamp) | {"hashes"} == {"python", "folder", "inputs", "packages", "hashes"}:
            return stamp
    return {}


def fault(stamp, python):
    """Why a `.venv` must be made anew, or empty; `python` is the one that the user named, if any."""
    if not stamp:
        return "its set-up did not end"
    if "hashes" not in stamp:
        return "its packages were installed without a look at their hashes"
    if stamp["folder"] != str(VENV):
        return f"it was made as {stamp['folder']}"
    if version_of(BIN / "python") != stamp["python"]:
        return "its Python does not run any more, or is another one"
    if python and version_of(python) != stamp["python"]:
        return f"it was made with Python {stamp['python'].split()[0]}"
    missing = first_missing(stamp["packages"])
    return f"{missing.relative_to(VENV)} is missing" if missing else ""


def replace(path, text):
    """Write a file in one step."""
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def remove(path):
    """A file, link or folder; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(str(path))
    else:
        path.unlink()


def install(python):
    """Bring `.venv` to what the lock and the project file say; quick where it is there already."""
    stamp, wanted = read_stamp(), inputs_hash()
    reason = fault(stamp, python) if os.path.lexists(str(VENV)) else ""
    if reason:
        with step(f"removing .venv: {reason}"):
            remove(VENV)
    if os.path.lexists(str(VENV)):
        if stamp["inputs"] == wanted:
            return
        STAMP.unlink()
    else:
        with step(f".venv with Python {sys.version.split()[0]}"):
            run(sys.executable, "-m", "venv", VENV)
    uv = (BIN / "uv", "pip", "install", "--python", BIN / "python")
    hashes, known = {name: locked(name) for name in (LOCK, INSTALLER_LOCK)}, stamp.get("hashes", {})
    changed = {name: with_other_hashes(found, known.get(name, {})) for name, found in hashes.items()}
    with step("uv"):
        pip = (BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2")
        run(*pip, *ONLY_WHEELS, *(["--force-reinstall"] if changed[INSTALLER_LOCK] else []), "-r", INSTALLER_LOCK)
    with step(f"packages of {LOCK}"):
        run(*uv, *ONLY_WHEELS, *(f"--reinstall-package={name}" for name in changed[LOCK]), "-r", LOCK)
    with step("ghtrader"):
        run(*uv, "--no-deps", "--no-build-isolation", "-e", ".")
    made = {"python": version_of(BIN / "python"), "folder": str(VENV), "inputs": wanted, "packages": packages()}
    replace(STAMP, json.dumps(dict(made, hashes=hashes)))


def compile_kernels():
    """Compile the numba kernels and copy them to the homes, unless that was done for this `.venv` and is there."""
    mark, made = ROOT / ".cache" / "kernels", STAMP.read_text(encoding="utf-8")
    folders = [mark] + [ROOT / home / "numba" for home in HOMES]
    if all(path.exists() for path in folders) and mark.read_text(encoding="utf-8") == made:
        return
    with step("compiled kernels (a minute or two the first time)"):
        run(BIN / "python", "-m", "ghtrader.compile_kernels", *HOMES, NUMBA_CACHE_DIR=str(COMPILED))
        replace(mark, made)


def main():
    """Exit code of the set-up: 0 done, 1 failed, 2 wrong Python, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default="", help="the Python that the user named; without it a whole .venv stays")
    args = parser.parse_args()
    if not (3, 11) <= sys.version_info < (3, 13):
        say(f"setup: Python 3.11 or 3.12 is needed, this is {sys.version.split()[0]} (make PYTHON=...)")
        return 2
    try:
        with one_at_a_time():
            install(args.python)
            compile_kernels()
    except SetupError as exc:
        if exc.details:
            say(exc.details)
        say(f"setup: error: {exc}; then run `make setup` again")
        return 1
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "make room" if full else "check the folder's permissions"
        say(f"setup: error: {exc.strerror or exc}: {exc.filename or ROOT}: {remedy}, then run `make setup` again")
        return 1
    except KeyboardInterrupt:
        say("setup: interrupted; `make setup` goes on from here")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
