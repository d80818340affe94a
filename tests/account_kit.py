"An account by hand, for tests: slow, plain, with bookkeeping of its own; only the ladder, its result and the rules are the kit's."

from collections import defaultdict
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from fixtures.candles import QUARTER, walk
from told import FREELY, QUIET, Told

from perps_kit.backtest.lanes import Lane
from perps_kit.backtest.portfolio import Portfolio
from perps_kit.core.bar import Bar, Bars
from perps_kit.core.clock import DAY, HOUR
from perps_kit.core.signal import Candidate
from perps_kit.core.stream import Stream
from perps_kit.data.funding import Funding, settlements
from perps_kit.data.series import fill_holes
from perps_kit.engine.engine import Engine, stepped, waiting
from perps_kit.engine.follow import followed, ladder_of, order_of
from perps_kit.risk.account import Account, Holding, Terms
from perps_kit.risk.liquidation import TYPICAL
from perps_kit.risk.memory import Closed, Memory, Policy
from perps_kit.risk.order import Grid, Scene
from perps_kit.scoring.context import KEPT, context_features
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import result, worth
from perps_kit.trackers.plan import CLOSED, OPEN, OPPOSITE, PENDING, Rules


class Slow(Told):
    "The same on half hours: a bar speaks if one of its two quarters does and the other is quiet."

    minutes = 30


TWO = {"quick": Told(), "slow": Slow(8.0, QUIET)}     # quick reads the quarter's own word, slow the sum of two quarters
QUICK = {"first": Told(), "second": Told(9.0, 1000.0, 1.0)}
BINDS = Policy(strategies=(*TWO, *QUICK), enough=4, symbol_enough=3, most=20)


class Held(NamedTuple):
    "A position of the account by hand."

    c: Candidate
    ladder: Ladder
    leverage: int


class ByHand:
    "What an account is worth and holds, and why; what the rules are told is worked out anew each time."

    def __init__(self, balance: float, terms: Terms, rules: Rules, grids: dict[str, Grid]) -> None:
        self.balance, self.terms, self.rules, self.grids = balance, terms._replace(fee=rules.fee), rules, grids
        self.held, self.ladders = dict[str, Held](), dict[str, Ladder]()
        self.best, self.peak, self.now, self.opened = balance, balance, balance, dict[int, float]()
        self.ends, self.entries, self.halted, self.over = list[tuple[int, str]](), list[tuple[int, str]](), False, -1
        self.prices, self.follows, self.equity = dict[str, float](), [], dict[int, float]()

    def set(self, id: str, ladder: Ladder, time: int) -> None:
        "A position after something happened to it; one that is over is booked."
        self.ladders[id] = ladder
        if ladder.state < CLOSED:
            self.held[id] = self.held[id]._replace(ladder=ladder)
            return
        del self.held[id]
        if ladder.state == CLOSED:
            made = result(ladder)
            self.balance += made.net
            self.best = max(self.best, self.balance)
            self.ends.append((time, made.result))

    def mark(self, time: int) -> None:
        "The equity at a close, after its positions have stepped."
        total = 0.0
        for h in self.held.values():
            if h.ladder.state >= OPEN: total += worth(h.ladder, self.prices[h.c.symbol])
        now = self.balance + total
        if time // DAY not in self.opened: self.opened[time // DAY] = now if time % DAY == 0 or not self.opened else self.now
        self.now, self.peak, self.equity[time] = now, max(self.peak, now), now
        peak, opened = self.peak, self.opened[time // DAY]
        if (opened - now) / opened >= self.terms.daily_loss - 1e-12: self.over = time // DAY
        self.halted = self.halted or (peak - now) / peak >= self.terms.drawdown - 1e-12

    def account(self, time: int) -> Account:
        "What the rules are told."
        size = 1.0
        for t, how in self.ends:
            if t // DAY == time // DAY: size = min(max(size * {"WIN": 1.1, "LOSS": 0.8}.get(how, 1.0), 0.5), 1.25)
        holdings = []
        for id, h in self.held.items():
            plan, waits = h.ladder.plan, h.ladder.state == PENDING
            entry = plan.reference if waits else h.ladder.fills.entry
            quantity = plan.quantity if waits else h.ladder.quantity_left
            holdings.append(Holding(id, h.c.strategy, h.c.symbol, plan.side, quantity, entry, abs(entry - plan.stop), h.leverage,
                                    h.ladder.leaving > 0))
        return Account(self.balance, self.now, self.peak, self.best, time // DAY, self.opened[time // DAY], size, time // DAY,
                       tuple(self.entries), self.halted, tuple(holdings), self.over)

    def answer(self, id: str, c: Candidate, final: float, market: Any, memory: Memory | None, minutes: int) -> None:
        "A published signal."
        grid = self.grids.get(c.symbol, Grid())
        reference = waiting(c.signal, c.time, grid.tick, self.rules)
        scene = Scene(self.account(c.time), self.terms, grid, TYPICAL, market, memory, minutes)
        order, said = followed(order_of(id, c, final, reference), scene)
        self.follows.append(said)
        if order.refused: return
        recent = [(t, s) for t, s in self.entries if t // DAY == c.time // DAY or t >= c.time - HOUR]    # what verdicts tell of
        self.entries = [*recent, (c.time, c.symbol)]
        ladder = ladder_of(order, c.signal, grid, self.rules)
        self.held[id], self.ladders[id] = Held(c, ladder, order.leverage), ladder


def finished(ladders: dict[str, tuple[Ladder, Bars]]) -> dict[str, Ladder]:
    "Ladders as the end of the data leaves them: those that are open are marked at the last close of their own bars."
    return {id: ladder.finish(float(own.close[-1]), int(own.close_time[-1])) for id, (ladder, own) in ladders.items()}


def own_bars(bars: Bars, minutes: int) -> Bars:
    "Whole bars of `minutes` out of candles, holes filled, put together by hand."
    whole, buckets = fill_holes(bars), defaultdict(list)
    if minutes == whole.minutes: return whole
    for bar in whole: buckets[bar.open_time // (minutes * 60_000)].append(bar)
    rows = []
    for k, some in sorted(buckets.items()):
        if len(some) * whole.minutes != minutes: continue
        a, z = some[0], some[-1]
        sums = [sum(getattr(b, name) for b in some) for name in ("volume", "taker_buy", "quote_volume", "trades")]
        rows.append(Bar(k * minutes * 60_000, (k + 1) * minutes * 60_000, a.open, max(b.high for b in some), min(b.low for b in some),
                        z.close, sums[0], sums[1], sums[2], sums[3], z.synthetic))
    return Bars.of(bars.symbol, minutes, rows)


def taught_by_hand(run: Portfolio, policy: Policy | None) -> list[tuple[int, Memory | None]]:
    "The memory at each decision of a run: a plain fold over what was closed and published before it, in the order of time."
    memory, at = Memory.of(policy) if policy else None, []
    over: list[Any] = sorted(((t.ladder.times.last, t.id, t) for t in run.reference.trades if t.outcome and not t.outcome.marked),
                  key=lambda row: row[:2])
    for d in run.reference.decisions:
        while memory and over and over[0][0] <= d.time:
            time, id, t = over.pop(0)
            stake = memory.policy.capital * memory.policy.risk
            memory = memory.closed(Closed(id, t.candidate.strategy, t.symbol, stake * t.outcome.net_r, t.outcome.result, time))
        at.append((d.time, memory))
        if memory and d.signal_id: memory = memory.spoke(d.strategy, d.time)
    return at


class Candles(NamedTuple):
    "What an account by hand steps on."

    own: dict[tuple[str, str], dict[int, tuple[Bar, float, float, int]]]    # by symbol and strategy, by close: bar, funding, what leaves
    last: dict[tuple[str, str], Bars]
    closes: dict[int, list[tuple[str, float]]]
    base: dict[str, Any]


def candles_of(found: list[Lane], funding: dict[str, Funding]) -> Candles:
    "Own bars of every strategy, put together by hand, and the closes of the candles."
    own, last, closes = {}, {}, defaultdict(list)
    for one in found:
        symbol, key = one.bars.symbol, (one.bars.symbol, one.name)
        last[key] = next((b for (s, _), b in last.items() if s == symbol and b.minutes == one.strategy.minutes), None) or own_bars(
            one.ground.bars, one.strategy.minutes)
        paid = settlements(last[key], funding.get(symbol))
        rows = zip(last[key], paid.at_open.tolist(), paid.inside.tolist(), one.leaves.tolist(), strict=True)
        own[key] = {bar.close_time: (bar, opened, inside, leaves) for bar, opened, inside, leaves in rows}
    base = {one.bars.symbol: one.ground for one in found}
    for s, ground in base.items():
        for time, close in zip(ground.bars.close_time.tolist(), ground.bars.close.tolist()): closes[time].append((s, close))
    return Candles(own, last, dict(sorted(closes.items())), base)


def by_hand(run: Portfolio, candles: Candles, rules: Rules, grids: dict[str, Grid], policy: Policy | None) -> ByHand:
    "An account stepped candle by candle through the signals that a run published; leaves and contexts are the lanes'."
    it, (own, last, closes, base) = ByHand(run.balance, run.terms, rules, grids), candles
    decisions: dict[int, list[Any]] = defaultdict(list)
    for d, (_, memory) in zip(run.reference.decisions, taught_by_hand(run, policy), strict=True): decisions[d.time].append((d, memory))
    signals = {t.id: t for t in run.reference.trades}
    for time in closes:
        it.prices.update(closes[time])
        for id, h in list(it.held.items()):
            row, ladder = own[h.c.symbol, h.c.strategy].get(time), h.ladder
            if row is None: continue
            ladder, _ = ladder.update(*row[:3])
            if row[3] == ladder.plan.side: ladder = ladder.leave(OPPOSITE)
            it.set(id, ladder, time)
        it.mark(time)
        for d, _ in decisions[time]:
            for id in d.closes:
                if id in it.held: it.set(id, it.held[id].ladder.leave(OPPOSITE), time)
        newest = decisions[time][-1][1] if decisions[time] else None
        for d, _ in decisions[time]:
            if not d.signal_id: continue
            t = signals[d.signal_id]
            near = {s: ground.context(time) for s, ground in base.items()}
            it.answer(t.id, t.candidate, t.final, {s: c for s, c in near.items() if c}, newest, base[t.symbol].bars.minutes)
    places = {id: (t.symbol, t.candidate.strategy) for id, t in signals.items()}
    it.ladders = finished({id: (ladder, last[places[id]]) for id, ladder in it.ladders.items()})
    return it


def served(strategies: dict[str, Any], bars: dict[str, Bars], terms: Terms, pipeline: Any, rules: Rules, funding: dict[str, Funding],
           grids: dict[str, Grid], policy: Policy, balance: float) -> tuple[ByHand, list[Any], list[tuple[int, Memory]]]:
    "The same as a service without a database does it: streams, the engine, an account by hand; decisions and the memory at each close."
    it, minutes = ByHand(balance, terms, rules, grids), next(iter(bars.values())).minutes
    paid, own = {}, {}
    for s in bars:
        for m in {x.minutes for x in strategies.values()}:
            own[s, m] = own_bars(bars[s], m)
            cash = settlements(own[s, m], funding.get(s))
            rows = zip(own[s, m].open_time.tolist(), own[s, m].close_time.tolist(), cash.at_open.tolist(), cash.inside.tolist())
            paid |= {(s, opened, closed): both for opened, closed, *both in rows}
    streams = {s: Stream(strategies, s, minutes, context_features(minutes), KEPT) for s in bars}
    ticks = {s: g.tick for s, g in grids.items()}
    engine = Engine(strategies, pipeline if pipeline.leader in bars else pipeline._replace(leader=""), rules, ticks, Memory.of(policy))
    rows = {s: {bar.close_time: bar for bar in bars[s]} for s in bars}
    decisions, memories, home = [], [], {}
    for time in sorted(set().union(*rows.values())):
        steps = {s: streams[s].accept(rows[s][time]) for s in rows if time in rows[s]}
        cycle = engine.cycle(time, steps, paid)
        for id, h in list(it.held.items()):
            ladder = h.ladder
            for step in steps.get(h.c.symbol, ()):
                ladder = stepped(ladder, h.c.strategy, h.c.symbol, h.c.minutes, step, paid)
                it.prices[h.c.symbol] = step.bar.close
            it.set(id, ladder, time)
        it.prices.update({s: some[-1].bar.close for s, some in steps.items()})
        it.mark(time)
        decisions += [d for c, d in cycle.decisions if not c.signal.failed]
        for p in cycle.published:
            memory: Any = engine.book.memory
            it.answer(p.id, p.candidate, p.final, engine.market, memory, minutes)
            home[p.id] = own[p.candidate.symbol, p.candidate.minutes]
        memories.append((time, engine.book.memory))
    it.ladders = finished({id: (ladder, home[id]) for id, ladder in it.ladders.items()})
    return it, decisions, memories


WORDS = [QUIET, 1001.0, 1002.0, 1003.0, 1004.0, 2001.0, 2002.0]


def random_market(seed: int, n: int = 700, small: bool = False, large: bool = False) -> tuple[dict[str, Bars], dict[str, Funding]]:
    "Walks with told signals at random bars, holes if wished, funding every eight hours; two of three begin later and end sooner."
    rng, bars, funding = np.random.default_rng(seed), {}, {}
    for k, s in enumerate(("AUSDT", "BUSDT", "CUSDT")):
        one = walk(10 * seed + k, n)
        words = rng.choice(WORDS, n, p=[0.7, 0.06, 0.06, 0.03, 0.03, 0.06, 0.06])
        one = replace(one, symbol=s, volume=words, taker_buy=np.full(n, np.nan))
        gone = np.zeros(n, bool)
        for i in rng.integers(50, n - 50, 6).tolist() if small else (): gone[i:i + int(rng.integers(1, 4))] = True
        for i in rng.integers(50, n - 50, 2).tolist() if large else (): gone[i:i + int(rng.integers(4, 12))] = True
        if k: gone[:7 * k] = gone[n - 5 * k:] = True
        bars[s] = one[~gone]
        times = np.arange(8 * HOUR, n * QUARTER, 8 * HOUR)
        funding[s] = Funding.of(s, times, rng.normal(0, 1e-4, len(times)), rng.uniform(250, 350, len(times)))
    return bars, funding


GRIDS = {"AUSDT": Grid(0.01, 0.001, 0.001, 0.0, 5.0), "BUSDT": Grid(0.1, 0.01, 0.01, 20.0, 5.0)}
LIVELY = FREELY._replace(minimum=0.0, near_time=2 * HOUR, lock=12 * HOUR)
ROOMY = Terms(drawdown=1.0, daily_loss=1.0, most_positions=9, trades_a_day=99, entries_an_hour=9, open_risk=0.3, adaptive=True)



def told(words: dict[int, float], n: int = 40, symbol: str = "AUSDT", price: float = 100.0, **moves: float) -> Bars:
    "Calm candles around a price with words in their volumes; b7=3.0 lifts the close of bar 7 by 3."
    close = np.full(n, price)
    for name, by in moves.items(): close[int(name[1:])] += by
    first, volume = np.full(n, price), np.array([words.get(i, QUIET) for i in range(n)])
    high, low = np.maximum(first, close) + 0.1, np.minimum(first, close) - 0.1
    return Bars.from_columns(symbol, 15, QUARTER * np.arange(n), first, high, low, close, volume, quote_volume=price * volume)
