"`perps-kit account`: what an account is worth, and a hand on it while the service runs; what was written outlives the service."

import asyncio
import json
import logging
from math import inf, nan
from types import SimpleNamespace
from typing import Any

import pytest
from pg import new_database
from sqlalchemy import func, select, update
from typer.testing import CliRunner

from perps_kit.core.clock import DAY, parse_time
from perps_kit.core.unit import loads
from perps_kit.risk.account import Account, account_of, kept
from perps_kit.risk.memory import restored
from perps_kit.storage.keep import put
from perps_kit.storage.models import Account as Row
from perps_kit.storage.models import Equity, FollowRow, MemoryState, Tracker
from perps_kit.trackers.plan import OPEN, Rules
from runners.cli import app
from runners.cli.account import switched
from runners.db.connect import open_database
from runners.errors import ConfigError
from runners.live.accounts import pattern
from runners.live.following import Following
from runners.settings import AccountSettings
from tests.serving import resumed, serving, settings

START, END = parse_time("2026-10-02"), parse_time("2026-10-03")
QUARTER = 900_000
STRATEGIES = dict(action_price={}, pullback={})


def wanted(folder, start="2026-10-02", end="2026-10-03", **given):
    "A day with half a dozen signals on three coins, and an account that no limit of its own halts."
    account = dict(name="paper", drawdown=1.0, daily_loss=1.0)
    more = dict(symbols=("BTCUSDT", "DOGEUSDT", "SOLUSDT"), strategies=STRATEGIES, gates=dict(minimum=30.0), accounts=(account,),
                origin=START - 20 * DAY)
    return settings(folder, start=start, end=end, **(more | given))


def say(*words: object) -> tuple[int, str, str]:
    "Run the command in this process; its exit code, standard output and standard error."
    done = CliRunner().invoke(app, ["account", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit): raise done.exception
    return done.exit_code, done.stdout, done.stderr


def refused(answer: tuple[int, str, str], *told: str) -> None:
    code, out, err = answer
    assert code == 2 and not out and err.startswith("perps-kit: ") and err.count("\n") == 1, answer
    for text in told: assert text in err, err


async def rows(db) -> SimpleNamespace:
    "What a service left of its account: answers, positions, equity, states."
    async with db.read() as session:
        follows = list(await session.scalars(select(FollowRow).order_by(FollowRow.time, FollowRow.signal_id)))
        trackers = list(await session.scalars(select(Tracker).where(Tracker.account_id.is_not(None)).order_by(Tracker.id)))
        equity = {e.time: e.equity for e in await session.scalars(select(Equity).order_by(Equity.time))}
        states = {m.name: m.state for m in await session.scalars(select(MemoryState))}
    ladders = {t.signal_id: t.ladder for t in trackers}
    return SimpleNamespace(follows=[f.facts() for f in follows], ladders=ladders, equity=equity, states=states)


async def ran(asked, hands=None) -> SimpleNamespace:
    "A whole run; `hands`: commands by the close after which they are given. What the account was after each cycle is kept."
    async with serving(asked) as (service, db, _):
        paper: Any = service.followers[0]
        cycle, following, accounts = service.cycle, paper.following, {}

        async def handled(arrival):
            await cycle(arrival)
            accounts[arrival.time] = following.account
            for words in (hands or {}).get(arrival.time, ()):
                code, _, err = await asyncio.to_thread(say, *words, "--url", asked.database)
                assert code == 0, err

        service.cycle = handled
        await service.run()
        found = await rows(db)
    return SimpleNamespace(**vars(found), accounts=accounts, url=asked.database)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> SimpleNamespace:
    "A day that nobody disturbed."
    return asyncio.run(ran(wanted(tmp_path_factory.mktemp("whole"))))


def life(whole, id: str) -> tuple[int, int, int]:
    "Signal, entry and exit of a position; the exit is the close of the bar that it fell into."
    ladder = loads(pattern(Rules()), whole.ladders[id])
    return next(f["time"] for f in whole.follows if f["signal_id"] == id), ladder.times.entry, ladder.times.last


@pytest.fixture(scope="module")
def moments(whole) -> tuple[int, int, str]:
    "When to halt and to resume: while a position is open that ends before it, with signals between and after."
    for id in whole.ladders:
        _, entry, last = life(whole, id)
        halt, signals = entry + 2 * QUARTER, [f["time"] for f in whole.follows]
        later = [t for t in signals if t > halt]
        if halt < last and len(later) >= 4: return halt, max(last, later[1]) + QUARTER, id
    raise AssertionError("the day has no such position")


@pytest.fixture(scope="module")
def held(whole, moments, tmp_path_factory) -> SimpleNamespace:
    "The same day, halted and resumed."
    halt, resume, _ = moments
    return asyncio.run(ran(wanted(tmp_path_factory.mktemp("held")), {halt: [("halt", "paper")], resume: [("resume", "paper")]}))


def test_the_day_is_worth_looking_at(whole):
    assert len(whole.follows) >= 6 and {f["outcome"] for f in whole.follows} == {"followed"} and len(whole.equity) == 96


def test_a_halt_stops_entries_from_the_next_close_on_and_nothing_else(whole, held, moments):
    halt, resume, id = moments
    before = [[f for f in run.follows if f["time"] <= halt] for run in (whole, held)]
    assert before[0] == before[1] and before[0]
    between = [f for f in held.follows if halt < f["time"] <= resume]
    assert len(between) >= 2 and {(f["outcome"], f["reason"]) for f in between} == {("refused", "halt")}
    assert all(f["verdicts"][-1]["gate"] == "halt" and "resumes it" in f["verdicts"][-1]["reason"] for f in between)
    open_then = [i for i in whole.ladders if life(whole, i)[0] <= halt < life(whole, i)[2]]
    assert id in open_then and all(held.ladders[i] == whole.ladders[i] for i in open_then)      # followed to their end, to the bit
    assert not held.accounts[halt].halted and held.accounts[halt + QUARTER].halted and held.accounts[resume].halted
    assert [t for t, a in held.accounts.items() if a.halted] == list(range(halt + QUARTER, resume + 1, QUARTER))


def test_a_resumed_account_goes_on_and_counts_drawdowns_from_there(held, moments):
    _, resume, _ = moments
    after = [f for f in held.follows if f["time"] > resume]
    assert after and "followed" in {f["outcome"] for f in after} and "halt" not in {f["reason"] for f in after}
    a, before = held.accounts[resume + QUARTER], held.accounts[resume]
    assert not a.halted and a.peak == max(before.equity, a.equity) and a.best == a.balance
    assert "switch|paper" not in held.states and not held.states["account|paper"]["halted"]


def test_money_that_came_or_went_is_neither_gain_nor_loss(whole, moments, tmp_path):
    "A deposit while a position is open: the same money is won and lost on it, the same is missing to the peak."
    at, signals = moments[0], [f["time"] for f in whole.follows]
    found = asyncio.run(ran(wanted(tmp_path), {at: [("moved", "paper", 5000)]}))
    until = min(t for t in signals if t > at)
    for time, a in found.accounts.items():
        b = whole.accounts[time]
        if time > until: continue
        came = 5_000.0 if time > at else 0.0
        assert (a.balance - came, a.equity - came, a.peak - came, a.best - came) == pytest.approx((b.balance, b.equity, b.peak, b.best))
        assert a.equity - a.day_open == pytest.approx(b.equity - b.day_open) and a.peak - a.equity == pytest.approx(b.peak - b.equity)
        assert found.equity[time] == a.equity and a.halted == b.halted
    one, other = ({f["signal_id"]: f for f in run.follows if f["time"] == until and f["outcome"] == "followed"} for run in (found, whole))
    for id in one.keys() & other.keys(): assert one[id]["equity"] - other[id]["equity"] == pytest.approx(5_000.0)
    assert "switch|paper" not in found.states and found.accounts[END].balance > whole.accounts[END].balance + 3_000


# --- what the commands say


@pytest.fixture
def url(whole, tmp_path):
    "A copy of the database after that day."
    code = CliRunner().invoke(app, ["db", "backup", str(tmp_path / "copy.db"), "--url", whole.url])
    assert code.exit_code == 0
    return f"sqlite:///{tmp_path}/copy.db"


def waiting(url: str) -> dict | None:
    "The word that is left for the service."
    async def look():
        db = await open_database(url)
        try: return (await rows(db)).states.get("switch|paper")
        finally: await db.close()
    return asyncio.run(look())


def change(url: str, *statements) -> None:
    async def work():
        db = await open_database(url)
        try:
            async with db.write() as session:
                for statement in statements: await session.execute(statement)
        finally: await db.close()
    asyncio.run(work())


def test_accounts_are_listed_with_their_worth(whole, url):
    a = whole.accounts[END]
    code, out, _ = say("list", "--url", url, "--json")
    assert code == 0 and json.loads(out) == [dict(name="paper", mode="paper", equity=a.equity, balance=a.balance, peak=a.peak,
                                                  today=a.equity / a.day_open - 1, drawdown=a.drawdown, halted=False)]
    code, out, _ = say("list", "--url", url)
    assert code == 0 and out.startswith("paper") and "trading" in out and f"{a.equity:,.2f}" in out and "below its peak" in out


def test_a_database_without_accounts_says_so(tmp_path):
    assert CliRunner().invoke(app, ["db", "upgrade", "--url", f"sqlite:///{tmp_path}/new.db"]).exit_code == 0
    code, out, _ = say("list", "--url", f"sqlite:///{tmp_path}/new.db")
    assert code == 0 and "no account" in out
    refused(say("halt", "paper", "--url", f"sqlite:///{tmp_path}/new.db"), "no account 'paper'", "it has none")


@pytest.mark.parametrize("words", [("halt", "papier"), ("resume", "papier"), ("moved", "papier", 10), ("halt", "PAPER"), ("halt", "")])
def test_an_unknown_account_is_one_sentence_and_leaves_no_word(url, words):
    refused(say(*words, "--url", url), repr(words[1]), "it has paper")
    assert waiting(url) is None


def test_words_wait_and_add_up_until_the_service_heeds_them(url):
    assert say("halt", "paper", "--url", url)[0] == 0 and waiting(url) == dict(halted=True, moved=0.0)
    for amount in ("250.5", "100"): assert say("moved", "paper", amount, "--url", url)[0] == 0
    assert say("moved", "paper", "--url", url, "--", "-50")[0] == 0
    assert waiting(url) == dict(halted=True, moved=300.5)
    assert say("resume", "paper", "--url", url)[0] == 0 and waiting(url) == dict(halted=False, moved=300.5)


def test_money_that_went_out_can_be_told(url):
    code, out, _ = say("moved", "paper", "-250", "--url", url)
    assert code == 0 and "-250.00" in out and waiting(url) == dict(halted=None, moved=-250.0)


@pytest.mark.parametrize("amount", ["nan", "inf"])
def test_money_is_a_number(url, amount):
    code, _, err = say("moved", "paper", amount, "--url", url)
    assert code == 2 and amount in err and waiting(url) is None


# --- what outlives the service


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> SimpleNamespace:
    "A morning with a memory that binds, stopped; halted by hand while nothing ran; an afternoon; and the same day in one piece."
    asked = wanted(tmp_path_factory.mktemp("parts"), memory=dict(strategies=tuple(STRATEGIES)))
    noon = "2026-10-02T14:00"
    one = asyncio.run(ran(resumed(asked, START, noon)))
    assert say("halt", "paper", "--url", asked.database)[0] == 0
    two = asyncio.run(ran(resumed(asked, noon, END)))
    return SimpleNamespace(one=one, two=two, noon=parse_time(noon), asked=asked)


def test_account_and_memory_survive_a_restart(parts):
    one, two = parts.one, parts.two
    policy = parts.asked.memory.terms
    kept_one, kept_two = (account_of(run.states["account|paper"]) for run in (one, two))
    assert kept_one == one.accounts[parts.noon]._replace(holdings=()) and one.states["memory"]["outcomes"]
    first = two.accounts[parts.noon + QUARTER]
    assert first.halted and kept_two.halted and first.entries == kept_one.entries and first.day_open == kept_one.day_open
    assert (first.peak, first.best) == (kept_one.peak, kept_one.best) and kept_one.peak > 10_000.0
    m, n = (restored(policy, run.states["memory"]) for run in (one, two))
    assert set(m.seen) < set(n.seen) and m.last <= parts.noon < n.last
    assert {f["reason"] for f in two.follows if f["time"] > parts.noon} <= {"halt"}


def test_a_restart_without_a_hand_changes_nothing(whole, tmp_path):
    noon = parse_time("2026-10-02T14:00")
    asked = wanted(tmp_path)
    asyncio.run(ran(resumed(asked, START, noon)))
    two = asyncio.run(ran(resumed(asked, noon, END)))
    assert two.follows == whole.follows and two.ladders == whole.ladders and two.equity == whole.equity
    assert two.states == whole.states


async def begun(asked) -> Any:
    "A service that starts and ends at once; its engine's memory and its account."
    async with serving(asked) as (service, _, _):
        paper: Any = service.followers[0]
        return service.engine.book.memory, paper.following.account


def broken(state: dict | None, **wrong) -> dict:
    return {**(state or {}), **wrong}


@pytest.fixture
def stopped(parts, tmp_path):
    "A copy of the database that the morning and the afternoon left, its settings, and a way to spoil a row of it."
    assert CliRunner().invoke(app, ["db", "backup", str(tmp_path / "test.db"), "--url", parts.asked.database]).exit_code == 0
    asked = parts.asked.model_copy(update=dict(database=f"sqlite:///{tmp_path}/test.db"))
    states = parts.two.states

    def spoil(name: str, state: dict) -> None:
        change(asked.database, update(MemoryState).where(MemoryState.name == name).values(state=state))
    return SimpleNamespace(asked=resumed(asked, END, END + QUARTER), spoil=spoil, states=states, url=asked.database)


SPOILED = [dict(streak="many"), dict(seen=7), dict(equity=None), dict(outcomes=[1, "x"]), dict(symbol_until=[])]


@pytest.mark.parametrize("wrong", SPOILED, ids=str)
def test_paper_begins_with_an_empty_memory_and_says_so(stopped, caplog, wrong):
    stopped.spoil("memory", broken(stopped.states["memory"], **wrong))
    with caplog.at_level(logging.ERROR): memory, _ = asyncio.run(begun(stopped.asked))
    assert memory.outcomes == () and memory.seen == {} and memory.equity == memory.policy.capital
    (said,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR and "memory" in r.getMessage()]
    assert "cannot be read" in said and "begins empty" in said


@pytest.mark.parametrize("wrong", SPOILED[:2], ids=str)
def test_live_does_not_trade_without_its_memory(stopped, wrong):
    stopped.spoil("memory", broken(stopped.states["memory"], **wrong))
    live = stopped.asked.model_copy(update=dict(mode="live", live=stopped.asked.live.model_copy(update=dict(confirmed=True))))
    with pytest.raises(ConfigError, match="mode live does not trade without its memory") as caught: asyncio.run(begun(live))
    assert "\n" not in str(caught.value) and "backup" in str(caught.value)


ACCOUNTS = [dict(balance="much"), dict(equity=None), dict(entries=[[1]]), dict(peak="nan"), dict(day_open="inf")]


@pytest.mark.parametrize("wrong", ACCOUNTS, ids=str)
def test_a_service_does_not_start_on_an_account_that_cannot_be_read(stopped, wrong):
    stopped.spoil("account|paper", broken(stopped.states["account|paper"], **wrong))
    with pytest.raises(ConfigError, match="account 'paper': the stored account cannot be read") as caught:
        asyncio.run(begun(stopped.asked))
    assert "\n" not in str(caught.value) and "delete its row" in str(caught.value)


@pytest.mark.parametrize("wrong", ACCOUNTS[:2], ids=str)
def test_an_account_that_cannot_be_read_is_listed_as_one_sentence(stopped, wrong):
    stopped.spoil("account|paper", broken(stopped.states["account|paper"], **wrong))
    refused(say("list", "--url", stopped.url), "paper", "cannot be read")


async def test_a_word_that_cannot_be_read_halts_for_it_may_have_been_a_halt(stopped):
    db = await open_database(stopped.url)
    try:
        async with db.write() as session:
            await put(session, MemoryState, [dict(name="switch|paper", state=dict(halt=True), updated_at=1)])
            it = Following(1, AccountSettings(), {}, Rules(), None, 1_000.0)
            await it.heed(session)
            await session.flush()
            assert it.account.halted and await session.get(MemoryState, "switch|paper") is None
    finally: await db.close()


async def test_an_old_account_is_taken_up_as_it_was(stopped):
    async with serving(stopped.asked) as (service, db, _):
        paper: Any = service.followers[0]
        assert paper.following.account == account_of(stopped.states["account|paper"])
        assert service.engine.book.memory == restored(service.settings.memory.terms, stopped.states["memory"])
        async with db.read() as session:
            open_now = await session.scalar(select(func.count()).where(Tracker.account_id.is_not(None), Tracker.closed_at.is_(None)))
        assert len(paper.open) == open_now
        assert all(h[3].state <= OPEN + 3 for h in paper.open.values())


async def test_a_word_that_comes_while_another_is_heeded_is_not_lost():
    url = new_database()
    db = await open_database(url)
    try:
        async with db.write() as session:
            session.add(Row(name="paper", venue="v", mode="paper", currency="USDT", start_balance=1_000.0, created_at=1))
        await switched(url, "paper", moved=50.0)
        following = Following(1, AccountSettings(), {}, Rules(), None, 1_000.0)
        async with db.write() as session:
            await following.heed(session)
            late = asyncio.create_task(switched(url, "paper", moved=100.0))
            await asyncio.wait([late], timeout=1.0)
        await late
        async with db.write() as session: await following.heed(session)
        assert following.account.balance == 1_150.0
    finally: await db.close()


@pytest.mark.parametrize("amount", [nan, inf])
def test_an_account_of_no_number_is_never_read_back(amount):
    state = kept(Account.of(1_000.0).moved(amount))
    with pytest.raises(ValueError, match="cannot be read"): account_of(json.loads(json.dumps(state)))
