"Searches: what may vary, which sets are tried, the same answers with any number of workers, and after an interruption."

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perps_kit.backtest import search as of
from perps_kit.backtest.ledger import Ledger
from perps_kit.backtest.report import report
from perps_kit.backtest.run import backtest
from perps_kit.backtest.search import axes_of, axis, drawn, grid, heat, joined, lines, means, pieces, ranked, search, tune
from perps_kit.core.registry import strategies
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.scoring.book import Pipeline
from perps_kit.strategies.ema_scalper import EmaScalper
from perps_kit.trackers.plan import Rules

SYMBOLS = ("SOLUSDT", "ETHUSDT")
BARS = {s: sample_bars(s)[:9000] for s in SYMBOLS}
PAID = {s: sample_funding(s) for s in SYMBOLS}
WISHES = dict(fast="5..13:4", surge="0.8..1.6:0.4")
SETS = grid(axes_of(EmaScalper, WISHES))


def same(a, b) -> bool:
    "Every column of two sweeps, to the last bit."
    names = [*of.FIGURES, "daily_r", "days"]
    return a.sets == b.sets and all(getattr(a, n).tobytes() == getattr(b, n).tobytes() for n in names)


@pytest.mark.parametrize(("wish", "values"), [
    ("5..15:5", (5, 10, 15)), ("5..14:5", (5, 10)), ("8,5,13,5", (5, 8, 13)), ("7", (7,)), ((5, 8), (5, 8)),
    ("5..8", (5, 6, 7, 8)), ("5..5:1", (5,)),
])
def test_ranges_of_whole_numbers(wish, values):
    found = axis(EmaScalper, "fast", wish)
    assert found.values == values and all(type(v) is int for v in found.values) and (found.low, found.high) == (values[0], values[-1])


def test_steps_are_decimal_and_floats_are_floats():
    assert axis(EmaScalper, "surge", "0.8..2:0.2").values == (0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0)
    assert axis(EmaScalper, "surge", "1,2").values == (1.0, 2.0) and type(axis(EmaScalper, "surge", "1,2").values[0]) is float
    free = axis(EmaScalper, "surge", "0.5..2")
    assert not free.values and (free.low, free.high) == (0.5, 2.0)
    assert axis(EmaScalper, "separation", "1e-3..3e-3:1e-3").values == (0.001, 0.002, 0.003)


@given(st.integers(-500, 500), st.integers(1, 300), st.integers(0, 60))
def test_a_decimal_range_is_what_a_person_counts(low, step, n):
    text = f"{low / 100:.2f}..{(low + n * step) / 100:.2f}:{step / 100:.2f}"
    assert [float(x) for x in of.stepped("x", text)] == [float(f"{(low + k * step) / 100:.2f}") for k in range(n + 1)]


@pytest.mark.parametrize(("wish", "told"), [
    (dict(fst="1..2:1"), "did you mean 'fast'"), (dict(fast="1..5:1"), "outside 2 to 100"), (dict(fast="90..101"), "outside"),
    (dict(fast="5..6:0.5"), "whole number"), (dict(fast="many"), "a..b:step"),
    (dict(fast=""), "a..b:step"), (dict(fast="5..9:0"), "positive"),
    (dict(fast="9..5:1"), "rise"), (dict(surge="2..1"), "rise"), (dict(fast="5..9:x"), "a..b:step"), (dict(surge="0..9:1e-9"), "steps"),
    (dict(surge="nan"), "a..b:step"), (dict(surge="0..inf"), "a..b:step"), (dict(surge="1..2:inf"), "a..b:step"),
])
def test_wishes_that_cannot_be_are_told(wish, told):
    with pytest.raises(ValueError, match=told): axes_of(EmaScalper, wish)


@pytest.mark.parametrize("name", strategies())
def test_every_strategy_can_be_searched_over_its_spans(name):
    cls = strategies()[name]
    axes = axes_of(cls)
    for one in drawn(axes, 5, 1): assert cls(**one)
    assert axes and drawn(axes, 5, 1) == drawn(axes, 5, 1) != drawn(axes, 5, 2)


def test_grids_and_draws():
    axes = axes_of(EmaScalper, WISHES)
    assert SETS == [dict(fast=f, surge=s) for f in (5, 9, 13) for s in (0.8, 1.2, 1.6)]
    some = drawn(axes, 4, 3)
    assert len(some) == 4 and all(one in SETS for one in some) and len({str(x) for x in drawn(axes, 99)}) == 9
    wide = drawn(axes_of(EmaScalper, dict(surge="0.5..2", fast="5..50")), 300, 1)
    assert len({str(x) for x in wide}) == 300 and all(0.5 <= x["surge"] <= 2 and 5 <= x["fast"] <= 50 for x in wide)
    assert abs(np.mean([x["surge"] for x in wide]) - 1.25) < 0.1
    with pytest.raises(ValueError, match="needs steps"): grid(axes_of(EmaScalper, dict(surge="0.5..2")))
    with pytest.raises(ValueError, match="more than"): grid(axes_of(EmaScalper, dict(fast="2..100", slow="3..300", surge="0..9:0.1")))
    with pytest.raises(ValueError, match="at least one"): drawn(axes, 0)


@given(st.integers(1, 3000))
def test_pieces_are_the_list(n):
    sets = [dict(k=k) for k in range(n)]
    cut = pieces(sets)
    assert [x for part in cut for x in part] == sets and max(map(len, cut)) <= 500 and len(cut) <= 8


def test_the_figures_are_those_of_the_backtest_with_gates():
    found = search(EmaScalper, SETS[:3], BARS, PAID, pipeline=Pipeline(), rules=Rules(fee=0.0004), ledger=Ledger("off"))
    for k, one in enumerate(SETS[:3]):
        page = report(backtest(EmaScalper(**one), BARS, rules=Rules(fee=0.0004), funding=PAID))
        assert found.trades[k] == page.trades.n and abs(found.total_r[k] - page.trades.total_r) < 1e-9
    assert not same(found, search(EmaScalper, SETS[:3], BARS, PAID, ledger=Ledger("off")))


def test_one_two_and_four_workers_agree_to_the_last_bit(tmp_path):
    ledger = Ledger(tmp_path / "x.db")
    one = search(EmaScalper, SETS, BARS, PAID, ledger=ledger, workers=1)
    assert one.trades.sum() > 50 and ledger.count() == len(SETS)
    for workers in (2, 4): assert same(one, search(EmaScalper, SETS, BARS, PAID, ledger=Ledger("off"), workers=workers))
    assert same(one, search(EmaScalper, SETS, BARS, PAID, ledger=ledger, workers=2))        # all kept: nobody is asked


def test_every_configuration_is_in_the_ledger_with_its_days(tmp_path):
    ledger = Ledger(tmp_path / "x.db")
    found = search(EmaScalper, SETS, BARS, PAID, ledger=ledger, seed=5)
    rows = {(t.parameters["ema_scalper"]["fast"], t.parameters["ema_scalper"]["surge"]): t for t in ledger.trials()}
    for k, one in enumerate(SETS):
        t = rows[one["fast"], one["surge"]]
        assert t.metrics["total_r"] == found.total_r[k] and t.kind == "sweep" and t.seed == 5 and t.symbols == ("ETHUSDT", "SOLUSDT")
        assert t.daily is not None and abs(np.prod(1 + t.daily) - 1 - 0.01 * found.total_r[k]) < 1e-12
    assert np.isclose(ledger.ratios() * 365**0.5, found.sharpe, rtol=0.1, atol=0.05, equal_nan=True).all()


def test_a_search_that_was_cut_short_goes_on(tmp_path):
    ledger, asked = Ledger(tmp_path / "x.db"), []
    whole = search(EmaScalper, SETS, BARS, PAID, ledger=Ledger("off"))

    def stop(ending, total):
        for k, one in enumerate(ending):
            yield one
            if k == 2: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): search(EmaScalper, SETS, BARS, PAID, ledger=ledger, over=stop)
    assert 0 < ledger.count() < len(SETS)

    def count(ending, total):
        asked.append(total)
        return ending
    assert same(search(EmaScalper, SETS, BARS, PAID, ledger=ledger, over=count), whole) and 0 < asked[0] < len(pieces(SETS))
    assert ledger.count() == len(SETS)
    search(EmaScalper, SETS, BARS, PAID, ledger=ledger, over=count, resume=False)
    assert asked[-1] == len(pieces(SETS)) and ledger.count() == len(SETS)


AXES = axes_of(EmaScalper, dict(fast="5..20", surge="0.8..2.5", stop_atr="1,1.5,2"))
ASK = dict(by="total_r", least=5, seed=4)


def test_optuna_asks_the_same_with_any_number_of_workers_and_another_seed_asks_otherwise(tmp_path):
    one = tune(EmaScalper, AXES, BARS, 24, PAID, ledger=Ledger(tmp_path / "x.db"), **ASK)
    assert same(one, tune(EmaScalper, AXES, BARS, 24, PAID, ledger=Ledger("off"), workers=2, **ASK)) and 16 < len(one) <= 24
    assert tune(EmaScalper, AXES, BARS, 16, PAID, ledger=Ledger("off"), **ASK | dict(seed=5)).sets != one.sets[:16]
    assert all(x["stop_atr"] in (1.0, 1.5, 2.0) and type(x["fast"]) is int for x in one.sets)


@pytest.mark.parametrize("written", [0, 5, 16, 20])
def test_optuna_goes_on_where_it_was_cut_short(tmp_path, monkeypatch, written):
    import optuna
    ledger, add, count = Ledger(tmp_path / "x.db"), optuna.Study.add_trial, [0]
    whole = tune(EmaScalper, AXES, BARS, 40, PAID, ledger=Ledger("off"), **ASK)

    def until(self, trial):
        if self.study_name.startswith("ema_scalper"):
            if count[0] == written: raise KeyboardInterrupt
            count[0] += 1
        add(self, trial)
    with monkeypatch.context() as m:
        m.setattr(optuna.Study, "add_trial", until)
        with pytest.raises(KeyboardInterrupt): tune(EmaScalper, AXES, BARS, 40, PAID, ledger=ledger, **ASK)
    assert same(tune(EmaScalper, AXES, BARS, 40, PAID, ledger=ledger, **ASK), whole) and ledger.count() == len(whole)
    study, = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/x.db"),
    best = {(t.user_attrs["batch"], t.user_attrs["place"]): t.value for t in study.trials}
    assert len(study.trials) == len(best) == 40 and max(best.values()) == whole.total_r[ranked(whole, "total_r", 5)[0]]


def test_optuna_looks_where_the_aim_is_high():
    past = []
    import optuna
    axes = axes_of(EmaScalper, dict(surge="0..10"))
    for batch in range(6):
        for at in of.asked(past, axes, 16, batch):
            value = -abs(at["surge"] - 7.0)
            past.append(optuna.trial.create_trial(params=at, distributions=of.spread_of(axes), value=value))
    assert np.mean([t.value for t in past[-32:]]) > 2 * np.mean([t.value for t in past[:16]])       # nearer to the target than at first


def test_sets_with_few_trades_rank_last_and_aim_low():
    found = search(EmaScalper, SETS, BARS, PAID, ledger=Ledger("off"))
    least = int(np.median(found.trades)) + 1
    order = ranked(found, "expectancy", least)
    enough = [found.trades[k] >= least for k in order]
    assert sorted(order) == list(range(len(SETS))) and enough == sorted(enough, reverse=True) and any(enough) and not all(enough)
    good = [found.expectancy[k] for k, fine in zip(order, enough) if fine]
    assert good == sorted(good, reverse=True)
    falls = [found.drawdown[k] for k in ranked(found, "drawdown", 1)]
    assert falls == sorted(falls)
    aims = of.aim(found, "expectancy", least)
    assert min(a for a, t in zip(aims, found.trades) if t >= least) > max(a for a, t in zip(aims, found.trades) if t < least)
    with pytest.raises(ValueError, match="not a figure"): ranked(found, "luck")
    assert same(joined([found]), found)


def test_pictures_show_what_the_tables_say():
    found = search(EmaScalper, SETS, BARS, PAID, ledger=Ledger("off"))
    table = pd.DataFrame(found.sets).assign(y=found.total_r).groupby(["fast", "surge"]).y.mean()
    assert {at: value for at, (value, _) in means(found, "fast", "surge", "total_r", 1).items()} == table.to_dict()
    assert len(heat(found, "fast", "surge", "total_r", 1).renderers[0].data_source.data["x"]) == 9
    drawn_lines = lines(found, "total_r", 1).renderers[0].data_source.data
    assert len(drawn_lines["ys"]) == 9 and all(0 <= y <= 1 for row in drawn_lines["ys"] for y in row)
    for least in (1, 10**6): assert heat(found, "fast", "surge", least=least) and lines(found, least=least)     # also where nothing is left


def test_a_class_of_the_notebook_needs_this_process():
    class Mine(EmaScalper): pass
    Mine.__module__ = "__main__"
    with pytest.raises(ValueError, match="export it"): search(Mine, SETS, BARS, workers=2, ledger=Ledger("off"))
    with pytest.raises(ValueError, match="no set"): search(EmaScalper, [], BARS, ledger=Ledger("off"))
    with pytest.raises(ValueError, match="not a figure"): tune(EmaScalper, AXES, BARS, 4, by="luck", ledger=Ledger("off"))
