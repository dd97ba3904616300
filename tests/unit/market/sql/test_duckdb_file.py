"""The DuckDB file for other tools: its views see days that come later, and a tool that holds it is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ghtrader.cli import run
from ghtrader_base.settings import Settings
from ghtrader_market.sql.duckdb_file import FILE_NAME, create_views, store_metrics
from ghtrader_market.stores.lake.lake import Lake
from tests.support.waiting import PATIENCE_S

TIMES = 1_736_125_200_000_000_000 + 500_000_000 * np.arange(40)
Make = Callable[..., pa.Table]


def count(settings: Settings, sql: str) -> int:
    with duckdb.connect(str(settings.data / FILE_NAME), read_only=True) as connection:
        return connection.sql(sql).fetchall()[0][0]


def test_views_and_metrics(settings: Settings, make_ticks: Make, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(settings.data)
    lake.write_day("ticks", "SHFE.cu2502", date(2025, 1, 6), make_ticks(TIMES), source="t")
    assert run(["db", "init", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["views"] == {"ticks_raw_v2": 1}
    lake.write_day("ticks", "SHFE.cu2502", date(2025, 1, 7), make_ticks(TIMES), source="t")
    assert count(settings, "SELECT count(*) FROM ticks_raw_v2 WHERE date >= '2025-01-07'") == 40
    assert run(["db", "ingest-metrics", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 0
    assert store_metrics(settings.data, pa.table({"value": [1.0, 2.0]})) == 2
    lake.delete_day("ticks", "SHFE.cu2502", date(2025, 1, 6))
    lake.delete_day("ticks", "SHFE.cu2502", date(2025, 1, 7))
    assert create_views(settings.data) == {} and count(settings, "SELECT count(*) FROM run_metrics") == 2


def test_a_file_that_is_open_elsewhere_is_left_alone(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    import subprocess
    import sys

    create_views(settings.data)
    script = f"import duckdb; held = duckdb.connect({str(settings.data / FILE_NAME)!r}); print(1, flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "1\n"
        assert run(["db", "init"]) == 3
        assert "is in use" in capsys.readouterr().err
    finally:
        holder.communicate("\n", timeout=PATIENCE_S)
