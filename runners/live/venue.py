"The exchange as the service sees it: a ccxt client with markets loaded, and, where the venue is a replay, the hand that moves its clock."

import asyncio
import json
import logging
import sys
import time as wall
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from perps_kit.core.bar import DataError
from perps_kit.core.clock import iso
from perps_kit.exchange.filters import filters_of_market
from perps_kit.exchange.outcome import LIMITED, UNKNOWN, outcome_of
from perps_kit.exchange.profile import profile
from runners.errors import ConfigError
from runners.settings import Replay, Settings
from runners.venue.route import loopback_session, open_exchange

log = logging.getLogger(__name__)
PATIENCE = 125.0  # seconds that a request waits because the venue asks to: its shortest ban is 120


class Pacer:
    "The two barriers of a replay in lockstep (architecture, From a bar to a message); against any other venue it does nothing."

    def __init__(self, address: dict[str, Any] | None = None, lockstep: bool = False):
        self.address, self.lockstep = address, lockstep
        self.session = loopback_session(address["port"], address["certificate"]) if address else None

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        assert self.session and self.address
        async with asyncio.timeout(60), self.session.request(method, f"https://fapi.binance.com{path}", json=body) as answer:
            data = await answer.json()
            if answer.status != 200:
                raise RuntimeError(f"the replay venue refused {path}: {data}")
            return data

    async def status(self) -> dict[str, Any]:
        "Where the replay stands: time, phase, progress."
        return await self._call("GET", "/replay/status")

    async def start(self) -> None:
        "Let a replay that runs by itself begin, now that somebody watches."
        if self.address and not self.lockstep:
            await self._call("POST", "/replay/start")

    async def release(self, time: int, phase: str) -> dict[str, Any]:
        "Let the replay go on from a barrier; answered when what it released has happened."
        return await self._call("POST", "/replay/barrier", dict(time=time, phase=phase))

    async def close(self) -> None:
        if self.session:
            await self.session.close()


class Exchange:
    "A ccxt.pro client with what the service needs beside it."

    def __init__(self, client: Any, symbols: tuple[str, ...], pacer: Pacer, venue: str, timeout: float):
        self.client, self.pacer, self.venue, self.timeout, self.profile = client, pacer, venue, timeout, profile(venue)
        self.quiet_until = 0.0  # monotonic seconds: until then the venue wants no questions
        self.ahead = 0  # milliseconds that the venue's clock is ahead of this machine's, as of its last answer
        known = {m["id"]: m for m in client.markets.values() if m.get("swap") and m.get("linear")}
        if not known:
            raise DataError("it lists no perpetual futures")
        unknown = [s for s in symbols if s not in known]
        if unknown:
            some = ", ".join(sorted(known)[:12]) + (" ..." if len(known) > 12 else "")
            raise ConfigError(f"{venue} has no perpetual {', '.join(unknown)}: choose from {some}")
        self.pairs = {s: known[s]["symbol"] for s in symbols}
        self.filters = {s: filters_of_market(known[s]) for s in symbols}

    @property
    def ticks(self) -> dict[str, float]:
        return {s: f.tick for s, f in self.filters.items()}

    def hang_up(self, reason: str) -> None:
        "Drop the WebSocket connections: pings can go on while the data has stopped, and only a new connection brings it back."
        import ccxt

        for connection in list(self.client.clients.values()):
            connection.on_error(ccxt.NetworkError(reason))

    async def patiently(self, call: Callable[[], Awaitable[Any]], times: int = 5) -> Any:
        """A reading request: again after the pause that a rate limit asks for, a few times after network trouble; each has the deadline.

        A longer pause than `PATIENCE` is an error, for this request and for those that come before it is over: nobody asks during a ban.
        """
        for attempt in range(times):
            await self.quiet()
            try:
                async with asyncio.timeout(self.timeout):
                    return await call()
            except (TimeoutError, *network_errors()) as error:
                outcome = outcome_of(error, retry_after(self.client))
                if outcome.kind == LIMITED:
                    self.quiet_until = max(self.quiet_until, wall.monotonic() + outcome.wait)
                if attempt + 1 == times or outcome.kind not in (LIMITED, UNKNOWN) or outcome.wait > PATIENCE:
                    raise
                pause = outcome.wait or 0.5 * 2**attempt
                log.warning("%s: %s; again in %.1f s", self.venue, type(error).__name__, pause)
                await asyncio.sleep(pause)

    async def quiet(self) -> None:
        "Wait while the venue wants no questions."
        import ccxt

        pause = self.quiet_until - wall.monotonic()
        if pause > PATIENCE:
            raise ccxt.DDoSProtection(f"{self.venue} wants no questions for {pause:.0f} s more")
        if pause > 0:
            await asyncio.sleep(pause)

    async def now(self) -> int:
        "The venue's clock; DataError where it answers something else than a time."
        time = await self.patiently(self.client.fetch_time, 3)
        if not isinstance(time, int):
            raise DataError(f"{self.venue} was asked for its time and sent something else")
        self.ahead = time - wall.time_ns() // 1_000_000
        return time

    def clock(self) -> int:
        "The venue's clock without asking: this machine's, corrected by what the venue last said."
        return wall.time_ns() // 1_000_000 + self.ahead


def retry_after(client: Any) -> float | None:
    "Seconds that the venue asked to wait with its last answer."
    headers = {k.lower(): v for k, v in (client.last_response_headers or {}).items()}
    try:
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None


@asynccontextmanager
async def replay_process(replay: Replay, symbols: tuple[str, ...], minutes: int) -> AsyncIterator[dict[str, Any]]:
    "The replay venue as a process of its own, ended with the block; or the one that `attach` names, left alone."
    if replay.attach:
        try:
            yield json.loads(replay.attach.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ConfigError(f"cannot read where the replay venue listens from {replay.attach}: {error}") from None
        return
    from perps_kit.data.sample import sample_root

    arguments = ["--data", str(replay.data or sample_root()), "--symbols", *symbols, "--minutes", str(minutes)]
    arguments += ["--pace", str(replay.pace), "--with-parent", "--hold", "--weight-limit", "1000000"]
    for name in ("start", "end"):
        if (value := getattr(replay, name)) is not None:
            arguments += [f"--{name}", str(value)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "runners.venue", *arguments, stdout=pipe, stderr=pipe)
    try:
        assert process.stdout and process.stderr
        async with asyncio.timeout(60):
            line = await process.stdout.readline()
        if not line:
            problem = (await process.stderr.read()).decode().strip().splitlines()
            raise ConfigError(problem[-1] if problem else "the replay venue ended before it began")
        listening = asyncio.create_task(overhear(process.stderr), name="replay venue")
        try:
            yield json.loads(line)
        finally:
            listening.cancel()
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def overhear(stream: asyncio.StreamReader) -> None:
    "Log what a process complains of; unread, it would fill the pipe and stand still."
    while text := await stream.read(8192):
        log.warning("replay venue: %s", text.decode(errors="replace").strip())


@asynccontextmanager
async def open_venue(settings: Settings) -> AsyncIterator[Exchange]:
    "The exchange of the settings, markets loaded; its sockets are closed with the block."
    venue = settings.venue
    if venue.replay is None:
        async with connected(real_client(settings), settings, Pacer()) as exchange:
            yield exchange
        return
    async with replay_process(venue.replay, settings.symbols, settings.minutes) as address:
        key, secret = venue.api_key.get_secret_value() or "replay-key", venue.secret.get_secret_value() or "replay-secret"
        client = await open_exchange(address["port"], Path(address["certificate"]), key, secret)
        pacer = Pacer(address)
        try:
            async with connected(client, settings, pacer) as exchange:
                pacer.lockstep = (await pacer.status())["phase"] != "running"
                yield exchange
        finally:
            await pacer.close()


@asynccontextmanager
async def connected(client: Any, settings: Settings, pacer: Pacer) -> AsyncIterator[Exchange]:
    "The client with its markets, closed at the end whatever happens."
    try:
        try:
            async with asyncio.timeout(3 * settings.venue.timeout):
                await client.load_markets()
            exchange = Exchange(client, settings.symbols, pacer, settings.venue.id, settings.venue.timeout)
            log.info("%s answers at %s UTC, %d symbols", exchange.venue, iso(await exchange.now()), len(exchange.pairs))
        except (TimeoutError, OSError, DataError, *network_errors()) as error:
            reason = str(error) if isinstance(error, DataError) else type(error).__name__
            raise ConfigError(f"cannot reach {settings.venue.id}: {reason}; check the network, or use venue.replay") from None
        yield exchange
    finally:
        await client.close()


def network_errors() -> tuple[type[BaseException], ...]:
    "What ccxt raises when the other side does not answer as it should; imported late, because ccxt is large."
    import ccxt

    return (ccxt.OperationFailed, ccxt.ExchangeError)  # a 503 is the former, and no NetworkError


def real_client(settings: Settings) -> Any:
    "ccxt.pro's client for the venue of the settings."
    import ccxt.pro

    try:
        made = getattr(ccxt.pro, settings.venue.id)
    except AttributeError:
        raise ConfigError(f"ccxt has no exchange {settings.venue.id!r} with WebSockets: use binanceusdm") from None
    venue = settings.venue
    return made({
        "apiKey": venue.api_key.get_secret_value(),
        "secret": venue.secret.get_secret_value(),
        "enableRateLimit": True,
        "newUpdates": True,
        "timeout": int(1000 * venue.timeout),
        "options": {"fetchCurrencies": False},
    })
