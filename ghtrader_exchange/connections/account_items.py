"""Writes what the venue tells of an account as items of the trading socket.

Names and order of the fields are in `protocol.trading_rows`, the values in `venue.account_updates`.
"""

from __future__ import annotations

from ghtrader_exchange.enums import Lifetime
from ghtrader_exchange.protocol import trading_rows
from ghtrader_exchange.protocol.trading_rows import MoneyRow, NoticeRow, OrderRow, PositionRow, TradeRow
from ghtrader_exchange.venue.account_updates import (
    AccountMoney,
    AccountSnapshot,
    AccountUpdate,
    Notice,
    PositionValue,
)
from ghtrader_exchange.venue.orders import Order, Trade

CONDITIONS = {Lifetime.GFD: ("GFD", "ANY"), Lifetime.FAK: ("IOC", "ANY"), Lifetime.FOK: ("IOC", "ALL")}
"""Lifetime to DIFF's `time_condition` and `volume_condition`."""


def order_row(user: str, order: Order) -> OrderRow:
    """An order as it stands."""
    request = order.request
    exchange_id, instrument_id = request.symbol.split(".", 1)
    time_condition, volume_condition = CONDITIONS[request.lifetime]
    return OrderRow(
        user_id=user,
        order_id=request.order_id,
        seqno=order.seqno,
        exchange_id=exchange_id,
        instrument_id=instrument_id,
        exchange_order_id=order.exchange_order_id,
        direction=request.side,
        offset=request.offset,
        volume_orign=request.volume,
        volume_left=order.left,
        price_type=request.price_type,
        limit_price=request.price,
        time_condition=time_condition,
        volume_condition=volume_condition,
        insert_date_time=order.inserted_ns,
        status=order.status,
        last_msg=order.last_msg,
        frozen_margin=order.frozen_margin,
        frozen_commission=order.frozen_fee,
    )


def trade_row(user: str, trade: Trade) -> TradeRow:
    """A fill."""
    exchange_id, instrument_id = trade.symbol.split(".", 1)
    return TradeRow(
        user_id=user,
        trade_id=trade.trade_id,
        order_id=trade.order_id,
        seqno=trade.seqno,
        exchange_trade_id=f"{trade.seqno:012d}",
        exchange_id=exchange_id,
        instrument_id=instrument_id,
        direction=trade.side,
        offset=trade.offset,
        price=trade.price,
        volume=trade.volume,
        commission=trade.fee,
        trade_date_time=trade.traded_ns,
    )


def position_row(user: str, position: PositionValue) -> PositionRow:
    """A position at its last price."""
    exchange_id, instrument_id = position.symbol.split(".", 1)
    long, short = position.long, position.short
    return PositionRow(
        user_id=user,
        exchange_id=exchange_id,
        instrument_id=instrument_id,
        last_price=position.last_price,
        pos_long_today=long.today,
        volume_long_today=long.today,
        volume_long_frozen_today=long.frozen_today,
        pos_long_his=long.his,
        volume_long_his=long.his,
        volume_long_frozen_his=long.frozen_his,
        volume_long=long.today + long.his,
        volume_long_frozen=long.frozen_today + long.frozen_his,
        open_cost_long=long.open_cost,
        open_price_long=long.open_price,
        float_profit_long=long.float_profit,
        position_cost_long=long.position_cost,
        position_price_long=long.position_price,
        position_profit_long=long.position_profit,
        margin_long=long.margin,
        pos_short_today=short.today,
        volume_short_today=short.today,
        volume_short_frozen_today=short.frozen_today,
        pos_short_his=short.his,
        volume_short_his=short.his,
        volume_short_frozen_his=short.frozen_his,
        volume_short=short.today + short.his,
        volume_short_frozen=short.frozen_today + short.frozen_his,
        open_cost_short=short.open_cost,
        open_price_short=short.open_price,
        float_profit_short=short.float_profit,
        position_cost_short=short.position_cost,
        position_price_short=short.position_price,
        position_profit_short=short.position_profit,
        margin_short=short.margin,
        float_profit=position.float_profit,
        position_profit=position.position_profit,
        margin=position.margin,
    )


def money_row(user: str, money: AccountMoney) -> MoneyRow:
    """An account's money."""
    return MoneyRow(
        user_id=user,
        pre_balance=money.pre_balance,
        static_balance=money.pre_balance,
        balance=money.balance,
        available=money.available,
        ctp_balance=money.balance,
        ctp_available=money.available,
        float_profit=money.float_profit,
        position_profit=money.position_profit,
        close_profit=money.close_profit,
        margin=money.margin,
        frozen_margin=money.frozen_margin,
        commission=money.fees_paid,
        frozen_commission=money.frozen_fee,
        risk_ratio=money.risk_ratio,
    )


def update_item(update: AccountUpdate) -> str:
    """What changed in an account, as one item."""
    user = update.user
    return trading_rows.update_text(
        user,
        [order_row(user, order) for order in update.orders],
        [trade_row(user, trade) for trade in update.trades],
        update.gone,
        [position_row(user, position) for position in update.positions],
        money_row(user, update.money),
        _notice_row(update.notice) if update.notice else None,
    )


def notice_item(notice: Notice) -> str:
    """A notice, as one item."""
    return trading_rows.notice_text(_notice_row(notice))


def login_item(notice: Notice, account: AccountSnapshot) -> str:
    """The answer to a login, as one item."""
    user = account.user
    return trading_rows.login_text(
        _notice_row(notice),
        user,
        account.trading_day,
        money_row(user, account.money),
        [position_row(user, position) for position in account.positions],
        [order_row(user, order) for order in account.orders],
        [trade_row(user, trade) for trade in account.trades],
    )


def _notice_row(notice: Notice) -> NoticeRow:
    return NoticeRow(key=f"N{notice.number}", level=notice.level, code=notice.code, content=notice.text)
