"""Request weight as Binance counts it: 2400 a minute, then 429 with Retry-After, then, for who goes on, a 418 ban.

A minute ends when the host's clock *or* the replay's enters the next one: in lockstep a quarter of an hour passes at a barrier, and with
it the weight that was spent.
"""
import time as host
from collections import deque

from perps_kit.exchange.weights import ORDER_LIMITS

PATIENCE = 3        # requests answered 429 in one minute before the ban


class Limits:
    "The counter of one client address."

    def __init__(self, limit: int, ban: float) -> None:
        self.limit, self.ban = limit, ban
        self.used, self.refused, self.window = 0, 0, (0, 0)
        self.banned_until = 0.0
        self.orders: deque[float] = deque()
        self.order_minute = 0

    def spend(self, weight: int, venue_time: int) -> tuple[int, float]:
        "HTTP status (200, 429 or 418) and the seconds of Retry-After."
        now = host.time()
        if now < self.banned_until: return 418, self.banned_until - now
        window = (int(now // 60), venue_time // 60_000)
        if window != self.window: self.window, self.used, self.refused = window, 0, 0
        self.used += weight
        if self.used <= self.limit: return 200, 0.0
        self.refused += 1
        if self.refused > PATIENCE:
            self.banned_until = now + self.ban
            return 418, self.ban
        return 429, 60.0 - now % 60

    def order(self, venue_time: int) -> bool:
        "Count an order; False when there were too many."
        now = host.monotonic()
        if venue_time // 60_000 != self.order_minute:
            self.order_minute = venue_time // 60_000
            self.orders.clear()
        while self.orders and now - self.orders[0] > 60: self.orders.popleft()
        if len(self.orders) >= ORDER_LIMITS["1M"][1] or sum(1 for t in self.orders if now - t < 10) >= ORDER_LIMITS["10S"][1]: return False
        self.orders.append(now)
        return True

    def headers(self) -> dict[str, str]:
        now = host.monotonic()
        return {"X-MBX-USED-WEIGHT-1M": str(self.used), "X-MBX-ORDER-COUNT-10S": str(sum(1 for t in self.orders if now - t < 10)),
                "X-MBX-ORDER-COUNT-1M": str(len(self.orders))}
