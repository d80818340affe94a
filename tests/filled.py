"""A database filled with invented rows, for tests of the page and for looking at it:

python tests/filled.py FILE [PORT]        fill FILE and serve the page, with a new bar every second
"""

import asyncio
import random
import sys
from math import exp
from pathlib import Path

from perps_kit.storage.keep import insert_new
from perps_kit.storage.models import Account, Candle, DecisionRow, Equity, Outbox, SignalRow, Tracker, TrackerEvent
from runners.db.connect import Database, open_database
from runners.http.app import make_app
from runners.http.server import serving
from runners.http.settings import HttpSettings
from runners.state import ServiceState

M15 = 900_000
START = 1_780_272_000_000
NAMES = {
    "BTCUSDT": 64_000.0,
    "ETHUSDT": 3_100.0,
    "SOLUSDT": 152.0,
    "BNBUSDT": 590.0,
    "XRPUSDT": 0.52,
    "DOGEUSDT": 0.0813,
    "LINKUSDT": 14.2,
    "UNIUSDT": 7.9,
}
GATES = (
    "data quality",
    "symbol",
    "session",
    "raw threshold",
    "regime",
    "btc filter",
    "higher timeframe",
    "score",
    "conflict",
    "lock",
    "cooldown",
)


class Market:
    "Invented candles, signals and their lives, bar by bar."

    def __init__(self, db: Database, seed: int = 7) -> None:
        self.db, self.random, self.k = db, random.Random(seed), 0
        self.price = dict(NAMES)
        self.open: list[tuple[Tracker, SignalRow]] = []
        self.equity = 10_000.0

    async def begin(self) -> None:
        async with self.db.write() as session:
            session.add(
                Account(name="paper", venue="binanceusdm", mode="paper", currency="USDT", start_balance=self.equity, created_at=START)
            )

    async def bar(self, tell: bool = True) -> int:
        "One close time, all symbols; gives its time."
        draw, begin, close_time = self.random, START + self.k * M15, START + (self.k + 1) * M15
        self.k += 1
        async with self.db.write() as session:
            bars = {}
            for symbol, price in self.price.items():
                close = price * exp(draw.gauss(0.00003, 0.0028))
                reach = abs(draw.gauss(0, 0.0012)) * price
                bars[symbol] = dict(
                    open=price,
                    high=max(price, close) + reach,
                    low=min(price, close) - reach,
                    close=close,
                    volume=abs(draw.gauss(900, 300)) * 1e5 / price,
                )
                self.price[symbol] = close
            key = dict(venue="binanceusdm", minutes=15, open_time=begin, taker_buy=1.0, quote_volume=1.0, trades=1.0, synthetic=False)
            await insert_new(session, Candle, [{**key, "symbol": s, **b} for s, b in bars.items()])
            for item in [*self.open]:
                self.step(session, *item, bars[item[1].symbol], close_time)
            if tell:
                for symbol in NAMES:
                    if draw.random() < 0.02:
                        await self.judge(session, symbol, close_time)
            await session.flush()
            session.add(Equity(account_id=1, time=close_time, equity=self.equity))
        return close_time

    async def judge(self, session, symbol: str, time: int) -> None:
        draw, side = self.random, self.random.choice((1, -1))
        busy = any(s.symbol == symbol for _, s in self.open)
        failed = "lock" if busy else draw.choice(("", "", "session", "higher timeframe", "score"))
        stop_at = GATES.index(failed) if failed else len(GATES)
        id = f"{draw.getrandbits(128):032x}"
        verdicts = [
            dict(gate=g, passed=i != stop_at, value=f"{draw.uniform(0, 100):.1f}", reason="below the minimum" if i == stop_at else "")
            for i, g in enumerate(GATES[: stop_at + 1])
        ]
        session.add(
            DecisionRow(
                venue="binanceusdm",
                time=time,
                strategy="EmaScalper",
                symbol=symbol,
                minutes=15,
                side=side,
                mode="CROSS",
                outcome="rejected" if failed else "published",
                reason=failed,
                verdicts=verdicts,
                features={
                    "fast": self.price[symbol],
                    "slow": self.price[symbol] * 0.999,
                    "rsi": draw.uniform(30, 70),
                    "volume": 1.43,
                    "zone": float("nan"),
                    "h4": {"ema200": 1.0},
                },
                signal_id=None if failed else id,
            )
        )
        if failed:
            return
        price, r = self.price[symbol], 0.0075 * self.price[symbol]
        signal = SignalRow(
            id=id,
            venue="binanceusdm",
            strategy="EmaScalper",
            symbol=symbol,
            side=side,
            mode="CROSS",
            minutes=15,
            close_time=time,
            entry=price,
            stop=price - side * r,
            preset="TRIPLE",
            targets=[price + side * r * m for m in (0.8, 1.2, 1.5)],
            multiples=[0.8, 1.2, 1.5],
            atr=r / 1.5,
            raw=7.1,
            score=71.0,
            final=71.0,
            components={"volume": 2.1, "trend": 1.2, "higher": 2.0, "rsi": 0.9, "room": 0.4, "overlap": 0.5},
            warm=True,
            origin=START,
            status="active",
            created_at=time,
        )
        session.add(signal)
        await session.flush()
        tracker = Tracker(
            signal_id=id, account_id=None, state="OPEN", ladder="{}", stop=signal.stop, quantity=1.0, quantity_left=1.0, last_bar_time=time
        )
        session.add(tracker)
        session.add(
            Outbox(
                channel="telegram",
                kind="signal",
                recipient="42",
                payload={"symbol": symbol},
                random_id=draw.getrandbits(62),
                signal_id=id,
                created_at=time,
                due_at=time,
            )
        )
        await session.flush()
        session.add(TrackerEvent(tracker_id=tracker.id, time=time, kind="entry", price=price * (1 + side * 2e-4), weight=1.0))
        self.open.append((tracker, signal))

    def step(self, session, t: Tracker, s: SignalRow, bar: dict, time: int) -> None:
        "A rough ladder: stop first, then targets; enough for a picture."

        def tell(kind, price, weight, **detail):
            session.add(TrackerEvent(tracker_id=t.id, time=time, kind=kind, price=price, weight=weight, detail=detail))

        r, worst, best = abs(s.entry - s.stop), bar["low"] if s.side > 0 else bar["high"], bar["high"] if s.side > 0 else bar["low"]
        reached = ("OPEN", "TP1", "TP2").index(t.state)
        gained = sum(w * m for w, m in list(zip((0.3, 0.4, 0.3), (0.8, 1.2, 1.5), strict=True))[:reached])
        t.last_bar_time, t.version = time, t.version + 1
        if s.side * (worst - t.stop) <= 0:
            why = "SL" if reached == 0 else f"TP{reached}_BE"
            tell("stop", t.stop, t.quantity_left, exit_type=why)
            self.close(t, s, time, why, gained + t.quantity_left * s.side * (t.stop - s.entry) / r)
        elif s.side * (best - s.targets[reached]) >= 0:
            weight = (0.3, 0.4, 0.3)[reached]
            tell(f"tp{reached + 1}", s.targets[reached], weight, **({"exit_type": "TP3"} if reached == 2 else {}))
            t.quantity_left = (0.7, 0.3, 0.0)[reached]
            if reached == 2:
                self.close(t, s, time, "TP3", gained + weight * 1.5)
            else:
                t.state, t.stop = ("TP1", "TP2")[reached], s.entry
                tell("stop_moved", t.stop, None)
        session.add_all((t, s))

    def close(self, t: Tracker, s: SignalRow, time: int, exit_type: str, r: float) -> None:
        t.state, t.exit_type, t.gross_r, t.closed_at, t.quantity_left, s.status = "CLOSED", exit_type, r, time, 0.0, "closed"
        t.gross_percent, t.net_percent = r * 0.75, r * 0.75 - 0.1
        self.equity *= 1 + 0.008 * (r - 0.12)
        self.open = [(a, b) for a, b in self.open if a.id != t.id]


async def filled(db: Database, bars: int = 500) -> Market:
    "A market of so many bars."
    market = Market(db)
    await market.begin()
    for _ in range(bars):
        await market.bar()
    return market


async def main(path: str, port: int) -> None:
    db, state = await open_database(path), ServiceState(mode="replay", venue="binanceusdm")
    market = await filled(db)
    settings = HttpSettings(port=port)
    async with serving(make_app(db, state, settings), settings) as address:
        print(address, flush=True)
        state.wait_for()
        while True:
            state.time = await market.bar()
            state.progress = min(1.0, market.k / 900)
            await asyncio.sleep(1)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    asyncio.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
