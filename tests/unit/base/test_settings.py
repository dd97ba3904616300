"""Settings: order of the sources, secrets that stay out of files, errors that name the setting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ghtrader.cli import run
from ghtrader_base.errors import ConfigError, RefusedError, UsageError
from ghtrader_base.settings import _told, describe_settings, load_settings, require_whole_logins, set_setting
from ghtrader_market.stores.questdb.client import QuestDbClient


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default home, under a current folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("GHTRADER_HOME", "GHTRADER_SETTINGS_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "var").mkdir()
    return tmp_path / "var"


def test_order_default_toml_dotenv_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().max_parallel_tqsdk_jobs == 4
    set_setting("GHTRADER_MAX_PARALLEL_TQSDK_JOBS", "2")
    assert load_settings().max_parallel_tqsdk_jobs == 2
    (folder / ".env").write_text("GHTRADER_MAX_PARALLEL_TQSDK_JOBS=3\n")
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
    assert not list(Path().rglob("ghtrader.toml"))


def test_a_secret_in_the_toml_stops_everything(folder: Path) -> None:
    (folder / "ghtrader.toml").write_text('TQSDK_PASSWORD = "x"\n')
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


def test_files_of_the_current_folder_are_not_believed(tmp_path: Path) -> None:
    lines = ("GHTRADER_LIVE_ENABLED=true", "TQ_AUTH_URL=http://127.0.0.1:1", "GHTRADER_HOME=/elsewhere")
    (tmp_path / ".env").write_text("\n".join(lines))
    (tmp_path / "ghtrader.toml").write_text('TQ_TD_URL = "ws://127.0.0.1:1"\n')
    for settings in (load_settings(), load_settings(tmp_path / "home")):
        assert not settings.live_enabled and not settings.tq_auth_url and not settings.tq_td_url
        assert settings.home in (tmp_path / "var", tmp_path / "home")
    assert {tmp_path / ".env", tmp_path / "ghtrader.toml"} <= _told  # once, and by name


def test_files_of_a_named_folder_and_of_the_home_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".env").write_text("GHTRADER_LIVE_ENABLED=true\nGHTRADER_HOME=elsewhere\n")
    (tmp_path / "var" / ".env").write_text("TQSDK_USER=me\nGHTRADER_HOME=/elsewhere\n")
    at_home = load_settings()
    assert at_home.tqsdk_user == "me" and at_home.home == tmp_path / "var" and not at_home.live_enabled
    monkeypatch.setenv("GHTRADER_SETTINGS_FOLDER", "mine")
    named = load_settings()
    assert named.live_enabled and named.home == tmp_path / "elsewhere" and not named.tqsdk_user
    assert load_settings("var").home == tmp_path / "var" and load_settings("var").live_enabled
    assert set_setting("GHTRADER_BUS", "ipc") == tmp_path / "mine" / "ghtrader.toml"


@pytest.mark.parametrize("place", ["var/.env", "var"])
@pytest.mark.parametrize("line", ["GHTRADER_LIVE_ENABLED=true", "TQ_MD_URL=ws://127.0.0.1:1", "export TQSDK_USER=x"])
def test_the_live_gate_and_addresses_are_nobody_elses_to_write(folder: Path, place: str, line: str) -> None:
    (folder / ".env").write_text(line)
    load_settings()
    Path(place).chmod(0o777)
    with pytest.raises(ConfigError, match="somebody else may write") as caught:
        load_settings()
    assert caught.value.exit_code == 2 and "chmod go-w" in caught.value.hint
    (folder / ".env").write_text("GHTRADER_LOG_LEVEL=INFO")  # what does no harm may stand there
    assert load_settings().log_level == "INFO"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user, which root alone may")
def test_a_file_of_another_user_names_no_server(folder: Path) -> None:
    (folder / "ghtrader.toml").write_text('TQ_MD_URL = "ws://127.0.0.1:1"')
    os.chown(folder / "ghtrader.toml", 65534, 65534)
    with pytest.raises(ConfigError, match="TQ_MD_URL"):
        load_settings()


@pytest.mark.parametrize("name", [".env", "ghtrader.toml"])
def test_a_pipe_in_place_of_a_settings_file_is_named_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match="is a pipe or a device, no file"):
        load_settings(tmp_path)


def test_nested_toml_is_named_by_whoever_reads_it(tmp_path: Path) -> None:
    from ghtrader_exchange.world.scenario import parse_scenario
    from ghtrader_market.sources.recordings.layouts.mapped_columns import load_column_map
    from ghtrader_models.factors.library.user_sets import read_sets

    text = "a = " + "[" * 100_000
    path = tmp_path / "ghtrader.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="does not parse"):
        load_settings(tmp_path)
    with pytest.raises(UsageError, match="is no TOML"):
        load_column_map(path)
    with pytest.raises(ConfigError, match="correct the TOML|mine.toml"):
        read_sets(text, "mine.toml")
    with pytest.raises(ConfigError, match="the scenario is no TOML"):
        parse_scenario(text)


@pytest.mark.parametrize("side", ["HTTP", "READER"])
@pytest.mark.parametrize(("given", "lacking"), [("USER", "PASSWORD"), ("PASSWORD", "USER")])
def test_half_a_login_of_questdb_is_named(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    side: str,
    given: str,
    lacking: str,
) -> None:
    """By the client, by `config check`, and by whoever starts the server, which would end at once or leave it open."""
    name = f"GHTRADER_QUESTDB_{side}_"
    monkeypatch.setenv(name + given, "canary-4711")
    monkeypatch.setenv("GHTRADER_QUESTDB_HOST", "127.0.0.1")
    said = f"{name}{given} is set and {name}{lacking} is not"
    assert run(["config", "check", "--home", str(folder)]) == 2
    told = capsys.readouterr().err
    assert said in told and "canary" not in told
    with pytest.raises(ConfigError, match=said):
        QuestDbClient(load_settings())._http_login()
    monkeypatch.setenv(name + lacking, "other-4712")
    require_whole_logins(load_settings())
