"""Runs cases through hftbacktest: `python peer.py FOLDER COUNT`, in its own environment, without this project.

A case is an npz file (`environment.run_peer`). The books become events of single levels: the removal of what a row no
longer shows, and what shows another number of lots; a level that lies beyond the last one shown is left as it was,
because a row does not tell what became of it.
"""

import sys
import time
from pathlib import Path

import numpy as np
from numba import njit

from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from hftbacktest.order import CANCELED, EXPIRED, FILLED, GTX, IOC, LIMIT
from hftbacktest.types import event_dtype

BOTH = EXCH_EVENT | LOCAL_EVENT
LEVELS = 5


def events_of(case):
    """Events of a case: trades of a row first, then its book."""
    times, seen, prices, lots = case["times"].tolist(), case["seen"].tolist(), case["prices"], case["lots"]
    first, trade_price, trade_lots = case["trade_first"], case["trade_price"], case["trade_lots"]
    tick = float(case["tick"])
    found, shown = [], ({}, {})
    for row, (at, local) in enumerate(zip(times, seen, strict=True)):
        for k in range(first[row], first[row + 1]):
            flag = BUY_EVENT if trade_lots[k] > 0 else SELL_EVENT
            found.append((TRADE_EVENT | flag | BOTH, at, local, trade_price[k], abs(trade_lots[k]), 0, 0, 0.0))
        for side, flag in ((0, BUY_EVENT), (1, SELL_EVENT)):
            part = slice(side * LEVELS, side * LEVELS + LEVELS)
            levels = zip(prices[row, part].tolist(), lots[row, part].tolist(), strict=True)
            now = {round(price / tick): volume for price, volume in levels if price == price}
            last = (min(now) if side == 0 else max(now)) if len(now) == LEVELS else None
            known = shown[side]
            for price in list(known):
                beyond = last is not None and (price < last if side == 0 else price > last)
                if price not in now and not beyond:
                    found.append((DEPTH_EVENT | flag | BOTH, at, local, price * tick, 0.0, 0, 0, 0.0))
                    del known[price]
            for price, volume in now.items():
                if known.get(price) != volume:
                    found.append((DEPTH_EVENT | flag | BOTH, at, local, price * tick, float(volume), 0, 0, 0.0))
                    known[price] = volume
    # its clock starts with the first event: one of a moment before, of a level that changes nothing
    before = (DEPTH_EVENT | BUY_EVENT | BOTH, times[0] - 1000, times[0] - 1000, tick, 0.0, 0, 0, 0.0)
    return np.array([before, *found], event_dtype)


@njit
def ended(hbt, order):
    """Whether an order is known to have ended."""
    if order == 0:
        return True
    one = hbt.orders(0).get(order)
    return one is None or one.status == FILLED or one.status == EXPIRED or one.status == CANCELED


@njit
def follow_targets(hbt, seen, targets, best_bid, best_ask, position, balance):
    """One FAK order of a lot at a time, as the trading core: the target before is tried again after a fill first."""
    order, number, wanted, before = 0, 0, 0, 0.0
    hbt.elapse(1)
    for t in range(seen.size):
        if seen[t] > hbt.current_timestamp:
            hbt.elapse(seen[t] - hbt.current_timestamp)
        state = hbt.state_values(0)
        position[t], balance[t] = state.position, state.balance
        acts = order == 0
        if order != 0 and ended(hbt, order):
            acts = hbt.position(0) != before
            order = 0
            hbt.clear_inactive_orders(0)
        for told in range(2):
            if told == 1:
                wanted, acts = targets[t], True
            net = hbt.position(0)
            if acts and order == 0 and net != wanted:
                price = best_ask[t] if wanted > net else best_bid[t]
                if price != price:
                    continue
                number += 1
                order, before = number, net
                if wanted > net:
                    hbt.submit_buy_order(0, number, price, 1.0, IOC, LIMIT, False)
                else:
                    hbt.submit_sell_order(0, number, price, 1.0, IOC, LIMIT, False)


@njit
def follow_quotes(hbt, seen, bid, ask, most, tick, position, balance):
    """A post-only quote of a lot on each side, moved by a cancel and, once that is answered, a new order."""
    working, at, number = np.zeros(2, np.int64), np.zeros(2), 0
    hbt.elapse(1)
    for t in range(seen.size):
        if seen[t] > hbt.current_timestamp:
            hbt.elapse(seen[t] - hbt.current_timestamp)
        state = hbt.state_values(0)
        position[t], balance[t] = state.position, state.balance
        net = state.position
        for side in range(2):
            price, sign = (bid[t], 1) if side == 0 else (ask[t], -1)
            wanted = price == price and most - sign * net > 0
            if working[side] != 0 and ended(hbt, working[side]):
                working[side] = 0
            if working[side] == 0:
                if wanted:
                    number += 1
                    working[side], at[side] = number, price
                    if side == 0:
                        hbt.submit_buy_order(0, number, price, 1.0, GTX, LIMIT, False)
                    else:
                        hbt.submit_sell_order(0, number, price, 1.0, GTX, LIMIT, False)
            elif hbt.orders(0).get(working[side]).cancellable and not (wanted and abs(at[side] - price) < tick / 4):
                hbt.cancel(0, working[side], False)
        hbt.clear_inactive_orders(0)


def run(case, events):
    """One run: position and balance at each row, fills, processor seconds."""
    order_ns, answer_ns = (int(value) for value in case["latency"])
    tick = float(case["tick"])
    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(float(case["multiplier"]))
        .constant_order_latency(order_ns, answer_ns)
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tick)
        .lot_size(1.0)
    )
    queue = str(case["queue"])
    if queue == "risk-averse":
        asset.risk_adverse_queue_model()
    elif queue == "power":
        asset.power_prob_queue_model(2.0)
    else:
        asset.log_prob_queue_model()
    hbt = HashMapMarketDepthBacktest([asset])
    seen = case["seen"]
    position, balance = np.zeros(seen.size), np.zeros(seen.size)
    started = time.process_time()
    if bool(case["quotes"]):
        follow_quotes(hbt, seen, case["bid"], case["ask"], int(case["most"]), tick, position, balance)
    else:
        best_bid, best_ask = (np.ascontiguousarray(case["prices"][:, place]) for place in (0, LEVELS))
        follow_targets(hbt, seen, case["targets"], best_bid, best_ask, position, balance)
    seconds = time.process_time() - started
    fills = int(hbt.state_values(0).num_trades)
    hbt.close()
    return position, balance, fills, seconds


def main():
    """All cases."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    events, before = None, None
    for place in range(count):
        with np.load(folder / f"case-{place}.npz") as file:
            case = {name: file[name] for name in file.files}
        tape = ("times", "seen", "prices", "lots", "trade_price", "trade_lots")
        if before is None or not all(np.array_equal(case[name], before[name], equal_nan=True) for name in tape):
            events, before = events_of(case), case  # cases of one tape come one after the other
        best = None
        for _ in range(int(case["repeats"]) + (int(case["repeats"]) > 1)):  # the first of several compiles
            position, balance, fills, seconds = run(case, events)
            best = seconds if best is None else min(best, seconds)
        np.savez(folder / f"result-{place}.npz", position=position, balance=balance, fills=fills, seconds=best)


if __name__ == "__main__":
    main()
