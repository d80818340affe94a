"`python -m runners.venue`: the replay venue as a process of its own; one line of JSON on stdout says where it listens."
import argparse
import asyncio
import json
import os
import signal
import sys

from perps_kit.core.bar import DataError
from perps_kit.core.clock import parse_time
from runners.errors import ConfigError


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m runners.venue", description="Replay candles as Binance USDT-M, over TLS on 127.0.0.1.")
    p.add_argument("--data", nargs="+", default=["sample_data"],
                   help="a candle store, a folder of candle files, or files (default: sample_data)")
    p.add_argument("--symbols", nargs="*", default=[], help="like BTCUSDT ETHUSDT, or with commas; all that are there by default")
    p.add_argument("--minutes", type=int, default=15, help="length of a bar")
    p.add_argument("--start", default=None, help="a time like 2026-10-01; bars before it are history")
    p.add_argument("--end", default=None)
    p.add_argument("--history", type=int, default=None, help="days to keep before --start (default: all there are)")
    p.add_argument("--pace", default="lockstep", help="lockstep, or how many times faster than real time")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--balance", type=float, default=10_000.0, help="USDT in the account")
    p.add_argument("--pieces", type=int, default=1, help="split every fill into so many")
    p.add_argument("--fine", action="store_true", help="follow 1m candles inside a bar where there are any (not in lockstep)")
    p.add_argument("--hold", action="store_true", help="stand still until POST /replay/start (not in lockstep)")
    p.add_argument("--weight-limit", type=int, default=2400, help="request weight a minute")
    p.add_argument("--ban", type=float, default=120.0, help="seconds of a 418 ban")
    p.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
    p.add_argument("--key", default=os.environ.get("PERPS_REPLAY_KEY", "replay-key"))
    p.add_argument("--secret", default=os.environ.get("PERPS_REPLAY_SECRET", "replay-secret"))
    return p.parse_args(argv)


def build(args: argparse.Namespace):
    "The venue that the arguments ask for; ConfigError or DataError says what is wrong with them."
    from runners.venue.data import read_market
    from runners.venue.venue import Venue
    if args.pace != "lockstep":
        try: positive = float(args.pace) > 0
        except ValueError: positive = False
        if not positive: raise ConfigError(f"--pace {args.pace}: write lockstep, or how many times faster than real time, like 600")
    try: start, end = (None if t is None else parse_time(t) for t in (args.start, args.end))
    except ValueError as error: raise ConfigError(str(error)) from None
    symbols = [s for text in args.symbols for s in text.split(",") if s]
    try: market = read_market(args.data, symbols, args.minutes, start, end, args.fine and args.pace != "lockstep", args.history)
    except DataError: raise
    except ValueError as error: raise ConfigError(str(error)) from None
    try:
        return Venue(**market, start=start, end=end, pace=args.pace if args.pace == "lockstep" else float(args.pace), balance=args.balance,
                     pieces=args.pieces, weight_limit=args.weight_limit,
                     ban=args.ban, hold=args.hold, key=args.key, secret=args.secret)
    except ValueError as error: raise ConfigError(str(error)) from None


async def run(args: argparse.Namespace) -> None:
    "Serve until SIGTERM or SIGINT."
    from runners.venue.app import serve
    venue, ended, parent = build(args), asyncio.Event(), os.getppid()
    for name in (signal.SIGTERM, signal.SIGINT): asyncio.get_running_loop().add_signal_handler(name, ended.set)
    async with serve(venue, args.port) as door:
        print(json.dumps({"port": door.port, "certificate": door.certificate, "symbols": list(venue.markets), "time": venue.time,
                          "start": venue.start, "end": venue.end}), flush=True)
        while not ended.is_set():
            try: await asyncio.wait_for(ended.wait(), 1.0)
            except TimeoutError:
                if args.with_parent and os.getppid() != parent: ended.set()


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try: asyncio.run(run(args))
    except (ConfigError, DataError) as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"port {args.port}: {error.strerror or error}; choose another with --port, or 0 for any free one", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__": sys.exit(main())
