"What the venue knows that we do not: the fate of orders, fills, and trades that somebody else made in our positions."

import asyncio
import logging

from perps_kit.storage.models import Fill, Order
from runners.live.execution.answers import Balance, Trade
from runners.live.execution.desk import Desk
from runners.live.execution.position import Position

log = logging.getLogger(__name__)
TAKEN_OVER = ("autoclose-", "adl_autoclose", "settlement_autoclose-")  # how Binance names the orders of a liquidation


class Surveyor:
    "Looks, and notes what it sees on the positions; it sends nothing and writes nothing."

    def __init__(self, desk: Desk, venue: str):
        self.desk, self.venue = desk, venue

    async def survey(self, position: Position) -> None:
        "Every order that may still trade, and every fill that is missing. Where the venue cannot be asked, the position waits."
        position.known = True
        for order in position.live:
            seen = await self.desk.look(order)
            position.note(order, seen)
            position.known &= seen.state != "unknown"
        await self.fetch(position)

    async def fetch(self, position: Position) -> None:
        "The fills of orders that have traded; the venue may show an order as filled a moment before its trades."
        for pause in (0.1, 0.3, 0.0):
            for order in position.incomplete:
                await self.fetch_order(position, order)
            if not position.incomplete:
                return
            await asyncio.sleep(pause)
        position.known = False
        log.warning(
            "%s: the venue does not show the trades of %s yet", position.symbol, ", ".join(o.client_id for o in position.incomplete)
        )

    async def fetch_order(self, position: Position, order: Order) -> None:
        if order.client_id not in position.numbers:
            position.note(order, await self.desk.look(order))
        number = position.numbers.get(order.client_id)
        for trade in await self.desk.trades(position.symbol, orderId=number) if number else []:
            self.keep(position, trade, order.client_id)

    def keep(self, position: Position, trade: Trade, name: str) -> None:
        "A fill, once."
        if trade.id not in position.fills:
            position.fills[trade.id] = Fill(
                venue=self.venue,
                account_id=position.account_id,
                symbol=position.symbol,
                trade_id=trade.id,
                client_id=name,
                side=trade.side,
                price=trade.price,
                quantity=trade.quantity,
                fee=trade.fee,
                time=trade.time,
            )
            position.dirty.add(trade.id)

    async def check(self, symbol: str, positions: list[Position], balance: Balance) -> float:
        "Look closer at a symbol where what is held or what rests is not what we believe; what is held too much or too little after that."
        apart = astray(symbol, positions, balance)
        if apart or any(p.awaited for p in positions) or await self.unstopped(symbol, positions):
            for p in positions:
                await self.survey(p)
            if apart and astray(symbol, positions, balance):
                balance = await self.desk.balance()  # it may have moved between the two answers
                for p in positions:
                    await self.survey(p)
                    await self.foreign(p)
            return astray(symbol, positions, balance)
        for p in positions:
            p.known = True
        return 0.0

    async def unstopped(self, symbol: str, positions: list[Position]) -> bool:
        "Whether a stop that should rest does not."
        meant = {o.client_id for p in positions for o in p.orders.values() if o.kind == "stop" and o.state == "open"}
        return bool(meant) and not meant <= await self.desk.stops(symbol)

    async def foreign(self, position: Position) -> None:
        "Trades against a position by orders that are not ours: by hand, or by the venue itself."
        if position.left <= 0.0:
            return
        entry = min(f.time for f in position.fills.values())
        known = set(position.numbers.values())
        names: dict[str, str] = {}
        for trade in await self.desk.trades(position.symbol):
            if trade.time < entry or trade.side == position.side or trade.id in position.fills or trade.number in known:
                continue
            if trade.number not in names:
                names[trade.number] = await self.desk.name_of(position.symbol, trade.number)
            name = names[trade.number]
            if name in position.orders or name.split("-")[0] in ("entry", "close", "stop", "tp1", "tp2", "tp3"):
                continue
            self.keep(position, trade, f"{'liq' if name.startswith(TAKEN_OVER) else 'ext'}-{position.id}")
            log.warning("%s: %g sold by an order that is not ours: %s", position.symbol, trade.quantity, name)


def astray(symbol: str, positions: list[Position], balance: Balance) -> float:
    "What the venue holds beyond what our fills say; 0 within half a step."
    beyond = balance.held.get(symbol, 0.0) - sum(p.side * p.left for p in positions)
    return beyond if abs(beyond) > (positions[0].filters.step / 2 if positions else 0.0) else 0.0
