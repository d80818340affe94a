"Telethon at arm's length: how we log in, what we send, and what its errors mean to us."

import logging
from collections.abc import Callable
from typing import Any

from telethon import Button, TelegramClient
from telethon import errors as e
from telethon.extensions import html
from telethon.sessions import StringSession
from telethon.tl import types
from telethon.tl.functions.messages import SendMessageRequest
from telethon.utils import resolve_id

from perps_kit.telegram.render import ButtonSpec, Message
from runners.telegram.ports import ChatGone, Failed, Refused, Unreachable, Wait

GONE = (
    e.UserIsBlockedError, e.InputUserDeactivatedError, e.PeerIdInvalidError, e.ChatIdInvalidError, e.ChannelInvalidError,
    e.ChannelPrivateError, e.ChatWriteForbiddenError, e.ChatForbiddenError, e.ChatRestrictedError, e.ChatAdminRequiredError,
    e.UserBannedInChannelError, e.ChatSendPlainForbiddenError, e.BotGroupsBlockedError, e.UserIsBotError,
)
LOGGED_OUT = (e.UnauthorizedError, e.AuthKeyError, e.AuthKeyNotFound)


def make_client(api_id: int, api_hash: str, session: str, server: tuple[int, str, int] | None) -> TelegramClient:
    """A client that never waits or gives up on its own: flood waits come to us, connections are tried for ever.

    `session` is a StringSession's text ("" logs in anew); `server` is (data centre, host, port) instead of Telegram's own.
    """
    kept = StringSession(session)
    if server is not None: kept.set_dc(*server)
    client = TelegramClient(kept, api_id, api_hash, flood_sleep_threshold=0, request_retries=0, raise_last_call_error=True,
                            connection_retries=None, retry_delay=1, base_logger=logging.getLogger("telethon"))  # type: ignore[arg-type]
    client.parse_mode = "html"
    return client


def peer_of(chat: str) -> types.InputPeerUser | types.InputPeerChat | types.InputPeerChannel:
    "The address of a chat by its marked id. A bot may leave access hashes 0, so that a restart forgets nobody."
    try: number, kind = resolve_id(int(chat))
    except ValueError: raise Refused(f"{chat!r} is not a chat's id") from None
    if kind is types.PeerUser: return types.InputPeerUser(number, 0)
    return types.InputPeerChat(number) if kind is types.PeerChat else types.InputPeerChannel(number, 0)


def keyboard(client: TelegramClient, rows: tuple[tuple[ButtonSpec, ...], ...]) -> types.TypeReplyMarkup | None:
    "Buttons as Telethon makes them."
    return client.build_reply_markup([[Button.inline(b.text, b.data.encode()) for b in row] for row in rows]) if rows else None


class TelegramSender:
    "Sends one message by one raw request, since only that has a `random_id`."

    def __init__(self, client: Callable[[], TelegramClient | None]) -> None:
        self.client = client

    async def send(self, chat: str, message: Message, random_id: int) -> int | None:
        "The id of the message in its chat; None where Telegram says that it has it already."
        client = self.client()
        if client is None or not client.is_connected(): raise Unreachable("not connected to Telegram")
        text, entities = html.parse(message.html)
        markup = keyboard(client, message.buttons)
        request = SendMessageRequest(peer_of(chat), text, no_webpage=True, random_id=random_id, entities=entities, reply_markup=markup)
        try:
            return message_id(await client(request), random_id)
        except e.RandomIdDuplicateError:
            return None
        except (e.FloodWaitError, e.FloodPremiumWaitError) as error:
            raise Wait(error.seconds) from error
        except e.SlowModeWaitError as error:
            raise Wait(error.seconds, chat_only=True) from error
        except GONE as error:
            raise ChatGone(said(error)) from error
        except LOGGED_OUT as error:
            raise Unreachable(f"logged out by Telegram: {said(error)}") from error
        except (e.BadRequestError, e.ForbiddenError, e.NotFoundError) as error:
            raise Refused(said(error)) from error
        except e.RPCError as error:
            raise Failed(said(error)) from error
        except OSError as error:
            raise Unreachable(f"no connection to Telegram ({type(error).__name__})") from error


def message_id(result: Any, random_id: int) -> int | None:
    "The new message's id in Telegram's answer."
    if isinstance(result, types.UpdateShortSentMessage): return result.id
    updates = getattr(result, "updates", [])
    return next((u.id for u in updates if isinstance(u, types.UpdateMessageID) and u.random_id == random_id), None)


def said(error: BaseException) -> str:
    "An error in one line, without the request that caused it."
    return str(error).partition(" (caused by")[0]
