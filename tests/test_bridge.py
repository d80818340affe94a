"A stranger's simulator lives the same signals to the same trades, on jumping made-up prices and on recorded candles."
from math import isnan

import numpy as np
import pytest
from fixtures.candles import candle, real, walk

from perps_kit.backtest.bridge import (
    COMMON,
    FEE,
    KNOWN,
    OPEN_GATES,
    Lived,
    Orders,
    Single,
    agree,
    cross_check,
    explained,
    heat_map,
    optimize,
    ours,
    picture,
    quietly,
    theirs,
    there,
)
from perps_kit.backtest.equity import Daily, returns, sharpe
from perps_kit.backtest.run import Trade
from perps_kit.backtest.statistics import profit_factor
from perps_kit.core.bar import Bars
from perps_kit.core.clock import DAY, timeframe_of
from perps_kit.core.columns import Columns
from perps_kit.core.registry import strategies, strategy
from perps_kit.core.signal import SINGLE, Candidate, no_signal
from perps_kit.core.unit import ParameterError
from perps_kit.data.sample import sample_bars
from perps_kit.strategies.ema_scalper import EmaScalper, EmaScore
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result
from perps_kit.trackers.plan import CANCELLED, CLOSED, OPPOSITE, Rules

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
LOOSE = EmaScalper(surge=0.0, rsi_low=0.0, rsi_high=100.0, room=0.0, opens=0, closes=1440, least=0.0)
ANY = OPEN_GATES._replace(minimum=0.0)


def entered(orders: Orders, i: int, bars: Bars) -> Ladder:
    "The waiting ladder of the wish at bar i."
    close, side, stop = float(bars.close[i]), int(orders.side[i]), float(orders.stop[i])
    multiple = side * (float(orders.target[i]) - close) / abs(close - stop)
    return Ladder.of(side, close, stop, 1.0, SINGLE, t1=multiple, time=int(bars.close_time[i]), rules=COMMON)


def lived(orders: Orders, bars: Bars) -> list[tuple[Lived, str]]:
    "The wishes through the exit ladder, one position at a time; a reversal sells the old one at the open that enters the new one."
    found: list[tuple[Lived, str]] = []
    open_now: list[Ladder] = []
    for i, bar in enumerate(bars):
        stepped = [ladder.update(bar)[0] for ladder in open_now]
        for ladder in stepped:
            if ladder.state == CLOSED:
                o = result(ladder)
                found.append((Lived(o.side, o.entry_time, bar.open_time, o.entry, o.exit, o.fees, o.net), o.exit_type))
        open_now = [x.leave(OPPOSITE) if x.plan.side == orders.leave[i] else x for x in stepped if x.state < CLOSED]
        if orders.side[i] and all(x.leaving and x.plan.side == -orders.side[i] for x in open_now): open_now.append(entered(orders, i, bars))
    return found


def wishes(bars: Bars, seed: int) -> Orders:
    "Random wishes with stops and targets near enough to be jumped over."
    rng, n = np.random.default_rng(seed), len(bars)
    side = rng.choice([0, 0, 0, 1, -1], n).astype(np.int8)
    side[0] = 0                         # backtesting.py first asks at the second bar
    width, times = rng.uniform(0.2, 1.2, n), rng.choice([0.5, 1.0, 2.0], n)
    leave = np.where(rng.random(n) < 0.1 * (seed % 2), rng.choice([-1, 1], n), 0).astype(np.int8)
    return Orders(side, bars.close - side * width, bars.close + side * width * times, leave)


@pytest.mark.parametrize("seed", range(6))
def test_the_ladder_and_backtesting_py_agree_on_jumping_prices(seed: int) -> None:
    bars = walk(seed, 1500)
    orders = wishes(bars, seed)
    mine, yours = dict(enumerate(lived(orders, bars))), theirs(there(bars, orders))
    stops = {int(bars.close_time[i]): float(orders.stop[i]) for i in np.flatnonzero(orders.side)}
    off = [t for t in yours if t.side * (t.entry - stops[t.entered]) <= 0]              # beyond the stop: called off here, in and out there
    assert all(t.entry == t.exit and t.entered == t.left for t in off)
    yours = [t for t in yours if t not in off]
    assert len(yours) - len(mine) in (0, 1)                                             # the last one is sold at the end there
    for k, (a, how) in mine.items(): assert agree(a, yours[k]), (how, a, yours[k])
    kinds = {how for _, how in mine.values()}
    assert len(mine) > 150 and kinds == ({"SL", "TP1", "OPPOSITE"} if seed % 2 else {"SL", "TP1"})
    assert off and any(how == "SL" and a.exit not in stops.values() for a, how in mine.values())        # stops jumped over


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "SOL"])
@pytest.mark.parametrize("multiple", [0.6, 3.0])
def test_every_trade_agrees_on_recorded_candles(symbol: str, multiple: float) -> None:
    bars = real(symbol, 0, 30_000)
    found = cross_check(LOOSE, bars, Single(multiple), ANY)
    assert found.trades > 400 and not found.unexplained, found.unexplained[:3]
    assert found.agree >= found.trades - 1


@pytest.mark.parametrize("symbol", ["BTC", "ETH", "SOL"])
def test_the_strategy_as_it_is_agrees_on_recorded_candles(symbol: str) -> None:
    found = cross_check(EmaScalper(), real(symbol, 0, 60_000))
    assert found.trades > 15 and found.trades - found.agree == len(found.differences) <= 1 and not found.unexplained


def test_known_differences_have_names() -> None:
    rows = [candle(0, 100, 101, 99, 100), candle(1, 97, 98, 96, 97), candle(2, 97, 99, 96.5, 98)]
    bars = Bars.of("X", 15, rows)
    signal = no_signal(EmaScore())._replace(side=1, entry=100.0, stop=98.0, preset=SINGLE, t1=3.0, atr=1.0)

    def trade(ladder: Ladder) -> Trade:
        c = Candidate("toy", "X", 15, rows[0].close_time, signal, rows[0], True, 0, {})
        return Trade("id", c, 60.0, ladder, None if ladder.state == CANCELLED else result(ladder))
    ladder = Ladder.of(1, 100.0, 98.0, 1.0, SINGLE, t1=3.0, time=rows[0].close_time, rules=COMMON)
    off = trade(ladder.update(rows[1])[0])
    assert off.outcome is None and isnan(ours(off, bars).entry)
    there_out = Lived(1, rows[1].open_time, rows[1].open_time, 97.0, 97.0, 0.1, -0.1)
    assert explained(off, ours(off, bars), there_out, bars) == "gap through stop"
    assert explained(off, ours(off, bars), there_out._replace(exit=97.5), bars) == "unexplained"
    assert explained(None, None, there_out, bars) == "unexplained"
    far = ladder._replace(plan=ladder.plan._replace(stop=90.0))
    marked = trade(far.update(rows[1])[0].update(rows[2])[0].finish(98.0, rows[2].close_time))
    end = Lived(1, rows[1].open_time, rows[2].open_time, 97.0, 97.0, 0.1, -0.1)
    assert explained(marked, ours(marked, bars), end, bars) == "end of data"


def test_single_keeps_everything_but_the_exits() -> None:
    signal = no_signal(EmaScore())._replace(side=-1, entry=10.0, stop=11.0, preset=2, t1=1.0, t2=2.0, t3=3.0, raw=7.0)
    found = Single(1.5)(signal)
    assert (found.preset, found.t1) == (SINGLE, 1.5) and isnan(found.t2) and isnan(found.t3)
    assert found._replace(preset=2, t1=1.0, t2=2.0, t3=3.0) == signal


def test_their_picture_leaves_the_visit_counter_out_and_writes_nothing(tmp_path, monkeypatch) -> None:
    from bokeh.embed import file_html
    from bokeh.resources import CDN
    monkeypatch.chdir(tmp_path)
    bars = sample_bars("SOLUSDT")[:400]
    page = file_html(picture(there(bars, wishes(bars, 3), {"fast": bars.close})), CDN)
    assert "plx.gif" not in page and "iframe" not in page and not list(tmp_path.iterdir())


# --- every strategy that candles can feed ---

# those that hardly speak on quiet made-up candles, with their filters off
WILLING = dict(reversal=dict(fear=50.0, calm=100.0, widest=101.0, room=0.0, max_stop=0.5, least=0.0),
               liquidity_sweep=dict(wick=0.0, surge=0.0, reward=0.0, max_stop=0.5, least=0.0),
               ema_scalper=LOOSE._asdict(),
               pump_scanner=dict(least_change=0.1, deviations=0.0, surge=0.0, takers=0.0, max_stop=0.5, least=0.0))


@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT", "SANDUSDT"])
@pytest.mark.parametrize("name", strategies())
def test_every_trade_of_every_strategy_agrees(name: str, symbol: str) -> None:
    kind, gates = strategies()[name], ANY._replace(minimums=((name, 0.0),))
    bars = sample_bars(symbol, timeframe_of(min(15, kind.minutes)))
    found = cross_check(strategy(name, **WILLING.get(name, {})), bars, Single(1.5), gates if name in WILLING else OPEN_GATES)
    assert found.trades > 5 and not found.unexplained, found.unexplained[:3]
    assert found.agree + len(found.differences) == found.trades and {d.why for d in found.differences} <= set(KNOWN)
    assert len(found.differences) <= 1, "the last position at most: nothing jumps in the sample"


@pytest.mark.parametrize("name", [name for name, kind in strategies().items() if kind.minutes % 15 == 0])
def test_every_strategy_agrees_on_recorded_candles(name: str) -> None:
    found = cross_check(strategy(name, **WILLING.get(name, {})), real("SOL", 0, 20_000), Single(2.0),
                        ANY._replace(minimums=((name, 0.0),)) if name in WILLING else OPEN_GATES)
    assert found.trades >= 4 and not found.unexplained and found.agree >= found.trades - 1, found.differences[:3]


# --- their optimizer ---

@pytest.fixture(scope="module")
def tried():
    return optimize(LOOSE, sample_bars("ETHUSDT"), "# Trades", pipeline=ANY, fast=[5, 9], slow=[21], stop_atr=[1.0, 2.0],
                    multiple=[1.0, 3.0])


def test_each_cell_is_that_set_by_itself(tried) -> None:
    assert len(tried.heat) == 8 and list(tried.heat.index.names) == ["fast", "slow", "stop_atr", "multiple"]
    for (fast, slow, stop_atr, multiple), value in tried.heat.items():
        alone = cross_check(LOOSE._replace(fast=fast, slow=slow, stop_atr=stop_atr), sample_bars("ETHUSDT"), Single(multiple), ANY)
        assert value == len(theirs(alone.run)) > 100 and not alone.unexplained
    assert tried.heat.nunique() > 4
    assert tried.heat.max() == tried.heat[tuple(tried.best.values())] == tried.stats["# Trades"] and type(tried.best["fast"]) is int


def test_features_in_common_are_folded_once(monkeypatch) -> None:
    folded: list[str] = []
    kept = Columns._fold
    monkeypatch.setattr(Columns, "_fold", lambda self, plan, node: folded.append(node.key) or kept(self, plan, node))
    bars = sample_bars("ETHUSDT")[:8000]
    optimize(LOOSE, bars, pipeline=ANY, stop_atr=[1.0, 1.5, 2.0], surge=[0.0, 1.2], multiple=[1.0, 2.0])
    assert len(folded) == len(set(folded)) > 8, "twelve sets, and no indicator depends on any of their parameters"
    before = len(folded)
    optimize(LOOSE, bars, pipeline=ANY, fast=[5, 9, 13])
    assert len(folded) - before == before + 2, "two more fast averages"
    assert len(set(folded)) == before + 2


def test_a_class_a_constraint_and_a_function_to_maximize() -> None:
    bars = sample_bars("SOLUSDT")
    found = optimize(EmaScalper, bars, lambda stats: -stats["# Trades"], single=Single(2.0), constraint=lambda p: p.fast < p.slow,
                     fast=[9, 21], slow=[21, 55], cash=1e6)
    assert sorted(found.heat.index) == [(9, 21), (9, 55), (21, 55)] and found.stats["# Trades"] == -found.heat.max()
    assert found.heat[9, 21] == -cross_check(EmaScalper(), bars, Single(2.0)).trades


def test_numpy_ranges_and_a_strategy_that_is_off_by_itself() -> None:
    found = optimize(strategies()["gluk"], sample_bars("SOLUSDT")[:9000], "# Trades", multiple=np.arange(1.0, 3.0))
    assert list(found.heat.index.get_level_values(0)) == [1.0, 2.0] and found.heat.min() > 10 and type(found.best["multiple"]) is float


@pytest.mark.parametrize("ranges, error, message", [
    ({}, ValueError, "at least one parameter"), (dict(fast=[]), ValueError, "at least one parameter"),
    (dict(fasst=[1]), ParameterError, "did you mean 'fast'"), (dict(fast=[0]), ParameterError, "outside"),
    (dict(fast=[2.5]), ParameterError, "whole number")])
def test_sets_that_make_no_sense_are_refused_before_anything_runs(ranges: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message): optimize(EmaScalper, sample_bars("SOLUSDT")[:100], **ranges)


def test_no_trade_at_all_is_an_empty_map() -> None:
    found = optimize(EmaScalper, sample_bars("SOLUSDT")[:1000], fast=[5, 9], slow=[21, 34])
    assert found.best == {} and found.heat.isna().all() and found.stats["# Trades"] == 0
    with pytest.raises(ValueError, match="no set entered a trade"): heat_map(found.heat)


def test_their_pool_and_page_are_as_before(tried, tmp_path, monkeypatch) -> None:
    import backtesting
    from backtesting import _plotting
    from bokeh.embed import file_html
    from bokeh.resources import CDN
    kept = backtesting.Pool, _plotting.show, _plotting._add_popcon
    monkeypatch.chdir(tmp_path)
    page = file_html(heat_map(tried.heat), CDN)
    assert "plx.gif" not in page and "stop_atr" in page and not list(tmp_path.iterdir())
    with pytest.raises(ZeroDivisionError): optimize(LOOSE, sample_bars("ETHUSDT")[:6000], lambda stats: 1 / 0, pipeline=ANY, multiple=[1.0])
    assert kept == (backtesting.Pool, _plotting.show, _plotting._add_popcon)
    with pytest.raises(ValueError, match="needs two parameters, and only multiple"):
        heat_map(tried.heat.groupby("multiple").max())


# --- where its conventions differ ---

PATH = ((100, 100.5, 99.5, 100), (100, 100.5, 99.5, 100), (100, 100.8, 99.6, 100.6), (103, 103.5, 102.6, 103), (103, 103.5, 102.6, 103))


@pytest.mark.parametrize("side", [1, -1])
def test_a_jumped_target_gets_the_open_there_and_its_level_here(side: int) -> None:
    rows = [candle(k, *((o, h, low, c) if side > 0 else (200 - o, 200 - low, 200 - h, 200 - c))) for k, (o, h, low, c) in enumerate(PATH)]
    bars, still = Bars.of("X", 15, rows), np.zeros(5, np.int8)
    wish = np.array([0, side, 0, 0, 0], np.int8)
    there_out = theirs(there(bars, Orders(wish, np.full(5, 100 - side * 1.5), np.full(5, 100 + side * 1.5), still)))[0].exit

    def here(rules: Rules) -> float:
        ladder = Ladder.of(side, 100.0, 100 - side * 1.5, 1.0, SINGLE, time=rows[1].close_time, rules=rules)
        for bar in rows: ladder, _ = ladder.update(bar)
        return result(ladder).exit
    plain = Rules(entry_bp=0.0, stop_bp=0.0, close_bp=0.0)
    assert (there_out, here(plain), here(plain._replace(gap_fill_open=True))) == (100 + side * 3, 100 + side * 1.5, 100 + side * 3)


def test_there_is_no_part_of_a_unit_there() -> None:
    from backtesting import Backtest, Strategy

    from perps_kit.backtest.bridge import frame

    class Fifth(Strategy):
        def init(self) -> None: pass

        def next(self) -> None:
            if not self.position: self.buy(size=0.2)
    rows = [candle(k, 60_000, 60_300, 59_700, 60_000) for k in range(6)]

    def bought(cash: float) -> list[float]:
        with quietly(), pytest.warns(UserWarning) if cash < 1e5 else quietly():
            return Backtest(frame(Bars.of("X", 15, rows)), Fifth, cash=cash, finalize_trades=True).run()._trades.Size.tolist()
    assert bought(10_000) == [] and bought(1_000_000) == [3]            # a fifth would be 3.33


def their_sharpe(r: np.ndarray) -> float:
    growth = np.exp(np.log1p(r).mean())
    return float((growth ** 365 - 1) / np.sqrt((r.var(ddof=1) + growth ** 2) ** 365 - growth ** 730))


@pytest.mark.parametrize("first", [-0.05, 0.0, 0.08])
def test_their_sharpe_compounds_and_forgets_the_first_day(first: float) -> None:
    import pandas as pd
    from backtesting._stats import compute_stats
    from empyrical import sharpe_ratio
    r = np.r_[first, np.random.default_rng(5).normal(0.001, 0.01, 79)]
    curve = Daily(np.arange(1, 81) * DAY, 1000 * np.cumprod(1 + r), 1000.0)
    index = pd.to_datetime(curve.time - DAY, unit="ms")
    days = index[[1, 2]] - index[0]
    book = pd.DataFrame(dict(EntryBar=[0, 1], ExitBar=[0, 1], PnL=[10.0, -10.0], ReturnPct=[0.1, -0.05], Duration=days))
    with quietly(): stats = compute_stats(book, curve.equity, pd.DataFrame(dict(Close=np.linspace(1, 2, 80)), index=index), None)
    assert stats["Sharpe Ratio"] == pytest.approx(their_sharpe(returns(curve)[1:]))
    assert sharpe(returns(curve)) == pytest.approx(float(sharpe_ratio(r, annualization=365)))
    assert abs(stats["Sharpe Ratio"] - sharpe(returns(curve)[1:])) > 0.01               # the compounding alone
    assert stats["Profit Factor"] == pytest.approx(2.0) and profit_factor([10.0, -10.0]) == 1.0


def test_fees_are_the_same_there() -> None:
    found = cross_check(LOOSE, sample_bars("SOLUSDT"), Single(1.0), ANY)
    for t in theirs(found.run): assert t.fees == pytest.approx(FEE * (t.entry + t.exit), rel=1e-12)
