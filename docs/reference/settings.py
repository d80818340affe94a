"Every setting, from the model that reads them."

import ast
import inspect
import json
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .tables import code, number, plain, table

ROOT = Path(__file__).resolve().parent.parent.parent
HEAD = ("setting", "type", "default", "variable", "what it is")
NO_WORDS = {  # settings whose line in the model says nothing, since their name does
    "mode": "research and signals publish without accounts, paper keeps accounts, live sends orders, replay is paper on recorded candles",
    "live.confirmed": "the second switch beside `mode: live`; without it nothing starts",
    "database": "address of the database: SQLite by default, `postgresql://user:password@host/name` for PostgreSQL",
    "venue.id": "the exchange, by its name in ccxt",
    "venue.replay": "play recorded candles instead of asking the exchange",
    "venue.replay.start": "first close that is played: a date, a time or milliseconds",
    "venue.replay.end": "last close that is played",
    "venue.replay.pace": "lockstep waits for the service at each close; a number is a factor of real time",
    "venue.replay.attach": "file with the JSON line of a venue that already runs",
    "venue.api_key": "the exchange's key; needed for live orders only, never to be one that may withdraw",
    "venue.secret": "the secret of that key",
    "symbols": "the markets to watch",
    "strategies": "by name, with the parameters that differ from their defaults",
    "gates.muted": "strategies whose signals are decided and kept, and not published",
    "gates.disabled": "strategies that are refused",
    "gates.minimum": "final score of 100 below which nothing is published",
    "accounts.name": "its name on the page, on Telegram and in the database",
    "accounts.sizing": "whether the stop (risk) or a share of the balance (percent) decides the size",
    "accounts.leverage": "of the position, at most",
    "accounts.least_balance": "below which nothing is entered",
    "accounts.most_positions": "open at once",
    "accounts.trades_a_day": "entries of a UTC day",
    "accounts.entries_an_hour": "entries of an hour",
    "memory.policy": "which rules slow a strategy down after losses",
    "telegram.token": "from @BotFather",
    "telegram.api_id": "from my.telegram.org",
    "telegram.api_hash": "from my.telegram.org",
    "http.enabled": "whether page and API are served",
    "http.host": "address to listen on; any but this machine's own asks for `http.api_key`",
    "http.api_key": "what a reader has to show, at least 16 characters",
    "snapshot_every": "cycles from one saved state of the units to the next",
    "timeframe": "of the candles that are asked of the venue; slower strategies are fed from them",
    "jobs.at_once": "jobs that run together",
    "jobs.folder": "where each run leaves its files",
    "jobs.schedule.NAME.parameters": "of the notebook, as `name: value`",
    "jobs.schedule.NAME.retries": "attempts after one that failed",
    "log_level": "what is written to the log",
}


def settings() -> str:
    "Every setting, from the model that reads them."
    from runners.settings import Settings

    text = (
        "# Settings\n\nOne model holds everything that can be set, and these are its fields. A YAML file gives values, the environment "
        "goes over it: the variable of a setting is `PERPS_` and its path in capitals, two underscores for each dot. Lists are given in a "
        "variable as JSON or YAML, such as `PERPS_SYMBOLS='[\"BTCUSDT\"]'`. Secrets are taken from the environment alone: a file that "
        "holds one is refused. An unknown key is an error that names the nearest known one.\n\n    perps-kit doctor --config FILE      # "
        "whether it could start\n    perps-kit run --config FILE\n\nA complete example:\n\n"
        f"```yaml\n{(ROOT / 'docs/examples/paper.yaml').read_text(encoding='utf-8').strip()}\n```\n"
    )
    every = list(fields(Settings))
    text += "\n## The service\n\n" + table(HEAD, [row(one) for one in every if "." not in one["key"] and not one["part"]])
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in every:
        if "." in one["key"] or one["part"]:
            groups.setdefault(one["key"].partition(".")[0], []).append(one)
    for name, found in groups.items():
        listed = found[0]["type"].startswith("list")
        many = f" A list: each entry has these. In a variable it is JSON, `PERPS_{name.upper()}`." if listed else ""
        text += f"\n## {name}\n\n{found[0]['doc']}{many}\n\n" + table(HEAD, [row(one) for one in found if "." in one["key"]])
        text += f"\n```yaml\n{example(name, found, listed)}\n```\n"
    return text


def remarks(model: type) -> dict[str, str]:
    "The comment behind each field of a model, as its source has it."
    lines, _ = inspect.getsourcelines(model)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    found = {}
    for node in getattr(tree.body[0], "body", ()):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.end_lineno:
            found[node.target.id] = lines[node.end_lineno - 1].partition("  # ")[2].strip()
    return found


def fields(model: Any, above: str = "", many: bool = False) -> Iterator[dict[str, Any]]:
    "Every setting with its type, default, variable and meaning; parts of parts follow their part."
    words = remarks(model)
    for name, field in model.model_fields.items():
        key = f"{above}{name}"
        inner = [one for one in (field.annotation, *typing.get_args(field.annotation)) if hasattr(one, "model_fields")]
        listed, named = (bool(inner) and typing.get_origin(field.annotation) is it for it in (tuple, dict))
        default = "" if field.is_required() or inner else field.default
        yield dict(
            key=key,
            type=kind(field.annotation),
            default=default,
            part=bool(inner),
            secret="Secret" in str(field.annotation),
            range=bounds(field),
            variable=f"PERPS_{key.upper().replace('.', '__')}" if not many else "",
            words=NO_WORDS.get(key) or field.description or words.get(name, ""),
            doc=plain((inner[0].__doc__ or "").partition("\n")[0]) if inner else "",
        )
        if inner:
            yield from fields(inner[0], f"{key}.NAME." if named else f"{key}.", many or listed or named)


def kind(annotation: Any) -> str:
    "A type in the words of someone who fills it in."
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin is tuple:
        return f"list of {kind(args[0])}" if Ellipsis in args else "list of " + ", ".join(map(kind, args))
    if origin is dict:
        return f"{kind(args[1])}, by name"
    if args:
        return " or ".join(kind(one) for one in args if one is not type(None))
    plain = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false", "Path": "path", "SecretStr": "secret"}
    return plain.get(getattr(annotation, "__name__", ""), "part")


def bounds(field: Any) -> str:
    "What pydantic holds a number to."
    signs = dict(ge="≥", gt=">", le="≤", lt="<")
    return ", ".join(
        f"{sign} {number(float(value))}"
        for rule in field.metadata
        for name, sign in signs.items()
        if (value := getattr(rule, name, None)) is not None
    )


def row(one: dict[str, Any]) -> tuple[str, ...]:
    default = one["default"]
    shown = (
        ""
        if default is None or default == "" or default == () or default == {} or one["secret"]
        else json.dumps(default, default=str)
        if isinstance(default, (bool, tuple, dict))
        else number(default)
    )
    words = one["words"] or one["doc"]
    return (
        code(one["key"]),
        one["type"],
        code(shown),
        code(one["variable"]),
        f"{words[:1].upper()}{words[1:]}" + f" ({one['range']})" * bool(one["range"]),
    )


def example(name: str, found: list[dict[str, Any]], listed: bool) -> str:
    "The part as YAML with its defaults, so that it changes nothing; secrets stay away."
    import yaml

    tree: Any = {}
    for one in found:
        steps = one["key"].split(".")[1:]
        if len(steps) != 1 or one["secret"] or one["part"] or one["default"] is None or one["default"] == "":
            continue
        value = one["default"]
        tree[steps[0]] = json.loads(json.dumps(value, default=str))
    return yaml.safe_dump({name: [tree] if listed else tree}, sort_keys=False, default_flow_style=None, width=100).strip()
