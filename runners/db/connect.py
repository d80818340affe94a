"Opening the database: one engine, readers and writers that never step on each other, the schema at its newest."

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from runners.db.schema import Behind, NotOurs, bring_up
from runners.errors import ConfigError

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000")


class NeedsUpgrade(ConfigError):
    "An empty or older database where the newest schema was asked for; a start would mend it by itself."


@dataclass
class Database:
    """An open database. `read()` and `write()` give a session in a transaction of its own; `write()` commits when the block ends well.

    On SQLite writers take turns: in this process by a lock, between processes by BEGIN IMMEDIATE.
    """

    url: URL
    engine: AsyncEngine
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def dialect(self) -> str:
        "`sqlite` or `postgresql`."
        return self.engine.dialect.name

    @property
    def place(self) -> str:
        "Where it is, without its password."
        return self.url.render_as_string(hide_password=True)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        "A session that sees one consistent state and changes nothing."
        async with AsyncSession(self.engine.execution_options(writes=False), expire_on_commit=False, autoflush=False) as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        "A session whose changes are all committed at the end of the block, or none."
        engine = self.engine.execution_options(writes=True)
        if self.dialect != "sqlite":
            async with AsyncSession(engine, expire_on_commit=False) as session, session.begin():
                yield session
            return
        async with self.turn, AsyncSession(engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def close(self) -> None:
        "Give back every connection."
        await self.engine.dispose()


def database_url(text: str) -> URL:
    "The address with the driver we use; a bare path is a SQLite file."
    if "://" not in text:
        text = f"sqlite:///{text}"
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigError(f"{text!r} is not a database address: use sqlite:///var/perps.db or postgresql://user@host/name") from None
    kind = url.get_backend_name()
    if kind not in DRIVERS:
        raise ConfigError(f"databases of kind {kind!r} are not supported: use sqlite:///var/perps.db or postgresql://user@host/name")
    if kind == "sqlite" and (not url.database or url.database == ":memory:" or url.database.startswith("file:")):
        raise ConfigError("the SQLite database must be a plain file, such as sqlite:///var/perps.db: state has to survive a restart")
    return url.set(drivername=DRIVERS[kind])


def make_engine(url: URL) -> AsyncEngine:
    "An engine for `url`, its connections set up as the design asks."
    if url.get_backend_name() != "sqlite":
        try:
            return create_async_engine(url, pool_pre_ping=True, connect_args=dict(connect_timeout=10, options="-c statement_timeout=60000"))
        except ModuleNotFoundError:
            raise ConfigError("PostgreSQL needs the package psycopg: pip install 'perps_kit[postgres]'") from None
    engine = create_async_engine(url, connect_args=dict(timeout=10))

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection, record):  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # we begin transactions ourselves, below
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection):  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")

    return engine


async def open_database(url: str, create: bool = True, upgrade: bool = True) -> Database:
    """Open the database at `url`, made or brought to the newest schema if need be.

    `create=False` refuses a SQLite file that is not there, `upgrade=False` a schema that is not the newest.
    ConfigError: not reachable, not ours, or made by a newer version.
    """
    address = database_url(url)
    if address.get_backend_name() == "sqlite":
        path = Path(address.database or "")
        if not create and not path.exists():
            raise ConfigError(f"there is no database at {path}: run `perps-kit db upgrade` or start the service once")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make the folder {path.parent} for the database: {error.strerror}") from None
    engine = make_engine(address)
    database = Database(address, engine)
    try:
        async with engine.execution_options(writes=create or upgrade).begin() as connection:
            await connection.run_sync(bring_up, upgrade)
    except NotOurs as refused:
        await database.close()
        raise (NeedsUpgrade if isinstance(refused, Behind) else ConfigError)(f"{database.place}: {refused}") from None
    except (DBAPIError, OSError) as error:
        await database.close()
        reason = str(getattr(error, "orig", error)).strip().splitlines() or [type(error).__name__]
        raise ConfigError(f"cannot open the database {database.place}: {reason[0]}") from None
    return database
