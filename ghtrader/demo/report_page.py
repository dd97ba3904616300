"""Renders the demo's report as a page a person can read: report.json and plots in, one HTML file out.

The page stands alone: figures are inside it, nothing is fetched.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

BASELINES = ("prior", "majority", "persistence", "oracle")
_SCORES = ("accuracy", "macro_f1", "weighted_f1", "ece")


@dataclass(frozen=True)
class Plot:
    """One figure: what it shows (read out where it cannot be seen), PNG bytes, and the caption under it."""

    title: str
    png: bytes
    caption: str
    wide: bool = False


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def score_rows(models: dict[str, Any]) -> list[dict[str, Any]]:
    """The table of scores: one row a model and horizon, baselines after the models of each horizon."""
    names = [name for name in models if name not in BASELINES] + [name for name in BASELINES if name in models]
    horizons = sorted({int(horizon) for name in names for horizon in models[name]})
    rows = []
    for horizon in horizons:
        for name in names:
            score = models[name].get(str(horizon))
            if score is None:
                continue
            gain = score.get("logloss_gain")
            bounded = gain is not None and name != "prior"  # the prior's gain over itself is 0 by definition
            rows.append(
                {
                    "model": name,
                    "horizon": horizon,
                    "baseline": name in BASELINES,
                    "first": name == names[0],
                    "logloss": _number(score["logloss"]["mean"]) if score.get("logloss") else "–",
                    "gain": "–" if gain is None else f"{gain['mean']:+.4f}",
                    "interval": f"[{gain['low']:+.4f}, {gain['high']:+.4f}]" if bounded else "–",
                    **{key: _number(score[key]["mean"]) if score.get(key) else "–" for key in _SCORES},
                }
            )
    return rows


def _cards(half: dict[str, Any]) -> list[dict[str, str]]:
    cards = [
        {"name": "ticks", "value": f"{half['ticks']:,}"},
        {"name": "trading days", "value": str(half["days"])},
        {"name": "roll segments", "value": str(half["segments"])},
        {"name": "factors", "value": str(half["factors"])},
    ]
    trading = half.get("trading")
    if trading:
        latency = trading["tick_to_target_ms"]
        cards += [
            {"name": "ticks traded on", "value": f"{trading['ticks']:,}"},
            {"name": "fills", "value": str(trading["fills"])},
            {"name": "round trips", "value": str(trading["round_trips"])},
            {"name": "net PnL, CNY", "value": f"{trading['net_pnl']:+,.0f}"},
            {"name": "fees, CNY", "value": f"{trading['fees']:,.0f}"},
        ]
        if latency["count"]:
            timing = f"{latency['p50']:.2f} / {latency['p99']:.2f}"
            cards.append({"name": "ms to target, p50 / p99", "value": timing})
    return cards


def _notes(half: dict[str, Any]) -> list[str]:
    """What was held against what, in words."""
    notes = []
    if half["left_out"]:
        notes.append(f"One level of depth only: {len(half['left_out'])} factors that need more are left out.")
    trading = half.get("trading")
    if trading and trading["exchange_fills"] is not None:
        equal = "equal to ours one by one" if trading["fills_equal_exchange"] else "DIFFERENT from ours"
        notes.append(f"The exchange's own record: {trading['exchange_fills']} fills, {equal}.")
    if trading and trading["live_equals_batch"]:
        batch = trading["live_equals_batch"]
        notes.append(
            f"Factors made tick by tick while trading, against those built afterwards: {batch['ticks']:,} ticks, "
            f"{batch['different']} different."
        )
    return notes


def half_context(
    kind: str, title: str, badge: str, half: dict[str, Any], plots: list[Plot], unit: str, judged: int
) -> dict[str, Any]:
    """What the template needs of one part of the report."""
    return {
        "kind": kind,
        "title": title,
        "badge": badge,
        "unit": unit,
        "judged": judged,
        "verdict": half["verdict"],
        "good": half["champion"] is not None,
        "cards": _cards(half),
        "rows": score_rows(half["models"]),
        "notes": _notes(half),
        "oracle": "oracle" in half["models"],
        "hashes": half["hashes"],
        "plots": [
            {
                "title": plot.title,
                "caption": plot.caption,
                "wide": plot.wide,
                "mime": "image/png",
                "data": base64.b64encode(plot.png).decode(),
            }
            for plot in plots
        ],
    }


def render(report: dict[str, Any], halves: list[dict[str, Any]]) -> str:
    """The whole page as HTML text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("report.html.j2")
    return template.render(report=report, halves=halves, made_at=f"{datetime.now():%Y-%m-%d %H:%M}")
