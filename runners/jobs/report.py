"What the reports read: the signals, closed trades, decisions and equity of a window of time, as plain values."

from collections import Counter
from typing import Any, NamedTuple

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.clock import DAY, HOUR, iso, parse_time
from perps_kit.storage.models import Account, DecisionRow, Equity, SignalRow, Tracker, TrackerEvent
from runners.errors import ConfigError

WORDS = ("now", "today", "last")


class Window(NamedTuple):
    "A stretch of time, `since` inside and `until` outside it."

    since: int
    until: int

    def __str__(self) -> str:
        return f"{iso(self.since)} to {iso(self.until)} UTC"


class Trade(NamedTuple):
    "A signal whose reference ladder closed; results are per unit, so that signals of any size compare."

    signal_id: str
    strategy: str
    symbol: str
    side: int
    mode: str
    minutes: int
    signalled: int
    closed: int
    exit_type: str
    gross_r: float
    net_r: float  # after fees and funding
    net_percent: float


class Gate(NamedTuple):
    "How many candidates came to a gate, and how many went on."

    name: str
    reached: int
    passed: int


class Report(NamedTuple):
    "All that a report shows."

    window: Window
    signals: list[dict[str, Any]]
    trades: list[Trade]
    outcomes: dict[str, int]  # decisions by outcome
    gates: list[Gate]
    equity: dict[str, list[tuple[int, float]]]  # by account
    ever: int  # signals in the database, whenever
    latest: int | None  # time of the newest decision


async def window_of(session: AsyncSession, until: str, days: float, now: int) -> Window:
    "The window of `days` that ends at `until`: a time, `now`, `today` (the last midnight) or `last` (the hour after the newest decision)."
    if not days > 0:
        raise ConfigError(f"days must be above 0, not {days:g}")
    if until == "last":
        newest = await session.scalar(select(func.max(DecisionRow.time)))
        end = (newest // HOUR + 1) * HOUR if newest else now
    else:
        end = moment(until, now)
    return Window(end - round(days * DAY), end)


def moment(until: str, now: int) -> int:
    "A time, `now` or `today`, the last midnight."
    if until in ("now", "today"):
        return now if until == "now" else now // DAY * DAY
    try:
        return parse_time(until)
    except ValueError as error:
        raise ConfigError(f"{error}, or one of {', '.join(WORDS)}") from None


async def gather(session: AsyncSession, window: Window) -> Report:
    "Read everything that the report of `window` shows."
    inside = (SignalRow.close_time >= window.since, SignalRow.close_time < window.until)
    reference = and_(Tracker.signal_id == SignalRow.id, Tracker.account_id.is_(None))
    query = select(SignalRow, Tracker).outerjoin(Tracker, reference).where(*inside).order_by(SignalRow.close_time, SignalRow.id)
    rows = await session.execute(query)
    signals = [
        {**s.facts(), "state": t.state if t else s.status, "exit_type": t.exit_type if t else None, "gross_r": t.gross_r if t else None}
        for s, t in rows
    ]
    outcomes: Counter[str] = Counter()
    gates: dict[str, list[int]] = {}
    stepped = (
        select(DecisionRow.outcome, DecisionRow.verdicts)
        .where(DecisionRow.time >= window.since, DecisionRow.time < window.until)
        .order_by(DecisionRow.id)
    )
    async for outcome, verdicts in await session.stream(stepped):
        outcomes[outcome] += 1
        for verdict in verdicts:
            counts = gates.setdefault(verdict["gate"], [0, 0])
            counts[0] += 1
            if not verdict["passed"]:
                break
            counts[1] += 1
    equity: dict[str, list[tuple[int, float]]] = {}
    worth = select(Account.name, Equity.time, Equity.equity).join(Account, Account.id == Equity.account_id).order_by(Equity.time)
    for account, time, value in await session.execute(worth.where(Equity.time >= window.since, Equity.time <= window.until)):
        equity.setdefault(account, []).append((time, value))
    return Report(
        window,
        signals,
        await closed_trades(session, window),
        dict(outcomes),
        [Gate(name, *counts) for name, counts in gates.items()],
        equity,
        await session.scalar(select(func.count()).select_from(SignalRow)) or 0,
        await session.scalar(select(func.max(DecisionRow.time))),
    )


async def closed_trades(session: AsyncSession, window: Window) -> list[Trade]:
    "The reference ladders that closed in the window, in the order in which they did."
    entry = select(TrackerEvent.price).where(TrackerEvent.tracker_id == Tracker.id, TrackerEvent.kind == "entry").limit(1).scalar_subquery()
    query = (
        select(SignalRow, Tracker, entry)
        .join(Tracker, and_(Tracker.signal_id == SignalRow.id, Tracker.account_id.is_(None)))
        .where(Tracker.state == "CLOSED", Tracker.closed_at >= window.since, Tracker.closed_at < window.until)
        .order_by(Tracker.closed_at, Tracker.id)
    )
    return [trade(s, t, price) for s, t, price in await session.execute(query)]


def trade(signal: SignalRow, tracker: Tracker, entry: float | None) -> Trade:
    "One closed ladder; its net R is the net percentage over the percentage that was at risk between fill and first stop."
    filled = entry if entry is not None and entry == entry else signal.entry
    risk = 100 * abs(filled - signal.stop) / filled
    net = tracker.net_percent or 0.0
    return Trade(
        signal.id,
        signal.strategy,
        signal.symbol,
        signal.side,
        signal.mode,
        signal.minutes,
        signal.close_time,
        tracker.closed_at or 0,
        tracker.exit_type or "",
        tracker.gross_r or 0.0,
        net / risk if risk > 0 else 0.0,
        net,
    )
