"Which candles there are: asked of the database at most every few seconds, for all readers together."

import time
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.storage import queries

SECONDS = 10


class Known:
    "The series of candles in the database, as `storage.queries.symbols` lists them."

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.looked = -1e9

    async def all(self, session: AsyncSession) -> list[dict[str, Any]]:
        "Every series; while the service is filling its first ones, looked up more often."
        if time.monotonic() - self.looked > (SECONDS if len(self.rows) > 1 else 1):
            self.rows, self.looked = await queries.symbols(session), time.monotonic()
        return self.rows

    async def of(self, session: AsyncSession, symbol: str, minutes: int | None = None) -> dict[str, Any] | None:
        "The newest series of a symbol, at one timeframe or at any."
        found = [row for row in await self.all(session) if row["symbol"] == symbol and minutes in (None, row["minutes"])]
        return max(found, key=lambda row: row["last"], default=None)
