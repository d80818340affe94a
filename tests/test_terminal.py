"The terminal's view over a filled database, as a person sees it."

import asyncio
import io
from contextlib import asynccontextmanager

import pytest
from filled import filled
from rich.console import Console

from runners import terminal
from runners.cli.service import show
from runners.db.connect import open_database
from runners.run import Running
from runners.settings import load
from runners.state import ServiceState

SUMMARY = dict(
    cycles=500, signals=12, open=2, decisions=dict(rejected=34, published=12), messages=dict(sent=20, waiting=1),
    closed=dict(count=10, wins=6, losses=3, breakeven=1, total_r=4.25),
)


def recorder(width=110, terminal=True):
    return Console(record=True, width=width, file=io.StringIO(), force_terminal=terminal, color_system="truecolor")


@pytest.fixture
async def running(tmp_path):
    "A service's surroundings in the middle of a replay."
    db = await open_database(f"sqlite:///{tmp_path}/x.db")
    market = await filled(db, 400)
    while not market.open:
        await market.bar()
    state = ServiceState(mode="paper", venue="binanceusdm", progress=0.42, time=await market.bar())
    state.wait_for()
    try:
        yield Running(load(environ={}), db, state, "http://127.0.0.1:8000/", None)
    finally:
        await db.close()


async def drawn(running, width=110):
    console = recorder(width)
    console.print(await terminal.picture(running))
    return console.export_text(styles=False)


async def test_the_picture_shows_progress_positions_and_signals(running):
    text = await drawn(running)
    first, *_ = text.splitlines()
    assert "perps_kit paper" in first and "42%" in first and "http://127.0.0.1:8000/" in first and "UTC" in first
    assert "Open positions" in text and "Signals" in text
    positions, signals = text.split("Signals")
    assert any(word in positions for word in ("OPEN", "TP1", "TP2")) and "USDT" in positions
    assert signals.count("EmaScalper CROSS") == 8 and ("long" in signals or "short" in signals)
    assert all(len(line) <= 110 for line in text.splitlines())


@pytest.mark.parametrize("width", [60, 80, 200])
async def test_it_fits_a_terminal_of_any_width(running, width):
    text = await drawn(running, width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines()) and "Open positions" in text


async def test_before_the_first_cycle_it_says_what_it_waits_for(tmp_path):
    db = await open_database(f"sqlite:///{tmp_path}/x.db")
    state = ServiceState(mode="paper")
    state.wait_for("warm-up: 3 of 8 symbols")
    text = await drawn(Running(load(environ={}), db, state, "", None))
    await db.close()
    assert "warm-up: 3 of 8 symbols" in text and "%" not in text


async def test_the_view_is_drawn_while_it_runs_and_leaves_nothing_behind(running):
    console = recorder()
    before = asyncio.all_tasks()
    async with asynccontextmanager(terminal.view(console))(running):
        await asyncio.sleep(0.1)
        assert {task.get_name() for task in asyncio.all_tasks() - before} == {"view"}
    assert "Open positions" in console.export_text() and asyncio.all_tasks() == before


async def test_without_a_terminal_the_view_says_nothing(running):
    console = recorder(terminal=False)
    async with asynccontextmanager(terminal.view(console))(running):
        await asyncio.sleep(0.05)
    assert console.export_text() == ""


@pytest.mark.parametrize("ended", [True, False])
async def test_the_demo_prints_its_summary_as_soon_as_the_replay_has_ended(running, ended):
    console = recorder(terminal=False)
    async with asynccontextmanager(show(console, stay=True))(running):
        if ended:
            running.state.summary, running.state.done = SUMMARY, True
            await asyncio.sleep(0.2)
    text = console.export_text()
    assert ("The replay has ended" in text and "until Ctrl-C" in text) == ended


def test_the_summary_tells_what_came_of_it():
    console = recorder()
    console.print(terminal.summary_table(SUMMARY))
    text = console.export_text()
    for fact in ("500", "12", "34", "10: 6 won, 3 lost, 1 even", "+4.25 R before costs", "20 sent, 1 waiting"):
        assert fact in text


@pytest.mark.parametrize(("x", "text"), [(64000.123, "64,000.1"), (0.0813, "0.0813"), (None, "-"), (float("nan"), "-"), (3, "3")])
def test_prices_read_well(x, text):
    assert terminal.price(x) == text


RESULTS = [(1.234, "+1.23 R", "green"), (-1.0, "-1.00 R", "red"), (0.0, "+0.00 R", ""), (None, "-", "")]


@pytest.mark.parametrize(("x", "text", "style"), RESULTS)
def test_results_are_signed_and_coloured(x, text, style):
    made = terminal.r_text(x)
    assert made.plain == text and made.style == style
