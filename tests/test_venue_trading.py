"Orders, positions and the account at the replay venue, through the unmodified ccxt."
import asyncio

import ccxt
import pytest
from venue_kit import BTC, bench, drawn, walk

STILL = (100.0, 100.0, 100.0, 100.0)


async def entered(b, quantity=10.0, side="buy"):
    "A position opened at the next open, 2 bp worse."
    await b.exchange.create_order(BTC, "market", side, quantity, None, {"newClientOrderId": "entry-1"})
    return (await b.barrier("close"))["fills"]


async def test_balance_leverage_margin_mode():
    async with bench(walk(), balance=5000.0) as b:
        x = b.exchange
        assert (await x.fetch_balance())["USDT"] == {"free": 5000.0, "used": 0.0, "total": 5000.0}
        assert (await x.set_leverage(7, BTC))["leverage"] == 7
        assert (await x.set_margin_mode("isolated", BTC))["code"] == 200
        with pytest.raises(ccxt.MarginModeAlreadySet): await x.set_margin_mode("isolated", BTC)
        assert (await x.fetch_leverages([BTC]))[BTC]["longLeverage"] == 7
        with pytest.raises(ccxt.BadRequest, match="-4062"): await x.set_position_mode(True, BTC)
        assert (await x.fetch_trading_fee(BTC))["taker"] == 0.0005


async def test_a_market_order_waits_for_the_open_and_is_reported_three_ways():
    async with bench(drawn(STILL, STILL)) as b:
        x = b.exchange
        await x.set_leverage(5, BTC)
        events = [asyncio.create_task(t) for t in (x.watch_orders(BTC), x.watch_my_trades(BTC), x.watch_balance(),
                                                   x.watch_positions([BTC]))]
        await asyncio.sleep(0.3)
        order = await x.create_order(BTC, "market", "buy", 10.0, None, {"newClientOrderId": "entry-1"})
        assert order["status"] == "open" and order["clientOrderId"] == "entry-1"
        released = await b.barrier("close")
        assert [(f["clientOrderId"], f["price"], f["quantity"]) for f in released["fills"]] == [("entry-1", 101.0,
                10.0)]      # the tick is 1 here
        assert released["phase"] == "open"
        done = await x.fetch_order(order["id"], BTC)
        assert (done["status"], done["filled"], done["average"]) == ("closed", 10.0, 101.0)
        assert (await x.fetch_order("x", BTC, {"clientOrderId": "entry-1"}))["id"] == order["id"]
        trade = (await x.fetch_my_trades(BTC))[0]
        assert (trade["order"], trade["price"], trade["takerOrMaker"], trade["fee"]["cost"]) == (order["id"], 101.0, "taker", 0.505)
        position = (await x.fetch_positions([BTC]))[0]
        assert (position["side"], position["contracts"], position["entryPrice"], position["unrealizedPnl"]) == ("long", 10.0, 101.0, -10.0)
        balance = (await x.fetch_balance())["USDT"]
        assert balance["total"] == pytest.approx(10_000 - 0.505 - 10) and balance["used"] == pytest.approx(200.0)
        await asyncio.sleep(0.1)
        orders = x.orders
        assert orders[-1]["status"] == "closed" and orders[-1]["average"] == 101.0
        assert (await asyncio.wait_for(events[1], 5))[0]["price"] == 101.0
        assert (await asyncio.wait_for(events[2], 5))["USDT"]["total"] == pytest.approx(9999.495)
        for task in events: task.cancel()


async def test_stops_and_targets_live_apart_and_are_cancelled_by_name():
    async with bench(drawn(STILL, STILL, STILL)) as b:
        x = b.exchange
        await entered(b)
        stop = await x.create_order(BTC, "market", "sell", 10.0, None,
                                    {"stopLossPrice": 95.0, "reduceOnly": True, "clientAlgoId": "stop-1"})
        target = await x.create_order(BTC, "limit", "sell", 3.0, 105.0,
                                      {"reduceOnly": True, "newClientOrderId": "tp1-1", "timeInForce": "GTC"})
        assert (stop["status"], stop["triggerPrice"], stop["reduceOnly"], target["status"], target["price"]) == ("open", 95.0, True, "open",
                105.0)
        assert [o["clientOrderId"] for o in await x.fetch_open_orders(BTC)] == ["tp1-1"]
        assert [o["clientOrderId"] for o in await x.fetch_open_orders(BTC, params={"trigger": True})] == ["stop-1"]
        assert [o["clientOrderId"] for o in await x.fetch_open_orders(None, params={"stop": True})] == ["stop-1"]
        assert (await x.fetch_order("", BTC, {"trigger": True, "clientAlgoId": "stop-1"}))["id"] == stop["id"]
        with pytest.raises(ccxt.OrderNotFound): await x.cancel_order(stop["id"], BTC)      # the other namespace
        await x.cancel_order("", BTC, {"trigger": True, "clientAlgoId": "stop-1"})
        await x.cancel_order(target["id"], BTC)
        assert not await x.fetch_open_orders(BTC) and not await x.fetch_open_orders(BTC, params={"trigger": True})
        assert (await x.fetch_order(stop["id"], BTC, {"trigger": True}))["status"] == "canceled"
        with pytest.raises(ccxt.OrderNotFound): await x.cancel_order(target["id"], BTC)
        with pytest.raises(ccxt.OrderNotFound): await x.cancel_order(stop["id"], BTC, {"trigger": True})
        with pytest.raises(ccxt.OrderNotFound): await x.fetch_order("123", BTC)


async def test_orders_are_changed_and_swept():
    async with bench(drawn(STILL, STILL, STILL)) as b:
        x = b.exchange
        low = await x.create_order(BTC, "limit", "buy", 5.0, 90.0)
        changed = await x.edit_order(low["id"], BTC, "limit", "buy", 6.0, 91.0)
        assert (changed["amount"], changed["price"]) == (6.0, 91.0)
        await x.create_order(BTC, "market", "buy", 1.0, None, {"triggerPrice": 110.0})
        await x.cancel_all_orders(BTC)
        await x.cancel_all_orders(BTC, {"trigger": True})
        assert not await x.fetch_open_orders(BTC) and not await x.fetch_open_orders(BTC, params={"trigger": True})
        assert [o["status"] for o in await x.fetch_orders(BTC)] == ["canceled"]


@pytest.mark.parametrize(("call", "error", "code"), [
    (dict(type="market", side="buy", amount=0.02), ccxt.InvalidOrder, "-4164"),
    (dict(type="market", side="buy", amount=50_000.0), ccxt.InsufficientFunds, "-2019"),
    (dict(type="market", side="sell", amount=1.0, params={"reduceOnly": True}), ccxt.InvalidOrder, "-2022"),
    (dict(type="limit", side="buy", amount=1.0, price=1000.0), ccxt.BaseError, "-4016"),
    (dict(type="market", side="buy", amount=1.0, params={"newClientOrderId": "no spaces"}), ccxt.BaseError, "-4015"),
])
async def test_refusals_bear_the_venues_codes(call, error, code):
    async with bench(drawn(STILL, STILL)) as b:
        await b.exchange.set_leverage(5, BTC)
        with pytest.raises(error, match=code): await b.exchange.create_order(BTC, **call)
        assert not b.venue.accounts[b.venue.key].orders


async def test_raw_requests_are_checked_too():
    async with bench(drawn(STILL, STILL)) as b:
        x = b.exchange
        with pytest.raises(ccxt.BaseError, match="-4120"):
            await x.fapiPrivatePostOrder({"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_MARKET", "quantity": "1", "stopPrice": "90"})
        with pytest.raises(ccxt.BadSymbol): await x.fapiPublicGetKlines({"symbol": "NOPEUSDT", "interval": "15m"})
        with pytest.raises(ccxt.BaseError, match="-1111"):
            await x.fapiPrivatePostOrder({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1.23456"})
        with pytest.raises(ccxt.BaseError, match="-1102"):
            await x.fapiPrivatePostOrder({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET"})
        with pytest.raises(ccxt.BaseError, match="-1100"):
            await x.fapiPrivatePostOrder({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "NaN"})
        with pytest.raises(ccxt.BaseError, match="-5000"): await x.sapiGetCapitalConfigGetall()
        with pytest.raises(ccxt.BaseError, match="-1121"): await x.fapiPrivateGetOpenOrders({"symbol": "NOPEUSDT"})


async def test_a_client_id_is_unique_among_open_orders_only():
    async with bench(drawn(STILL, STILL, STILL)) as b:
        x = b.exchange
        await x.create_order(BTC, "market", "buy", 1.0, None, {"newClientOrderId": "same"})
        with pytest.raises(ccxt.BaseError, match="-4116"):
            await x.create_order(BTC, "market", "buy", 1.0, None, {"newClientOrderId": "same"})
        await b.bar()
        await x.create_order(BTC, "market", "buy", 1.0, None, {"newClientOrderId": "same"})      # as the real venue: a second fill
        await b.bar()
        assert (await x.fetch_positions([BTC]))[0]["contracts"] == 2.0


async def test_by_its_own_pace_it_fills_at_once_and_refuses_what_would_trigger_at_once():
    async with bench(drawn(STILL, STILL, STILL), pace=0.001) as b:
        x = b.exchange
        await asyncio.sleep(0.1)
        order = await x.create_order(BTC, "market", "buy", 2.0)
        assert (order["status"], order["average"], order["filled"]) == ("closed", 101.0, 2.0)
        with pytest.raises(ccxt.OrderImmediatelyFillable, match="-2021"):
            await x.create_order(BTC, "market", "sell", 2.0, None, {"stopLossPrice": 100.0, "reduceOnly": True})
        with pytest.raises(ccxt.BaseError, match="-5022"): await x.create_order(BTC, "limit", "sell", 1.0, 99.0, {"postOnly": True})
        out = await x.create_order(BTC, "limit", "sell", 1.0, 99.0)
        assert (out["status"], out["average"]) == ("closed", 100.0)
        gone = await x.create_order(BTC, "limit", "sell", 1.0, 120.0, {"timeInForce": "IOC"})
        assert gone["status"] == "expired"
        closed = await x.create_order(BTC, "market", "sell", 5.0, None, {"reduceOnly": True})
        assert (closed["filled"], closed["average"]) == (1.0, 99.0) and not await x.fetch_positions([BTC])


async def test_fills_in_pieces():
    async with bench(drawn(STILL, STILL, STILL), pieces=3) as b:
        await entered(b, 10.0)
        trades = await b.exchange.fetch_my_trades(BTC)
        assert len(trades) == 3 and sum(t["amount"] for t in trades) == 10.0
        assert (await b.exchange.fetch_order("", BTC, {"clientOrderId": "entry-1"}))["filled"] == 10.0


async def test_accounts_are_apart():
    from runners.venue import open_exchange
    async with bench(drawn(STILL, STILL, STILL), keys={"one": "secret-1", "two": "secret-2"}) as b:
        other = await open_exchange(b.door.port, b.door.certificate, "two", "secret-2")
        try:
            await entered(b)
            assert not await other.fetch_positions([BTC]) and len(await b.exchange.fetch_positions([BTC])) == 1
            assert not await other.fetch_my_trades(BTC)
        finally: await other.close()
