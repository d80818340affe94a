"What the service knows, as JSON: signals, decisions, positions, equity, candles."

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query

from perps_kit.api.views import CandleView, DecisionView, DecisionWhole, EquityView, PositionView, SignalView, SignalWhole
from perps_kit.storage import queries
from runners.db.connect import Database
from runners.http.known import Known

Limit = Annotated[int, Query(ge=1, le=1000)]
Symbol = Annotated[str | None, Query(max_length=64, examples=["BTCUSDT"])]
BIG = 2**63 - 1


def routes(db: Database, known: Known) -> APIRouter:
    "Every question with its answer's shape."
    router = APIRouter(tags=["answers"])

    @router.get("/signals", response_model=list[SignalView], summary="Published signals, newest first")
    async def signals(
        limit: Limit = 50, before: Annotated[str | None, Query(description="id of a signal that you have")] = None, symbol: Symbol = None
    ):
        async with db.read() as session:
            return await queries.latest_signals(session, limit, before, symbol)

    @router.get("/signals/{id}", response_model=SignalWhole, summary="One signal, with everything that happened to it")
    async def signal(id: str):
        async with db.read() as session:
            if (found := await queries.signal_whole(session, id)) is None:
                raise HTTPException(404, f"there is no signal {id}: /signals lists them")
            decision = await queries.decision_of_signal(session, id)
        reference = next((t for t in found["trackers"] if t["account"] is None), None)
        return {**found, "tracker": reference, "decision_id": decision and decision["id"]}

    @router.get("/decisions", response_model=list[DecisionView], summary="Evaluations near a signal, newest first")
    async def decisions(
        limit: Limit = 50, before: Annotated[int | None, Query(ge=0, le=BIG)] = None, outcome: str | None = None, symbol: Symbol = None
    ):
        async with db.read() as session:
            return await queries.latest_decisions(session, limit, before, outcome, symbol)

    @router.get("/decisions/{id}", response_model=DecisionWhole, summary="Why: every gate's verdict, and the features it saw")
    async def decision(id: Annotated[int, Path(ge=0, le=BIG)]):
        async with db.read() as session:
            if (found := await queries.decision(session, id)) is None:
                raise HTTPException(404, f"there is no decision {id}: /decisions lists them")
        return found

    @router.get("/positions", response_model=list[PositionView], summary="What is open: by the candles, and in each account")
    async def positions():
        async with db.read() as session:
            return await queries.open_positions(session)

    @router.get("/equity", response_model=list[EquityView], summary="What the accounts were worth, oldest first")
    async def equity(since: Annotated[int | None, Query(ge=0, le=BIG)] = None, limit: Annotated[int, Query(ge=1, le=20000)] = 5000):
        async with db.read() as session:
            return await queries.equity_series(session, since=since, limit=limit)

    @router.get("/candles/{symbol}", response_model=list[CandleView], summary="Closed bars, oldest first")
    async def candles(
        symbol: str,
        minutes: Annotated[int | None, Query(ge=1)] = None,
        limit: Annotated[int, Query(ge=1, le=5000)] = 300,
        since: Annotated[int | None, Query(ge=0, le=BIG)] = None,
    ):
        async with db.read() as session:
            if (series := await known.of(session, symbol, minutes)) is None:
                raise HTTPException(404, f"there are no candles of {symbol}" + (f" at {minutes} minutes" if minutes else ""))
            return await queries.candles(session, series["venue"], symbol, series["minutes"], limit, since)

    return router
