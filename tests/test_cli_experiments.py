"The commands of experiments: answers, files, exit codes, one sentence for what cannot be used, and a ledger that remembers."

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from perps_kit.backtest.ledger import Ledger
from perps_kit.data.files import write_bars
from perps_kit.data.sample import sample_bars
from runners.cli import main

GRID = ("-p", "fast=7..9:2", "-p", "surge=0.8,1.2", "-s", "SOLUSDT", "-s", "ETHUSDT")


@pytest.fixture
def say(capsys, monkeypatch):
    "Run the program in this process; its exit code, standard output and standard error."

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["perps-kit", *map(str, words)])
        with pytest.raises(SystemExit) as end: main()
        found = capsys.readouterr()
        return int(end.value.code or 0), found.out, found.err
    return run


def strict(text: str):
    return json.loads(text, parse_constant=lambda x: pytest.fail(f"{x} is no JSON"))


def test_a_grid_is_swept_ranked_and_remembered(say, tmp_path):
    code, out, err = say("sweep", *GRID, "--least", 5, "--html", tmp_path / "p" / "x.html")
    assert code == 0 and not err.strip() and "4 sets tried on 2 symbols" in out and "4 configurations of ema_scalper in the ledger" in out
    page = (tmp_path / "p" / "x.html").read_text()
    assert "multi_line" in page.lower() or "MultiLine" in page
    assert not re.search(r"<(script|link)[^>]+(src|href)=", page)          # works without a network
    code, out, err = say("sweep", *GRID, "--least", 5, "--json", "--by", "total_r")
    found = strict(out)
    assert code == 0 and not err and found["tried"] == 4 == found["configurations"]
    totals = [row["total_r"] for row in found["sets"] if row["enough"]]
    assert totals == sorted(totals, reverse=True) and {row["parameters"]["fast"] for row in found["sets"]} == {7, 9}
    assert [t.times for t in Ledger().trials()] == [2] * 4


def test_workers_seeds_and_gates(say):
    draw = ("sweep", "--random", 6, "-p", "fast=5..20", "-p", "surge=0.8..2", "-s", "SOLUSDT", "--json", "--least", 1)
    one = say(*draw, "--workers", 1)[1]
    assert one == say(*draw, "--workers", 2, "--anew")[1] != say(*draw, "--seed", 2)[1]
    open_, gated = (strict(say("sweep", *GRID, "--json", *more)[1]) for more in ((), ("--gates",)))
    assert sum(r["trades"] for r in gated["sets"]) < sum(r["trades"] for r in open_["sets"])
    alone = strict(say("backtest", "-p", "fast=9", "-p", "surge=1.2", *GRID[4:], "--json")[1])
    mine, = (r for r in gated["sets"] if r["parameters"] == dict(fast=9, surge=1.2))
    assert mine["trades"] == alone["stats"]["n"] and mine["total_r"] == pytest.approx(alone["stats"]["total_r"])


def test_optuna_goes_on(say):
    ask = ("sweep", "--optuna", 20, "-p", "fast=5..20", "-p", "surge=0.8..2", "-s", "SOLUSDT", "--json", "--least", 3, "--by", "total_r")
    first = say(*ask)
    assert first[0] == 0 and not first[2] and say(*ask)[1] == first[1] and 16 < strict(first[1])["tried"] <= 20


def test_walk_forward_reports_the_tests_alone(say, tmp_path):
    ask = ("walkforward", *GRID, "--train", 90, "--test", 30, "--least", 5)
    code, out, _ = say(*ask, "--html", tmp_path / "x.html")
    assert code == 0 and "in sample" not in out
    assert all(text in out for text in ("3 folds", "walk-forward efficiency", "5 configurations tried"))
    assert (tmp_path / "x.html").stat().st_size > 10_000
    found = strict(say(*ask, "--json")[1])
    assert len(found["folds"]) == 3 and found["stats"]["n"] == sum(f["test_trades"] for f in found["folds"]) and found["trials"] == 5
    code, out, _ = say(*ask, "--least", 10**6)
    assert code == 0 and "nothing: too few trades" in out


def test_a_backtest_counts_what_was_tried_before(say):
    assert strict(say("backtest", "-s", "SOLUSDT", "--json")[1])["trials"] == 1
    again, other = (strict(say("backtest", "-s", "SOLUSDT", "--json", *more)[1]) for more in ((), ("-p", "surge=2")))
    assert again["trials"] == 1 and other["trials"] == 2
    assert strict(say("backtest", "-s", "SOLUSDT", "--json")[1])["deflated_sharpe"] < again["deflated_sharpe"]      # one more try


def test_evaluation_tells_what_stands_against_it(say):
    code, out, _ = say("evaluate", "-s", "SOLUSDT", "--nulls", 5)
    assert code == 1 and "unproven" in out and "7 trades; 200 are asked for" in out
    code, out, err = say("evaluate", "-s", "SOLUSDT", "--nulls", 5, "--json")
    found = strict(out)
    assert code == 1 and not err and found["label"] == "unproven" and found["objections"] and found["trials"] == 1


def test_an_experiment_is_saved_and_comes_back(say, tmp_path):
    file = tmp_path / "x.yaml"
    assert say("backtest", "-s", "SOLUSDT", "-p", "surge=1.5", "--save", file)[0] == 0
    code, out, err = say("experiment", file)
    assert code == 0 and not err.strip() and "every trade is the one of the file" in out
    found = strict(say("experiment", file, "--json")[1])
    assert found["same"] is True and found["parameters"]["surge"] == 1.5
    told = yaml.safe_load(file.read_text())
    assert told["data"]["path"] == "sample" and told["ticks"].keys() == {"SOLUSDT"}
    file.write_text(yaml.safe_dump(told | dict(result=dict(trades_hash="0"))))
    code, out, _ = say("experiment", file)
    assert code == 1 and "no longer those of the file" in out
    file.write_text(yaml.safe_dump(told | dict(code="0" * 20)))
    assert say("experiment", file)[0] == 2
    code, out, err = say("experiment", file, "--any-code")
    assert code == 0 and "every trade" in out and err.startswith("perps-kit: the code has changed") and err.strip().count("\n") == 0


def test_an_experiment_on_own_candles_knows_when_they_change(say, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bars = sample_bars("SOLUSDT")[:9000]
    write_bars(bars, tmp_path / "SOLUSDT-15m.parquet")
    assert say("backtest", "--data", "SOLUSDT-15m.parquet", "--start", "2026-05-01", "--save", "x.yaml")[0] == 0
    assert say("experiment", "x.yaml")[0] == 0
    close = bars.close.copy()
    close[8000] = bars.low[8000]
    write_bars(type(bars)(bars.symbol, bars.minutes, *(close if n == "close" else getattr(bars, n) for n in bars.__dataclass_fields__
                                                       if n not in ("symbol", "minutes"))), tmp_path / "SOLUSDT-15m.parquet")
    code, out, err = say("experiment", "x.yaml")
    assert code == 2 and not out and "not those of the experiment" in err


def test_two_runs_are_compared_by_number_or_file(say, tmp_path):
    for fast in (7, 9): say("backtest", "-s", "SOLUSDT", "-p", f"fast={fast}", "--save", tmp_path / f"{fast}.yaml")
    code, out, _ = say("compare", 1, 2)
    assert code == 0 and "200 days in common" in out and re.search(r"is better|do not tell them apart", out)
    by_number, by_file = (strict(say("compare", *two, "--json")[1]) for two in ((1, 2), (tmp_path / "7.yaml", tmp_path / "9.yaml")))
    assert by_number["difference"] == by_file["difference"] != 0 and by_number["interval"] == by_file["interval"]
    same = strict(say("compare", 1, tmp_path / "7.yaml", "--json")[1])
    assert same["difference"] == 0 and same["better"] == 0.5


def test_the_ledger_is_listed(say):
    code, out, _ = say("ledger")
    assert code == 0 and "holds no trial" in out and say("ledger", "--json")[1].strip() == "[]"
    say("sweep", *GRID)
    say("backtest", "--strategy", "pullback", "-s", "SOLUSDT")
    code, out, _ = say("ledger")
    assert code == 0 and "surge 0.8" in out and "5 configurations tried" in out
    rows = strict(say("ledger", "--json", "--family", "pullback")[1])
    assert [row["family"] for row in rows] == ["pullback"] and rows[0]["kind"] == "backtest" and rows[0]["times"] == 1
    assert len(strict(say("ledger", "--json", "--limit", 2)[1])) == 2


@pytest.mark.parametrize("command", [("backtest", "-s", "SOLUSDT"), ("sweep", "-p", "fast=7,9", "-s", "SOLUSDT")])
def test_a_ledger_that_cannot_be_written_costs_a_sentence_and_no_result(say, monkeypatch, command):
    monkeypatch.setenv("PERPS_LEDGER", "sqlite:////proc/nowhere/x.db")
    code, out, err = say(*command, "--json")
    if command[0] == "backtest":
        assert code == 0 and strict(out)["stats"]["n"] == 7
        assert err.startswith("perps-kit: 1 trial was not kept") and "PERPS_LEDGER" in err and err.count("\n") == 1
    else: assert code == 0 and strict(out)["tried"] == 2 and err.count("perps-kit: ") == err.count("\n") == err.count("PERPS_LEDGER") == 2
    monkeypatch.setenv("PERPS_LEDGER", "off")
    code, out, err = say(*command, "--json")
    assert code == 0 and strict(out) and not err


@pytest.mark.parametrize(("words", "told"), [
    (["sweep"], "name what varies"), (["sweep", "-p", "fst=3..5:1"], "did you mean 'fast'?"),
    (["sweep", "-p", "fast"], "write name=a..b:step"), (["sweep", "-p", "surge=-1..2:1"], "outside 0.0 to 10.0"),
    (["sweep", "-p", "fast=1..5:1"], "outside 2 to 100"), (["sweep", "-p", "surge=1..2"], "needs steps"),
    (["sweep", "-p", "fast=5,6", "--by", "luck", "-s", "SOLUSDT"], "not a figure"),
    (["sweep", "--strategy", "ema_scalpr", "-p", "a=1"], "did you mean"),
    (["sweep", "--random", "3", "--optuna", "3"], "exclude each other"), (["sweep", "--random", "3", "-s", "NOPEUSDT"], "NOPEUSDT"),
    (["sweep", "-p", "fast=5,6", "--scheduler", "tcp:nonsense", "-s", "SOLUSDT"], "no dask scheduler answers"),
    (["walkforward", "-p", "fast=5,6", "-s", "SOLUSDT"], "days hold no fold"), (["walkforward"], "name what varies"),
    (["walkforward", "-p", "fast=5,6", "--train", "30", "--step", "10"], "count twice"),
    (["compare", "1", "2"], "no trial 1 in the ledger"), (["compare", "a.yaml", "b.yaml"], "a.yaml cannot be read"),
    (["experiment", "none.yaml"], "none.yaml cannot be read"), (["evaluate", "-p", "surge=99"], "outside"),
    (["backtest", "-s", "SOLUSDT", "--save", "/proc/nowhere/x.yaml"], "/proc/nowhere"),
], ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_what_cannot_be_used_is_refused_in_one_sentence(say, words, told):
    code, out, err = say(*words)
    assert code == 2 and not out and err.startswith("perps-kit: ") and err.count("\n") == 1 and told in err, (code, out, err)


def test_nothing_is_written_into_the_repository(root):
    assert Path(Ledger().url.removeprefix("sqlite:///")).is_absolute() and not Path(Ledger().url[10:]).is_relative_to(root)
