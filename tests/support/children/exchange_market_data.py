"""Asks an exchange for everything its data side has, with the unmodified TqSdk, and writes what it got.

Run as `python exchange_market_data.py FOLDER` with the exchange's environment and a HOME of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
from tqsdk import TqApi, TqAuth

from ghtrader_exchange.client import Control

folder = Path(sys.argv[1])
control = Control(os.environ["GHTRADER_EXCHANGE_CONTROL_URL"])
first, last = (date.fromisoformat(os.environ[f"GHTRADER_EXCHANGE_{name}_DAY"]) for name in ("FIRST", "LAST"))
told: dict = {}
try:
    TqApi(auth=TqAuth(os.environ["TQSDK_USER"], "wrong"), disable_print=True)
except Exception as error:
    told["wrong_password"] = str(error)
api = TqApi(auth=TqAuth(os.environ["TQSDK_USER"], os.environ["TQSDK_PASSWORD"]), disable_print=True)

told["futures"] = list(api.query_quotes(ins_class="FUTURE", exchange_id="SHFE", product_id="cu"))
told["main_series"] = list(api.query_quotes(ins_class="CONT", exchange_id="SHFE"))
told["main"] = list(api.query_cont_quotes(product_id="cu"))
symbol = told["main"][0]
main = api.get_quote("KQ.m@SHFE.cu")
told["underlying"] = main.underlying_symbol
quote = api.get_quote(symbol)
names = ("datetime", "last_price", "bid_price1", "bid_volume5", "upper_limit", "lower_limit", "pre_settlement")
told["quote"] = {name: getattr(quote, name) for name in (*names, "price_tick", "volume_multiple", "pre_open_interest")}
told["main_quote"] = {"last_price": main.last_price, "bid_price1": main.bid_price1, "bid_price2": str(main.bid_price2)}
calendar = api.get_trading_calendar(date(2025, 4, 1), date(2025, 4, 10))
told["trading_days"] = [str(row.date.date()) for row in calendar.itertuples() if row.trading]
table = api.query_his_cont_quotes(["KQ.m@SHFE.cu"], n=1)
told["continuous_today"] = table["KQ.m@SHFE.cu"].iloc[-1]

columns = {}
start = time.perf_counter()
for name in (symbol, "KQ.m@SHFE.cu"):
    frame = api.get_tick_data_series(name, first, last)
    columns[name] = {str(column): frame[column].to_numpy() for column in frame.columns if column != "symbol"}
told["download_rate"] = sum(len(part["id"]) for part in columns.values()) / (time.perf_counter() - start)
bars = api.get_kline_data_series(symbol, 86_400, first, last)
told["daily"] = bars[["id", "datetime", "open", "high", "low", "close", "volume", "close_oi"]].values.tolist()
minutes = api.get_kline_serial(symbol, 60, 30)
told["minute_ids"] = minutes.id.tolist()

serial = api.get_tick_serial(symbol, 8000)  # more than the day has: however late it is looked at, no row has left it
rows: list[list[float]] = []
live_columns = [name for name in serial.columns if name not in ("symbol", "duration")]
newest = serial.id.iloc[-1]


def collect(wanted: int, seconds: float) -> None:
    """Walk every new serial id until `wanted` live ticks are here."""
    global newest
    deadline = time.monotonic() + seconds
    while len(rows) < wanted and time.monotonic() < deadline:
        api.wait_update(deadline=time.time() + 1)
        if serial.id.iloc[-1] > newest:
            new = serial[serial.id > newest]
            rows.extend(new[live_columns].values.tolist())
            newest = serial.id.iloc[-1]


control.set_clock(frozen=False, speed=20)
collect(8, 60)
told["at_speed_20"] = len(rows)
control.set_clock(speed=4000)
collect(2000, 120)
control.set_clock(frozen=True)
told["live_columns"] = live_columns
np.savez(folder / "live.npz", rows=np.array(rows))
for index, part in enumerate(columns.values()):
    np.savez(folder / f"ticks{index}.npz", **part)

held = {"quote": quote.datetime, "id": newest}
control.set_clock(frozen=False, speed=200)
control.fault("close-md")
deadline = time.time() + 2  # 66 rows of an open line
while time.time() < deadline:
    api.wait_update(deadline=deadline)
told["silent_after_clean_close"] = bool(serial.id.iloc[-1] - held["id"] <= 40)
api.close()
(folder / "told.json").write_text(json.dumps(told))
