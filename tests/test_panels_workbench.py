"The panels without a browser: sliders for every unit, figures that are a backtest's own, answers in order, refusals in words."
import asyncio
import threading
import time
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.backtest.ledger import Ledger
from perps_kit.backtest.report import report
from perps_kit.backtest.run import backtest
from perps_kit.backtest.sweep import swept
from perps_kit.core.bar import Bars
from perps_kit.core.registry import entries, strategies
from perps_kit.core.unit import Parameter, Span, make, parameters, same_bits
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.indicators.ema import EMA
from perps_kit.indicators.macd import MACD
from perps_kit.scoring.book import Pipeline
from perps_kit.strategies.ema_scalper import EmaScalper

pytest.importorskip("ipywidgets", reason="panels need the package ipywidgets")
pytest.importorskip("jupyter_bokeh", reason="panels need the package jupyter_bokeh")

from perps_kit.research.bench import Bench, Wish, retimed, run, tidy
from perps_kit.research.cells import around, grid_of, plateau, values_around
from perps_kit.research.controls import Controls, first_of, notes_of, snapped, step_of
from perps_kit.research.heat_map import heat_map
from perps_kit.research.panel import Latest, Status
from perps_kit.research.workbench import workbench

SOFT = Pipeline(minimum=0.0, factors=0)
BASE = EmaScalper(surge=0.5, least=2.0)
OFF = Ledger("off")
UNITS = [e for e in entries() if e.kind in ("indicator", "strategy", "flow", "scorer")]


@pytest.fixture(scope="module")
def bars() -> Bars:
    return sample_bars("ETHUSDT")


@pytest.fixture(scope="module")
def funding() -> dict[str, Any]:
    return {"ETHUSDT": sample_funding("ETHUSDT")}


def outcomes(result: Any) -> list[Any]:
    return [(t.id, t.final, t.outcome) for t in result.trades]


@pytest.mark.parametrize("entry", UNITS, ids=[e.name for e in UNITS])
def test_every_unit_has_controls_whose_defaults_come_back(entry: Any):
    it = Controls(entry.cls)
    asked = {name: first_of(p) for name, p in parameters(entry.cls).items() if isinstance(p.default, type)}
    assert same_bits(it.unit, make(entry.cls, **asked)) and set(it.fields) == set(parameters(entry.cls))
    it._moved()
    assert not it.wrong and same_bits(it.unit, make(entry.cls, **asked))
    for name, field in it.fields.items():
        p = parameters(entry.cls)[name]
        assert type(field.value) is p.type and f"perps-slider-{name}" in field.slider._dom_classes
        if p.span and field.slider is not field.held: assert (field.slider.min, field.slider.max) == tuple(p.span)


@pytest.mark.parametrize("name", sorted(strategies()))
def test_a_moved_slider_is_the_strategy_with_that_parameter(name: str):
    cls = strategies()[name]
    for field_name, p in parameters(cls).items():
        it = Controls(cls)
        field = it.fields[field_name]
        if field.slider is field.held: continue
        field.slider.value = field.slider.max
        assert p.span and (it.wrong or same_bits(it.unit, make(cls, **{field_name: p.type(p.span.high)})))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_a_slider_has_round_steps_and_its_places_stay_in_range(low: float, width: float, usual: float, at: float):
    p = Parameter("x", float, low + usual * width, Span(low, low + width))
    place = snapped(p, low + at * width)
    assert low <= place <= low + width and 0 < step_of(p)
    assert abs(place - (low + at * width)) <= step_of(p) * 0.51 + 1e-11 * abs(low + width) or place in (low, low + width)


def test_what_is_typed_counts_to_the_last_digit_and_a_browsers_echo_does_not():
    it = Controls(EmaScalper)
    field = it.fields["surge"]
    field.held.value = 1.2345
    assert it.unit.surge == 1.2345 and field.slider.value == pytest.approx(1.25)
    field.slider.value = field.slider.value + 1e-12
    assert it.unit.surge == 1.2345
    field.slider.value = 1.3
    assert it.unit.surge == 1.3 == field.held.value
    field.held.value = 1e9
    assert it.unit.surge == 10.0


class Odd(NamedTuple):
    "Every kind of parameter."
    word: str = "plain"         # any word
    choice: Literal["a", "b"] = "a"
    tick: float = float("nan")
    on: bool = False
    flag: Annotated[int, Span(0, 1)] = 1
    deep: tuple = ()


def test_words_choices_boxes_and_numbers_without_a_range():
    it = Controls(Odd)
    assert same_bits(it.unit, Odd()) and "deep" not in it.fields
    it.set(word="other", choice="b", tick=0.5, on=True, flag=0)
    assert it.unit == Odd("other", "b", 0.5, True, 0) and type(it.unit.flag) is int
    it.fields["tick"].held.value = "much"
    assert "tick = 'much' is not a number" in it.wrong and it.unit == Odd("other", "b", 0.5, True, 0)
    it.reset()
    assert same_bits(it.unit, Odd()) and not it.wrong


def test_a_refused_combination_is_told_and_not_raised():
    heard: list[Any] = []
    it = Controls(MACD, heard.append)
    it.fields["fast"].slider.value = 40
    assert "fast = 40 is not below slow = 26" in it.told.value and not heard and it.unit == MACD.of(12, 26, 9)
    it.fields["slow"].slider.value = 50
    assert it.told.value == "" and same_bits(heard, [MACD.of(40, 50, 9)])
    with pytest.raises(ValueError, match="no slider 'fats'"): it.set(fats=1)


def test_controls_of_a_value_begin_with_it_and_reset_to_it():
    it = Controls(EmaScalper(7, 30))
    it.set(fast=20, slow=40)
    it.reset()
    assert it.unit == EmaScalper(7, 30) and Controls(EMA, n=33).unit == EMA.of(33) and notes_of(EmaScalper)["least"] == "score"


def test_the_newest_wish_wins_whatever_the_threads_do():
    async def main() -> tuple[list[int], Latest]:
        shown: list[int] = []
        seen: list[str] = []
        latest = Latest(Status(), between=True)

        def ask(k: int) -> None:
            latest.ask(lambda _: (time.sleep(0.002), seen.append(threading.current_thread().name), k)[2], shown.append)

        def bother(start: int) -> None:
            async def some() -> None:
                for k in range(start, start + 20):
                    ask(k)
                    await asyncio.sleep(0.001)
                await latest.settled()
            asyncio.run(some())
        others = [threading.Thread(target=bother, args=(start,)) for start in (1000, 2000)]
        for one in others: one.start()
        for k in range(50):
            ask(k)
            await asyncio.sleep(0.001)
        while any(one.is_alive() for one in others): await asyncio.sleep(0.005)
        ask(9999)
        await latest.settled()
        assert set(seen) != {threading.current_thread().name}
        return shown, latest
    shown, latest = asyncio.run(asyncio.wait_for(main(), 30))
    assert shown[-1] == 9999 and not latest.busy and len(shown) == latest.shown < latest.asked == 91
    for first in (0, 1000, 2000):
        mine = [k for k in shown if first <= k < first + 1000]
        assert mine == sorted(mine)


def test_the_loop_turns_while_work_is_done():
    async def main() -> int:
        latest, turns = Latest(Status()), 0
        latest.ask(lambda _: time.sleep(0.1), lambda _: None)
        while latest.busy: turns, _ = turns + 1, await asyncio.sleep(0.001)
        return turns
    assert asyncio.run(main()) > 5


def test_without_a_loop_the_work_is_done_at_once_and_faults_become_sentences():
    shown: list[int] = []
    latest = Latest(Status())
    for k in (1, 2): latest.ask(lambda _, k=k: {1: 1}[k], shown.append)
    assert shown == [1] and latest.status.text == "KeyError: 2" and not latest.busy
    latest.ask(lambda _: "one", lambda found: latest.ask(lambda _: found + " and what follows from it", shown.append))
    assert shown[1:] == ["one and what follows from it"] and latest.status.kind == "ready"


def test_a_fault_of_the_showing_is_told_and_the_next_answer_comes():
    class Odd(Exception): pass

    def fail(wrong: Exception) -> Any: raise wrong
    told: list[str] = []
    latest = Latest(Status(), lambda error: told.append(repr(error)))
    latest.ask(lambda _: 1, lambda _: fail(LookupError("no such row")))
    latest.ask(lambda _: fail(Odd("of the work")), told.append)
    with pytest.raises(Odd, match="of the showing"): latest.ask(lambda _: 1, lambda _: fail(Odd("of the showing")))
    latest.ask(lambda _: "well", told.append)
    assert told == ["LookupError('no such row')", "Odd('of the work')", "well"] and not latest.busy


def test_an_answer_whose_loop_has_ended_is_not_lost_and_stops_nobody():
    shown: list[int] = []
    go, latest = threading.Event(), Latest(Status(), between=True)

    async def leave() -> None: latest.ask(lambda _: go.wait(5) and 1, shown.append)
    asyncio.run(leave())
    go.set()
    while latest.busy: time.sleep(0.001)
    assert shown == [1]
    go.clear()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())        # its answer comes to a loop that stands, neither running nor closed
    go.set()
    latest.pool.submit(lambda: None).result()
    assert shown == [1] and latest.busy
    latest.ask(lambda _: 2, shown.append)
    assert shown == [1, 1, 2] and not latest.busy
    loop.run_until_complete(leave())
    latest.pool.submit(lambda: None).result()
    asyncio.run(asyncio.wait_for(latest.settled(), 10))
    loop.close()
    assert shown == [1, 1, 2, 1] and not latest.busy


def test_two_kinds_of_work_on_one_line_do_not_call_each_other_ready():
    async def main() -> None:
        status, go = Status(), threading.Event()
        first, second = Latest(status), Latest(status)
        first.ask(lambda _: 1, lambda _: second.ask(lambda _: go.wait(5), lambda _: None, "second"), "first")
        await first.settled()
        assert (status.text, status.kind) == ("second …", "busy")
        go.set()
        await second.settled()
        assert status.kind == "ready"
    asyncio.run(main())


@pytest.mark.parametrize(("name", "minutes"), [("ema_scalper", 0), ("ema_scalper", 60), ("pullback", 0), ("gluk", 0)])
def test_a_run_is_the_backtest_bit_for_bit(bars: Bars, funding: dict[str, Any], name: str, minutes: int):
    bench, cls = Bench({"ETHUSDT": bars}, funding, SOFT, ledger=OFF), strategies()[name]
    span = int(bars.open_time[0]), int(bars.close_time[-1])
    for it in (cls(), cls()._replace(least=1.5), cls()):
        it = retimed(it, minutes or cls.minutes)
        found, direct = run(bench, Wish(it, "ETHUSDT", *span)), backtest(it, bars, SOFT, funding=funding)
        assert same_bits(outcomes(found.result), outcomes(direct)) and same_bits(found.page.trades, report(direct).trades)
        assert found.result.decisions == direct.decisions and found.own.minutes == it.minutes
    assert found.tried == 2 and found.page.trades.n > 0


def test_plain_and_compiled_agree(bars: Bars, funding: dict[str, Any]):
    short = bars[:6000]
    span = int(short.open_time[0]), int(short.close_time[-1])
    benches = (Bench({"ETHUSDT": short}, funding, SOFT, ledger=OFF, compiled=how) for how in (False, True))
    plain, fast = (run(bench, Wish(BASE, "ETHUSDT", *span)) for bench in benches)
    assert same_bits(outcomes(plain.result), outcomes(fast.result)) and plain.page.trades.n > 3


def test_columns_are_given_back_and_folded_again(bars: Bars, funding: dict[str, Any]):
    bench = Bench({"ETHUSDT": bars}, funding, SOFT, ledger=OFF)
    wish = Wish(BASE, "ETHUSDT", int(bars.open_time[0]), int(bars.close_time[-1]))
    first = run(bench, wish)
    run(bench, wish._replace(strategy=BASE._replace(fast=30, slow=60)))
    columns = bench.ground(wish).stretches[0][1]
    before = len(columns.nbytes)
    tidy(bench.ground(wish), BASE._replace(fast=30, slow=60), room=0)
    assert 0 < len(columns.nbytes) < before and same_bits(outcomes(run(bench, wish).result), outcomes(first.result))


def test_a_slide_changes_the_figures_and_the_picture_to_a_backtests_own(bars: Bars, funding: dict[str, Any]):
    async def main() -> None:
        panel = workbench(BASE, bars, funding, SOFT, ledger=OFF)
        first = await panel.settled()
        assert first and panel.stage.scene and f"{first.page.trades.n} trades, settled #1" in panel.status.text
        picture = panel.stage.scene
        for fast in range(5, 16): panel.asked.controls.fields["fast"].slider.value = fast
        last = await panel.settled()
        assert last and panel.stage.scene is picture and panel.latest.shown < 12
        direct = backtest(BASE._replace(fast=15), bars, SOFT, funding=funding)
        assert same_bits(outcomes(last.result), outcomes(direct)) and last.page.trades.n != first.page.trades.n
        assert picture.trades.data["net_r"] == [t.outcome.net_r for t in direct.trades if t.outcome]
        page = report(direct)
        assert np.allclose(picture.curve.data["equity"], 100 * (page.curve.equity / page.curve.start - 1))
        assert f"{page.trades.n} trades, settled" in panel.status.text and f"tried here: {last.tried}" in panel.status.text
        assert f"{page.trades.expectancy:+.3f} R" in panel.figures.value and "unproven" in panel.figures.value
        panel.asked.again.click()
        await panel.settled()
        assert panel.run and panel.run.wish.strategy == BASE
    asyncio.run(main())


def test_days_timeframe_symbol_and_strategy_make_the_wish(bars: Bars, funding: dict[str, Any]):
    btc = sample_bars("BTCUSDT")
    panel = workbench("ema_scalper", {"ETHUSDT": bars, "BTCUSDT": lambda: btc}, funding, SOFT, ledger=OFF)
    days = [day for _, day in panel.asked.dates.options]
    panel.asked.dates.value = days[60], days[119]
    assert panel.run and panel.run.wish.begin == days[60] and panel.run.wish.end == days[120]
    part = bars[(bars.open_time >= days[60]) & (bars.open_time < days[120])]
    assert same_bits(outcomes(panel.run.result), outcomes(backtest(EmaScalper(), part, SOFT, funding=funding)))
    assert panel.run.own.open_time[0] == days[60] and len(panel.run.own) == 60 * 96
    panel.asked.symbol.value = "BTCUSDT"
    assert panel.run.wish.symbol == "BTCUSDT" and panel.asked.dates.value == (days[60], days[119])
    assert panel.run.result.unpaid == {"BTCUSDT": -1}
    assert panel.stage.scene and panel.stage.scene.own.symbol == "BTCUSDT"
    panel.asked.strategy.value = strategies()["pullback"]
    assert set(panel.asked.controls.fields) == set(parameters(strategies()["pullback"])) and "pullback on BTCUSDT" in panel.figures.value
    panel.asked.strategy.value = EmaScalper
    panel.asked.frame.value = 60
    assert panel.run.own.minutes == 60 and panel.stage.scene.own.minutes == 60 and panel.run.wish.strategy.minutes == 60
    assert panel.run.tried == 5         # EmaScalper on the same days of BTCUSDT was there before


def test_a_refusal_is_a_sentence_in_place_and_the_last_answer_stays(bars: Bars):
    panel = workbench(BASE, bars, pipeline=SOFT, ledger=OFF)
    before = panel.run
    panel.asked.frame.value = 360
    assert "360 minutes do not divide" in panel.told.value and "Traceback" not in panel.told.value and "refused" in panel.status.text
    assert panel.run is before
    panel.asked.frame.value = 15
    assert panel.told.value == "" and "trades, settled #3" in panel.status.text
    with pytest.raises(ValueError, match="there are no candles"): workbench(bars={})
    with pytest.raises(ValueError, match="did you mean 'ema_scalper'"): workbench("ema_scalpr", bars)
    with pytest.raises(ValueError, match="no theme"): workbench(bars=bars, theme="pink")


def test_no_trades_are_no_fault(bars: Bars):
    panel = workbench(EmaScalper(least=10.0), bars, ledger=OFF)
    assert panel.run and panel.run.page.trades.n == 0 and "not known R" in panel.figures.value and panel.told.value == ""
    assert "0 trades, settled #1" in panel.status.text and panel.stage.scene and panel.stage.scene.trades.data["entry"] == []


def test_everything_that_was_looked_at_is_in_the_ledger_and_deflates(bars: Bars, funding: dict[str, Any], tmp_path: Any):
    book = Ledger(tmp_path / "trials.db")
    panel = workbench(BASE, bars, funding, SOFT, ledger=book)
    for fast in (5, 7, 5): panel.asked.controls.set(fast=fast)
    assert panel.run and book.count("ema_scalper") == 3 == panel.run.tried == panel.run.case.trials
    again = workbench(BASE._replace(fast=11), bars, funding, SOFT, ledger=book)
    assert again.run and again.run.tried == 1 and again.run.case.trials == 4 and "as the best of 4 tried" in again.figures.value
    again.asked.frame.value = 60
    assert book.count("ema_scalper") == 5 and [t.settings.get("minutes") for t in book.trials()][-1] == 60
    cells = heat_map(BASE, bars, "fast", "slow", [5, 7, 9], [21, 25], funding=funding, pipeline=SOFT, ledger=book)
    assert cells.cells and cells.cells.trials == book.count("ema_scalper") == 8       # fast 5, 7 and 9 with slow 21 were there already
    book.close()


def test_a_views_state_is_what_its_document_says_now(bars: Bars):
    panel = workbench(BASE, bars, pipeline=SOFT, ledger=OFF)
    panel.asked.controls.set(fast=5)
    assert panel.run and panel.run.page.trades.n and panel.stage.scene
    state = panel.stage.view.get_state()["render_bundle"]
    assert f'"{panel.stage.scene.trades.id}"' in state and str(panel.stage.scene.trades.data["entry_time"][0]) in state
    assert "application/vnd.jupyter.widget-view+json" in panel.widget._repr_mimebundle_()
    assert {"perps-workbench"} <= set(panel.widget._dom_classes) and 'class="perps-status' in panel.status.line.value


def test_a_ledger_that_cannot_be_written_is_told_and_does_not_stop_the_work(bars: Bars, tmp_path: Any):
    (tmp_path / "file").write_text("no folder")
    panel = workbench(BASE, bars, pipeline=SOFT, ledger=Ledger(tmp_path / "file" / "trials.db"))
    assert "what was tried is not kept: the ledger" in panel.told.value and "PERPS_LEDGER" in panel.told.value
    assert panel.run and panel.run.page.trades.n > 0 and "settled #1" in panel.status.text


def test_a_symbol_without_candles_is_told_and_another_one_heals_it(bars: Bars):
    def missing() -> Bars: raise ValueError("the sample has no 15m candles of XUSDT")
    panel = workbench(BASE, {"ETHUSDT": bars, "XUSDT": missing, "YUSDT": bars[:0]}, pipeline=SOFT, ledger=OFF)
    before = panel.run
    for symbol, words in (("XUSDT", "no 15m candles of XUSDT"), ("YUSDT", "no candles of YUSDT: load some")):
        panel.asked.symbol.value = symbol
        assert words in panel.told.value and "refused" in panel.status.text and panel.run is before
        panel.asked.controls.fields["fast"].slider.value = 11
        assert words in panel.told.value
        panel.asked.controls.reset()
    panel.asked.symbol.value = "ETHUSDT"
    assert panel.told.value == "" and "trades, settled" in panel.status.text
    assert panel.run and before and panel.run.wish == before.wish


def test_a_refusal_is_not_covered_by_an_older_answer_that_comes_late(bars: Bars):
    def missing() -> Bars: raise ValueError("the sample has no 15m candles of XUSDT")

    async def main() -> None:
        panel = workbench(BASE, {"ETHUSDT": bars, "XUSDT": missing}, pipeline=SOFT, ledger=OFF)
        await panel.settled()
        panel.asked.controls.set(fast=5)
        panel.asked.symbol.value = "XUSDT"
        assert panel.latest.busy
        await panel.settled()
        assert "no 15m candles of XUSDT" in panel.told.value and "refused, settled #3" in panel.status.text
        assert panel.run and panel.run.wish.strategy == BASE._replace(fast=5)
    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_panel_that_is_shown_again_shows_what_is_true_now(bars: Bars):
    panel = heat_map(BASE, bars, "fast", "slow", [5, 9], [21], pipeline=SOFT, ledger=OFF)
    assert panel.views == [panel.heat, panel.stage.view]
    sent: list[Any] = []
    for view in panel.views: view.send_state = lambda key=None, view=view: sent.append((view, key))
    panel._repr_mimebundle_()
    assert sent == [(view, "render_bundle") for view in panel.views]


def test_another_timeframe_than_its_own_is_told(bars: Bars):
    panel = workbench("pump_scanner", bars, pipeline=SOFT, ledger=OFF)
    assert panel.asked.frame.value == 15 and "change asks for 5 minutes, which 15 minutes do not divide" in panel.told.value
    panel.asked.strategy.value = EmaScalper
    assert "ema_scalper on ETHUSDT, 15m</i></caption>" in panel.figures.value
    panel.asked.frame.value = 60
    assert "ema_scalper on ETHUSDT, 1h (its own: 15m)</i></caption>" in panel.figures.value


def test_a_view_that_stands_is_told_what_it_missed(bars: Bars):
    panel = workbench(BASE, bars, pipeline=SOFT, ledger=OFF)
    assert panel.stage.scene and panel.run
    sent: list[Any] = []
    panel.stage.view.send = lambda content, buffers=None: sent.append(content)
    ready = dict(event="jsevent", kind="ModelChanged", model=dict(id=panel.stage.scene.root.id), attr="tags", new=[1.0])
    panel.stage.view._sync_model(panel.stage.view, ready, [])
    told = "".join(str(one.get("payload", "")) for one in sent)
    for source in (panel.stage.scene.trades, panel.stage.scene.curve): assert f'"{source.id}"' in told
    assert str(panel.stage.scene.trades.data["exit_time"][-1]) in told


def test_each_cell_is_a_backtest(bars: Bars, funding: dict[str, Any]):
    async def main() -> Any:
        panel = heat_map(BASE, bars, "fast", "slow", [5, 9], "17..25:4", funding=funding, pipeline=SOFT, ledger=OFF)
        await panel.settled()
        return panel
    panel = asyncio.run(main())
    grid, found = panel.grid, panel.cells.found
    for j, slow in enumerate((17, 21, 25)):
        for i, fast in enumerate((5, 9)):
            k, direct = grid.at(i, j), backtest(BASE._replace(fast=fast, slow=slow), bars, SOFT, funding=funding)
            t = report(direct).trades
            assert found.trades[k] == t.n and found.expectancy[k] == pytest.approx(t.expectancy)
            panel.map.cells.selected.indices = []
            panel.map.cells.selected.indices = [k]
            assert (panel.choice.xs.value, panel.choice.ys.value) == (fast, slow) and panel.choice.cell == k
            assert panel.run.wish.strategy == BASE._replace(fast=fast, slow=slow)
            assert same_bits(outcomes(panel.run.result), outcomes(direct)) and panel.map.chosen.data == dict(x=[f"{fast}"], y=[f"{slow}"])
            assert panel.stage.scene.trades.data["entry"] == [x.outcome.entry for x in direct.trades if x.outcome]
            assert panel.run.case.trials == 6 and f"fast {fast}, slow {slow}" in panel.figures.value
            assert panel.listed.value.count("<tr>") == t.n + 1
    panel.choice.xs.value = 5
    assert panel.run.wish.strategy == BASE._replace(fast=5, slow=25) and "settled #" in panel.status.text
    panel.choice.measure.value = "drawdown"
    best = int(np.argmin(found.drawdown))
    assert f"the best drawdown is {found.drawdown[best]:.1%}" in panel.note.value
    assert panel.map.cells.data["value"] == found.drawdown.tolist()


def test_the_map_without_gates_is_the_sweep(bars: Bars, funding: dict[str, Any]):
    panel = heat_map(BASE, bars, "fast", "slow", [5, 9], [21], funding=funding, pipeline=None, ledger=OFF)
    direct = swept(EmaScalper, panel.grid.sets, bars, funding=funding)
    assert panel.cells and np.array_equal(panel.cells.found.total_r, direct.total_r) and panel.run
    assert f"{direct.trades[panel.choice.cell]} trades" in panel.status.text
    net = panel.run.page.trades
    assert net.n == direct.trades[panel.choice.cell] and net.total_r == pytest.approx(direct.total_r[panel.choice.cell])


def test_a_search_can_be_stopped_and_begun_again(bars: Bars, funding: dict[str, Any]):
    async def main() -> None:
        panel = heat_map(BASE, bars, "fast", "slow", "5..24:1", "30..60:2", funding=funding, pipeline=SOFT, ledger=OFF)
        while panel.turn < 3: await asyncio.sleep(0.002)
        panel.stop.click()
        await panel.settled()
        assert panel.cells is None and "stopped after" in panel.status.text and panel.told.value == "" and not panel.again.disabled
        panel.again.click()
        while panel.status.bar.value * len(panel.grid.sets) < 10: await asyncio.sleep(0.002)
        panel.stop.click()
        await panel.settled()
        assert panel.cells is None and panel.turn >= 10
    asyncio.run(asyncio.wait_for(main(), 60))


def test_neighbours_are_counted_as_by_hand():
    rng = np.random.default_rng(3)
    table = np.where(rng.random((5, 6)) < 0.3, np.nan, rng.normal(size=(5, 6)))
    found = around(table)
    for j in range(5):
        for i in range(6):
            rows, columns = range(max(0, j - 1), min(5, j + 2)), range(max(0, i - 1), min(6, i + 2))
            near = [table[a, b] for a in rows for b in columns if (a, b) != (j, i)]
            known = [x for x in near if x == x]
            assert found[j, i] == pytest.approx(np.median(known)) if known else np.isnan(found[j, i])


def test_a_lonely_peak_is_told_from_a_plateau():
    peak = np.full((3, 3), 0.1)
    peak[1, 1] = 0.5
    assert plateau(peak, "expectancy").endswith("a lonely peak") and plateau(np.full((3, 3), 0.1), "expectancy").endswith("a plateau")
    assert plateau(1 + peak, "profit_factor").endswith("a lonely peak") and plateau(-peak, "total_r").endswith("no cell makes anything")
    with pytest.raises(ValueError, match="not a measure"): heat_map(BASE, sample_bars("ETHUSDT")[:100], "fast", "slow", measure="luck")


@pytest.mark.parametrize("name", sorted(strategies()))
def test_values_around_a_parameter_are_allowed_and_hold_the_one_in_use(name: str):
    it = strategies()[name]()
    for parameter, p in parameters(type(it)).items():
        now = getattr(it, parameter)
        values = values_around(type(it), parameter, now)
        assert now in values and list(values) == sorted(set(values)) and p.span and p.span.low <= values[0] and values[-1] <= p.span.high
    first, second = list(parameters(type(it)))[:2]
    grid = grid_of(it, first, second)
    here = grid.sets[grid.at(grid.xs.index(getattr(it, first)), grid.ys.index(getattr(it, second)))]
    assert it._replace(**here) == it
    with pytest.raises(ValueError, match="name two parameters"): grid_of(it, first, first)
