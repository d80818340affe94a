"The desk's pictures: what they hold, what their tooltips say, and that nothing stands on them before it was known."

import re

import numpy as np
import pytest
from bokeh.embed import json_item
from bokeh.models import CrosshairTool, HoverTool, RangeTool, Span
from fixtures.candles import walk
from hypothesis import given, settings
from hypothesis import strategies as st
from told import FREELY, Told

from perps_kit.backtest.report import report
from perps_kit.backtest.run import backtest
from perps_kit.core.bar import Bars
from perps_kit.core.clock import DAY, HOUR, MINUTE
from perps_kit.core.features import on
from perps_kit.core.resample import Resample
from perps_kit.core.unit import fold
from perps_kit.data.funding import Funding
from perps_kit.data.look import look
from perps_kit.data.sample import sample_bars, sample_symbols
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.regime import Regime
from perps_kit.indicators.rsi import RSI
from perps_kit.research.areas import AREAS, zone_areas
from perps_kit.research.figures import (
    deflated_figure,
    excursion_figure,
    funnel_figure,
    monthly_returns,
    monthly_table,
    rolling_figure,
)
from perps_kit.research.layers import coins_of
from perps_kit.research.market_chart import market_chart
from perps_kit.research.market_figures import correlation_figure, funding_figure, returns_of, sector_figure
from perps_kit.research.saving import page_of, save
from perps_kit.research.seen import VWAP_BANDS, Seen, columns_of
from perps_kit.research.themes import DARK, LIGHT, PAPER, dressed
from perps_kit.research.zoom import level, levels, profile, window
from perps_kit.trackers.plan import Rules


@pytest.fixture(scope="module")
def bars() -> Bars: return sample_bars()[-3000:]


@pytest.fixture(scope="module")
def run():
    rng, bars = np.random.default_rng(5), walk(5, 1500)
    words = rng.choice([10.0, 1001.0, 1002.0, 1003.0, 1004.0], len(bars), p=[0.8, 0.06, 0.06, 0.04, 0.04])
    bars = Bars("WALK", 15, *bars.columns()[:5], words, *bars.columns()[6:])
    return backtest({"told": Told()}, bars, FREELY, rules=Rules(patience=8), compiled=False), bars


@pytest.fixture(scope="module")
def chart(bars):
    return market_chart(bars, dict(ema=on(EMA.of(50), "close"), vwap=VWAP_BANDS), dict(rsi=Seen(on(RSI.of(14), "close"), unit="points")),
                        zones=tuple(AREAS), regime=True)


def data_of(chart, name: str) -> dict: return chart.select_one({"name": name}).data_source.data


# levels

def test_a_level_is_what_resampling_makes(bars):
    hours = [hour for hour in fold(Resample(60, 15), bars)[1] if hour.open_time >= 0]
    found = level(bars, 60, {"close": bars.close}).data
    whole = np.isin(found["known"], [hour.close_time for hour in hours])
    for name in ("open", "high", "low", "volume"):
        np.testing.assert_allclose(found[name][whole], [getattr(hour, name) for hour in hours], rtol=1e-12)
    np.testing.assert_allclose(found["close"][whole], [hour.close for hour in hours], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 50), n=st.integers(1, 900), most=st.integers(5, 200))
def test_every_level_tells_the_whole_stretch(seed, n, most):
    bars = walk(seed, n)
    for one in levels(bars, {"mine": bars.close}, most):
        assert one.data["high"].max() == bars.high.max() and one.data["low"].min() == bars.low.min()
        assert np.isclose(one.data["volume"].sum(), bars.volume.sum()) and one.data["open"][0] == bars.open[0]
        at = np.searchsorted(bars.close_time, one.data["known"])
        assert np.array_equal(bars.close_time[at], one.data["known"]) and np.array_equal(np.float32(bars.close[at]), one.data["mine"])
    seen = window(levels(bars, most=most), float(bars.close_time[0]), float(bars.close_time[-1]), most)
    assert seen.end - seen.begin <= most or seen.level.minutes >= 1440


def test_a_gap_in_the_candles_stays_a_gap():
    bars = walk(1, 100)
    bars = bars[np.r_[0:40, 60:100]]
    found = level(bars, 60, {}).data
    assert len(found["time"]) == 20 and np.diff(found["known"]).max() == 6 * HOUR


def test_volume_by_price_keeps_all_the_volume(bars):
    rows = profile(bars.low, bars.high, bars.volume)
    assert np.isclose(rows["volume"].sum(), bars.volume.sum()) and len(rows["volume"]) == 60
    one = profile(np.array([10.0]), np.array([20.0]), np.array([100.0]), 10)
    np.testing.assert_allclose(one["volume"], 10)
    assert np.isclose(profile(np.array([5.0]), np.array([5.0]), np.array([7.0]))["volume"].sum(), 7)


# the market chart

def test_panes_are_linked_and_share_a_crosshair(chart):
    *panes, strip = chart.children
    assert [p.name for p in panes] == ["prices", "volume", "rsi"] and len({p.x_range.id for p in panes}) == 1
    cross = [p.select_one({"type": CrosshairTool}) for p in panes]
    assert len({c.overlay[1].id for c in cross}) == 1 and len({c.overlay[0].id for c in cross}) == 3
    assert strip.select_one({"type": RangeTool}).x_range is panes[0].x_range and json_item(chart)["root_id"]
    assert [len(panes[0].x_range.js_property_callbacks[f"change:{side}"]) for side in ("start", "end")] == [1, 1]


def test_tooltips_name_their_units(chart):
    told = [row for p in chart.children[:3] for h in p.select({"type": HoverTool}) for row in h.tooltips]
    for name in ("open", "high", "low", "close", "ema", "vwap", "vwap upper"): assert any(a == name and b.endswith("USDT") for a,
            b in told), name
    assert any(a == "volume" and b.endswith(" BTC") for a, b in told) and any(a == "rsi" and b.endswith("points") for a, b in told)
    for name in ("known", "open", "ema", "vwap lower", "rsi"): assert name in data_of(chart, "candles")
    assert coins_of("1000PEPEUSDC") == ("1000PEPE", "USDC") and coins_of("BTC/USDT:USDT") == ("BTC", "USDT") and coins_of("WALK") == ("",
        "")


def test_values_stand_at_the_close_that_gave_them(chart, bars):
    shown = data_of(chart, "candles")
    ema = look(bars, ema=on(EMA.of(50), "close")).ema
    at = np.searchsorted(bars.close_time, shown["known"])
    np.testing.assert_array_equal(bars.close_time[at], shown["known"])
    np.testing.assert_allclose(shown["ema"], ema[at].astype(np.float32))
    assert chart.select_one({"name": "ema"}).glyph.x == "known"


@pytest.mark.parametrize("name", AREAS)
def test_areas_begin_when_they_were_known(name, bars):
    "What a chart of the past shows is what the chart of the future still shows of it."
    cut = 1800
    now, later = AREAS[name](bars[:cut]), AREAS[name](bars)
    seen = [a._replace(closed=-1 if a.closed >= cut else a.closed) for a in later if a.known < cut]
    assert seen == now and len(now) > 5
    boxes = data_of(market_chart(bars, zones=(name,)), name.replace("_", " "))
    assert sorted(boxes["known"]) == sorted(int(bars.close_time[a.known]) for a in later)
    assert all(a <= b for a, b in zip(boxes["known"], boxes["until"]))


def test_regimes_shade_from_the_close_that_told_them(bars):
    state = look(bars, **Regime.wired()).regime.state
    chart = market_chart(bars, regime=True)
    left = {x for r in chart.select({"name": "regime TREND_UP"}) for x in r.data_source.data[r.glyph.x0]}
    begins = np.flatnonzero((state == 3) & (np.r_[np.nan, state[:-1]] != 3))
    assert left == set(bars.close_time[begins].tolist()) and len(left) > 3
    drawn = {r.name for p in chart.children for r in p.renderers if str(r.name).startswith("regime")}
    assert "regime TREND_DOWN" in drawn


def test_signals_and_trades_are_drawn_from_their_time_on(run):
    result, bars = run
    told = [t.candidate for t in result.trades]
    chart = market_chart(bars, signals=told, trades=result.trades)
    signals, trades = data_of(chart, "signals"), data_of(chart, "trades")
    assert signals["known"] == [c.time for c in told] and all(a <= b <= bars.close_time[-1] for a,
        b in zip(signals["known"], signals["until"]))
    for c, stop, target in zip(told, signals["stop"], signals["target"]):
        assert stop == c.signal.stop and c.signal.side * (target - c.signal.entry) > 0 > c.signal.side * (stop - c.signal.entry)
    lived = [t.outcome for t in result.trades if t.outcome]
    assert trades["entry_time"] == [o.entry_time for o in lived] and trades["net_r"] == [o.net_r for o in lived]
    assert len({color for color in trades["color"]}) >= 2
    earlier = market_chart(bars[:500], signals=told, trades=result.trades)
    assert max(data_of(earlier, "signals")["known"]) <= bars.close_time[499] >= max(data_of(earlier, "trades")["exit_time"])


def test_sessions_follow_the_clock(bars):
    rows = next(r for r in market_chart(bars).children[1].renderers if r.name == "sessions").data_source.data
    hours = dict(asia=0, london=8, overlap=13, us=16, late=21)
    begins = [(left, name) for left, name in zip(rows["left"], rows["session"]) if left > bars.open_time[0]]
    assert len(begins) > 100 and all(left % DAY == hours[name] * HOUR for left, name in begins)
    assert not [r for r in market_chart(bars, sessions=False).children[1].renderers if r.name == "sessions"]


def test_small_and_wrong_requests_are_answered(bars):
    assert json_item(market_chart(bars[:1], dict(ema=on(EMA.of(50), "close")), zones=("zones",), regime=True))
    for wrong, word in ((dict(theme="pink"), "theme"), (dict(zones=("moons",)), "areas"), (dict(overlays=dict(x="moons")), "unit"),
                        (dict(overlays=dict(x=np.zeros(3))), "candles"), (dict(overlays=dict(close=bars.close)), "close"),
                            (dict(panes=dict(x=3)), "draw"),
                        (dict(overlays=dict(x=Seen("adx", ("moon",)))), "moon"), (dict(regime=np.zeros(3)), "regimes")):
        with pytest.raises(ValueError, match=word): market_chart(bars, **wrong)
    with pytest.raises(ValueError, match="no candles"): market_chart(bars[:0])
    assert list(columns_of(bars, "adx", Seen("adx"))) == ["adx", "adx plus", "adx minus"]


# themes and pages

def test_dark_and_back_is_light(bars):
    assert len(LIGHT) == len(DARK)
    chart = market_chart(bars[:200], dict(ema=on(EMA.of(9), "close")), regime=True)
    colors = lambda: {(m.id, k): str(getattr(v, "value", v)).replace("white", PAPER) for m in chart.references()
                      for k, v in m.properties_with_values(include_defaults=True).items() if k.endswith("color") or k == "palette"}
    before = colors()
    assert dressed(chart, "dark").children[0].background_fill_color == DARK[PAPER] and colors() != before
    dressed(chart, "light")
    assert colors() == before and chart.children[0].background_fill_color == PAPER
    assert chart.select_one({"name": "ema"}).glyph.line_color not in LIGHT


def test_a_page_keeps_the_figure_as_it_was(bars, tmp_path):
    chart = market_chart(bars[:100], theme="dark")
    page = page_of(chart, "Night", "light")
    assert "<title>Night</title>" in page and chart.children[0].background_fill_color == DARK[PAPER]
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", page)
    assert save(chart, tmp_path / "deep" / "x.html").stat().st_size > 1e6
    with pytest.raises(ValueError, match=r"\.png"): save(chart, tmp_path / "x.gif")


def test_a_missing_browser_is_one_sentence(bars, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"): save(market_chart(bars[:10]), tmp_path / "x.png")


# figures

def test_months_multiply_to_the_whole(run):
    page = report(run[0])
    made = monthly_returns(page.curve)
    assert np.isclose(np.prod([1 + x / 100 for (_, month), x in made.items() if month != "year"]), 1 + page.equity.total)
    pd = pytest.importorskip("pandas")
    days = pd.Series(page.curve.equity, pd.to_datetime(page.curve.time - 1, unit="ms"))
    ends = days.resample("ME").last()
    assert np.isclose(made[1970, "Jan"], 100 * (ends.iloc[0] / page.curve.start - 1)) and json_item(monthly_table(page.curve))


def test_rolling_windows_end_with_their_newest_trade(run):
    page = report(run[0])
    o = [x.outcome for x in page.records]
    for what, of in (("expectancy", lambda part: np.mean([x.net_r for x in part])),
            ("win_rate", lambda part: 100 * np.mean([x.result == "WIN" for x in part]))):
        rows = rolling_figure(page.records, 20, what, draws=100).select_one({"name": "rolling"}).data_source.data
        by_time = sorted(o, key=lambda x: x.exit_time)
        assert len(rows["time"]) > 5 and rows["time"][0] == by_time[19].exit_time and np.isclose(rows["value"][0], of(by_time[:20]))
        assert all(low <= x <= high for low, x, high in zip(rows["low"], rows["value"], rows["high"]))
    assert json_item(rolling_figure(page.records[:5])) and json_item(excursion_figure(page.records))
    with pytest.raises(ValueError, match="10 or more"): rolling_figure(page.records, 3)
    with pytest.raises(ValueError, match="win_rate"): rolling_figure(page.records, 20, "mood")


def test_excursions_are_the_trades_own(run):
    records = report(run[0]).records
    rows = excursion_figure(records).select_one({"name": "trades"}).data_source.data
    assert rows["mfe"] == [x.outcome.mfe_r for x in records] and min(rows["mae"]) >= 0 and json_item(excursion_figure([]))


def test_luck_grows_with_trials():
    daily = 0.002 + 0.01 * np.random.default_rng(2).standard_normal(200)
    p = deflated_figure(daily, 12, 0.002)
    rows, here = (p.select_one({"name": name}).data_source.data for name in ("odds", "here"))
    assert all(b <= a for a, b in zip(rows["odds"], rows["odds"][1:])) and rows["odds"][0] > 95
    assert here["y"][0] == dict(zip(rows["trials"].tolist(), rows["odds"]))[12]
    assert json_item(deflated_figure(daily[:5], 3, 0.002))


def test_the_funnel_leaves_out_who_refused_nobody():
    rows = funnel_figure({"evaluations": 100, "refused by a": 0, "refused by b": 3,
        "published": 0}).select_one({"name": "stages"}).data_source.data
    assert rows["name"] == ["evaluations", "refused by b", "published"] and rows["n"] == [100, 3, 0]


def test_correlation_is_numpys_and_sectors_are_means():
    some = {s: sample_bars(s)[-2000:] for s in sample_symbols()[:5]}
    names, time, r = returns_of(some, 240)
    drawn = correlation_figure(some).select_one({"name": "cells"}).data_source.data
    np.testing.assert_allclose(np.reshape(drawn["r"], (5, 5)), np.corrcoef(r.T))
    assert time[0] % (240 * MINUTE) == 0 and "BTC · BTC" in drawn["a"]
    rows = sector_figure(some, 1).select_one({"name": "cells"}).data_source.data
    names, time, r = returns_of(some, 1440)
    assert np.isclose(rows["percent"][0], 100 * np.expm1(r[0, names.index("BTCUSDT")])) and rows["left"][0] == time[0]
    with pytest.raises(ValueError, match="two or more"): correlation_figure({"BTCUSDT": some["BTCUSDT"]})


def test_funding_is_summed_and_open_interest_stands_below():
    paid = Funding.of("XUSDT", np.arange(5) * 8 * HOUR, [1e-4, -2e-4, 1e-4, 3e-4, 0.0])
    page = funding_figure(paid, (paid.time, np.arange(5)))
    assert len(page.children) == 3 and len({p.x_range.id for p in page.children}) == 1
    assert np.isclose(page.children[1].select_one({"name": "paid"}).data_source.data["sum"][-1], 0.03)
    assert page.children[0].select_one({"type": Span}).location == 0
    assert any("bp" in b for h in page.children[0].select({"type": HoverTool}) for _, b in h.tooltips)
    with pytest.raises(ValueError, match="no settlements"): funding_figure(paid[:0])


def test_zones_never_move_backwards(bars):
    areas = zone_areas(bars)
    assert all(a.closed < 0 or a.closed > a.known for a in areas) and all(a.top > a.bottom and a.side in (1, -1) for a in areas)
