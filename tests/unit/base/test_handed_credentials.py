"""Credentials of `ghtrader up`: out of the environment, on no disk, and in force in the server and what it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ghtrader_base import handed_credentials
from ghtrader_base.settings import ENV_ONLY, describe_settings, load_settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memfd is Linux's")
CANARY = "canary-handed-over"
SERVER = f"""
import json, os, subprocess, sys
from ghtrader_base import handed_credentials
handed_credentials.own(int(sys.argv[1]))
run = '''
from ghtrader_base.settings import load_settings
found = load_settings()
print(found.tqsdk_user, found.tqsdk_password.get_secret_value())
'''
said = subprocess.run([sys.executable, "-P", "-c", run], capture_output=True, text=True, check=True).stdout
environments = [open(f"/proc/{{pid}}/environ").read() for pid in ("self", os.getppid())]
print(json.dumps([said.split(), {CANARY!r} in environments[0]]))
"""


def test_a_server_and_its_runs_have_them_and_no_environment_does(home):
    given = {"TQSDK_USER": "somebody", "TQSDK_PASSWORD": CANARY, "GHTRADER_LIVE_ENABLED": "true"}
    environment = dict(os.environ) | given
    taken = handed_credentials.take_out(environment, ENV_ONLY)
    assert taken == given
    assert not environment.keys() & ENV_ONLY
    fd = handed_credentials.lay_down(taken)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", SERVER, str(fd)], pass_fds=[fd], env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(fd)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["somebody", CANARY], False]


def test_the_environment_wins_and_dotenv_loses(home, monkeypatch):
    home.mkdir()
    (home / ".env").write_text("TQSDK_USER=of-dotenv\nTQ_ACCOUNT_ID=of-dotenv\n")
    fd = handed_credentials.lay_down({"TQSDK_USER": "handed", "TQSDK_PASSWORD": CANARY, "TQ_BROKER_ID": "handed"})
    monkeypatch.setenv(handed_credentials.VARIABLE, f"/proc/{os.getpid()}/fd/{fd}")
    monkeypatch.setenv("TQ_BROKER_ID", "of-environment")
    settings = load_settings()
    found = (settings.tqsdk_user, settings.tq_broker_id, settings.tq_account_id)
    assert found == ("handed", "of-environment", "of-dotenv")
    rows = {row.name: row for row in describe_settings(settings)}
    assert rows["TQSDK_PASSWORD"].source == "ghtrader up" and CANARY not in str(rows.values())
    os.close(fd)
    assert load_settings().tqsdk_user == "of-dotenv", "whoever kept them is gone"


def test_no_secret_that_was_handed_over_is_logged(home, monkeypatch):
    from ghtrader_base.logs import SecretsFormatter

    fd = handed_credentials.lay_down({"TQSDK_PASSWORD": CANARY})
    monkeypatch.setenv(handed_credentials.VARIABLE, f"/proc/{os.getpid()}/fd/{fd}")
    assert CANARY in SecretsFormatter()._secrets
    os.close(fd)
