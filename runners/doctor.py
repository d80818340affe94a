"What `perps-kit doctor` looks at."

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from runners.errors import ConfigError


class Line(NamedTuple):
    "One thing that was looked at."

    what: str
    ok: bool
    detail: str


PACKAGES = ("numpy", "pyarrow", "ccxt", "telethon", "SQLAlchemy", "fastapi", "uvicorn", "websockets", "bokeh", "papermill")


def examine(config: Path | None) -> list[Line]:
    "Every check, in the order in which a start needs them."
    lines = [Line("python", sys.version_info >= (3, 11), sys.version.split()[0])]
    for name in PACKAGES:
        try:
            lines.append(Line(name, True, version(name)))
        except PackageNotFoundError:
            lines.append(Line(name, False, "missing: install perps_kit again"))
    looks = (
        ("settings", lambda: settings(config)),
        ("strategies", lambda: strategies(config)),
        ("database", lambda: database(config)),
        ("sample data", sample),
        ("port", lambda: port(config)),
        ("jobs", lambda: jobs(config)),
        ("disk", disk),
    )
    return lines + [attempt(what, look) for what, look in looks]


def attempt(what: str, look: Callable[[], str]) -> Line:
    try:
        return Line(what, True, look())
    except (ConfigError, ValueError, OSError) as error:
        return Line(what, False, str(error))


def settings(config: Path | None) -> str:
    from runners.settings import load

    s = load(config)
    bot = "with" if s.telegram.token.get_secret_value() else "without"
    return f"mode {s.mode}, {len(s.symbols)} symbols at {s.timeframe} on {s.venue.id}, {bot} Telegram"


def strategies(config: Path | None) -> str:
    from runners.live.service import named_strategies
    from runners.settings import load

    return ", ".join(named_strategies(load(config)))


def database(config: Path | None) -> str:
    from runners.db.connect import NeedsUpgrade, database_url, open_database
    from runners.settings import load

    address = database_url(load(config).database)
    if address.get_backend_name() == "sqlite" and not Path(address.database or "").exists():
        return f"{address.database} will be made at the first start"

    async def look() -> str:
        try:
            db = await open_database(load(config).database, create=False, upgrade=False)
        except NeedsUpgrade:
            return f"{address.render_as_string(hide_password=True)} will be brought to the newest schema at the first start"
        await db.close()
        return f"{db.place} is at the newest schema"

    return asyncio.run(look())


def sample() -> str:
    from perps_kit.data.sample import sample_root, sample_symbols

    return f"{len(sample_symbols())} symbols in {sample_root().name}"


def port(config: Path | None) -> str:
    from runners.http.server import open_socket
    from runners.settings import load

    s = load(config).http
    if not s.enabled:
        return "the page is switched off"
    open_socket(s).close()
    return f"{s.host}:{s.port} is free"


def jobs(config: Path | None) -> str:
    from runners.jobs.schedule import plan
    from runners.settings import load

    return f"{len(plan(load(config).jobs))} in the schedule"


def disk() -> str:
    free = shutil.disk_usage(os.getcwd()).free
    if free < 1 << 30:
        raise ConfigError(f"{free >> 20} MB left on this disk: the database and candles want at least 1 GB")
    return f"{free >> 30} GB left"
