"What is kept of past runs: the files of the last ones for a while, the rows for longer."

import asyncio
import logging
import shutil
from pathlib import Path

from perps_kit.core.clock import DAY
from perps_kit.storage import jobs as kept
from runners.db.connect import Database
from runners.jobs.schedule import Planned

log = logging.getLogger(__name__)
ROWS = 730 * DAY


async def tidy(db: Database, planned: Planned, folder: Path, instance: str, now: int) -> int:
    """Remove the files of runs beyond the number and the age that the schedule asks for, except the newest; how many runs.

    Only what this machine wrote inside the folder of jobs is touched; another machine looks after its own.
    """
    entry, home, host = planned.settings, folder.resolve() / planned.name, instance.rpartition(":")[0]
    async with db.read() as session:
        runs = await kept.with_files(session, planned.name)
    old = [run for k, run in enumerate(runs) if k >= entry.keep or (k and now - run.scheduled_at > entry.keep_days * DAY)]
    mine = [run for run in old if run.instance.rpartition(":")[0] == host]
    for run in mine:
        path = Path(run.folder or "").resolve()
        if path.parent == home:
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
    async with db.write() as session:
        for run in mine:
            await kept.end(session, run.id, run.fence, folder=None)
        await kept.forget(session, now - ROWS)
    if mine:
        log.info("job %s: the files of %d runs are removed", planned.name, len(mine))
    return len(mine)
