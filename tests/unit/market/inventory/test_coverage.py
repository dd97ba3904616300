"""Coverage and catalog: which contracts there are, and how far each is, by index and ledgers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghtrader.cli import run
from ghtrader_base.errors import ConfigError, IntegrityError
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.inventory.contract_catalog import (
    Snapshot,
    all_contracts,
    bundled_contracts,
    catalog_path,
    load_contracts,
    load_snapshot,
    merge_contracts,
)
from ghtrader_market.inventory.coverage import Coverage, picture, ranges_of, state_of
from ghtrader_market.inventory.depth_start import find_l5_start, first_true, l5_start
from ghtrader_market.reference.tick_origin import OriginKind, TickOrigin
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.sources.base import ContractInfo
from ghtrader_market.stores.day_details import TickDetails
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_market.stores.lake.missing_days import add_no_data, add_skips
from tests.support.many_contracts import index_500_contract_years

pytestmark = pytest.mark.clock

CALENDAR = bundled_calendar()
FINISHED = date(2025, 4, 8)
DAYS = CALENDAR.days(date(2025, 3, 24), FINISHED)
LISTED = DAYS[0]
CU = ContractInfo("SHFE.cu2505", date(2025, 5, 15), LISTED)
Make = Callable[..., pa.Table]


@pytest.fixture
def lake(settings: Settings) -> Lake:
    merge_contracts(settings.data, "cu", [CU, ContractInfo("SHFE.cu2506", date(2025, 6, 16))], FINISHED, whole=True)
    return Lake(settings.data)


def write(lake: Lake, make_ticks: Make, days: list[date], symbol: str = CU.symbol, source: str = "tqsdk") -> None:
    for day in days:
        times = CALENDAR.sessions("cu", day)[-1][0] + 500_000_000 * np.arange(20)
        lake.write_day("ticks", symbol, day, make_ticks(times), source=source)


def one_level(table: pa.Table) -> pa.Table:
    for index, name in enumerate(table.schema.names):
        if name[-1] in "2345" and "price" in name:
            table = table.set_column(index, table.schema.field(index), pa.array(np.full(table.num_rows, np.nan)))
        elif name[-1] in "2345" and "volume" in name:
            table = table.set_column(index, table.schema.field(index), pa.array(np.zeros(table.num_rows, np.int64)))
    return table


def found(lake: Lake, symbol: str = CU.symbol):
    (item,) = Coverage(lake, CALENDAR, "cu").contracts(symbol)
    return item


# ---- catalog ----


def test_the_bundled_list_has_the_old_contracts() -> None:
    old = bundled_contracts("cu")
    assert [info.symbol for info in old] == sorted(info.symbol for info in old) and len(old) > 50
    by_symbol = {info.symbol: info for info in old}
    assert by_symbol["SHFE.cu1909"].expires == date(2019, 9, 16) and by_symbol["SHFE.cu1909"].expired
    assert {info.symbol[:8] for info in bundled_contracts("IF")} == {"CFFEX.IF"}


def test_newer_words_replace_older_ones_and_a_listing_day_is_kept(settings: Settings) -> None:
    assert load_contracts(settings.data, "cu") == [] and load_snapshot(settings.data, "cu") == Snapshot()
    merge_contracts(settings.data, "cu", [CU])
    assert load_snapshot(settings.data, "cu").asked_at is None  # a part of the list has no age
    merge_contracts(settings.data, "cu", [ContractInfo(CU.symbol, date(2025, 5, 16))], FINISHED, whole=True)
    (info,) = load_contracts(settings.data, "cu")
    assert (info.expires, info.listed) == (date(2025, 5, 16), LISTED)
    snapshot = load_snapshot(settings.data, "cu")
    assert snapshot.finished == FINISHED and snapshot.is_fresh(datetime.now(UTC))
    catalog_path(settings.data, "cu").write_text('{"contracts": [{}]}')
    with pytest.raises(IntegrityError, match="is no contract list"):
        load_snapshot(settings.data, "cu")


def test_every_list_adds_and_the_service_wins(lake: Lake, make_ticks: Make) -> None:
    write(lake, make_ticks, DAYS[:1], "SHFE.cu2412")
    write(lake, make_ticks, DAYS[:1], "SHFE.au2506")  # another variety
    known = {item.info.symbol: item for item in all_contracts(lake, "cu")}
    assert [known[s].origin for s in ("SHFE.cu1909", "SHFE.cu2412", CU.symbol)] == ["bundled", "disk", "service"]
    assert "SHFE.au2506" not in known and known[CU.symbol].info == CU
    assert list(known) == [i.info.symbol for i in sorted(known.values(), key=lambda k: k.info.expires)]


def test_what_is_over_is_said_by_the_service_where_it_has_a_clock_of_its_own() -> None:
    now = datetime(2026, 3, 4, 3, tzinfo=UTC)  # Wednesday morning in Shanghai
    asked = datetime(2026, 3, 2, 3, tzinfo=UTC)
    assert Snapshot().last_finished(CALENDAR, now) == date(2026, 3, 3)
    assert Snapshot((), None, date(2026, 2, 27), asked).last_finished(CALENDAR, now) == date(2026, 3, 3)
    assert Snapshot((), None, FINISHED, asked).last_finished(CALENDAR, now) == FINISHED


# ---- how far a contract is ----


def test_states(lake: Lake, make_ticks: Make) -> None:
    assert (found(lake).state, found(lake).stale) == ("not-downloaded", False)
    write(lake, make_ticks, DAYS[:3])
    item = found(lake)
    assert (item.state, item.stale, len(item.days)) == ("stale", True, 3)
    assert item.gaps == ((DAYS[3], DAYS[-1], len(DAYS) - 3),)
    write(lake, make_ticks, [DAYS[4], *DAYS[6:]])
    add_no_data(lake, CU.symbol, [DAYS[5]])
    item = found(lake)
    assert (item.state, item.stale, item.gaps) == ("incomplete", False, ((DAYS[3], DAYS[3], 1),))
    add_skips(lake, CU.symbol, {DAYS[3]: ("timed-out", "no answer")})
    assert list(found(lake).skipped) == [DAYS[3]]
    write(lake, make_ticks, [DAYS[3]])
    item = found(lake)
    assert (item.state, item.stale, item.gaps, item.no_data) == ("complete", False, (), (DAYS[5],))
    write(lake, make_ticks, [DAYS[2]], source="recorded")
    assert (found(lake).state, found(lake).recorded) == ("incomplete", [DAYS[2]])


def test_without_a_listing_day_the_days_before_the_first_are_no_gap_but_nothing_is_complete(
    lake: Lake, make_ticks: Make
) -> None:
    write(lake, make_ticks, DAYS, "SHFE.cu2506")
    item = found(lake, "SHFE.cu2506")
    assert (item.state, item.gaps) == ("incomplete", ())
    first = item.expires.replace(year=item.expires.year - 2)
    add_no_data(lake, "SHFE.cu2506", CALENDAR.days(first, DAYS[0]))
    assert found(lake, "SHFE.cu2506").state == "complete"


def test_of_a_contract_known_by_its_name_alone_only_holes_are_missing(lake: Lake, make_ticks: Make) -> None:
    write(lake, make_ticks, [DAYS[0], DAYS[2]], "SHFE.cu2504")
    item = found(lake, "SHFE.cu2504")
    assert (item.origin, item.state, item.stale, item.gaps) == (
        "disk", "incomplete", False, ((DAYS[1], DAYS[1], 1),),
    )  # fmt: skip


def test_a_recording_of_one_day_says_what_is_missing_and_when_the_contract_ends(settings, make_ticks: Make) -> None:
    lake, day = Lake(settings.data), date(2021, 1, 4)
    times = CALENDAR.sessions("IF", day)[-1][0] + 500_000_000 * np.arange(20)
    lake.write_day("ticks", "CFFEX.IF2101", day, make_ticks(times), source="import")
    (item,) = (one for one in Coverage(lake, CALENDAR, "IF").contracts() if one.symbol == "CFFEX.IF2101")
    assert (item.origin, item.expires) == ("disk", date(2021, 1, 15))
    assert item.gaps == ((date(2021, 1, 5), date(2021, 1, 15), 9),)
    row = item.to_json()
    assert (row["expires"], row["state"], row["missing_days"]) == ("2021-01-15", "incomplete", 9)


def test_where_nobody_knows_the_ends_of_a_life_what_is_missing_is_not_0(lake: Lake, make_ticks: Make) -> None:
    write(lake, make_ticks, DAYS[:2], "SHFE.cu2504")
    row = found(lake, "SHFE.cu2504").to_json()
    assert (row["expires"], row["state"], row["missing_days"]) == (None, "incomplete", None)
    write(lake, make_ticks, DAYS, "SHFE.cu2506")
    assert found(lake, "SHFE.cu2506").to_json()["missing_days"] is None, "nobody knows since when it is listed"
    assert run(["data", "coverage", "--var", "cu", "--home", str(lake.root.parent)]) == 0


def test_depth_is_told_apart(lake: Lake, make_ticks: Make) -> None:
    table = make_ticks(CALENDAR.sessions("cu", DAYS[0])[-1][0] + 500_000_000 * np.arange(20))
    manifest = lake.write_day("ticks", CU.symbol, DAYS[0], one_level(table), source="t")
    assert manifest.levels == 1
    write(lake, make_ticks, DAYS[1:])
    brief = found(lake).brief()
    assert (brief.days, brief.l5_days, brief.first_l5_day) == (len(DAYS), len(DAYS) - 1, str(DAYS[1]))
    assert found(lake).to_json()["present"][0] == {"day": str(DAYS[0]), "levels": 1, "source": "t"}


TRADING = np.array(CALENDAR.days(date(2025, 1, 2), date(2025, 2, 28)), dtype="datetime64[D]")
some = st.sets(st.integers(0, len(TRADING) - 1)).map(lambda places: TRADING[sorted(places)])


@given(some, some, some)
def test_states_and_ranges_add_up(wanted: np.ndarray, have: np.ndarray, empty: np.ndarray) -> None:
    empty = np.setdiff1d(empty, have)
    state, stale, missing = state_of(wanted, have, empty, have[:0])
    assert set(missing.tolist()) == set(wanted.tolist()) - set(have.tolist()) - set(empty.tolist())
    assert (state == "not-downloaded") == (len(have) == 0)
    assert (state == "complete") == (len(have) > 0 and len(missing) == 0)
    assert not (state == "stale" and not stale)
    if len(have) and len(missing):
        tail = bool((missing > max([*have, *empty[-1:]])).all())
        assert (state == "stale") == tail
    ranges = ranges_of(missing, TRADING)
    assert sum(n for _, _, n in ranges) == len(missing)
    rebuilt = [day for first, last, _ in ranges for day in CALENDAR.days(first, last)]
    assert rebuilt == missing.tolist()


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_first_deep_day_is_found_in_few_questions(n: int, start: int) -> None:
    days, asked = TRADING[:n].tolist() if n else [], []

    def holds(day: date) -> bool:
        asked.append(day)
        return days.index(day) >= start

    assert first_true(days, holds) == (days[start] if start < n else None)
    assert len(asked) <= 2 + int(np.ceil(np.log2(max(n, 1))))


def test_the_l5_start_is_pinned_probed_or_on_disk(lake: Lake, make_ticks: Make, monkeypatch) -> None:
    settings = load_settings()
    assert l5_start(settings, "cu") is None
    write(lake, make_ticks, DAYS[2:4])
    assert find_l5_start(settings, "cu").to_json() == {
        "variety": "cu", "l5_start": str(DAYS[2]), "how": "disk", "setting": "GHTRADER_L5_START_DATE_CU",
    }  # fmt: skip
    (settings.data / "catalog" / "l5_start.json").write_text(json.dumps({"cu": {"day": str(DAYS[1])}}))
    assert (find_l5_start(settings, "cu").how, l5_start(settings, "cu")) == ("probe", DAYS[1])
    monkeypatch.setenv("GHTRADER_L5_START_DATE_CU", "2025-03-25")
    assert (find_l5_start(load_settings(), "cu").how, l5_start(load_settings(), "cu")) == ("setting", DAYS[1])
    monkeypatch.setenv("GHTRADER_L5_START_DATE_CU", "soon")
    with pytest.raises(ConfigError, match="GHTRADER_L5_START_DATE_CU"):
        l5_start(load_settings(), "cu")


# ---- shown ----


def test_the_picture_has_a_character_a_week(lake: Lake, make_ticks: Make) -> None:
    write(lake, make_ticks, DAYS[:5])
    write(lake, make_ticks, DAYS[5:6])
    assert picture(Coverage(lake, CALENDAR, "cu").contracts(), CALENDAR, FINISHED)[1:] == [f"{CU.symbol}  █▄·"]
    add_skips(lake, CU.symbol, {DAYS[6]: ("timed-out", "no answer")})
    add_no_data(lake, CU.symbol, [DAYS[-1], DAYS[-2]])
    assert picture(Coverage(lake, CALENDAR, "cu").contracts(), CALENDAR, FINISHED)[1:] == [f"{CU.symbol}  █x-"]
    write(lake, make_ticks, [DAYS[0]], source="recorded")
    (line,) = picture(Coverage(lake, CALENDAR, "cu").contracts(), CALENDAR, FINISHED, weeks=3)[1:]
    assert line == f"{CU.symbol}  rx-"


def test_the_commands(lake: Lake, make_ticks: Make, capsys) -> None:
    write(lake, make_ticks, DAYS[:3])
    assert run(["data", "contracts", "--var", "cu", "--json", "--offline"]) == 0
    rows = {row["symbol"]: row for row in json.loads(capsys.readouterr().out)["contracts"]}
    assert list(rows[CU.symbol])[:11] == [
        "symbol", "listed", "expires", "state", "days", "first_day", "last_day", "l5_days", "first_l5_day",
        "last_l5_day", "stale",
    ]  # fmt: skip
    assert rows[CU.symbol]["state"] == "stale" and rows["SHFE.cu1909"]["state"] == "not-downloaded"
    assert run(["data", "contracts", "--var", "cu"]) == 0  # asked a moment ago: no need to ask again
    shown = capsys.readouterr().out
    assert CU.symbol in shown and "cu1909" not in shown
    assert run(["data", "contracts", "--var", "cu", "--refresh"]) == 2  # no credentials
    assert run(["data", "coverage", "--rebuild", "--json"]) == 0
    answer = capsys.readouterr()
    (document,) = json.loads(answer.out)["varieties"]
    assert document["variety"] == "cu" and "3 days indexed" in answer.err
    assert run(["data", "coverage", "--symbol", CU.symbol]) == 0
    assert "missing:" in capsys.readouterr().out
    assert run(["data", "coverage", "--symbol", CU.symbol, "--var", "au"]) == 2
    assert run(["data", "l5-start", "--exchange", "SHFE", "--var", "cu", "--offline", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["l5_start"] == str(DAYS[0])
    assert run(["data", "l5-start", "--exchange", "CFFEX", "--var", "cu"]) == 2


def test_500_contract_years_are_covered_from_the_index_alone(settings: Settings) -> None:
    """500 contracts of a year each, written straight into the index: the lake's days are not looked at."""
    lake = Lake(settings.data)
    index_500_contract_years(lake, CALENDAR)
    bundled_contracts("cu")
    document = Coverage(lake, CALENDAR, "cu").to_json()  # how fast: tests/benchmarks/bench_lake.py
    assert sum(row["days"] for row in document["contracts"]) > 110_000


def test_where_ticks_come_from_is_told_by_day_and_counted(lake: Lake, make_ticks: Make) -> None:
    write(lake, make_ticks, DAYS[:2])
    assert found(lake).brief().ticks_from == "source unknown"
    table = make_ticks(CALENDAR.sessions("cu", DAYS[2])[-1][0] + 500_000_000 * np.arange(20))
    simulated = TickOrigin(kind=OriginKind.SIMULATED, world="driver", seed=7)
    lake.write_day("ticks", CU.symbol, DAYS[2], table, source="tqsdk", details=TickDetails(origin=simulated))
    told = found(lake).to_json()
    assert told["ticks_from"] == "source unknown (2 days); simulated: world driver, seed 7 (1 days)"
    assert told["origins"] == {
        "source unknown": [str(day) for day in DAYS[:2]], "simulated: world driver, seed 7": [str(DAYS[2])],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["_no_data_dates.json", "_skipped_days.json"])
@pytest.mark.parametrize("pipe", [True, False])
def test_a_ledger_that_cannot_be_read_costs_itself_alone(lake: Lake, make_ticks: Make, name: str, pipe: bool) -> None:
    write(lake, make_ticks, DAYS[:2])
    write(lake, make_ticks, DAYS[:2], "SHFE.cu2506")
    path = lake.key_path("ticks", CU.symbol) / name
    os.mkfifo(path) if pipe else path.write_text("[")
    found = {item.symbol: item for item in Coverage(lake, CALENDAR, "cu").contracts() if item.days}
    assert [len(item.days) for item in found.values()] == [2, 2]
    assert name in found[CU.symbol].unreadable[0] and found["SHFE.cu2506"].unreadable == ()


def test_a_recorded_day_whose_manifest_is_a_pipe_ends_no_list(lake: Lake, make_ticks: Make) -> None:
    write(lake, make_ticks, DAYS[:3], source="recorded")
    Coverage(lake, CALENDAR, "cu").contracts()  # the index knows the days
    manifest = lake.day_path("ticks", CU.symbol, DAYS[1]) / "_manifest.json"
    manifest.unlink()
    os.mkfifo(manifest)
    (found,) = [item for item in Coverage(lake, CALENDAR, "cu").contracts() if item.days]
    assert len(found.days) == 3 and DAYS[1] not in found.unfinished


def test_a_garbled_contract_list_ends_no_other_varietys_coverage(
    lake: Lake, make_ticks: Make, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    write(lake, make_ticks, DAYS[:2])
    write(lake, make_ticks, DAYS[:2], "SHFE.au2506")
    catalog_path(settings.data, "cu").write_text("{")
    assert run(["data", "coverage", "--home", str(settings.home), "--json"]) == 1
    out, err = capsys.readouterr()
    assert [one["variety"] for one in json.loads(out)["varieties"]] == ["au"] and "cu.json" in err
