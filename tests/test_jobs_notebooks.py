"Every job over nothing and over something: it ends well, records what direct calls give, and changes nothing that it should not."

import asyncio
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from html import escape
from math import isclose, isnan
from pathlib import Path

import nbformat
import numpy as np
import papermill
import pytest
import yaml

from perps_kit.backtest.explain import explain
from perps_kit.backtest.lanes import lanes
from perps_kit.backtest.ledger import Ledger
from perps_kit.backtest.run import walk
from perps_kit.backtest.walk_forward import Plan, walk_forward
from perps_kit.core.clock import DAY, HOUR, iso
from perps_kit.data.sample import sample_bars, sample_funding, sample_root
from perps_kit.data.series import check
from perps_kit.risk.memory import Memory
from perps_kit.scoring.book import Book
from perps_kit.storage.candles import CandleStore
from perps_kit.storage.keep import insert_new
from perps_kit.storage.models import Account, Candle, SignalRow, Tracker, TrackerEvent
from perps_kit.strategies.ema_scalper import EmaScalper
from perps_kit.trackers.outcome import result_class
from runners.db.connect import open_database
from runners.download import Caller
from runners.errors import ConfigError
from runners.jobs.catalog import find, missing, names
from runners.jobs.launch import launch
from runners.jobs.page import export
from runners.jobs.record import recorded
from runners.jobs.weekly import wished_of
from runners.live.service import pipeline_of
from runners.settings import load
from runners.venue.certificate import make_certificate
from runners.venue.data import read_filters

SYMBOLS = ("BTCUSDT", "SOLUSDT", "XRPUSDT")
BARS = {s: sample_bars(s)[-8000:] for s in SYMBOLS}
END = int(BARS["BTCUSDT"].close_time[-1])
DAYS, PAST = 28.0, 40.0
SINCE = END - round(DAYS * DAY)
RESEARCH = ("refit",)
LEAN = tuple(name for name in names() if name not in RESEARCH)
BLOCKED = "import sys\nsys.modules.update(dict.fromkeys({names}))\n"
RESEARCH_ONLY = (
    "numba",
    "pandas",
    "scipy",
    "sklearn",
    "statsmodels",
    "ipykernel",
    "ipywidgets",
    "comm",
    "dask",
    "optuna",
    "backtesting",
    "matplotlib",
)


def run(name: str, folder: Path, **given) -> dict:
    "A job's values and its page, run in this process."
    job = find(name)
    known = {p.name for p in job.parameters}
    papermill.execute_notebook(
        job.path, folder / f"{name}.ipynb", {k: v for k, v in given.items() if k in known}, engine_name="inprocess", progress_bar=False
    )
    page = export(folder / f"{name}.ipynb", folder / f"{name}.html").read_text().rpartition("</head>")[2]
    return {"page": page, **recorded(nbformat.read(folder / f"{name}.ipynb", 4))}


def settings_file(folder: Path, **more) -> Path:
    told = dict(
        database=f"sqlite:///{folder}/perps.db",
        symbols=list(SYMBOLS),
        strategies=dict(ema_scalper=dict(surge=0.8), pullback={}),
        gates=dict(minimum=0),
        **more,
    )
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PERPS_") and name != "PERPS_CACHE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PERPS_LEDGER", f"sqlite:///{tmp_path}/ledger.db")


@pytest.fixture
def empty(tmp_path) -> dict:
    "A new database and no candles at all."
    asyncio.run(emptied(f"sqlite:///{tmp_path}/perps.db"))
    return dict(settings=str(settings_file(tmp_path)), store=str(tmp_path / "candles"), download=False)


async def emptied(url: str) -> None:
    await (await open_database(url)).close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> dict:
    "A store of three symbols, and a database with the backtest's signals but for one that is missing, one too many and costlier exits."
    folder = tmp_path_factory.mktemp("filled")
    store = CandleStore(folder / "candles")
    for symbol in SYMBOLS:
        store.append(BARS[symbol])
        store.append_funding(sample_funding(symbol))
    shutil.copy(sample_root() / "symbols.json", folder / "candles")
    path = settings_file(folder)
    told = load(path, environ={})
    trades = direct(told)
    asyncio.run(fill(told.database, trades))
    return dict(
        settings=str(path),
        store=str(folder / "candles"),
        until=iso(END).replace(" ", "T"),
        days=DAYS,
        past=PAST,
        folder=folder,
        trades=trades,
    )


def direct(told) -> list:
    "The backtest as a researcher runs it."
    paid = {s: f[(f.time >= BARS[s].open_time[0]) & (f.time < END)] for s in SYMBOLS for f in [sample_funding(s)]}
    ticks = {s: f.tick for s, f in read_filters(sample_root() / "symbols.json").items()}
    found = lanes(wished_of(told), BARS, paid)
    return walk(found, pipeline_of(told), ticks=ticks, book=Book(memory=Memory.of(told.memory.terms))).trades


async def fill(url: str, trades: list) -> None:
    database = await open_database(url)
    async with database.write() as session:
        session.add(Account(id=1, name="paper", venue="binanceusdm", mode="paper", currency="USDT", start_balance=10_000.0, created_at=1))
        number, kept = 0, [t for t in trades if t.outcome and not t.outcome.marked][1:]
        for t in [*kept, None]:
            source, id = t or kept[-1], t.id if t else "f" * 32
            c, o = source.candidate, source.outcome
            session.add(
                SignalRow(
                    id=id,
                    venue="binanceusdm",
                    strategy=c.strategy,
                    symbol=c.symbol,
                    side=c.signal.side,
                    mode="CROSS",
                    minutes=c.minutes,
                    close_time=c.time,
                    entry=c.signal.entry,
                    stop=o.entry - c.signal.side * o.risk,
                    preset="TRIPLE",
                    targets=[1, 2, 3],
                    multiples=[0.8, 1.2, 1.5],
                    atr=1.0,
                    raw=7.0,
                    score=source.final,
                    final=source.final,
                    probability=0.6 if o.result == "WIN" else 0.3,
                    components={},
                    warm=True,
                    origin=0,
                    status="closed",
                    created_at=c.time,
                )
            )
            await session.flush()
            for account, worse in ((None, 0.0), (1, 0.1)):
                number += 1
                session.add(
                    Tracker(
                        id=number,
                        signal_id=id,
                        account_id=account,
                        state="CLOSED",
                        ladder="{}",
                        stop=o.entry,
                        trailing_peak_price=1.0,
                        quantity=1.0,
                        quantity_left=0.0,
                        last_bar_time=c.time,
                        exit_type="SL",
                        gross_r=o.gross_r,
                        gross_percent=0.0,
                        closed_at=o.exit_time,
                        net_percent=100 * (o.net_r - 0.25) * o.risk / o.entry,
                    )
                )
                await session.flush()
                price = o.entry + c.signal.side * worse * o.risk
                session.add(TrackerEvent(tracker_id=number, time=c.time, kind="entry", price=price, weight=1.0, detail={}))
        b = BARS["BTCUSDT"][-50:]
        rows = [
            dict(venue="binanceusdm", symbol="BTCUSDT", minutes=15, **{k: v for k, v in bar._asdict().items() if k != "close_time"})
            for bar in b
        ]
        await insert_new(session, Candle, rows)
    await database.close()


@pytest.mark.parametrize("name", names())
def test_with_nothing_to_report_a_job_says_so_and_is_done(name, empty, tmp_path):
    found = run(name, tmp_path, **empty)
    assert not {"signals", "symbols", "series", "trades"} & {k for k, v in found.items() if v}
    said = {
        "daily_report": "The database is empty",
        "weekly_review": "There is nothing to review yet",
        "data_sync": "is empty, and nothing was asked for",
        "refit": "There are not enough candles",
        "market_scan": "There are no candles yet",
        "funding_report": "There are no settlements",
    }
    assert said[name] in found["page"] and "output_error" not in found["page"] and "Traceback" not in found["page"]
    assert sorted(set(os.listdir(tmp_path)) - {f"{name}.ipynb", f"{name}.html", "perps.db", "settings.yaml", "proposal.yaml"}) == []


def test_the_review_counts_what_differs_from_the_backtest(filled, tmp_path):
    found = run("weekly_review", tmp_path, **{k: v for k, v in filled.items() if k not in ("folder", "trades")})
    test = [t for t in filled["trades"] if SINCE <= t.candidate.time < END]
    over = [t for t in test if t.outcome and not t.outcome.marked]
    assert len(over) >= 10, "the sample has too few trades for this test"
    first = next(t for t in filled["trades"] if t.outcome and not t.outcome.marked)
    lost = first.candidate.time >= SINCE
    live = [t.outcome for t in over[lost:]] + [over[-1].outcome]
    assert (found["backtest_signals"], found["signals"], found["both"]) == (len(test), len(live), len(live) - 1)
    assert (found["only_live"], found["only_backtest"]) == (1, len(test) - len(over) + lost)
    r = [o.net_r - 0.25 for o in live]
    assert isclose(found["expectancy"], np.mean(r)) and isclose(found["backtest_expectancy"], np.mean([t.outcome.net_r for t in over]))
    assert isclose(found["difference"], np.mean(r) - np.mean([t.outcome.net_r for t in over]))
    wins = [o.result == "WIN" for o in live]
    assert (
        isclose(found["hit_rate"], np.mean(wins)) and found["hit_difference_interval"]["low"] < 0 < found["hit_difference_interval"]["high"]
    )
    assert isclose(found["slippage_r"], 0.1, rel_tol=1e-6) and found["slippage_entries"] == len(live)
    assert any("not in the backtest" in text for text in found["look_at"]) and any(
        "R worse than the reference" in text for text in found["look_at"]
    )
    ended = [t.outcome for t in filled["trades"] if t.outcome and not t.outcome.marked and t.candidate.time >= SINCE - PAST * DAY][
        0 if first.candidate.time < SINCE - PAST * DAY else 1 :
    ]
    ended.append(ended[-1])
    p = [0.6 if o.result == "WIN" else 0.3 for o in ended]
    assert found["calibrated"] == len(ended) and isclose(
        found["brier"], np.mean([(a - (result_class(o.gross_r) == "WIN")) ** 2 for a, o in zip(p, ended)])
    )
    assert "embed_items_notebook" in found["page"] and "published, not in the backtest" in found["page"]


def test_the_scan_says_what_explain_says(filled, tmp_path):
    close = filled["trades"][-1].candidate.time
    bars = {s: b[b.close_time <= close] for s, b in BARS.items()}
    store = CandleStore(tmp_path / "candles")
    for symbol in SYMBOLS:
        store.append(bars[symbol])
        store.append_funding(sample_funding(symbol))
    shutil.copy(sample_root() / "symbols.json", store.root)
    found = run("market_scan", tmp_path, settings=filled["settings"], store=str(store.root), database="none")
    told, said = load(Path(filled["settings"]), environ={}), set()
    paid, ticks = {s: sample_funding(s) for s in SYMBOLS}, {s: f.tick for s, f in read_filters(sample_root() / "symbols.json").items()}
    for symbol in SYMBOLS:
        for answer in explain(symbol, close, bars, wished_of(told), pipeline_of(told), funding=paid, ticks=ticks):
            name = f"{answer.strategy} {symbol}"
            said.add(answer.outcome)
            assert (name in found["published"], name in found["rejected"]) == (answer.outcome == "published", answer.outcome == "rejected")
            assert answer.outcome == "warming" or escape(answer.said, quote=True) in found["page"]
    assert "published" in said and found["ranking"][0] == filled["trades"][-1].symbol
    assert found["time"] == iso(close) and sorted(found["ranking"]) == sorted(SYMBOLS) and found["symbols"] == 3


def test_funding_figures_are_those_of_the_series(filled, tmp_path):
    found = run("funding_report", tmp_path, settings=filled["settings"], store=filled["store"], days=30.0)
    for symbol in SYMBOLS:
        f = sample_funding(symbol)
        last = int(max(sample_funding(s).time[-1] for s in SYMBOLS))
        inside = f[(f.time >= last - 30 * DAY) & (f.time <= last)]
        assert isclose(found["yearly"][symbol], inside.rate[-1] * 3 * 365)
        below = (inside.rate[:-1] < inside.rate[-1]).sum() + 0.5 * (inside.rate[:-1] == inside.rate[-1]).sum()
        assert isclose(found["percentile"][symbol], below / (len(inside) - 1)) and found["next"][symbol] == iso(int(f.time[-1]) + 8 * HOUR)
    assert found["symbols"] == 3 and found["page"].count("embed_items_notebook") == 1


def test_a_gap_in_the_store_is_shown_and_counted(tmp_path):
    store = CandleStore(tmp_path / "candles")
    holed = BARS["SOLUSDT"][np.r_[0:300, 306:900]]
    store.append(holed)
    store.append(BARS["BTCUSDT"][:900])
    funding = sample_funding("SOLUSDT")
    store.append_funding(funding[np.r_[0:5, 7:20]])
    found = run("data_sync", tmp_path, settings=str(settings_file(tmp_path)), store=str(store.root), download=False)
    assert found["missing"] == check(holed).missing == 6 and found["faulty"] == ["SOLUSDT 15m"] and found["sound"] is False
    assert found["rows"] == 894 + 900 and found["series"] == 2 and found["missing_settlements"] == 2
    assert "6 missing before it" in found["page"] and "Settlements missing: 2 of SOLUSDT" in found["page"]


def test_a_sync_fetches_what_is_missing_and_says_what_failed(tmp_path):
    path = settings_file(tmp_path, venue=dict(replay=dict(data=str(sample_root()), start="2026-06-20")))
    store = CandleStore(tmp_path / "candles")
    given = dict(settings=str(path), store=str(store.root), days=4.0, symbols="BTCUSDT,NOPEUSDT,SOLUSDT")
    first, second = run("data_sync", tmp_path, **given), None
    assert (
        first["asked"] == 6
        and len(first["failed"]) == 2
        and all("NOPEUSDT" in text for text in first["failed"])
        and first["sound"] is False
    )
    held = {s: store.read(s, "15m") for s in ("BTCUSDT", "SOLUSDT")}
    assert first["rows"] == sum(map(len, held.values())) == 2 * 384 and first["stored"] == 2 * (384 + 12)
    whole = sample_bars("SOLUSDT")
    assert np.array_equal(held["SOLUSDT"].close, whole.close[np.isin(whole.open_time, held["SOLUSDT"].open_time)])
    second = run("data_sync", tmp_path, **{**given, "symbols": "BTCUSDT,SOLUSDT"})
    assert second["stored"] == second["received"] == 0 and second["sound"] is True and second["rows"] == first["rows"]


def test_a_sync_without_an_exchange_ends_well_and_stops_asking(tmp_path, monkeypatch):
    attach = tmp_path / "venue.json"
    certificate, _ = make_certificate(tmp_path)
    attach.write_text(json.dumps(dict(port=9, certificate=str(certificate))))
    path = settings_file(tmp_path, venue=dict(replay=dict(attach=str(attach))))
    monkeypatch.setattr("runners.jobs.sync.Caller", partial(Caller, tries=1))
    found = run("data_sync", tmp_path, settings=str(path), store=str(tmp_path / "candles"), days=1.0)
    assert found["asked"] == 6 and len(found["failed"]) == 6 and found["requests"] == 0
    assert "gives no answer" in found["failed"][0] and all("not asked" in text for text in found["failed"][1:])


def test_a_refit_proposes_in_a_file_and_applies_nothing(filled, tmp_path):
    before = tree(filled["folder"])
    given = dict(settings=filled["settings"], store=filled["store"], vary="fast=7,9 surge=0.8,1.2", train=40.0, test=14.0, least=3)
    found = run("refit", tmp_path, **given)
    assert tree(filled["folder"]) == before, "a re-fit changed settings, database or candles"
    told = yaml.safe_load((tmp_path / "proposal.yaml").read_text())
    assert (
        found["proposal"] == "proposal.yaml"
        and told["applied"] is found["applied"] is False
        and "Nothing has been applied" in found["page"]
    )
    assert told["verdict"] == found["verdict"] == "keep" and told["current"]["surge"] == 0.8 and found["sets"] == 4
    assert told["evidence"]["trials"] == Ledger().count("ema_scalper") == found["trials"] >= 4
    sets = [dict(told["current"], **more) for more in ({}, dict(fast=7), dict(fast=7, surge=1.2), dict(surge=1.2))]
    held = CandleStore(Path(filled["store"]))
    bars, paid = {s: held.read(s, "15m") for s in SYMBOLS}, {s: held.read_funding(s) for s in SYMBOLS}
    ticks = {s: f.tick for s, f in read_filters(sample_root() / "symbols.json").items()}
    pipeline = pipeline_of(load(Path(filled["settings"]), environ={}))
    run_ = walk_forward(
        EmaScalper, sets, bars, paid, ticks, plan=Plan(40, 14, 14, least=3), seed=1, ledger=Ledger("off"), pipeline=pipeline
    )
    out = told["evidence"]["out_of_sample"]
    assert out["trades"] == run_.page.trades.n > 0 and isclose(out["expectancy"], run_.page.trades.expectancy)
    assert (told["evidence"]["probability_of_overfitting"] or 0) == (0 if isnan(run_.overfitting) else run_.overfitting)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_jobs_without_extras_run_on_what_a_service_has_installed(empty, filled, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCKED.format(names=repr(RESEARCH_ONLY)))
    code = (
        "import json, sys, papermill\nfrom pathlib import Path\nfrom runners.jobs.catalog import find\n"
        "for name, given in json.loads(sys.argv[1]):\n"
        "    job = find(name)\n    known = {p.name for p in job.parameters}\n"
        "    told = {k: v for k, v in given.items() if k in known}\n"
        "    papermill.execute_notebook(job.path, name + '.ipynb', told, engine_name='inprocess', progress_bar=False)\n"
        f"print(sorted(name for name in {RESEARCH_ONLY!r} if sys.modules.get(name)))"
    )
    over = {k: v for k, v in filled.items() if k not in ("folder", "trades")} | dict(download=False, candles=600, days=2.0)
    jobs = [(name, given) for given in (empty, over) for name in LEAN]
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(jobs)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{root}"},
    )
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr[-3000:]


def test_a_missing_extra_is_one_sentence(monkeypatch, tmp_path):
    from importlib.metadata import PackageNotFoundError

    from runners.jobs import catalog

    assert missing(find("daily_report")) == "" and find("refit").extras == ("research",)

    def gone(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(catalog, "distribution", gone)
    catalog.installed.cache_clear()
    assert missing(find("refit")) == "refit needs the research extra: pip install 'perps_kit[research]'"
    with pytest.raises(ConfigError, match="refit needs the research extra"):
        launch(find("refit"), [], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    catalog.installed.cache_clear()
    with pytest.raises(ConfigError, match="no extra named 'resaerch'"):
        catalog.installed("resaerch")
