"What may be said about jobs in the settings: which notebook, when, and within which limits."

import re
from datetime import UTC, date, datetime, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def zone_of(name: str) -> tzinfo:
    "The time zone of that name; ValueError where there is none."
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        near = get_close_matches(name, available_timezones(), 1)
        remedy = f"did you mean {near[0]}?" if near else "write it like Europe/Berlin"
        raise ValueError(f"there is no time zone {name!r}: {remedy}") from None


class ScheduledJob(BaseModel):
    "One notebook by the clock."

    model_config = ConfigDict(frozen=True, extra="forbid")

    cron: str  # minute, hour, day, month, weekday
    notebook: str = ""  # a job's name or the path of a notebook; none: the name of the entry
    parameters: dict[str, str] = {}
    timeout: float = Field(default=300.0, gt=0, le=86_400)  # seconds
    memory: int | None = Field(default=2_000, ge=256)  # MB that each of its processes may take; none: no limit
    retries: int = Field(default=1, ge=0, le=10)
    retry_wait: float = Field(default=60.0, ge=0, le=3_600)  # seconds before the second attempt, twice as long before each further one
    keep: int = Field(default=30, ge=1)  # runs whose files are kept
    keep_days: int = Field(default=90, ge=1)  # days for which they are kept
    catch_up: bool = True  # whether the latest of the times that nobody ran is run late

    @field_validator("cron")
    @classmethod
    def fires(cls, value: str) -> str:
        from cronsim import CronSim, CronSimError

        try:
            if len(value.split()) != 5:
                raise CronSimError("it has not five fields")
            next(CronSim(value, datetime(2000, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration, TypeError, ValueError) as wrong:
            why = "it never comes" if isinstance(wrong, StopIteration) else str(wrong)[:1].lower() + str(wrong)[1:]
            remedy = "write minute hour day month weekday, like '5 0 * * *'"
            raise ValueError(f"{value!r} is not a cron expression ({why}): {remedy}") from None
        return value

    @field_validator("parameters", mode="before")
    @classmethod
    def texts(cls, value: Any) -> Any:
        "Values as the command line would be given them: the notebook's declaration gives them their types."
        for name, given in value.items() if isinstance(value, dict) else ():
            if not isinstance(given, (str, int, float, date)):
                raise ValueError(f"parameter {name} must be a number, a text or true or false, not {given!r}")
        return {str(name): str(given) for name, given in value.items()} if isinstance(value, dict) else value


class JobsSettings(BaseModel):
    "The schedule of jobs; none is run where it is empty."

    model_config = ConfigDict(frozen=True, extra="forbid")

    timezone: str = "UTC"  # of the cron expressions
    at_once: int = Field(default=1, ge=1, le=16)
    folder: Path = Path("var/jobs")
    schedule: dict[str, ScheduledJob] = {}

    @field_validator("timezone")
    @classmethod
    def known(cls, value: str) -> str:
        zone_of(value)
        return value

    @field_validator("schedule")
    @classmethod
    def named(cls, value: dict[str, ScheduledJob]) -> dict[str, ScheduledJob]:
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name for a job: use up to 40 small letters, digits, - and _")
        return value
