"The account as a value: its day, its peaks, its size and its entries, against a reference that recounts everything from a list of events."

import json
from fractions import Fraction
from math import isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perps_kit.core.clock import DAY, HOUR, MINUTE, parse_time
from perps_kit.risk.account import Account, Holding, account_of, kept

START = parse_time("2026-10-30T00:00")
RESULTS = ("WIN", "LOSS", "BREAKEVEN")


def day_of(account):
    "The day's profit in money, and the fall from the peaks."
    return account.equity - account.day_open, account.peak - account.equity, account.best - account.balance


def held(quantity=1.0, entry=100.0, risk=2.0, leverage=10, leaving=False):
    return Holding("a" * 32, "reversal", "BTCUSDT", 1, quantity, entry, risk, leverage, leaving)


# --- the day


def test_a_close_at_midnight_opens_the_day():
    a = Account.of(1_000.0).marked(START + 10 * HOUR, 1_050.0).marked(START + 23 * HOUR, 1_060.0)
    assert (a.day, a.day_open) == (START // DAY, 1_050.0)
    a = a.marked(START + DAY, 1_070.0)
    assert (a.day, a.day_open, a.equity) == (START // DAY + 1, 1_070.0, 1_070.0)
    assert a.marked(START + DAY + HOUR, 990.0).day_open == 1_070.0


def test_without_one_the_day_opens_with_what_was_known_last():
    a = Account.of(1_000.0).marked(START + 23 * HOUR, 1_060.0).marked(START + DAY + MINUTE, 1_000.0)
    assert (a.day, a.day_open, a.equity) == (START // DAY + 1, 1_060.0, 1_000.0)
    assert day_of(a)[0] == -60.0                                        # what was lost after midnight is today's loss


@pytest.mark.parametrize("days", [2, 3, 30])
def test_days_that_are_missing_are_skipped(days):
    a = Account.of(1_000.0).marked(START, 1_000.0).marked(START + HOUR, 1_100.0)
    late = a.marked(START + days * DAY + 1, 900.0)
    assert (late.day, late.day_open, late.peak) == (START // DAY + days, 1_100.0, 1_100.0)
    assert a.marked(START + days * DAY, 900.0).day_open == 900.0


def test_the_first_close_ever_opens_a_day_wherever_it_falls():
    for time in (START, START + 1, START + DAY - 1): assert Account.of(500.0).marked(time, 500.0).day_open == 500.0


# --- money in and out


@given(st.floats(-5_000.0, 5_000.0).map(lambda x: round(x, 2)), st.floats(100.0, 10_000.0).map(lambda x: round(x, 2)))
def test_money_in_or_out_is_no_gain_and_no_loss(amount, equity):
    a = Account.of(10_000.0).marked(START, 10_000.0).closed(START + HOUR, -200.0, "LOSS").marked(START + HOUR, equity)
    moved = a.moved(amount)
    assert day_of(moved) == pytest.approx(day_of(a), abs=1e-8) and moved.equity - a.equity == pytest.approx(amount, abs=1e-8)
    assert moved._replace(balance=0, equity=0, peak=0, best=0, day_open=0) == a._replace(balance=0, equity=0, peak=0, best=0, day_open=0)
    assert day_of(moved.marked(START + 2 * HOUR, equity + amount)) == pytest.approx(day_of(a), abs=1e-8)
    assert moved.moved(-amount).equity == pytest.approx(equity, abs=1e-8)


def test_what_came_in_over_midnight_is_no_gain_of_the_new_day():
    a = Account.of(1_000.0).marked(START + HOUR, 1_000.0).moved(500.0).marked(START + DAY + 1, 1_490.0)
    assert a.day_open == 1_500.0 and day_of(a)[0] == -10.0 and a.peak == 1_500.0


# --- halts


def test_who_looked_at_it_counts_drawdowns_from_there():
    a = Account.of(1_000.0).marked(START, 1_200.0).closed(START + HOUR, -300.0, "LOSS").marked(START + HOUR, 900.0)._replace(halted=True)
    assert a.drawdown == 0.25
    on = a.resumed()
    assert not on.halted and on.drawdown == 0.0 and on.peak == 900.0 and on.best == on.balance == 700.0
    assert (on.day_open, on.size, on.entries) == (a.day_open, a.size, a.entries)        # the day goes on as it was
    assert on.marked(START + 2 * HOUR, 810.0).drawdown == pytest.approx(0.1)


@pytest.mark.parametrize(("peak", "equity", "drawdown"), [
    (100.0, 100.0, 0.0), (100.0, 85.0, 0.15), (100.0, 0.0, 1.0), (0.0, 0.0, 1.0), (-5.0, -5.0, 1.0), (100.0, -50.0, 1.5)])
def test_the_drawdown(peak, equity, drawdown):
    assert Account(equity, equity, peak, peak).drawdown == drawdown


# --- entries


def test_entries_are_forgotten_when_nothing_counts_them_any_more():
    a = Account.of(1_000.0)
    for hour in (1, 12, 22, 23): a = a.entered(START + hour * HOUR, "BTCUSDT")
    assert len(a.entries) == 4                                          # the day still counts them
    a = a.entered(START + DAY + 30 * MINUTE, "ETHUSDT")
    assert [t - START for t, _ in a.entries] == [DAY + 30 * MINUTE]     # 23:00 is more than an hour ago, and of yesterday
    late = Account.of(1_000.0).entered(START + DAY - 30 * MINUTE, "BTCUSDT").entered(START + DAY + 29 * MINUTE, "ETHUSDT")
    assert [s for _, s in late.entries] == ["BTCUSDT", "ETHUSDT"]       # yesterday's, but of the last hour
    assert late.entered(START + DAY + 31 * MINUTE, "X").entries[0][1] == "ETHUSDT"


# --- what is free, what is at risk


POSITIONS = st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.01, 1_000.0), st.integers(1, 20), st.booleans()), max_size=6)


@given(st.floats(-1_000.0, 10_000.0), POSITIONS)
def test_what_is_free_is_never_negative_and_positions_that_leave_still_bind(equity, rows):
    positions = tuple(held(q, entry, 0.1 * entry, leverage, leaving) for q, entry, leverage, leaving in rows)
    a = Account(equity, equity, equity, equity, holdings=positions)
    assert a.free >= 0.0 and a.free == pytest.approx(max(0.0, equity - sum(q * e / lev for q, e, lev, _ in rows)), abs=1e-6)
    assert a.open_risk == pytest.approx(sum(0.1 * q * e for q, e, _, leaving in rows if not leaving), abs=1e-9)
    assert len(a.held) == len([1 for *_, leaving in rows if not leaving])


# --- the reference: a list of events, recounted at every question


class Events:
    "Deposits, closes, trades and entries in the order in which they came, and nothing else; money in exact fractions."

    def __init__(self, deposit):
        self.rows: list[tuple] = [("begin", 0, Fraction(deposit))]

    def money(self, kinds, until=None):
        "Running sums of what moved money; `mark` sets it."
        now, found = Fraction(0), []
        for kind, time, amount, *_ in self.rows:
            if until is not None and kind == "mark" and time > until: break
            if kind in ("begin", "mark") and kind in kinds: now = amount
            elif kind in kinds: now += amount
            else: continue
            found.append((kind, time, now, amount))
        return found

    def equity(self): return self.money(("begin", "mark", "moved"))[-1][2]

    def balance(self): return self.money(("begin", "closed", "moved"))[-1][2]

    def highest(self, kinds):
        "The best of the values, each counted as if all later deposits had been there."
        rows = self.money(kinds)
        later = lambda k: sum(amount for kind, _, _, amount in rows[k + 1 :] if kind == "moved")
        return max(value + later(k) for k, (_, _, value, _) in enumerate(rows))

    def opened(self):
        "Equity at 00:00 of the day of the last mark, as far as it was known, and what came in since."
        marks = [(k, time, amount) for k, (kind, time, amount, *_) in enumerate(self.rows) if kind == "mark"]
        if not marks: return None
        midnight = marks[-1][1] // DAY * DAY
        at, before = [m for m in marks if m[1] == midnight], [m for m in marks if m[1] < midnight]
        k, _, value = at[0] if at else before[-1] if before else marks[0]
        return value + sum(amount for kind, _, amount, *_ in self.rows[k + 1 :] if kind == "moved")

    def size(self, now):
        size = 1.0
        for kind, time, _, *more in self.rows:
            if kind != "closed" or time // DAY != now // DAY: continue
            if more == ["WIN"]: size = min(1.25, size * 1.1)
            if more == ["LOSS"]: size = max(0.5, size * 0.8)
        return size

    def entries(self, since, symbol=None):
        return len([1 for kind, time, _, *more in self.rows if kind == "entered" and time >= since and symbol in (None, *more)])


WHOLE = st.integers(-20_000, 20_000).map(lambda k: k / 4)
WAIT = st.sampled_from([0, 1, 15 * MINUTE, HOUR, DAY - HOUR, DAY, 3 * DAY, "midnight"]) | st.integers(0, 2 * DAY)
STEP = st.tuples(WAIT, st.sampled_from(["mark", "mark", "closed", "entered", "moved"]), WHOLE, st.sampled_from(RESULTS),
                 st.sampled_from(["BTCUSDT", "ETHUSDT"]))


@settings(max_examples=300, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=40), st.booleans())
def test_the_account_agrees_with_the_list_of_its_events(steps, reload):
    a, events, now = Account.of(10_000.0), Events(10_000.0), START + 7 * HOUR
    for wait, kind, amount, result, symbol in steps:
        now = (now // DAY + 1) * DAY if wait == "midnight" else now + wait
        if kind == "mark":
            a, row = a.marked(now, 10_000.0 + amount), ("mark", now, Fraction(10_000) + Fraction(amount))
        elif kind == "closed": a, row = a.closed(now, amount, result), ("closed", now, Fraction(amount), result)
        elif kind == "moved": a, row = a.moved(amount), ("moved", now, Fraction(amount))
        else: a, row = a.entered(now, symbol), ("entered", now, Fraction(0), symbol)
        events.rows.append(row)
        if reload: a = account_of(json.loads(json.dumps(kept(a))))
        assert a.equity == events.equity() and a.balance == events.balance()
        assert a.peak == events.highest(("begin", "mark", "moved")) and a.best == events.highest(("begin", "closed", "moved"))
        opened = events.opened()
        if opened is not None: assert a.day_open == opened
        assert isclose(a.size_at(now), events.size(now), rel_tol=1e-12) and a.size_at(now + DAY) == 1.0
        if kind == "entered":
            today, hour = now // DAY * DAY, now - HOUR
            assert len([t for t, _ in a.entries if t >= today]) == events.entries(today)
            assert len([t for t, _ in a.entries if t > hour]) == events.entries(hour + 1)
            assert len([t for t, s in a.entries if t >= hour and s == symbol]) == events.entries(hour, symbol)
            assert all(t >= min(today, hour) for t, _ in a.entries)


# --- keeping it


def test_it_is_kept_as_json_without_its_positions():
    a = Account.of(1_000.0).marked(START, 1_100.0).closed(START, -5.0, "LOSS").entered(START, "BTCUSDT")._replace(halted=True)
    full = a._replace(holdings=(held(),))
    state = json.loads(json.dumps(kept(full)))
    assert "holdings" not in state and account_of(state) == a


GOOD = kept(Account.of(1_000.0))


@pytest.mark.parametrize("state", [
    None, 5, [], {}, {k: v for k, v in GOOD.items() if k != "peak"}, GOOD | dict(balance="lots"), GOOD | dict(equity=None),
    GOOD | dict(entries=5), GOOD | dict(entries=[[1]]), GOOD | dict(entries=[["soon", "BTCUSDT"]]), GOOD | dict(day=[])])
def test_what_cannot_be_read_back_is_an_error(state):
    with pytest.raises(ValueError, match="restore the database from a backup"): account_of(state)
