"""Settings: order of the sources, secrets that stay out of files, errors that name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghtrader_base.errors import ConfigError, RefusedError, UsageError
from ghtrader_base.settings import describe_settings, load_settings, set_setting


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_order_default_toml_dotenv_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().max_parallel_tqsdk_jobs == 4
    set_setting("GHTRADER_MAX_PARALLEL_TQSDK_JOBS", "2")
    assert load_settings().max_parallel_tqsdk_jobs == 2
    (tmp_path / ".env").write_text("GHTRADER_MAX_PARALLEL_TQSDK_JOBS=3\n")
    assert load_settings().max_parallel_tqsdk_jobs == 3
    monkeypatch.setenv("GHTRADER_MAX_PARALLEL_TQSDK_JOBS", "5")
    assert load_settings().max_parallel_tqsdk_jobs == 5
    rows = {row.name: row.to_json() for row in describe_settings(load_settings())}
    assert rows["GHTRADER_MAX_PARALLEL_TQSDK_JOBS"]["source"] == "environment"


def test_only_the_written_names_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HOME", "/elsewhere"), ("LIVE_ENABLED", "true"), ("QUESTDB_HOST", "elsewhere")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GHTRADER_HOME", raising=False)
    settings = load_settings()
    assert settings.home == tmp_path / "var"
    assert not settings.live_enabled and not settings.questdb_host


@pytest.mark.parametrize("key", ["TQSDK_PASSWORD", "GHTRADER_LIVE_ENABLED", "TQ_ACCOUNT_PASSWORD"])
def test_the_store_refuses_secrets_and_the_live_gate(key: str) -> None:
    with pytest.raises(RefusedError) as caught:
        set_setting(key, "x")
    assert caught.value.exit_code == 3
    assert not Path("ghtrader.toml").exists()


def test_a_secret_in_the_toml_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "ghtrader.toml").write_text('TQSDK_PASSWORD = "x"\n')
    with pytest.raises(ConfigError):
        load_settings()


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQSDK_PASSWORD", "hunter2hunter2")
    monkeypatch.setenv("TQ_ACCOUNT_ID", "8612345")
    shown = str(describe_settings(load_settings())) + str(load_settings())
    assert "hunter2" not in shown
    assert "8612345" not in str(describe_settings(load_settings()))


@pytest.mark.parametrize(("key", "value"), [("NO_SUCH", "1"), ("GHTRADER_QUESTDB_HTTP_PORT", "many")])
def test_wrong_keys_and_values_are_refused(key: str, value: str) -> None:
    with pytest.raises(UsageError):
        set_setting(key, value)


def test_a_bad_value_in_the_environment_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHTRADER_QUESTDB_HTTP_PORT", "many")
    with pytest.raises(ConfigError, match="GHTRADER_QUESTDB_HTTP_PORT"):
        load_settings()


def test_homes_are_absolute_and_accounts_live_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    one, two = load_settings("one"), load_settings("two")
    assert one.home.is_absolute() and one.home != two.home
    assert one.account_state("kq", "a") == two.account_state("kq", "a") == tmp_path / "state/ghtrader/accounts/kq/a"


@pytest.mark.parametrize("spelled", ["state", "./state", "../state", ".", ""])
def test_a_relative_state_folder_does_not_follow_the_current_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spelled: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", spelled)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    found = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found.add(load_settings().account_state("kq", "a"))
    assert found == {tmp_path / "me/.local/state/ghtrader/accounts/kq/a"}
    monkeypatch.chdir(tmp_path / "one")
    if spelled == "state":
        (tmp_path / "one/state/ghtrader/accounts/kq/a").mkdir(parents=True)
        with pytest.raises(ConfigError, match="is relative") as refused:
            load_settings().account_state("kq", "a")
        assert str(tmp_path / "one/state") in refused.value.hint, "what was tripped there does not come free"
