"The door: TLS on loopback, one handler that checks, counts and answers."
import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from perps_kit.exchange.weights import weight
from runners.venue import pace
from runners.venue.certificate import make_certificate, server_context
from runners.venue.faults import next_fault, order_fault, play
from runners.venue.private import KEY_ONLY, PRIVATE
from runners.venue.public import PUBLIC
from runners.venue.refusal import Refusal
from runners.venue.signing import account_of, check_signature
from runners.venue.venue import Venue


class Door(NamedTuple):
    "Where a served venue is reached."
    port: int
    certificate: str


def make_app(venue: Venue) -> web.Application:
    "The application around a venue."
    app = web.Application(client_max_size=1 << 16)

    async def rest(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket": return await sockets(venue, request)
        return await answer(venue, request)

    async def barrier(request: web.Request) -> web.Response:
        try:
            asked = await request.json()
            time, phase = int(asked["time"]), str(asked["phase"])
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": 'send {"time": T, "phase": "close" or "open"}'}, status=400)
        body = await venue.barrier(time, phase)
        return web.json_response(body, status=409 if "error" in body else 200)

    async def fault(request: web.Request) -> web.Response:
        body = await order_fault(venue, await request.json())
        return web.json_response(body, status=400 if "error" in body else 200)

    async def status(_: web.Request) -> web.Response: return web.json_response(venue.status())

    async def start(_: web.Request) -> web.Response:
        venue.go.set()
        return web.json_response(venue.status())

    app.router.add_get("/replay/status", status)
    app.router.add_post("/replay/barrier", barrier)
    app.router.add_post("/replay/fault", fault)
    app.router.add_post("/replay/start", start)
    app.router.add_route("*", "/{tail:.*}", rest)
    return app


async def answer(venue: Venue, request: web.Request) -> web.Response:
    "One REST request: weight, fault, identity, answer."
    body = await request.text() if request.can_read_body else ""
    payload = request.query_string + body
    parts = request.path.split("/", 3)
    path = f"{parts[2]}/{parts[3]}" if len(parts) == 4 and parts[2] in ("v2", "v3") else parts[-1]
    params = dict(request.query)
    if body: params.update(dict(await request.post()))  # type: ignore[arg-type]
    status, wait = venue.limits.spend(weight(request.method, path.removeprefix("v2/").removeprefix("v3/"), params), venue.time)
    headers = venue.limits.headers()
    if status != 200:
        late = f"Too many requests; current limit of IP is {venue.limits.limit} requests per minute."
        text = late if status == 429 else "Way too many requests; IP banned until later."
        return web.json_response({"code": -1003, "msg": text}, status=status, headers=headers | {"Retry-After": str(max(1, round(wait)))})
    fault = next_fault(venue, request.path) if venue.faults else None
    try:
        make = endpoint(venue, request, path, payload, params)
        if fault: return await play(venue, fault, make)
        return web.Response(text=json.dumps(make(), separators=(",", ":")), content_type="application/json", headers=headers)
    except Refusal as no: return web.json_response(no.body, status=no.status, headers=headers)


def endpoint(venue: Venue, request: web.Request, path: str, payload: str, params: dict[str, str]) -> Callable[[], dict | list]:
    "What will answer this request, once who asks is known."
    if request.path.startswith("/fapi/"):
        if request.method == "GET" and path in PUBLIC: return lambda: PUBLIC[path](venue, params)
        private = PRIVATE.get((request.method, path))
        if private:
            account = account_of(venue, request)
            if path not in KEY_ONLY: check_signature(venue, account, payload, params)
            return lambda: private(venue, account, params)
    raise Refusal(-5000, f"Path {request.path}, Method {request.method} is invalid", 404)


async def sockets(venue: Venue, request: web.Request) -> web.StreamResponse:
    "Market streams at /ws, /public/ws/N, /market/ws/N, /stream?streams=; the user's at /private/ws?listenKey= or /ws/<listenKey>."
    tail = request.path.rstrip("/").rsplit("/", 1)[-1]
    key = request.query.get("listenKey") or (tail if any(tail in a.listen_keys for a in venue.accounts.values()) else None)
    if key is not None and not any(key in a.listen_keys for a in venue.accounts.values()):
        return web.json_response({"code": -1125, "msg": "This listenKey does not exist."}, status=400)
    topics = [t for t in request.query.get("streams", "").split("/") if t] + ([tail] if "@" in tail or tail.startswith("!") else [])
    return await venue.hub.serve(request, key, topics, request.path.rstrip("/").endswith("/stream"))


@asynccontextmanager
async def serve(venue: Venue, port: int = 0, folder: str | Path | None = None) -> AsyncIterator[Door]:
    "Serve a venue on 127.0.0.1 (port 0: any free one); with a factor for its pace it starts to run at once."
    made = "" if folder else tempfile.mkdtemp(prefix="replay-venue-")
    certificate, key = make_certificate(folder or made)
    runner = web.AppRunner(make_app(venue), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=server_context(certificate, key))
    player: asyncio.Task | None = None
    try:
        await site.start()
        if not venue.lockstep: player = asyncio.create_task(pace.run(venue))
        yield Door(runner.addresses[0][1], str(certificate))
    finally:
        if player: player.cancel()
        for task in venue.late: task.cancel()
        await venue.hub.drop()
        await runner.cleanup()
        if made: shutil.rmtree(made, ignore_errors=True)
