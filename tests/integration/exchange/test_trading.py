"""The unmodified TqSdk client against the simulated exchange: the trading side, and the wire below it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import aiohttp
import pytest

from ghtrader_exchange.client import ExchangeProcess
from ghtrader_exchange.world.scenario import Scenario
from ghtrader_market.reference.varieties import get_variety
from tests.support.tqsdk_maintenance import outside_maintenance

pytestmark = pytest.mark.clock

CLIENT = Path(__file__).parents[2] / "support" / "children" / "exchange_trading.py"
SCENARIO = Scenario(start=date(2025, 4, 1), end=date(2025, 4, 2), snapshot_seconds=6.0)
SECRET = "hardware-identifiers-of-somebody"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with ExchangeProcess(SCENARIO, tmp_path_factory.mktemp("exchange")) as running:
        yield running


@pytest.fixture(scope="module")
def told(exchange, tmp_path_factory):
    folder = tmp_path_factory.mktemp("client")
    environment = os.environ | exchange.env | outside_maintenance() | {"HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, str(CLIENT), str(folder)],
        env=environment,
        timeout=300,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((folder / "told.json").read_text())


def test_a_passive_order_works_binds_and_is_cancelled(told):
    assert told["opening_balance"] == 10_000_000
    assert told["working"] and told["frozen"] > 0
    cancelled = told["cancelled"]
    assert (cancelled["volume_left"], cancelled["last_msg"], cancelled["is_error"]) == (1, "已撤单", False)
    assert told["frozen_after"] == 0


def test_an_aggressive_order_walks_the_book_the_client_saw(told):
    fills = [fill[1:] for fill in sorted(told["aggressive"]["trades"])]
    first, second = told["asks"][:2]
    assert fills == [first, [second[0], 1]]
    assert told["aggressive"]["net"] == first[1] + 1


def test_todays_position_needs_closetoday(told):
    assert told["close_of_today"]["is_error"] and "平昨" in told["close_of_today"]["last_msg"]
    assert told["close_of_today"]["exchange_order_id"] == ""
    assert told["close_today"]["last_msg"] == "全部成交"
    assert told["close_today"]["net"] == told["aggressive"]["net"] - 1


def test_a_duplicate_insert_is_not_executed_and_the_first_order_stands(told):
    assert told["duplicate_before"] == told["duplicate_after"]
    assert told["locally_alive"] == "ALIVE"
    assert told["duplicate"]["status"] == "FINISHED" and told["duplicate"]["volume_left"] == 0
    assert told["duplicate"]["trades"] == told["close_today"]["trades"]


def test_fak_and_fok_leave_nothing_behind(told):
    for name, left in (("fak", 2), ("fok", 100)):
        assert (told[name]["status"], told[name]["volume_left"], told[name]["is_error"]) == ("FINISHED", left, False)


def test_faults_reach_the_client(told):
    assert told["rejected"]["is_error"] and told["rejected"]["last_msg"] == "no orders today"
    assert told["delayed"]["status"] == "FINISHED" and 1.0 <= told["delay"] < 60


def test_target_pos_task_reaches_its_targets(told):
    assert told["targets"] == [True, True]


def test_broken_lines_resume_without_a_gap(told):
    assert told["cut"][0] >= 1 and told["cut"][1] >= 1
    assert told["resumed"] and told["gapless"] and told["quotes_resumed"]


def test_an_order_sent_while_the_line_was_down_is_lost_and_stays_alive_locally(told, exchange):
    assert told["lost"]["status"] == "ALIVE" and told["lost"]["exchange_order_id"] == ""
    assert told["lost"]["order_id"] not in {order.order_id for order in exchange.control.orders()}
    assert told["after_lines"]["last_msg"] == "全部成交"


def test_the_exchanges_record_equals_the_clients(told, exchange):
    fills = exchange.control.fills(told["account"])
    record = {f.trade_id: [f.order_id, f.direction, f.offset, f.price, f.volume] for f in fills}
    assert record == told["records"] and len(record) >= 8
    assert exchange.control.fills("nobody") == []
    net = sum(f.volume * (1 if f.direction == "BUY" else -1) for f in fills)
    assert told["position"]["pos"] == net == 2
    state = exchange.control.positions(told["account"])[told["account"]]
    assert state.account.close_profit == pytest.approx(told["money"]["close_profit"])
    assert state.account.commission == pytest.approx(told["money"]["commission"])
    variety, symbol = get_variety("cu"), fills[0].symbol
    rates = variety.fees(symbol, date(2025, 4, 3))
    ratio = {"OPEN": rates.open_ratio, "CLOSE": rates.close_ratio, "CLOSETODAY": rates.close_today_ratio}
    paid = sum(f.price * f.volume * variety.multiplier * ratio[f.offset] for f in fills)
    assert state.account.commission == pytest.approx(paid)


def talk(url: str, messages: list[dict]) -> list[dict]:
    """Say things on the trading socket, peeking after each; every diff that comes back."""

    async def run() -> list[dict]:
        heard = []
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
            assert (await ws.receive_json(timeout=5))["aid"] == "rtn_brokers"
            for message in messages:
                await ws.send_json(message)
                await ws.send_json({"aid": "peek_message"})
                try:
                    heard += (await ws.receive_json(timeout=0.5))["data"]
                except TimeoutError:
                    continue
        return heard

    return asyncio.run(run())


def login(exchange: ExchangeProcess, password: str) -> dict:
    user = exchange.env["TQ_ACCOUNT_ID"]
    return {"aid": "req_login", "bid": "simnow", "user_name": user, "password": password, "client_system_info": SECRET}


def order(order_id: str) -> dict:
    names = {"aid": "insert_order", "order_id": order_id, "exchange_id": "SHFE", "instrument_id": "cu9999"}
    terms = {"direction": "BUY", "offset": "OPEN", "volume": 1, "price_type": "LIMIT", "limit_price": 74000.0}
    return names | terms | {"time_condition": "GFD", "volume_condition": "ANY"}


def test_a_bad_login_is_answered_with_an_error_and_opens_nothing(exchange):
    heard = talk(exchange.env["TQ_TD_URL"], [login(exchange, "wrong"), order("early")])
    (notice,) = heard[0]["notify"].values()
    assert notice["level"] == "ERROR" and "登录失败" in notice["content"]
    assert len(heard) == 1


def test_an_order_before_the_login_is_dropped_and_one_after_it_answered(exchange):
    right = login(exchange, exchange.env["TQ_ACCOUNT_PASSWORD"])
    user = exchange.env["TQ_ACCOUNT_ID"]
    heard = talk(exchange.env["TQ_TD_URL"], [order("before"), right, {"aid": "confirm_settlement"}, order("after")])
    assert set(heard[0]) == {"notify", "trade"}
    snapshot = heard[0]["trade"][user]
    assert snapshot["trade_more_data"] is False and snapshot["accounts"]["CNY"]["balance"] == 10_000_000
    assert "before" not in snapshot["orders"]
    told = heard[-1]["trade"][user]["orders"]["after"]
    assert told["status"] == "FINISHED" and "找不到合约" in told["last_msg"]
    assert {o.order_id for o in exchange.control.orders(user)} == {"after"}


def test_identifiers_of_the_client_are_nowhere(exchange):
    talk(exchange.env["TQ_TD_URL"], [login(exchange, "wrong"), {"aid": "req_login", "client_system_info": [SECRET]}])
    answers = repr([exchange.control.orders(), exchange.control.positions(), exchange.control.received()])
    assert SECRET not in answers
    for path in exchange.state_dir.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    assert exchange.log_path.read_text() == ""


def test_garbage_on_the_sockets_harms_nobody(exchange):
    async def run() -> None:
        async with aiohttp.ClientSession() as session:
            for url in (exchange.env["TQ_TD_URL"], exchange.env["TQ_MD_URL"]):
                async with session.ws_connect(url) as ws:
                    for text in ("", "{", "[]", "7", '{"aid":7}', '{"aid":"set_chart"}', '{"aid":"ins_query"}'):
                        await ws.send_str(text)
                    await ws.send_bytes(b"\x00")
                    await ws.send_json({"aid": "peek_message"})
                    await ws.receive(timeout=2)

    asyncio.run(run())
    assert exchange.control.clock().trading_day.isoformat() == exchange.env["GHTRADER_EXCHANGE_LIVE_DAY"]
