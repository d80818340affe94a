"The order book: updates of 40 levels against the same updates in a plain dictionary a side, which knows neither order nor gaps."
import gzip
import json
import tracemalloc
from collections.abc import Sequence

import numpy as np

from benchmarks.measure import ROOT, Line, at_most, cpu_seconds
from perps_kit.data.book_sync import BookSync
from perps_kit.data.depth import depth_view
from perps_kit.data.order_book import Book, Diff, Snapshot, diff_of, levels_of, snapshot_of

RECORDED = ROOT.parent / "shared" / "data" / "orderbook"
MID = 618_000               # in ticks of 0.1


def synthetic(count: int = 6_000, levels: int = 40, seed: int = 5) -> tuple[dict, list[dict]]:
    """A snapshot, and messages of so many levels, as texts.

    The price wanders and takes away what it passes. Of the levels about 54 % change, 20 % are new, 19 % go and 7 % were not there;
    on recorded Bitcoin these are 59, 19, 18 and 4.
    """
    rng, mid, held = np.random.default_rng(seed), float(MID), [set(range(MID - 1000, MID)), set(range(MID + 1, MID + 1001))]
    messages = []
    for k in range(count):
        was, mid = mid, mid + float(rng.normal(0.0, 1.5))
        between, found = range(int(min(was, mid)), int(max(was, mid)) + 2), ([], [])
        for rows, side, sign in zip(found, held, (-1, 1), strict=True):
            changes = {t: 0.0 for t in between if t in side and sign * (t - mid) <= 0}
            while len(changes) < levels // 2:
                tick = int(mid + sign * (1 + rng.exponential(400.0 if rng.random() < 0.3 else 40.0)))
                if sign * (tick - mid) > 0: changes[tick] = float(rng.lognormal(-2.0, 1.5)) + 0.001 if rng.random() > 0.25 else 0.0
            rows += [[f"{t / 10:.2f}", f"{q:.3f}"] for t, q in sorted(changes.items())]
            side |= {t for t, q in changes.items() if q}
            side -= {t for t, q in changes.items() if not q}
        messages.append(dict(e="depthUpdate", E=100 * k, s="MADEUP", U=10 * k + 11, u=10 * k + 20, pu=10 * k + 10, b=found[0], a=found[1]))
    rows = [[[f"{(MID + sign * k) / 10:.2f}", "1.000"] for k in range(1, 1001)] for sign in (-1, 1)]
    return dict(lastUpdateId=10, E=0, bids=rows[0], asks=rows[1]), messages


def recorded(symbol: str) -> tuple[dict, list[dict]]:
    "The snapshot and the messages of a recorded stream, from the first that the snapshot takes."
    answer, messages = {}, []
    with gzip.open(RECORDED / f"{symbol}_20240808.gz", "rt") as lines:
        for line in lines:
            if '"e":"trade"' in line or '"e":"bookTicker"' in line: continue
            message = json.loads(line.partition(" ")[2])
            if "lastUpdateId" in message: answer = message
            else: messages.append(message["data"])
    return answer, [x for x in messages if x["u"] >= answer["lastUpdateId"]]


def plain(start: Snapshot, updates: Sequence[Diff]) -> tuple[dict, dict]:
    "What anybody writes first."
    bids, asks = dict(start.bids), dict(start.asks)
    for diff in updates:
        for side, levels in ((bids, diff.bids), (asks, diff.asks)):
            for price, quantity in levels.items():
                if quantity: side[price] = quantity
                else: side.pop(price, None)
    return bids, asks


def plain_from_text(answer: dict, messages: list[dict]) -> tuple[dict, dict]:
    bids, asks = levels_of(answer["bids"]), levels_of(answer["asks"])
    for message in messages:
        for side, rows in ((bids, message["b"]), (asks, message["a"])):
            for price, text in rows:
                quantity = float(text)
                if quantity: side[float(price)] = quantity
                else: side.pop(float(price), None)
    return bids, asks


def book(start: Snapshot, updates: Sequence[Diff]) -> Book:
    it = Book(start.symbol)
    it.load(start)
    for diff in updates: it.apply(diff)
    return it


def sync_from_text(symbol: str, answer: dict, messages: list[dict]) -> BookSync:
    "All that a service does with a message but for the JSON: parse, check, follow the chain."
    it = BookSync(symbol)
    it.snapshot(snapshot_of(symbol, answer, 0, 1000))
    for message in messages: it.feed(diff_of(message, 0))
    return it


def against_dictionaries(what: str, symbol: str, answer: dict, messages: list[dict]) -> list[Line]:
    start, updates = snapshot_of(symbol, answer, 0, 1000), [diff_of(message, message["E"]) for message in messages]
    n, mean = len(updates), sum(len(x.bids) + len(x.asks) for x in updates) / len(updates)
    mine, (bids, asks) = book(start, updates), plain(start, updates)
    for side, levels in ((mine.bids, bids), (mine.asks, asks)):
        if side.top(2000) != sorted(levels.items(), reverse=side.sign > 0)[:2000]: raise AssertionError(f"{what}: the books differ")
    spent = cpu_seconds({"book": lambda: book(start, updates), "dict": lambda: plain(start, updates),
                         "sync": lambda: sync_from_text(symbol, answer, messages), "text": lambda: plain_from_text(answer, messages)})
    note = f"{mean:.0f} levels an update; {spent['book'] / n * 1e6:.1f} against {spent['dict'] / n * 1e6:.1f} us"
    return [Line(f"{what}: book", n / spent["book"], "updates/s"), Line(f"{what}: plain dictionaries", n / spent["dict"], "updates/s"),
            at_most(f"{what}: book over dictionaries", spent["book"] / spent["dict"], "times", 2.5, note),
            at_most(f"{what}: the same from texts, with BookSync", spent["sync"] / spent["text"], "times", 2.5,
                    f"{n / spent['sync']:,.0f} against {n / spent['text']:,.0f} updates/s"), *costs(what, mine)]


def costs(what: str, it: Book) -> list[Line]:
    "Reading a book, and the memory it takes."
    times = 500
    spent = cpu_seconds({"view": lambda: [depth_view(it, it.received) for _ in range(times)],
                         "top": lambda: [it.bids.top(20) for _ in range(times)]})
    tracemalloc.start()
    copy = Book(it.symbol)
    copy.load(Snapshot(it.symbol, 1, dict(it.bids.top(4000)), dict(it.asks.top(4000)), 0, 0))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    levels = len(copy.bids.keys) + len(copy.asks.keys)
    return [Line(f"{what}: depth_view", spent["view"] / times * 1e6, "us"),
            Line(f"{what}: top 20 of a side", spent["top"] / times * 1e6, "us"),
            Line(f"{what}: memory", held / 1e6, "MB", note=f"{levels:,} levels, {held / levels:.0f} bytes each")]


def lines() -> list[Line]:
    found = against_dictionaries("made-up", "MADEUP", *synthetic())
    if not RECORDED.exists(): return found
    for name in ("BTC", "ETH"):
        found += against_dictionaries(f"recorded {name}", f"{name}USDT", *recorded(f"{name.lower()}usdt"))
    return found
