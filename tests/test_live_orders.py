"A live account in lockstep: the life of a signal as orders at the venue, and the same story as the reference position tells."

import pytest
from live_kit import STILL, living

from perps_kit.core.signal import SINGLE, STANDARD, TRIPLE
from perps_kit.storage.models import Equity, Order, TrackerEvent
from perps_kit.trackers.plan import Rules
from runners.errors import ConfigError
from runners.live.accounts import account_row
from runners.settings import AccountSettings


async def test_a_signals_whole_life_as_orders(tmp_path):
    rows = [(100.0, 100.5, 99.5, 100.2), (100.2, 101.6, 100.1, 101.5), (101.5, 101.6, 100.5, 100.8), (100.8, 100.9, 99.9, 100.0), STILL]
    async with living(tmp_path, *rows) as life:
        venue = life.venue.accounts[life.venue.key]
        assert not await life.bar(life.signal(preset=TRIPLE)) == []
        assert life.resting() == ["stop-0", "tp1-0", "tp2-0", "tp3-0"]
        assert venue.position("BTCUSDT").isolated and venue.position("BTCUSDT").leverage == 10
        q = (await life.tracker()).quantity
        assert life.position == q == 62.529  # 1 % of 10,000 over a risk of 1.5 and two fees
        orders = await life.orders()
        assert all(o.reduce_only for kind, o in orders.items() if kind != "entry.0") and not orders["entry.0"].reduce_only
        assert (orders["stop.0"].type, orders["stop.0"].trigger, orders["stop.0"].quantity) == ("STOP_MARKET", 98.5, q)
        assert [(orders[f"tp{k}.0"].type, orders[f"tp{k}.0"].price) for k in (1, 2, 3)] == [
            ("LIMIT", 101.23),
            ("LIMIT", 101.84),
            ("LIMIT", 102.3),
        ]
        assert sum(orders[f"tp{k}.0"].quantity for k in (1, 2, 3)) == pytest.approx(q)

        assert [f["price"] for f in await life.bar()] == [101.23]  # the first target
        assert life.resting() == ["stop-0", "tp2-0", "tp3-0"]
        await life.bar()  # at its close the stop goes to the entry
        assert life.resting() == ["stop-1", "tp2-0", "tp3-0"]
        orders = await life.orders()
        assert (orders["stop.0"].state, orders["stop.1"].trigger, orders["stop.1"].quantity) == (
            "cancelled",
            100.02,
            pytest.approx(q - orders["tp1.0"].quantity),
        )

        assert [f["price"] for f in await life.bar()] == [99.96] and life.position == 0.0  # and is hit, 5 bp worse
        await life.bar()
        assert life.resting() == [] and not life.account.positions
        tracker = await life.tracker()
        assert (tracker.state, tracker.exit_type) == ("CLOSED", "TP1_BE") and await life.agree()
        assert [kind for kind, _, _ in await life.fills()] == ["entry", "tp1", "stop"]
        assert {o.state for o in (await life.orders()).values()} == {"filled", "cancelled"}
        kinds = {t.kind for t in await life.rows(TrackerEvent)}
        assert kinds == {"entry", "tp1", "stop_moved", "stop"}
        equity = [e.equity for e in sorted(await life.rows(Equity), key=lambda e: e.time)]
        assert equity[0] == 10_000.0 and equity[-1] == pytest.approx(venue.wallet)


@pytest.mark.parametrize("side", [1, -1])
async def test_an_opposite_cross_closes_at_the_next_open(tmp_path, side):
    rows = [STILL, (100.0, 100.3, 99.7, 100.1), (100.1, 100.3, 99.7, 100.0), STILL]
    async with living(tmp_path, *rows) as life:
        await life.bar(life.signal(side, stop=100 - 1.5 * side))
        fills = await life.bar(leave=side)
        assert len(fills) == 1 and life.position == 0.0 and life.resting() == []
        await life.bar()
        tracker = await life.tracker()
        assert (tracker.state, tracker.exit_type) == ("CLOSED", "OPPOSITE") and await life.agree()
        assert [kind for kind, _, _ in await life.fills()] == ["entry", "close"]


async def test_a_close_and_the_opposite_entry_meet_at_one_open(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL, STILL) as life:
        await life.bar(life.signal(1))
        q = life.position
        fills = await life.bar(life.signal(-1, stop=101.5), leave=1)
        assert [f["clientOrderId"].split("-")[0] for f in fills] == ["close", "entry"] and life.position < 0 < q
        assert life.resting() == ["stop-0", "tp1-0", "tp2-0"]
        assert [o.trigger for o in await life.rows(Order) if o.kind == "stop" and o.state == "open"] == [101.5]


async def test_one_position_a_symbol(tmp_path):
    async with living(tmp_path, STILL, STILL, STILL) as life:
        await life.bar(life.signal(1))
        q = life.position
        await life.bar(life.signal(1, strategy="other"))
        assert life.position == q and len(life.account.positions) == 1


@pytest.mark.parametrize(
    ("preset", "rows", "exit_type"),
    [
        (
            STANDARD,
            [(100.0, 101.6, 99.9, 101.5), (101.5, 103.2, 101.4, 103.1), (103.1, 105, 102.9, 104.6), (104.6, 104.7, 103.6, 103.9)],
            "TP2_TRAIL",
        ),
        (SINGLE, [(100.0, 101.6, 99.9, 101.5)], "TP1"),
        (STANDARD, [(100.0, 101.6, 98.4, 101.5)], "SL"),
        (TRIPLE, [(100.0, 103.0, 99.9, 102.0)], "TP3"),
        (STANDARD, [(100.0, 100.2, 99.9, 100.0), (97.0, 97.5, 96.0, 97.0)], "SL"),
    ],
)
async def test_the_account_tells_the_references_story(tmp_path, preset, rows, exit_type):
    async with living(tmp_path, *rows, *[(rows[-1][3],) * 4] * 2) as life:
        await life.bar(life.signal(1, preset=preset))
        for _ in rows:
            await life.bar()
        tracker = await life.tracker()
        assert tracker.exit_type == exit_type and await life.agree() and not life.account.positions
        assert life.position == 0.0 and life.resting() == [] and len(set(life.names())) == len(life.names())


async def test_a_runner_out_of_time_and_a_trade_without_progress_leave_at_the_open(tmp_path):
    async with living(tmp_path, *[STILL] * 5, rules=Rules(patience=2)) as life:
        await life.bar(life.signal(1))
        for _ in range(3):
            await life.bar()
        assert (await life.tracker()).exit_type == "TIME" and await life.agree() and life.resting() == []


async def test_a_fill_too_close_to_the_stop_is_closed_at_once(tmp_path):
    async with living(tmp_path, (98.8, 99.0, 98.7, 98.9), STILL, STILL) as life:
        fills = await life.bar(life.signal(1))
        assert [f["price"] for f in fills] == [98.82] and life.position == 0.0  # the close's fill is told by its answer
        await life.bar()
        tracker = await life.tracker()
        assert (tracker.state, tracker.exit_type) == ("CLOSED", "GAP_THROUGH_STOP") and tracker.gross_r < 0
        assert [kind for kind, _, _ in await life.fills()] == ["entry", "close"]
        assert life.names() == sorted(life.names(), key=lambda n: n.startswith("close")) and life.resting() == []


async def test_fills_in_pieces_are_one_leg_each(tmp_path):
    rows = [(100.0, 101.6, 99.9, 101.5), (101.5, 101.6, 99.9, 100.1), STILL]
    async with living(tmp_path, *rows, pieces=3) as life:
        await life.bar(life.signal(1, preset=TRIPLE))
        await life.bar()
        await life.bar()
        assert (await life.tracker()).exit_type == "TP1_BE" and await life.agree()
        assert [kind for kind, _, _ in await life.fills()] == ["entry"] * 3 + ["tp1"] * 3 + ["stop"] * 3


async def test_little_is_asked_while_nothing_is_open(tmp_path):
    async with living(tmp_path, *[STILL] * 12) as life:
        asked = [await life.requests() for _ in range(9)]
        assert [len(a) for a in asked] == [1, 0, 0, 0, 1, 0, 0, 0, 1] and "account" in asked[0][0]  # the equity, once an hour
        assert len(await life.requests(life.signal(1))) == 8  # margin mode, leverage, entry, its fate, its fills, a stop, two targets
        assert len(await life.requests()) == 2  # what is held, and whether the stop still rests


async def test_a_paper_account_is_not_traded_live(tmp_path):
    async with living(tmp_path, STILL, start=False) as life:
        async with life.db.write() as session:
            await account_row(session, AccountSettings(name="main"), "binanceusdm", "paper", "USDT", 0)
        with pytest.raises(ConfigError, match="paper account"):
            await life.start()


async def test_a_wrong_key_is_one_sentence(tmp_path):
    async with living(tmp_path, STILL, start=False) as life:
        life.exchange.client.secret = "wrong"
        with pytest.raises(ConfigError, match="refuses the key"):
            await life.start()
