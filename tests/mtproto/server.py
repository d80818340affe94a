"What Telegram does with a bot: logs it in, keeps its messages, counts its floods, passes on what people say and press."

import asyncio
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime
from inspect import Parameter, signature
from typing import Any, NamedTuple

from telethon.crypto import AuthKey
from telethon.tl import functions as f
from telethon.tl import types as t

from .wire import Gone, ServerKey, Wire

BOT, TOKEN = 4242, "4242:loopback"
TRUE = struct.pack("<I", 0x997275B5)


class Fault(Exception):
    "An RPC error as Telegram words it."

    def __init__(self, code: int, message: str) -> None:
        self.code, self.message = code, message


class Sent(NamedTuple):
    "A message of the bot's, as a person sees it."

    id: int
    chat: int
    text: str
    entities: list
    buttons: list[tuple[str, bytes]]
    random_id: int
    at: float


class Telegram:
    "`async with Telegram() as telegram:` serves on `telegram.port` until the block ends."

    def __init__(self) -> None:
        self.key, self.keys, self.logged_in = ServerKey(), dict[int, AuthKey](), set[int]()
        self.wires: set[Wire] = set()
        self.tasks: set[asyncio.Task] = set()
        self.sent: list[Sent] = []
        self.edits: dict[int, str] = {}
        self.by_random_id: dict[int, Sent] = {}
        self.history: list[tuple[int, Any]] = []  # (pts, update): what GetDifference gives
        self.commands: list[str] = []
        self.answers: dict[int, asyncio.Future[str]] = {}
        self.blocked: set[int] = set()
        self.floods: list[int] = []  # seconds for each of the next sends
        self.faults: list[Fault] = []  # for each of the next sends
        self.drops: list[str] = []  # "before" or "after" keeping the message, for each of the next sends
        self.strict_duplicates = False  # answer a known random_id with RANDOM_ID_DUPLICATE
        self.silent = False  # keep connections, answer no send
        self.attempts = self.logins = self.message_id = self.queries = 0
        self.pts = 1

    async def __aenter__(self) -> "Telegram":
        self.key.trust()
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        self.cut()
        if self.tasks:
            await asyncio.wait(list(self.tasks), timeout=2)

    @property
    def dc(self) -> tuple[int, str, int]:
        return 2, "127.0.0.1", self.port

    def cut(self) -> None:
        "Drop every connection."
        for wire in list(self.wires):
            wire.writer.transport.abort()

    async def until(self, holds: Callable[[], Any], within: float = 5.0) -> Any:
        "Wait for a condition on this server; its value is returned."
        async with asyncio.timeout(within):
            while not (value := holds()):
                await asyncio.sleep(0.005)
        return value

    async def texts(self, chat: int, count: int, within: float = 5.0) -> list[Sent]:
        "The messages of a chat, once there are `count`."

        def enough() -> list[Sent]:
            mine = [m for m in self.sent if m.chat == chat]
            return mine if len(mine) >= count else []

        return await self.until(enough, within)

    def say(self, user: int, text: str, language: str = "en") -> None:
        "A person writes to the bot in private."
        self.message_id += 1
        message = t.Message(self.message_id, t.PeerUser(user), now(), text, from_id=t.PeerUser(user))
        self.push(lambda pts: t.UpdateNewMessage(message, pts, 1), [person(user, language)])

    def press(self, message: Sent, data: bytes) -> "asyncio.Future[str]":
        "A person presses a button; the future is the bot's callback answer."
        self.queries += 1
        self.answers[self.queries] = asyncio.get_running_loop().create_future()
        update = t.UpdateBotCallbackQuery(self.queries, message.chat, t.PeerUser(message.chat), message.id, 7, data)
        self.send_updates([update], [person(message.chat, "en")])
        return self.answers[self.queries]

    def push(self, update: Callable[[int], Any], users: list) -> None:
        self.pts += 1
        self.history.append((self.pts, update(self.pts)))
        self.send_updates([self.history[-1][1]], users)

    def send_updates(self, updates: list, users: list) -> None:
        for wire in self.wires:
            wire.send(bytes(t.Updates(updates, users, [], now(), 0)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire, task = Wire(reader, writer, self.key, self.keys), asyncio.current_task()
        assert task
        self.tasks.add(task)
        self.wires.add(wire)
        try:
            async for message_id, request in wire.requests():
                if isinstance(request, f.PingRequest):
                    wire.send(bytes(t.Pong(message_id, request.ping_id)))
                elif not isinstance(request, t.MsgsAck):
                    self.handle(wire, message_id, request)
        except Gone:
            pass
        finally:
            self.wires.discard(wire)
            self.tasks.discard(task)
            writer.close()

    def handle(self, wire: Wire, message_id: int, request: Any) -> None:
        try:
            if isinstance(request, f.messages.SendMessageRequest) and self.silent:
                return
            wire.reply(message_id, self.answer(wire, request))
        except Fault as fault:
            wire.reply(message_id, bytes(t.RpcError(fault.code, fault.message)))

    def answer(self, wire: Wire, request: Any) -> bytes:
        assert wire.auth
        if isinstance(request, f.help.GetConfigRequest):
            return bytes(config(self.port))
        if isinstance(request, f.auth.ImportBotAuthorizationRequest):
            self.logins += 1
            if request.bot_auth_token != TOKEN:
                raise Fault(400, "ACCESS_TOKEN_INVALID")
            self.logged_in.add(wire.auth.key_id)
            return bytes(t.auth.Authorization(bot()))
        if wire.auth.key_id not in self.logged_in:
            raise Fault(401, "AUTH_KEY_UNREGISTERED")
        handler = HANDLERS.get(type(request))
        if handler is None:
            raise Fault(400, "METHOD_INVALID")
        return handler(self, wire, request)

    def get_users(self, _: Wire, request: f.users.GetUsersRequest) -> bytes:
        users = [bot() if isinstance(u, t.InputUserSelf) else person(getattr(u, "user_id", 0), "en") for u in request.id]
        return struct.pack("<Ii", 0x1CB5C415, len(users)) + b"".join(map(bytes, users))

    def get_state(self, *_: Any) -> bytes:
        return bytes(self.state())

    def state(self) -> t.updates.State:
        return t.updates.State(self.pts, 0, now(), 0, 0)

    def get_difference(self, _: Wire, request: f.updates.GetDifferenceRequest) -> bytes:
        missed = [update for pts, update in self.history if pts > request.pts]
        if not missed:
            return bytes(t.updates.DifferenceEmpty(now(), 0))
        messages = [u.message for u in missed]
        users = [person(m.peer_id.user_id, "en") for m in messages]
        return bytes(t.updates.Difference(messages, [], [], [], users, self.state()))

    def send_message(self, wire: Wire, request: f.messages.SendMessageRequest) -> bytes:
        self.attempts += 1
        drop = self.drops.pop(0) if self.drops else ""
        if drop == "before":
            return self.hang_up(wire)
        peer, known = request.peer, self.by_random_id.get(request.random_id)
        chat = peer.user_id if isinstance(peer, t.InputPeerUser) else -peer.chat_id
        if self.floods and (seconds := self.floods.pop(0)):
            raise Fault(420, f"FLOOD_WAIT_{seconds}")
        if self.faults:
            raise self.faults.pop(0)
        if chat in self.blocked:
            raise Fault(400, "USER_IS_BLOCKED")
        if known and self.strict_duplicates:
            raise Fault(500, "RANDOM_ID_DUPLICATE")
        if len(request.message.encode("utf-16-le")) > 8192:
            raise Fault(400, "MESSAGE_TOO_LONG")
        message = known or self.keep(chat, request)
        if drop == "after":
            return self.hang_up(wire)
        if chat > 0:
            return bytes(t.UpdateShortSentMessage(message.id, self.pts, 0, now(), out=True, entities=request.entities))
        update = t.UpdateMessageID(message.id, request.random_id)
        sent = t.Message(message.id, t.PeerChat(-chat), now(), request.message, out=True)
        return bytes(t.Updates([update, t.UpdateNewMessage(sent, self.pts, 0)], [], [], now(), 0))

    def keep(self, chat: int, request: f.messages.SendMessageRequest) -> Sent:
        self.message_id += 1
        rows = getattr(request.reply_markup, "rows", [])
        buttons = [(b.text, b.type.data) for row in rows for b in row.buttons]
        message = Sent(self.message_id, chat, request.message, request.entities or [], buttons, request.random_id, time.monotonic())
        self.by_random_id[request.random_id] = message
        self.sent.append(message)
        return message

    def hang_up(self, wire: Wire) -> bytes:
        wire.writer.transport.abort()
        return b""

    def edit_message(self, _: Wire, request: f.messages.EditMessageRequest) -> bytes:
        self.edits[request.id] = request.message or ""
        return bytes(t.Updates([], [], [], now(), 0))

    def callback_answer(self, _: Wire, request: f.messages.SetBotCallbackAnswerRequest) -> bytes:
        waiting = self.answers.get(request.query_id)
        if waiting is None:
            raise Fault(400, "QUERY_ID_INVALID")
        if not waiting.done():
            waiting.set_result(request.message or "")
        return TRUE

    def set_commands(self, _: Wire, request: f.bots.SetBotCommandsRequest) -> bytes:
        self.commands = [c.command for c in request.commands]
        return TRUE


HANDLERS: dict[type, Callable[[Telegram, Wire, Any], bytes]] = {
    f.users.GetUsersRequest: Telegram.get_users,
    f.updates.GetStateRequest: Telegram.get_state,
    f.updates.GetDifferenceRequest: Telegram.get_difference,
    f.messages.SendMessageRequest: Telegram.send_message,
    f.messages.EditMessageRequest: Telegram.edit_message,
    f.messages.SetBotCallbackAnswerRequest: Telegram.callback_answer,
    f.bots.SetBotCommandsRequest: Telegram.set_commands,
}


def now() -> datetime:
    return datetime.now(UTC)


def bot() -> t.User:
    return t.User(BOT, is_self=True, bot=True, access_hash=1, first_name="Kit", username="kit_bot", bot_info_version=1)


def person(user: int, language: str) -> t.User:
    return t.User(user, access_hash=user * 7, first_name=f"User {user}", lang_code=language)


def config(port: int) -> t.Config:
    "A configuration in which every number is one and every text empty."
    needed: dict[str, Any] = {
        name: 1 for name, p in signature(t.Config.__init__).parameters.items() if name != "self" and p.default is Parameter.empty
    }
    for name, p in signature(t.Config.__init__).parameters.items():
        if p.annotation in (str, "str") and name in needed:
            needed[name] = ""
        if p.annotation in (bool, "bool") and name in needed:
            needed[name] = False
    needed |= {"date": now(), "expires": now(), "this_dc": 2, "dc_options": [t.DcOption(2, "127.0.0.1", port)], "message_length_max": 4096}
    return t.Config(**needed)
