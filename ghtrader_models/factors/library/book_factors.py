"""Defines factors of the standing book: who waits where, now and of late."""

from __future__ import annotations

from ghtrader_models.factors.library.factor_definition import Factor, made, over

_ORDINAL = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}
_DEEP_BID = "Sub(Depth('bid', 5), Depth('bid', 2))"
_DEEP_ASK = "Sub(Depth('ask', 5), Depth('ask', 2))"
_DEEP = f"Ratio(Sub({_DEEP_BID}, {_DEEP_ASK}), Add({_DEEP_BID}, {_DEEP_ASK}))"
_TOTAL = "Add(Depth('bid', 5), Depth('ask', 5))"
_CENTRE_GAP = "Sub(DepthCentre('ask', 5), DepthCentre('bid', 5))"
_CONVEXITY_GAP = "Sub(BookConvexity('ask', 5), BookConvexity('bid', 5))"


def touch_factors() -> list[Factor]:
    """The best bid and the best ask."""
    group = "touch"
    return [
        *made(
            group,
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
                    "spread_age",
                    "RunLength(Spread())",
                    "How long the spread has been what it is.",
                    "",
                ),
            ],
        ),
        *over(
            group,
            "imbalance_1_fresh_ema_{w}",
            "Ema(AtChange(Imbalance(1), Mid()), {w})",
            (30, 100),
            "Who was quicker to join the new queues after the moves of the mid in the last {t} or so.",
        ),
        *over(group, "spread_mean_{w}", "Mean(Spread(), {w})", (20, 100), "Mean cost of crossing over {t}."),
        *over(
            group,
            "imbalance_1_mean_{w}",
            "Mean(Imbalance(1), {w})",
            (5, 20, 50, 100, 200),
            "Leaning of the touch over {t}.",
            "GB",
        ),
        *over(
            group,
            "imbalance_1_change_{w}",
            "Diff(Imbalance(1), {w})",
            (1, 5, 20),
            "How the leaning of the touch has turned in {t}.",
            "GB",
        ),
        *over(
            group,
            "imbalance_1_std_{w}",
            "Std(Imbalance(1), {w})",
            (50,),
            "How restless the touch has been over {t}.",
        ),
        *over(
            group,
            "microprice_change_{w}",
            "Diff(Microprice(), {w})",
            (1, 5),
            "Move of the microprice over {t}.",
            "ST",
        ),
        *over(
            group,
            "bid_volume_1_zscore_{w}",
            "ZScore(BidVolume(1), {w})",
            (100,),
            "How unusually long the best bid queue is among its last {t}.",
        ),
        *over(
            group,
            "ask_volume_1_zscore_{w}",
            "ZScore(AskVolume(1), {w})",
            (100,),
            "How unusually long the best ask queue is among its last {t}.",
        ),
    ]


def book_factors() -> list[Factor]:
    """Beyond the touch: what needs depth."""
    group = "book"
    factors: list[Factor] = []
    for k in range(2, 6):
        where = f"the {_ORDINAL[k]} level"
        factors += made(group, [(f"imbalance_{k}", f"Imbalance({k})", f"Which queue at {where} is longer.", "CHW")])
        factors += over(
            group,
            f"imbalance_{k}_mean_{{w}}",
            f"Mean(Imbalance({k}), {{w}})",
            (20,),
            f"Leaning of {where} over {{t}}.",
            "CHW",
        )
    for side in ("bid", "ask"):
        factors += made(
            group,
            [
                (
                    f"log_{side}_depth_5",
                    f"Log(Depth('{side}', 5))",
                    f"Lots waiting on the visible {side} side.",
                    "",
                ),
                (
                    f"{side}_centre_5",
                    f"DepthCentre('{side}', 5)",
                    f"How far from the mid the {side} side's lots wait on average.",
                    "",
                ),
                (
                    f"{side}_front_share_mean_20",
                    "Mean(Ratio(BidVolume(1), Depth('bid', 5)), 20)"
                    if side == "bid"
                    else "Mean(Ratio(AskVolume(1), Depth('ask', 5)), 20)",
                    f"Share of the visible {side} lots that stand at the touch, over 20 ticks.",
                    "",
                ),
            ],
        )
    return [
        *factors,
        *made(
            group,
            [
                ("cum_imbalance_2", "CumImbalance(2)", "Which side is heavier on two levels.", "CHW"),
                ("cum_imbalance_3", "CumImbalance(3)", "Which side is heavier on three levels.", "CHW"),
                ("cum_imbalance_5", "CumImbalance(5)", "Which side of the visible book is heavier.", "CHW"),
                ("deep_imbalance", _DEEP, "Which side is heavier behind the first two levels.", "CHW"),
                ("log_depth_5", f"Log({_TOTAL})", "Lots waiting on the visible book, both sides.", ""),
                (
                    "depth_5_ratio_200",
                    f"Ratio({_TOTAL}, Mean({_TOTAL}, 200))",
                    "Visible lots now against their mean of 200 ticks: thin books move more.",
                    "",
                ),
                (
                    "log_slope_5",
                    "Log(Add(BookSlope('bid', 5), BookSlope('ask', 5)))",
                    "How fast depth builds up away from the mid, both sides.",
                    "NS",
                ),
                (
                    "cum_imbalance_5_zscore_200",
                    "ZScore(CumImbalance(5), 200)",
                    "How unusual the leaning of the book is among its last 200 ticks.",
                    "CHW",
                ),
                (
                    "cum_imbalance_5_std_50",
                    "Std(CumImbalance(5), 50)",
                    "How restless the leaning of the book has been over 50 ticks.",
                    "",
                ),
                (
                    "centre_gap_5_mean_20",
                    f"Mean({_CENTRE_GAP}, 20)",
                    "How much further out offers wait than bids, over 20 ticks: above 0 where buyers crowd the front.",
                    "",
                ),
                (
                    "convexity_gap_5",
                    _CONVEXITY_GAP,
                    "Whether offers wait further back within their side than bids.",
                    "",
                ),
            ],
        ),
        *over(
            group,
            "cum_imbalance_3_mean_{w}",
            "Mean(CumImbalance(3), {w})",
            (20,),
            "Leaning of the first three levels over {t}.",
            "CHW",
        ),
        *over(
            group,
            "cum_imbalance_5_mean_{w}",
            "Mean(CumImbalance(5), {w})",
            (5, 20, 50, 100, 200),
            "Leaning of the book over {t}.",
            "CHW",
        ),
        *over(
            group,
            "cum_imbalance_5_change_{w}",
            "Diff(CumImbalance(5), {w})",
            (1, 5, 20),
            "How the leaning of the book has turned in {t}.",
            "CHW",
        ),
        *over(
            group,
            "deep_imbalance_mean_{w}",
            f"Mean({_DEEP}, {{w}})",
            (20,),
            "Leaning behind the first two levels over {t}.",
            "CHW",
        ),
    ]


_LEVELS = range(1, 6)


def book_column_names() -> tuple[str, ...]:
    """The 20 columns of the book, level by level: price and volume of the ask, price and volume of the bid."""
    return tuple(
        name
        for k in _LEVELS
        for side in ("ask", "bid")
        for name in (f"{side}_offset_{k}", f"log_{side}_volume_{k}")
    )  # fmt: skip


def book_columns() -> list[Factor]:
    """The five levels themselves, as networks read them.

    Prices are taken from the mid of the tick before: they stay small at any price level, and rows that follow each
    other still tell where the price went, which the distance from the mid of their own tick would not.
    """
    rows = []
    for k in _LEVELS:
        for side in ("ask", "bid"):
            title, where = side.capitalize(), f"the {_ORDINAL[k]} {side} level"
            doc = f"Where {where} stands, seen from the mid of the tick before."
            rows.append((f"{side}_offset_{k}", f"Sub({title}Price({k}), Lag(Mid(), 1))", doc, ""))
            rows.append((f"log_{side}_volume_{k}", f"Log({title}Volume({k}))", f"Lots at {where}.", ""))
    return [factor for factor in made("book", rows) if factor.name not in {each.name for each in touch_factors()}]
