"How fast Telegram lets a bot speak: about 30 messages a second in all, one a second to a chat, 20 a minute to a group."

from collections import deque

from runners.telegram.ports import Clock

FORGET = 60_000         # ms after which a chat's last messages no longer matter


class Pace:
    "Says when the next message may go, and remembers those that went."

    def __init__(self, clock: Clock, per_second: int = 30, chat_gap: int = 1_000, group_per_minute: int = 20) -> None:
        self.clock, self.chat_gap = clock, chat_gap
        self.everyone: deque[int] = deque(maxlen=per_second)
        self.group_per_minute = group_per_minute
        self.chats: dict[str, deque[int]] = {}
        self.holds: dict[str, int] = {}         # "" holds everybody

    def ready_at(self, chat: str) -> int:
        "When a message to the chat may go; a time that has passed means now."
        times = [self.holds.get("", 0), self.holds.get(chat, 0)]
        if len(self.everyone) == self.everyone.maxlen: times.append(self.everyone[0] + 1_000)
        if sent := self.chats.get(chat):
            times.append(sent[-1] + self.chat_gap)
            if chat.startswith("-") and len(sent) == self.group_per_minute: times.append(sent[0] + 60_000)
        return max(times)

    def book(self, chat: str) -> None:
        "A message to the chat goes now."
        now = self.clock.now()
        self.everyone.append(now)
        if len(self.chats) > 20_000: self.chats = {k: v for k, v in self.chats.items() if v[-1] > now - FORGET}
        self.chats.setdefault(chat, deque(maxlen=self.group_per_minute)).append(now)

    def hold(self, until: int, chat: str = "") -> None:
        "Silence until then: in one chat or, without one, everywhere."
        now = self.clock.now()
        self.holds = {k: v for k, v in self.holds.items() if v > now} | {chat: max(until, self.holds.get(chat, 0))}

    async def turn(self, chat: str) -> None:
        "Wait until a message to the chat may go, and book it."
        while (wait := self.ready_at(chat) - self.clock.now()) > 0: await self.clock.sleep(wait / 1000)
        self.book(chat)
