"The adaptive memory: the vectors of quant_spec F1, every boundary, and a second opinion that keeps every event and recounts when asked."

import json
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perps_kit.core.clock import DAY, HOUR, MINUTE, SECOND, parse_time
from perps_kit.risk.memory import OFF, POLICIES, Closed, Memory, Policy, restored, saved

START = parse_time("2026-10-30T00:00")
WIN, LOSS, BREAKEVEN = "WIN", "LOSS", "BREAKEVEN"
GATES = ["pause", "strategy_rest", "symbol_rest", "quota", "threshold"]
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")


def at(text):
    return parse_time(f"2026-10-{text}")


def told(m, *trades):
    "The memory after trades of reversal, each (hours from the start, symbol, result)."
    for hour, symbol, result in trades: m = m.closed(Closed(f"{hour:03}", "reversal", symbol, 0.0, result, START + hour * HOUR))
    return m


def run(results, strategy="continuation", symbol="", m=None, since=START):
    "The memory after trades of one strategy, an hour apart, each on a symbol of its own unless one is named."
    m = m or Memory.of()
    for k, result in enumerate(results):
        m = m.closed(Closed(f"{strategy}{k:03}", strategy, symbol or f"S{k}USDT", 0.0, result, since + k * HOUR))
    return m


def refused(m, time, symbol="NEWUSDT", strategy="reversal", final=100.0, least=75.0):
    return [v.gate for v in m.verdicts(strategy, symbol, time, final, least) if not v.passed]


def of(wins, losses):
    return [WIN] * wins + [LOSS] * losses


# --- the vectors


def test_three_losses_silence_both_strategies_until_twelve_hours_after_the_last():
    m = told(Memory.of(), (0, "BTCUSDT", LOSS), (1, "ETHUSDT", LOSS), (2, "SOLUSDT", LOSS))
    for strategy in ("reversal", "continuation"):
        assert refused(m, at("30T13:59:59"), strategy=strategy) == ["pause"] and refused(m, at("30T14:00"), strategy=strategy) == []
    assert refused(m, at("30T14:00") - 1) == ["pause"]
    lost = m.closed(Closed("late", "reversal", "XRPUSDT", -1.0, LOSS, at("30T15:00")))
    assert lost.streak == 4 and refused(lost, at("31T03:00") - 1) == ["pause"] and refused(lost, at("31T03:00")) == []
    won = m.closed(Closed("late", "reversal", "XRPUSDT", 1.0, WIN, at("30T15:00")))
    assert won.streak == 0 and refused(won, at("30T15:00")) == []


def test_two_losses_in_a_row_rest_a_symbol_for_a_day():
    m = told(Memory.of(), (10, "BTCUSDT", LOSS), (12, "BTCUSDT", LOSS))
    assert refused(m, at("31T12:00") - 1, "BTCUSDT") == ["symbol_rest"] and refused(m, at("31T12:00"), "BTCUSDT") == []
    assert refused(m, at("30T12:00"), "ETHUSDT") == []


@pytest.mark.parametrize(("equity", "most", "cap"), [
    (1000.0, 5, 1.0), (950.0, 5, 1.0), (949.9, 2, 1.0), (920.0, 2, 1.0), (919.9, 2, 0.005)])
def test_a_drawdown_first_takes_signals_then_risk(equity, most, cap):
    m = Memory.of(equity=1000.0).closed(Closed("x", "reversal", "BTCUSDT", equity - 1000.0, BREAKEVEN, START))
    assert (m.quota(), m.risk_cap) == (most, cap)


def test_a_drawdown_is_counted_from_the_best_equity_and_ends_when_it_has_recovered():
    steps = [(200.0, 5, 1.0), (-60.0, 5, 1.0), (-0.5, 2, 1.0), (-35.5, 2, 1.0), (-0.25, 2, 0.005), (0.25, 2, 1.0), (35.5, 2, 1.0),
             (0.5, 5, 1.0)]
    m = Memory.of(equity=1000.0)
    for k, (net, most, cap) in enumerate(steps):
        m = m.closed(Closed(str(k), "reversal", "BTCUSDT", net, BREAKEVEN, START + k))
        assert (m.quota(), m.risk_cap) == (most, cap), m.equity


@pytest.mark.parametrize(("results", "points"), [
    (of(5, 5), 5.0), (of(11, 9), 0.0), (of(10, 10), 5.0), (of(0, 9), 0.0), (of(0, 10), 5.0), (of(5, 4), 0.0), (of(6, 4), 0.0),
    (of(20, 9), 0.0), (of(20, 10), 5.0), ([LOSS] * 20 + [WIN] * 11, 0.0), ([LOSS] * 20 + [WIN] * 10, 5.0)])
def test_fewer_than_55_percent_of_ten_or_more_raise_the_threshold(results, points):
    m = run(results)
    assert m.careful("NEWUSDT") == points
    later = START + 60 * DAY
    assert refused(m, later, final=75.0 + points) == []
    assert refused(m, later, final=75.0 + points - 0.001) == ["threshold"]


# --- the boundaries of the others


@pytest.mark.parametrize(("results", "points"), [
    (of(2, 3), 5.0), (of(1, 3), 0.0), (of(3, 3), 0.0), (of(5, 5), 0.0), (of(4, 5), 5.0), (of(4, 6), 5.0), ([LOSS] * 6 + [WIN] * 5, 0.0),
    ([LOSS] * 6 + [WIN] * 4, 5.0), ([LOSS] * 9 + [WIN] * 10, 0.0)])
def test_fewer_than_half_of_five_or_more_raise_the_threshold_of_that_symbol_alone(results, points):
    m = run(results, symbol="BTCUSDT")._replace(outcomes=())     # without what all trades together would add
    assert m.careful("BTCUSDT") == points and m.careful("ETHUSDT") == 0.0


def test_both_raise_it_by_ten_and_never_by_more():
    both = run(of(5, 6), symbol="BTCUSDT")
    assert both.careful("BTCUSDT") == 10.0 and both.careful("ETHUSDT") == 5.0
    assert both._replace(policy=Policy(careful=8.0)).careful("BTCUSDT") == 10.0
    assert both._replace(policy=Policy(careful=4.0)).careful("BTCUSDT") == 8.0
    assert refused(both, START + 60 * DAY, "BTCUSDT", final=84.9) == ["threshold"]
    assert refused(both, START + 60 * DAY, "BTCUSDT", final=85.0) == []


@pytest.mark.parametrize(("results", "rests"), [
    (of(0, 9), False), (of(0, 10), True), (of(4, 6), True), (of(5, 6), False), (of(9, 11), False), (of(9, 12), True), (of(5, 5), False),
    (of(5, 7), True)])
def test_reversal_rests_below_45_percent_of_ten_or_more(results, rests):
    m = run(results, "reversal")
    last = START + (len(results) - 1) * HOUR
    assert ("strategy_rest" in refused(m, last)) is rests and ("strategy_rest" in refused(m, last + 48 * HOUR - 1)) is rests
    assert "strategy_rest" not in refused(m, last + 48 * HOUR)
    assert "strategy_rest" not in refused(m, last, strategy="continuation") + refused(run(results), last, strategy="continuation")


def test_what_rested_begins_anew_and_needs_ten_more():
    m, last = run(of(0, 10), "reversal"), START + 9 * HOUR
    over = last + 48 * HOUR
    early = m.closed(Closed("x", "reversal", "AUSDT", 0.0, LOSS, over - 1))
    assert "strategy_rest" in refused(early, over)                      # a loss during the rest begins it again
    assert len(early.by_strategy["reversal"]) == 11
    for k in range(9): m = m.closed(Closed(f"y{k}", "reversal", f"A{k}USDT", 0.0, LOSS, over + k))
    assert "strategy_rest" not in refused(m, over + 8) and m.by_strategy["reversal"] == (0,) * 9
    m = m.closed(Closed("z", "reversal", "ZUSDT", 0.0, LOSS, over + 9))
    assert "strategy_rest" in refused(m, over + 9)


def test_the_rest_of_one_strategy_keeps_what_is_known_of_everything_else():
    m = run([WIN] * 14 + [LOSS] * 6, "continuation")
    m = run(of(0, 10), "reversal", "BTCUSDT", m, START + DAY)
    later = m.at(START + 30 * DAY)
    assert m.by_strategy["reversal"] == (0,) * 10 and later.by_strategy == {"continuation": m.by_strategy["continuation"]}
    assert later._replace(by_strategy=m.by_strategy, strategy_until=m.strategy_until) == m
    assert later.rank("continuation") == -1 and later.at(START + 60 * DAY) is later


@pytest.mark.parametrize(("results", "rank"), [(of(13, 7), 0), (of(14, 6), -1), (of(9, 0), 0), (of(10, 0), -1), (of(6, 4), 0),
                                                (of(7, 3), -1)])
def test_continuation_goes_first_above_65_percent_of_ten_or_more(results, rank):
    m = run(results)
    assert m.rank("continuation") == rank and m.rank("reversal") == 0 == m.rank("other")
    assert run(results, "reversal").rank("reversal") == 0 == run(results, "reversal").rank("continuation")
    assert m.careful("NEWUSDT") == 0.0                                   # it changes no score


def test_losses_that_are_not_in_a_row_bring_no_pause():
    m = told(Memory.of(), (0, "A", LOSS), (1, "B", LOSS), (2, "C", WIN), (3, "D", LOSS), (4, "E", LOSS))
    assert refused(m, START + 4 * HOUR) == [] and m.streak == 2
    m = told(Memory.of(), (0, "A", LOSS), (1, "A", WIN), (2, "A", LOSS))
    assert refused(m, START + 2 * HOUR, "A") == []


def test_a_break_even_changes_nothing_but_equity():
    before = told(Memory.of(), (0, "A", LOSS), (1, "B", LOSS))
    after = before.closed(Closed("even", "reversal", "A", -7.5, BREAKEVEN, START + 2 * HOUR))
    assert after._replace(seen=before.seen, last=before.last, equity=before.equity) == before and after.equity == before.equity - 7.5
    third = after.closed(Closed("third", "reversal", "C", -1.0, LOSS, START + 3 * HOUR))
    assert refused(third, START + 3 * HOUR) == ["pause"]                # the row of losses was not broken
    symbol = after.closed(Closed("third", "reversal", "A", -1.0, LOSS, START + 3 * HOUR))
    assert refused(symbol, START + 3 * HOUR, "A") == ["pause", "symbol_rest"]


def test_a_loss_during_the_pause_begins_it_again_and_a_win_does_not_end_it():
    m = told(Memory.of(), (0, "A", LOSS), (1, "B", LOSS), (2, "C", LOSS))
    assert m.closed(Closed("x", "reversal", "D", -1.0, LOSS, START + 5 * HOUR)).pause_until == START + 17 * HOUR
    won = m.closed(Closed("x", "reversal", "D", 1.0, WIN, START + 5 * HOUR))
    assert won.streak == 0 and refused(won, START + 14 * HOUR - 1) == ["pause"] and refused(won, START + 14 * HOUR) == []


def test_the_quota_counts_signals_of_the_utc_day():
    m, late = Memory.of(), START + DAY - MINUTE
    for k in range(5):
        assert refused(m, late) == []
        m = m.spoke(("reversal", "continuation")[k % 2], late)
    assert refused(m, late) == ["quota"] == refused(m, START + DAY - 1) and refused(m, START + DAY) == []
    assert refused(m.spoke("reversal", START + DAY), START + DAY) == [] and m.spoke("reversal", START + DAY).emitted == 1
    assert m.spoke("another", late) is m
    deep = m._replace(equity=900.0, peak=1000.0)
    assert refused(deep.spoke("reversal", START + DAY), START + DAY) == []
    assert refused(deep.spoke("reversal", START + DAY).spoke("reversal", START + DAY), START + DAY) == ["quota"]
    assert Memory.of(Policy(most=1))._replace(equity=900.0, peak=1000.0).quota() == 1      # the smallest of the three


def test_every_reason_is_told_in_the_order_of_precedence():
    m = run(of(0, 10), "reversal", symbol="BTCUSDT")
    for _ in range(5): m = m.spoke("reversal", START + 9 * HOUR)
    said = m.verdicts("reversal", "BTCUSDT", START + 9 * HOUR, 84.0, 75.0)
    assert [v.gate for v in said] == GATES and not any(v.passed for v in said) and all(v.reason and v.value for v in said)
    assert "2026-10-30 21:00" in said[0].reason and "2026-11-01 09:00" in said[1].reason and "2026-10-31 09:00" in said[2].reason
    assert said[3].value == "5 of 5 today" and "85" in said[4].reason
    assert [v.reason for v in Memory.of().verdicts("reversal", "BTCUSDT", START, 75.0, 75.0)] == [""] * 5


# --- who is bound, what is seen


def test_strategies_that_are_not_bound_neither_teach_nor_ask():
    m = run(of(0, 12), "reversal", symbol="BTCUSDT")
    assert m.closed(Closed("x", "ema_scalper", "BTCUSDT", -500.0, LOSS, START + 20 * HOUR)) is m
    (said,) = m.verdicts("ema_scalper", "BTCUSDT", START + 11 * HOUR, 0.0, 75.0)
    assert said.passed and not said.reason and m.rank("ema_scalper") == 0
    joined = Memory.of(Policy(strategies=("ema_scalper",)))
    lost = run(of(0, 3), "ema_scalper", m=joined)
    assert refused(lost, START + 2 * HOUR, strategy="ema_scalper") == ["pause"]
    assert refused(lost, START + 2 * HOUR, strategy="reversal") == []
    assert run(of(0, 12), "reversal", m=joined) == joined and run(of(14, 0), m=joined).rank("continuation") == 0
    assert restored(OFF, saved(run(of(14, 0)))).rank("continuation") == 0      # the settings of today, not those it learned under
    off = run(of(0, 12), "reversal", m=Memory.of(OFF))
    assert off == Memory.of(OFF) and POLICIES["memory_s2"] == Policy() and POLICIES["off"] == OFF


def test_a_trade_teaches_once_even_through_the_database():
    trades = [Closed(f"{k:02}", "reversal", SYMBOLS[k % 4], -5.0, LOSS if k % 3 else WIN, START + k * HOUR) for k in range(25)]
    m = Memory.of()
    for t in trades: m = m.closed(t)
    again = restored(m.policy, json.loads(json.dumps(saved(m))))
    assert again == m
    for t in trades:
        assert m.closed(t) is m and again.closed(t) == m
        assert again.closed(t._replace(result=WIN, net=99.0)) == m       # the id decides
    new = Closed("99", "reversal", "BTCUSDT", -5.0, LOSS, START + 30 * HOUR)
    assert again.closed(new) == m.closed(new) != m


def test_trades_of_long_ago_are_known_to_have_been_seen():
    old = Closed("old", "reversal", "BTCUSDT", -5.0, LOSS, START)
    m = Memory.of().closed(old).closed(Closed("new", "reversal", "BTCUSDT", -5.0, LOSS, START + 30 * DAY))
    assert set(m.seen) == {"new"} and m.closed(old) is m
    young = Memory.of().closed(old).closed(Closed("new", "reversal", "BTCUSDT", -5.0, LOSS, START + 30 * DAY - 1))
    assert set(young.seen) == {"old", "new"} and young.closed(old) is young


def test_an_account_of_its_own_size():
    assert (Memory.of().equity, Memory.of().peak, Memory.of(equity=250.0).peak) == (10_000.0, 10_000.0, 250.0)


def broken(**changes):
    return saved(run(of(3, 4), "reversal")) | changes


@pytest.mark.parametrize("state", [
    None, 7, "x", [], {}, {k: v for k, v in saved(Memory.of()).items() if k != "streak"}, broken(equity="much"), broken(equity=None),
    broken(by_symbol=[1, 2]), broken(outcomes=5), broken(seen={"a": None}), broken(symbol_until={"A": "soon"}), broken(streak=[]),
    broken(by_strategy={"reversal": 1})])
def test_what_cannot_be_read_back_is_an_error(state):
    with pytest.raises(ValueError, match="restore the database from a backup"): restored(Policy(), state)


# --- the second opinion


class Wall:
    "Everything that happened, and F1 read literally: nothing is kept but events, all is counted when asked."

    def __init__(self, start, bound):
        self.start, self.bound, self.closes, self.spoken = start, bound, [], []

    def close(self, trade):
        if trade.strategy in self.bound and trade.id not in [c.id for c in self.closes]: self.closes.append(trade)

    def speak(self, strategy, time):
        if strategy in self.bound: self.spoken.append(time)

    def decided(self, **of):
        return [c for c in self.closes if c.result != BREAKEVEN and all(getattr(c, k) == v for k, v in of.items())]

    @staticmethod
    def rate(trades):
        return Fraction(100 * len([c for c in trades if c.result == WIN]), len(trades))

    def fall(self):
        "Percent below the best equity at any close, the start included."
        equity = [Fraction(self.start)]
        for c in self.closes: equity.append(equity[-1] + Fraction(c.net))
        return 100 * (max(equity) - equity[-1]) / max(equity)

    def paused(self, now):
        row, until = 0, 0
        for c in self.decided():
            row = row + 1 if c.result == LOSS else 0
            if row >= 3: until = max(until, c.time + 12 * HOUR)
        return now < until

    def rested(self, symbol, now):
        row, until = 0, 0
        for c in self.decided(symbol=symbol):
            row = row + 1 if c.result == LOSS else 0
            if row >= 2: until = c.time + 24 * HOUR
        return now < until

    def off(self, now):
        window, until = [], None
        for c in self.decided(strategy="reversal"):
            if until is not None and c.time >= until: window, until = [], None
            window = [*window, c][-20:]
            if len(window) >= 10 and self.rate(window) < 45: until = c.time + 48 * HOUR
        return until is not None and now < until

    def few(self):
        return 2 if self.fall() > 5 else 5

    def careful(self, symbol):
        every, its = self.decided()[-20:], self.decided(symbol=symbol)[-10:]
        m1 = 5 if len(every) >= 10 and self.rate(every) < 55 else 0
        m6 = 5 if len(its) >= 5 and self.rate(its) < 50 else 0
        return min(m1 + m6, 10)

    def first(self):
        window = self.decided(strategy="continuation")[-20:]
        return "continuation" in self.bound and len(window) >= 10 and self.rate(window) > 65

    def refuses(self, strategy, symbol, now, final, least):
        if strategy not in self.bound: return []
        said = [self.paused(now), strategy == "reversal" and self.off(now), self.rested(symbol, now),
                len([t for t in self.spoken if t // DAY == now // DAY]) >= self.few(), final < least + self.careful(symbol)]
        return [gate for gate, no in zip(GATES, said) if no]


BOUND = (("continuation", "reversal"), ("continuation", "reversal", "another"), ("another",), ())
STRATEGIES = st.sampled_from(["continuation", "reversal", "another"])
RESULTS = st.sampled_from([WIN, LOSS, BREAKEVEN, LOSS])
NETS = st.integers(-600, 500).map(lambda k: k / 2)
EDGES = [0, 0, 1, SECOND, HOUR, HOUR, 12 * HOUR - 1, 12 * HOUR, DAY - 1, DAY, 48 * HOUR - 1, 48 * HOUR]
WAITS = st.sampled_from(EDGES) | st.integers(0, 2 * DAY)
SCORES = st.sampled_from([74.9, 75.0, 79.9, 80.0, 84.9, 85.0]) | st.floats(0.0, 100.0)


def agree(m, wall, strategy, symbol, now, final, least=75.0):
    said = m.verdicts(strategy, symbol, now, final, least)
    assert [v.gate for v in said if not v.passed] == wall.refuses(strategy, symbol, now, final, least)
    assert [v.gate for v in said] == (GATES if strategy in wall.bound else ["memory"])
    assert all(bool(v.reason) is not v.passed and (v.passed or any(c.isdigit() for c in v.value)) for v in said)


class Side(RuleBasedStateMachine):
    "The memory and the wall, side by side."

    @initialize(bound=st.sampled_from(BOUND), start=st.sampled_from([1000.0, 10_000.0]))
    def begin(self, bound, start):
        self.m, self.wall = Memory.of(Policy(strategies=bound), start), Wall(start, bound)
        self.now, self.count, self.trades = START, 0, []

    def end(self, strategy, symbol, result, net):
        trade = Closed(f"{self.count:06}", strategy, symbol, net, result, self.now)
        self.count, self.trades = self.count + 1, [*self.trades, trade]
        self.m = self.m.closed(trade)
        self.wall.close(trade)

    @rule(wait=WAITS, strategy=STRATEGIES, symbol=st.sampled_from(SYMBOLS), result=RESULTS, net=NETS)
    def closes(self, wait, strategy, symbol, result, net):
        self.now += wait
        self.end(strategy, symbol, result, net)

    @rule(wait=WAITS, strategy=STRATEGIES, net=NETS, results=st.lists(st.tuples(st.sampled_from(SYMBOLS), RESULTS), min_size=6, max_size=9))
    def closes_many(self, wait, strategy, net, results):
        for symbol, result in results:
            self.now += wait // 8
            self.end(strategy, symbol, result, net / 8)

    @rule(k=st.integers(0, 10**6), other=RESULTS)
    @precondition(lambda self: self.trades)
    def repeats(self, k, other):
        before, trade = self.m, self.trades[k % len(self.trades)]
        if trade.strategy not in self.wall.bound: return
        self.m = self.m.closed(trade._replace(result=other, net=77.0))
        assert self.m == before
        self.wall.close(trade)

    @rule(wait=WAITS, strategy=STRATEGIES, times=st.integers(1, 3))
    def speaks(self, wait, strategy, times):
        self.now += wait
        for _ in range(times):
            self.m = self.m.spoke(strategy, self.now)
            self.wall.speak(strategy, self.now)

    @rule(later=WAITS, strategy=STRATEGIES, symbol=st.sampled_from(SYMBOLS), final=SCORES)
    def asks(self, later, strategy, symbol, final):
        before = self.m
        agree(self.m, self.wall, strategy, symbol, self.now + later, final)
        assert self.m == before

    @rule()
    def stops_and_starts(self):
        self.m = restored(self.m.policy, json.loads(json.dumps(saved(self.m))))

    @invariant()
    def same(self):
        m, wall = self.m, self.wall
        assert m.risk_cap == (0.005 if wall.fall() > 8 else 1.0) and m.quota() == wall.few()
        assert [m.rank(s) for s in ("continuation", "reversal", "another")] == [-int(wall.first()), 0, 0]
        for symbol in SYMBOLS: assert m.careful(symbol) == wall.careful(symbol)
        for strategy in ("continuation", "reversal"): agree(m, wall, strategy, SYMBOLS[self.count % 4], self.now, 80.0)


Side.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
test_the_memory_agrees_with_the_wall = Side.TestCase


EVENTS = st.lists(st.tuples(STRATEGIES, st.sampled_from(SYMBOLS), RESULTS, NETS, WAITS.map(lambda w: w // 6)), min_size=10, max_size=70)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(BOUND[:2]), EVENTS, WAITS, STRATEGIES, st.sampled_from(SYMBOLS), SCORES)
def test_after_any_trades_and_any_wait_every_verdict_is_the_same(bound, events, wait, strategy, symbol, final):
    m, wall, now = Memory.of(Policy(strategies=bound)), Wall(10_000.0, bound), START
    for k, (who, what, result, net, gap) in enumerate(events):
        now += gap
        trade = Closed(f"{k:03}", who, what, 4 * net, result, now)
        m = m.closed(trade)
        wall.close(trade)
    agree(m, wall, strategy, symbol, now + wait, final)
    assert m.rank("continuation") == -int(wall.first()) and m.risk_cap == (0.005 if wall.fall() > 8 else 1.0)
    assert set(m.outcomes) <= {0, 1} and len(m.outcomes) <= 20 and all(len(v) <= 10 for v in m.by_symbol.values())
    assert m.peak >= m.equity
