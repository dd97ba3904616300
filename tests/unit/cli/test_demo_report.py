"""The demo's report: its document holds every key, is read back, and becomes a sentence, a table and a page."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from msgspec import structs

from ghtrader.comparison_text import comparison_text
from ghtrader.demo.report import (
    BatchComparison,
    ContentHashes,
    DataFacts,
    DemoReport,
    LivePartReport,
    PartReport,
    PipelineFacts,
    ReportedFill,
    TradingFacts,
)
from ghtrader.demo.report_page import PartPage, Plot, render
from ghtrader.demo.run import closing_text
from ghtrader.demo.side_by_side import families_side_by_side
from ghtrader.demo.trading_results import own_fills, same_fills, trading_facts
from ghtrader_exchange import enums as exchange
from ghtrader_exchange.control_messages import FillRecord
from ghtrader_market.accounting.fill import Fill, Offset, Side
from ghtrader_models.evaluation.comparison import Bounds, ComparedBaseline, ComparedModel, Comparison
from ghtrader_models.evaluation.comparison_page import render_table
from ghtrader_models.evaluation.model_cost import ModelCost, RowLatency
from ghtrader_models.model_scores import GainInterval, MeanScore, ModelScores
from ghtrader_runtime.runlog.latency import LatencySummary, Quantiles
from tests.support.run_summaries import summary

ONE = MeanScore(mean=0.5, std=0.1, per_split=[0.4, 0.6])
FACTS = {
    "ticks", "main_l5_ticks", "contracts", "days", "first_day", "last_day", "segments", "factors", "left_out", "hashes",
    "left_out_days", "models", "tests", "walk_forward_net_pnl", "comparison", "candidate", "candidate_family",
    "champion", "refused_because", "trading", "verdict", "kind", "simulated",
}  # fmt: skip
TRADING = {
    "ticks", "targets", "orders", "fills", "round_trips", "net_pnl", "gross_pnl", "fees", "exchange_fills",
    "fills_equal_exchange", "tick_to_target_ms", "positions", "ended", "mode", "run_id", "missed_ticks", "fill_list",
    "live_equals_batch",
}  # fmt: skip


def scores(gain: float | None) -> ModelScores:
    if gain is None:
        return ModelScores(logloss=None, macro_f1=ONE, weighted_f1=ONE, accuracy=ONE, ece=None, logloss_gain=None)
    interval = GainInterval(mean=gain, low=gain - 0.01, high=gain + 0.01, n=2, per_split=[gain, gain])
    return ModelScores(logloss=ONE, macro_f1=ONE, weighted_f1=ONE, accuracy=ONE, ece=ONE, logloss_gain=interval)


PIPELINE = PipelineFacts(
    data=DataFacts(
        ticks=1000,
        main_l5_ticks=900,
        contracts=["SHFE.cu2505"],
        days=10,
        first_day="2025-04-01",
        last_day="2025-04-15",
        segments=2,
        factors=43,
        left_out=["imbalance_5"],
        left_out_days=["2025-04-03: book of one level, the others of 5 levels"],
        hashes=ContentHashes(ticks="t" * 64, main_l5="l" * 64, factors="f" * 64, labels="a" * 64, models="m" * 64),
    ),
    models={
        "logistic": {"50": scores(0.02)},
        "xgboost": {"50": scores(0.03)},
        "prior": {"50": scores(0.0)},
        "majority": {"50": scores(None)},
        "oracle": {"50": scores(0.04)},
    },
    tests=["2025-04-14", "2025-04-15"],
    walk_forward_net_pnl={"logistic": None, "xgboost": 12.0},
    comparison="runs/compare/KQ.m@SHFE.cu/h50/comparison.json",
    candidate="b",
    candidate_family="xgboost",
    champion="b",
    refused_because=None,
)
COMPARISON = Comparison(
    symbol="KQ.m@SHFE.cu", horizon=50, first="2025-04-01", last="2025-04-15", days=10, rows=900,
    tests=["2025-04-14", "2025-04-15"], splits="2 tests", splits_hash="s", data_hash="d", origin="simulated market",
    models=[
        ComparedModel(
            family=family, config={}, scores=PIPELINE.models[family]["50"], logloss=Bounds(low=0.4, high=0.6),
            gain_of_many=Bounds(low=0.01, high=0.05), fits=2, fit_seconds=1.5, train_rows=100, trading=None,
            cost=ModelCost(latency=RowLatency(p50_us=2.5, p99_us=4.5, calls=10), model_bytes=77, parameters=9),
        )
        for family in ("xgboost", "logistic")
    ],
    baselines=[
        ComparedBaseline(name="prior", scores=PIPELINE.models["prior"]["50"], logloss=Bounds(low=0.4, high=0.6)),
    ],
    failed={}, reliability={}, made_at="2025", code_version="1", notes={"xgboost": ["rounds 5 <small>"]},
)  # fmt: skip
NONE = Quantiles()
SUMMARY = summary(
    ticks=10, targets=10, net_pnl=1234.4, gross_pnl=1240.0, fees=5.6, positions={"SHFE.cu2505": 0}, mode="sim",
    tick_to_target_ms=LatencySummary(
        count=10, p50=0.5, p99=1.5, unanswered=0, skipped=0, with_orders=NONE, without_orders=NONE, durable_intent=NONE,
        parts={},
    ),
    fill_list=(
        Fill(
            order_id="o", trade_id="t", symbol="SHFE.cu2505", side=Side.BUY, offset=Offset.OPEN, price=70010.0,
            volume=2, fee=5.6, market_ns=17,
        ),
    ),
)  # fmt: skip
THEIRS = FillRecord(
    user_id="u", trade_id="t", order_id="o", seqno=1, exchange_trade_id="1", exchange_id="SHFE",
    instrument_id="cu2505", direction=exchange.Side.BUY, offset=exchange.Offset.OPEN, price=70010.0, volume=2,
    commission=5.6, trade_date_time=17, symbol="SHFE.cu2505", trading_day=date(2025, 4, 15), maker=False,
)  # fmt: skip
REPORT = DemoReport(
    version="1.0",
    seed=1,
    seconds=200.0,
    stages={"report": 1.0},
    judged_horizon=50,
    live=LivePartReport(
        kind="simulated, signal planted (strength 2)", simulated=True, pipeline=PIPELINE, world="driver", strength=2.0,
        trading=replace(
            trading_facts(SUMMARY, [THEIRS]),
            live_equals_batch=BatchComparison(ticks=10, live=10, day_ticks=10, outside_sessions=0, different=0),
        ),
    ),
    recorded=PartReport(
        kind="real, 1,000 ticks of one day", simulated=False, trading=None,
        pipeline=replace(PIPELINE, champion=None, refused_because="chance explains it."),
    ),
)  # fmt: skip


def test_the_document_has_every_key_and_is_read_back() -> None:
    document = json.loads(json.dumps(REPORT.to_dict()))
    assert set(document) == {
        "version", "seed", "world", "strength", "seconds", "stages", "judged_horizon", "simulated", "real",
    }  # fmt: skip
    assert set(document["simulated"]) == FACTS | {"world", "strength"} and set(document["real"]) == FACTS
    assert set(document["simulated"]["trading"]) == TRADING and document["real"]["trading"] is None
    assert set(document["simulated"]["hashes"]) == {"ticks", "main_l5", "factors", "labels", "models"}
    assert DemoReport.from_dict(document) == REPORT
    service = replace(REPORT, live=replace(REPORT.live, simulated=False, world=None, strength=None))
    document = json.loads(json.dumps(service.to_dict()))
    assert "simulated" not in document and document["service"]["world"] is None
    assert DemoReport.from_dict(document) == service
    paced = replace(REPORT.live.trading, lock_step_ms={"count": 1})
    assert set(paced.to_dict()) == TRADING | {"lock_step_ms"}


def test_the_sentence_and_the_table_say_what_was_found(tmp_path: Path) -> None:
    assert REPORT.live.verdict(50) == (
        "simulated, signal planted (strength 2): an edge over the prior. xgboost gains +0.0300 nats over the prior at "
        "horizon 50, 95 % interval [+0.0200, +0.0400] over 2 tests; the oracle gains +0.0400, so 75% of it. "
        "Traded: net +1,234 CNY after 6 of fees. Gate: promoted."
    )
    assert REPORT.recorded.verdict(50).endswith("Gate: refused: chance explains it.")
    path = tmp_path / PIPELINE.comparison
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(COMPARISON.to_dict()))
    text = closing_text(REPORT, tmp_path)
    assert "SIMULATED: 1,000 ticks, 10 days, 2 segments, 43 factors" in text and "REAL: " in text
    shown = families_side_by_side(tmp_path, PIPELINE, 50)
    assert [baseline.name for baseline in shown.baselines] == ["prior", "oracle"]
    assert comparison_text(shown) in text and "xgboost: rounds 5 <small>" in text, "as `ghtrader compare` shows it"
    assert "left out 2025-04-03: book of one level, the others of 5 levels" in text
    assert "the exchange's own record: 1, equal one by one" in text
    assert "tick to target p50 0.50 ms, p99 1.50 ms over 10 ticks" in text
    assert "live factors against batch: 10 ticks, 0 different" in text
    assert f"200 s. Report: {tmp_path}/runs/demo/report.html" in text


@pytest.mark.parametrize(
    ("gross", "fees", "said"),
    [
        (-2760.0, 10_480.0, "net -13,240 CNY after 10,480 of fees; it loses 2,760 before them too: the edge is in the"),
        (500.0, 700.0, "net -200 CNY after 700 of fees, which take more than the 500 it earns before them."),
    ],
)
def test_an_edge_that_earns_no_money_is_called_so(gross: float, fees: float, said: str) -> None:
    money = {"gross_pnl": gross, "fees": fees, "net_pnl": gross - fees, "round_trips": 18}
    trading = replace(REPORT.live.trading, **money, sample="out of sample")
    verdict = replace(REPORT.live, trading=trading).verdict(50)
    assert f"Traded (out of sample): {said}" in verdict and "an edge over the prior" in verdict


def test_the_page_shows_both_parts() -> None:
    parts = [
        PartPage(
            kind=name, title=name, badge=name, unit="day", judged=50, part=part, comparison=COMPARISON,
            comparison_page="../compare/comparison.html", plots=[Plot("a plot", b"PNG", "seen")],
        )  # fmt: skip
        for name, part in REPORT.parts.items()
    ]
    page = render(REPORT, parts)
    assert page.count(render_table(COMPARISON)) == 2, "as the comparison's own page shows it"
    assert page.count('href="../compare/comparison.html"') == 2 and "rounds 5 &lt;small&gt;" in page
    assert page.count("data:image/png;base64,UE5H") == 2 and "world <code>driver</code>" in page
    assert REPORT.live.verdict(50) in page and "t" * 12 in page and "+1,234" in page
    assert "10 ticks, 0 different" in page and "equal to ours one by one" in page
    assert "[+0.0200, +0.0400]" in page and "One level of depth only: 1 factors" in page


@pytest.mark.parametrize(
    "change",
    [{"volume": 1}, {"direction": exchange.Side.SELL}, {"offset": exchange.Offset.CLOSE}, {"order_id": "p"}],
)
def test_fills_are_compared_one_by_one(change: dict[str, object]) -> None:
    ours = own_fills(SUMMARY)
    assert ours == [
        ReportedFill(
            order_id="o", trade_id="t", symbol="SHFE.cu2505", side=Side.BUY, offset=Offset.OPEN, price=70010.0,
            volume=2, fee=5.6, datetime_ns=17,
        )
    ]  # fmt: skip
    assert same_fills(ours, [THEIRS]) and not same_fills(ours, [])
    assert not same_fills(ours, [structs.replace(THEIRS, **change)])


def test_a_run_without_the_exchanges_record_says_so() -> None:
    found: TradingFacts = trading_facts(SUMMARY, None)
    assert found.exchange_fills is None and found.fills_equal_exchange is None and found.live_equals_batch is None
