"The one place that catches everything: a side task that fails is logged, counted and started again, ever later."

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from runners.errors import ConfigError
from runners.metrics import Metrics

log = logging.getLogger(__name__)
LONGEST = 60.0  # seconds between two starts
STEADY = 300.0  # seconds of work after which a failure counts as the first again


async def keep_running(
    name: str, work: Callable[[], Awaitable[None]], metrics: Metrics, fatal: tuple[type[Exception], ...] = ()
) -> None:
    """Run a side task until it ends by itself, is cancelled, or fails by something `fatal`, which only a new start mends.

    The service's own loop is not kept so: it ends the process, and the next start recovers.
    """
    pause = 0.5
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await work()
            return
        except (ConfigError, *fatal):
            raise
        except Exception as error:  # the supervisor's own job
            log.error("%s failed and starts again in %.1f s: %s: %s", name, pause, type(error).__name__, error)
            log.debug("%s", name, exc_info=True)
        metrics.restarts.labels(name).inc()
        await asyncio.sleep(pause)
        pause = 0.5 if asyncio.get_running_loop().time() - began > STEADY else min(2 * pause, LONGEST)


async def together(*works: Coroutine[Any, Any, None]) -> None:
    "Run parts of one task until all have ended; the first that fails ends the others, and its error is the whole's."
    tasks = [asyncio.create_task(work) for work in works]
    try:
        for task in asyncio.as_completed(tasks):
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
