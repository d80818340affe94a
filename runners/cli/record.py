"`perps-kit data record`: liquidations as they happen, into the store, until stopped."
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runners.cli.data import STORE, Store, Symbols, Venue, one_sentence
from runners.errors import ConfigError

if TYPE_CHECKING:
    from runners.record import Recorder

Every = Annotated[float, typer.Option("--every", min=1.0, help="Seconds between two writes.")]
Seconds = Annotated[float, typer.Option("--seconds", min=0.0, help="Stop after so long; 0: until Ctrl-C.")]


def record(symbols: Symbols, store: Store = STORE, venue: Venue = "binanceusdm", every: Every = 10.0, seconds: Seconds = 0.0) -> None:
    "Gather liquidations from a venue's stream (binanceusdm, bybit): no venue tells past ones. Ctrl-C ends it, what came is kept."
    with one_sentence():
        import asyncio

        import ccxt.pro
        if venue not in ccxt.pro.exchanges:
            raise ConfigError(f"ccxt knows no stream of {venue!r}; liquidations come from binanceusdm and bybit")
        recorder = asyncio.run(_record(venue, list(dict.fromkeys(symbols)), store, every, seconds))
    typer.echo(f"{recorder.stored:,} liquidations stored" + (f", {recorder.drops} times reconnected" if recorder.drops else "")
               + (f", {recorder.bad} messages were none" if recorder.bad else ""))


async def _record(venue: str, symbols: list[str], root: Path, every: float, seconds: float) -> "Recorder":
    import asyncio
    import signal

    import ccxt.pro

    from perps_kit.storage.candles import CandleStore
    from runners.record import Recorder
    exchange, stop = getattr(ccxt.pro, venue)({"options": {"fetchCurrencies": False, "defaultType": "swap"}}), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM): loop.add_signal_handler(number, stop.set)
    if seconds: loop.call_later(seconds, stop.set)
    recorder = Recorder(exchange, CandleStore(root, venue), symbols, every, lambda line: typer.echo(line, err=True))
    try: await recorder.run(stop)
    finally: await exchange.close()
    return recorder
