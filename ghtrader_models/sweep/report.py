"""Holds what a sweep found: its trials, the best ones, how many were tried, and what made the difference.

What belongs here: the report as a struct and its page. Where it is kept is `ghtrader_assets.results.sweeps_store`'s
business.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from ghtrader_models.sweep.space import Setting, Space
from ghtrader_models.sweep.trials import TrialRow, best_first

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 10
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sweep of {{ report.family }} on {{ report.symbol }}</title>
<style>body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; color: #1c2430; }
table { border-collapse: collapse; font-size: 13px; } td, th { padding: 4px 9px; text-align: right; }
tr { border-bottom: 1px solid #dde3ea; } img { max-width: 100%; }</style></head><body>
<h1>Sweep of {{ report.family }} on {{ report.symbol }} at horizon {{ report.horizon }}</h1>
<p>{{ report.tried }} configurations tried, {{ report.splits }}. Ticks: {{ report.origin }}. Objective: mean log-loss
gain over the prior less {{ report.caution }} standard errors of it (nats). The best of {{ report.tried }} looks better
than it is: what is believed of it is decided by a benchmark on later days.</p>
{% for title, picture in figures %}<p><img alt="{{ title }}" src="data:image/png;base64,{{ picture }}"></p>{% endfor %}
<table><tr>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for name in columns %}<td>{{ row[name] }}</td>{% endfor %}</tr>
{% endfor %}</table></body></html>
"""


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """What a sweep found.

    Attributes
    ----------
    family, symbol, horizon, seed
        What was searched, on which series.
    study : str
        Name of the study.
    space : Space
        What was searched.
    caution : float
        Standard errors taken off the mean gain.
    row_limit_us : float or None
        Median time of a row at the most.
    days : list of date
    origin : str
        Where the ticks come from, in words.
    data_hash, splits_hash, splits : str
        Of the days; of the rows learned from and tested; the tests in words.
    wanted : int
        Trials that were asked for.
    tried : int
        Configurations that were looked at on these splits: what the best one's score is deflated for.
    trials : list of TrialRow
    importance : dict of str to float
        Share of each setting in the differences of the objective; empty where too few trials are whole.
    run_id, code_version : str
    """

    family: str
    symbol: str
    horizon: int
    seed: int
    study: str
    space: Space
    caution: float
    row_limit_us: float | None
    days: list[date]
    origin: str
    data_hash: str
    splits_hash: str
    splits: str
    wanted: int
    tried: int
    trials: list[TrialRow]
    importance: dict[str, float]
    run_id: str = ""
    code_version: str = ""

    @property
    def best(self) -> TrialRow | None:
        """The best whole trial that is fast enough."""
        return next(iter(best_first(self.trials)), None)

    @property
    def ends(self) -> dict[str, int]:
        """How many trials ended how."""
        return dict(Counter(row.end.value for row in self.trials))

    def train_settings(self) -> dict[str, Setting]:
        """Settings of the best trial that differ from the preset's, and the preset; empty where there is none."""
        if self.best is None:
            return {}
        return self.space.settings(self.best.settings)

    def train_command(self) -> str:
        """What trains the best configuration; empty where there is none."""
        settings = self.train_settings()
        if not settings:
            return ""
        preset = settings.pop("preset")
        words = [f"--set {name}={_word(value)}" for name, value in settings.items()]
        command = f"ghtrader train --model {self.family} --symbol {self.symbol} --horizon {self.horizon}"
        return " ".join([command, f"--preset {preset}", *words])

    def table(self, most: int = _SHOWN) -> list[dict[str, Setting]]:
        """The best trials as rows of a table."""
        return [
            {
                "trial": row.number,
                "objective": f"{row.objective:+.5f}",
                "gain": f"{row.mean:+.5f}",
                "deviation": "" if row.deviation is None else f"{row.deviation:.5f}",
                "row us": "" if row.row_time is None else f"{row.row_time.p50_us:.1f}",
                **{name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.settings.items()},
            }
            for row in best_first(self.trials)[:most]
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        best = self.best
        return {
            **found,
            "best": None if best is None else best.to_dict(),
            "ends": self.ends,
            "train_settings": self.train_settings(),
            "train_command": self.train_command(),
        }

    def page(self) -> str:
        """One HTML page without anything from outside: importance, and the best trials."""
        from jinja2 import Environment

        rows = self.table(50)
        figures = [("Importance of each setting", base64.b64encode(self.picture()).decode())] if self.importance else []
        template = Environment(autoescape=True).from_string(_PAGE)
        return template.render(report=self, rows=rows, columns=list(rows[0]) if rows else [], figures=figures)

    def picture(self) -> bytes:
        """PNG of the importances."""
        from ghtrader_models.evaluation.plots import draw

        ranked = sorted(self.importance.items(), key=lambda item: item[1])

        def paint(axes: Axes) -> None:
            axes.barh([name for name, _ in ranked], [share for _, share in ranked], color="#2b6cb0")
            axes.set_xlabel("share of the differences of the objective")

        return draw(paint, f"Settings of {self.family}, {self.symbol} {self.horizon}", "png")


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
