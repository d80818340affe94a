"Health for machines: alive, ready, and the numbers."

import asyncio
import time

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from perps_kit.storage.outbox import depth
from perps_kit.storage.queries import count_open
from runners.db.connect import Database
from runners.state import ServiceState


def routes(db: Database, state: ServiceState) -> APIRouter:
    "`/healthz`, `/readyz`, `/metrics`."
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_class=PlainTextResponse, summary="The process is alive")
    async def healthz() -> str:
        return "alive"

    @router.get("/readyz", summary="Warm-up is done and the database answers; 503 says what is missing")
    async def readyz() -> JSONResponse:
        missing = list(state.missing)
        try:
            async with asyncio.timeout(2), db.read() as session:
                await session.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError, TimeoutError):
            missing.append("the database")
        ready = state.ready and not missing
        return JSONResponse({"ready": ready, "mode": state.mode, "waiting_for": missing}, 200 if ready else 503)

    @router.get("/metrics", summary="Prometheus")
    async def metrics() -> Response:
        async with db.read() as session:
            state.metrics.outbox_depth.set(await depth(session))
            state.metrics.open_positions.set(await count_open(session))
        if state.clock:
            state.metrics.data_age.set(max(0.0, time.time() - state.clock / 1000))
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
