"""The promise, checked: what the notebook's backtest shows is what the whole service does, over the same candles, bit for bit.

One side is `perps_kit.backtest.run`: compiled columns, sparse signals, lives of trades. The other is everything else: replay venue,
ccxt, WebSocket, units in plain Python, gates, database and, in mode live, orders at the venue. Signals, components, decisions, positions
and their events must be equal in every bit, the venue's fills equal on its tick.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perps_kit.backtest.ledger import Ledger
from perps_kit.backtest.portfolio import Portfolio, portfolio
from perps_kit.backtest.run import Result, Trade
from perps_kit.core.bar import Bars
from perps_kit.core.clock import MINUTE, iso, timeframe_of
from perps_kit.core.features import plan_of
from perps_kit.core.unit import dumps, loads
from perps_kit.data.funding import settlements
from perps_kit.scoring.book import Pipeline
from perps_kit.storage.models import json_safe
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import changes
from perps_kit.trackers.plan import CANCELLED, CLOSED, OPPOSITE

if TYPE_CHECKING:
    from runners.settings import AccountSettings, MemorySettings


@dataclass
class Found:
    "What was compared, and the first difference."

    cycles: int = 0
    span: tuple[int, int] = (0, 0)
    counts: dict[str, int] = field(default_factory=dict)
    difference: str = ""
    backtest: Any = None
    service: Any = None

    @property
    def equal(self) -> bool:
        return not self.difference

    def compare(self, what: str, where: str, backtest: Any, service: Any) -> None:
        "Count a comparison; keep the first that fails with both sides."
        self.counts[what] = self.counts.get(what, 0) + 1
        if not self.difference and backtest != service:
            self.difference, self.backtest, self.service = f"{what} of {where}", backtest, service

    def facts(self) -> dict[str, Any]:
        backtest, service = (repr(self.backtest), repr(self.service)) if self.difference else (None, None)
        return json_safe(dict(equal=self.equal, cycles=self.cycles, start=self.span[0], end=self.span[1], compared=self.counts,
                              difference=self.difference or None, backtest=backtest, service=service))

    def text(self) -> str:
        lines = [f"{iso(self.span[0])} to {iso(self.span[1])} UTC, {self.cycles} closes in lockstep"]
        lines += [f"  {n:>7}  {what}" for what, n in self.counts.items()]
        if self.equal:
            return "\n".join([*lines, "parity holds: every one is the same on both sides"])
        return "\n".join([*lines, f"parity is broken: {self.difference}", f"  backtest: {self.backtest}", f"  service:  {self.service}"])


def run(
    strategies: dict[str, Any], data: Path | None, symbols: list[str] | None, start: str | None, end: str | None,
    mode: str = "live", quiet: bool = False, memory: str = "usual", account: dict[str, Any] | None = None,
) -> Found:
    "Both sides over the candles of [start, end), all strategies together; the service begins where the first of them can speak."
    from runners.cli.research import candles
    from runners.errors import ConfigError

    if mode not in ("live", "paper"):
        raise ConfigError(f"parity in mode {mode!r}: use live or paper")
    if memory not in ("usual", "all", "off"):
        raise ConfigError(f"parity with memory {memory!r}: use usual, all or off")
    terms = account_settings(account or {})
    minutes = min(s.minutes for s in strategies.values())
    bars, funding, _ = candles(data, symbols, timeframe_of(minutes), start, end)
    bars = {symbol: as_told(b) for symbol, b in bars.items()}
    first, last = min(int(b.open_time[0]) for b in bars.values()), max(int(b.close_time[-1]) for b in bars.values())
    try:
        plan = plan_of(strategies, minutes)
    except ValueError as wrong:
        raise ConfigError(f"{wrong}: ask for these strategies one after the other") from None
    begin = first + min(plan.warmup(name) for name in strategies) * minutes * MINUTE
    if begin >= last:
        raise ConfigError(f"the candles end at {iso(last)}, before the first strategy can speak at {iso(begin)}: give more of them")
    with tempfile.TemporaryDirectory(prefix="perps-parity-", ignore_cleanup_errors=True) as folder:
        span = (first, begin, last)
        found, rows = asyncio.run(serve(strategies, minutes, data, list(bars), *span, mode, Path(folder), quiet, memory, terms))
    pipeline, policy = Pipeline(enabled=frozenset(strategies)), memory_of(memory, strategies).terms
    whole = portfolio(strategies, bars, terms.terms, pipeline, funding=funding, grids=rows["grids"], policy=policy, ledger=Ledger("off"))
    compare(found, whole.reference, rows, funding, mode)
    if mode == "paper":
        compare_account(found, whole, rows)
    return found


def account_settings(wished: dict[str, Any]) -> "AccountSettings":
    "The account of both sides; ConfigError names what is wrong."
    from pydantic import ValidationError

    from runners.errors import ConfigError
    from runners.settings import AccountSettings, sentence

    given = wished | {"classes": wished["classes"].split(",")} if isinstance(wished.get("classes"), str) else wished
    try:
        return AccountSettings(**given)
    except ValidationError as wrong:
        raise ConfigError(f"the account: {sentence(wrong.errors()[0], AccountSettings)}") from None


def memory_of(wished: str, strategies: dict[str, Any]) -> "MemorySettings":
    "The memory's settings: the usual ones, those that bind every strategy, or none."
    from runners.settings import MemorySettings

    bound = tuple(sorted(strategies)) if wished == "all" else None
    return MemorySettings(policy="off" if wished == "off" else "memory_s2", strategies=bound)


def as_told(bars: Bars) -> Bars:
    "The candles as the replay venue tells them: it fills in what a file did not record, so both sides have to read the same."
    from runners.venue.history import of_row

    if not any(np.isnan(column).any() for column in (bars.taker_buy, bars.quote_volume, bars.trades)):
        return bars
    rows = [of_row(bars, i, 8) for i in range(len(bars))]
    quote, trades, taker = (np.array([float(row[k]) for row in rows]) for k in (7, 8, 9))
    return replace(bars, quote_volume=quote, trades=trades, taker_buy=taker)


async def serve(
    strategies: dict[str, Any], minutes: int, data: Path | None, symbols: list[str], first: int, begin: int, last: int,
    mode: str, folder: Path, quiet: bool, memory: str, account: "AccountSettings",
) -> tuple[Found, dict[str, Any]]:
    "Run the service in lockstep from `begin` to `last`; its database as plain rows."
    from rich.progress import Progress

    from runners.db.connect import open_database
    from runners.live.following import grid_of
    from runners.live.service import open_service
    from runners.settings import load
    from runners.state import ServiceState

    settings = load(
        environ={}, mode=mode, live=dict(confirmed=True), database=f"sqlite:///{folder}/parity.db", symbols=symbols,
        timeframe=timeframe_of(minutes), origin=first, strategies={name: s._asdict() for name, s in strategies.items()},
        venue=dict(replay=dict(data=data, start=begin, end=last)), http=dict(enabled=False), memory=memory_of(memory, strategies),
        accounts=(account,),
    )
    db, state = await open_database(settings.database), ServiceState()
    try:
        with Progress(disable=quiet, transient=True) as progress:
            bar = progress.add_task("lockstep", total=1.0)

            async def show() -> None:
                while True:
                    progress.update(bar, completed=state.progress or 0.0)
                    await asyncio.sleep(0.5)

            async with open_service(settings, db, state, console=True) as service:
                shown = asyncio.create_task(show())
                try:
                    await service.run()
                finally:
                    shown.cancel()
                    await asyncio.gather(shown, return_exceptions=True)
                return Found(service.cycles, (begin, service.last)), await rows_of(db) | dict(
                    grids={symbol: grid_of(f) for symbol, f in service.exchange.filters.items()})
    finally:
        await db.close()


async def rows_of(db: Any) -> dict[str, Any]:
    "What the service left: signals, decisions on clean signals, positions with their events, orders and fills."
    from sqlalchemy import select

    from perps_kit.storage.models import DecisionRow, Equity, Fill, FollowRow, Order, SignalRow, Tracker, TrackerEvent

    async with db.read() as session:
        signals = {s.id: s for s in await session.scalars(select(SignalRow))}
        decisions = list(await session.scalars(select(DecisionRow).order_by(DecisionRow.time, DecisionRow.id)))
        trackers = list(await session.scalars(select(Tracker)))
        events: dict[int, list[TrackerEvent]] = {}
        for event in await session.scalars(select(TrackerEvent).order_by(TrackerEvent.id)):
            events.setdefault(event.tracker_id, []).append(event)
        orders = {o.client_id: o for o in await session.scalars(select(Order))}
        fills = list(await session.scalars(select(Fill)))
        follows = {f.signal_id: f for f in await session.scalars(select(FollowRow))}
        equity = {e.time: e.equity for e in await session.scalars(select(Equity).order_by(Equity.time))}
    reference, accounts = ({t.signal_id: t for t in trackers if (t.account_id is None) is own} for own in (True, False))
    return dict(signals=signals, decisions=decisions, events=events, reference=reference, accounts=accounts, follows=follows,
                equity=equity, orders=orders, fills=fills)


def compare(found: Found, result: Result, rows: dict[str, Any], funding: dict[str, Any], mode: str) -> None:
    "Every signal of both sides, in the order of time."
    ours, theirs = {t.id: t for t in result.trades}, rows["signals"]
    found.compare("signal lists", "the whole run", [(t.id, iso(t.candidate.time), t.symbol) for t in result.trades],
                  [(s.id, iso(s.close_time), s.symbol) for s in
                   sorted(theirs.values(), key=lambda s: (s.close_time, -s.final, s.symbol, s.strategy, s.side))])
    paid = {own: settlements(bars, funding.get(own[0])) for own, bars in result.own.items()}
    for id, trade in ours.items():
        if id not in theirs:
            continue
        where = f"{trade.candidate.strategy} {trade.symbol} {iso(trade.candidate.time)}"
        found.compare("signals with their components", where, signal_facts(trade), stored_facts(theirs[id]))
        tracker = rows["reference"][id]
        own = trade.symbol, trade.candidate.minutes
        ladder, told = relive(trade, result.own[own], paid[own])
        found.compare("reference positions", where, dumps(ladder), tracker.ladder)
        stored = [(e.time, e.kind, e.price, e.weight, e.detail) for e in rows["events"].get(tracker.id, [])]
        found.compare("fills, stop moves and closes of positions", where, json_safe(told), json_safe(stored))
        if mode == "live" and id in rows["accounts"] and ladder.state != CANCELLED:  # a venue fills before a gap calls off
            compare_fills(found, where, ladder, rows["accounts"][id], rows)
    clean = [d for d in rows["decisions"] if d.outcome == "published" or any(v["gate"] == "regime" for v in d.verdicts)]
    stored = sorted_as(clean, result)
    ends = [[(d.time, d.strategy, d.symbol, d.side, d.mode, d.outcome, d.reason) for d in side] for side in (result.decisions, stored)]
    found.compare("decision lists", "the whole run", *ends)
    for ours_d, theirs_d in zip(result.decisions, stored, strict=False):
        told = json_safe(dict(v=[v._asdict() for v in ours_d.verdicts], f=ours_d.features))
        where = f"{ours_d.strategy} {ours_d.symbol} {iso(ours_d.time)}"
        found.compare("decisions with every verdict and feature", where, told, dict(v=theirs_d.verdicts, f=theirs_d.features))


def compare_account(found: Found, whole: Portfolio, rows: dict[str, Any]) -> None:
    "What the paper account answered to each signal, how its positions went, and its equity at every close."
    theirs = rows["follows"]
    found.compare("answers of the account", "the whole run", sorted(f.id for f in whole.follows), sorted(theirs))
    for f in whole.follows:
        said = json_safe(dict(f._asdict(), verdicts=[v._asdict() for v in f.verdicts]))
        row = theirs.get(f.id)
        names = ("time", "outcome", "reason", "verdicts", "quantity", "risk", "equity")
        stored = row and json_safe({name: getattr(row, name) for name in names})
        found.compare("answers with every verdict, quantity and equity", f"{f.symbol} {iso(f.time)}", {n: said[n] for n in names}, stored)
    for t in whole.trades:
        if t.outcome and t.outcome.marked:
            continue  # still open where the candles end
        found.compare("positions of the account", f"{t.symbol} {iso(t.candidate.time)}", dumps(t.ladder),
                      rows["accounts"][t.id].ladder if t.id in rows["accounts"] else None)
    ours = dict(zip(whole.times.tolist(), whole.equity.tolist(), strict=True))
    for time, equity in rows["equity"].items():
        found.compare("equity of the account at a close", iso(time), ours.get(time), equity)


def sorted_as(decisions: list[Any], result: Result) -> list[Any]:
    "The service's decisions in the backtest's order."
    order = {(d.time, d.strategy, d.symbol, d.side, d.mode): i for i, d in enumerate(result.decisions)}
    return sorted(decisions, key=lambda d: order.get((d.time, d.strategy, d.symbol, d.side, d.mode), len(order)))


def signal_facts(t: Trade) -> dict[str, Any]:
    c, s, plan = t.candidate, t.candidate.signal, t.ladder.plan
    return json_safe(dict(side=s.side, entry=s.entry, stop=plan.stop, multiples=[plan.m1, plan.m2, plan.m3], atr=s.atr, raw=s.raw,
                          final=t.final, components=s.parts, warm=c.warm, origin=c.origin))


def stored_facts(s: Any) -> dict[str, Any]:
    return {k: getattr(s, k) for k in ("side", "entry", "stop", "multiples", "atr", "raw", "final", "components", "warm", "origin")}


def relive(trade: Trade, bars: Bars, paid: Any) -> tuple[Ladder, list[tuple]]:
    "The trade bar by bar in plain Python from the compiled life's closing decisions: its last state before any mark, and what happened."
    from perps_kit.engine.engine import waiting

    plan = trade.ladder.plan
    ladder, told = waiting(trade.candidate.signal, trade.candidate.time, plan.tick, trade.ladder.rules), []
    begin = int(bars.close_time.searchsorted(trade.candidate.time, side="right"))
    left = trade.ladder.reason == OPPOSITE
    for i in range(begin, len(bars)):
        after, _ = ladder.update(bars[i], float(paid.at_open[i]), float(paid.inside[i]))
        if left and after.state < CLOSED and int(bars.close_time[i]) == trade.ladder.times.exit:
            after = after.leave(OPPOSITE)
        told += [tuple(e) for e in changes(ladder, after)]
        ladder = after
        if ladder.state >= CLOSED:
            break
    return ladder, told


def compare_fills(found: Found, where: str, ladder: Ladder, tracker: Any, rows: dict[str, Any]) -> None:
    "Prices of the venue's fills against the reference position's, on the tick."
    mine = [o for o in rows["orders"].values() if o.signal_id == tracker.signal_id]
    parts, own = (x.plan for x in (ladder, loads(ladder, tracker.ladder)))
    left_out = ""
    if any(o.kind == "entry" and o.state == "rejected" for o in mine):
        left_out = "entries that the venue refused, left out"  # for want of margin: the account has no such position
    elif 0.0 in (own.w1, own.w2, own.w3) and (own.w1, own.w2, own.w3) != (parts.w1, parts.w2, parts.w3):
        left_out = "positions too small for all parts, left out"  # a part below the least quantity is sold with the next
    if left_out:
        found.counts[left_out] = found.counts.get(left_out, 0) + 1
        return
    tick, f = ladder.plan.tick or 1e-9, ladder.fills
    wanted = {"entry": f.entry, "tp1": f.x1, "tp2": f.x2, "tp3": f.x3, "out": f.out}
    got: dict[str, float] = {}
    for fill in rows["fills"]:
        order = rows["orders"].get(fill.client_id)
        if order and order.signal_id == tracker.signal_id:
            got["out" if order.kind in ("stop", "close") else order.kind] = fill.price
    for kind, price in wanted.items():
        if price == price or kind in got:
            ours, theirs = round(price / tick) if price == price else None, round(got[kind] / tick) if kind in got else None
            found.compare("fills at the venue, on its tick", f"{where} {kind}", ours, theirs)
