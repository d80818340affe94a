"""What a cycle leaves in the database, in the one transaction that makes it true: candles, decisions, signals, positions, messages.

Nothing outside is told before that transaction has been committed.
"""

import time as wall
from collections.abc import Callable, Iterable
from math import nan
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
Odds = Callable[[str, float], float]  # strategy and final score -> probability of a win, nan: not measured


async def keep_candles(session: AsyncSession, venue: str, symbol: str, minutes: int, bars: Iterable[Bar]) -> None:
    "Closed bars, once."
    rows = [dict(venue=venue, symbol=symbol, minutes=minutes, **bar._asdict()) for bar in bars]
    for row in rows:
        del row["close_time"]
    await insert_new(session, Candle, rows)


async def keep_cycle(
    session: AsyncSession, venue: str, minutes: int, cycle: Cycle, steps: dict[str, list[Step]], ticks: dict[str, float], console: bool,
    done: int = 0, odds: Odds | None = None,
) -> None:
    "Everything that a cycle brought, and that it is done; `done` is the newest cycle before it, which a late one does not set back."
    for symbol, some in steps.items():
        await keep_candles(session, venue, symbol, minutes, (step.bar for step in some))
    await insert_new(session, DecisionRow, [
        dict(venue=venue, time=d.time, strategy=d.strategy, symbol=d.symbol, minutes=d.minutes, side=d.side, mode=d.mode,
             outcome=d.outcome, reason=d.reason, verdicts=[v._asdict() for v in d.verdicts], features=d.features,
             signal_id=d.signal_id or None)
        for _, d in cycle.decisions
    ])
    modes = {d.signal_id: d.mode for _, d in cycle.decisions}
    for new in cycle.published:
        probability = odds(new.candidate.strategy, new.final) if odds else nan
        await publish(session, venue, new, modes[new.id], cycle.time, ticks.get(new.candidate.symbol, 0.0), console, probability)
    for move in cycle.moves:
        await keep_move(session, move, None)
        if move.after.state >= CLOSED > move.before.state:
            await announce_end(session, move, ticks.get(move.symbol, 0.0), console)
    await set_meta(session, cycle=str(max(cycle.time, done)))


async def publish(session: AsyncSession, venue: str, new: Published, mode: str, now: int, tick: float, console: bool,
                  probability: float = nan) -> None:
    "A signal with its lock, its reference position and a message for everybody who listens."
    c, s, plan = new.candidate, new.candidate.signal, new.ladder.plan
    facts = dict(
        id=new.id, strategy=c.strategy, symbol=c.symbol, side=s.side, mode=mode, minutes=c.minutes, close_time=c.time,
        entry=s.entry, stop=plan.stop, preset=PRESET_NAMES[s.preset], targets=list(new.targets), multiples=[plan.m1, plan.m2, plan.m3],
        atr=s.atr, raw=s.raw, score=min(10.0 * s.raw, 100.0), final=new.final, probability=probability,
        components=parts_of(s.parts), warm=c.warm,
    )
    session.add(SignalRow(venue=venue, **facts, origin=c.origin, status="pending", created_at=now))
    await session.flush()
    lock = dict(venue=venue, symbol=c.symbol, side=s.side, strategy=c.strategy)
    await session.execute(delete(Lock).filter_by(**lock))
    session.add(Lock(**lock, signal_id=new.id, until=now + LOCKED))
    session.add(Tracker(signal_id=new.id, account_id=None, **tracker_columns(new.ladder)))
    await tell(session, "signal", new.id, facts | dict(tick=tick), console)


def parts_of(parts: Any) -> dict[str, float]:
    "Score components by name; a strategy may have none."
    return parts._asdict() if hasattr(parts, "_asdict") else {}


def tracker_columns(ladder: Ladder) -> dict[str, Any]:
    "A position as the columns of its row."
    over = ladder.state == CLOSED
    made = result(ladder) if over else None
    return dict(
        state=STATES[ladder.state],
        ladder=dumps(ladder),
        stop=ladder.levels.stop,
        trailing_peak_price=ladder.trailing_peak_price,
        quantity=ladder.plan.quantity,
        quantity_left=ladder.quantity_left,
        last_bar_time=ladder.last_bar_time,
        tp2_time=ladder.times.tp2 or None,
        exit_type=EXITS[ladder.reason] if ladder.state >= CLOSED else None,
        gross_r=made.gross_r if made else None,
        gross_percent=made.gross_percent if made else None,
        net_percent=made.net_percent if made else None,
        closed_at=ladder.times.exit if ladder.state >= CLOSED else None,
    )


async def keep_move(session: AsyncSession, move: Move, account_id: int | None) -> None:
    "A position after a bar, and what happened to it; the reference's end also ends the signal and its lock."
    mine = Tracker.account_id.is_(None) if account_id is None else Tracker.account_id == account_id
    tracker = (await session.scalars(select(Tracker).where(Tracker.signal_id == move.id, mine))).one()
    columns = tracker_columns(move.after) | dict(version=tracker.version + 1)
    await session.execute(update(Tracker).where(Tracker.id == tracker.id).values(**columns))
    events = changes(move.before, move.after)
    await insert_new(session, TrackerEvent, [dict(tracker_id=tracker.id, **event._asdict()) for event in events])
    if account_id is None and move.before.state != move.after.state:
        status = "cancelled" if move.after.state == CANCELLED else "closed" if move.after.state == CLOSED else "active"
        await session.execute(update(SignalRow).where(SignalRow.id == move.id).values(status=status))
        if move.after.state >= CLOSED:
            await session.execute(delete(Lock).where(Lock.signal_id == move.id))


async def announce_end(session: AsyncSession, move: Move, tick: float, console: bool) -> None:
    "Tell everybody how a signal ended."
    signal = (await session.scalars(select(SignalRow).where(SignalRow.id == move.id))).one()
    facts: dict[str, Any] = dict(id=move.id, strategy=signal.strategy, symbol=signal.symbol, side=signal.side, minutes=signal.minutes,
                                 exit_type=EXITS[move.after.reason], tick=tick)
    if move.after.state == CLOSED:
        made = result(move.after)
        facts |= dict(entry=made.entry, legs=[leg._asdict() for leg in made.legs], result=made.result, gross_r=made.gross_r,
                      gross_percent=made.gross_percent, net_percent=made.net_percent,
                      entry_time=made.entry_time, exit_time=made.exit_time)
    await tell(session, "close", move.id, facts, console)


async def tell(session: AsyncSession, kind: str, signal_id: str, facts: dict[str, Any], console: bool) -> None:
    "A message for everybody who listens, or for the terminal where there is no bot; it ages by the clock on the wall, also in a replay."
    now, channel = wall.time_ns() // 1_000_000, CONSOLE if console else "telegram"
    await enqueue(session, kind, facts, signal_id, now, channel=channel, signal_id=signal_id)
