"""Something else than a file where one of ours is expected: nothing waits for it or writes through it; it is named."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ghtrader_assets.instance.instance import _write_config as write_dagster_config
from ghtrader_assets.instance.login_links import login_link, take_ticket
from ghtrader_base.errors import ConfigError, GhtraderError, IntegrityError
from ghtrader_base.files import atomic_write_text
from ghtrader_base.private_files import private_opener
from ghtrader_base.reserved_file import ReservedFile
from ghtrader_base.settings import Settings
from ghtrader_market.recorder.row_log import RowLog
from ghtrader_models.bundles.champions import _append_line as append_champion
from ghtrader_runtime.accounts.ledger_prewrite import read_block
from ghtrader_runtime.gateway.metrics_server import make_token
from ghtrader_runtime.runlog.decision_log import replay_decisions
from tests.support.odd_files import KINDS, PRECIOUS, put, victim_of


def append(path: Path) -> object:
    with open(path, "ab", opener=private_opener) as file:
        return file.write(b"x")


def write_anew(path: Path) -> object:
    with open(path, "w", opener=private_opener) as file:
        return file.write("x")


WRITERS: dict[str, Callable[[Path], object]] = {
    "a log that goes on": append,
    "a file written anew": write_anew,
    "a recorder's journal": RowLog,
    "a history of champions": lambda path: append_champion(path, b"{}\n"),
    "room for a summary": lambda path: ReservedFile(path.with_name(path.name[1:].removesuffix(".reserved")), 1 << 12),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_what_writes_refuses_it(tmp_path: Path, writer: Callable[[Path], object], kind: str) -> None:
    path = tmp_path / ".it.reserved"
    put(kind, path)
    with pytest.raises(ConfigError, match="where a file is expected"):
        writer(path)
    assert path.is_symlink() or path.exists()
    assert kind != "link" or victim_of(path).read_text() == PRECIOUS
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_takes_its_place_or_names_the_folder(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.json"
    put(kind, path)
    if "folder" in kind:
        with pytest.raises(ConfigError, match=r"a\.json is a folder"):
            atomic_write_text(path, "new")
        assert sorted(os.listdir(tmp_path)) == ["a.json"]
    else:
        atomic_write_text(path, "new")
        assert not path.is_symlink() and path.read_text() == "new"
    assert kind != "link" or victim_of(path).read_text() == PRECIOUS


@pytest.mark.parametrize("kind", KINDS)
def test_what_reads_waits_for_nothing(settings: Settings, tmp_path: Path, kind: str) -> None:
    put(kind, tmp_path / "ledger.ahead")
    assert read_block(tmp_path) is None

    put(kind, tmp_path / "mind" / "1.bin")
    with pytest.raises(IntegrityError, match=r"1\.bin cannot be read"):
        replay_decisions(tmp_path)

    login_link(settings, "dagster", "http://127.0.0.1:1")
    put(kind, settings.home / "logins" / "dagster")
    assert not take_ticket(settings, "dagster", "anything")

    put(kind, settings.metrics_token)
    if "folder" in kind:
        with pytest.raises(ConfigError, match="is a folder"):
            make_token(settings)
    else:
        token = make_token(settings)
        assert len(token.read_text().strip()) >= 32 and token.stat().st_mode & 0o777 == 0o600
        assert kind != "link" or victim_of(token).read_text() == PRECIOUS

    config = settings.dagster / "dagster.yaml"
    put(kind, config)
    if kind not in ("link", "link to nothing", "link to itself"):
        with pytest.raises(GhtraderError, match=r"dagster\.yaml is"):
            write_dagster_config(config)
    elif kind == "link":
        digest = hashlib.sha256(PRECIOUS.encode()).hexdigest()
        write_dagster_config(config)  # somebody's own, which is left as it is
        assert hashlib.sha256(config.read_bytes()).hexdigest() == digest
