"Why, and why not: the answer about stored candles is the decision that was taken then, from the backtest and from the service's own rows."

import json

import pytest
from serving import serving, settings

from perps_kit.backtest.explain import explain, told_of, usual
from perps_kit.backtest.run import backtest
from perps_kit.core.bar import DataError
from perps_kit.core.clock import MINUTE, iso, parse_time
from perps_kit.core.registry import strategy
from perps_kit.data.sample import sample_bars
from perps_kit.scoring.book import Pipeline
from runners.cli import app
from runners.cli.strategies import rows_of

NAMES = ("action_price", "continuation", "ema_scalper")


@pytest.fixture(scope="module")
def ran():
    wished, bars = {name: strategy(name) for name in NAMES}, {s: sample_bars(s)[:8000] for s in ("BTCUSDT", "SOLUSDT")}
    return wished, bars, backtest(wished, bars)


def test_every_answer_is_the_decision_that_was_taken(ran):
    wished, bars, run = ran
    chosen = [d for name in NAMES for d in [d for d in run.decisions if d.strategy == name][:6]] + [d for d in run.decisions
                                                                                                    if not d.signal_id][-6:]
    assert {d.strategy for d in chosen} == set(NAMES) and {bool(d.signal_id) for d in chosen} == {True, False}
    for d in chosen:
        answers = {a.strategy: a for a in explain(d.symbol, d.time, bars, wished)}
        mine = answers[d.strategy]
        assert (mine.outcome, mine.decision.reason, mine.decision.score, mine.features) == (d.outcome, d.reason, d.score,
                                                                                            d.features), mine.said
        assert mine.verdicts[: len(d.verdicts)] == d.verdicts and len(mine.verdicts) >= 14
        assert ("published" in mine.said) == bool(d.signal_id) and (not d.reason or f"stopped at {d.reason}" in mine.said)


def test_quiet_waiting_and_warming_are_told_apart(ran):
    wished, bars, run = ran
    d = next(d for d in run.decisions if d.strategy == "continuation" and d.symbol == "SOLUSDT")
    quarter = {a.strategy: a for a in explain("SOLUSDT", d.time - 15 * MINUTE, bars, wished)}
    assert quarter["continuation"].outcome == "waiting" and iso(d.time) in quarter["continuation"].said
    young = {a.strategy: a for a in explain("SOLUSDT", int(bars["SOLUSDT"].close_time[300]), bars, wished)}
    assert young["ema_scalper"].outcome == "warming" and young["action_price"].outcome in ("quiet", "rejected", "published")
    times = [int(t) for t in bars["SOLUSDT"].close_time[5000:5040]]
    quiet = next(a for t in times for a in explain("SOLUSDT", t, bars, wished) if a.strategy == "ema_scalper" and a.outcome == "quiet")
    assert "the averages stand at" in quiet.said and "{" not in quiet.said


def test_a_moment_within_a_bar_is_that_of_the_last_close_and_others_are_refused(ran):
    wished, bars, _ = ran
    close = int(bars["SOLUSDT"].close_time[6000])
    assert explain("SOLUSDT", close + 60_000, bars, wished) == explain("SOLUSDT", close, bars, wished)
    for symbol, at, message in (("XYZUSDT", close, "no candles of XYZUSDT"), ("SOLUSDT", "2020-01-01", "has no candle"), ("SOLUSDT",
        "2030-01-01", "has no candle")):
        with pytest.raises(DataError, match=message):
            explain(symbol, at, bars, wished)


def test_what_quarter_hours_can_feed_leaves_out_minutes_and_what_is_off():
    assert {"ema_scalper", "continuation", "liquidity_sweep"} <= set(usual(15)) and not {"pump_scanner", "gluk",
                                                                                         "order_flow"} & set(usual(15))
    assert "pump_scanner" in usual(1)


async def test_the_services_rows_tell_the_same(tmp_path):
    wanted = settings(tmp_path, start="2026-10-30", end="2026-10-31")
    async with serving(wanted) as (service, _, _):
        await service.run()
    run = backtest({"ema_scalper": strategy("ema_scalper")}, {s: sample_bars(s, start=wanted.origin) for s in wanted.symbols},
                   Pipeline(weigh=False))
    d = next(d for d in run.decisions if d.time >= parse_time("2026-10-30"))
    (row,) = await rows_of(wanted.database, d.symbol, d.time, None)
    bars = {d.symbol: sample_bars(d.symbol, start=wanted.origin)}
    (mine,) = explain(d.symbol, d.time, bars, {"ema_scalper": strategy("ema_scalper")}, Pipeline(weigh=False))
    assert row["outcome"] == d.outcome and [(v["gate"], v["passed"]) for v in row["verdicts"]] == [(v.gate,
        v.passed) for v in mine.verdicts[: len(d.verdicts)]]
    assert row["said"].split(":")[-1] == mine.said.split(":")[-1]


def run_cli(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        app(arguments)
    return done.value.code, capsys.readouterr().out


def test_the_command_line_lists_and_explains(capsys):
    code, out = run_cli(capsys, "strategies", "--json")
    rows = {r["name"]: r for r in json.loads(out)}
    assert code == 0 and len(rows) == 18
    assert (rows["gluk"]["runs_on"], rows["order_flow"]["runs_on"]) == ("off by itself", "book and trades")
    assert rows["mss"]["runs_on"] == "facts from elsewhere" and rows["continuation"]["minutes"] == 30
    code, out = run_cli(capsys, "explain", "--symbol", "SOLUSDT", "--at", "2026-07-05T12:15", "--strategy", "ema_scalper", "--json")
    (one,) = json.loads(out)
    assert code == 0 and one["strategy"] == "ema_scalper" and one["outcome"] in ("published",
        "rejected") and one["said"].startswith("ema_scalper saw a short")
    assert {"regime", "btc", "factors", "cooldown"} <= {v["gate"] for v in one["verdicts"]}


def test_a_sentence_names_the_first_refusal_and_the_rest():
    v = [dict(gate="regime", passed=False, value="RANGE", reason="no"), dict(gate="btc", passed=True, value="", reason=""),
         dict(gate="minimum", passed=False, value="40.0", reason="too low")]
    assert told_of("it", "X", 1, "CROSS", v) == "it saw a long (cross) of X; stopped at regime: RANGE no. Also against it: minimum."
    assert told_of("it", "X", -1, "CROSS", v[1:2]) == "it saw a short (cross) of X: published."
