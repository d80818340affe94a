"The terminal's view of a running service: how far a replay is, what is open, what was signalled."

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from perps_kit.core.clock import iso
from perps_kit.storage import queries
from runners.run import Running

SIDE = {1: Text("long", "green"), -1: Text("short", "red")}


def price(x: Any) -> str:
    return f"{x:,.6g}" if isinstance(x, (int, float)) and x == x else "-"


def r_text(x: float | None) -> Text:
    return Text("-") if x is None or x != x else Text(f"{x:+.2f} R", "green" if x > 0 else "red" if x < 0 else "")


def head(running: Running) -> Table:
    "One line: mode, time, progress, page."
    state, row = running.state, Table.grid(padding=(0, 2))
    what = "ready" if state.ready else ", ".join(state.missing)
    cells: list[Any] = [Text(f"perps_kit {state.mode}", "bold"), Text(f"{iso(state.time)} UTC" if state.time else what), ]
    if state.progress is not None:
        cells += [ProgressBar(total=1.0, completed=state.progress, width=30), Text(f"{state.progress:.0%}")]
    row.add_row(*cells, Text(running.page, "cyan"))
    return row


def positions_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Open positions", title_justify="left", expand=True, box=None, header_style="dim")
    for name in ("symbol", "side", "state", "entry", "stop", "last", "open"):
        table.add_column(name, justify="right" if name in ("entry", "stop", "last", "open") else "left")
    for p in rows[:12]:
        prices = (price(p[name]) for name in ("entry", "stop", "last"))
        table.add_row(p["symbol"], SIDE[p["side"]], p["state"], *prices, r_text(p["open_r"]))
    return table


def signals_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Signals", title_justify="left", expand=True, box=None, header_style="dim")
    for name in ("close, UTC", "symbol", "side", "strategy", "score", "entry", "state", "result"):
        table.add_column(name, justify="right" if name in ("score", "entry", "result") else "left")
    for s in rows:
        tracker = s["tracker"] or {}
        name, state = f"{s['strategy']} {s['mode']}", tracker.get("exit_type") or tracker.get("state") or ""
        table.add_row(iso(s["close_time"]), s["symbol"], SIDE[s["side"]], name, f"{s['final']:.0f}", price(s["entry"]),
                      state, r_text(tracker.get("gross_r")))
    return table


async def picture(running: Running) -> Group:
    async with running.db.read() as session:
        open_now = [p for p in await queries.open_positions(session, reference=True)]
        latest = await queries.latest_signals(session, 8)
    return Group(head(running), Text(""), positions_table(open_now), Text(""), signals_table(latest))


def view(console: Console):
    "A context for `run`: the view is drawn anew four times a second while it lasts; without a terminal it says nothing."

    async def around(running: Running) -> AsyncIterator[None]:
        if not console.is_terminal:
            yield
            return
        with Live(head(running), console=console, auto_refresh=False, transient=True) as live:
            async def draw() -> None:
                while not running.state.done:
                    live.update(await picture(running), refresh=True)
                    await asyncio.sleep(0.25)

            task = asyncio.create_task(draw(), name="view")
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    return around


def summary_table(summary: dict[str, Any]) -> Table:
    "What a replay brought."
    closed = summary["closed"]
    table = Table(title="The replay has ended", title_justify="left", show_header=False, box=None)
    for name, value in (
        ("cycles", summary["cycles"]), ("signals", summary["signals"]), ("rejected candidates", summary["decisions"].get("rejected", 0)),
        ("closed", f"{closed['count']}: {closed['wins']} won, {closed['losses']} lost, {closed['breakeven']} even"),
        ("sum of results", f"{closed['total_r']:+.2f} R before costs"), ("still open", summary["open"]),
        ("messages", f"{summary['messages']['sent']} sent, {summary['messages']['waiting']} waiting"),
    ):
        table.add_row(f"  {name}", str(value))
    return table
