"""What a cycle leaves in the database, written in the one transaction that makes it true: candles, decisions, signals, positions, locks, messages.

Nothing outside is told before that transaction has been committed.
"""

import time as wall
from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.bar import Bar
from perps_kit.core.clock import DAY
from perps_kit.core.signal import PRESET_NAMES
from perps_kit.core.stream import Step
from perps_kit.core.unit import dumps
from perps_kit.engine.engine import Cycle, Move, Published
from perps_kit.storage.keep import insert_new, set_meta
from perps_kit.storage.models import Candle, DecisionRow, Lock, SignalRow, Tracker, TrackerEvent
from perps_kit.trackers.ladder import Ladder
from perps_kit.trackers.outcome import changes, result
from perps_kit.trackers.plan import CANCELLED, CLOSED, EXITS, STATES
from runners.telegram.console import CHANNEL as CONSOLE
from runners.telegram.enqueue import enqueue

LOCKED = 7 * DAY


async def keep_candles(session: AsyncSession, venue: str, symbol: str, minutes: int, bars: Iterable[Bar]) -> None:
    "Closed bars, once."
    await insert_new(session, Candle, [dict(venue=venue, symbol=symbol, minutes=minutes, **{k: v for k, v in bar._asdict().items() if k != "close_time"}) for bar in bars])


async def keep_cycle(session: AsyncSession, venue: str, minutes: int, cycle: Cycle, steps: dict[str, list[Step]], ticks: dict[str, float], console: bool) -> None:
    "Everything that a cycle brought, and that it is done."
    for symbol, some in steps.items():
        await keep_candles(session, venue, symbol, minutes, (step.bar for step in some))
    await insert_new(session, DecisionRow, [
        dict(venue=venue, time=d.time, strategy=d.strategy, symbol=d.symbol, minutes=d.minutes, side=d.side, mode=d.mode, outcome=d.outcome, reason=d.reason,
             verdicts=[v._asdict() for v in d.verdicts], features=d.features, signal_id=d.signal_id or None) for _, d in cycle.decisions])
    modes = {d.signal_id: d.mode for _, d in cycle.decisions}
    for new in cycle.published:
        await publish(session, venue, new, modes[new.id], cycle.time, ticks.get(new.candidate.symbol, 0.0), console)
    for move in cycle.moves:
        await keep_move(session, move, None)
        if move.after.state >= CLOSED > move.before.state:
            await announce_end(session, move, ticks.get(move.symbol, 0.0), console)
    await set_meta(session, cycle=str(cycle.time))


async def publish(session: AsyncSession, venue: str, new: Published, mode: str, now: int, tick: float, console: bool) -> None:
    "A signal with its lock, its reference position and a message for everybody who listens."
    c, plan = new.candidate, new.ladder.plan
    row = dict(id=new.id, venue=venue, strategy=c.strategy, symbol=c.symbol, side=c.signal.side, mode=mode, minutes=c.minutes, close_time=c.time, entry=c.signal.entry, stop=plan.stop,
               preset=PRESET_NAMES[c.signal.preset], targets=list(new.targets), multiples=[plan.m1, plan.m2, plan.m3], atr=c.signal.atr, raw=c.signal.raw, score=min(10.0 * c.signal.raw, 100.0),
               final=new.final, components=dict(c.signal.parts._asdict()) if hasattr(c.signal.parts, "_asdict") else {}, warm=c.warm, origin=c.origin, status="pending", created_at=now)
    session.add(SignalRow(**row))
    await session.flush()
    await session.execute(delete(Lock).where(Lock.venue == venue, Lock.symbol == c.symbol, Lock.side == c.signal.side, Lock.strategy == c.strategy))
    session.add(Lock(venue=venue, symbol=c.symbol, side=c.signal.side, strategy=c.strategy, signal_id=new.id, until=now + LOCKED))
    session.add(Tracker(signal_id=new.id, account_id=None, **tracker_columns(new.ladder)))
    await tell(session, "signal", new.id, {k: v for k, v in row.items() if k not in ("venue", "origin", "created_at", "status")} | dict(tick=tick), console)


def tracker_columns(ladder: Ladder) -> dict[str, Any]:
    "A position as the columns of its row."
    over = ladder.state == CLOSED
    made = result(ladder) if over else None
    return dict(state=STATES[ladder.state], ladder=dumps(ladder), stop=ladder.levels.stop, trailing_peak_price=ladder.trailing_peak_price, quantity=ladder.plan.quantity,
                quantity_left=ladder.quantity_left, last_bar_time=ladder.last_bar_time, tp2_time=ladder.times.tp2 or None,
                exit_type=EXITS[ladder.reason] if ladder.state >= CLOSED else None, gross_r=made.gross_r if made else None, gross_percent=made.gross_percent if made else None,
                net_percent=made.net_percent if made else None, closed_at=ladder.times.exit if ladder.state >= CLOSED else None)


async def keep_move(session: AsyncSession, move: Move, account_id: int | None) -> None:
    "A position after a bar, and what happened to it; the reference's end also ends the signal and its lock."
    mine = Tracker.account_id.is_(None) if account_id is None else Tracker.account_id == account_id
    tracker = (await session.scalars(select(Tracker).where(Tracker.signal_id == move.id, mine))).one()
    await session.execute(update(Tracker).where(Tracker.id == tracker.id).values(**tracker_columns(move.after), version=tracker.version + 1))
    await insert_new(session, TrackerEvent, [dict(tracker_id=tracker.id, **event._asdict()) for event in changes(move.before, move.after)])
    if account_id is None and move.before.state != move.after.state:
        status = "cancelled" if move.after.state == CANCELLED else "closed" if move.after.state == CLOSED else "active"
        await session.execute(update(SignalRow).where(SignalRow.id == move.id).values(status=status))
        if move.after.state >= CLOSED:
            await session.execute(delete(Lock).where(Lock.signal_id == move.id))


async def announce_end(session: AsyncSession, move: Move, tick: float, console: bool) -> None:
    "Tell everybody how a signal ended."
    signal = (await session.scalars(select(SignalRow).where(SignalRow.id == move.id))).one()
    facts = dict(id=move.id, strategy=signal.strategy, symbol=signal.symbol, side=signal.side, minutes=signal.minutes, exit_type=EXITS[move.after.reason], tick=tick)
    if move.after.state == CLOSED:
        made = result(move.after)
        facts |= dict(entry=made.entry, legs=[leg._asdict() for leg in made.legs], result=made.result, gross_r=made.gross_r, gross_percent=made.gross_percent, net_percent=made.net_percent,
                      entry_time=made.entry_time, exit_time=made.exit_time)
    await tell(session, "close", move.id, facts, console)


async def tell(session: AsyncSession, kind: str, signal_id: str, facts: dict[str, Any], console: bool) -> None:
    "A message about a signal for everybody who listens, or for the terminal where there is no bot; it ages by the clock on the wall, also in a replay."
    await enqueue(session, kind, facts, signal_id, wall.time_ns() // 1_000_000, channel=CONSOLE if console else "telegram", signal_id=signal_id)
