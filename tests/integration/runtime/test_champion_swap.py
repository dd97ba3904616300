"""A champion promoted during a run takes over when nothing is held, with the full day's factors; a bad one never."""

from __future__ import annotations

import threading
from datetime import date
from typing import Any

import numpy as np

from ghtrader_market.reference.tick_schema import values_matrix
from ghtrader_market.reference.trading_calendar import bundled_calendar
from ghtrader_market.stores.lake.lake import Lake
from ghtrader_models.bundles.bundle import load_bundle, write_bundle
from ghtrader_models.bundles.champions import champion_path, write_champion
from ghtrader_models.bundles.provenance import BundleContent
from ghtrader_models.factors.engine import FactorEngine
from ghtrader_models.inference.predictors import Predictor
from ghtrader_models.labels.labels import LabelSpec
from ghtrader_models.policy import PolicyParams
from ghtrader_runtime.operator_views.gateway_view import running_gateways
from ghtrader_runtime.replay.recorded_days import paper_day
from ghtrader_runtime.runlog.journal import read_factors, read_lines
from tests.support.runtime_kit import TinyModel, tiny_factor_set, write_day, write_tiny_bundle
from tests.support.waiting import PATIENCE_S, until

CONTRACT, DAY, ROWS = "SHFE.cu2502", date(2025, 1, 8), 1500
SERIES = "KQ.m@SHFE.cu"


def test_a_new_champion_takes_over_at_flat_and_a_damaged_one_does_not(settings) -> None:
    write_day(settings, CONTRACT, DAY, ROWS)
    first = load_bundle(write_tiny_bundle(settings.models, enter=0.7, leave=0.2))
    content = BundleContent(symbol=SERIES, horizon=50, price_tick=10.0, levels=5, days=(), seed=1, config={})
    second = load_bundle(
        write_bundle(
            settings.models, TinyModel(weight=-1.5), tiny_factor_set().spec(), LabelSpec((50,)),
            PolicyParams(enter=0.5, leave=0.1), content,
        )
    )  # fmt: skip
    write_champion(settings.models, first, reason="the first")
    found: dict[str, Any] = {}

    def work() -> None:
        found["run"] = paper_day(settings, "cu", DAY, rate_orders=10**6, pace=75.0)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: any(one.told.ready for one in running_gateways(settings)))
    folder = running_gateways(settings)[0].run_dir
    journal = folder / "strategy" / "events.jsonl"
    good = champion_path(settings.models, SERIES, 50).read_text()
    champion_path(settings.models, SERIES, 50).write_text(good.replace(first.bundle_id, "b" * len(first.bundle_id)))
    until(lambda: any(line["kind"] == "champion-refused" for line in read_lines(journal)))
    write_champion(settings.models, second, reason="the second")
    until(lambda: any(line["kind"] == "champion-takes-over" for line in read_lines(journal)))
    until(lambda: second.bundle_id in running_gateways(settings)[0].told.ready)
    thread.join(timeout=PATIENCE_S)
    assert not thread.is_alive()
    run = found["run"]
    took = next(line for line in read_lines(journal) if line["kind"] == "champion-takes-over")
    assert (took["before"], took["model"]) == (first.bundle_id, second.bundle_id)

    old, new = read_factors(folder / "strategy"), read_factors(folder / "strategy", "factors-2")
    boundary = int(old["id"][-1])
    net = sum(f.signed for f in run.fill_list if f.market_ns <= int(old["datetime_ns"][-1]))
    assert net == 0 and old["target"][-1] == 0, "nothing was held or wanted when it took over"
    assert new["id"].tolist() == list(range(1000, 1000 + ROWS)), "the day so far warmed it, and no tick was lost"
    late = new["live"] & (new["id"] > boundary + 250)
    assert new["live"].sum() > 250 and late.any() and old["live"].all()
    table = Lake(settings.data).read_day("main_l5", SERIES, DAY)
    bounds = bundled_calendar().sessions("cu", DAY)
    times = table["datetime_ns"].to_numpy()
    batch = FactorEngine(tiny_factor_set(), 10.0, 5, bounds).batch(times, values_matrix(table))
    assert new["factors"].tobytes() == batch.tobytes(), "the factors are the full day's, bit for bit"
    expected = Predictor.from_bundle(second).predict(np.ascontiguousarray(new["factors"][late]))
    assert expected.tobytes() == np.ascontiguousarray(new["probabilities"][late]).tobytes(), "the second model decides"
    assert run.fills > 4 and run.folder == folder
