"""Renders the demo's report as a page a person can read: report.json and plots in, one HTML file out.

The page stands alone: figures are inside it, nothing is fetched.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from ghtrader.demo.report import BASELINES, DemoReport, PartReport, interval
from ghtrader_models.evaluation.comparison import Comparison
from ghtrader_models.model_scores import MeanScore, ModelScores


@dataclass(frozen=True)
class Plot:
    """One figure: what it shows (read out where it cannot be seen), PNG bytes, and the caption under it."""

    title: str
    png: bytes
    caption: str
    wide: bool = False

    @property
    def data(self) -> str:
        """The PNG as base64."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One line of the table of scores, as text.

    Attributes
    ----------
    model : str
        Family or baseline.
    horizon : int
        Ticks ahead.
    baseline, first : bool
        Whether it is a baseline, and whether it begins a horizon.
    logloss, gain, interval, accuracy, macro_f1, weighted_f1, ece : str
        Means over the tests; a dash where there is none.
    """

    model: str
    horizon: int
    baseline: bool
    first: bool
    logloss: str
    gain: str
    interval: str
    accuracy: str
    macro_f1: str
    weighted_f1: str
    ece: str


@dataclass(frozen=True)
class Card:
    """One figure of the page's head: what it is, and its value."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class PartPage:
    """One part of the page.

    Attributes
    ----------
    kind, title, badge : str
        Its key in report.json, its heading and the word beside it.
    unit : str
        What a test is: a day or a block.
    judged : int
        The judged horizon.
    part : PartReport
        What is told.
    comparison : Comparison
        The families side by side at the judged horizon.
    comparison_page : str
        Address of its own page, from this one.
    plots : list of Plot
        Its figures.
    """

    kind: str
    title: str
    badge: str
    unit: str
    judged: int
    part: PartReport
    comparison: Comparison
    comparison_page: str
    plots: list[Plot]

    @property
    def verdict(self) -> str:
        """The honest sentence."""
        return self.part.verdict(self.judged)

    @property
    def good(self) -> bool:
        """Whether a model was promoted."""
        return self.part.pipeline.champion is not None

    @property
    def cards(self) -> list[Card]:
        """Figures of the head."""
        return _cards(self.part)

    @property
    def table(self) -> Markup:
        """The families side by side, as the comparison's own page shows them."""
        from ghtrader_models.evaluation.comparison_page import render_table

        return Markup(render_table(self.comparison))  # escaped there

    @property
    def rows(self) -> list[ScoreRow]:
        """The table of scores."""
        return score_rows(self.part.pipeline.models)

    @property
    def notes(self) -> list[str]:
        """What was held against what."""
        return _notes(self.part)

    @property
    def oracle(self) -> bool:
        """Whether the best possible score is known."""
        return "oracle" in self.part.pipeline.models


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _mean(score: MeanScore | None) -> str:
    return _number(None if score is None else score.mean)


def score_rows(models: dict[str, dict[str, ModelScores]]) -> list[ScoreRow]:
    """The table of scores: one row a model and horizon, baselines after the models of each horizon."""
    names = [name for name in models if name not in BASELINES] + [name for name in BASELINES if name in models]
    horizons = sorted({int(horizon) for name in names for horizon in models[name]})
    rows = []
    for horizon in horizons:
        for name in names:
            score = models[name].get(str(horizon))
            if score is None:
                continue
            gain = score.logloss_gain
            bounded = name != "prior"  # the prior's gain over itself is 0 by definition
            rows.append(
                ScoreRow(
                    model=name,
                    horizon=horizon,
                    baseline=name in BASELINES,
                    first=name == names[0],
                    logloss=_mean(score.logloss),
                    gain="–" if gain is None else f"{gain.mean:+.4f}",
                    interval=interval(gain) if gain is not None and bounded else "–",
                    accuracy=_mean(score.accuracy),
                    macro_f1=_mean(score.macro_f1),
                    weighted_f1=_mean(score.weighted_f1),
                    ece=_mean(score.ece),
                )
            )
    return rows


def _cards(part: PartReport) -> list[Card]:
    data, trading = part.pipeline.data, part.trading
    cards = [
        Card("ticks", f"{data.ticks:,}"),
        Card("trading days", str(data.days)),
        Card("roll segments", str(data.segments)),
        Card("factors", str(data.factors)),
    ]
    if trading is not None:
        cards += [
            Card("ticks traded on", f"{trading.ticks:,}"),
            Card("fills", str(trading.fills)),
            Card("round trips", str(trading.round_trips)),
            Card("net PnL, CNY", f"{trading.net_pnl:+,.0f}"),
            Card("fees, CNY", f"{trading.fees:,.0f}"),
        ]
        latency = trading.tick_to_target_ms
        if latency["count"]:
            cards.append(Card("ms to target, p50 / p99", f"{latency['p50']:.2f} / {latency['p99']:.2f}"))
    return cards


def _notes(part: PartReport) -> list[str]:
    """What was held against what, in words."""
    notes, trading, left_out = [], part.trading, part.pipeline.data.left_out
    if left_out:
        notes.append(f"One level of depth only: {len(left_out)} factors that need more are left out.")
    notes += [f"Left out {day}." for day in part.pipeline.data.left_out_days]
    if trading is not None and trading.exchange_fills is not None:
        equal = "equal to ours one by one" if trading.fills_equal_exchange else "DIFFERENT from ours"
        notes.append(f"The exchange's own record: {trading.exchange_fills} fills, {equal}.")
    if trading is not None and trading.live_equals_batch is not None:
        batch = trading.live_equals_batch
        notes.append(
            f"Factors made tick by tick while trading, against those built afterwards: {batch.ticks:,} ticks, "
            f"{batch.different} different."
        )
    return notes


def render(report: DemoReport, parts: list[PartPage]) -> str:
    """The whole page as HTML text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("report.html.j2")
    return template.render(report=report, parts=parts, made_at=f"{datetime.now():%Y-%m-%d %H:%M}")
