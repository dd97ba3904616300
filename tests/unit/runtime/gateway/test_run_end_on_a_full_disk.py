"""The end of a run on a full disk: the summary has the room kept for it, or the error says what the run came to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghtrader_base.errors import ConfigError, DiskFullError
from ghtrader_base.reserved_file import ReservedFile
from ghtrader_base.settings import Settings, load_settings
from ghtrader_runtime.gateway.gateway import keep_latencies
from ghtrader_runtime.gateway.run_summary import summarise
from ghtrader_runtime.runlog.summary import SUMMARY, read_summary, summary_room, write_summary
from tests.support.failing_disk import nothing_grows, small_disk
from tests.support.open_gateway import OpenGateway, open_gateway

pytestmark = pytest.mark.clock


def end(opened: OpenGateway, room: ReservedFile) -> None:
    running = opened.running
    running.wind_down("stopped by hand")
    summary = summarise(opened.context, running.traded, running.executor, "stopped by hand")
    write_summary(opened.context.run_dir, summary, room)


def test_a_disk_that_filled_up_meanwhile(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "128m") as disk:
        settings = load_settings(disk.folder / "home")
        with open_gateway(settings) as opened:
            room = summary_room(opened.context.run_dir)
            opened.rest_an_order()
            disk.leave(0)
            end(opened, room)
            found = read_summary(opened.context.run_dir)
            assert found is not None and found.ended == "stopped by hand" and found.orders == 1
            disk.empty()


def test_where_not_even_that_can_be_written(settings: Settings) -> None:
    with open_gateway(settings) as opened:
        room = summary_room(opened.context.run_dir)
        with nothing_grows(settings.home), pytest.raises(DiskFullError) as caught:
            end(opened, room)
        assert "the run ended (stopped by hand) without its summary: " in caught.value.message
        assert "it had 0 fills, net PnL 0.00 CNY, and is flat" in caught.value.message
        assert str(opened.context.run_dir) in caught.value.hint
        assert read_summary(opened.context.run_dir) is None
        assert not list(opened.context.run_dir.glob(".summary*"))


def test_a_folder_in_the_place_of_what_a_run_leaves(settings: Settings) -> None:
    with open_gateway(settings) as opened:
        folder = opened.context.run_dir
        room = summary_room(folder)
        (folder / "latency.npz" / "inside").mkdir(parents=True)
        (folder / SUMMARY).mkdir()
        keep_latencies(opened.context)
        with pytest.raises(ConfigError, match="without its summary: .*summary.json is a folder") as caught:
            end(opened, room)
        assert "net PnL 0.00 CNY, and is flat" in caught.value.message
        assert f"gateway summary {folder.name}" in caught.value.hint
