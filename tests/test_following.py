"An account behind a follower: what its limits tell people, once."

from sqlalchemy import select

from perps_kit.core.clock import DAY, HOUR
from perps_kit.storage.models import Outbox
from perps_kit.trackers.plan import Rules
from runners.db.connect import open_database
from runners.live.following import Following
from runners.settings import AccountSettings

START = 20_756 * DAY


async def told(tmp_path, *equities: float, **terms) -> tuple[Following, list[str]]:
    "The account after hourly closes with these equities, and the titles of the alerts."
    db = await open_database(f"sqlite:///{tmp_path}/x.db")
    it = Following(1, AccountSettings(**terms), {}, Rules(), None, 10_000.0, console=True)
    try:
        for k, equity in enumerate(equities):
            async with db.write() as session:
                await it.mark(session, START + k * HOUR, equity)
        async with db.read() as session:
            rows = list(await session.scalars(select(Outbox).order_by(Outbox.id)))
    finally:
        await db.close()
    return it, [row.payload["title"] for row in rows]


async def test_a_drawdown_halts_and_is_told_once(tmp_path):
    it, titles = await told(tmp_path, 10_000.0, 8_499.0, 8_400.0, 9_900.0, daily_loss=1.0)
    assert it.account.halted and titles == ["Account halted"]


async def test_a_lost_day_is_over_and_told_once_a_day(tmp_path):
    it, titles = await told(tmp_path, 10_000.0, 9_690.0, 9_990.0, 9_600.0)
    assert it.account.over == it.account.day and not it.account.halted and titles == ["Daily loss"]
    _, quiet = await told(tmp_path / "quiet", 10_000.0, 9_701.0)
    assert quiet == []
