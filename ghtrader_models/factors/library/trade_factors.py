"""Defines factors of who trades: aggressors' sides and sizes, the order they come in, and what they do to the price."""

from __future__ import annotations

from ghtrader_models.factors.library.factor_definition import Factor, made, over
from ghtrader_models.factors.library.order_flow_factors import CLOCK

_ECHO = "Mul(TradeSign(), Lag(Held(TradeSign()), 1))"
_SIDE = "Held(TradeSign())"
_LARGE = "Greater(VolumeDelta(), Mul(4, Mean(VolumeDelta(), 100)))"


def trade_factors() -> list[Factor]:
    """Trades: their inferred sides and sizes."""
    group = "trades"
    return [
        *made(
            group,
            [
                ("signed_volume", "SignedVolume()", "Lots bought less lots sold by aggressors, this tick.", "LR"),
                ("trade_age", "Since(VolumeDelta())", "How long nothing has traded.", ""),
                (
                    "large_trade_fresh",
                    f"DecaySince({_LARGE}, 100)",
                    "How lately a tick traded four times the usual: 1 at it, fading over 100 ticks.",
                    "",
                ),
                (
                    "large_trade_side_decay_50",
                    f"Decay(Mul({_LARGE}, TradeSign()), 50)",
                    "Side of the recent ticks that traded four times the usual, fading over 50 ticks.",
                    "HA",
                ),
                (
                    "largest_trade_share_50",
                    "Ratio(Max(VolumeDelta(), 50), Sum(VolumeDelta(), 50))",
                    "How much of the volume of 50 ticks came in one of them.",
                    "",
                ),
                (
                    "trade_size_50",
                    "Ratio(Sum(VolumeDelta(), 50), Sum(Greater(VolumeDelta(), 0), 50))",
                    "Lots a tick in the ticks that traded, over 50 ticks.",
                    "",
                ),
                (
                    "last_price_offset",
                    "Sub(LastPrice(), Mid())",
                    "Where the last trade was against the mid: above 0 at the ask.",
                    "",
                ),
            ],
        ),
        *over(
            group,
            "signed_volume_sum_{w}",
            "Sum(SignedVolume(), {w})",
            (5, 10, 20, 50, 100, 200, *CLOCK),
            "Lots bought less lots sold by aggressors over {t}.",
            "LR",
        ),
        *over(
            group,
            "signed_share_{w}",
            "Ratio(Sum(SignedVolume(), {w}), Sum(VolumeDelta(), {w}))",
            (20, 50, 100, 200),
            "Share of volume that bought less the share that sold, over {t}; 0 where nothing traded.",
            "LR",
        ),
        *over(
            group,
            "trade_sign_mean_{w}",
            "Mean(TradeSign(), {w})",
            (5, 20, 50, 100, 200, "45s", "2m"),
            "Buying less selling ticks over {t}, sizes left out.",
            "LR",
        ),
        *over(
            group,
            "trade_sign_ema_{w}",
            "Ema(TradeSign(), {w})",
            (30, 80),
            "Buying less selling ticks, fading over {t}, sizes left out.",
            "LR",
        ),
        *over(
            group,
            "signed_log_volume_ema_{w}",
            "Ema(SignedLog(SignedVolume()), {w})",
            (10, 40),
            "Aggressors' net lots on a log scale, fading over {t}: large trades count, but not alone.",
            "LR",
        ),
        *over(
            group,
            "trade_share_{w}",
            "Mean(Greater(VolumeDelta(), 0), {w})",
            (20, 100),
            "Share of ticks that traded, over {t}.",
        ),
        *over(
            group,
            "vwap_gap_{w}",
            "Ratio(Sub(Mul(Mid(), Sum(VolumeDelta(), {w})), Sum(TurnoverDelta(), {w})), Sum(VolumeDelta(), {w}))",
            (100,),
            "How far the mid stands above the average price of the trades of {t}; 0 where there was none.",
        ),
        *over(
            group,
            "vwap_offset_mean_{w}",
            "Mean(VwapOffset(), {w})",
            (20,),
            "Where trades printed against the mid, over {t}.",
            "LR",
        ),
    ]


def persistence_factors() -> list[Factor]:
    """The order in which sides come: whether trades, orders and moves repeat their side or take turns."""
    group = "persistence"
    return [
        *over(
            group,
            "side_echo_{w}",
            f"Mean({_ECHO}, {{w}})",
            (10, 25, 50, 75, 100, 200, "2m"),
            "Trades that repeat the side of the trade before less those that turn, a tick, over {t}.",
            "LF",
        ),
        *over(
            group,
            "side_echo_ema_{w}",
            f"Ema({_ECHO}, {{w}})",
            (5, 10, 20, 40),
            "Trades that repeat the side of the trade before less those that turn, a tick, fading over {t}.",
            "LF",
        ),
        *over(
            group,
            "side_echo_25_before_{w}",
            f"Lag(Mean({_ECHO}, 25), {{w}})",
            (25, 50, 75),
            "Repeating less turning trades over 25 ticks, as it was {t} ago.",
            "LF",
        ),
        *over(
            group,
            "side_echo_50_before_{w}",
            f"Lag(Mean({_ECHO}, 50), {{w}})",
            (10, 30, 50),
            "Repeating less turning trades over 50 ticks, as it was {t} ago.",
            "LF",
        ),
        *over(
            group,
            "side_echo_share_{w}",
            f"Ratio(Sum({_ECHO}, {{w}}), Sum(Abs({_ECHO}), {{w}}))",
            (25,),
            "Of the trades of {t}, the share that repeated the side before less the share that turned.",
            "LF",
        ),
        *over(
            group,
            "side_echo_regime_{w}",
            f"Mul(Sign(Mean({_ECHO}, {{w}})), RunLength(Sign(Mean({_ECHO}, {{w}}))))",
            (10, 20),
            "For how long trades have rather repeated (above 0) or rather turned (below), judged over {t}.",
            "LF",
        ),
        *made(
            group,
            [
                ("last_side", _SIDE, "Side of the latest trade.", "LR"),
                (
                    "side_run",
                    f"Mul({_SIDE}, RunLength({_SIDE}))",
                    "For how long the latest trades have been buys (above 0) or sells (below).",
                    "LF",
                ),
                (
                    "ofi_1_persistence_50",
                    "SignPersistence(Ofi(1), 50)",
                    "Whether pressure on the touch keeps its sign from tick to tick, over 50 ticks.",
                    "",
                ),
                (
                    "return_persistence_100",
                    "SignPersistence(MidReturn(1), 100)",
                    "Whether moves of the mid in neighbouring ticks go on or turn, over 100 ticks.",
                    "",
                ),
            ],
        ),
        *over(
            group,
            "trade_sign_persistence_{w}",
            "SignPersistence(TradeSign(), {w})",
            (20, 50, 100),
            "Whether trades of neighbouring ticks have one side, over {t}.",
            "LF",
        ),
        *[
            factor
            for lag in (2, 3, 5)
            for factor in over(
                group,
                f"trade_sign_autocov_lag_{lag}_{{w}}",
                f"SignAutocov(TradeSign(), {lag}, {{w}})",
                (100,),
                f"Memory of trade sides {lag} ticks apart, over {{t}}.",
                "LF",
            )
        ],
    ]


def impact_factors() -> list[Factor]:
    """What flow does to the price: impact, its residual, and who is right afterwards."""
    group = "impact"
    return [
        *over(
            group,
            "kyle_lambda_{w}",
            "KyleLambda(MidReturn(1), SignedVolume(), {w})",
            (100, 200),
            "How far a lot of aggressors' flow has moved the mid, over {t}.",
            "KY",
        ),
        *over(
            group,
            "ofi_1_beta_{w}",
            "Beta(MidReturn(1), Ofi(1), {w})",
            (100, 200),
            "How far a lot of pressure on the touch has moved the mid, over {t}.",
            "CKS",
        ),
        *over(
            group,
            "return_ofi_1_corr_{w}",
            "Corr(MidReturn(1), Ofi(1), {w})",
            (100,),
            "How closely the mid has followed pressure on the touch, over {t}.",
            "CKS",
        ),
        *over(
            group,
            "return_multi_ofi_5_corr_{w}",
            "Corr(MidReturn(1), MultiOfi(5), {w})",
            (100,),
            "How closely the mid has followed pressure on five levels, over {t}.",
            "XGH",
        ),
        *over(
            group,
            "return_signed_volume_corr_{w}",
            "Corr(MidReturn(1), SignedVolume(), {w})",
            (100,),
            "How closely the mid has followed aggressors, over {t}.",
            "KY",
        ),
        *over(
            group,
            "flow_residual_20_{w}",
            "Residual(MidReturn(20), Sum(MultiOfi(5), 20), {w})",
            (200,),
            "The part of the last 20 ticks' move that pressure on five levels does not explain, judged over {t}.",
            "XGH",
        ),
        *over(
            group,
            "amihud_{w}",
            "Amihud(MidReturn(1), VolumeDelta(), {w})",
            (50, 200),
            "How far the mid moves a lot traded, over {t}: illiquidity.",
            "AM",
        ),
        *over(
            group,
            "imbalance_1_lead_{w}",
            "Corr(MidReturn(1), Lag(Imbalance(1), 1), {w})",
            (200,),
            "How well the touch has foretold the next tick's move, over {t}.",
            "GB",
        ),
        *over(
            group,
            "trade_imbalance_corr_{w}",
            "Corr(TradeSign(), Lag(Imbalance(1), 1), {w})",
            (100,),
            "Whether aggressors hit the shorter queue, over {t}.",
            "GB",
        ),
        *over(
            group,
            "markout_{w}",
            "Mean(Mul(Lag(TradeSign(), {w}), MidReturn({w})), 100)",
            (5, 20),
            "What aggressors have gained on the mid {t} after they traded, over 100 ticks: how informed they are.",
            "GM",
        ),
        *over(
            group,
            "effective_half_spread_{w}",
            "Mean(Abs(VwapOffset()), {w})",
            (50,),
            "What aggressors have paid against the mid, over {t}.",
            "",
        ),
        *over(
            group,
            "volume_volatility_corr_{w}",
            "Corr(Abs(MidReturn(1)), VolumeDelta(), {w})",
            (100,),
            "Whether volume comes with moves, over {t}.",
            "KA",
        ),
    ]
