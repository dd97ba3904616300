"""Defines factors of the price's path (how far it went, how restlessly) and of the clock (activity, session time)."""

from __future__ import annotations

from ghtrader_models.factors.library.factor_definition import Factor, made, over
from ghtrader_models.factors.library.order_flow_factors import CLOCK

_TOTAL_FLOW = "Abs(MultiOfi(5))"


def price_factors() -> list[Factor]:
    """Moves of the mid, and where it stands among where it has been.

    Nothing here is measured against the whole day so far: within one day any walk seems to return to its mean
    (Stambaugh 1999, "Predictive regressions"), so such a level has an information coefficient where nobody can predict.
    """
    group = "price"
    return [
        *over(
            group,
            "mid_return_{w}",
            "MidReturn({w})",
            (1, 5, 10, 20, 50, 100, 200, 400, *CLOCK),
            "Move of the mid over {t}.",
        ),
        *over(
            group,
            "return_sharpe_{w}",
            "Sharpe(MidReturn(1), {w})",
            (50,),
            "Mean move of the mid a tick over its standard deviation, over {t}.",
        ),
        *over(
            group,
            "mid_gap_{w}",
            "Sub(Mid(), Mean(Mid(), {w}))",
            (20, 50),
            "How far the mid stands above its mean of {t}.",
        ),
        *over(
            group,
            "mid_zscore_{w}",
            "ZScore(Mid(), {w})",
            (50, 200),
            "How unusual the mid is among its last {t}.",
        ),
        *over(
            group,
            "mid_place_{w}",
            "PlaceInRange(Mid(), {w})",
            (50, 200),
            "Where the mid stands between its lowest and highest of {t}.",
        ),
        *over(
            group,
            "mid_rank_{w}",
            "Rank(Mid(), {w})",
            (50,),
            "Share of the last {t} in which the mid was lower.",
        ),
        *over(
            group,
            "mid_high_age_{w}",
            "ArgMaxAge(Mid(), {w})",
            (100,),
            "How long ago the mid was highest within {t}.",
        ),
        *over(
            group,
            "mid_low_age_{w}",
            "ArgMinAge(Mid(), {w})",
            (100,),
            "How long ago the mid was lowest within {t}.",
        ),
        *over(
            group,
            "mid_slope_{w}",
            "Slope(Mid(), {w})",
            (50, 100),
            "Steepness of the line through the mids of {t}.",
        ),
        *over(
            group,
            "mid_trend_residual_{w}",
            "TrendResidual(Mid(), {w})",
            (50, 100),
            "How far the mid stands above the line through the mids of {t}.",
        ),
        *over(
            group,
            "mid_efficiency_{w}",
            "Efficiency(Mid(), {w})",
            (20, 100),
            "How straight the mid's way of {t} was.",
            "KF",
        ),
        *over(
            group,
            "return_autocorr_{w}",
            "AutoCorr(MidReturn(1), 1, {w})",
            (50, 200),
            "Whether the mid's moves go on or turn in the next tick, over {t}.",
        ),
        *over(
            group,
            "return_sign_mean_{w}",
            "Mean(Sign(MidReturn(1)), {w})",
            (20,),
            "Upward less downward moves of the mid over {t}, widths left out.",
        ),
        *over(
            group,
            "return_skew_{w}",
            "Skew(MidReturn(1), {w})",
            (200,),
            "Whether the wide moves of {t} went up or down.",
        ),
        *made(
            group,
            [
                (
                    "ema_cross_10_50",
                    "Sub(Ema(Mid(), 10), Ema(Mid(), 50))",
                    "Short less long exponential mean of the mid: momentum.",
                    "",
                ),
                (
                    "ema_cross_30_150",
                    "Sub(Ema(Mid(), 30), Ema(Mid(), 150))",
                    "Middle less very long exponential mean of the mid: momentum.",
                    "",
                ),
                ("mid_age", "Since(MidReturn(1))", "How long the mid has stood still.", ""),
                (
                    "last_move",
                    "Held(MidReturn(1))",
                    "Direction and width of the mid's latest move.",
                    "",
                ),
            ],
        ),
    ]


def volatility_factors() -> list[Factor]:
    """How restless the price is."""
    group = "volatility"
    return [
        *over(
            group,
            "mid_range_{w}",
            "Range(Mid(), {w})",
            (20, 100, 200),
            "Span that the mid has covered in {t}.",
        ),
        *over(
            group,
            "volatility_{w}",
            "Std(MidReturn(1), {w})",
            (20, 50, 100, 200, "2m", "6m"),
            "Realised volatility a tick, over {t}.",
            "ABD",
        ),
        *over(
            group,
            "realized_variance_{w}",
            "RealizedVar(Mid(), {w})",
            (400,),
            "Sum of squared moves of the mid over {t}.",
            "ABD",
        ),
        *over(
            group,
            "bipower_{w}",
            "BipowerVar(Mid(), {w})",
            (50, 200),
            "Variance of the mid over {t} that is no jump.",
            "BNS",
        ),
        *over(
            group,
            "jump_share_{w}",
            "JumpShare(Mid(), {w})",
            (100,),
            "Part of the mid's variance over {t} that came in jumps.",
            "BNS",
        ),
        *over(
            group,
            "signed_jump_{w}",
            "Ratio(Sum(Mul(MidReturn(1), Abs(MidReturn(1))), {w}), RealizedVar(Mid(), {w}))",
            (50, 200),
            "Part of the variance of {t} that went up less the part that went down.",
            "PS",
        ),
        *over(
            group,
            "ew_volatility_{w}",
            "EwStd(MidReturn(1), {w})",
            (30, 100),
            "Volatility a tick, fading over {t}.",
            "",
        ),
        *over(
            group,
            "micro_volatility_{w}",
            "Std(Diff(Microprice(), 1), {w})",
            (20, 100),
            "Volatility of the microprice a tick, over {t}: how nervous the touch is between moves of the mid.",
            "ST",
        ),
        *over(
            group,
            "moves_{w}",
            "Sum(Abs(Sign(MidReturn(1))), {w})",
            (50,),
            "Ticks in which the mid moved, of {t}.",
        ),
        *over(
            group,
            "spread_std_{w}",
            "Std(Spread(), {w})",
            (100,),
            "How restless the spread has been over {t}.",
        ),
        *over(
            group,
            "volatility_clustering_{w}",
            "AutoCorr(Abs(MidReturn(1)), 1, {w})",
            (200,),
            "Whether moves of either direction come together, over {t}.",
        ),
        *made(
            group,
            [
                (
                    "volatility_ratio_20_200",
                    "Ratio(Std(MidReturn(1), 20), Std(MidReturn(1), 200))",
                    "Volatility of late against the longer past.",
                    "",
                ),
                (
                    "range_ratio_20_200",
                    "Ratio(Range(Mid(), 20), Range(Mid(), 200))",
                    "Span of late against the longer past's.",
                    "",
                ),
            ],
        ),
    ]


def activity_factors() -> list[Factor]:
    """How busy trading is, and what it does to open positions."""
    group = "activity"
    return [
        *over(
            group,
            "log_volume_{w}",
            "Log(Add(Sum(VolumeDelta(), {w}), 1))",
            (5, 20, 100, 400, "2m", "6m"),
            "How busy trading was in the last {t}.",
        ),
        *over(
            group,
            "open_interest_sum_{w}",
            "Sum(OpenInterestChange(), {w})",
            (20, 100, 400),
            "Positions opened less positions closed over {t}.",
        ),
        *over(
            group,
            "open_interest_share_{w}",
            "Ratio(Sum(OpenInterestChange(), {w}), Sum(VolumeDelta(), {w}))",
            (100,),
            "Share of the volume of {t} that opened positions less the share that closed them.",
        ),
        *over(
            group,
            "signed_open_interest_{w}",
            "Sum(Mul(TradeSign(), OpenInterestChange()), {w})",
            (100,),
            "Whether buyers (above 0) or sellers (below) were the ones who opened positions, over {t}.",
        ),
        *over(
            group,
            "log_quote_activity_{w}",
            f"Log(Add(Mean({_TOTAL_FLOW}, {{w}}), 1))",
            (20, 100),
            "Gross pressure on five levels a tick, over {t}: how busy the book is.",
        ),
        *made(
            group,
            [
                (
                    "volume_ratio_20_200",
                    "Ratio(Mean(VolumeDelta(), 20), Mean(VolumeDelta(), 200))",
                    "Volume of late against the longer past's.",
                    "",
                ),
                (
                    "volume_zscore_200",
                    "ZScore(VolumeDelta(), 200)",
                    "How unusual this tick's volume is among its last 200.",
                    "",
                ),
                (
                    "volume_variation_100",
                    "Ratio(Std(VolumeDelta(), 100), Mean(VolumeDelta(), 100))",
                    "Whether the volume of 100 ticks came evenly or in bursts.",
                    "",
                ),
                (
                    "volume_rank_50",
                    "Rank(VolumeDelta(), 50)",
                    "Share of the last 50 ticks that traded less than this one.",
                    "",
                ),
                (
                    "quotes_per_volume_100",
                    f"Ratio(Sum({_TOTAL_FLOW}, 100), Sum(VolumeDelta(), 100))",
                    "Gross pressure on five levels for every lot traded, over 100 ticks.",
                    "",
                ),
            ],
        ),
    ]


def time_factors() -> list[Factor]:
    """Where in the trading day it is."""
    return made(
        "time",
        [
            ("session_time", "SessionTime()", "How much of the trading day has passed; breaks do not count.", ""),
            (
                "log_session_age",
                "Log(Add(SessionAge(), 1))",
                "How long the present session has been open: openings are their own market.",
                "",
            ),
            (
                "log_session_left",
                "Log(Add(SessionLeft(), 1))",
                "How soon the present session closes.",
                "",
            ),
        ],
    )
