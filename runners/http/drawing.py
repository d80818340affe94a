"The page's empty charts, made once by a process of their own, so that the service never carries Bokeh."

import asyncio
import json
import logging
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
SECONDS = 60


def bokeh_script() -> Path | None:
    "BokehJS as the installed package brings it, found without importing it."
    spec = find_spec("bokeh")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "server" / "static" / "js" / "bokeh.min.js"
    return path if path.exists() else None


class Drawing:
    "The charts as JSON for BokehJS: `{theme: {name: item}}`; None where Bokeh is not installed."

    def __init__(self) -> None:
        self.task: asyncio.Task[dict[str, Any] | None] | None = None

    def start(self) -> None:
        "Begin to draw; nobody waits but the first reader of the page."
        self.task = asyncio.create_task(draw(), name="drawing")

    async def item(self) -> dict[str, Any] | None:
        "The drawn charts."
        return await asyncio.shield(self.task) if self.task else None

    async def stop(self) -> None:
        "Leave nothing running."
        if self.task and not self.task.done():
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


async def draw() -> dict[str, Any] | None:
    "Run `runners.http.figure` and read what it prints."
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "runners.http.figure",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        log.error("the page's charts were not drawn within %d seconds; the page shows its tables only", SECONDS)
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        log.error("the page's charts could not be drawn: %s", err.decode(errors="replace").strip().splitlines()[-1:])
        return None
    return json.loads(out)
