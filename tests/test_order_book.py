"The order book against independent rebuilds of recorded streams, whole and with losses, and against plain dictionaries."
import gzip
import json
import random
from bisect import bisect_right
from collections import Counter
from functools import cache
from math import inf, isnan, nan
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.bar import DataError
from perps_kit.data.book_sync import BookSync
from perps_kit.data.depth import depth_view
from perps_kit.data.order_book import Book, BookError, Diff, Side, Snapshot, diff_of, levels_of, snapshot_of

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
DIFFS = {"btcusdt": 6551, "ethusdt": 6586}


@cache
def recorded(symbol: str) -> tuple[list[dict], list[dict], dict]:
    "The diffs, the best prices and the snapshot of a recorded stream as they came, parsed as JSON."
    path = SHARED / "orderbook" / f"{symbol}_20240808.gz"
    if not path.exists(): pytest.skip("the recorded order books are not here: orderbook of ../shared/data")
    diffs, best, snapshot = [], [], {}
    with gzip.open(path, "rt") as lines:
        for line in lines:
            if '"e":"trade"' in line: continue
            message = json.loads(line.partition(" ")[2])
            if "lastUpdateId" in message: snapshot = message
            else: (diffs if message["data"]["e"] == "depthUpdate" else best).append(message["data"])
    return diffs, best, snapshot


class Oracle:
    """The slow second writing: a dictionary a side, and for the best 50 a sort of all levels down to some price after each diff.

    That price is moved when too few or too many levels lie above it.
    """

    def __init__(self, bids: dict[float, float], asks: dict[float, float]):
        self.bids, self.asks = dict(bids), dict(asks)
        self.lowest = self.highest = nan
        self.widen()

    def widen(self) -> None:
        self.lowest, self.highest = min(sorted(self.bids, reverse=True)[:300]), max(sorted(self.asks)[:300])
        self.near_bids = {p: q for p, q in self.bids.items() if p >= self.lowest}
        self.near_asks = {p: q for p, q in self.asks.items() if p <= self.highest}

    def apply(self, diff: dict) -> None:
        for rows, side, near in ((diff["b"], self.bids, self.near_bids), (diff["a"], self.asks, self.near_asks)):
            for price, quantity in rows:
                p, q = float(price), float(quantity)
                if q == 0:
                    side.pop(p, None)
                    near.pop(p, None)
                else:
                    side[p] = q
                    if self.lowest <= p <= self.highest: near[p] = q
        if min(len(self.near_bids), len(self.near_asks)) < 50 or max(len(self.near_bids), len(self.near_asks)) > 600: self.widen()

    def top(self) -> tuple[list, list]:
        bids, asks = sorted(self.near_bids, reverse=True)[:50], sorted(self.near_asks)[:50]
        return [(p, self.near_bids[p]) for p in bids], [(p, self.near_asks[p]) for p in asks]

    def answer(self, time: int, last: int, part: dict) -> dict:
        "What a REST call answers while the venue is amid a diff: the best 1000 levels a side, with some of the diff's changes in them."
        amid = Oracle(self.bids, self.asks)
        amid.apply(part)
        return dict(lastUpdateId=last, E=time, bids=sorted(amid.bids.items(), reverse=True)[:1000], asks=sorted(amid.asks.items())[:1000])


def top(book: Book) -> tuple[list, list]: return book.bids.top(50), book.asks.top(50)


@pytest.mark.parametrize("symbol", DIFFS)
def test_every_top_50_of_a_recorded_stream_is_that_of_a_rebuild(symbol):
    diffs, _, answer = recorded(symbol)
    assert len(diffs) == DIFFS[symbol]
    book, oracle, compared = Book(symbol.upper()), Oracle(levels_of(answer["bids"]), levels_of(answer["asks"])), 0
    book.load(snapshot_of(symbol.upper(), answer, answer["E"], 1000))
    for message in diffs:
        if not book.apply(diff_of(message, message["E"])): continue
        oracle.apply(message)
        assert top(book) == oracle.top(), f"after u={message['u']}"
        compared += 1
    assert compared == sum(message["u"] >= answer["lastUpdateId"] for message in diffs) > 6500
    assert dict(book.bids.top(10**6)).items() <= oracle.bids.items() and dict(book.asks.top(10**6)).items() <= oracle.asks.items()


@pytest.mark.parametrize("symbol", DIFFS)
def test_the_best_prices_are_those_that_the_venue_streams(symbol):
    "`u` of a bookTicker counts the same updates: the last one up to a diff's `u` shows the book after that diff, prices and quantities."
    diffs, best, answer = recorded(symbol)
    ids, book, equal = [message["u"] for message in best], Book(symbol.upper()), 0
    book.load(snapshot_of(symbol.upper(), answer, answer["E"], 1000))
    for message in diffs:
        if not book.apply(diff_of(message, message["E"])): continue
        venue = best[bisect_right(ids, message["u"]) - 1]
        assert book.bids.top(1) == [(float(venue["b"]), float(venue["B"]))] and book.asks.top(1) == [(float(venue["a"]), float(venue["A"]))]
        equal += 1
    assert equal > 6500


def amid(message: dict, rng: random.Random) -> tuple[int, dict]:
    "An instant inside a diff: an update id, and the part of its changes made by then."
    if message["U"] == message["u"]: return message["u"], message
    return rng.randrange(message["U"], message["u"]), {name: [row for row in message[name] if rng.random() < 0.5] for name in "ba"}


@pytest.mark.parametrize("symbol", DIFFS)
@pytest.mark.parametrize("seed", [1, 2])
def test_with_a_hundredth_of_the_diffs_lost_every_loss_is_noticed_and_nothing_stale_is_read(symbol, seed):
    diffs, _, answer = recorded(symbol)
    rng, sync, seen = random.Random(seed), BookSync(symbol.upper()), Counter()
    oracle = Oracle(levels_of(answer["bids"]), levels_of(answer["asks"]))
    due, asked, missing, kept = 8, False, False, None
    for k, message in enumerate(diffs):
        if asked: due, answer = k + rng.randrange(2, 15), oracle.answer(message["E"], *amid(message, rng))
        if message["u"] >= answer["lastUpdateId"] or k > 8: oracle.apply(message)
        if k > 10 and rng.random() < 0.01:                      # this diff never comes
            seen["lost"] += 1
            seen["lost while in step"] += sync.book is not None and not missing
            missing = missing or sync.book is not None
            continue
        readable = sync.feed(diff_of(message, message["E"]))
        if missing: assert not readable, f"u={message['u']} was read after a loss"
        seen["noticed"], missing = seen["noticed"] + missing, False
        if due and k >= due:                                    # asked for some diffs ago, it comes now
            readable, due = sync.snapshot(snapshot_of(symbol.upper(), answer, message["E"], 1000)), 0
            seen["snapshots"] += 1
        if readable:
            seen["reads"] += 1
            seen["stale"] += top(sync.book) != oracle.top()
            kept = sync.book
        else:
            assert sync.book is None and isnan(depth_view(sync.book, message["E"]).bid)
            assert kept is None or (isnan(kept.bids.best) and kept.asks.top(50) == [])
            seen["nothing to read"] += 1
        asked = sync.wants_snapshot and not due
    print(symbol, dict(seen))
    assert seen["stale"] == 0 and seen["noticed"] == sync.gaps == seen["lost while in step"] > 40
    assert seen["reads"] > 0.85 * len(diffs) and seen["nothing to read"] > sync.gaps


def captured() -> tuple[dict[str, dict], dict[str, list[dict]], dict[str, list[dict]]]:
    "Snapshots, diffs and best prices by symbol of the captures of 2021."
    folder, snapshots, diffs, best = SHARED / "exchange_captures", {}, {}, {}
    if not folder.exists(): pytest.skip("the recorded traffic is not here: exchange_captures of ../shared/data")
    with gzip.open(folder / "BINANCE_FUTURES.http.0.0.gz", "rt") as lines:
        for line in lines:
            if "/depth?symbol=" in line: snapshots[line.partition("symbol=")[2].partition("&")[0]] = json.loads(line.partition(": ")[2])
    with gzip.open(folder / "BINANCE_FUTURES.ws.1.0.gz", "rt") as lines:
        for line in lines:
            if line.startswith("wss"): continue
            message = json.loads(line.partition(": ")[2])["data"]
            into = {"depthUpdate": diffs, "bookTicker": best}.get(message["e"])
            if into is not None: into.setdefault(message["s"], []).append(message)
    return snapshots, diffs, best


def test_quiet_markets_of_2021_through_the_sync():
    snapshots, diffs, best = captured()
    assert sum(map(len, diffs.values())) == 764 and len(snapshots) == 4
    for symbol, answer in snapshots.items():
        sync, ids = BookSync(symbol), [message["u"] for message in best[symbol]]
        oracle, agreed = Oracle(levels_of(answer["bids"]), levels_of(answer["asks"])), 0
        for k, message in enumerate(diffs[symbol]):
            if message["u"] >= answer["lastUpdateId"]: oracle.apply(message)
            sync.feed(diff_of(message, message["E"]))
            if k == 7: sync.snapshot(snapshot_of(symbol, answer, message["E"], 1000))
            if k < 7: continue
            assert sync.book and top(sync.book) == oracle.top(), f"{symbol}: {sync.why}"
            venue = bisect_right(ids, message["u"]) - 1
            if venue < 0: continue
            agreed += 1
            assert (sync.book.bids.best, sync.book.asks.best) == (float(best[symbol][venue]["b"]), float(best[symbol][venue]["a"]))
        assert agreed > 100 and sync.gaps == 0
        assert sync.book and (sync.book.bids.edge == -inf) == (len(answer["bids"]) < 1000)


def standing(levels: dict[float, float]) -> dict[float, float]: return {p: q for p, q in levels.items() if q}


def half(levels: dict[float, float], rng: random.Random) -> dict[float, float]:
    return {p: q for p, q in levels.items() if rng.random() < 0.5}


class Market(list):
    "A made-up stream: its diffs, and what the book is after each; update ids are shared with other markets, so they have holes."

    def __init__(self, rng: random.Random, n: int):
        self.states, u = [({90 + k: 1.0 for k in range(9)}, {101 + k: 1.0 for k in range(9)})], 5
        for _ in range(n):
            first, before = u + rng.randint(1, 4), u
            u = first + rng.randint(0, 5)
            bids, asks = ({float(base + rng.randrange(12)): float(rng.randrange(4)) for _ in range(rng.randrange(5))} for base in (88, 100))
            self.append(Diff("X", first, u, before, bids, asks, u, u))
            old_bids, old_asks = self.states[-1]
            self.states.append((standing(old_bids | bids), standing(old_asks | asks)))

    def snapshot(self, rng: random.Random, k: int) -> Snapshot:
        "After diff k - 1, and maybe amid diff k."
        last, (bids, asks) = self[k - 1].last if k else 5, self.states[k]
        if k < len(self) and self[k].first < self[k].last and rng.random() < 0.5:
            last = rng.randrange(self[k].first, self[k].last)
            bids, asks = bids | half(self[k].bids, rng), asks | half(self[k].asks, rng)
        limit = rng.choice([3, 6, 100])
        best_bids, best_asks = dict(sorted(standing(bids).items(), reverse=True)[:limit]), dict(sorted(standing(asks).items())[:limit])
        return Snapshot("X", last, best_bids, best_asks, last, last, limit)


def levels_above_the_edge(side: Side) -> dict[float, float]:
    return {p: q for p, q in side.top(1000) if side.sign * p >= side.edge}


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 60), st.sampled_from([3, 4000]), st.sampled_from([2, 200]),
       st.sampled_from([0.0, 0.05, 0.3]))
def test_what_can_be_read_is_the_truth_at_the_last_diff_that_came(rng, n, keep, limit, losses):
    market = Market(rng, n)
    sync, position, chain = BookSync("X", limit, keep), 0, True
    for k, diff in enumerate(market):
        if rng.random() < losses: chain = False                 # lost: the next one that comes must end the sync
        else:
            old, gaps = sync.book, sync.gaps
            sync.feed(diff)
            if old and not chain: assert sync.gaps == gaps + 1 or sync.book is not old is not None, "a loss went by"
            position, chain = k + 1, True
        if rng.random() < 0.3: sync.snapshot(market.snapshot(rng, rng.randint(max(0, k - 8), min(n, k + 4))))
        if sync.book is None: continue
        assert sync.book.last == market[position - 1].last
        for side, truth in zip((sync.book.bids, sync.book.asks), market.states[position], strict=True):
            assert levels_above_the_edge(side) == {p: q for p, q in truth.items() if side.sign * p >= side.edge}
            assert set(dict(side.top(1000)).items()) <= set(truth.items())
            assert [p for p, _ in side.top(1000)] == sorted(dict(side.top(1000)), reverse=side.sign > 0)
    if position == n:
        sync.lost("tried again")
        sync.feed(market[-1])
        assert sync.book is None and sync.wants_snapshot
        assert sync.snapshot(Snapshot("X", market[-1].last, *market.states[-1], 0, 0))
        assert sync.book and (keep == 3 or (dict(sync.book.bids.top(99)), dict(sync.book.asks.top(99))) == market.states[-1])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.integers(1, 600).map(lambda k: k / 10), st.sampled_from([0.0, 0.0, 1.5]), max_size=80), max_size=30))
def test_a_side_is_a_dictionary_in_order(changes):
    for sign in (1.0, -1.0):
        side, plain = Side(sign, {}), {}
        for change in changes:
            side.apply(change)
            for price, quantity in change.items():
                if quantity: plain[price] = quantity
                else: plain.pop(price, None)
            rows = sorted(plain.items(), reverse=sign > 0)
            assert side.top(10_000) == rows and side.top(3) == rows[:3] and side.top(0) == []
            assert side.best == rows[0][0] if rows else isnan(side.best)
        assert len(side.keys) == len(side.held) <= max(256, 2 * len(plain) + 600)


def book_of(bids: dict, asks: dict, limit: int = 100, last: int = 100) -> Book:
    book = Book("BTCUSDT")
    book.load(Snapshot("BTCUSDT", last, bids, asks, 0, 0, limit))
    return book


def diff(first: int, last: int, before: int, bids=(), asks=(), symbol: str = "BTCUSDT") -> Diff:
    return Diff(symbol, first, last, before, dict(bids), dict(asks), 0, 0)


def plain_book() -> Book: return book_of({99.0: 1.0, 98.0: 2.0}, {101.0: 1.0, 102.0: 2.0})


def test_a_diff_before_a_snapshot_is_refused_with_its_ids_and_the_remedy():
    words = "BTCUSDT: the diff U=7 u=9 came before a snapshot; load one first, or let a BookSync hold diffs until it comes"
    with pytest.raises(BookError, match=words): Book("BTCUSDT").apply(diff(7, 9, 5))


@pytest.mark.parametrize("first, last, before, taken", [
    (90, 99, 89, False), (95, 100, 94, True), (100, 100, 98, True), (99, 104, 98, True), (100, 104, 99, True), (104, 106, 100, True)])
def test_which_first_diff_a_snapshot_takes(first, last, before, taken):
    book = plain_book()
    assert book.apply(diff(first, last, before)) is taken and book.linked is taken and book.last == (last if taken else 100)


@pytest.mark.parametrize("first, last, before", [(101, 104, 99), (104, 106, 101), (102, 103, 99)])
def test_a_first_diff_beyond_the_snapshot_is_a_gap(first, last, before):
    book, words = plain_book(), f"U={first} u={last} follows {before} and the book is at 100: updates are missing; the book is empty now"
    with pytest.raises(BookError, match=words): book.apply(diff(first, last, before))
    assert isnan(book.bids.best) and book.last < 0


THEN = {"lost one": (106, 109, 105), "repeated": (101, 104, 100), "old": (95, 99, 94), "overlapping": (104, 108, 103)}


@pytest.mark.parametrize("then", THEN.values(), ids=THEN)
def test_once_linked_only_the_next_diff_follows(then):
    book = plain_book()
    book.apply(diff(101, 104, 100))
    with pytest.raises(BookError, match="updates are missing"): book.apply(diff(*then))
    with pytest.raises(BookError, match="before a snapshot"): book.apply(diff(105, 106, 104))


BAD = {"negative": ({98.0: -1.0}, {}), "nan": ({}, {103.0: nan}), "nan among others": ({97.0: 1.0, 98.0: nan, 96.0: 2.0}, {}),
       "infinite": ({}, {103.0: inf}), "free": ({0.0: 1.0}, {}), "a price below 0": ({-3.0: 1.0}, {}), "a price of nan": ({}, {nan: 1.0}),
       "an infinite price": ({}, {inf: 1.0}), "crossed": ({101.5: 1.0}, {}), "locked": ({}, {99.0: 4.0})}


@pytest.mark.parametrize("bids, asks", BAD.values(), ids=BAD)
def test_nonsense_empties_the_book_and_says_what_it_was(bids, asks):
    book = plain_book()
    words = "BTCUSDT: the diff U=101 u=104 (has a (quantity|price) of|leaves a bid of .* against an ask of).*; the book is empty now, load"
    with pytest.raises(DataError, match=words): book.apply(diff(101, 104, 100, bids, asks))
    assert isnan(book.bids.best) and isnan(book.asks.best) and book.bids.top(9) == book.asks.top(9) == []
    with pytest.raises(BookError, match="BTCUSDT: the snapshot 100 "): book_of({99.0: 1.0} | bids, {101.0: 1.0} | asks)
    sync = BookSync("BTCUSDT")
    sync.snapshot(Snapshot("BTCUSDT", 100, {99.0: 1.0}, {101.0: 1.0}, 0, 0, 10))
    assert sync.feed(diff(100, 104, 99)) and not sync.feed(diff(105, 106, 104, bids, asks))
    assert sync.book is None and sync.wants_snapshot and sync.gaps == 1 and "U=105 u=106" in sync.why
    assert not sync.snapshot(Snapshot("BTCUSDT", 110, {99.0: 1.0} | bids, {101.0: 1.0} | asks, 0, 0, 10)) and "snapshot 110" in sync.why
    assert not sync.snapshot(Snapshot("BTCUSDT", 106, {99.0: 1.0}, {101.0: 1.0}, 0, 0, 10)) and sync.wants_snapshot
    assert not sync.snapshot(Snapshot("BTCUSDT", 107, {99.0: 1.0}, {101.0: 1.0}, 0, 0, 10)) and not sync.wants_snapshot
    assert sync.feed(diff(108, 109, 106)) is False and sync.wants_snapshot
    assert sync.snapshot(Snapshot("BTCUSDT", 109, {99.0: 1.0}, {101.0: 1.0}, 0, 0, 10)) and sync.why == ""


def test_messages_of_another_symbol_are_refused_everywhere():
    change, whole = diff(101, 102, 100, symbol="ETHUSDT"), Snapshot("ETHUSDT", 1, {}, {}, 0, 0)
    for act in (lambda: plain_book().apply(change), lambda: BookSync("BTCUSDT").feed(change), lambda: BookSync("BTCUSDT").snapshot(whole),
                lambda: Book("BTCUSDT").load(whole)):
        with pytest.raises(BookError, match="a message of ETHUSDT came to the book of BTCUSDT"): act()


MESSAGE = dict(e="depthUpdate", E=9, T=8, s="BTCUSDT", U=5, u=7, pu=4, b=[["1.5", "2"]], a=[])


def test_messages_are_parsed_or_refused():
    assert diff_of(MESSAGE, 11) == Diff("BTCUSDT", 5, 7, 4, {1.5: 2.0}, {}, 9, 11)
    for wrong in ({"pu": None}, {"b": [["x", "1"]]}, {"b": [["1"]]}, {"a": None}):
        with pytest.raises(DataError, match="not a depth update of USDT-M"): diff_of(MESSAGE | wrong, 11)
    with pytest.raises(DataError, match="not a depth update"): diff_of({k: v for k, v in MESSAGE.items() if k != "pu"}, 11)
    for ids in (dict(U=8), dict(pu=5), dict(pu=9)):
        with pytest.raises(DataError, match="BTCUSDT: a diff with pu="): diff_of(MESSAGE | ids, 11)
    refused = dict(code=-1121, msg="Invalid symbol.")
    with pytest.raises(DataError, match="BTCUSDT: not a depth snapshot .*code"): snapshot_of("BTCUSDT", refused, 1)


def test_waiting_diffs_are_bounded_and_the_newest_are_kept():
    sync = BookSync("BTCUSDT", limit=3)
    for k in range(10): sync.feed(diff(10 * k + 1, 10 * k + 10, 10 * k, {90.0 + k: 1.0}))
    assert len(sync.waiting) == 3
    assert not sync.snapshot(Snapshot("BTCUSDT", 65, {80.0: 1.0}, {200.0: 1.0}, 0, 0)) and "follows 70 and the book is at 65" in sync.why
    assert sync.snapshot(Snapshot("BTCUSDT", 75, {80.0: 1.0}, {200.0: 1.0}, 0, 0)) and sync.book
    assert sync.book.bids.top(9) == [(99.0, 1.0), (98.0, 1.0), (97.0, 1.0), (80.0, 1.0)] and not sync.waiting


def test_a_book_that_nears_the_edge_of_its_snapshot_is_read_on_while_a_new_one_is_wanted():
    sync = BookSync("BTCUSDT")
    sync.snapshot(Snapshot("BTCUSDT", 100, {float(p): 1.0 for p in range(90, 100)}, {101.0: 1.0}, 0, 0, 10))
    assert sync.feed(diff(100, 101, 99)) and not sync.wants_snapshot
    old = sync.book
    assert sync.feed(diff(102, 103, 101, {float(p): 0.0 for p in range(93, 100)})) and sync.wants_snapshot and sync.book is old
    assert sync.snapshot(Snapshot("BTCUSDT", 99, {50.0: 1.0}, {101.0: 1.0}, 0, 0, 10)) and sync.book is old     # too old to be of use
    assert sync.feed(diff(104, 105, 103, {85.0: 2.0})) and sync.book is old and sync.wants_snapshot
    assert sync.snapshot(Snapshot("BTCUSDT", 104, {92.0: 1.0, 85.0: 2.0, 60.0: 9.0}, {101.0: 1.0}, 0, 0, 10)) and sync.book is not old
    assert sync.book and sync.book.bids.top(9) == [(92.0, 1.0), (85.0, 2.0), (60.0, 9.0)] and not sync.wants_snapshot and sync.gaps == 0
    assert old and isnan(old.bids.best)


def test_far_levels_are_forgotten_and_the_edge_moves_with_them():
    book = Book("BTCUSDT", keep=100)
    book.load(Snapshot("BTCUSDT", 100, {float(k): 1.0 for k in range(1, 91)}, {1000.0: 1.0}, 0, 0, 1000))
    assert book.bids.edge == -inf
    for k in range(91, 900): book.apply(diff(k + 10, k + 10, k + 9, {float(k): 1.0}))
    assert 100 <= len(book.bids.keys) <= 256 and book.bids.edge > 600
    assert not book.thin and [p for p, _ in book.bids.top(50)] == [899.0 - k for k in range(50)]
    book.apply(diff(910, 910, 909, {float(k): 0.0 for k in range(int(book.bids.edge) + 20, 900)}))
    assert book.thin


def test_a_broken_connection_leaves_nothing_to_read():
    sync = BookSync("BTCUSDT")
    sync.snapshot(Snapshot("BTCUSDT", 100, {99.0: 1.0}, {101.0: 1.0}, 0, 0, 10))
    sync.feed(diff(100, 101, 99))
    kept = sync.book
    sync.lost("the socket closed")
    assert sync.book is None and kept and isnan(kept.bids.best) and sync.why == "the socket closed" and sync.wants_snapshot
    assert all(isnan(x) for x in depth_view(sync.book, 0))
    assert not sync.feed(diff(102, 103, 101)) and sync.book is None


def test_ids_that_begin_again_are_a_new_chain():
    sync = BookSync("BTCUSDT")
    sync.feed(diff(1000, 1010, 990))
    sync.feed(diff(5, 8, 3))
    assert sync.snapshot(Snapshot("BTCUSDT", 7, {99.0: 1.0}, {101.0: 1.0}, 0, 0)) and sync.book and sync.book.last == 8


def test_a_late_snapshot_does_not_lead_a_book_in_step_back():
    sync = BookSync("BTCUSDT")
    sync.snapshot(Snapshot("BTCUSDT", 100, {float(p): 1.0 for p in range(90, 100)}, {101.0: 1.0}, 0, 0, 10))
    sync.feed(diff(100, 101, 99, {float(p): 0.0 for p in range(92, 100)}))
    assert sync.wants_snapshot
    assert sync.feed(diff(102, 103, 101, {98.0: 3.0})) and not sync.wants_snapshot       # the price came back
    assert sync.snapshot(Snapshot("BTCUSDT", 101, {91.0: 1.0, 90.0: 1.0}, {101.0: 1.0}, 0, 0, 10))
    assert sync.book and sync.book.last == 103 and sync.book.bids.best == 98.0
    assert sync.feed(diff(104, 105, 103)) and sync.gaps == 0
