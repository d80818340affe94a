"The database's lifetime: schema, refusals, turns of writers; on SQLite and on PostgreSQL."

import asyncio
import json
import sqlite3
from math import inf, isnan, nan
from pathlib import Path

import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pg import new_database
from sqlalchemy import func, select, text

from perps_kit.storage.models import Account, Base, Candle, Chat, DecisionRow, Meta
from runners.db import schema
from runners.db.connect import database_url, open_database
from runners.errors import ConfigError

pytestmark = pytest.mark.asyncio


def address(kind: str, folder: Path) -> str:
    return str(folder / "deep" / "perps.db") if kind == "sqlite" else new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    return address(request.param, tmp_path)


@pytest_asyncio.fixture
async def db(url):
    database = await open_database(url)
    yield database
    await database.close()


def account(name: str) -> Account:
    return Account(name=name, venue="v", mode="paper", currency="USDT", start_balance=0.1 + 0.2, created_at=2**41)


async def test_the_models_and_the_migrations_agree(db):
    def difference(connection):
        options = dict(version_table=schema.VERSION_TABLE, compare_type=True, compare_server_default=True)
        return compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)

    async with db.engine.connect() as connection:
        assert await connection.run_sync(difference) == []
        assert await connection.run_sync(schema.version_of) == schema.HEAD


async def test_the_versions_known_are_the_files_there_and_lead_one_way():
    steps = list(ScriptDirectory.from_config(schema.alembic_config()).walk_revisions())
    assert tuple(s.revision for s in reversed(steps)) == schema.VERSIONS
    assert not any(hasattr(s.module, "downgrade") for s in steps)


async def test_opening_again_changes_nothing_and_keeps_the_rows(url):
    for _ in range(2):
        database = await open_database(url)
        async with database.write() as session:
            count = await session.scalar(select(func.count()).select_from(Account))
            session.add(account(f"a{count}"))
        await database.close()
    assert count == 1


async def test_a_newer_database_is_refused_and_left_alone(url):
    database = await open_database(url)
    async with database.write() as session:
        await session.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))
    await database.close()
    with pytest.raises(ConfigError, match="newer version of perps_kit .schema 9999.*upgrade perps_kit"):
        await open_database(url)


async def test_another_programs_database_is_refused_and_left_alone(url):
    database = await open_database(url)
    async with database.write() as session:
        await session.execute(text(f"DROP TABLE {schema.VERSION_TABLE}"))
    await database.close()
    with pytest.raises(ConfigError, match="tables of another program"):
        await open_database(url)


async def test_an_older_database_is_brought_up_with_its_rows(url, tmp_path, monkeypatch):
    "Two versions later: the way up is walked in one transaction, and a failing step leaves the database as it was."
    database = await open_database(url)
    async with database.write() as session:
        session.add(account("old"))
    await database.close()
    versions = Path(schema.__file__).parent / "migrations" / "versions"
    added = (
        "import sqlalchemy as sa\nfrom alembic import op\nrevision, down_revision = '0002', '0001'\n"
        "def upgrade():\n    op.add_column('accounts', sa.Column('note', sa.Text()))\n"
    )
    broken = "from alembic import op\nrevision, down_revision = '0003', '0002'\ndef upgrade():\n    op.execute('SELECT * FROM nowhere')\n"
    (tmp_path / "0002_note.py").write_text(added)
    real = schema.alembic_config

    def config():
        made = real()
        made.set_main_option("path_separator", "newline")
        made.set_main_option("version_locations", f"{versions}\n{tmp_path}")
        return made

    monkeypatch.setattr(schema, "alembic_config", config)
    monkeypatch.setattr(schema, "VERSIONS", ("0001", "0002", "0003"))
    monkeypatch.setattr(schema, "HEAD", "0003")
    with pytest.raises(ConfigError, match="run `perps-kit db upgrade`"):
        await open_database(url, upgrade=False)
    (tmp_path / "0003_broken.py").write_text(broken)
    with pytest.raises(ConfigError, match="nowhere"):
        await open_database(url)
    (tmp_path / "0003_broken.py").write_text(broken.replace("nowhere", "accounts"))
    database = await open_database(url)
    async with database.read() as session:
        assert (await session.execute(text("SELECT name, note FROM accounts"))).all() == [("old", None)]
    await database.close()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("mysql://u@h/d", "not supported"),
        ("://", "not a database address"),
        ("sqlite://", "plain file"),
        (":memory:", "plain file"),
        ("sqlite:///file:x?mode=memory", "plain file"),
        ("/proc/nothing/x.db", "cannot make the folder"),
        ("postgresql://nobody@127.0.0.1:1/x", "cannot open the database"),
    ],
)
async def test_a_bad_address_is_one_sentence(given, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        await open_database(given)
    assert "\n" not in str(caught.value)


async def test_a_password_is_never_shown():
    with pytest.raises(ConfigError) as caught:
        await open_database("postgresql://nobody:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(caught.value)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("dear diary, " * 200)
    with pytest.raises(ConfigError, match="not a database"):
        await open_database(str(path))
    assert path.read_text() == "dear diary, " * 200
    with pytest.raises(ConfigError, match="there is no database at"):
        await open_database(str(tmp_path / "none.db"), create=False)
    assert not (tmp_path / "none.db").exists()


async def test_addresses_get_the_driver():
    assert database_url("var/x.db").drivername == "sqlite+aiosqlite"
    assert database_url("postgres://h/d").drivername == database_url("postgresql://h/d").drivername == "postgresql+psycopg"


async def test_a_sqlite_connection_is_set_up_for_durability(tmp_path):
    database = await open_database(str(tmp_path / "x.db"))
    async with database.read() as session:
        got = [await session.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")]
    await database.close()
    assert got == ["wal", 2, 1, 10_000]


async def test_a_block_that_fails_leaves_nothing(db):
    with pytest.raises(ZeroDivisionError):
        async with db.write() as session:
            session.add(account("a"))
            await session.flush()
            _ = 1 / 0
    async with db.read() as session:
        assert await session.scalar(select(func.count()).select_from(Account)) == 0


async def test_writers_take_turns_and_readers_see_one_state(db):
    async with db.write() as session:
        session.add(Meta(key="count", value="0"))

    async def add():
        async with db.write() as session:
            row = await session.get(Meta, "count", with_for_update=True)
            await asyncio.sleep(0)
            row.value = str(int(row.value) + 1)

    await asyncio.gather(*(add() for _ in range(25)))
    async with db.read() as session:
        assert (await session.get(Meta, "count")).value == "25"
        async with db.write() as other:
            (await other.get(Meta, "count")).value = "26"


async def test_two_processes_write_to_one_sqlite_file(tmp_path):
    "Another writer in the middle of its transaction is waited for, not an error."
    path = tmp_path / "x.db"
    database = await open_database(str(path))
    rival = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    rival.execute("BEGIN IMMEDIATE")
    rival.execute("INSERT INTO meta VALUES ('a', '1')")

    async def ours():
        async with database.write() as session:
            assert (await session.get(Meta, "a")).value == "1"

    task = asyncio.create_task(ours())
    await asyncio.sleep(0.2)
    assert not task.done()
    rival.execute("COMMIT")
    await asyncio.wait_for(task, 5)
    rival.close()
    await database.close()


async def test_numbers_come_back_to_the_bit(db):
    numbers = dict(open=0.1 + 0.2, high=1e-300, low=-1e300, close=1 / 3, volume=inf, taker_buy=nan, quote_volume=None, trades=5e-324)
    async with db.write() as session:
        session.add(Candle(venue="v", symbol="S", minutes=15, open_time=2**53, **numbers))
        session.add(Chat(id=-1001234567890123, created_at=1))
        session.add(
            DecisionRow(
                venue="v",
                time=1,
                strategy="s",
                symbol="S",
                minutes=15,
                side=1,
                mode="m",
                outcome="rejected",
                reason="",
                verdicts=[],
                features={"a": nan, "b": -inf, "c": 0.1 + 0.2, "d": [1.5, (nan,)]},
            )
        )
    async with db.read() as session:
        bar = await session.get(Candle, ("v", "S", 15, 2**53))
        for name in ("open", "high", "low", "close", "volume", "trades"):
            assert repr(getattr(bar, name)) == repr(numbers[name]), name
        assert isnan(bar.taker_buy) and isnan(bar.quote_volume)
        features = (await session.scalar(select(DecisionRow))).features
    assert features == {"a": "nan", "b": "-inf", "c": 0.1 + 0.2, "d": [1.5, ["nan"]]} and json.dumps(features, allow_nan=False)
