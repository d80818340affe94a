"A service in lockstep with a replay of the sample, for tests: the unmodified ccxt over loopback, a real SQLite."

from contextlib import asynccontextmanager

from perps_kit.core.clock import parse_time
from runners.db.connect import open_database
from runners.live.service import open_service
from runners.settings import load
from runners.state import ServiceState

SYMBOLS = ("DOGEUSDT", "ETHUSDT")


def settings(folder, start="2026-10-29", end="2026-10-31", **given):
    "Settings of a short replay: a young origin keeps the warm-up small, and the gates do not ask what the market does."
    gates = dict(weigh=False) | given.pop("gates", {})
    given = dict(mode="paper", symbols=SYMBOLS, gates=gates, origin=parse_time(start) - 45 * 86_400_000, snapshot_every=7, patience=3.0,
                 database=f"sqlite:///{folder}/test.db") | given
    replay = dict(start=start, end=end) | given.pop("replay", {})
    return load(environ={}, venue=dict(replay=replay), http=dict(enabled=False), **given)


def resumed(wanted, start, end=None):
    "The same settings for a replay of another span: what a service finds that is started again."
    times = dict(start=parse_time(start) if isinstance(start, str) else start, end=parse_time(end) if end else None)
    replay = wanted.venue.replay.model_copy(update=times)
    return wanted.model_copy(update=dict(venue=wanted.venue.model_copy(update=dict(replay=replay))))


@asynccontextmanager
async def serving(wanted):
    "A prepared service, its database and its state."
    db, state = await open_database(wanted.database), ServiceState()
    try:
        async with open_service(wanted, db, state, console=True) as service:
            yield service, db, state
    finally:
        await db.close()
