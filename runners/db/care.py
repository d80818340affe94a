"What an operator does to a database: look at it, copy it, carry its rows away, check that they agree."

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from perps_kit.storage.models import Base, json_safe
from runners.db.connect import database_url, open_database
from runners.db.schema import HEAD, VERSION_TABLE
from runners.errors import ConfigError

BATCH = 1000
REFERENCE = "signals s JOIN trackers t ON t.signal_id = s.id AND t.account_id IS NULL"
CONTRADICTIONS = {
    "signals without a reference tracker": """SELECT id FROM signals s
        WHERE NOT EXISTS (SELECT 1 FROM trackers t WHERE t.signal_id = s.id AND t.account_id IS NULL)""",
    "signals without their decision": "SELECT id FROM signals s WHERE NOT EXISTS (SELECT 1 FROM decisions d WHERE d.signal_id = s.id)",
    "published decisions without their signal": """SELECT id FROM decisions d
        WHERE outcome = 'published' AND NOT EXISTS (SELECT 1 FROM signals s WHERE s.id = d.signal_id)""",
    "closed signals whose reference tracker is open": f"""SELECT s.id FROM {REFERENCE}
        WHERE s.status = 'closed' AND t.state NOT IN ('CLOSED', 'CANCELLED')""",
    "open signals whose reference tracker is closed": f"""SELECT s.id FROM {REFERENCE}
        WHERE s.status IN ('pending', 'active') AND t.state IN ('CLOSED', 'CANCELLED')""",
    "locks of signals that are not open": """SELECT l.signal_id FROM locks l JOIN signals s ON s.id = l.signal_id
        WHERE s.status IN ('closed', 'cancelled')""",
    "trackers whose parts exceed the whole": "SELECT id FROM trackers WHERE quantity_left > quantity * 1.000000001 OR quantity_left < 0",
    "fills without their order": "SELECT trade_id FROM fills f WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.client_id = f.client_id)",
    "candles that contradict themselves": """SELECT open_time FROM candles
        WHERE low > high OR open > high OR open < low OR close > high OR close < low""",
}


async def overview(url: str) -> dict[str, Any]:
    "Schema, size and rows of every table."
    database = await open_database(url, create=False, upgrade=False)
    try:
        async with database.read() as session:
            version = await session.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
            rows = {
                name: await session.scalar(select(func.count()).select_from(table)) for name, table in sorted(Base.metadata.tables.items())
            }
            if database.dialect == "sqlite":
                size = (await session.scalar(text("PRAGMA page_count")) or 0) * (await session.scalar(text("PRAGMA page_size")) or 0)
            else:
                size = await session.scalar(text("SELECT pg_database_size(current_database())"))
    finally:
        await database.close()
    return {"place": database.place, "schema": version, "needs": HEAD, "bytes": size, "rows": rows}


async def copy(url: str, target: Path) -> int:
    "A consistent copy of a SQLite database in use; its size."
    address = database_url(url)
    if address.get_backend_name() != "sqlite":
        raise ConfigError("a PostgreSQL database is copied with its own pg_dump; `perps-kit db export` writes the rows of either")
    source = Path(address.database or "")
    if not source.exists():
        raise ConfigError(f"there is no database at {source}")
    if target.exists():
        raise ConfigError(f"{target} exists: name a new file")
    if not target.parent.is_dir():
        raise ConfigError(f"there is no folder {target.parent}")
    partial = target.with_name(target.name + ".partial")
    try:
        with closing(sqlite3.connect(source, timeout=10)) as old, closing(sqlite3.connect(partial)) as new:
            old.backup(new, pages=4096)
        partial.rename(target)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(f"cannot copy {source}: {error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


async def export_lines(url: str, out: TextIO, tables: list[str] | None = None) -> int:
    "Write every row as a JSON line, parents before children; how many."
    known = [table.name for table in Base.metadata.sorted_tables]
    if unknown := sorted(set(tables or ()) - set(known)):
        raise ConfigError(f"there is no table {unknown[0]!r}: one of {', '.join(sorted(known))}")
    database = await open_database(url, create=False, upgrade=False)
    count = 0
    try:
        async with database.read() as session:
            for table in Base.metadata.sorted_tables:
                if tables and table.name not in tables:
                    continue
                rows = await session.stream(select(table).order_by(*table.primary_key.columns), execution_options={"yield_per": BATCH})
                async for row in rows.mappings():
                    out.write(json.dumps({"table": table.name, "row": json_safe(dict(row))}, allow_nan=False) + "\n")
                    count += 1
    finally:
        await database.close()
    return count


async def faults(url: str) -> list[str]:
    "What is wrong with the file and with the rows, a sentence each."
    database = await open_database(url, create=False, upgrade=False)
    try:
        async with database.read() as session:
            found = await _damage(session) if database.dialect == "sqlite" else []
            for what, query in CONTRADICTIONS.items():
                ids = [str(row[0]) for row in await session.execute(text(f"{query} LIMIT 4"))]
                if ids:
                    found.append(f"{what}: {', '.join(ids[:3])}{', …' if len(ids) > 3 else ''}")
    finally:
        await database.close()
    return found


async def _damage(session: AsyncSession) -> list[str]:
    "What SQLite says of its own file."
    said = [row[0] for row in await session.execute(text("PRAGMA integrity_check(5)"))]
    broken = [
        f"{row[0]} row {row[1]} points to a missing row of {row[2]}" for row in await session.execute(text("PRAGMA foreign_key_check"))
    ]
    return [line for line in said if line != "ok"] + broken
