"The promise: what the notebook's backtest shows is what the whole service does. A small span here; `perps-kit parity` takes any."

import asyncio
import copy
from pathlib import Path

import pytest

from perps_kit.backtest.portfolio import portfolio
from perps_kit.core.features import plan_of
from perps_kit.core.registry import strategy
from perps_kit.risk.account import Terms
from perps_kit.scoring.book import Pipeline
from runners import parity
from runners.cli.research import candles, together
from runners.errors import ConfigError

REAL = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "binance_usdm_15m"
SPAN = dict(start="2026-06-05", end="2026-08-01")
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
pytestmark = pytest.mark.timeout(900)  # a whole service in lockstep, beside another lane of tests


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    "All strategies of quarter hours together, through both sides: what the service left, and the backtest's result."
    all_of_them = {name: strategy(name) for name in together()}
    bars, funding, _ = candles(None, SYMBOLS, "15m", **SPAN)
    first, last = int(bars["ETHUSDT"].open_time[0]), int(bars["ETHUSDT"].close_time[-1])
    begin = first + plan_of(all_of_them, 15).warmup("action_price") * 900_000
    folder = tmp_path_factory.mktemp("parity")
    account, policy = parity.account_settings({}), parity.memory_of("usual", all_of_them).terms
    found, rows = asyncio.run(parity.serve(all_of_them, 15, None, SYMBOLS, first, begin, last, "live", folder, True, "usual", account))
    gates = Pipeline(enabled=frozenset(all_of_them))
    run = portfolio(all_of_them, bars, Terms(), gates, funding=funding, grids=rows["grids"], policy=policy)
    return found, rows, run.reference, funding


def compared(both, rows=None):
    found = parity.Found(both[0].cycles, both[0].span)
    parity.compare(found, both[2], rows or both[1], both[3], "live")
    return found


def test_signals_positions_decisions_and_fills_are_the_same_on_both_sides(both):
    found = compared(both)
    assert found.equal, found.text()
    assert found.counts["signals with their components"] >= 3 and found.counts["fills at the venue, on its tick"] >= 9
    assert found.facts()["equal"] and "parity holds" in found.text()


@pytest.mark.parametrize("spoil", ["entry", "components", "ladder", "event", "verdict", "lost", "fill"])
def test_the_smallest_difference_is_found_and_shown_with_both_sides(both, spoil):
    rows = dict(both[1])
    id = next(s for s in rows["signals"])
    if spoil in ("entry", "components"):
        changed = copy.copy(rows["signals"][id])
        other = dict(entry=changed.entry * (1 + 1e-15), components=changed.components | {"volume": -1.0})[spoil]
        changed.__dict__ = changed.__dict__ | {spoil: other}
        rows["signals"] = rows["signals"] | {id: changed}
    elif spoil == "ladder":
        changed = copy.copy(rows["reference"][id])
        changed.__dict__ = dict(changed.__dict__, ladder=changed.ladder.replace("1", "2", 1))
        rows["reference"] = rows["reference"] | {id: changed}
    elif spoil == "event":
        rows["events"] = {k: v[:-1] for k, v in rows["events"].items()}
    elif spoil == "verdict":
        rows["decisions"] = [copy.copy(d) for d in rows["decisions"]]
        one = next(d for d in rows["decisions"] if d.outcome == "published")
        one.__dict__ = dict(one.__dict__, verdicts=[dict(v, value="other") for v in one.verdicts])
    elif spoil == "fill":
        rows["fills"] = rows["fills"][1:]
    else:
        rows["signals"] = {k: v for k, v in rows["signals"].items() if k != id}
    found = compared(both, rows)
    assert not found.equal and found.difference and found.backtest != found.service and "parity is broken" in found.text()


@pytest.fixture(scope="module")
def account(tmp_path_factory):
    "A paper account under every rule, its memory binding every strategy, through both sides."
    all_of_them = {name: strategy(name) for name in together()}
    bars, funding, _ = candles(None, SYMBOLS, "15m", **SPAN)
    first, last = int(bars["ETHUSDT"].open_time[0]), int(bars["ETHUSDT"].close_time[-1])
    begin, folder = first + plan_of(all_of_them, 15).warmup("action_price") * 900_000, tmp_path_factory.mktemp("account")
    wished = parity.account_settings(dict(drawdown=1.0, adaptive=True, reward=True))
    found, rows = asyncio.run(parity.serve(all_of_them, 15, None, SYMBOLS, first, begin, last, "paper", folder, True, "all", wished))
    pipeline, policy = Pipeline(enabled=frozenset(all_of_them)), parity.memory_of("all", all_of_them).terms
    return found, rows, portfolio(all_of_them, bars, wished.terms, pipeline, funding=funding, grids=rows["grids"], policy=policy), funding


def test_an_account_answers_sizes_and_is_worth_the_same_on_both_sides_at_every_close(account):
    found = parity.Found(account[0].cycles, account[0].span)
    parity.compare(found, account[2].reference, account[1], account[3], "paper")
    parity.compare_account(found, account[2], account[1])
    assert found.equal, found.text()
    assert found.counts["positions of the account"] >= 10 and found.counts["equity of the account at a close"] > 5_000
    reasons = {f.reason for f in account[2].follows} | {d.reason for d in account[2].reference.decisions}
    assert {"", "correlation"} <= reasons and reasons & {"pause", "quota", "symbol_rest", "threshold"}  # the rules were asked in earnest


@pytest.mark.parametrize("spoil", ["answer", "quantity", "equity", "position"])
def test_a_difference_of_the_account_is_found(account, spoil):
    rows, found = dict(account[1]), parity.Found()
    if spoil == "answer":
        rows["follows"] = dict(list(rows["follows"].items())[1:])
    elif spoil == "quantity":
        id, row = next((k, f) for k, f in rows["follows"].items() if f.quantity > 0)
        changed = copy.copy(row)
        changed.__dict__ = dict(changed.__dict__, quantity=row.quantity * (1 + 1e-15))
        rows["follows"] = rows["follows"] | {id: changed}
    elif spoil == "equity":
        time, value = list(rows["equity"].items())[-1]
        rows["equity"] = rows["equity"] | {time: value + 1e-9}
    else:
        id = next(t.id for t in account[2].trades)
        changed = copy.copy(rows["accounts"][id])
        changed.__dict__ = dict(changed.__dict__, ladder=changed.ladder.replace("1", "2", 1))
        rows["accounts"] = rows["accounts"] | {id: changed}
    parity.compare_account(found, account[2], rows)
    assert not found.equal and found.backtest != found.service


def test_too_few_candles_are_refused():
    with pytest.raises(ConfigError, match="before the first strategy can speak"):
        parity.run({"ema_scalper": strategy("ema_scalper")}, None, ["BTCUSDT"], "2026-10-01", None, quiet=True)


@pytest.mark.slow
def test_parity_holds_on_real_candles():
    if not REAL.exists():
        pytest.skip("../shared/data is not here: real candles are needed")
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    found = parity.run({name: strategy(name) for name in together()}, REAL, symbols, "2025-09-01", "2025-11-15", quiet=True)
    assert found.equal, found.text()
    assert found.counts["signals with their components"] >= 100
