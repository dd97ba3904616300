"""Draws the report's figures: reads what the runs left behind, hands arrays to the plots."""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ghtrader.demo.effort import JUDGED
from ghtrader.demo.pipeline_stages import VARIETY
from ghtrader.demo.report_page import Plot
from ghtrader.demo.trading_results import latencies_ms
from ghtrader_base.settings import Settings, load_settings
from ghtrader_market.reference.varieties import get_variety

if TYPE_CHECKING:
    from ghtrader.demo.pipeline_stages import LiveHalf
    from ghtrader.demo.recorded import RecordedHalf
    from ghtrader.demo.report import TradingFacts
    from ghtrader_models.evaluation.comparison import Comparison


def _judgement_plots(settings: Settings, variety: str, comparison: Comparison) -> list[Plot]:
    """Loss against latency, gain per split, reliability, importance and walk-forward PnL at the judged horizon."""
    from ghtrader_assets.results.reports_store import load_pnl, load_predictions, load_reports
    from ghtrader_models.evaluation import plots
    from ghtrader_models.evaluation.benchmark import predicted_probabilities
    from ghtrader_models.evaluation.comparison_page import front_figure
    from ghtrader_models.evaluation.metrics import reliability

    symbol = get_variety(variety).continuous_symbol
    reports = load_reports(settings, symbol, JUDGED)
    gains = {report.family: report.model.gain.per_split for report in reports}
    names = [split.name for split in reports[0].splits]
    bins = {}
    for report in reports:
        predictions = load_predictions(settings, symbol, JUDGED, report.family)
        bins[report.family] = reliability(predicted_probabilities(predictions), predictions.column("y").to_numpy())
    best = max(reports, key=lambda report: report.model.gain.mean)
    pnl = load_pnl(settings, symbol, JUDGED, best.family)
    times, equity = (pnl.column(name).to_numpy() for name in ("datetime_ns", "net_pnl"))
    title = f"Walk-forward PnL of {best.family}'s policy after fees, one lot"
    return [
        Plot(
            f"Loss against latency, horizon {JUDGED}",
            front_figure(comparison),
            "Further down and to the left is better; the line joins the families that no other beats in both.",
        ),
        Plot(
            f"Log-loss gain over the prior, horizon {JUDGED}",
            plots.gain_per_split(gains, names),
            f"Horizon {JUDGED}. Above zero: the test was foretold better than by the training prior.",
        ),
        Plot(title, plots.pnl_curve(times, equity, title=title), "All tests one after the other; reported only."),
        Plot(
            f"Factor importance of {best.family}",
            plots.factor_importance(best.importance),
            f"{best.family}, the best family at horizon {JUDGED}; the 20 factors that count most.",
        ),
        Plot(
            "Reliability on the test rows",
            plots.reliability_diagram(bins),
            "On the test rows. Above the line: right more often than it said. Larger dots: more rows.",
        ),
    ]


def _trading_plots(
    settings: Settings, variety: str, day: date, trading: TradingFacts, latency_folder: Path
) -> list[Plot]:
    """Price with fills, PnL of the run and its latency."""
    from ghtrader_market.accounting.fill import Fill
    from ghtrader_market.accounting.marks import mark_path
    from ghtrader_market.stores.lake.lake import Lake
    from ghtrader_models.evaluation import plots
    from ghtrader_models.evaluation.policy_simulation import trading_report

    product = get_variety(variety)
    columns = ["datetime_ns", "bid_price1", "ask_price1"]
    table = Lake(settings.data).read_day("main_l5", product.continuous_symbol, day, columns)
    times, bid, ask = (table.column(name).to_numpy() for name in columns)
    mid = (bid + ask) / 2
    own = [
        Fill(
            symbol=fill.symbol, side=fill.side, offset=fill.offset, volume=fill.volume, price=fill.price,
            fee=fill.fee, market_ns=fill.datetime_ns,
        )  # fmt: skip
        for fill in sorted(trading.fill_list, key=lambda fill: fill.datetime_ns)
    ]
    marks = mark_path(bid, ask, None, product.price_tick(own[0].symbol, day) if own else math.nan)
    _, equity = trading_report(own, times, marks, product.multiplier)
    trade_ns, price = (np.array([getattr(fill, name) for fill in own]) for name in ("market_ns", "price"))
    side = np.array([fill.side.sign for fill in own])
    title = f"Mid and fills, {day}"
    return [
        Plot(
            title,
            plots.price_with_trades(times, mid, trade_ns, price, side, title=title),
            "The champion's own fills on the mid. Shanghai time; breaks between sessions take no room.",
            wide=True,
        ),
        Plot(
            "PnL of the run after fees",
            plots.pnl_curve(times, equity, title="PnL of the run after fees"),
            "Open positions marked at the mid.",
        ),
        Plot(
            "Tick to target",
            plots.latency_histogram(latencies_ms(latency_folder)),
            "From a tick in hand to the order in TqSdk's socket, or to the decision that none is needed; logarithmic.",
        ),
    ]


def live_plots(home: Path, half: LiveHalf, comparison: Comparison) -> list[Plot]:
    """Figures of the first part."""
    settings = load_settings(home)
    found = _judgement_plots(settings, VARIETY, comparison)
    if half.folder is None or half.live_day is None or half.part.trading is None:
        return found
    return [*_trading_plots(settings, VARIETY, half.live_day, half.part.trading, half.folder), *found]


def recorded_plots(home: Path, half: RecordedHalf, comparison: Comparison) -> list[Plot]:
    """Figures of the second part."""
    from ghtrader.demo import recorded

    settings = load_settings(home)
    found = _judgement_plots(settings, recorded.VARIETY, comparison)
    if half.part.trading is None:
        return found
    return [*_trading_plots(settings, recorded.VARIETY, recorded.DAY, half.part.trading, half.paced), *found]
