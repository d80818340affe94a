"""The replay venue: recorded candles behind Binance USDT-M's own REST and WebSocket formats, so that the unmodified ccxt trades on them.

    venue = Venue(bars, start=..., end=..., pace="lockstep")
    async with serve(venue) as door:                       # TLS on 127.0.0.1, an ephemeral port
        exchange = await open_exchange(door.port, door.certificate, venue.key, venue.secret)

`python -m runners.venue --help` runs it as a process of its own.
"""
from runners.venue.app import Door, serve
from runners.venue.route import open_exchange
from runners.venue.venue import Venue

__all__ = ["Door", "Venue", "open_exchange", "serve"]
