"The exchange room's pages in bulk: wire text, filters, weights, candles, outcomes."
import math

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.core.bar import DataError
from perps_kit.core.money import ceil_to, floor_to
from perps_kit.exchange.candles import bar_of, bars_of, holes
from perps_kit.exchange.filters import Filters, filters_of_market, guess_filters, pair, split, symbol_of
from perps_kit.exchange.outcome import BROKEN, GONE, LIMITED, REFUSED, UNKNOWN, outcome_of
from perps_kit.exchange.profile import profile
from perps_kit.exchange.weights import weight
from perps_kit.exchange.wire import decimals, exact, text

GRIDS = (0.1, 0.01, 0.001, 0.0001, 1e-5, 1e-7, 0.5, 0.25, 0.025, 1.0, 5.0, 10.0)
NUMBERS = st.floats(1e-6, 1e7, allow_nan=False)


@given(NUMBERS, st.sampled_from(GRIDS))
def test_what_money_rounds_the_wire_can_say(x, grid):
    for rounded in (floor_to(x, grid), ceil_to(x, grid)):
        written = text(rounded, grid)
        assert "e" not in written and float(written) == rounded and len(written.partition(".")[2]) == decimals(grid)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15), st.integers(0, 8))
def test_exact_text_reads_back_as_the_same_bits(x, digits):
    written = exact(x, digits)
    assert "e" not in written and math.copysign(1, float(written)) == math.copysign(1, x) and float(written) == x


@pytest.mark.parametrize("bad", [0.0, -0.1, 1e-14, 1 / 3])
def test_no_grid(bad):
    with pytest.raises(ValueError, match="is not a grid"): decimals(bad)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 100.05])
def test_off_the_grid_is_refused(bad):
    with pytest.raises(ValueError, match="not a multiple"): text(bad, 0.1)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=20), st.integers(0, 6))
def test_a_guessed_tick_divides_every_price(ticks, digits):
    prices = [k / 10**digits for k in ticks]
    f = guess_filters("XUSDT", prices)
    assert decimals(f.tick) <= digits and all(abs(p / f.tick - round(p / f.tick)) < 1e-6 for p in prices)


def test_symbols_and_pairs():
    for symbol in ("BTCUSDT", "1000PEPEUSDT", "ETHUSDC"): assert symbol_of(pair(symbol)) == symbol
    with pytest.raises(ValueError, match="like BTCUSDT"): split("BTC")


def test_filters_of_a_ccxt_market():
    market = {"id": "BTCUSDT", "precision": {"price": 0.1, "amount": 0.001},
              "limits": {"amount": {"min": 0.001, "max": 1000.0}, "cost": {"min": 100.0, "max": None},
                         "leverage": {"min": None, "max": None}}}
    f = filters_of_market(market)
    assert f == Filters("BTCUSDT", 0.1, 0.001, 0.001, 1000.0, 100.0, 125)
    assert "minimum 0.001" in f.refusal(0.0005, 1e6) and "above" in f.refusal(2000.0, 1.0) and not f.refusal(0.01, 20_000.0)


def test_weights_of_the_manual():
    for limit, cost in ((1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)):
        assert weight("GET", "klines", {"limit": str(limit)}) == cost
    assert weight("GET", "openOrders", {}) == 40 and weight("GET", "openOrders", {"symbol": "X"}) == 1 and weight("GET", "ping", {}) == 1


ROW = [900_000, 1.0, 2.0, 0.5, 1.5, 10.0]


@pytest.mark.parametrize("row", [None, "<html>", [], [None] * 6, [0, "x", 1, 1, 1, 1], [900_000, 1, 2, 0.5, float("nan"), 1],
                                 [900_000, 1, 0.9, 0.5, 1.5, 1], [900_000, 1, 2, 0.5, 1.5, -1],
                                 [900_001, *ROW[1:]], [float("nan"), *ROW[1:]], [900_000, 0, 2, 0, 1, 1], [float("inf"), *ROW[1:]]])
def test_a_bad_row_is_a_data_error(row):
    with pytest.raises(DataError): bar_of(row, 15)
    with pytest.raises(DataError): bars_of([ROW, row], 15, now=10**12)


def test_raw_klines_keep_what_ccxt_drops():
    bar = bar_of([0, "1", "2", "0.5", "1.5", "10", 899_999, "14.5", 7, "4", "6", "0"], 15)
    assert (bar.volume, bar.quote_volume, bar.trades, bar.taker_buy) == (10.0, 14.5, 7.0, 4.0)


def test_holes_and_order():
    rows = [[k * 900_000, *ROW[1:]] for k in (0, 1, 4, 5)]
    bars = bars_of(rows, 15, now=10**12)
    assert holes(bars) == [(1_800_000, 3_600_000)] and bars_of(rows, 15, now=900_000) == bars[:1]
    with pytest.raises(DataError, match="repeated"): bars_of([*rows, rows[-1]], 15, now=10**12)
    with pytest.raises(DataError, match="repeated"): bars_of(rows, 15, now=10**12, after=900_000)


@pytest.mark.parametrize(("error", "kind"), [
    (ccxt.InsufficientFunds("x"), REFUSED), (ccxt.InvalidOrder("x"), REFUSED), (ccxt.OrderImmediatelyFillable("x"), REFUSED),
                                             (ccxt.OrderNotFound("x"), GONE),
    (ccxt.RequestTimeout("x"), UNKNOWN), (ccxt.NetworkError("x"), UNKNOWN), (ccxt.ExchangeNotAvailable("503"), UNKNOWN),
                                             (ccxt.OperationFailed("x"), UNKNOWN), (TimeoutError(), UNKNOWN),
    (ccxt.BadResponse("x"), UNKNOWN), (ccxt.NullResponse("x"), UNKNOWN), (ccxt.DDoSProtection("binanceusdm 429 x"), LIMITED),
                                             (ccxt.RateLimitExceeded("x"), LIMITED),
    (ccxt.AuthenticationError("x"), BROKEN), (ccxt.BadSymbol("x"), BROKEN),
                                             (ccxt.InvalidNonce('binanceusdm {"code": -1021, "msg": "x"}'), REFUSED),
                                             (ValueError("x"), UNKNOWN),
])
def test_what_an_error_means_for_an_order(error, kind): assert outcome_of(error).kind == kind


def test_how_long_to_wait():
    assert outcome_of(ccxt.DDoSProtection("binanceusdm 418 I'm a teapot")).wait == 120.0 and outcome_of(ccxt.DDoSProtection("x 429 y"),
            3.0).wait == 3.0


def test_profiles():
    p = profile("binanceusdm")
    assert p.settle > p.receive_window and p.client_id_length == 36 and p.stops_are_algo
    with pytest.raises(ValueError, match="binanceusdm"): profile("nowhere")
