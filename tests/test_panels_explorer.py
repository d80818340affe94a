"The panels of notebooks, without a browser: what they show is what the functions behind them say, and a wrong input is said in place."

import asyncio
import threading
import time
from dataclasses import replace
from math import isnan, nan

import numpy as np
import pytest
from bokeh.events import Tap
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ipywidgets", reason="panels need ipywidgets")
pytest.importorskip("jupyter_bokeh", reason="panels need jupyter_bokeh")

from perps_kit.backtest.explain import explain
from perps_kit.backtest.run import backtest
from perps_kit.core.clock import MINUTE, iso
from perps_kit.core.money import floor_to
from perps_kit.core.registry import strategy
from perps_kit.core.signal import HALVES, SINGLE, STANDARD, TRIPLE
from perps_kit.data.sample import sample_bars, sample_markets, sample_root, sample_symbols
from perps_kit.data.series import check
from perps_kit.research.data_browser import Series, coverage, data_browser, holes, source_of
from perps_kit.research.explorer import explorer, index_at
from perps_kit.research.panel import Latest, Status, table
from perps_kit.research.risk_calculator import reckon, risk_calculator
from perps_kit.risk.account import Account, Holding, Terms
from perps_kit.risk.liquidation import TYPICAL, bankruptcy_price, liquidation_price
from perps_kit.risk.order import Grid, Order, Scene
from perps_kit.risk.rules import taken
from perps_kit.risk.sizing import quantity_for
from perps_kit.storage.candles import CandleStore
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result
from perps_kit.trackers.plan import Rules, multiples

# --- what panels share


async def test_only_the_newest_answer_counts_and_the_loop_is_never_held():
    status, seen, held = Status(), [], threading.Event()
    latest = Latest(status)
    latest.ask(lambda progress: held.wait(5) and 0, seen.append)
    await asyncio.sleep(0.01)                                   # the first is under way in its thread ...
    assert status.kind == "busy" and not held.is_set()          # ... and this line runs meanwhile
    for k in range(1, 5): latest.ask(lambda progress, k=k: k, seen.append)
    held.set()
    await latest.settled()
    assert seen == [4] and latest.shown == 1 and status.kind == "ready"


async def test_progress_is_shown_and_superseded_work_ends_at_its_next_step():
    status, steps, seen, go = Status(), [], [], threading.Event()
    latest = Latest(status)

    def long(progress):
        for k in range(1000):
            steps.append(k)
            progress(k, 1000)
            if k == 500: go.wait(5)
        return "long"

    latest.ask(long, seen.append, "counting")
    while len(steps) < 501: await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert status.text == "counting: 500 of 1000" and status.bar.value == 0.5 and status.bar.layout.visibility == "visible"
    latest.ask(lambda progress: "short", seen.append)
    go.set()
    await latest.settled()
    assert seen == ["short"] and len(steps) == 502 and status.bar.layout.visibility == "hidden"


async def test_errors_are_shown_in_place_and_the_next_answer_removes_them():
    status, gone = Status(), []
    latest = Latest(status)
    latest.clear = lambda: gone.append(1)

    def fail(error): raise error
    latest.ask(lambda progress: fail(ValueError("write it like 2026-10-30")), print)
    await latest.settled()
    assert (status.text, status.kind, gone) == ("write it like 2026-10-30", "wrong", [1]) and 'role="alert"' in status.line.value
    latest.ask(lambda progress: fail(ZeroDivisionError("division")), print)         # ours, not the input's: with its kind
    await latest.settled()
    assert status.text == "ZeroDivisionError: division"
    latest.ask(lambda progress: 1, lambda found: fail(TypeError("in showing")))
    with pytest.raises(AssertionError):
        await latest.settled()
        assert status.kind != "wrong"
    assert status.text == "TypeError: in showing"
    latest.ask(lambda progress: 1, lambda found: None)
    await latest.settled()
    assert status.kind == "ready"


def test_without_a_loop_the_answer_is_there_at_once():
    latest, seen = Latest(Status()), []
    latest.ask(lambda progress: progress(1, 2) or 7, seen.append)
    assert seen == [7]


def test_what_stands_in_a_table_is_text():
    assert "<script" not in table(["<script>"], [["<script>"]], caption="<script>")


# --- the explorer

NAMES = ("ema_scalper", "action_price")


@pytest.fixture(scope="module")
def candles(): return {s: sample_bars(s)[-6000:] for s in ("BTCUSDT", "SOLUSDT")}


async def opened(candles, names=NAMES):
    panel = explorer(list(names), candles)
    await panel.settled()
    return panel


def cells(html): return html.split("<tbody>")[-1].count("<tr>")


async def test_what_the_explorer_shows_is_what_explain_says(candles):
    panel, wished = await opened(candles), {name: strategy(name) for name in NAMES}
    run = backtest(wished, candles)
    chosen = [d for s in candles for name in NAMES for d in [d for d in run.decisions if (d.symbol, d.strategy) == (s, name)][-2:]]
    assert len(chosen) > 5 and {bool(d.signal_id) for d in chosen} == {True, False}
    for d in chosen:
        panel.symbol.value, panel.strategy.value = d.symbol, d.strategy
        panel.date.value = iso(d.time)
        await panel.settled()
        answers = explain(d.symbol, d.time, candles, wished)
        mine = next(a for a in answers if a.strategy == d.strategy)
        assert panel.time == d.time and list(panel.answers.values()) == answers
        assert panel.saw.features == mine.features == d.features and panel.saw.time == mine.time
        assert cells(panel.gates.value) == len(mine.verdicts) and all(v.gate in panel.gates.value for v in mine.verdicts)
        assert ("STOPS" in panel.gates.value) == bool(d.reason) and mine.said.partition("stop ")[0] in panel.said.value
        assert cells(panel.row.value) == len(mine.features) and ("not warm" in panel.row.value) == (not panel.saw.warm)
        assert len(panel.near.children) == 1 and cells(panel.all.value) == len(NAMES)


async def test_a_silent_candle_shows_what_was_seen_and_asks_no_gate(candles):
    panel = await opened(candles, ("ema_scalper",))
    panel.bar.value = 4321
    await panel.settled()
    (answer,) = panel.answers.values()
    assert answer.outcome == "quiet" and panel.saw.time == int(candles["BTCUSDT"].close_time[4321]) == panel.time
    assert panel.date.value == iso(panel.time) and "no gate was asked" in panel.gates.value and panel.near.children == ()
    assert {"fast", "slow", "rsi"} <= set(panel.saw.features) and panel.saw.before["fast"] != panel.saw.features["fast"]
    assert f"{panel.saw.features['rsi']:,.10g}" in panel.row.value


async def test_a_tap_the_keys_and_the_date_choose_the_same_candle(candles):
    panel, bars = await opened(candles, ("ema_scalper",)), candles["BTCUSDT"]
    k = panel.bar.value - 3
    panel.prices._trigger_event(Tap(panel.prices, x=float(bars.open_time[k] + 5 * MINUTE), y=float(bars.close[k])))
    await panel.settled()
    by_tap = panel.answers
    assert panel.bar.value == k and panel.mark.location == bars.open_time[k] + 7.5 * MINUTE
    panel.bar.value = 10
    await panel.settled()
    assert panel.answers != by_tap and panel.prices.x_range.start <= panel.mark.location <= panel.prices.x_range.end
    panel.date.value = iso(int(bars.close_time[k]) + 7 * MINUTE)           # within the next candle
    await panel.settled()
    assert panel.bar.value == k and panel.answers == by_tap


async def test_the_buttons_go_from_signal_to_signal(candles):
    panel = await opened({"BTCUSDT": candles["BTCUSDT"][:3000]}, ("action_price",))
    times = [c.time for c in panel.candidates]
    assert len(times) > 4 and panel.time == times[-1]
    seen = []
    for _ in times[:4]:
        seen.append(panel.time)
        panel.previous.click()
        await panel.settled()
    assert seen == times[:-5:-1]
    panel.next.click()
    await panel.settled()
    assert panel.time == times[-4] and panel.answers["action_price"].decision
    panel.bar.value = 0
    await panel.settled()
    panel.previous.click()
    assert "no earlier signal" in panel.status.text and panel.bar.value == 0


async def test_a_wrong_time_is_said_in_place_and_leaves_nothing_standing(candles):
    panel = await opened({"BTCUSDT": candles["BTCUSDT"]}, ("ema_scalper",))
    for text in ("yesterday", "2020-01-01", "2030-01-01", ""):
        panel.date.value = text
        await panel.settled()
        assert panel.status.kind == "wrong" and (text in panel.status.text or not text)
        assert (panel.answers, panel.saw, panel.said.value, panel.gates.value, panel.row.value) == ({}, None, "", "", "")
        panel.date.value = "2026-10-30"
        await panel.settled()
        assert panel.status.kind == "good" and panel.answers


async def test_a_fault_of_ours_is_seen_too_and_leaves_nothing_standing(candles):
    panel = await opened({"BTCUSDT": candles["BTCUSDT"][:2000]}, ("ema_scalper",))
    assert panel.answers
    panel.settings["pipeline"] = None
    panel.bar.value -= 1
    await panel.settled()
    assert panel.status.kind == "wrong" and panel.status.text.startswith("AttributeError") and (panel.answers, panel.saw) == ({}, None)
    assert panel.said.value == "" and panel.row.value == ""


def test_a_tap_beside_the_candles_means_the_signal_of_that_close(candles):
    bars = candles["BTCUSDT"]
    close, k = int(bars.close_time[50]), 50
    assert index_at(bars, close + 1.0, float(bars.low[51]), [close]) == 51         # on the next candle itself
    for y in (0.0, 1e9): assert index_at(bars, close + 1.0, y, [close]) == k and index_at(bars, close + 1.0, y, []) == 51
    assert index_at(bars, 0.0, 1.0) == 0 and index_at(bars, 1e15, 1.0) == len(bars) - 1


@pytest.mark.parametrize(("what", "bars", "told"), [
    ("nobody", None, "nobody"), ([], None, "at least one"), ("ema_scalper", 0, "no candles")])
def test_an_explorer_of_nothing_is_refused(candles, what, bars, told):
    with pytest.raises((ValueError, KeyError), match=told): explorer(what, candles["BTCUSDT"][:bars] if bars == 0 else candles)


# --- the risk calculator


def test_the_vectors_of_the_size_stand_in_the_panel():
    panel = risk_calculator("X", markets={}, prices={"X": 100.0})
    panel.stop.value = 98.5
    assert round(panel.now.order.quantity, 4) == 62.5293 and f"{panel.now.order.quantity:,.10g}" in panel.size.value
    assert panel.now.levels[1].name == "stop" and panel.now.levels[1].net == pytest.approx(-100.0, abs=1e-9)
    panel = risk_calculator("X", markets={}, prices={"X": 100.0}, terms=Terms(with_fees=False))
    panel.stop.value = 98.5
    assert round(panel.now.order.quantity, 4) == 66.6667
    panel.equity.value = 20_000.0
    assert round(panel.now.order.quantity, 4) == 133.3333


def test_the_vectors_of_the_liquidation_stand_in_the_panel():
    # quant_spec E4: 10x without fees of the entry is liquidated at entry * (1 - 1/10) / (1 - 0.004) in the first tier
    now = reckon(1, 100.0, 98.5, 1_000.0, leverage=10, terms=Terms(fee=0.0))
    assert now.liquidation == pytest.approx(100.0 * 0.9 / (1 - 0.004), rel=1e-12)
    short = reckon(-1, 100.0, 101.5, 1_000.0, leverage=10, terms=Terms(fee=0.0))
    assert short.liquidation == pytest.approx(100.0 * 1.1 / 1.004, rel=1e-12)


PRICES = st.floats(0.01, 100_000.0)


@settings(max_examples=60, deadline=None)
@given(side=st.sampled_from((1, -1)), entry=PRICES, far=st.floats(0.0005, 0.3), equity=st.floats(100.0, 1e6), leverage=st.integers(1, 20),
       preset=st.sampled_from((STANDARD, TRIPLE, SINGLE, HALVES)), risk=st.floats(0.001, 0.05), grid=st.booleans())
def test_a_reckoning_is_what_the_functions_say(side, entry, far, equity, leverage, preset, risk, grid):
    rules_of = Grid(0.0, entry / 1e4, entry / 1e4, 0.0, 5.0) if grid else Grid()
    stop, terms = entry * (1 - side * far), Terms(risk=risk, leverage=leverage)
    now = reckon(side, entry, stop, equity, leverage, risk, preset, "X", rules_of)
    wish = Order("0" * 32, "you", "X", side, 0, entry, stop, 75.0, multiples(preset, (nan, nan, nan)))
    whole = taken(wish, Scene(Account.of(equity), terms, rules_of, TYPICAL), explain=True)
    assert now.order.verdicts == whole.verdicts and now.order.refused == whole.refused
    if now.ladder is None:
        assert now.order.refused and now.levels == ()
        return
    q = now.order.quantity
    cap = quantity_for(equity * min(risk, 0.02), entry, stop, terms.fee)
    assert q == whole.quantity <= cap * (1 + 1e-9) and now.margin == pytest.approx(q * entry / leverage)
    wallet = q * entry / leverage - terms.fee * q * entry
    at = liquidation_price(side, q, entry, wallet, TYPICAL)
    assert (isnan(at) and isnan(now.liquidation)) or now.liquidation == at
    by = {x.name: x for x in now.levels}
    if "stop" in by:
        assert by["stop"].r == pytest.approx(-1.0) and by["stop"].net >= -equity * min(risk, 0.02) * (1 + 1e-6)
        assert by["stop"].net == pytest.approx(-q * abs(entry - stop) - now.fees, rel=1e-6, abs=1e-6)
    else: assert side * (stop - at) <= 0 and by["stop, too late"].net == by["liquidation"].net and now.order.refused
    assert ("liquidation" in by) == (at == at)
    if "liquidation" in by:                                    # the margin is gone, and the fee of the last exit
        gone = now.margin + terms.fee * q * bankruptcy_price(side, q, entry, wallet)
        assert by["liquidation"].net == pytest.approx(-gone, rel=1e-9)
    assert sum(x.part for x in now.levels if x.name.startswith("target")) <= 1 + 1e-9
    nets = [x.net for x in now.levels if x.name != "liquidation"]
    assert nets == sorted(nets)


def test_all_targets_hit_is_the_outcome_of_the_ladder_that_was_traded():
    now = reckon(1, 60_000.0, 59_100.0, 10_000.0, preset=TRIPLE, grid=Grid(0.1, 0.001, 0.001, 0.0, 5.0))
    plan, rules, q = now.ladder.plan, Rules(entry_bp=0.0, target_fee=0.0005), now.order.quantity
    ladder = Ladder.of(1, 60_000.0, 59_100.0, 0.0, TRIPLE, 0.1, 0.001, q, 0.001, rules=rules)
    bar = replace(sample_bars()[:1], open=np.array([60_000.0]), high=np.array([70_000.0]), low=np.array([59_900.0]),
                  close=np.array([69_000.0]))[0]
    after, _ = ladder.update(bar)
    assert after.fills.entry == 60_000.0 and result(after).net == pytest.approx(now.levels[-1].net, abs=1e-9)
    assert [x.price for x in now.levels if x.name.startswith("target")] == [after.fills.x1, after.fills.x2, after.fills.x3]
    assert q == floor_to(q, 0.001) and plan.quantity == q


def test_refusals_are_said_with_their_reason():
    panel = risk_calculator("BTCUSDT", equity=10_000.0)
    assert panel.status.kind == "good" and panel.now.order.refused == ""
    panel.leverage.value, panel.stop.value = 20, 0.94 * panel.entry.value
    assert panel.now.order.refused == "liquidation" and "take less leverage" in panel.status.text and "NO" in panel.rules.value
    panel.leverage.value = 2
    assert panel.now.order.refused == "" and panel.status.kind == "good"
    panel.stop.value = 1.01 * panel.entry.value
    assert panel.now.order.refused == "size" and "losing side" in panel.status.text and panel.size.value == "" and panel.steps.value == ""
    panel.stop.value, panel.equity.value = 0.99 * panel.entry.value, 40.0
    assert panel.now.order.refused == "balance" and "least balance" in panel.status.text


@pytest.mark.parametrize(("name", "value", "told"), [
    ("entry", 0.0, "must be prices"), ("stop", -5.0, "must be prices"), ("entry", nan, "must be prices"),
    ("equity", float("inf"), "amount of money"), ("risk", 0.0, "risk 0.0"), ("risk", 101.0, "risk")])
def test_a_wrong_number_is_said_in_place_and_leaves_nothing_standing(name, value, told):
    panel = risk_calculator("SOLUSDT")
    before = panel.now
    getattr(panel, name).value = value
    assert panel.now is None and panel.status.kind == "wrong" and told in panel.status.text
    assert (panel.size.value, panel.steps.value, panel.rules.value, panel.source.data["price"]) == ("", "", "", [])
    getattr(panel, name).value = {"entry": before.order.entry, "stop": before.order.stop, "equity": before.account.equity}.get(name, 1.0)
    assert panel.now.order == before.order and panel.status.kind == "good"


def test_sides_and_symbols_keep_the_distance_of_the_stop():
    panel = risk_calculator("BTCUSDT")
    far = panel.entry.value - panel.stop.value
    panel.side.value = -1
    assert panel.stop.value - panel.entry.value == pytest.approx(far) and panel.now.order.side == -1 and panel.now.order.refused == ""
    panel.symbol.value = "SOLUSDT"
    assert panel.entry.value == sample_bars("SOLUSDT").close[-1] and panel.stop.value / panel.entry.value == pytest.approx(1.01, rel=1e-3)
    step = sample_markets()["SOLUSDT"].step
    assert panel.now.order.quantity == floor_to(panel.now.order.quantity, step)
    assert panel.source.data["price"] == [x.price for x in panel.now.levels]


def test_what_runs_on_is_said_and_a_grid_of_ones_own_holds():
    panel = risk_calculator("X", markets={"X": Grid(0.5, 10.0, 10.0, 0.0, 5.0)}, prices={"X": 100.0})
    assert panel.now.order.quantity == 90.0 and "44 % run on" in panel.steps.value      # in tens: 20, 30, and 40 that are left
    panel.preset.value = TRIPLE
    assert "run on" not in panel.steps.value and len([x for x in panel.now.levels if x.name.startswith("target")]) == 3


def test_an_account_that_holds_positions_is_asked_as_it_is():
    held = tuple(Holding(str(k), "it", f"S{k}", 1, 1.0, 100.0, 1.0, 10, False) for k in range(5))
    panel = risk_calculator("BTCUSDT", account=Account.of(10_000.0)._replace(holdings=held))
    assert panel.now.order.refused == "positions" and "every place is taken" in panel.status.text
    panel.equity.value = 12_000.0
    assert panel.now.account.holdings == held and panel.now.account.equity == 12_000.0
    halted = risk_calculator("BTCUSDT", account=Account.of(10_000.0)._replace(halted=True))
    assert halted.now.order.refused == "halt"


# --- the data browser


async def browsing(source):
    panel = data_browser(source)
    await panel.settled()
    return panel


async def test_a_store_fits_and_its_catalogue_is_the_browsers():
    store = CandleStore(sample_root())
    panel = await browsing(store)
    told = [(e.symbol, e.timeframe, e.rows, e.start, e.end) for e in store.catalogue()]
    assert [tuple(s)[:5] for s in panel.lines] == told and all(s.gaps == 0 for s in panel.lines if s.timeframe in ("1m", "15m"))
    assert len(panel.choice.options) == 2 * len(sample_symbols()) and cells(panel.catalogue.value) == len(told)
    panel.choice.value = ("SOLUSDT", "15m")
    await panel.settled()
    assert panel.report == check(store.read("SOLUSDT", "15m")) and "600 settlements" in panel.status.text
    assert len(panel.pictures.children) == 3


async def test_holes_are_counted_found_and_drawn():
    whole, keep = sample_bars("ETHUSDT"), np.ones(19200, bool)
    keep[3000:3100] = keep[7000] = keep[12_000:12_002] = False
    torn = whole[keep]
    panel = await browsing(torn)
    assert panel.lines == [Series("ETHUSDT", "15m", 19_097, int(whole.open_time[0]), int(whole.close_time[-1]), 3, 103)]
    assert panel.report == check(torn) and cells(panel.lost.value) == 3 and len(panel.pictures.children) == 2
    assert holes(torn)[0] == (int(whole.open_time[3000]), int(whole.open_time[3100]), 100)
    c = coverage(torn)
    lost = {iso(int(b))[:10]: int(e - p) for b, p, e in zip(c.begin, c.present, c.expected) if e != p}
    days = [iso(int(t))[:10] for t in whole.open_time[~keep]]
    assert lost == {day: days.count(day) for day in days}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(0, 400), st.randoms(use_true_random=False), st.sampled_from((3, 50, 400)))
def test_coverage_counts_every_candle_once(n, first, random, most):
    whole = sample_bars()[first:first + n]
    part = whole[np.array([random.random() < 0.7 for _ in range(n)], bool)]
    c = coverage(part, most)
    assert c.present.sum() == len(part) and c.expected.sum() == len(part) + check(part).missing and len(c.begin) <= most + 1
    assert (c.present <= c.expected).all() and sum(k for *_, k in holes(part, 10_000)) == check(part).missing


async def test_faulty_rows_get_their_report_and_no_chart(tmp_path):
    bars = sample_bars("SOLUSDT")[:500]
    store = CandleStore(tmp_path)
    store.append(bars)
    (file,) = tmp_path.rglob("*.parquet")
    from perps_kit.data.files import write_bars
    wrong = bars[np.r_[0:100, 99:300, 310:500]]
    high = wrong.high.copy()
    high[200] = 0.0
    write_bars(replace(wrong, high=high), file)
    panel = await browsing(store)
    kinds = {f.kind: f.count for f in panel.report.findings}
    assert kinds == {"duplicate": 1, "gap": 1, "ohlc": 1} and panel.report.missing == 10
    assert panel.status.kind == "wrong" and "no chart of faulty candles (duplicate, ohlc)" in panel.status.text
    assert len(panel.pictures.children) == 1
    file.write_bytes(b"not a table")
    panel.again.click()
    await panel.settled()
    assert panel.status.kind == "wrong" and "not a readable parquet file" in panel.status.text


async def test_a_source_that_fails_is_said_in_place():
    class Broken:
        def catalogue(self): return [Series("A", "15m", 10, 0, 9_000_000), Series("B", "15m", 10, 0, 9_000_000)]

        def read(self, symbol, timeframe):
            if symbol == "A": raise OSError("the disk is gone")
            return replace(sample_bars()[:10], symbol="B")

    panel = await browsing(Broken())
    assert (panel.status.text, panel.status.kind) == ("the disk is gone", "wrong") and panel.report is None and panel.findings.value == ""
    panel.choice.value = ("B", "15m")
    await panel.settled()
    assert panel.status.kind == "good" and panel.report.symbol == "B" and panel.report.rows == 10
    empty = await browsing({})
    assert empty.status.kind == "wrong" and "no series" in empty.status.text
    with pytest.raises(ValueError, match="cannot browse int"): source_of(3)


async def test_holes_that_the_catalogue_does_not_tell_are_counted_beside_everything_else():
    whole = sample_bars("SOLUSDT")[:2000]

    class Plain:
        def catalogue(self): return [Series(s, "15m", 1990, 0, 9_000_000) for s in ("A", "B")] + [Series("A", "metrics", 5, 0, 9_000_000)]

        def read(self, symbol, timeframe):
            return replace(whole[np.arange(2000) % 200 != (7 if symbol == "A" else 199)], symbol=symbol)

    panel = await browsing(Plain())
    assert [tuple(s)[:2] + s[5:] for s in panel.lines] == [("A", "15m", 10, 10), ("B", "15m", 9, 9), ("A", "metrics", -1, -1)]
    assert panel.counting.kind == "ready" and "…" in panel.catalogue.value
    assert [v for _, v in panel.choice.options] == [("A", "15m"), ("B", "15m")]
    panel.next.click()
    await panel.settled()
    assert panel.report.symbol == "B" and panel.report.count("gap") == 9
    panel.next.click()                      # there is none further
    await panel.settled()
    assert panel.report.symbol == "B"


async def test_the_newest_choice_wins_while_a_long_read_goes_on():
    go = threading.Event()

    class Slow:
        def catalogue(self): return [Series(s, "15m", 10, 0, 9_000_000, 0, 0) for s in ("A", "B", "C")]

        def read(self, symbol, timeframe):
            if symbol == "A": go.wait(5)
            return replace(sample_bars()[:10], symbol=symbol)

    panel = data_browser(Slow())
    while panel.choice.value is None: await asyncio.sleep(0.001)
    began = time.perf_counter()
    panel.choice.value = ("B", "15m")
    panel.choice.value = ("C", "15m")
    assert time.perf_counter() - began < 4 and panel.report is None
    go.set()
    await panel.settled()
    assert panel.report.symbol == "C" and panel.latest.shown == 2       # the catalogue, and the last choice
