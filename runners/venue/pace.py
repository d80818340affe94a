"""The other pace: a factor of real time. The venue runs through each bar by itself, in steps along its path (open, the adverse extreme
first, the other, close), filling what the price meets."""
import asyncio
import time as host
from typing import TYPE_CHECKING

from runners.venue.market import Market

if TYPE_CHECKING:
    from runners.venue.venue import Venue

STEP, FEWEST, MOST = 1.0, 12, 900       # seconds on the wall between steps; steps in a bar


def steps_of(venue: "Venue") -> int:
    "How many steps a bar takes: one a second on the wall, within bounds."
    return int(max(FEWEST, min(MOST, venue.span / 1000 / venue.factor / STEP)))


def along(path: list[tuple[int, float]], offset: int) -> float:
    "Price on the path, straight between its points, at an offset in milliseconds."
    before = path[0]
    for point in path:
        if point[0] >= offset:
            if point[0] == before[0]: return point[1]
            return before[1] + (point[1] - before[1]) * (offset - before[0]) / (point[0] - before[0])
        before = point
    return path[-1][1]


def turns(path: list[tuple[int, float]], low: int, high: int) -> list[float]:
    "Prices of the path's own points in (low, high): an extreme between two steps is not cut off."
    return [price for offset, price in path if low < offset < high]


async def run(venue: "Venue") -> None:
    "Play from start to end, then stand still."
    await venue.go.wait()
    begun, steps = host.monotonic(), steps_of(venue)
    while venue.time < venue.end:
        now = venue.time
        paths = open_bar(venue, now)
        for k in range(1, steps + 1):
            offset = venue.span * k // steps
            due = begun + (now + offset - venue.start) / 1000 / venue.factor
            await asyncio.sleep(max(0.0, due - host.monotonic()))
            step(venue, paths, now, venue.span * (k - 1) // steps, min(offset, venue.span - 1))
        venue.close_bar(now + venue.span)
    venue.phase = "done"


def open_bar(venue: "Venue", now: int) -> list[tuple[Market, list[tuple[int, float]]]]:
    "Settle funding, jump to the opens; the paths to go."
    paths = []
    for symbol, m in venue.markets.items():
        venue.settle(m, now, now + venue.span)
        i = m.opening(now)
        if i is None: continue
        m.last = float(m.bars.open[i])
        m.forming = (m.last, m.last, m.last, m.last, 0.0)
        held = 0.0
        for account in venue.accounts.values():
            venue.matching.gap(account, m, m.last, True)
            held = held or account.position(symbol).quantity
        paths.append((m, m.path(i, held > 0 or (held == 0 and m.bars.close[i] >= m.bars.open[i]))))
    venue.feed.tick([m for m, _ in paths])
    return paths


def step(venue: "Venue", paths: list[tuple[Market, list[tuple[int, float]]]], now: int, low: int, high: int) -> None:
    "Move every market from one offset to the next."
    venue.time = now + high
    for m, path in paths:
        for target in (*turns(path, low, high), along(path, high)):
            start = m.last
            m.last = round(target / m.filters.tick) * m.filters.tick if high < venue.span - 1 else target
            m.last = float(f"{m.last:.{m.digits}f}")
            for account in venue.accounts.values(): venue.matching.move(account, m, start, m.last)
            o, top, bottom, _, _ = m.forming or (m.last,) * 5
            m.forming = (o, max(top, m.last), min(bottom, m.last), m.last, high / venue.span)
        i = m.index
        if i < len(m.opens):
            venue.feed.trade(m, venue.time, m.last, float(m.bars.volume[i]) * (high - low) / venue.span, high // 1000 % 2 == 1)
        venue.feed.forming(m)
    venue.feed.tick([m for m, _ in paths])
