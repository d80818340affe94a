"The service, whole: candles from the venue's wire, decisions in the database, nothing lost by a stop."

import asyncio
from itertools import pairwise

import pytest
from pg import new_database
from sqlalchemy import func, select

from perps_kit.core.clock import parse_time
from perps_kit.core.unit import dumps
from perps_kit.storage.models import Candle, DecisionRow, Equity, Outbox, SignalRow, Snapshot, Tracker
from tests.serving import resumed, serving, settings


async def table(db, model, *order):
    async with db.read() as session:
        return [row.facts() for row in await session.scalars(select(model).order_by(*order))]


async def state_of(db):
    "Everything that two runs of the same span must agree on."
    ordered = await table(db, DecisionRow, DecisionRow.time, DecisionRow.symbol, DecisionRow.mode)
    decisions = [{k: v for k, v in row.items() if k != "id"} for row in ordered]
    signals = [{k: v for k, v in row.items() if k != "created_at"} for row in await table(db, SignalRow, SignalRow.id)]
    trackers = sorted((row["signal_id"], row["account_id"] or 0, row["ladder"]) for row in await table(db, Tracker))
    messages = sorted((row["kind"], row["recipient"], row["signal_id"], row["random_id"]) for row in await table(db, Outbox))
    return decisions, signals, trackers, messages, await table(db, Equity, Equity.account_id, Equity.time)


async def test_a_replay_becomes_candles_decisions_signals_and_positions(tmp_path):
    async with serving(settings(tmp_path)) as (service, db, state):
        assert state.ready and not state.missing
        await service.run()
        candles, decisions = await table(db, Candle), await table(db, DecisionRow)
        signals, trackers = await table(db, SignalRow), await table(db, Tracker)
        assert service.cycles == 192 and service.last == parse_time("2026-10-31")
        assert len({(c["symbol"], c["open_time"]) for c in candles}) == len(candles) >= 2 * 192
        assert decisions and all(d["verdicts"] and d["features"] for d in decisions)
        assert {d["outcome"] for d in decisions} <= {"published", "rejected"}
        assert len(signals) == sum(d["outcome"] == "published" for d in decisions) >= 1
        assert {t["signal_id"] for t in trackers if t["account_id"] is None} == {s["id"] for s in signals}
        assert state.progress == 1.0 and (await service.summary())["signals"] == len(signals)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "What a replay that nobody stopped leaves, on SQLite."
    async def run():
        async with serving(settings(tmp_path_factory.mktemp("whole"), start="2026-10-30")) as (service, db, _):
            await service.run()
            return await state_of(db)
    return asyncio.run(run())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_stopping_and_starting_changes_nothing_on_either_database(tmp_path, whole, kind):
    wanted = settings(tmp_path, start="2026-10-30", **(dict(database=new_database()) if kind == "postgresql" else {}))
    times = ("2026-10-30", "2026-10-30T05:15", "2026-10-30T12:15", "2026-10-30T15:00", "2026-10-31")
    for start, end in pairwise(times):
        async with serving(resumed(wanted, start, end)) as (service, db, _):
            assert db.dialect == kind
            await service.run()
            parts = await state_of(db)
    for ours, theirs in zip(parts, whole, strict=True):
        assert ours == theirs
    assert len(whole[1]) >= 1


async def test_snapshots_and_stored_candles_restore_the_very_same_units(tmp_path):
    wanted = settings(tmp_path, start="2026-10-30", end="2026-10-30T04:00")
    async with serving(wanted) as (service, db, _):
        await service.run()
        before = {s: stream.save() for s, stream in service.streams.items()}
        async with db.read() as session:
            kept = await session.scalar(select(func.min(Snapshot.time)))
    async with serving(resumed(wanted, "2026-10-30T04:00")) as (service, _, _):
        assert kept and {s: stream.save() for s, stream in service.streams.items()} == before


async def test_bad_candles_are_refused_counted_and_fetched_again(tmp_path):
    wanted = settings(tmp_path, start="2026-10-30", end="2026-10-30T03:00")
    async with serving(wanted) as (service, db, state):
        tapped = service.exchange.client.handle_ohlcv
        spoiled: list[str] = []

        def spoil(connection, message):
            kline = message["k"]
            if kline["x"] and len(spoiled) < 3:
                spoiled.append(kline["s"])
                bad = (dict(h="NaN"), dict(c="<html>"), dict(l=str(2 * float(kline["h"]))))[len(spoiled) - 1]
                message = dict(message, k=kline | bad)
            tapped(connection, message)

        service.exchange.client.handle_ohlcv = spoil
        await service.run()
        assert len(spoiled) == 3 and state.metrics.refusals.labels("bad candle")._value.get() == 3
        candles = await table(db, Candle)
        assert service.cycles == 12 and not any(c["synthetic"] for c in candles)


async def test_an_html_answer_stops_nothing_and_leaves_nothing(tmp_path):
    wanted = settings(tmp_path, start="2026-10-30", end="2026-10-30T02:00")
    async with serving(wanted) as (service, db, _):
        async with service.exchange.pacer.session.post("https://fapi.binance.com/replay/fault", json=dict(kind="html", count=3)) as answer:
            assert answer.status == 200
        service.feed.distrust.set()
        await service.run()
        assert service.cycles == 8 and not any(c["synthetic"] for c in await table(db, Candle))


async def test_a_close_that_comes_too_late_is_kept_as_late_and_published_to_nobody(tmp_path):
    wanted = settings(tmp_path, max_lag=0.001)
    async with serving(wanted) as (service, db, _):
        def much_later(arrival):
            return arrival.time + 3_600_000
        service.venue_time = much_later
        await service.run()
        decisions = await table(db, DecisionRow)
        assert decisions and {d["outcome"] for d in decisions} == {"late"}
        assert not await table(db, SignalRow) and not await table(db, Outbox)


async def test_a_graceful_stop_comes_between_two_cycles(tmp_path):
    wanted = settings(tmp_path, start="2026-10-29")
    async with serving(wanted) as (service, _, _):
        running = asyncio.create_task(service.run())
        while service.cycles < 5:
            assert not running.done(), running.exception()
            await asyncio.sleep(0.01)
        service.stopping.set()
        async with asyncio.timeout(10):
            await running
        last, kept = service.last, {s: stream.last.close_time for s, stream in service.streams.items()}
        assert set(kept.values()) == {last}
    async with serving(resumed(wanted, last)) as (service, _, _):
        assert service.last == last


@pytest.mark.parametrize(("given", "expected"), [
    (dict(symbols=("NOPEUSDT",)), "no 15m candles of NOPEUSDT"),
    (dict(strategies=dict(ema_scalper=dict(surge=99.0))), "surge"),
    (dict(strategies=dict(ema_scalper=dict(surje=1.0))), "did you mean 'surge'"),
    (dict(strategies=dict(ema_scalpr={})), "did you mean 'ema_scalper'"),
    (dict(strategies=dict(pump_scanner={})), "give it a service of its own with timeframe: 1m"),
])
async def test_what_cannot_run_is_refused_in_one_sentence(tmp_path, given, expected):
    from runners.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        async with serving(settings(tmp_path, **given)):
            pass
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_ladder_in_the_database_is_read_back_to_the_bit():
    from perps_kit.core.unit import loads
    from perps_kit.trackers.ladder import Ladder
    from perps_kit.trackers.plan import Rules
    from runners.live.accounts import pattern

    ladder = Ladder.of(-1, 250.5, 254.1, 2.4, 2, 0.1, time=5)
    assert dumps(loads(pattern(Rules()), dumps(ladder))) == dumps(ladder)
