"""The fill model, by hand-computed cases and by properties."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ghtrader_exchange.enums import Lifetime, Side
from ghtrader_exchange.venue.matching import BookOrder, ContractBook, Snapshot, printed_volume

MULTIPLIER, TICK = 5, 10.0


def snap(t, bids, asks, volume=0, turnover_ticks=0, highest=None, lowest=None):
    """`turnover_ticks` is sum(price in ticks x lots)."""
    return Snapshot(
        datetime_ns=t,
        bids=tuple(bids),
        asks=tuple(asks),
        volume=volume,
        amount=turnover_ticks * MULTIPLIER * TICK,
        highest=highest,
        lowest=lowest,
    )


BIDS = [(100, 10), (99, 20), (98, 30), (97, 40), (96, 50)]
ASKS = [(101, 5), (102, 15), (103, 25), (104, 35), (105, 45)]


def book(first=None):
    b = ContractBook(MULTIPLIER, TICK)
    b.advance(first or snap(0, BIDS, ASKS))
    return b


def told(fills):
    return [(f.order_id, f.price, f.volume, f.maker) for f in fills]


def test_a_crossing_order_walks_the_displayed_levels():
    b = book()
    assert told(b.insert(BookOrder(order_id="a", side=Side.BUY, price=103, left=30), Lifetime.GFD, 7)) == [
        ("a", 101, 5, False),
        ("a", 102, 15, False),
        ("a", 103, 10, False),
    ]
    assert b.orders == {}


def test_what_was_taken_stays_taken_until_the_tape_changes():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=101, left=3), Lifetime.GFD, 1)
    fills = b.insert(BookOrder(order_id="b", side=Side.BUY, price=101, left=9), Lifetime.FAK, 2)
    assert told(fills) == [("b", 101, 2, False)]
    b.advance(snap(10, BIDS, ASKS))  # the same tape
    assert told(b.insert(BookOrder(order_id="c", side=Side.BUY, price=101, left=9), Lifetime.FAK, 11)) == []
    b.advance(snap(20, BIDS, [(101, 6), *ASKS[1:]]))
    fills = b.insert(BookOrder(order_id="d", side=Side.BUY, price=101, left=9), Lifetime.FAK, 21)
    assert told(fills) == [("d", 101, 6, False)]


def test_nothing_is_filled_past_level_five():
    b = book()
    fills = b.insert(BookOrder(order_id="a", side=Side.SELL, price=1, left=1000), Lifetime.FAK, 1)
    assert sum(f.volume for f in fills) == 150
    assert b.orders == {}


def test_fok_is_all_or_nothing():
    b = book()
    assert b.insert(BookOrder(order_id="a", side=Side.BUY, price=102, left=21), Lifetime.FOK, 1) == []
    fills = b.insert(BookOrder(order_id="b", side=Side.BUY, price=102, left=20), Lifetime.FOK, 1)
    assert sum(f.volume for f in fills) == 20
    assert b.orders == {}


def test_the_rest_of_a_crossing_order_rests_and_is_not_filled_by_the_same_display():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=101, left=8), Lifetime.GFD, 1)
    assert b.orders["a"].left == 3
    assert b.advance(snap(10, BIDS, ASKS, volume=5, turnover_ticks=505)) == []
    assert told(b.advance(snap(20, BIDS, [(101, 2), *ASKS[1:]], volume=5, turnover_ticks=505))) == [("a", 101, 2, True)]


def test_a_resting_order_waits_for_its_queue():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=100, left=4), Lifetime.GFD, 1)
    assert b.orders["a"].ahead == 10
    assert b.advance(snap(10, BIDS, ASKS, 7, 700)) == []
    assert b.orders["a"].ahead == 3
    assert told(b.advance(snap(20, BIDS, ASKS, 12, 1200))) == [("a", 100, 2, True)]
    assert told(b.advance(snap(30, BIDS, ASKS, 13, 1300))) == [("a", 100, 1, True)]
    assert b.orders["a"].left == 1


def test_prints_at_the_ask_do_not_serve_a_bid():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=100, left=1), Lifetime.GFD, 1)
    assert b.advance(snap(10, BIDS, ASKS, 50, 50 * 101)) == []
    assert b.orders["a"].ahead == 10


def test_cancellations_ahead_show_only_as_a_smaller_display():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=100, left=1), Lifetime.GFD, 1)
    b.advance(snap(10, [(100, 4), *BIDS[1:]], ASKS))
    assert b.orders["a"].ahead == 4
    b.advance(snap(20, [(100, 400), *BIDS[1:]], ASKS))
    assert b.orders["a"].ahead == 4
    b.advance(snap(30, BIDS[1:] + [(95, 1)], ASKS))
    assert b.orders["a"].ahead == 0  # the level went and we are still there: first in the queue


def test_a_price_that_trades_through_fills():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=100, left=3), Lifetime.GFD, 1)
    after = snap(10, [(98, 30), (97, 40)], [(99, 9), (101, 5)], 8, 10 * 0 + 4 * 100 + 4 * 99)
    fills = b.advance(after)
    assert told(fills)[0][:2] == ("a", 100)
    assert sum(f.volume for f in fills) == 3
    assert b.orders == {}


def test_the_days_new_low_tells_of_a_trade_through():
    b = book(snap(0, BIDS, ASKS, 100, 10000, highest=102, lowest=99))
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=99, left=1), Lifetime.GFD, 1)
    fills = b.advance(snap(10, BIDS, ASKS, 200, 10000 + 100 * 100, highest=102, lowest=98))
    assert told(fills) == [("a", 99, 1, True)]


def test_a_resting_sell_is_filled_when_bids_reach_it():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.SELL, price=103, left=7), Lifetime.GFD, 1)
    assert told(b.advance(snap(10, [(103, 4), (102, 1)], [(104, 1)]))) == [("a", 103, 4, True)]
    assert b.orders["a"].left == 3


def test_a_price_beyond_level_five_is_joined_when_it_is_displayed():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=90, left=1), Lifetime.GFD, 1)
    assert b.orders["a"].ahead is None
    b.advance(snap(10, [(92, 1), (91, 1), (90, 33), (89, 1), (88, 1)], ASKS))
    assert b.orders["a"].ahead == 33


def test_inside_the_spread_an_order_is_first():
    b = book(snap(0, [(100, 10)], [(103, 5)]))
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=101, left=2), Lifetime.GFD, 1)
    assert b.orders["a"].ahead == 0
    assert told(b.advance(snap(10, [(100, 9)], [(103, 5)], 1, 100))) == [("a", 101, 1, True)]


def test_clients_share_prints_by_price_and_arrival():
    b = book(snap(0, [(100, 1)], [(103, 5)]))
    b.insert(BookOrder(order_id="late", side=Side.BUY, price=101, left=2), Lifetime.GFD, 1)
    b.insert(BookOrder(order_id="later", side=Side.BUY, price=101, left=2), Lifetime.GFD, 2)
    b.insert(BookOrder(order_id="better", side=Side.BUY, price=102, left=1), Lifetime.GFD, 3)
    fills = b.advance(snap(10, [(100, 1)], [(103, 5)], 4, 400))
    assert told(fills) == [("better", 102, 1, True), ("late", 101, 2, True), ("later", 101, 1, True)]


def test_before_the_first_snapshot_an_order_waits_and_others_end():
    b = ContractBook(MULTIPLIER, TICK)
    assert b.insert(BookOrder(order_id="fak", side=Side.BUY, price=105, left=1), Lifetime.FAK, 0) == []
    assert b.insert(BookOrder(order_id="a", side=Side.BUY, price=105, left=1), Lifetime.GFD, 0) == []
    assert told(b.advance(snap(10, BIDS, ASKS))) == [("a", 101, 1, False)]
    assert b.orders == {}


def test_the_day_ends_for_every_order():
    b = book()
    b.insert(BookOrder(order_id="a", side=Side.BUY, price=100, left=3), Lifetime.GFD, 1)
    assert [o.order_id for o in b.clear()] == ["a"]
    assert b.snapshot is None and b.cancel("a") is None


def test_printed_volume_uses_the_quotes_where_the_mean_lies_between_them():
    before = snap(0, [(100, 1)], [(103, 1)])
    assert printed_volume(before, snap(1, [], [], 10, 4 * 100 + 6 * 103), MULTIPLIER, TICK) == {100: 4, 103: 6}
    assert printed_volume(before, snap(1, [], [], 10, 10 * 105), MULTIPLIER, TICK) == {105: 10}
    assert printed_volume(before, snap(1, [], [], 0, 0), MULTIPLIER, TICK) == {}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(95, 110), st.integers(1, 30)), min_size=1, max_size=6))
def test_printed_volume_adds_up(trades):
    lots, turnover = sum(n for _, n in trades), sum(p * n for p, n in trades)
    prints = printed_volume(snap(0, BIDS, ASKS), snap(1, BIDS, ASKS, lots, turnover), MULTIPLIER, TICK)
    assert sum(prints.values()) == lots
    assert all(n > 0 for n in prints.values())
    width = max(prints) - min(prints) or 1
    assert abs(sum(p * n for p, n in prints.items()) - turnover) <= 0.5 * width + 1e-6


def levels(draw, best, step):
    return tuple((best + step * i, draw(st.integers(1, 9))) for i in range(draw(st.integers(0, 5))))


@st.composite
def tapes(draw):
    rows, volume, turnover = [], 0, 0
    for t in range(draw(st.integers(2, 8))):
        bid = draw(st.integers(95, 105))
        ask = bid + draw(st.integers(1, 3))
        lots = draw(st.integers(0, 12))
        volume, turnover = volume + lots, turnover + lots * draw(st.integers(93, 107))
        rows.append(snap(t, levels(draw, bid, -1), levels(draw, ask, 1), volume, turnover))
    return rows


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tapes(),
    st.lists(
        st.tuples(
            st.integers(0, 7),
            st.sampled_from(list(Side)),
            st.integers(90, 112),
            st.integers(1, 20),
            st.sampled_from([Lifetime.GFD, *Lifetime]),
        ),
        max_size=8,
    ),
)
def test_no_order_is_overfilled_or_filled_beyond_its_limit_and_replay_is_equal(rows, wanted):
    def play():
        b, out = ContractBook(MULTIPLIER, TICK), []
        for t, row in enumerate(rows):
            out += b.advance(row)
            for number, (at, side, price, volume, lifetime) in enumerate(wanted):
                if at == t:
                    filled = b.insert(BookOrder(order_id=str(number), side=side, price=price, left=volume), lifetime, t)
                    assert lifetime != "FOK" or sum(f.volume for f in filled) in (0, volume)
                    taken = {}
                    for f in filled:
                        taken[f.price] = taken.get(f.price, 0) + f.volume
                    assert all(n <= dict(row.asks if side == "BUY" else row.bids)[p] for p, n in taken.items())
                    out += filled
        return out

    fills = play()
    assert fills == play()
    for number, (_, side, price, volume, _) in enumerate(wanted):
        own = [f for f in fills if f.order_id == str(number)]
        assert sum(f.volume for f in own) <= volume
        assert all(f.volume > 0 and (f.price <= price if side == "BUY" else f.price >= price) for f in own)
