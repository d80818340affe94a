"The bot: logs in with a token, answers commands and pressed buttons, and lends its connection to the outbox."

import asyncio
import logging
import re
import secrets
from collections import Counter
from contextlib import suppress
from typing import Any

from telethon import TelegramClient, errors, events
from telethon.tl.functions.bots import SetBotCommandsRequest
from telethon.tl.types import BotCommand, BotCommandScopeDefault

from perps_kit.telegram import render as r
from perps_kit.telegram.catalog import Texts, texts_in
from perps_kit.telegram.commands import Command, parse, pressed
from runners.errors import ConfigError
from runners.telegram.client import LOGGED_OUT, TelegramSender, make_client, said
from runners.telegram.pace import Pace
from runners.telegram.ports import ChatGone, DeliveryError, Queries, Unavailable, Unreachable, Wait

log = logging.getLogger(__name__)
REMEDY = "set PERPS_TELEGRAM__TOKEN to the token that @BotFather shows for your bot, or unset it to run without Telegram"
APPLICATION = "PERPS_TELEGRAM__API_ID and PERPS_TELEGRAM__API_HASH: my.telegram.org gives both"
BAD_APPLICATION = f"Telegram does not know {APPLICATION}"
BAD_TOKEN = (errors.AccessTokenInvalidError, errors.AccessTokenExpiredError, errors.UserDeactivatedError, errors.UserDeactivatedBanError)


class Bot:
    "One bot. Everything it says it asks of `queries`; every question has `within` seconds."

    def __init__(self, queries: Queries, pace: Pace, *, token: str, api_id: int, api_hash: str, session: str = "",
                 server: tuple[int, str, int] | None = None, within: float = 5.0, patience: float = 30.0, reconcile: float = 60.0) -> None:
        if not re.fullmatch(r"\d+:[A-Za-z0-9_-]+", token):
            raise ConfigError(f"the Telegram token is not of the form 123456:letters: {REMEDY}")
        if api_id <= 0 or not api_hash:
            raise ConfigError(f"a Telegram bot needs {APPLICATION}")
        self.queries, self.pace, self.token, self.api_id, self.api_hash = queries, pace, token, api_id, api_hash
        self.session, self.server, self.within, self.patience, self.reconcile = session, server, within, patience, reconcile
        self.client: TelegramClient | None = None
        self.sender = TelegramSender(lambda: self.client)
        self.username = ""
        self.busy: Counter[int] = Counter()

    async def connect(self) -> None:
        "Log in. ConfigError: Telegram does not accept the token; Unreachable: it did not answer."
        await self.close()
        client = make_client(self.api_id, self.api_hash, self.session, self.server)
        client.add_event_handler(self.on_message, events.NewMessage(incoming=True))
        client.add_event_handler(self.on_press, events.CallbackQuery())
        try:
            async with asyncio.timeout(self.patience): await self.log_in(client)
        except BaseException as error:
            with suppress(OSError): await client.disconnect()
            if isinstance(error, TimeoutError): raise Unreachable(f"Telegram did not answer within {self.patience:g} s") from None
            raise
        self.client, self.session = client, client.session.save()  # type: ignore[union-attr]

    async def log_in(self, client: TelegramClient) -> None:
        try:
            await client.connect()
            if not await client.is_user_authorized(): await client.sign_in(bot_token=self.token)
            me: Any = await client.get_me()
            self.username = me.username or ""
            menu = [BotCommand(name, r.visible(Texts()(f"command.{name}"))) for name in r.MENU]
            with suppress(errors.RPCError): await client(SetBotCommandsRequest(BotCommandScopeDefault(), "", menu))
        except BAD_TOKEN:
            raise ConfigError(f"Telegram does not accept the bot token: {REMEDY}") from None
        except errors.ApiIdInvalidError:
            raise ConfigError(BAD_APPLICATION) from None
        except LOGGED_OUT:
            self.session = ""
            raise Unreachable("Telegram has forgotten the session: logging in anew") from None
        except (errors.FloodWaitError, errors.ServerError) as error:
            raise Unreachable(f"Telegram does not let the bot log in now: {said(error)}") from error
        except OSError as error:
            raise Unreachable(f"Telegram cannot be reached ({type(error).__name__})") from error

    async def run(self) -> None:
        "Answer until the connection is lost for good, which is an error for the supervisor; short losses mend themselves."
        if self.client is None or not self.client.is_connected(): await self.connect()
        assert self.client
        lost = asyncio.ensure_future(self.client.disconnected)
        try:
            while not lost.done():
                await asyncio.wait({lost}, timeout=self.reconcile)
                await self.client.catch_up()            # Telethon does not ask by itself what it missed while disconnected
            await lost
        except errors.AuthKeyNotFound:
            self.session = ""
        raise Unreachable("the connection to Telegram has ended")

    async def close(self) -> None:
        "Hang up."
        client, self.client = self.client, None
        if client is not None: await client.disconnect()  # type: ignore[misc]

    async def on_message(self, event: Any) -> None:
        "Somebody wrote."
        command = parse(event.raw_text or "", self.username)
        if command is not None: await self.answer(event, command)

    async def on_press(self, event: Any) -> None:
        "Somebody pressed a button: end its spinner, then tell."
        with suppress(errors.RPCError, OSError, TimeoutError):
            async with asyncio.timeout(self.within): await event.answer()
        command = pressed(event.data)
        if command is not None: await self.answer(event, command)

    async def answer(self, event: Any, command: Command) -> None:
        "Answer a command, or say that it could not be done; whatever else goes wrong is logged by Telethon, not told."
        chat, texts = event.chat_id, texts_in(getattr(event.sender, "lang_code", None))
        if self.busy[chat] >= 3: return
        self.busy[chat] += 1
        message = r.Message(texts("failed"))
        try:
            async with asyncio.timeout(self.within): message = await self.tell(chat, texts, command)
        except (Unavailable, TimeoutError):
            message = r.Message(texts("busy"))
        finally:
            self.busy -= Counter({chat: 1})
            if self.client is not None: await self.say(chat, message)

    async def tell(self, chat: int, texts: Texts, command: Command) -> r.Message:
        "The answer to a command."
        match command.name:
            case "start":
                await self.queries.subscribe(chat, texts.language)
                return r.welcome_message(texts)
            case "stop":
                await self.queries.unsubscribe(chat)
                return r.Message(texts("goodbye"))
            case "help": return r.help_message(texts)
            case "status": return r.status_message(texts, await self.queries.status())
            case "signals": return r.signals_message(texts, await self.queries.signals(10))
            case "positions": return r.positions_message(texts, await self.queries.positions())
            case "why" if command.argument: return r.why_message(texts, await self.queries.why(command.argument), command.argument)
            case "why": return r.Message(texts("why.usage"))
            case _: return r.Message(texts("unknown", commands="/help"))

    async def say(self, chat: int, message: r.Message) -> None:
        "An answer, at the pace allowed; one that cannot be given in time is dropped."
        try:
            async with asyncio.timeout(2 * self.within):
                await self.pace.turn(str(chat))
                await self.sender.send(str(chat), message, secrets.randbits(63) or 1)
        except Wait as wait:
            self.pace.hold(self.pace.clock.now() + round(wait.seconds * 1000), str(chat) if wait.chat_only else "")
        except ChatGone:
            await self.queries.unsubscribe(chat)
        except (DeliveryError, TimeoutError) as error:
            log.warning("an answer to chat %s was not sent: %s", chat, error or "no time")
