"""Factors of what arrives: orders, cancels and trades on the visible levels, and who was the aggressor."""

from __future__ import annotations

from ghtrader_models.factors.library_factor import Factor, made, over


def order_flow_factors() -> list[Factor]:
    """Order-flow imbalance by level and window."""
    return [
        *made(
            "order flow",
            [
                ("ofi_1", "Ofi(1)", "Net pressure of orders, cancels and trades on the touch, this tick.", "CKS"),
                (
                    "ofi_1_share_50",
                    "Ratio(Sum(Ofi(1), 50), Sum(Abs(Ofi(1)), 50))",
                    "Net over gross pressure on the touch: direction without activity.",
                    "CKS",
                ),
            ],
        ),
        *over(
            "order flow",
            "ofi_1_sum_{w}",
            "Sum(Ofi(1), {w})",
            (5, 20, 100),
            "Net pressure on the touch over {w} ticks.",
            "CKS",
        ),
        *over(
            "order flow",
            "multi_ofi_5_sum_{w}",
            "Sum(MultiOfi(5), {w})",
            (5, 20, 100),
            "Net pressure on all five levels over {w} ticks.",
            "XGH",
        ),
    ]


def trade_factors() -> list[Factor]:
    """Trades: their inferred sides and sizes."""
    return [
        *made(
            "trades",
            [
                ("signed_volume", "SignedVolume()", "Lots bought less lots sold by aggressors, this tick.", "LR"),
                (
                    "signed_share_100",
                    "Ratio(Sum(SignedVolume(), 100), Sum(VolumeDelta(), 100))",
                    "Share of volume that bought less the share that sold; 0 where nothing traded.",
                    "LR",
                ),
            ],
        ),
        *over(
            "trades",
            "signed_volume_sum_{w}",
            "Sum(SignedVolume(), {w})",
            (5, 20, 100),
            "Lots bought less lots sold by aggressors over {w} ticks.",
            "LR",
        ),
        *over(
            "trades",
            "trade_sign_mean_{w}",
            "Mean(TradeSign(), {w})",
            (20, 100),
            "Buying less selling ticks over {w} ticks, sizes left out.",
            "LR",
        ),
    ]
