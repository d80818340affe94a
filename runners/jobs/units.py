"systemd units of a schedule: its timers wake `perps-kit jobs once`, which asks the database what is due."

import sys
from pathlib import Path

from runners.errors import ConfigError
from runners.jobs.schedule import LONGEST, Planned
from runners.jobs.settings import JobsSettings

DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
PREFIX = "perps-kit-job"
SERVICE = """[Unit]
Description={what}
After=network-online.target
Wants=network-online.target

[Service]
Type={type}
ExecStart={command}
WorkingDirectory={home}
User={user}
# Secrets: PERPS_DATABASE, PERPS_TELEGRAM__TOKEN and what notebooks read; readable by root only.
EnvironmentFile=-/etc/perps-kit/environment
{limits}TimeoutStopSec=30
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=full
"""
TIMER = """[Unit]
Description={what}

[Timer]
{calendar}
AccuracySec=1s
Persistent=true
Unit={unit}

[Install]
WantedBy=timers.target
"""


def values(found: set[int], whole: range) -> str:
    "A field of systemd's calendar."
    return "*" if found >= set(whole) else ",".join(f"{value:02}" for value in sorted(found))


def calendar(planned: Planned, zone: str) -> list[str]:
    "A cron expression in systemd's words: two lines where day and weekday are alternatives; ConfigError where it has no words for it."
    from datetime import UTC, datetime

    from cronsim import CronSim

    cron = CronSim(planned.settings.cron, datetime(2000, 1, 1, tzinfo=UTC))
    last = cron.days == {CronSim.LAST}
    if not all(isinstance(day, int) for day in cron.weekdays) or (min(cron.days) < 0 and not last):
        raise ConfigError(f"jobs.schedule.{planned.name}: systemd cannot say {planned.settings.cron!r}; run it by `perps-kit jobs start`")
    weekdays = {int(day) % 7 for day in cron.weekdays if isinstance(day, int)}
    months, days = values(cron.months, range(1, 13)), "~01" if last else "-" + values(cron.days, range(1, 32))
    clock = f"{values(cron.hours, range(24))}:{values(cron.minutes, range(60))}:00 {zone}"
    week = "" if len(weekdays) == 7 else ",".join(DAYS[day] for day in sorted(weekdays)) + " "
    if cron.day_and:
        return [f"{week}*-{months}{days} {clock}"]
    return [f"*-{months}{days} {clock}", f"{week}*-{months}-* {clock}"]


def quoted(*words: object) -> str:
    "A command line as systemd reads it."
    return " ".join('"' + str(word).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"' for word in words)


def texts(settings: JobsSettings, planned: list[Planned], config: Path, home: Path, user: str, program: str = "") -> dict[str, str]:
    "The unit files by name."
    command = [program] if program else [sys.executable, "-m", "runners"]
    place = dict(home=str(home).replace("%", "%%"), user=user)
    limits = "Restart=on-failure\nRestartSec=5\n"
    whole = quoted(*command, "jobs", "start", "--config", config)
    found = {
        "perps-kit-jobs.service": SERVICE.format(what="The schedule of perps_kit", type="exec", command=whole, limits=limits, **place)
        + "\n[Install]\nWantedBy=multi-user.target\n"
    }
    for p in planned:
        e, name = p.settings, f"{PREFIX}-{p.name}"
        longest = sum(e.timeout + 90 + min(LONGEST, e.retry_wait * 2**k) for k in range(max(e.retries, 1) + 1))
        limits = f"TimeoutStartSec={longest:.0f}\n" + (f"MemoryMax={e.memory + 300}M\n" if e.memory else "")
        once = quoted(*command, "jobs", "once", p.name, "--config", config)
        what = f"perps_kit job {p.name}"
        found[f"{name}.service"] = SERVICE.format(what=what, type="oneshot", command=once, limits=limits, **place)
        lines = "\n".join(f"OnCalendar={line}" for line in calendar(p, settings.timezone))
        found[f"{name}.timer"] = TIMER.format(what=what, calendar=lines, unit=f"{name}.service")
    return found
