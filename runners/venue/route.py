"""The unmodified ccxt client, led to the replay venue.

Its URLs stay those of the real exchange (so that its error mapping by host works); only names resolve to 127.0.0.1, and only the venue's
certificate is trusted: a request
that would leave the machine has nowhere to go. `fetchCurrencies` is off because it calls the spot wallet, which the venue is not; the
markets are the linear ones alone.

Time: ccxt signs with the host's clock and the venue checks signatures against the host's clock (or its own), so nothing needs
`adjustForTimeDifference`, which a clock that
jumps 15 minutes at a barrier would break. Ask `fetch_time` for the replay's time.
"""
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult


class Loopback(AbstractResolver):
    "Every host name is this port on 127.0.0.1."

    def __init__(self, port: int) -> None: self.port = port

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=self.port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)]

    async def close(self) -> None: return None


def loopback_session(port: int, certificate: str | Path) -> aiohttp.ClientSession:
    "A session whose every https and wss request goes to the venue; also fit for the control calls under /replay."
    context = ssl.create_default_context(cafile=str(certificate))
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=Loopback(port), ssl=context, limit=100), trust_env=False)


async def open_exchange(port: int, certificate: str | Path, api_key: str, secret: str, *, throttle: bool = False, **options: Any) -> Any:
    """ccxt.pro's binanceusdm, talking to the venue; `await exchange.close()` closes its sockets and its session.

    `throttle`: let ccxt pace its own requests (50 ms a weight unit) as it would against the real venue; off by default, since the venue
    answers 429 by itself.
    """
    import ccxt.pro
    exchange = ccxt.pro.binanceusdm({"apiKey": api_key, "secret": secret, "enableRateLimit": throttle, "newUpdates": True,
                                     "timeout": 10_000,
                                     "options": {"fetchCurrencies": False, "adjustForTimeDifference": False,
                                                 "warnOnFetchOpenOrdersWithoutSymbol": False, **options}})
    exchange.session = loopback_session(port, certificate)      # own_session stays True: close() closes it, and open() keeps it
    exchange.aiohttp_trust_env = False
    return exchange
