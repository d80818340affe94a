"`perps-kit portfolio`: what an account would have made, for people, machines and browsers; one sentence for what it cannot use."

import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from perps_kit.backtest.account_report import account_report
from perps_kit.backtest.portfolio import portfolio
from perps_kit.core.clock import iso, parse_time
from perps_kit.core.registry import strategy
from perps_kit.data.files import write_bars
from perps_kit.data.sample import sample_bars, sample_funding, sample_markets
from perps_kit.risk.account import Terms
from perps_kit.risk.order import Grid
from perps_kit.scoring.book import Pipeline
from runners.cli import main

SPAN = ("--strategy", "action_price", "-s", "SOLUSDT", "-s", "BTCUSDT", "--start", "2026-10-05")


@pytest.fixture
def say(capsys, monkeypatch):
    "Run the program in this process; its exit code, standard output and standard error."

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["perps-kit", "portfolio", *map(str, words)])
        with pytest.raises(SystemExit) as end: main()
        found = capsys.readouterr()
        return int(end.value.code or 0), found.out, found.err
    return run


def strict(text: str) -> dict: return json.loads(text, parse_constant=lambda x: pytest.fail(f"{x} is no JSON"))


def test_the_answer_for_machines_is_what_the_library_finds(say):
    code, out, err = say(*SPAN, "--json", "--account", "balance=5000", "--account", "most_positions=1")
    told, names = strict(out), ("BTCUSDT", "SOLUSDT")
    since = parse_time("2026-10-05")
    grids = {s: Grid(m.tick, m.step, m.min_qty, 0.0, m.min_notional) for s, m in sample_markets().items() if s in names}
    bars, funding = {s: sample_bars(s, start=since) for s in names}, {s: sample_funding(s) for s in names}
    run = portfolio({"action_price": strategy("action_price")}, bars, Terms(most_positions=1),
                    Pipeline(enabled=frozenset({"action_price"})), funding=funding, grids=grids, balance=5_000.0)
    page = account_report(run)
    assert code == 0 and not err and told["symbols"] == list(names) and told["start"] == "2026-10-05 00:00"
    assert told["equity"]["final"] == told["bounds"]["stop_first"] == run.equity[-1] and told["equity"]["start"] == 5_000.0
    assert told["stats"]["n"] == page.trades.n > 10 and told["stats"]["money"] == page.trades.money
    assert told["bounds"]["stop_first"] <= told["bounds"]["target_first"] and told["unpaid_funding"] == dict.fromkeys(names, 0)
    assert sum(a["count"] for a in told["answers"]) == told["signals"] == len(run.follows)
    assert told["account"]["balance"] == run.account.balance and told["terms"]["most_positions"] == 1 and told["label"] == "unproven"
    assert sum(g["n"] for g in told["groups"]["symbol"].values()) == told["stats"]["n"] and told["strategies"].keys() == {"action_price"}


def test_people_read_figures_answers_and_doubts(say):
    code, out, _ = say(*SPAN)
    assert code == 0
    for part in ("label            unproven", "win rate", "expectancy", "equity           10,000.00 -> ", "published signals", "followed",
                 "with targets first in ambiguous bars", "trades; 200 are asked for", "in sample"): assert part in out, part
    assert "quantity" not in out


def test_every_trade_is_listed_if_wished(say):
    trades = strict(say(*SPAN, "--json")[1])["stats"]["n"]
    rows = [line for line in say(*SPAN, "--trades")[1].splitlines() if "action_price" in line and "│" in line]
    assert len(rows) == trades and all(side in " ".join(rows) for side in ("long", "short")) and all("2026-10-" in row for row in rows)


class Sources(HTMLParser):
    "Addresses that a browser would fetch by itself."

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [str(v) for k, v in attrs if k in ("src", "href", "data", "srcset", "action") and tag != "a"]


def test_the_page_needs_no_network(say, tmp_path):
    where = tmp_path / "new" / "account.html"
    code, out, _ = say(*SPAN, "--html", where)
    text, page = where.read_text(encoding="utf-8"), Sources()
    page.feed(text)
    assert code == 0 and f"pictures: {where}" in out and "script" in page.tags and page.found == []
    assert "@import" not in text and "Equity of 10,000 at each close" in text and "Answers to published signals" in text
    told = strict(say(*SPAN, "--html", tmp_path / "other.html", "--json")[1])
    assert told["stats"]["n"] and (tmp_path / "other.html").stat().st_size > 100_000


def test_a_page_of_nothing_is_a_page_too(say, tmp_path):
    code, _, _ = say("--strategy", "action_price", "-s", "SOLUSDT", "--start", "2026-10-30T20:00", "--html", tmp_path / "empty.html")
    assert code == 0 and (tmp_path / "empty.html").is_file()


@pytest.mark.filterwarnings("error")
def test_a_span_without_a_signal_is_an_answer_too(say):
    words = ("--strategy", "action_price", "-s", "SOLUSDT", "--start", "2026-10-30T20:00")
    code, out, _ = say(*words)
    assert code == 0 and "no trades; 200 are asked for" in out and "0 published signals" in out
    told = strict(say(*words, "--json")[1])
    assert told["stats"]["win_rate"] is None and told["undefined"]["win_rate"] == "no trades" and told["answers"] == []
    assert told["equity"]["final"] == 10_000.0 == told["bounds"]["target_first"]


def test_intervals_that_are_not_known_are_shown_as_such(say):
    out = say("--strategy", "action_price", "-s", "SOLUSDT", "--start", "2026-10-30T20:00")[1]
    assert "[nan% .. nan%]" in out


@pytest.mark.parametrize(("which", "bound"), [("usual", 0), ("off", 0), ("all", 1)])
def test_the_memory_binds_whom_it_is_told_to(say, which, bound):
    told = strict(say(*SPAN, "--json", "--memory", which)[1])
    assert (told["memory"]["day"] >= 0) == bool(bound) == bool(told["memory"]["outcomes"])


def test_the_most_traded_ones_only(say):
    words = ("--strategy", "action_price", "-s", "SOLUSDT", "-s", "BTCUSDT", "-s", "ETHUSDT", "--start", "2026-08-20", "--json")
    every, one = strict(say(*words)[1]), strict(say(*words, "--top", 1)[1])
    assert 0 < one["signals"] < every["signals"] and one["decisions"] == every["decisions"]
    assert one["symbols"] == every["symbols"] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def test_too_few_days_for_the_most_traded_are_told(say):
    assert "--top" in "".join(say("--strategy", "action_price", "-s", "SOLUSDT", "--start", "2026-10-15", "--top", 1)[1:])


def test_minutes_may_say_what_came_first(say):
    words = ("--strategy", "action_price", "-s", "SOLUSDT", "-s", "BTCUSDT", "--start", "2026-10-20", "--json")
    usual, inside = strict(say(*words)[1])["bounds"], strict(say(*words, "--detail")[1])["bounds"]
    assert usual["stop_first"] <= inside["stop_first"] <= inside["target_first"] <= usual["target_first"]


def test_several_strategies_of_two_timeframes(say):
    told = strict(say("--strategy", "action_price", "--strategy", "reversal", "-s", "SOLUSDT", "--start", "2026-07-01", "--json")[1])
    assert set(told["strategies"]) == {"action_price", "reversal"} and told["stats"]["n"] > 20
    assert told["end"] == iso(parse_time("2026-10-31"))


def refused(answer: tuple[int, str, str], *told: str) -> None:
    code, out, err = answer
    assert code == 2 and not out and err.startswith("perps-kit: ") and err.count("\n") == 1, (code, out, err)
    for text in told: assert text in err, err


@pytest.mark.parametrize(("words", "told"), [
    (["--account", "balance=-1"], ["balance", "greater than 0"]),
    (["--account", "balance=nan"], ["balance"]),
    (["--account", "balance=much"], ["balance", "number"]),
    (["--account", "leverage=50"], ["leverage", "20"]),
    (["--account", "leverage=2.5"], ["leverage"]),
    (["--account", "sizing=all"], ["sizing", "'risk' or 'percent'"]),
    (["--account", "between=90"], ["between", "60"]),
    (["--account", "balance"], ["name=value"]),
    (["--account", "=5"], ["account"]),
    (["--memory", "some"], ["usual, all or off"]),
    (["--strategy", "ema_scalpr"], ["did you mean 'ema_scalper'?"]),
    (["-s", "NOPEUSDT"], ["NOPEUSDT"]),
    (["--start", "yesterday"], ["yesterday"]),
    (["--start", "2030-01-01"], ["in the time asked for"]),
    (["--data", "nowhere/at/all"], ["nowhere/at/all", "no such file"]),
    (["-s", "SOLUSDT", "--start", "2026-10-01", "--end", "2026-10-05", "--detail"], ["no 1m candles", "leave --detail away"]),
], ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_what_cannot_be_used_is_refused_in_one_sentence(say, words, told): refused(say("--strategy", "action_price", *words), *told)


@pytest.mark.parametrize(("wrong", "told"), [("most_position", "did you mean 'most_positions'?"), ("qqqqq", "daily_loss")])
def test_a_hint_names_a_term_of_the_account(say, wrong, told):
    refused(say("--strategy", "action_price", "--account", f"{wrong}=1"), told)


def test_risk_classes_can_be_chosen(say):
    assert strict(say(*SPAN, "--json", "--account", "classes=LOW")[1])["terms"]["classes"] == ["LOW"]


@pytest.mark.parametrize("top", ["0", "-1", "many"])
def test_a_number_of_symbols_is_at_least_one(say, top):
    code, _, err = say(*SPAN, "--top", top)
    assert code == 2 and "--top" in err


def test_a_file_of_candles_without_minutes_funding_or_rules(say, tmp_path):
    where: Path = tmp_path / "SOLUSDT-15m.csv"
    write_bars(sample_bars("SOLUSDT")[:3000], where)
    told = strict(say("--strategy", "action_price", "--data", where, "--json")[1])
    assert told["unpaid_funding"] == {"SOLUSDT": -1} and any("no funding series of SOLUSDT" in x for x in told["objections"])
    refused(say("--strategy", "action_price", "--data", where, "--detail"), "no 1m candles")
