"Trade flow (R48) against recorded trades counted anew at every one of them, and its window, lateness and sums at their limits."
import gzip
import json
from fractions import Fraction
from math import nan

import numpy as np
import pytest
from fixtures.candles import REAL
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.unit import ParameterError, dumps, fold, loads, same_bits
from perps_kit.indicators.trade_flow import FlowView, TradeFlow

ORIGIN = 1_723_161_255_030.0


def recorded(symbol: str, n: int) -> list[tuple]:
    "The first n recorded trades as the unit takes them."
    path = REAL.parent / "orderbook" / f"{symbol}_20240808.gz"
    if not path.exists(): pytest.skip("recorded trades are not here: orderbook of ../shared/data")
    found = []
    with gzip.open(path, "rt") as lines:
        for text in lines:
            if '"e":"trade"' not in text: continue
            said = json.loads(text.partition(" ")[2])["data"]
            found.append((float(said["T"]), float(said["p"]), float(said["q"]), float(said["m"])))
            if len(found) == n: break
    return found


def slowly(trades, window=60, bucket=250, late=5) -> list[FlowView]:
    "Every row by exact arithmetic from the list of all trades so far that were in time."
    kept, latest, dropped, out, size = [], 0, 0, [], window * 1000 // bucket
    for time, price, quantity, maker in trades:
        latest, own = max(latest, int(time)), int(time) // bucket
        head = latest // bucket
        if quantity > 0 and latest - time <= 1000 * late and head - own < size: kept.append((own, Fraction(price * quantity), maker))
        elif quantity > 0: dropped += 1
        kept = [row for row in kept if row[0] > head - size]
        bought, sold = (sum((x for _, x, m in kept if m == side), Fraction(0)) for side in (0.0, 1.0))
        flow = float((bought - sold) / (bought + sold)) if bought + sold else 0.0
        covered = min(1.0, (latest - trades[0][0]) / (bucket * size))
        out.append(FlowView(flow, float(len(kept)), float(dropped), covered))
    return out


def agree(ours: list[FlowView], theirs: list[FlowView]) -> None:
    np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=0, atol=1e-12)


def rows(trades, **choices) -> list[FlowView]: return fold(TradeFlow.of(**choices), trades)[1]


@pytest.mark.parametrize("symbol", ["btcusdt", "ethusdt"])
def test_recorded_trades_counted_anew_at_every_one(symbol):
    trades = recorded(symbol, 6000)
    kept, sums, out = [], [0.0, 0.0], []
    for time, price, quantity, maker in trades:         # this venue's trades come in order; the window is summed afresh at each of them
        kept.append((int(time) // 250, price * quantity, maker))
        kept = [row for row in kept if row[0] > int(time) // 250 - 240]
        sums = [float(np.sum([x for _, x, m in kept if m == side])) for side in (0.0, 1.0)]
        out.append(((sums[0] - sums[1]) / (sums[0] + sums[1]), len(kept)))
    seen = rows(trades)
    assert trades[-1][0] - trades[0][0] > 75_000, "the window is full and moves"
    np.testing.assert_allclose([row.flow for row in seen], [flow for flow, _ in out], rtol=0, atol=1e-12)
    assert [row.n for row in seen] == [n for _, n in out] and seen[-1].dropped == 0


def test_recorded_trades_in_disorder_and_with_smaller_windows():
    trades, rng = recorded("ethusdt", 1500), np.random.default_rng(1)
    order = np.argsort([t + 7000 * rng.random() ** 3 for t, *_ in trades], kind="stable")
    mixed = [trades[i] for i in order]
    for choices in (dict(window=10), dict(window=5, bucket=50, late=1), dict(window=20, bucket=5000, late=0)):
        agree(rows(mixed, **choices), expected := slowly(mixed, **choices))
        assert 0 < expected[-1].dropped < 1500


cells = st.tuples(st.integers(-7000, 9000), st.sampled_from([0.0, 1.0, 3.0, 0.1, 1e6, 1e-4]), st.booleans())


@settings(max_examples=120, deadline=None)
@given(st.lists(cells, min_size=1, max_size=60), st.sampled_from([(60, 250, 5), (5, 1000, 5), (5, 50, 60), (10, 5000, 2)]))
def test_any_disorder_is_counted_as_defined(cells, choices):
    times = ORIGIN + np.cumsum([step for step, _, _ in cells])
    trades = [(float(t), 61_800.3, q, float(m)) for t, (_, q, m) in zip(times, cells, strict=True)]
    agree(rows(trades, **dict(zip(("window", "bucket", "late"), choices, strict=True))), slowly(trades, *choices))


def at(seconds: float, quantity: float = 1.0, maker: float = 0.0) -> tuple: return 1000.0 * seconds, 100.0, quantity, maker


def test_a_trade_leaves_with_its_bucket():
    seen = rows([at(0.2), at(59.999, 0.0), at(60.0, 0.0), at(60.001, 0.0)])
    assert [row.n for row in seen] == [1, 1, 0, 0] and [row.flow for row in seen] == [1, 1, 0, 0]


def test_five_seconds_late_counts_and_a_millisecond_more_does_not():
    seen = rows([at(100), at(95.0, 1.0, 1.0), at(94.999, 50.0, 1.0), at(100, 1.0)])
    assert [(row.flow, row.n, row.dropped) for row in seen] == [(1, 1, 0), (0, 2, 0), (0, 2, 1), (1 / 3, 3, 1)]


def test_a_late_row_never_turns_the_clock_back():
    unit, _ = fold(TradeFlow.of(), [at(100), at(70, 0.0), at(97)])
    assert unit.time == 100_000 and unit.dropped == 0
    assert fold(unit, [at(157, 0.0), at(160, 0.0)])[1][0].n == 1, "the late one left with its own bucket"


def test_no_trades_no_flow_and_no_residue():
    rng = np.random.default_rng(3)
    quantities, makers = rng.lognormal(0, 8, 20_000).tolist(), (rng.random(20_000) < 0.5).astype(float).tolist()
    trades = [at(k / 50, q, m) for k, (q, m) in enumerate(zip(quantities, makers, strict=True))]
    unit, _ = fold(TradeFlow.of(), trades)
    silent, (row,) = fold(unit, [at(480, 0.0)])
    assert row == FlowView(0.0, 0.0, 0.0, 1.0) and not silent.sums.any() and not silent.ring.any()
    assert fold(silent, [at(480, 1e-9, 1.0)])[1][0].flow == -1.0


def test_a_whale_that_has_left_keeps_nothing_behind():
    "Plain sums would keep 1e-5 of it, thousands of times what is traded here."
    seen = rows([at(0, 1e12), at(0.3, 1e-12 * 3), at(0.6, 1e-12, 1.0), at(60.1, 0.0)])
    assert seen[2].flow == 1.0 and abs(seen[3].flow - 0.5) < 1e-12 and seen[3].n == 2


def test_sums_do_not_drift_over_many_laps():
    rng = np.random.default_rng(4)
    times = ORIGIN + np.floor(np.cumsum(rng.exponential(60.0, 60_000)))
    trades = list(zip(times.tolist(), (60_000 + rng.normal(0, 50, 60_000)).tolist(), rng.lognormal(-3, 3, 60_000).tolist(),
                      (rng.random(60_000) < 0.5).astype(float).tolist(), strict=True))
    seen = rows(trades)
    agree(seen[-1:], [slowly(trades[-2500:])[-1]._replace(covered=1.0)])
    assert trades[-1][0] - trades[0][0] > 50 * 60_000


def test_the_first_minute_says_how_much_of_it_was_seen():
    assert [row.covered for row in rows([at(5), at(20, 0.0), at(65), at(300)])] == [0.0, 0.25, 1.0, 1.0]


def test_what_is_not_known_is_passed_over():
    base, holes = [at(1), at(2, 3.0, 1.0)], [at(1), (nan, 1.0, 1.0, 0.0), (1500.0, nan, 1.0, 0.0), (1500.0, 1.0, 1.0, nan), at(2, 3.0, 1.0)]
    seen = rows(holes)
    assert same_bits([seen[0], seen[4]], rows(base)) and np.isnan(np.array(seen[1:4])).all()


def test_stopping_anywhere_and_going_on_changes_nothing():
    trades = [at(k * 1.7, 1.0 + k % 5, float(k % 3 == 0)) for k in range(120)]
    whole = rows(trades)
    for cut in (0, 1, 35, 36, 90):
        half, _ = fold(TradeFlow.of(), trades[:cut])
        assert same_bits(fold(loads(TradeFlow.of(), dumps(half)), trades[cut:])[1], whole[cut:])


@pytest.mark.parametrize("name, value, said", [("window", 4, "is outside"), ("bucket", 0, "is outside"), ("late", -1, "is outside"),
                                               ("bucket", 700, "does not divide the 60000 ms")])
def test_nonsense_is_refused(name, value, said):
    with pytest.raises(ParameterError, match=f"TradeFlow: {name} = {value} {said}"): TradeFlow.of(**{name: value})
