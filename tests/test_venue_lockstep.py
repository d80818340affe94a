"A bar between two barriers: what fills, at which price, in which order."
import asyncio

import numpy as np
import pytest
from venue_kit import BTC, SPAN, T0, bench, drawn, walk

from perps_kit.core.bar import Bar, Bars
from perps_kit.core.clock import HOUR
from perps_kit.core.money import fill
from perps_kit.data.funding import Funding
from perps_kit.exchange.filters import Filters
from runners.venue.account import TAKER

GRID = {"BTCUSDT": Filters("BTCUSDT", 0.01, 0.001, 0.001)}
ENTRY = 100.02      # 2 bp above an open of 100


async def opened(b, side=1, stop=98.5, targets=(101.5, 103.0), sizes=(3.0, 4.0), quantity=10.0):
    "Entry at the next open, then its stop and targets: the orders of one signal."
    names = ("buy", "sell") if side > 0 else ("sell", "buy")
    x = b.exchange
    await x.create_order(BTC, "market", names[0], quantity, None, {"newClientOrderId": "entry"})
    await b.barrier("close")
    await x.create_order(BTC, "market", names[1], quantity, None, {"stopLossPrice": stop, "reduceOnly": True, "clientAlgoId": "stop"})
    for k, (price, size) in enumerate(zip(targets, sizes, strict=True), 1):
        await x.create_order(BTC, "limit", names[1], size, price, {"reduceOnly": True, "newClientOrderId": f"tp{k}"})


def shown(released): return [(f["clientOrderId"], f["price"], f["quantity"]) for f in released["fills"]]


CASES = {
    "stop touched, 5 bp beyond it": ([(100, 100.5, 98.4, 99)], [("stop", fill(98.5, -1, 5.0, 0.01), 10.0)]),
    "both inside one bar: the stop wins": ([(100, 104, 98.4, 102)], [("stop", fill(98.5, -1, 5.0, 0.01), 10.0)]),
    "first target at its own price": ([(100, 101.6, 99.9, 101)], [("tp1", 101.5, 3.0)]),
    "two targets, ascending": ([(100, 103.2, 99.9, 101)], [("tp1", 101.5, 3.0), ("tp2", 103.0, 4.0)]),
    "a touch is enough": ([(100, 101.5, 99.9, 101)], [("tp1", 101.5, 3.0)]),
    "nothing": ([(100, 101.4, 98.51, 101)], []),
}


@pytest.mark.parametrize("name", CASES)
async def test_the_entrys_own_bar(name):
    rows, fills = CASES[name]
    async with bench(drawn(*rows), filters=GRID) as b:
        await opened(b)
        assert shown(await b.barrier("open")) == fills


async def test_a_short_is_the_mirror():
    async with bench(drawn((100, 101.6, 96, 97), (97, 97, 97, 97)), filters=GRID) as b:
        await opened(b, -1, 101.5, (98.5, 97.0))
        assert shown(await b.barrier("open")) == [("stop", fill(101.5, 1, 5.0, 0.01), 10.0)]
    async with bench(drawn((100, 101.4, 96, 97)), filters=GRID) as b:
        await opened(b, -1, 101.5, (98.5, 97.0))
        assert shown(await b.barrier("open")) == [("tp1", 98.5, 3.0), ("tp2", 97.0, 4.0)]


async def test_an_open_beyond_the_stop_fills_at_the_open():
    async with bench(drawn((100, 100.2, 99.8, 100), (97, 99, 96, 98)), filters=GRID) as b:
        await opened(b)
        assert shown(await b.barrier("open")) == []
        assert (await b.barrier("close"))["fills"] == []
        assert shown(await b.barrier("open")) == [("stop", 97.0, 10.0)]


async def test_an_open_beyond_a_target_fills_it_at_its_own_price_unless_the_stop_is_met():
    async with bench(drawn((100, 100.2, 99.8, 100), (104, 105, 103.5, 104)), filters=GRID) as b:
        await opened(b)
        await b.barrier("open")
        assert await b.bar() and [f["price"] for f in b.venue.filled] == [101.5, 103.0]
    async with bench(drawn((100, 100.2, 99.8, 100), (104, 105, 98, 99)), filters=GRID) as b:
        await opened(b)
        await b.barrier("open")
        assert [f["clientOrderId"] for f in await b.bar()] == ["stop"]


async def test_the_stop_takes_what_is_left_and_the_rest_expires():
    async with bench(drawn((100, 101.6, 99.9, 101), (101, 101.2, 98, 99), (99, 99, 99, 99)), filters=GRID) as b:
        x = b.exchange
        await opened(b)
        assert shown(await b.barrier("open")) == [("tp1", 101.5, 3.0)]
        fills = await b.bar()
        assert [(f["clientOrderId"], f["quantity"]) for f in fills] == [("stop", 7.0)]
        assert not await x.fetch_open_orders(BTC) and not await x.fetch_positions([BTC])
        assert (await x.fetch_order("", BTC, {"clientOrderId": "tp2"}))["status"] == "expired"
        assert (await x.fetch_order("", BTC, {"trigger": True, "clientAlgoId": "stop"}))["info"]["algoStatus"] == "FINISHED"
        assert (await x.fetch_order("", BTC, {"clientOrderId": "stop"}))["average"] == fill(98.5, -1, 5.0,
                0.01)      # what the stop sent bears its name


async def test_closing_at_the_next_open_costs_5_bp_and_comes_before_the_stop():
    async with bench(drawn((100, 100.2, 99.8, 100), (97, 98, 96, 97)), filters=GRID) as b:
        await opened(b)
        await b.barrier("open")
        await b.exchange.create_order(BTC, "market", "sell", 10.0, None, {"reduceOnly": True, "newClientOrderId": "close"})
        assert shown(await b.barrier("close")) == [("close", fill(97.0, -1, 5.0, 0.01), 10.0)]
        assert (await b.barrier("open"))["fills"] == []


async def test_a_replaced_stop_acts_from_the_next_bar_even_from_beyond_the_price():
    async with bench(drawn((100, 101.6, 99.5, 99.8), (99.8, 100.4, 99.6, 100)), filters=GRID) as b:
        x = b.exchange
        await opened(b)
        await b.barrier("open")
        await x.cancel_order("", BTC, {"trigger": True, "clientAlgoId": "stop"})
        await x.create_order(BTC, "market", "sell", 7.0, None,
                             {"stopLossPrice": ENTRY, "reduceOnly": True, "clientAlgoId": "stop-2"})     # break-even above the last price
        assert (await b.barrier("close"))["fills"] == []
        assert shown(await b.barrier("open")) == [("stop-2", 99.8, 7.0)]


async def test_a_stop_left_behind_does_nothing_and_says_so():
    async with bench(drawn((100, 100, 100, 100), (100, 100, 100, 100), (100, 100, 90, 95)), filters=GRID) as b:
        await opened(b, targets=(), sizes=())
        await b.barrier("open")
        await b.exchange.create_order(BTC, "market", "sell", 10.0, None, {"reduceOnly": True})
        await b.bar()
        assert await b.bar() == []
        stop = await b.exchange.fetch_order("", BTC, {"trigger": True, "clientAlgoId": "stop"})
        assert stop["info"]["algoStatus"] == "REJECTED" and not await b.exchange.fetch_positions([BTC])


async def test_funding_is_paid_on_what_is_held_at_the_instant():
    when = T0 // (8 * HOUR) * 8 * HOUR + 8 * HOUR
    bars = walk(n=200, t0=when - 100 * SPAN)
    funding = Funding.of("BTCUSDT", [when, when + 8 * HOUR], [1e-3, 2e-3], [60_000.0, np.nan])
    async with bench(bars, start=when - SPAN, funding={"BTCUSDT": funding}) as b:
        x = b.exchange
        await x.create_order(BTC, "market", "buy", 0.1)
        await b.bar()
        await x.create_order(BTC, "market", "buy", 0.2)        # fills at the settlement itself: neither pays nor receives
        await b.bar()
        paid = await x.fetch_funding_history(BTC)
        assert [(p["timestamp"], p["amount"]) for p in paid] == [(when, pytest.approx(-0.1 * 60_000 * 1e-3))]
        while b.venue.time <= when + 8 * HOUR: await b.bar()
        later = (await x.fetch_funding_history(BTC))[1]
        assert later["amount"] == pytest.approx(-0.3 * bars.open[bars.open_time == when + 8 * HOUR][0] * 2e-3)


async def test_an_isolated_position_is_liquidated_at_the_price_that_e4_gives():
    async with bench(drawn((50_000, 50_000, 50_000, 50_000), (50_000, 50_000, 45_000, 45_100)), balance=50_000.0) as b:
        x = b.exchange
        await x.set_margin_mode("isolated", BTC)
        await x.set_leverage(10, BTC)
        await x.create_order(BTC, "market", "buy", 1.0)
        await b.bar()
        position = (await x.fetch_positions([BTC]))[0]
        entry = position["entryPrice"]
        assert position["liquidationPrice"] == pytest.approx((entry / 10 - entry) / (0.004 - 1), rel=1e-4)
        fills = await b.bar()
        assert [f["clientOrderId"].startswith("autoclose") for f in fills] == [True] and not await x.fetch_positions([BTC])
        assert (await x.fetch_balance())["USDT"]["total"] == pytest.approx(50_000 - entry / 10 - entry * TAKER - fills[0]["price"] * TAKER,
            abs=1.0)


async def test_barriers_are_kept_in_order_and_may_be_repeated():
    async with bench(drawn((100, 100, 100, 100), (100, 100, 100, 100))) as b:
        assert "error" in await b.control("barrier", time=T0, phase="open")
        assert "error" in await b.control("barrier", time=T0 + SPAN, phase="close")
        first = await b.control("barrier", time=T0, phase="close")
        again = await b.control("barrier", time=T0, phase="close")
        assert first["phase"] == again["phase"] == "open" and b.venue.time == T0
        await b.control("barrier", time=T0, phase="open")
        assert (await b.control("barrier", time=T0, phase="open"))["time"] == T0 + SPAN


async def test_at_the_end_of_the_data_the_venue_is_done():
    async with bench(drawn((100, 100, 100, 100))) as b:
        await b.bar()
        assert b.venue.status()["phase"] == "close" and b.venue.status()["progress"] == 1.0
        assert (await b.barrier())["phase"] == "done"
        assert (await b.control("barrier", time=b.venue.time, phase="open"))["phase"] == "done"
        assert (await b.exchange.create_order(BTC, "market", "buy", 1.0))["status"] == "expired"


async def test_the_same_run_twice_is_the_same():
    async def run():
        async with bench(walk(n=300), start=T0 + 100 * SPAN) as b:
            fills = []
            for k in range(60):
                if k % 10 == 0:
                    await b.exchange.create_order(BTC, "market", "buy" if k % 20 else "sell", 0.05, None, {"newClientOrderId": f"e-{k}"})
                fills += await b.bar()
            return fills, await b.exchange.fetch_balance()
    (one, cash), (two, other) = await asyncio.gather(run(), run())
    assert one == two and len(one) == 6 and cash["USDT"] == other["USDT"]


async def test_a_market_order_for_a_symbol_without_a_bar_waits_for_the_next():
    a, c = walk(n=100), walk("ETHUSDT", n=100, price=3000.0, digits=2, seed=2)
    holed = c[:60].of("ETHUSDT", 15, [*c[:60], *c[62:]])
    async with bench(a, holed, start=int(a.open_time[60])) as b:
        await b.exchange.create_order("ETH/USDT:USDT", "market", "buy", 1.0)
        assert await b.bar() == [] and await b.bar() == []
        assert len(await b.bar()) == 1


@pytest.mark.parametrize("fine", [False, True])
async def test_by_a_factor_the_same_orders_fill_inside_the_bar(fine):
    rows = [(100, 100.4, 99.9, 100), (100, 101.7, 99.6, 101), (101, 101, 97, 98), (98, 98, 98, 98)]
    bars = drawn(*rows)
    minutes = {"BTCUSDT": minute_bars(bars)} if fine else {}
    async with bench(bars, filters=GRID, pace=3000.0, hold=True, fine=minutes) as b:
        x = b.exchange
        await x.create_order(BTC, "market", "buy", 10.0)
        entry = (await x.fetch_positions([BTC]))[0]["entryPrice"]
        await x.create_order(BTC, "market", "sell", 10.0, None, {"stopLossPrice": 98.5, "reduceOnly": True, "clientAlgoId": "stop"})
        await x.create_order(BTC, "limit", "sell", 3.0, 101.5, {"reduceOnly": True, "newClientOrderId": "tp1"})
        await b.control("start")
        while b.venue.phase != "done": await asyncio.sleep(0.05)
        trades = await x.fetch_my_trades(BTC)
        assert [(t["price"], t["amount"], t["takerOrMaker"]) for t in trades[1:]] == [(101.5, 3.0, "maker"),
            (fill(98.5, -1, 5.0, 0.01), 7.0, "taker")]
        assert T0 + SPAN < trades[1]["timestamp"] < T0 + 2 * SPAN < trades[2]["timestamp"] < T0 + 3 * SPAN
        assert entry == ENTRY and not await x.fetch_positions([BTC]) and not await x.fetch_open_orders(BTC)


def minute_bars(bars):
    "Fifteen minutes that add up to each bar: open, low, high and close in turn."
    made = []
    for bar in bars:
        path = [bar.open] * 4 + [bar.low] * 4 + [bar.high] * 4 + [bar.close] * 3
        for k, price in enumerate(path):
            before = path[k - 1] if k else bar.open
            time = bar.open_time + k * 60_000
            made.append(Bar(time, time + 60_000, before, max(before, price), min(before, price), price, 1.0))
    return Bars.of("BTCUSDT", 1, made)
