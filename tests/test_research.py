"The pictures: a trade's story is the ladder's own, whatever its end, and nothing traded draws nothing."

from itertools import pairwise

import numpy as np
import pytest
from bokeh.embed import json_item
from fixtures.candles import walk
from told import FREELY, Told

from perps_kit.backtest.report import breakdown, report
from perps_kit.backtest.run import Result, backtest
from perps_kit.core.bar import Bars
from perps_kit.core.stream import Stream
from perps_kit.core.unit import same_bits
from perps_kit.research.chart import outcome_color, overview, refused_chart, stops, story, trade_chart
from perps_kit.research.picture import candles, line
from perps_kit.research.results import equity_figure, group_figure, r_histogram, trades_in_time
from perps_kit.trackers.plan import Rules


@pytest.fixture(scope="module")
def run() -> tuple[Result, Bars]:
    rng, bars = np.random.default_rng(5), walk(5, 1500)
    words = rng.choice([10.0, 1001.0, 1002.0, 1003.0, 1004.0], len(bars), p=[0.8, 0.06, 0.06, 0.04, 0.04])
    bars = Bars("WALK", 15, *bars.columns()[:5], words, *bars.columns()[6:])
    return backtest({"told": Told()}, bars, FREELY, rules=Rules(patience=8), compiled=False), bars


def test_the_story_ends_as_the_ladder_did(run):
    result, bars = run
    assert len(result.trades) > 40 and len({t.outcome.exit_type for t in result.trades if t.outcome}) >= 5
    for t in result.trades:
        told = story(t, bars)[-1]
        if t.outcome and t.outcome.exit_type not in ("OPPOSITE", "END"): assert same_bits(told.fills, t.ladder.fills)
        path = stops(t, bars)
        assert all(a[1] == b[0] and t.side * (b[2] - a[2]) > 0 for a, b in pairwise(path))      # unbroken, and never loosened
        assert not path or (path[0][0], path[-1][1]) == (t.candidate.time, t.ladder.times.last)


def test_every_trade_can_be_drawn(run):
    result, bars = run
    lines = {"close": bars.close}
    for t in result.trades[:20] + result.trades[-2:]:
        page = json_item(trade_chart(t, bars, lines))
        assert page["root_id"] and ("after costs" in str(page)) == (t.outcome is not None)
    assert json_item(overview(result.trades, bars)) and json_item(overview([], bars[:0]))
    assert outcome_color(None) not in {outcome_color(t.outcome) for t in result.trades if t.outcome and t.outcome.result != "BREAKEVEN"}


def test_a_refused_candidate_can_be_drawn(run):
    _, bars = run
    stream = Stream({"told": Told()}, "WALK", 15)
    c = next(c for bar in bars for step in stream.accept(bar) for c in step.candidates)
    assert "refused" in str(json_item(refused_chart(c, bars, "room")))


def test_results_are_drawn_with_and_without_trades(run):
    result, bars = run
    page = report(result)
    for by in ("side", "exit", "session"): assert json_item(group_figure(page.records, by)) and breakdown(page.records, by)
    for some in (page, *(report(backtest({"told": Told()}, bars[:n], FREELY, compiled=False)) for n in (2, 300))):
        for picture in (equity_figure(some), r_histogram(some.records), trades_in_time(some.records), group_figure(some.records)):
            assert json_item(picture)


def test_lines_and_flat_bars(run):
    _, bars = run
    flat = Bars("WALK", 15, *bars.columns()[:-1], np.arange(len(bars)) % 2 == 0)
    p = line(candles(flat[:50]), flat[:50], np.full(50, np.nan), "nothing yet")
    assert json_item(p) and p.legend[0].location == "top_left"
