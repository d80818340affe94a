"Logs: readable on a terminal, JSON lines otherwise, and never a secret in them."

import json
import logging
import re
import sys
from datetime import UTC, datetime

HIDDEN = re.compile(
    r"(?i)((?:token|secret|signature|api[-_]?key|password|listenkey)[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,}]{4,}"  # a name and its value
    r"|\b\d{6,12}:[A-Za-z0-9_-]{30,}\b"  # a bot's token
    r"|://([^/\s:@]+):[^@\s/]+@"  # a user's password in an address
)


def redacted(text: str) -> str:
    "The text without tokens, keys, signatures and passwords."
    return HIDDEN.sub(lambda m: f"{m.group(1)}***" if m.group(1) else f"://{m.group(2)}:***@" if m.group(2) else "***", text)


class Redact(logging.Filter):
    "Rewrites each record before any handler sees it."

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return True


class Json(logging.Formatter):
    "One JSON object a line."

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = dict(time=time, level=record.levelname.lower(), logger=record.name, message=record.getMessage())
        if record.exc_text:
            line["error"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str = "info", terminal: bool | None = None) -> None:
    "Send the program's logs to stderr, in the form that fits it."
    terminal = sys.stderr.isatty() if terminal is None else terminal
    if terminal:
        from rich.logging import RichHandler

        handler: logging.Handler = RichHandler(show_path=False, rich_tracebacks=False, log_time_format="%H:%M:%S")
        handler.setFormatter(logging.Formatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(Json())
    handler.addFilter(Redact())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("alembic", "httpx", "httpcore", "telethon", "aiosqlite", "uvicorn", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
