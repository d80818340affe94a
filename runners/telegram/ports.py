"What the bot and the outbox's sender need from others, and how a delivery can fail."

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from perps_kit.telegram.facts import PositionFacts, SignalFacts, StatusFacts, WhyFacts
from perps_kit.telegram.render import Message


class Clock(Protocol):
    "Time as the sender sees it."

    def now(self) -> int:
        "Milliseconds since the epoch, UTC."
        ...

    async def sleep(self, seconds: float) -> None:
        "Wait so long by this clock."
        ...


class WallClock:
    "The machine's own time."

    def now(self) -> int:
        "Milliseconds since the epoch, UTC."
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        "Wait so long."
        await asyncio.sleep(seconds)


class Queued(NamedTuple):
    "A message that waits."
    id: int
    kind: str               # signal, close, alert, reply
    chat: str               # a chat's id as text
    facts: Any
    random_id: int          # by which Telegram knows a repeat
    created_at: int
    attempts: int
    language: str


class OutboxStore(Protocol):
    "The messages that wait, in the database."

    async def due(self, now: int, limit: int) -> list[Queued]:
        "The oldest waiting message of each chat, where that is due."
        ...

    async def next_due(self) -> int | None:
        "When the next one is due; None: nothing waits."
        ...

    async def sent(self, row: int, message_id: int | None, now: int) -> None:
        "It has arrived."
        ...

    async def later(self, row: int, error: str, due_at: int, counted: bool) -> None:
        "It has not arrived: try again at `due_at`; `counted` failures are the message's own."
        ...

    async def give_up(self, row: int, error: str, now: int) -> None:
        "It will never arrive: kept with its reason, not tried again."
        ...

    async def unsubscribe(self, chat: str, error: str, now: int) -> None:
        "The chat is gone: no more messages for it, and none that wait."
        ...


class Sender(Protocol):
    "A way to a reader."

    async def send(self, chat: str, message: Message, random_id: int) -> int | None:
        "Send once; the message's id there, None if it had arrived before. A failure is one of the errors below."
        ...


class Queries(Protocol):
    "What the bot may ask and do. `Unavailable` says that there is no answer now."

    async def status(self) -> StatusFacts: ...
    async def signals(self, limit: int) -> Sequence[SignalFacts]: ...
    async def positions(self) -> Sequence[PositionFacts]: ...
    async def why(self, id: str) -> WhyFacts | None: ...
    async def subscribe(self, chat: int, language: str) -> None: ...
    async def unsubscribe(self, chat: int) -> None: ...


class Unavailable(Exception):
    "A question cannot be answered now."


class DeliveryError(Exception):
    "A message was not delivered."


class Wait(DeliveryError):
    "The other side wants silence for some seconds, from everybody or in one chat only."

    def __init__(self, seconds: float, chat_only: bool = False) -> None:
        super().__init__(f"asked to wait {seconds:g} s")
        self.seconds, self.chat_only = seconds, chat_only


class ChatGone(DeliveryError):
    "The reader blocked the bot, left, or does not exist."


class Refused(DeliveryError):
    "This message will never be taken."


class Failed(DeliveryError):
    "This attempt failed; another may not."


class Unreachable(DeliveryError):
    "There is no connection; no message is to blame."
