"`perps-kit units` and `perps-kit backtest`: what they say, and one sentence with exit code 2 for what they cannot use."

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from perps_kit.core.bar import Bars
from perps_kit.core.registry import entries
from perps_kit.data.files import write_bars
from perps_kit.data.sample import sample_bars, sample_root
from runners import listing
from runners.cli import main


@pytest.fixture
def say(capsys, monkeypatch):
    "Run the program in this process; its exit code, standard output and standard error."

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["perps-kit", *map(str, words)])
        with pytest.raises(SystemExit) as end: main()
        found = capsys.readouterr()
        return int(end.value.code or 0), found.out, found.err
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    "A short file of sound candles, a corrupt one, an unsorted one, one of hourly candles, an empty one."
    where, bars = tmp_path_factory.mktemp("candles"), sample_bars("SOLUSDT")[:300]
    write_bars(bars, where / "SOLUSDT-15m.csv")
    (where / "broken.parquet").write_bytes(b"PAR1 this is no table PAR1")
    (where / "broken.csv").write_text("<html>try again later</html>\n")
    (where / "empty.csv").write_text("")
    order = np.r_[0:100, 150:200, 100:150, 200:300]
    write_bars(bars[order], where / "ETHUSDT-15m.parquet")
    hourly = Bars("BTCUSDT", 60, bars.open_time * 4 - int(bars.open_time[0]) * 3, *bars.columns()[1:])
    write_bars(hourly, where / "BTCUSDT-1h.parquet")
    return where


def test_one_unit_is_told_with_its_ranges_inputs_and_outputs(say):
    code, out, _ = say("units", "structure")
    assert code == 0 and all(word in out for word in ("structure", "swings.kind", "trend", "wick"))
    facts = json.loads(say("units", "ema", "--json")[1])
    assert facts["parameters"] == [dict(name="n", type="int", default=20, low=1, high=1000)]
    assert facts["outputs"] == ["a number"] and facts["inputs"] == dict(ema=dict(unit="EMA", inputs=["close"], minutes=0))
    assert "steps on rows of funding" in say("units", "funding_rate")[1]
    told = json.loads(say("units", "ema_scalper", "--json")[1])
    assert told["inputs"]["zones"]["unit"] == "Zones" and not told["outputs"]
    for name in ("ladder", "resample"): assert say("units", name)[0] == 0


def test_units_are_listed_with_kind_warm_up_module_and_notebook(say, monkeypatch):
    code, out, _ = say("units")
    assert code == 0
    lines = {line.split()[1]: line for line in out.splitlines()[1:]}
    assert lines.keys() == {e.name for e in entries()}
    for part in ("indicator", " 15 ", "perps_kit.indicators.atr", "nbs/20_indicators/30_atr.ipynb", "Average true range"):
        assert part in lines["atr"]
    assert "4000" in lines["ema_scalper"]


def test_a_unit_without_defaults_has_no_warm_up():
    warm = {row["name"]: row["warmup"] for row in listing.listed()}
    assert warm["resample"] is None and warm["ladder"] is None and warm["rsi"] == 15 and warm["swings"] == 11
    assert {row["kind"] for row in listing.listed("indicator")} == {"indicator"}


@pytest.mark.parametrize("width", [60, 100, 120, 200])
def test_a_unit_takes_one_line_in_any_terminal_that_holds_it(width):
    from rich.console import Console

    from runners.listing_tables import units
    console = Console(width=width, record=True, file=open("/dev/null", "w"))
    console.print(units(listing.listed(), width))
    lines = console.export_text().rstrip().splitlines()
    assert len(lines) == len(entries()) + 1 and max(map(len, lines)) <= width


def test_a_backtest_shows_figures_intervals_bounds_and_its_doubts(say):
    code, out, err = say("backtest", "--symbol", "SOLUSDT", "--symbol", "ETHUSDT", "--trades")
    assert code == 0 and not err.strip()
    for part in ("ema_scalper  unproven", "win rate", "expectancy, net", "profit factor", "Sharpe, daily", "drawdown", "session", "SOLUSDT",
                 "stop first (pessimistic)", "target first (optimistic)", "1 configuration tried", "trades; 200 are", "in sample"):
        assert part in out, part
    row = next(line for line in out.splitlines() if line.startswith("2026-07-05 12:15"))
    assert "TP2_BE" in row and "+0.58" in row


def test_the_answer_for_machines_is_strict_json(say):
    code, out, _ = say("backtest", "--symbol", "SOLUSDT", "--json")
    found = json.loads(out, parse_constant=lambda x: pytest.fail(f"{x} is no JSON"))
    assert code == 0 and found["label"] == "unproven" and found["trials"] == 1 and found["stats"]["n"] == len(found["trades"]) == 7
    assert found["stats"]["expectancy_interval"]["low"] is None and "interval" in found["undefined"]["expectancy_interval"]
    low, high = found["bounds"]["stop_first"], found["bounds"]["target_first"]
    assert low["total_r"] <= high["total_r"] and found["unpaid_funding"] == {"SOLUSDT": 0}
    assert sum(s["n"] for s in found["groups"]["side"].values()) == 7 and found["basis"]["compounding"] is False
    assert {"entry", "stop", "exit", "exit_type", "net_r"} <= found["trades"][0].keys()


def test_parameters_change_the_strategy(say):
    code, out, _ = say("backtest", "-s", "SOLUSDT", "-p", "surge=3", "--param", "fast=7", "--json")
    found = json.loads(out)
    assert code == 0 and (found["parameters"]["surge"], found["parameters"]["fast"]) == (3.0, 7) and found["stats"]["n"] < 9


@pytest.mark.parametrize("as_json", [True, False])
def test_a_span_without_a_trade_is_an_answer_too(say, recwarn, as_json):
    code, out, _ = say("backtest", "-s", "SOLUSDT", "--start", "2026-10-01", *(["--json"] if as_json else []))
    assert code == 0 and not recwarn.list
    if as_json:
        found = json.loads(out)
        assert found["stats"]["win_rate"] is None and found["undefined"]["win_rate"] == "no trades"
        assert found["too_short"] == {"SOLUSDT": 2880}
    else: assert "no trades; 200 are asked for" in out and "2880 bars, the strategy first speaks at bar 4000" in out


def test_missing_funding_is_told(say, folder):
    code, out, _ = say("backtest", "--data", folder / "SOLUSDT-15m.csv")
    assert code == 0 and "no funding series of SOLUSDT" in out


def refused(answer: tuple[int, str, str], *told: str) -> None:
    code, out, err = answer
    assert code == 2 and not out and err.startswith("perps-kit: ") and err.count("\n") == 1, (code, out, err)
    for text in told: assert text in err, err


@pytest.mark.parametrize(("words", "told"), [
    (["backtest", "-s", "NOPEUSDT"], ["NOPEUSDT", "BTCUSDT"]),
    (["backtest", "--strategy", "ema_scalpr"], ["did you mean 'ema_scalper'?"]),
    (["backtest", "-p", "surg=2"], ["did you mean 'surge'?"]),
    (["backtest", "-p", "surge=99"], ["surge = 99.0 is outside 0.0 to 10.0"]),
    (["backtest", "-p", "fast=9.5"], ["fast = 9.5 is not a whole number"]),
    (["backtest", "-p", "surge=much"], ["name=value"]),
    (["backtest", "-p", "surge=nan"], ["surge", "not a number"]),
    (["backtest", "--start", "yesterday"], ["yesterday"]),
    (["backtest", "--start", "2030-01-01"], ["in the time asked for"]),
    (["backtest", "--data", "nowhere/at/all"], ["nowhere/at/all", "no such file"]),
    (["units", "--kind", "indicatr"], ["did you mean indicator?"]),
    (["units", "swing"], ["did you mean swings?"]),
    (["units", "qqqqq"], ["`perps-kit units` lists them"]),
    (["parity", "-s", "NOPEUSDT"], ["NOPEUSDT"]),
], ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_what_cannot_be_used_is_refused_in_one_sentence(say, words, told): refused(say(*words), *told)


@pytest.mark.parametrize(("name", "told"), [
    ("broken.parquet", "broken.parquet"), ("broken.csv", "broken.csv"), ("empty.csv", "empty.csv"), ("BTCUSDT-1h.parquet", "1h"),
    ("ETHUSDT-15m.parquet", "perps-kit data check"),
])
def test_bad_files_are_refused_in_one_sentence(say, folder, name, told):
    refused(say("backtest", "--data", folder / name, *(["-s", "SOLUSDT"] if name.startswith(("broken", "empty")) else [])), told)


def test_an_empty_store_is_refused(say, tmp_path): refused(say("backtest", "--data", tmp_path), str(tmp_path), "candles")


def test_a_store_without_the_symbols_rules_still_works(say, folder, tmp_path):
    (tmp_path / "store").mkdir()
    write_bars(sample_bars("SOLUSDT")[:4500], tmp_path / "store" / "SOLUSDT-15m.parquet")
    code, out, _ = say("backtest", "--data", tmp_path / "store", "--json")
    assert code == 0 and json.loads(out)["symbols"] == ["SOLUSDT"] and sample_root().is_dir()


def test_a_strategy_that_is_off_by_itself_trades_where_it_is_named(say):
    code, out, _ = say("backtest", "--strategy", "gluk", "--symbol", "SOLUSDT", "--json")
    assert code == 0 and json.loads(out)["trades"]


@pytest.mark.parametrize("entry", entries(), ids=lambda e: f"{e.kind} {e.name}")
def test_all_about_every_unit_can_be_told(entry):
    facts = listing.described(entry.name)
    assert facts["module"] == entry.module and bool(facts["outputs"]) == (hasattr(entry.cls, "update") and not hasattr(entry.cls, "decide"))


@pytest.mark.parametrize("words", [("performance",), ("account", "list")], ids=" ".join)
def test_a_question_makes_no_database(say, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERPS_DATABASE", f"sqlite:///{tmp_path}/none.db")
    code, _, err = say(*words)
    assert code == 2 and "there is no database at" in err and not list(tmp_path.iterdir())
