"The page: one HTML file, one feed that it polls, and the files it is made of."

import asyncio
import time
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse, JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.staticfiles import StaticFiles

from perps_kit.api.chart import candle_columns, signal_marks
from perps_kit.api.views import DecisionView, PositionView, finite, side_word
from perps_kit.storage import queries
from perps_kit.storage.models import json_safe
from perps_kit.storage.outbox import depth
from runners.db.connect import Database
from runners.http.drawing import Drawing, bokeh_script
from runners.http.known import Known
from runners.state import ServiceState

STATIC = Path(__file__).parent / "static"
BARS = 400  # candles on the chart
REVALIDATE = {"cache-control": "no-cache"}


class Files(StaticFiles):
    "Our files, asked for again each time, so that an upgrade is seen at once (an unchanged file costs a 304)."

    def file_response(self, *args: Any, **kwargs: Any) -> Any:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def static_files() -> Files:
    "The page's script, style and icon."
    return Files(directory=STATIC)


class Feed:
    "What the page asks for every second: everything new in one answer."

    def __init__(self, db: Database, state: ServiceState, known: Known) -> None:
        self.db, self.state, self.known = db, state, known
        self.counted = -1e9
        self.counts: dict[str, Any] = {}

    async def numbers(self, session: AsyncSession) -> dict[str, Any]:
        "Counts over the whole database, taken anew every few seconds."
        if time.monotonic() - self.counted > 3:
            found, self.counted = await queries.summary(session), time.monotonic()
            decisions = sum(found["decisions"].values())
            self.counts = dict(
                signals=found["signals"], decisions=decisions, open=found["open"], reasons=found["reasons"], **found["closed"]
            )
        return self.counts

    async def answer(self, symbol: str | None, since: int | None, equity_since: int | None) -> dict[str, Any]:
        "The state of the service, the chosen symbol's bars from `since` on, and the lists."
        async with self.db.read() as session:
            known = await self.known.all(session)
            events, signals = await queries.latest_events(session, 30), await queries.latest_signals(session, 30)
            wanted = (symbol, signals[0]["symbol"] if signals else None)  # who has not chosen yet sees where the last signal was
            chosen = next((k for name in wanted for k in known if k["symbol"] == name), known[0] if known else None)
            chart = await self.chart(session, chosen, since) if chosen else None
            return {
                "service": await self.service(session),
                "numbers": await self.numbers(session),
                "symbols": list(OrderedDict.fromkeys(k["symbol"] for k in known)),
                "chart": chart,
                "equity": await equity(session, equity_since),
                "positions": [PositionView.model_validate(p).model_dump() for p in await queries.open_positions(session)],
                "decisions": [
                    DecisionView.model_validate(d).model_dump(exclude={"verdicts"}) for d in await queries.latest_decisions(session, 30)
                ],
                "news": news(events, signals)[:30],
            }

    async def service(self, session: AsyncSession) -> dict[str, Any]:
        "How the service is."
        s = self.state
        age = max(0.0, time.time() - s.clock / 1000) if s.clock else None  # seconds since the newest cycle
        facts = dict(
            mode=s.mode, venue=s.venue, ready=s.ready, missing=s.missing, progress=finite(s.progress), time=s.time, done=s.done, age=age
        )
        return {**facts, "summary": json_safe(s.summary), "waiting_messages": await depth(session)}

    async def chart(self, session: AsyncSession, chosen: dict[str, Any], since: int | None) -> dict[str, Any]:
        "Bars and marks of one symbol; without `since`, the newest bars."
        bars = await queries.candles(session, chosen["venue"], chosen["symbol"], chosen["minutes"], BARS, since)
        span = chosen["minutes"] * 60_000
        newest = bars[-1]["open_time"] + span if bars else since or 0
        marks = signal_marks(await queries.drawn_signals(session, chosen["venue"], chosen["symbol"], newest - BARS * span), newest)
        return {"symbol": chosen["symbol"], "minutes": chosen["minutes"], "candles": candle_columns(bars, chosen["minutes"]), **marks}


async def equity(session: AsyncSession, since: int | None) -> dict[str, dict[str, list[Any]]]:
    "Equity by account, thinned to what a screen can show."
    found: dict[str, dict[str, list[Any]]] = {}
    for point in await queries.equity_series(session, since=since, limit=20_000):
        line = found.setdefault(point["account"], {"time": [], "equity": []})
        line["time"].append(point["time"])
        line["equity"].append(finite(point["equity"]))
    for line in found.values():
        if (step := len(line["time"]) // 1500) > 1:
            for name, values in line.items():
                line[name] = values[:-1:step] + values[-1:]
    return found


def news(events: list[dict[str, Any]], signals: list[dict[str, Any]]) -> list[dict[str, Any]]:
    "Signals and what became of them, newest first, as one list."
    told = [
        dict(
            time=s["close_time"],
            kind="signal",
            price=finite(s["entry"]),
            signal_id=s["id"],
            symbol=s["symbol"],
            side=side_word(s["side"]),
            strategy=s["strategy"],
            final=finite(s["final"]),
        )
        for s in signals
    ]
    for e in events:
        told.append(
            {**e, "price": finite(e["price"]), "weight": finite(e["weight"]), "side": side_word(e["side"]), "gross_r": finite(e["gross_r"])}
        )
    return sorted(told, key=lambda n: (n["time"], n["kind"] != "signal"), reverse=True)


def routes(db: Database, state: ServiceState, known: Known, drawing: Drawing) -> APIRouter:
    "The page, its feed and its charts: of use to the page alone, hence not in the API's description."
    router = APIRouter(include_in_schema=False)
    feed = Feed(db, state, known)

    @router.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "page.html", headers=REVALIDATE)

    @router.get("/docs")
    async def docs() -> FileResponse:
        return FileResponse(STATIC / "api.html", headers=REVALIDATE)

    @router.get("/favicon.ico")
    async def icon() -> FileResponse:
        return FileResponse(STATIC / "favicon.svg", media_type="image/svg+xml")

    @router.get("/static/bokeh.min.js")
    async def bokeh() -> FileResponse:
        if (script := await asyncio.to_thread(bokeh_script)) is None:
            raise HTTPException(404, "the package bokeh is not installed")
        return FileResponse(script, media_type="text/javascript", headers=REVALIDATE)

    @router.get("/page/charts")
    async def charts() -> JSONResponse:
        return JSONResponse(await drawing.item())

    @router.get("/page/feed")
    async def answer(
        symbol: Annotated[str | None, Query(max_length=64)] = None,
        since: Annotated[int | None, Query(ge=0, lt=2**62)] = None,
        equity_since: Annotated[int | None, Query(ge=0, lt=2**62)] = None,
    ) -> JSONResponse:
        return JSONResponse(await feed.answer(symbol, since, equity_since))

    return router
