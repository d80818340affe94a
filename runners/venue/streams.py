"Sockets: who listens to what, and what is sent to whom, in order."
import asyncio
import json
import time as host
from collections import deque

from aiohttp import WSMsgType, web

STREAMS_PER_SOCKET, INBOUND_PER_SECOND = 200, 10


class Socket:
    "One client connection; messages wait in a queue, so that whoever publishes never waits."

    def __init__(self, ws: web.WebSocketResponse, wrapped: bool, user: str | None) -> None:
        self.ws, self.wrapped, self.user = ws, wrapped, user
        self.topics: set[str] = set()
        self.queue: deque[str] = deque()
        self.more, self.idle = asyncio.Event(), asyncio.Event()
        self.idle.set()

    def send(self, text: str) -> None:
        self.queue.append(text)
        self.idle.clear()
        self.more.set()

    async def write(self) -> None:
        "Send the queue as it fills, until the socket ends."
        while not self.ws.closed:
            await self.more.wait()
            self.more.clear()
            while self.queue and not self.ws.closed:
                try: await self.ws.send_str(self.queue.popleft())
                except (ConnectionError, RuntimeError): self.queue.clear()
            self.idle.set()
        self.idle.set()


class Hub:
    "All sockets, by topic and by user."

    def __init__(self) -> None:
        self.sockets: set[Socket] = set()
        self.topics: dict[str, set[Socket]] = {}
        self.users: dict[str, set[Socket]] = {}
        self.muted = False          # a fault: pings go on, data stops

    def wanted(self, topic: str) -> bool: return topic in self.topics

    def publish(self, topic: str, body: dict | list) -> None:
        "Send a market message to those who subscribed to the topic."
        if self.muted or topic not in self.topics: return
        bare = wrapped = ""
        for socket in self.topics[topic]:
            if socket.wrapped:
                wrapped = wrapped or json.dumps({"stream": topic, "data": body}, separators=(",", ":"))
                socket.send(wrapped)
            else:
                bare = bare or json.dumps(body, separators=(",", ":"))
                socket.send(bare)

    def tell(self, listen_keys: dict[str, float], body: dict) -> None:
        "Send an account's event to its sockets."
        text = ""
        for key in listen_keys:
            for socket in self.users.get(key, ()):
                text = text or json.dumps(body, separators=(",", ":"))
                socket.send(text)

    async def drain(self, within: float = 5.0) -> None:
        "Wait until what was published has been written."
        waiting = [asyncio.ensure_future(s.idle.wait()) for s in self.sockets if not s.idle.is_set()]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=within)
            for task in late: task.cancel()

    def join(self, socket: Socket, topics: list[str]) -> bool:
        "Subscribe; False when the socket would hold more streams than the venue allows."
        if len(socket.topics | set(topics)) > STREAMS_PER_SOCKET: return False
        for topic in topics:
            socket.topics.add(topic)
            self.topics.setdefault(topic, set()).add(socket)
        return True

    def part(self, socket: Socket, topics: list[str]) -> None:
        for topic in topics:
            socket.topics.discard(topic)
            listeners = self.topics.get(topic, set())
            listeners.discard(socket)
            if not listeners: self.topics.pop(topic, None)

    async def drop(self) -> None:
        "Cut every connection, as an exchange does after 24 hours or on a bad day."
        for socket in list(self.sockets):
            if socket.ws._req is not None and socket.ws._req.transport is not None: socket.ws._req.transport.abort()

    async def serve(self, request: web.Request, user: str | None, topics: list[str], wrapped: bool) -> web.WebSocketResponse:
        "Hold a connection until it ends."
        ws = web.WebSocketResponse(heartbeat=180.0, max_msg_size=1 << 16)
        await ws.prepare(request)
        socket = Socket(ws, wrapped, user)
        self.sockets.add(socket)
        if user is not None: self.users.setdefault(user, set()).add(socket)
        self.join(socket, topics)
        writer = asyncio.create_task(socket.write())
        recent: deque[float] = deque(maxlen=INBOUND_PER_SECOND + 1)
        try:
            async for message in ws:
                if message.type != WSMsgType.TEXT: continue
                recent.append(host.monotonic())
                if len(recent) > INBOUND_PER_SECOND and recent[-1] - recent[0] < 1.0:
                    await ws.close(code=1008, message=b"Too many requests")
                    break
                socket.send(json.dumps(self._answer(socket, message.data)))
        finally:
            self.part(socket, list(socket.topics))
            self.sockets.discard(socket)
            if user is not None: self.users.get(user, set()).discard(socket)
            writer.cancel()
            socket.idle.set()
        return ws

    def _answer(self, socket: Socket, text: str) -> dict:
        try:
            asked = json.loads(text)
            method, number, topics = asked["method"], asked.get("id"), [str(t) for t in asked.get("params", [])]
        except (ValueError, TypeError, KeyError, AttributeError):
            return {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}
        if method == "SUBSCRIBE":
            if not self.join(socket, topics):
                return {"error": {"code": 2, "msg": f"Invalid request: more than {STREAMS_PER_SOCKET} streams on one connection"},
                        "id": number}
        elif method == "UNSUBSCRIBE": self.part(socket, topics)
        elif method == "LIST_SUBSCRIPTIONS": return {"result": sorted(socket.topics), "id": number}
        else: return {"error": {"code": 2, "msg": f"Invalid request: unknown method {method}"}, "id": number}
        return {"result": None, "id": number}
