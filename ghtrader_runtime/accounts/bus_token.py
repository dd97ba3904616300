"""Makes and reads the token that shows who may trade and command on an account's bus."""

from __future__ import annotations

import secrets
from pathlib import Path

from ghtrader_base.files import atomic_write_text, open_file


def join_token(state_dir: Path) -> str:
    """The account's token, made at the first call; readable by its owner alone. Hold the account's lock."""
    token = read_token(state_dir)
    if len(token) < 32:  # none yet, or a first gateway was killed while it wrote
        token = secrets.token_hex(24)
        atomic_write_text(state_dir / "bus-token", token)
    return token


def read_token(state_dir: Path) -> str:
    """The account's token as a client reads it; empty where there is none yet (no gateway has run), or
    something else in its place."""
    try:
        with open_file(state_dir / "bus-token") as file:
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
