"Keys, clocks, weights and bad days at the replay venue."
import asyncio

import ccxt
import pytest
from venue_kit import BTC, SPAN, bench, drawn, walk

from perps_kit.core.bar import DataError
from perps_kit.exchange.candles import bars_of
from perps_kit.exchange.outcome import LIMITED, UNKNOWN, outcome_of
from runners.venue import open_exchange

STILL = (100.0, 100.0, 100.0, 100.0)


async def stranger(b, key, secret): return await open_exchange(b.door.port, b.door.certificate, key, secret)


async def test_a_wrong_secret_key_or_time_is_refused():
    async with bench(drawn(STILL)) as b:
        for key, secret, code in ((b.venue.key, "wrong", "-1022"), ("nobody", "x", "-2015")):
            x = await stranger(b, key, secret)
            try:
                with pytest.raises(ccxt.AuthenticationError, match=code): await x.fetch_balance()
            finally: await x.close()
        x = b.exchange
        x.options["timeDifference"] = 60_000
        with pytest.raises(ccxt.InvalidNonce, match="-1021"): await x.fetch_balance()
        await x.load_time_difference()          # to the replay's clock: also let in
        assert (await x.fetch_balance())["USDT"]["total"] == 10_000
        assert abs(x.options["timeDifference"]) > 10 * SPAN


async def test_a_changed_request_does_not_match_its_signature():
    async with bench(drawn(STILL)) as b:
        signed = b.exchange.sign("order", ["fapiPrivate"], "POST", {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"})
        async with b.session.post(signed["url"], data=signed["body"].replace("quantity=1", "quantity=9"),
                                  headers=signed["headers"]) as answer:
            assert answer.status == 400 and (await answer.json())["code"] == -1022


async def test_weight_is_counted_then_429_then_a_ban():
    async with bench(walk(), weight_limit=60, ban=1.0) as b:
        x = b.exchange
        while int(x.last_response_headers["X-MBX-USED-WEIGHT-1M"]) <= 50: await x.fetch_ohlcv(BTC, "15m", limit=1500)
        assert int(x.last_response_headers["X-MBX-USED-WEIGHT-1M"]) == 51       # exchangeInfo 1, each page 5: ccxt asks for 1000
        await x.fetch_ohlcv(BTC, "15m", limit=1500)
        with pytest.raises(ccxt.DDoSProtection, match=" 429 ") as hit: await x.fetch_ohlcv(BTC, "15m", limit=1500)
        assert outcome_of(hit.value).kind == LIMITED and 0 < int(x.last_response_headers["Retry-After"]) <= 60
        for _ in range(2):
            with pytest.raises(ccxt.DDoSProtection, match=" 429 "): await x.fetch_time()
        with pytest.raises(ccxt.DDoSProtection, match=" 418 "): await x.fetch_time()
        with pytest.raises(ccxt.DDoSProtection, match=" 418 "): await x.fetch_time()
        b.venue.limits.window = (0, 0)          # the minute ends
        await asyncio.sleep(1.0)
        assert await x.fetch_time() == b.venue.time


async def test_a_bar_of_lockstep_is_a_new_minute():
    async with bench(walk(), weight_limit=12) as b:
        for _ in range(6):
            await b.exchange.fetch_ohlcv(BTC, "15m", limit=1500)
            await b.exchange.fetch_ohlcv(BTC, "15m", limit=1500)
            await b.bar()


async def test_too_many_orders_in_ten_seconds():
    async with bench(drawn(STILL, STILL)) as b:
        with pytest.raises(ccxt.DDoSProtection, match="-1015"):
            for _ in range(20): await asyncio.gather(*(b.exchange.create_order(BTC, "limit", "buy", 1.0, 90.0) for _ in range(20)))
        assert len(b.venue.accounts[b.venue.key].orders) == 300


@pytest.mark.parametrize("kind", ["html", "nan", "repeat"])
async def test_bad_candles_get_through_ccxt_and_stop_at_our_door(kind):
    async with bench(walk()) as b:
        await b.control("fault", kind=kind, path="klines")
        rows = await b.exchange.fetch_ohlcv(BTC, "15m", limit=5)
        with pytest.raises(DataError): bars_of(rows, 15, b.venue.time)
        assert len(bars_of(await b.exchange.fetch_ohlcv(BTC, "15m", limit=5), 15, b.venue.time)) == 5


@pytest.mark.parametrize(("kind", "applied"), [("503", 0), ("503_late", 1), ("late_apply", 1)])
async def test_an_order_of_unknown_outcome(kind, applied):
    async with bench(drawn(STILL, STILL)) as b:
        await b.control("fault", kind=kind, path="/order", seconds=0.2)
        with pytest.raises(ccxt.BaseError) as hit:
            await b.exchange.create_order(BTC, "market", "buy", 1.0, None, {"newClientOrderId": "maybe"})
        assert outcome_of(hit.value).kind == UNKNOWN
        if kind == "late_apply":
            with pytest.raises(ccxt.OrderNotFound): await b.exchange.fetch_order("", BTC, {"clientOrderId": "maybe"})
        await asyncio.sleep(0.3)
        assert len(await b.exchange.fetch_open_orders(BTC)) == applied


async def test_an_answer_that_never_comes():
    async with bench(drawn(STILL, STILL)) as b:
        b.exchange.timeout = 300
        await b.control("fault", kind="timeout", path="/order")
        with pytest.raises(ccxt.RequestTimeout) as hit: await b.exchange.create_order(BTC, "market", "buy", 1.0)
        assert outcome_of(hit.value).kind == UNKNOWN and len(await b.exchange.fetch_open_orders(BTC)) == 1


@pytest.mark.parametrize("status", ["429", "418"])
async def test_a_limit_on_demand(status):
    async with bench(drawn(STILL)) as b:
        await b.control("fault", kind=status, seconds=7)
        with pytest.raises(ccxt.DDoSProtection, match=status): await b.exchange.fetch_time()
        assert b.exchange.last_response_headers["Retry-After"] == "7"
        await b.exchange.fetch_time()


async def test_a_cut_socket_is_an_error_and_can_be_watched_again():
    async with bench(walk()) as b:
        watch = asyncio.create_task(b.exchange.watch_ohlcv(BTC, "15m"))
        await asyncio.sleep(0.2)
        await b.control("fault", kind="drop_socket")
        with pytest.raises(ccxt.NetworkError): await asyncio.wait_for(watch, 5)
        again = asyncio.create_task(b.exchange.watch_ohlcv(BTC, "15m"))
        await asyncio.sleep(0.3)
        await b.bar()
        assert (await asyncio.wait_for(again, 5))[-1][0] == b.venue.time - SPAN


async def test_silence_while_the_socket_lives():
    async with bench(walk()) as b:
        watch = asyncio.create_task(b.exchange.watch_ohlcv(BTC, "15m"))
        await asyncio.sleep(0.2)
        await b.control("fault", kind="mute", seconds=0.4)
        await b.bar()
        done, _ = await asyncio.wait([watch], timeout=0.2)
        assert not done
        await asyncio.sleep(0.4)
        await b.bar()
        assert (await asyncio.wait_for(watch, 5))[-1][0] == b.venue.time - SPAN


async def test_more_than_ten_messages_a_second_cut_the_socket():
    async with bench(*(walk(f"X{i}USDT", seed=i, price=100.0, digits=2) for i in range(14))) as b:
        watches = [asyncio.create_task(b.exchange.watch_ohlcv(f"X{i}/USDT:USDT", "15m")) for i in range(14)]
        done, _ = await asyncio.wait(watches, timeout=3)
        assert done and all(isinstance(t.exception(), ccxt.NetworkError) for t in done)
        for task in watches: task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def test_a_listen_key_that_ended_is_refused():
    async with bench(drawn(STILL)) as b:
        await b.exchange.authenticate()
        await b.control("fault", kind="resync")
        with pytest.raises(ccxt.NetworkError): await asyncio.wait_for(b.exchange.watch_orders(), 5)
        with pytest.raises(ccxt.AuthenticationError, match="-1125"): await b.exchange.fapiPrivatePutListenKey()


async def test_an_unknown_fault_is_told():
    async with bench(drawn(STILL)) as b: assert "one of html" in (await b.control("fault", kind="rain"))["error"]


STRANGE = ("", "-1", "0", "abc", "1e400", "NaN", "9" * 40, "BTCUSDT", "true", "15m", "\u0664")


@pytest.mark.parametrize("value", STRANGE)
async def test_no_parameter_breaks_the_venue(value):
    from runners.venue.private import KEY_ONLY, PRIVATE
    from runners.venue.public import PUBLIC
    names = ("symbol", "interval", "limit", "startTime", "endTime", "fromId", "side", "type", "quantity", "price", "orderId", "algoId",
             "leverage", "marginType", "triggerPrice")
    good = {"symbol": "BTCUSDT", "interval": "15m", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "90",
            "algoType": "CONDITIONAL"}
    async with bench(drawn(STILL, STILL), weight_limit=10**9) as b:
        for method, path in [("GET", p) for p in PUBLIC] + [key for key in PRIVATE if key[1] not in KEY_ONLY]:
            version, tail = (path[:2], path[3:]) if path[:3] in ("v2/", "v3/") else ("v1", path)
            for name in names:
                api = "fapiPrivate" + ({"v1": "", "v2": "V2", "v3": "V3"}[version])
                signed = b.exchange.sign(tail, [api], method, good | {name: value})
                async with b.session.request(method, signed["url"], data=signed["body"], headers=signed["headers"]) as answer:
                    assert answer.status < 500, (method, path, name, await answer.text())
