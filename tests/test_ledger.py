"The ledger of trials: what counts as a new one, on SQLite and PostgreSQL, after kill -9 and on a full disk."

import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pg import new_database
from sqlalchemy import event

from perps_kit.backtest.ledger import (
    Ledger,
    LedgerError,
    Trial,
    Tried,
    address,
    code_stamp,
    data_hash,
    digest,
    noted,
    settings_of,
    sharpe_day,
    simple,
    text_of,
    trial_of,
    tried,
)
from perps_kit.backtest.report import report
from perps_kit.backtest.run import backtest
from perps_kit.backtest.sharpe import deflated, luck
from perps_kit.core.bar import COLUMNS
from perps_kit.data.sample import sample_bars, sample_funding
from perps_kit.scoring.book import Pipeline
from perps_kit.strategies.ema_scalper import EmaScalper
from perps_kit.strategies.pullback import Pullback
from perps_kit.trackers.plan import Rules


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    it = Ledger(tmp_path / "deep" / "x.db" if request.param == "sqlite" else new_database())
    yield it
    it.close()


def trial(n: float = 1.0, family: str = "ema_scalper", **more) -> Trial:
    metrics = dict(trades=3, expectancy=nan, profit_factor=inf, sharpe_day=n / 100)
    made = Trial("backtest", {family: dict(fast=n)}, "d" * 32, 0, 86_400_000, ("BTCUSDT",), "c" * 20, settings_of(), metrics)
    return made._replace(**more)


def test_a_trial_comes_back_as_it_was(ledger):
    daily = np.array([0.1 + 0.2, -0.0, 5e-324, 1e308, nan])
    ledger.add(trial(daily=daily, seed=2**40, label="unproven"))
    back, = ledger.trials()
    assert back.daily is not None and back.daily.tobytes() == daily.tobytes() and back.seed == 2**40 and back.symbols == ("BTCUSDT",)
    assert isnan(back.metrics["expectancy"]) and back.metrics["profit_factor"] == inf and back.metrics["trades"] == 3
    assert back.key == trial().key and back.settings == settings_of() and back.id == back.times == 1 and back.time > 1.7e12


def test_the_same_configuration_is_one_trial_however_often_and_by_whatever_it_is_run(ledger):
    assert ledger.add(trial(1), trial(2), trial(1, kind="sweep", label="other", seed=9)) == 2
    assert ledger.add(trial(2)) == 0
    assert ledger.count() == 2 and [t.times for t in ledger.trials()] == [2, 2]
    for changed in (dict(data="e" * 32), dict(code="f" * 20), dict(settings=settings_of(Rules(fee=0.1))), dict(parameters={"x": {}})):
        assert ledger.add(trial(1, **changed)) == 1


def test_families_are_told_apart_and_the_newest_come_last(ledger):
    ledger.add(*(trial(n, "a") for n in range(5)), trial(1, "b", data="e" * 32))
    assert ledger.count("a") == 5 and ledger.count("b") == 1 and ledger.count("c") == 0 and ledger.count() == 6
    assert [t.parameters["a"]["fast"] for t in ledger.trials("a", limit=2)] == [3, 4]
    assert [t.family for t in ledger.trials(data="e" * 32)] == ["b"] and [t.id for t in ledger.trials(ids=[2, 4])] == [2, 4]
    assert trial(1)._replace(parameters={"b": {}, "a": {}}).family == "a+b"


def test_the_variance_is_that_of_the_daily_ratios(ledger):
    values = [0.01, 0.03, -0.02, 0.07]
    ledger.add(*(trial(100 * x) for x in values), trial(1, metrics=dict(sharpe_day=nan, trades=0)))
    assert ledger.count() == 5 and abs(ledger.variance("ema_scalper") - np.var(values, ddof=1)) < 1e-15
    n, variance = tried(ledger, "ema_scalper")
    r = np.random.default_rng(3).normal(0.002, 0.01, 300)
    assert deflated(r, n, variance) < deflated(r) and luck(n, variance) > 0
    assert tried(ledger, "none") == Tried(1, 0.0)


def test_the_daily_ratio_is_taken_from_the_returns_where_no_figure_is_given(tmp_path):
    r, book = np.random.default_rng(1).normal(0.001, 0.01, 200), Ledger(tmp_path / "x.db")
    book.add(trial(metrics={}, daily=r), trial(2, metrics={}, daily=-r))
    wanted = r.mean() / r.std(ddof=1)
    assert abs(book.ratios()[0] - wanted) < 1e-15 and abs(book.variance() - 2 * wanted**2) < 1e-15
    assert abs(sharpe_day(r) - wanted) < 1e-15 and isnan(sharpe_day(r[:29])) and isnan(sharpe_day(None))


WRITER = """
import sys
sys.path.insert(0, "tests")
from perps_kit.backtest.ledger import Ledger
from test_ledger import trial
ledger = Ledger(sys.argv[1])
for k in range(int(sys.argv[2]), int(sys.argv[3])):
    ledger.add(trial(k))
    print(k, flush=True)
"""


def writer(url: str, first: int, last: int) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", WRITER, url, str(first), str(last)], stdout=subprocess.PIPE, text=True)


def test_kill_9_loses_nothing_that_was_written(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    child = writer(url, 0, 10**6)
    assert child.stdout
    told = [int(child.stdout.readline()) for _ in range(40)]
    child.send_signal(signal.SIGKILL)
    told += [int(line) for line in child.stdout.read().splitlines() if line]
    child.wait()
    found = [t.parameters["ema_scalper"]["fast"] for t in Ledger(url).trials()]
    assert set(told) <= set(found) <= {*told, told[-1] + 1} and len(found) == len(set(found))
    with sqlite3.connect(tmp_path / "x.db") as db: assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert Ledger(url).add(trial(-1)) == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_writers_at_the_same_moment_count_right(kind, tmp_path):
    url = f"sqlite:///{tmp_path}/x.db" if kind == "sqlite" else new_database()
    children = [writer(url, 0, 25), writer(url, 0, 25), writer(url, 15, 40)]
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    found = Ledger(url).trials()
    assert len(found) == 40 and sum(t.times for t in found) == 75
    assert {t.parameters["ema_scalper"]["fast"]: t.times for t in found} == {k: 2 * (k < 25) + (k >= 15) for k in range(40)}


def test_a_full_disk_is_one_sentence_and_what_was_written_stays(tmp_path):
    book = Ledger(tmp_path / "x.db")
    book.add(trial(0))
    book.close()

    @event.listens_for(book.engine, "connect")
    def small(connection, _): connection.execute("PRAGMA max_page_count=40")
    noise, written = np.random.default_rng(1), 1
    with pytest.raises(LedgerError, match=r"full.*PERPS_LEDGER"):
        for written in range(1, 1000): book.add(trial(written, daily=noise.normal(size=500)))
    assert 1 < written < 100
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert noted(book, trial(written, daily=noise.normal(size=500))) is None
    told = [str(one.message) for one in heard if not issubclass(one.category, ResourceWarning)]     # those are of tests before
    assert len(told) == 1 and "1 trial was not kept" in told[0] and "\n" not in told[0]
    assert [t.parameters["ema_scalper"]["fast"] for t in Ledger(tmp_path / "x.db").trials()] == list(range(written))


def test_off_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for off in ("off", "OFF"):
        monkeypatch.setenv("PERPS_LEDGER", off)
        book = Ledger()
        assert not book and book.add(trial()) == 0 and book.trials() == [] and book.count() == 0 and book.variance() == 0.0
    assert not os.listdir(tmp_path)


def test_its_usual_place_is_made_when_something_is_written(tmp_path, root):
    code = """if True:
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from perps_kit.backtest.ledger import Ledger
        from test_ledger import trial
        assert Ledger().count() == 0 and not os.listdir(".")
        print(Ledger().add(trial()), os.listdir("var"))"""
    environ = {name: x for name, x in os.environ.items() if name != "PERPS_LEDGER"} | dict(PYTHONPATH=str(root))
    done = subprocess.run([sys.executable, "-c", code, str(root / "tests")], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.stdout.startswith("1 ['research.db'"), done.stderr


@pytest.mark.parametrize("url", ["nonsense://x", "sqlite:////proc/nowhere/x.db", "postgresql://nobody@127.0.0.1:1/none"])
def test_what_cannot_be_used_is_one_sentence(url):
    with pytest.raises(LedgerError, match="PERPS_LEDGER") as said: Ledger(url).add(trial())
    assert "\n" not in str(said.value)


def test_a_password_is_never_told():
    with pytest.raises(LedgerError) as said: Ledger("postgresql://me:geheim@127.0.0.1:1/none").add(trial())
    assert "geheim" not in str(said.value)


def test_addresses():
    assert address("x/y.db") == "sqlite:///x/y.db" and address("sqlite:///x.db") == "sqlite:///x.db"
    assert address("postgres://a/b") == address("postgresql://a/b") == "postgresql+psycopg://a/b"


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "x.db").write_text("this is no database at all, it only looks like a file " * 40)
    with pytest.raises(LedgerError, match="not a database"): Ledger(tmp_path / "x.db").trials()


def test_every_number_of_the_candles_counts():
    bars = sample_bars("SOLUSDT")[:200]
    seen = {data_hash(bars)}
    for name in COLUMNS:
        column = getattr(bars, name).copy()
        column[77] = ~column[77] if column.dtype == bool else column[77] + 1
        seen.add(data_hash(replace(bars, **{name: column})))
    seen |= {data_hash(replace(bars, symbol="X")), data_hash(replace(bars, minutes=5)), data_hash(bars[1:]), data_hash({})}
    assert len(seen) == len(COLUMNS) + 5


def test_settlements_count_only_within_the_candles():
    bars, paid = sample_bars("SOLUSDT")[3000:4000], sample_funding("SOLUSDT")
    inside = paid[(paid.time >= bars.open_time[0]) & (paid.time < bars.close_time[-1])]
    hashes = [data_hash({"SOLUSDT": bars}, {"SOLUSDT": x} if x is not None else None) for x in (paid, inside, inside[1:], None)]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3 and 0 < len(inside) < len(paid)


def test_the_code_stamp_follows_the_strategy_and_not_its_parameters_and_is_the_same_elsewhere():
    mine = code_stamp([EmaScalper(), Pullback()])
    assert mine == code_stamp([Pullback(), EmaScalper(fast=3)]) != code_stamp([EmaScalper()]) != code_stamp([Pullback()])
    code = "from perps_kit.backtest.ledger import code_stamp\nfrom perps_kit.strategies.ema_scalper import EmaScalper\n"
    code += "print(code_stamp([EmaScalper()]))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env=os.environ | dict(PYTHONHASHSEED="7")).stdout.strip()
    assert there == code_stamp([EmaScalper()])


def test_the_code_stamp_reaches_the_gates_and_the_loop():
    code = """if True:
        from perps_kit.scoring import gates
        from perps_kit.backtest import run
        import sys
        if sys.argv[1] == "gates": gates.judge_all.__code__ = (lambda found, named, pipeline, book, market=None, explain=False: []).__code__
        if sys.argv[1] == "walk": run.walk.__code__ = (lambda *a, **k: None).__code__
        from perps_kit.backtest.ledger import code_stamp
        from perps_kit.strategies.ema_scalper import EmaScalper
        print(code_stamp([EmaScalper()]))"""
    command = [sys.executable, "-c", code]
    said = [subprocess.run([*command, what], capture_output=True, text=True, check=True).stdout for what in ("", "gates", "walk")]
    assert len(set(said)) == 3


values = st.recursive(st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats() | st.text(max_size=5),
                      lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4), max_leaves=12)


@given(st.dictionaries(st.text(max_size=4), values, max_size=5))
def test_equal_values_have_one_text(x):
    turned = dict(reversed(list(x.items())))
    assert text_of(x) == text_of(turned) and digest(x) == digest(turned) and simple(simple(x)) == simple(x)


def test_settings_hold_what_matters():
    usual = settings_of()
    assert settings_of(pipeline=None) != usual != settings_of(Rules(entry_bp=3.0)) and settings_of(pipeline=Pipeline(minimum=61.0)) != usual
    assert settings_of(ticks=dict(A=0.1, B=0.2), symbols=["A"]) == settings_of(ticks=dict(A=0.1))


def test_a_backtest_becomes_a_trial():
    bars, it = {"SOLUSDT": sample_bars("SOLUSDT")}, EmaScalper()
    page = report(backtest(it, bars))
    made = trial_of(page, it, bars)
    assert made.family == "ema_scalper" and made.metrics["trades"] == page.trades.n and made.parameters["ema_scalper"]["fast"] == 9
    assert made.daily is not None and len(made.daily) == page.equity.days
    assert abs(sharpe_day(made.daily) * 365**0.5 - page.equity.sharpe) < 1e-12
    assert (made.begin, made.end) == (int(bars["SOLUSDT"].open_time[0]), int(bars["SOLUSDT"].close_time[-1]))
