"The application: every route gets what it needs from here, nothing is global."

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from perps_kit import __version__
from runners.db.connect import Database
from runners.http import answers, health, page
from runners.http.drawing import Drawing
from runners.http.guard import Guard
from runners.http.known import Known
from runners.http.settings import HttpSettings
from runners.state import ServiceState

log = logging.getLogger(__name__)
ABOUT = "Signals, the decisions behind them, and how they went. Times are milliseconds since the epoch, UTC; results in R are before costs."


def make_app(db: Database, state: ServiceState, settings: HttpSettings) -> FastAPI:
    "The HTTP side of one service."
    drawing, known = Drawing(), Known()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        drawing.start()
        yield
        await drawing.stop()

    app = FastAPI(title="perps_kit", version=__version__, description=ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.include_router(health.routes(db, state))
    app.include_router(answers.routes(db, known))
    app.include_router(page.routes(db, state, known, drawing))
    app.mount("/static", page.static_files())
    app.add_middleware(Guard, settings=settings)
    app.add_exception_handler(DBAPIError, database_trouble)
    app.add_exception_handler(PoolTimeout, database_trouble)
    return app


async def database_trouble(request: Request, error: Exception) -> JSONResponse:
    "The database does not answer: the reader may try again, the log has the reason."
    log.error("no answer from the database for %s: %s", request.url.path, error)
    return JSONResponse({"detail": "the database does not answer; try again"}, 503, headers={"retry-after": "5"})
