"The bot and the outbox end to end: the unmodified Telethon client against a Telegram on loopback."

import asyncio
import random
import sys
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mtproto.server import TOKEN, Fault, Telegram
from sqlalchemy import select
from telethon.tl.types import MessageEntityBold, MessageEntityCode

from perps_kit.storage.models import Chat, DecisionRow, SignalRow
from perps_kit.storage.models import Outbox as OutboxRow
from perps_kit.telegram.facts import CLOSE, SIGNAL
from runners.db.connect import Database, open_database
from runners.errors import ConfigError
from runners.state import ServiceState
from runners.telegram.bot import Bot
from runners.telegram.enqueue import enqueue
from runners.telegram.outbox import Outbox
from runners.telegram.pace import Pace
from runners.telegram.ports import Unavailable, Unreachable, WallClock
from runners.telegram.queries import DatabaseQueries
from runners.telegram.store import SqlOutbox

CLOCK = WallClock()
WHY = f"why:{SIGNAL['id']}"


@pytest.fixture
async def telegram():
    async with Telegram() as telegram:
        yield telegram


@pytest.fixture
async def database(tmp_path):
    database = await open_database(f"sqlite:///{tmp_path / 'perps.db'}")
    yield database
    await database.close()


def quick() -> Pace:
    "A pace that does not slow tests down; the real one has tests of its own."
    return Pace(CLOCK, per_second=10_000, chat_gap=0)


def make_bot(telegram: Telegram, queries: Any, pace: Pace, token: str = TOKEN, **options: Any) -> Bot:
    return Bot(queries, pace, token=token, api_id=1, api_hash="hash", server=telegram.dc, **options)


@asynccontextmanager
async def running(telegram: Telegram, database: Database, queries: Any = None, store: Any = None, **options: Any):
    "A bot and an outbox's sender at work, ended as a crash would end them: without a word."
    pace = quick()
    bot = make_bot(
        telegram,
        queries or DatabaseQueries(database, ServiceState(ready=True, venue="binanceusdm"), CLOCK, lambda symbol: 0.01),
        pace,
        **options,
    )
    await bot.connect()
    box = Outbox(store or SqlOutbox(database), bot.sender, CLOCK, pace, poll=0.05, within=3.0)
    tasks = [asyncio.create_task(bot.run()), asyncio.create_task(box.run())]
    try:
        yield bot, box
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bot.close()


async def subscribe(database: Database, *chats: int) -> None:
    async with database.write() as session:
        for chat in chats:
            session.add(Chat(id=chat, language="en", subscribed=True, created_at=1))


async def announce(database: Database, *keys: str, kind: str = "signal", facts: Any = SIGNAL) -> None:
    async with database.write() as session:
        for key in keys:
            await enqueue(session, kind, facts, key, CLOCK.now())


async def waiting(database: Database) -> list[OutboxRow]:
    async with database.read() as session:
        return list(await session.scalars(select(OutboxRow).where(OutboxRow.sent_at.is_(None))))


async def settled(database: Database, within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while await waiting(database):
            await asyncio.sleep(0.02)


async def add_decision(database: Database) -> None:
    async with database.write() as session:
        stored = {k: v for k, v in SIGNAL.items() if k != "tick"}
        session.add(
            SignalRow(**stored, venue="binanceusdm", atr=1.0, raw=7.8, score=78.0, origin=1, status="active", created_at=CLOCK.now())
        )
        session.add(
            DecisionRow(
                venue="binanceusdm",
                time=SIGNAL["close_time"],
                strategy="ema_scalper",
                symbol="SOLUSDT",
                minutes=15,
                side=1,
                mode="TREND",
                outcome="published",
                reason="",
                features={},
                signal_id=SIGNAL["id"],
                verdicts=[
                    dict(gate="volume", passed=True, value="1.83", reason=""),
                    dict(gate="score", passed=True, value="78", reason=""),
                ],
            )
        )


async def test_start_is_answered_with_a_welcome_and_subscribes(telegram, database):
    async with running(telegram, database):
        telegram.say(77, "/start")
        (welcome,) = await telegram.texts(77, 1)
        assert welcome.text.startswith("Welcome.") and "/positions: what is open now" in welcome.text
        assert telegram.commands == ["start", "stop", "status", "signals", "positions", "why", "help"]
        async with database.read() as session:
            assert (await session.get(Chat, 77)).subscribed
        telegram.say(77, "/stop")
        await telegram.texts(77, 2)
        async with database.read() as session:
            assert not (await session.get(Chat, 77)).subscribed


async def test_a_signal_arrives_in_bold_with_a_button_that_answers(telegram, database):
    await subscribe(database, 77)
    await add_decision(database)
    await announce(database, SIGNAL["id"])
    async with running(telegram, database):
        (signal,) = await telegram.texts(77, 1)
        bold = [
            signal.text.encode("utf-16-le")[2 * e.offset : 2 * (e.offset + e.length)].decode("utf-16-le")
            for e in signal.entities
            if isinstance(e, MessageEntityBold)
        ]
        assert bold == ["SOL/USDT LONG", "78"] and sum(isinstance(e, MessageEntityCode) for e in signal.entities) == 5
        assert signal.buttons == [("Why?", WHY.encode())]
        assert await asyncio.wait_for(telegram.press(signal, signal.buttons[0][1]), 5) == ""
        _, told = await telegram.texts(77, 2)
        assert "✅ Enough volume: 1.83" in told.text and "Score: 78 of 100" in told.text and told.text.startswith("Why SOL/USDT LONG")
        await settled(database)
    async with database.read() as session:
        row = await session.scalar(select(OutboxRow))
        assert row.message_id == signal.id and row.attempts == 1 and row.error is None


async def test_every_command_is_answered(telegram, database):
    await add_decision(database)
    async with running(telegram, database):
        for count, (asked, word) in enumerate(
            (
                ("/help", "What I answer"),
                ("/status", "All is well"),
                ("/signals", "SOL/USDT LONG"),
                ("/positions", "Nothing is open"),
                (f"/why {SIGNAL['id']}", "Enough volume"),
                ("/why 1", "Enough volume"),
                ("/why 99", "no signal or decision 99"),
                ("/why", "press its"),
                ("/dance", "do not know"),
                ("/status@kit_bot", "All is well"),
            ),
            1,
        ):
            telegram.say(77, asked)
            assert word in (await telegram.texts(77, count))[-1].text
        telegram.say(77, "good morning")
        telegram.say(77, "/start@another_bot")
        await asyncio.sleep(0.1)
        assert len(telegram.sent) == count


async def test_a_flood_wait_delays_everything_and_loses_nothing(telegram, database):
    await subscribe(database, 1, 2, 3)
    telegram.floods = [1]
    await announce(database, "a", "b")
    async with running(telegram, database):
        await settled(database, 10)
    assert sorted(m.chat for m in telegram.sent) == [1, 1, 2, 2, 3, 3]
    async with database.read() as session:
        assert {row.attempts for row in await session.scalars(select(OutboxRow))} == {1}


async def test_a_reader_who_blocked_the_bot_is_unsubscribed(telegram, database):
    await subscribe(database, 1, 2)
    telegram.blocked = {1}
    await announce(database, "a", "b")
    async with running(telegram, database):
        await settled(database)
    assert [m.chat for m in telegram.sent] == [2, 2]
    async with database.read() as session:
        assert not (await session.get(Chat, 1)).subscribed and (await session.get(Chat, 2)).subscribed
        assert all("blocked" in row.error for row in await session.scalars(select(OutboxRow).where(OutboxRow.recipient == "1")))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("strict", [False, True])
async def test_a_connection_lost_in_mid_send_gives_one_message(telegram, database, when, strict):
    await subscribe(database, 1)
    telegram.drops, telegram.strict_duplicates = [when], strict
    await announce(database, "a")
    async with running(telegram, database):
        await settled(database, 15)
    assert len(telegram.sent) == 1 and telegram.attempts >= 2


async def test_a_bot_that_lost_its_connection_answers_again(telegram, database):
    async with running(telegram, database) as (bot, _):
        telegram.cut()
        await telegram.until(lambda: len(telegram.wires) == 1 and bot.client.is_connected())
        await asyncio.sleep(0.1)
        telegram.say(77, "/help")
        assert "What I answer" in (await telegram.texts(77, 1))[0].text


async def test_what_was_said_while_the_line_was_down_is_answered_afterwards(telegram, database):
    async with running(telegram, database, reconcile=0.3):
        telegram.cut()
        telegram.wires.clear()  # what is said now reaches nobody
        telegram.say(77, "/help")
        assert "What I answer" in (await telegram.texts(77, 1))[0].text
        await asyncio.sleep(0.7)
    assert len(telegram.sent) == 1


class CrashesBeforeMarking(SqlOutbox):
    "A process that dies between the send and its note of it."

    async def sent(self, row: int, message_id: int | None, now: int) -> None:
        await asyncio.Event().wait()


async def test_a_new_sender_over_the_same_database_sends_nothing_twice(telegram, database):
    await subscribe(database, 1, 2, 3)
    await announce(database, "a", "b", "c")
    async with running(telegram, database, store=CrashesBeforeMarking(database)):
        await telegram.until(lambda: len(telegram.sent) == 3)
    assert len(await waiting(database)) == 9
    async with running(telegram, database):
        await settled(database)
    async with running(telegram, database):
        await asyncio.sleep(0.2)
    assert len(telegram.sent) == 9 and len({m.random_id for m in telegram.sent}) == 9 and telegram.attempts == 12
    assert [m.random_id for m in telegram.sent if m.chat == 1] == [row.random_id for row in await sent_to(database, "1")]


async def sent_to(database: Database, chat: str) -> list[OutboxRow]:
    async with database.read() as session:
        return list(await session.scalars(select(OutboxRow).where(OutboxRow.recipient == chat).order_by(OutboxRow.id)))


async def test_a_group_gets_its_messages_too(telegram, database):
    await subscribe(database, -55)
    await announce(database, "a", kind="close", facts=CLOSE)
    async with running(telegram, database):
        await settled(database)
    assert telegram.sent[0].chat == -55 and "+1.17 R" in telegram.sent[0].text
    assert (await sent_to(database, "-55"))[0].message_id == telegram.sent[0].id


async def test_a_message_that_telegram_refuses_is_kept_with_its_words(telegram, database):
    await subscribe(database, 1, 2)
    telegram.faults = [Fault(400, "ENTITY_BOUNDS_INVALID"), Fault(403, "CHAT_WRITE_FORBIDDEN")]
    await announce(database, "a")
    async with running(telegram, database):
        await settled(database)
    errors = [(await sent_to(database, chat))[0].error for chat in "12"]
    assert any("ENTITY" in e or "entit" in e for e in errors) and len(telegram.sent) == 0
    assert "caused by" not in "".join(errors)


@pytest.mark.parametrize(
    "token, words", [("1:wrong", "does not accept the bot token"), ("nonsense", "not of the form"), ("", "not of the form")]
)
async def test_a_wrong_token_is_one_sentence_with_the_remedy(telegram, database, token, words):
    with pytest.raises(ConfigError) as refused:
        await make_bot(telegram, None, quick(), token).connect()
    assert words in str(refused.value) and "PERPS_TELEGRAM__TOKEN" in str(refused.value)
    assert token not in str(refused.value) or not token
    assert not telegram.sent and not asyncio.all_tasks() - {asyncio.current_task(), *telegram.tasks}


async def test_a_telegram_that_is_not_there_is_an_outage_and_no_wrong_setting(database):
    async with Telegram() as gone:
        pass
    bot = make_bot(gone, None, quick(), patience=0.5)
    with pytest.raises(Unreachable, match="did not answer within"):
        await bot.run()


async def test_a_kept_session_needs_no_second_login(telegram, database):
    async with running(telegram, database) as (bot, _):
        session = bot.session
    async with running(telegram, database, session=session):
        pass
    assert telegram.logins == 1
    telegram.keys.clear()
    bot = make_bot(telegram, None, quick(), session=session)
    for _ in range(3):
        try:
            await bot.connect()
        except Unreachable:
            continue
        break
    assert telegram.logins == 2
    await bot.close()


class Troubled(DatabaseQueries):
    "Questions that end badly."

    async def status(self):
        raise Unavailable("secret-host:5432 is down")

    async def signals(self, limit):
        await asyncio.sleep(60)

    async def positions(self):
        raise KeyError("/secret/path")


async def test_trouble_is_admitted_but_never_shown(telegram, database, caplog):
    queries = Troubled(database, ServiceState(), CLOCK)
    async with running(telegram, database, queries, within=0.3):
        for count, (asked, word) in enumerate(
            (("/status", "No answer in time"), ("/signals", "No answer in time"), ("/positions", "Something went wrong")), 1
        ):
            telegram.say(77, asked)
            assert word in (await telegram.texts(77, count))[-1].text
    assert "secret" not in "".join(m.text for m in telegram.sent) and "/secret/path" in caplog.text


@pytest.mark.slow
async def test_kill_dash_nine_at_random_moments_loses_and_repeats_nothing(telegram, database, tmp_path, root):
    chats, keys = range(1, 41), [f"event-{k}" for k in range(15)]
    await subscribe(database, *chats)
    await announce(database, *keys)
    pem, chance = tmp_path / "key.pem", random.Random(7)
    pem.write_bytes(telegram.key.pem)
    kills = 0
    while len(await waiting(database)) and kills < 20:
        script = str(root / "tests" / "mtproto" / "sender.py")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            script,
            str(database.url.database),
            str(telegram.port),
            str(pem),
            TOKEN,
            stdout=asyncio.subprocess.PIPE,
            cwd=root,
        )
        assert child.stdout and await asyncio.wait_for(child.stdout.readline(), 20) == b"ready\n"
        before = len(telegram.sent)
        await telegram.until(lambda target=before + chance.randrange(30, 150): len(telegram.sent) >= min(target, 600), within=20)
        if len(telegram.sent) == 600:
            await settled(database)
        child.kill()
        await child.wait()
        kills += 1
    assert len(telegram.sent) == 600 and kills >= 5
    for chat in chats:
        assert [m.random_id for m in telegram.sent if m.chat == chat] == [row.random_id for row in await sent_to(database, str(chat))]
