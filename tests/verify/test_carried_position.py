"""A lot that cannot be closed before a roll, or as its contract expires, through the processes of a paper run."""

from __future__ import annotations

from datetime import date

import pytest

from ghtrader.commands.trading_options import describe
from ghtrader_market.reference.varieties import variety_of
from ghtrader_runtime.runlog.summary import read_summary
from tests.support.locked_days import ROWS, as_told, play, simulate

CU, NEXT, IF = "SHFE.cu2502", "SHFE.cu2503", "CFFEX.IF2101"
DAYS = (date(2025, 1, 8), date(2025, 1, 9))


@pytest.mark.parametrize(("contracts", "days", "why"), [
    ((CU, NEXT), DAYS, "the next day has SHFE.cu2503"),
    ((IF, "CFFEX.IF2102"), (date(2021, 1, 15), date(2021, 1, 18)), "it traded for the last time"),
], ids=["roll", "expiry"])  # fmt: skip
def test_before_a_roll_and_at_the_expiry_it_is_closed_at_its_last_mark(tmp_path, contracts, days, why) -> None:
    settings, model, runs = play(tmp_path / "home", contracts, days)
    first, second = runs
    old, multiplier = contracts[0], variety_of(contracts[0]).multiplier
    said = f"1 long of {old} could not be closed on {days[0]}: closed at {first.fill_list[-1].price:g}, its last mark; "
    assert first.settled == said + why
    assert f"settled     {first.settled}" in describe(first)
    assert first.positions == {old: 0} and first.held is None and second.opening.get(old, 0) == 0
    last, rates = first.fill_list[-1], variety_of(old).fees(old, days[0])
    assert (last.side, last.volume) == ("SELL", 1) and first.fills == len(first.fill_list)
    assert last.offset == ("CLOSETODAY" if old.startswith("SHFE") else "CLOSE"), "a lot of that very day"
    assert last.fee == pytest.approx(last.price * multiplier * rates.close_today_ratio + rates.close_today_lot)
    cash = -sum(fill.signed * fill.price * multiplier + fill.fee for fill in first.fill_list)
    assert first.net_pnl == pytest.approx(cash) == first.by_contract[old].net_pnl
    kept = read_summary(first.folder)
    assert kept is not None and kept.fill_list == first.fill_list and kept.settled == first.settled

    done = simulate(settings, variety_of(old).continuous_symbol, model, runs)
    assert as_told(done.fills) == as_told([*first.fill_list, *second.fill_list])
    assert [report.net_pnl for report in done.reports] == pytest.approx([run.net_pnl for run in runs])
    assert [report.round_trips for report in done.reports] == [run.round_trips for run in runs]
    total, (times, equity) = done.trading(), done.equity()
    assert total is not None and total.settled == [first.settled] == total.to_dict()["settled"]
    assert total.final_position == 0 and times.size == 2 * ROWS and equity[-1] == pytest.approx(total.net_pnl)
