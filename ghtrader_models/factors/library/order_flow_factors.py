"""Defines factors of what arrives on the visible levels: order-flow imbalance, and queues that fill up or drain."""

from __future__ import annotations

from ghtrader_models.factors.library.factor_definition import Factor, made, over

CLOCK = ("45s", "2m", "6m")
"""Wall-clock windows: no number of ticks in use, neither at a market's half second nor at a thinned three seconds."""
_LEVELS = range(1, 6)


def _total(parts: list[str]) -> str:
    total = parts[0]
    for part in parts[1:]:
        total = f"Add({total}, {part})"
    return total


def _filled(side: str, cap: int, levels: range = _LEVELS) -> str:
    """Lots that a side's queues gained since the tick before, at most `cap` a level: one large order counts little."""
    return _total([f"Clip(Diff({side}Volume({k}), 1), 0, {cap})" for k in levels])


def _drained(side: str, cap: int) -> str:
    return _total([f"Clip(Diff({side}Volume({k}), 1), -{cap}, 0)" for k in _LEVELS])


def _share(bid: str, ask: str, span: int | str) -> str:
    return f"Ratio(Ema(Sub({bid}, {ask}), {span}), Ema(Add({bid}, {ask}), {span}))"


def refill_share(cap: int, span: int | str, levels: range = _LEVELS) -> str:
    """Expression text: the bid side's refills less the ask side's, as a share of both, over an exponential span."""
    return _share(_filled("Bid", cap, levels), _filled("Ask", cap, levels), span)


def order_flow_factors() -> list[Factor]:
    """Order-flow imbalance by level and window."""
    group = "order flow"
    return [
        *made(
            group,
            [
                ("ofi_1", "Ofi(1)", "Net pressure of orders, cancels and trades on the touch, this tick.", "CKS"),
                ("multi_ofi_5", "MultiOfi(5)", "Net pressure on all five levels, this tick.", "XGH"),
                (
                    "ofi_1_zscore_100",
                    "ZScore(Ofi(1), 100)",
                    "How unusual this tick's pressure on the touch is among its last 100.",
                    "CKS",
                ),
                (
                    "ofi_1_autocorr_100",
                    "AutoCorr(Ofi(1), 1, 100)",
                    "Whether pressure on the touch has been followed by more of the same.",
                    "",
                ),
            ],
        ),
        *over(
            group,
            "ofi_1_sum_{w}",
            "Sum(Ofi(1), {w})",
            (5, 10, 20, 50, 100, 200, *CLOCK),
            "Net pressure on the touch over {t}.",
            "CKS",
        ),
        *over(group, "ofi_2_sum_{w}", "Sum(Ofi(2), {w})", (20,), "Net pressure on the second level over {t}.", "XGH"),
        *over(group, "ofi_3_sum_{w}", "Sum(Ofi(3), {w})", (20,), "Net pressure on the third level over {t}.", "XGH"),
        *over(
            group,
            "multi_ofi_5_sum_{w}",
            "Sum(MultiOfi(5), {w})",
            (5, 10, 20, 50, 100),
            "Net pressure on all five levels over {t}.",
            "XGH",
        ),
        *over(
            group,
            "ofi_1_share_{w}",
            "Ratio(Sum(Ofi(1), {w}), Sum(Abs(Ofi(1)), {w}))",
            (20, 50),
            "Net over gross pressure on the touch over {t}: direction without activity.",
            "CKS",
        ),
        *over(
            group,
            "multi_ofi_5_share_{w}",
            "Ratio(Sum(MultiOfi(5), {w}), Sum(Abs(MultiOfi(5)), {w}))",
            (20, 50),
            "Net over gross pressure on five levels over {t}.",
            "XGH",
        ),
        *over(
            group,
            "multi_ofi_5_clipped_ema_{w}",
            "Ema(Clip(MultiOfi(5), -20, 20), {w})",
            (10, 30, 80),
            "Pressure on five levels, each tick at most 20 lots, fading over {t}.",
            "XGH",
        ),
        *over(
            group,
            "ofi_1_sign_mean_{w}",
            "Mean(Sign(Ofi(1)), {w})",
            (20, 100),
            "Ticks of upward less ticks of downward pressure on the touch over {t}.",
            "CKS",
        ),
        *over(
            group,
            "bid_flow_1_sum_{w}",
            "Sum(SideFlow('bid', 1), {w})",
            (20, 100),
            "What joined the best bid less what left it, over {t}.",
            "CKS",
        ),
        *over(
            group,
            "ask_flow_1_sum_{w}",
            "Sum(SideFlow('ask', 1), {w})",
            (20, 100),
            "What joined the best ask less what left it, over {t}.",
            "CKS",
        ),
    ]


def refill_factors() -> list[Factor]:
    """Queues that fill up or drain: which side's limit orders arrive."""
    group = "refill"
    drained = _share(_drained("Bid", 8), _drained("Ask", 8), "{w}")
    return [
        *over(
            group,
            "refill_3_share_{w}",
            refill_share(3, "{w}"),
            (10, 20, 40),
            "Which side's queues gain lots, at most 3 a level and tick, fading over {t}.",
        ),
        *over(
            group,
            "refill_8_share_{w}",
            refill_share(8, "{w}"),
            (10, 20, 40, 80),
            "Which side's queues gain lots, at most 8 a level and tick, fading over {t}.",
        ),
        *over(
            group,
            "refill_1_share_{w}",
            refill_share(8, "{w}", range(1, 2)),
            (20, 40),
            "Which queue of the touch gains lots, at most 8 a tick, fading over {t}.",
        ),
        *over(
            group,
            "drain_8_share_{w}",
            drained,
            (20, 40),
            "Which side's queues lose lots to cancels and trades, at most 8 a level and tick, fading over {t}.",
        ),
        *over(
            group,
            "log_bid_refill_{w}",
            f"Log(Add(Ema({_filled('Bid', 8)}, {{w}}), 1))",
            (30,),
            "How fast the bid queues fill, fading over {t}.",
        ),
        *over(
            group,
            "log_ask_refill_{w}",
            f"Log(Add(Ema({_filled('Ask', 8)}, {{w}}), 1))",
            (30,),
            "How fast the ask queues fill, fading over {t}.",
        ),
        *over(
            group,
            "pressure_{w}",
            f"Add({refill_share(8, '{w}')}, Add(Mul(0.5, CumImbalance(5)), Mul(0.2, Ema(TradeSign(), 20))))",
            (10, 20),
            "Book, arriving orders (fading over {t}) and aggressors in one voice: they err independently.",
        ),
        *over(
            group,
            "pressure_smooth_{w}",
            f"Add({refill_share(8, '{w}')}, Add(Mul(0.5, Ema(CumImbalance(5), 5)), Mul(0.2, Ema(TradeSign(), 40))))",
            (10,),
            "Book (over 5 ticks), arriving orders (over {t}) and aggressors (over 40) in one voice, smoothed.",
        ),
    ]
