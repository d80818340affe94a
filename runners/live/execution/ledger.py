"Orders, fills and account positions in the database: read at the start, written as they change."

import time as wall
from collections.abc import Iterable

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.core.bar import Bar
from perps_kit.core.resample import Resample
from perps_kit.core.stream import Step
from perps_kit.core.unit import loads
from perps_kit.engine.engine import Move
from perps_kit.exchange.filters import Filters
from perps_kit.storage.keep import insert_new, load_candles, put
from perps_kit.storage.models import Account, Candle, Fill, Order, SignalRow, Tracker
from perps_kit.trackers.plan import CLOSED, OPPOSITE, PENDING, Rules
from runners.live.accounts import pattern
from runners.live.book import keep_move
from runners.live.execution.position import FOREIGN, LIVE, Position


async def load(session: AsyncSession, account: Account, filters: dict[str, Filters], rules: Rules) -> dict[str, Position]:
    "Positions that are not over, by signal, in the order of their signals; a symbol that is no longer watched has none."
    unfinished = select(Order.signal_id).where(Order.account_id == account.id, Order.state.in_(LIVE))
    rows = await session.execute(
        select(Tracker, SignalRow)
        .join(SignalRow, SignalRow.id == Tracker.signal_id)
        .where(Tracker.account_id == account.id)
        .where(or_(Tracker.closed_at.is_(None), Tracker.signal_id.in_(unfinished)))
        .order_by(SignalRow.close_time, SignalRow.id)
    )
    found = {}
    for tracker, signal in rows.all():
        if signal.symbol not in filters:
            continue
        p = Position(
            account.name,
            account.id,
            signal.id,
            signal.strategy,
            signal.symbol,
            signal.minutes,
            filters[signal.symbol],
            loads(pattern(rules), tracker.ladder),
        )
        orders = await session.scalars(
            select(Order).where(Order.account_id == account.id, Order.signal_id == signal.id).order_by(Order.kind, Order.version)
        )
        p.orders = {order.client_id: Order(**order.facts()) for order in orders}
        fills = await session.scalars(
            select(Fill).where(
                Fill.account_id == account.id, Fill.symbol == signal.symbol, Fill.client_id.in_([*p.orders, *foreign_names(p)])
            )
        )
        p.fills = {fill.trade_id: Fill(**fill.facts()) for fill in fills}
        await catch_up(session, p, signal)
        found[signal.id] = p
    return found


def foreign_names(position: Position) -> list[str]:
    "Client ids under which trades of others are kept against this position."
    return [f"{word}-{position.id}" for word in FOREIGN]


async def catch_up(session: AsyncSession, position: Position, signal: SignalRow) -> None:
    "Closed bars that the position has not seen, though the service has; and a decision to leave that fell meanwhile."
    bars = await own_bars(session, signal, position.ladder.times.last)
    if position.ladder.state < CLOSED:
        position.backlog = [(Step(bar, [], {}, {signal.minutes: bar}), (0.0, 0.0)) for bar in bars]
    reference = (await session.scalars(select(Tracker).where(Tracker.signal_id == signal.id, Tracker.account_id.is_(None)))).one()
    follows = loads(position.ladder, reference.ladder)
    if position.backlog and follows.reason == OPPOSITE and position.ladder.state not in (PENDING,):
        position.ladder = position.ladder.leave(OPPOSITE)


async def own_bars(session: AsyncSession, signal: SignalRow, after: int) -> list[Bar]:
    "Bars of a signal's timeframe that opened at a time or later, made up of the stored candles."
    from runners.live.start import bar_of_row

    stored = select(func.min(Candle.minutes)).where(Candle.venue == signal.venue, Candle.symbol == signal.symbol)
    base = await session.scalar(stored) or signal.minutes
    unit, found = Resample(signal.minutes, base), []
    for row in await load_candles(session, signal.venue, signal.symbol, base, after=after - 1):
        unit, bar = unit.update(bar_of_row(row))
        found += [bar] if bar.open_time >= 0 else []
    return found


async def keep(session: AsyncSession, positions: Iterable[Position]) -> None:
    "Write the orders and fills that have changed."
    orders, fills, now = [], [], wall.time_ns() // 1_000_000
    for p in positions:
        for name in sorted(p.dirty):
            if name in p.orders:
                p.orders[name].updated_at = now
                orders.append(p.orders[name].facts())
            else:
                fills.append(p.fills[name].facts())
        p.dirty.clear()
    await put(session, Order, orders)
    await insert_new(session, Fill, fills)


async def keep_ladder(session: AsyncSession, position: Position, before: object) -> None:
    "Write the position's ladder if it has changed."
    if position.ladder is not before:
        await keep_move(session, Move(position.id, position.strategy, position.symbol, before, position.ladder), position.account_id)  # type: ignore[arg-type]
