"""Factors of the price's own path: how far it went, how restlessly, and how busy trading was meanwhile."""

from __future__ import annotations

from ghtrader_models.factors.library_factor import Factor, made, over


def price_factors() -> list[Factor]:
    """Moves of the mid."""
    return over("price", "mid_return_{w}", "MidReturn({w})", (1, 5, 20, 100), "Move of the mid over {w} ticks.")


def volatility_factors() -> list[Factor]:
    """How restless the price is."""
    return made(
        "volatility",
        [
            ("mid_range_100", "Range(Mid(), 100)", "Span that the mid has covered in 100 ticks.", ""),
            ("volatility_100", "Std(MidReturn(1), 100)", "Realised volatility a tick, over 100 ticks.", "ABD"),
        ],
    )


def activity_factors() -> list[Factor]:
    """How busy trading is, and what it does to open positions."""
    return [
        *over(
            "activity",
            "log_volume_{w}",
            "Log(Add(Sum(VolumeDelta(), {w}), 1))",
            (20, 100),
            "How busy trading was in the last {w} ticks.",
        ),
        *over(
            "activity",
            "open_interest_sum_{w}",
            "Sum(OpenInterestChange(), {w})",
            (100,),
            "Positions opened less positions closed over {w} ticks.",
        ),
    ]
