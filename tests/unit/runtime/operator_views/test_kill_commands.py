"""`kill trip`, `status` and `reset` where something else than a file lies in an account's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ghtrader_base.errors import ConfigError, GhtraderError
from ghtrader_base.lock_keys import trade_key
from ghtrader_base.locks import lock_path
from ghtrader_base.settings import Settings
from ghtrader_runtime.accounts.kill_switch import FILE_NAME, KillSwitch
from ghtrader_runtime.accounts.ledger_prewrite import FILE_NAME as PREWRITE
from ghtrader_runtime.accounts.ledger_reader import FILE_NAME as LEDGER
from ghtrader_runtime.accounts.ledger_reader import ID_NAME
from ghtrader_runtime.accounts.order_ledger import Ledger
from ghtrader_runtime.operator_views import kill_commands
from tests.support.odd_files import KINDS, PRECIOUS, put, victim_of

pytestmark = pytest.mark.clock
WRITE_LOCK = "kill-write.lock"
TRADE_LOCK = lock_path(Path(), trade_key("demo")).name
FOLDER = "the account's folder"


@pytest.fixture
def folder(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of a paper account that a gateway has traded."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(kill_commands, "ask", lambda *_, **__: None)  # nobody is there, and it asks for two seconds
    folder = settings.home / "accounts" / "paper" / "demo"
    Ledger(folder, "first", KillSwitch(folder).begin()).close()
    return folder


@pytest.mark.parametrize("name", [WRITE_LOCK, TRADE_LOCK, FILE_NAME, LEDGER, ID_NAME, PREWRITE, "bus-token", FOLDER])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trip_reaches_every_broker(settings: Settings, folder: Path, name: str, kind: str) -> None:
    path = folder if name == FOLDER else folder / name
    if name == FOLDER:
        shutil.rmtree(folder)
    put(kind, path)
    paper, *others = kill_commands.trip(settings, "demo", "a test")
    assert {row.broker for row in others} >= {"tqkq", "tqsim"} and all(row.tripped for row in others)
    assert paper.tripped or (paper.unwritten and name == FOLDER), "what cannot be written is said"
    assert kill_commands.status(settings, "demo")[0].tripped == paper.tripped
    if kind == "link":
        assert victim_of(path).read_text() == PRECIOUS


@pytest.mark.parametrize("name", [WRITE_LOCK, FILE_NAME])
@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_says_what_to_move_away(settings: Settings, folder: Path, name: str, kind: str) -> None:
    kill_commands.trip(settings, "demo", "a test", "paper")
    put(kind, folder / name)
    with pytest.raises(ConfigError) as caught:
        kill_commands.reset(settings, "demo", "mended", "paper")
    assert "stays tripped" in caught.value.message and str(folder / name) in caught.value.message
    assert f"mv {folder / name} {folder / name}.old" in caught.value.hint
    if kind == "link":
        assert victim_of(folder / name).read_text() == PRECIOUS
    assert KillSwitch(folder).read().tripped

    (folder / name).rename(folder / f"{name}.old")
    assert KillSwitch(folder).read().tripped
    assert not kill_commands.reset(settings, "demo", "mended", "paper")[0].tripped


def test_a_gateway_says_what_to_move_away(folder: Path) -> None:
    (folder / PREWRITE).unlink(missing_ok=True)
    (folder / PREWRITE).symlink_to("nowhere")
    with pytest.raises(GhtraderError, match="is a link"):
        Ledger(folder, "second", KillSwitch(folder).begin())
    assert not (folder / "nowhere").exists()
