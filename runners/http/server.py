"The server's lifetime: a socket taken early, uvicorn in a task, an end within seconds."

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import FastAPI

from runners.errors import ConfigError
from runners.http.settings import HttpSettings, check_exposure

GRACE = 3  # seconds for answers under way when the service stops


class Server(uvicorn.Server):
    "uvicorn that leaves the process's signals to the service around it."

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def open_socket(settings: HttpSettings) -> socket.socket:
    "Take the address before anything else starts: a busy port or an open door is one sentence, and nothing has been written."
    check_exposure(settings)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"cannot listen on {settings.host!r}: {error.strerror}; set http.host to an address of this machine") from None
    taken = socket.socket(family, kind, proto)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(address)
        taken.listen(128)
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            why = f"port {settings.port} is in use: stop the program that holds it, or choose another with http.port (0 takes any free one)"
        else:
            why = f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        raise ConfigError(why) from None
    taken.setblocking(False)
    return taken


@asynccontextmanager
async def serving(app: FastAPI, settings: HttpSettings, taken: socket.socket | None = None) -> AsyncIterator[str]:
    "Serve `app` while the block runs; gives the address of the page."
    taken = taken or open_socket(settings)
    host, port = taken.getsockname()[:2]
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=GRACE, server_header=False)
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[taken]), name="http")
    try:
        async with asyncio.timeout(30):
            while not server.started and not task.done():
                await asyncio.sleep(0.005)
        if task.done():
            task.result()
            raise ConfigError("the HTTP server ended before it began: see the log above")
        yield f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    finally:
        server.should_exit = True
        try:
            async with asyncio.timeout(GRACE + 2):
                await asyncio.shield(task)
        except TimeoutError:
            task.cancel()
        taken.close()
