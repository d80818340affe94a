"A process that does nothing but empty an outbox, made to be killed: `python sender.py DATABASE PORT KEY.pem`."

import asyncio
import sys
from pathlib import Path

from telethon.crypto import rsa

from runners.db.connect import open_database
from runners.state import ServiceState
from runners.telegram.bot import Bot
from runners.telegram.outbox import Outbox
from runners.telegram.pace import Pace
from runners.telegram.ports import WallClock
from runners.telegram.queries import DatabaseQueries
from runners.telegram.store import SqlOutbox


async def main(url: str, port: str, key: str, token: str) -> None:
    rsa._server_keys.clear()
    rsa.add_key(Path(key).read_bytes(), old=False)
    clock = WallClock()
    database, pace = await open_database(url), Pace(clock, per_second=10_000, chat_gap=0)
    server = (2, "127.0.0.1", int(port))
    bot = Bot(DatabaseQueries(database, ServiceState(), clock), pace, token=token, api_id=1, api_hash="hash", server=server)
    await bot.connect()
    print("ready", flush=True)
    await asyncio.gather(bot.run(), Outbox(SqlOutbox(database), bot.sender, clock, pace, poll=0.05).run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
