"""Trades on a TqKq account with the unmodified TqSdk in a child process, loses its lines and recovers.

Run as `python exchange_trading.py FOLDER` with the exchange's environment and a HOME of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from tqsdk import TargetPosTask, TqApi, TqAuth, TqKq

from ghtrader_exchange.client import Control

folder = Path(sys.argv[1])
control = Control(os.environ["GHTRADER_EXCHANGE_CONTROL_URL"])
told: dict = {}
api = TqApi(TqKq(), auth=TqAuth(os.environ["TQSDK_USER"], os.environ["TQSDK_PASSWORD"]), disable_print=True)
told["account"] = api._auth._auth_id
symbol = api.query_cont_quotes(product_id="cu")[0]
quote, position, account = api.get_quote(symbol), api.get_position(symbol), api.get_account()
serial = api.get_tick_serial(symbol, 200)
told["opening_balance"] = account.balance


def wait(condition, seconds: float = 60.0) -> bool:
    deadline = time.time() + seconds
    while not condition() and time.time() < deadline:
        api.wait_update(deadline=min(deadline, time.time() + 0.5))
    return bool(condition())


def finished(side, offset, volume, price, **more) -> dict:
    order = api.insert_order(symbol, side, offset, volume, limit_price=price, **more)
    wait(lambda: order.status == "FINISHED")
    return report(order)


def report(order) -> dict:
    trades = [[t.trade_id, t.price, t.volume] for t in order.trade_records.values()]
    names = ("order_id", "status", "volume_left", "last_msg", "is_error", "exchange_order_id")
    return {name: getattr(order, name) for name in names} | {"trades": trades, "net": position.pos}


passive = api.insert_order(symbol, "BUY", "OPEN", 1, limit_price=quote.bid_price1 - 300)
told["working"] = wait(lambda: passive.is_online)
told["frozen"] = account.frozen_margin
api.cancel_order(passive)
wait(lambda: passive.status == "FINISHED")
told["cancelled"] = report(passive)

asks = [[getattr(quote, f"ask_price{n}"), getattr(quote, f"ask_volume{n}")] for n in (1, 2, 3, 4, 5)]
volume = asks[0][1] + 1  # the first level and one lot of the next
told["asks"] = asks
told["aggressive"] = finished("BUY", "OPEN", volume, asks[4][0])
told["frozen_after"] = account.frozen_margin
told["close_of_today"] = finished("SELL", "CLOSE", 1, quote.bid_price1)
told["close_today"] = finished("SELL", "CLOSETODAY", 1, quote.bid_price1)
told["duplicate_before"] = len(control.fills())
again = api.insert_order(
    symbol, "SELL", "CLOSETODAY", 1, limit_price=quote.bid_price1, order_id=told["close_today"]["order_id"]
)
told["locally_alive"] = again.status
wait(lambda: again.status == "FINISHED")
told["duplicate"] = report(again)
told["duplicate_after"] = len(control.fills())
told["fak"] = finished("BUY", "OPEN", 2, quote.bid_price1 - 100, advanced="FAK")
told["fok"] = finished("BUY", "OPEN", 100, quote.bid_price1 - 100, advanced="FOK")

control.fault("reject-next-order", reason="no orders today")
told["rejected"] = finished("BUY", "OPEN", 1, quote.ask_price1)
control.fault("delay-acks", seconds=1.0)
start = time.monotonic()
told["delayed"] = finished("SELL", "CLOSETODAY", 1, quote.bid_price1)
told["delay"] = time.monotonic() - start
control.fault("clear")

control.set_clock(frozen=False, speed=60)
task = TargetPosTask(api, symbol)
told["targets"] = []
for target in (-2, 3):
    task.set_target_volume(target)
    told["targets"].append(wait(lambda target=target: position.pos == target, 60))
task.cancel()
wait(task.is_finished)

control.set_clock(speed=20)
before = {"id": serial.id.iloc[-1], "datetime": quote.datetime}
told["cut"] = [control.fault("abort-md").connections, control.fault("abort-td").connections]
wait(lambda: False, 1.0)
lost = api.insert_order(symbol, "BUY", "OPEN", 1, limit_price=quote.ask_price1)  # the line is down
start = time.monotonic()
told["resumed"] = wait(lambda: serial.id.iloc[-1] > before["id"] + 3, 90)
told["gap"] = time.monotonic() - start
ids = serial.id.tolist()
told["gapless"] = ids == [ids[0] + n for n in range(len(ids))]
told["quotes_resumed"] = quote.datetime > before["datetime"]
wait(lambda: False, 2.0)
told["lost"] = report(lost)
told["after_lines"] = finished("SELL", "CLOSETODAY", 1, quote.bid_price1 - 50)

records = {t.trade_id: [t.order_id, t.direction, t.offset, t.price, t.volume] for t in api.get_trade().values()}
told["records"] = records
told["position"] = {name: getattr(position, name) for name in ("pos_long_today", "pos_long_his", "pos_short", "pos")}
told["money"] = {name: getattr(account, name) for name in ("balance", "close_profit", "commission", "position_profit")}
api.close()
(folder / "told.json").write_text(json.dumps(told))
