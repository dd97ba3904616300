"""Factors of the standing book: who waits where, now and of late."""

from __future__ import annotations

from ghtrader_models.factors.library_factor import Factor, made, over

_ORDINAL = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}


def touch_factors() -> list[Factor]:
    """The best bid and the best ask."""
    return [
        *made(
            "touch",
            [
                ("spread", "Spread()", "What crossing costs; wide right after a queue was cleared.", ""),
                ("microprice_offset", "MicropriceOffset()", "Where the touch leans within the spread.", "ST"),
                ("imbalance_1", "Imbalance(1)", "Which queue at the touch is longer.", "GB"),
                ("log_bid_volume_1", "Log(BidVolume(1))", "Length of the best bid queue.", ""),
                ("log_ask_volume_1", "Log(AskVolume(1))", "Length of the best ask queue.", ""),
                (
                    "imbalance_1_fresh",
                    "AtChange(Imbalance(1), Mid())",
                    "How the touch was filled right after the mid last moved: who was quicker to join the new queue.",
                    "",
                ),
                (
                    "imbalance_1_fresh_ema_100",
                    "Ema(AtChange(Imbalance(1), Mid()), 100)",
                    "Who was quicker to join the new queues after the last several moves of the mid.",
                    "",
                ),
            ],
        ),
        *over(
            "touch",
            "imbalance_1_mean_{w}",
            "Mean(Imbalance(1), {w})",
            (5, 20, 100),
            "Leaning of the touch over {w} ticks.",
            "GB",
        ),
    ]


def book_factors() -> list[Factor]:
    """Beyond the touch: what needs depth."""
    factors = [
        factor
        for k in range(2, 6)
        for factor in made(
            "book",
            [(f"imbalance_{k}", f"Imbalance({k})", f"Which queue at the {_ORDINAL[k]} level is longer.", "CHW")],
        )
    ]
    return [
        *factors,
        *made(
            "book",
            [
                ("cum_imbalance_5", "CumImbalance(5)", "Which side of the visible book is heavier.", "CHW"),
                ("log_bid_depth_5", "Log(Depth('bid', 5))", "Lots bid on the visible book.", ""),
                ("log_ask_depth_5", "Log(Depth('ask', 5))", "Lots offered on the visible book.", ""),
            ],
        ),
        *over(
            "book",
            "cum_imbalance_5_mean_{w}",
            "Mean(CumImbalance(5), {w})",
            (20, 100),
            "Leaning of the book over {w} ticks.",
            "CHW",
        ),
    ]
