"""One frozen model of everything that can be set, read once at the edge: a YAML file, then the environment over it.

Secrets (Telegram token, exchange keys, API key, database password) come from the environment only; a file that holds one is refused.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from perps_kit.core.clock import MINUTE, minutes_of, parse_time
from perps_kit.risk.account import Terms
from perps_kit.risk.memory import POLICIES, Policy
from runners.errors import ConfigError
from runners.http.settings import HttpSettings
from runners.jobs.settings import JobsSettings

PREFIX = "PERPS_"
SECRETS = ("token", "api_key", "api_hash", "secret", "password")


class Part(BaseModel):
    "Every part of the settings: frozen, and unknown keys are errors."

    model_config = ConfigDict(frozen=True, extra="forbid")


class Replay(Part):
    "A venue that plays recorded candles over an exchange's wire format, on this machine."

    data: Path | None = None  # folder or file of candles; none: the sample data
    start: int | None = None  # first close that is played; a date, a time or milliseconds
    end: int | None = None
    pace: Literal["lockstep"] | float = "lockstep"  # or a factor of real time
    attach: Path | None = None  # the JSON line of a venue that already runs, in a file

    @field_validator("start", "end", mode="before")
    @classmethod
    def times(cls, value: Any) -> Any:
        return parse_time(str(value)) if value is not None else None


class Venue(Part):
    "The exchange: a ccxt id, or a replay that speaks its format."

    id: str = "binanceusdm"
    replay: Replay | None = None
    api_key: SecretStr = SecretStr("")
    secret: SecretStr = SecretStr("")
    timeout: float = Field(default=10.0, gt=0, le=120)  # seconds for any answer
    settle: float | None = Field(default=None, ge=0, le=120)  # seconds in which an unanswered request may still be done; none: the venue's


class Gates(Part):
    "Settings of the signal pipeline (quant_spec D)."

    muted: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    sessions: tuple[tuple[int, int], ...] = ()  # minutes of the UTC day, for every strategy
    hours: dict[str, tuple[tuple[int, int], ...]] = {}  # for one strategy by name, in their place
    minimum: float = Field(default=60.0, ge=0, le=100)
    weigh: bool = True  # whether regime, leader, trends, flow and evidence are asked
    minimums: dict[str, float] = {}  # final score of one strategy by name
    leader: str = "BTCUSDT"  # the market that the others follow; "": none
    on_opposite: Literal["reject", "close", "flip"] = "reject"  # what a signal against an open one does


class AccountSettings(Part):
    "An account that follows the published signals."

    name: str = "paper"
    balance: float = Field(default=10_000.0, gt=0)  # of a paper account, in quote currency
    risk: float = Field(default=0.01, gt=0, le=0.1)  # part of the equity that a full loss costs
    most_risk: float = Field(default=0.02, gt=0, le=0.1)  # whatever multiplies it
    sizing: Literal["risk", "percent"] = "risk"
    share: float = Field(default=0.05, gt=0, le=1)  # with sizing percent: part of the equity that becomes the margin
    leverage: int = Field(default=10, ge=1, le=20)
    most_notional: float = Field(default=1.0, gt=0, le=1)  # value of a position, times equity and leverage
    most_margin: float = Field(default=0.25, gt=0, le=1)  # margin of a position, of the free balance
    least_balance: float = Field(default=50.0, ge=0)
    adaptive: bool = False  # whether wins raise and losses lower the size
    reward: bool = False  # whether regime and score move the targets
    most_positions: int = Field(default=5, ge=1)
    daily_loss: float = Field(default=0.03, gt=0, le=1)  # from the equity at 00:00 UTC
    drawdown: float = Field(default=0.15, gt=0, le=1)  # from the highest equity; then the account is halted until it is resumed
    open_risk: float = Field(default=0.05, gt=0, le=1)  # of all positions together
    trades_a_day: int = Field(default=10, ge=1)
    entries_an_hour: int = Field(default=3, ge=1)
    between: float = Field(default=15.0, ge=0, le=60)  # minutes between two entries of a symbol
    classes: tuple[Literal["LOW", "MEDIUM", "HIGH"], ...] = ("LOW", "MEDIUM", "HIGH")  # risk classes that it takes
    correlation: bool = True  # whether positions that move together are refused

    @property
    def terms(self) -> Terms:
        "The same as the risk rules read it."
        values: dict[str, Any] = {name: getattr(self, name) for name in Terms._fields if name in type(self).model_fields}
        return Terms(**{**values, "between": int(self.between * MINUTE)})


class MemorySettings(Part):
    "The adaptive memory of the published signals (quant_spec F1)."

    policy: Literal["memory_s2", "off"] = "memory_s2"
    strategies: tuple[str, ...] | None = None  # those that it learns from and binds; none: the policy's own
    most: int = Field(default=5, ge=1)  # signals of them a day

    @property
    def terms(self) -> Policy:
        "The same as the memory reads it."
        policy = POLICIES[self.policy]
        wished = policy.strategies if self.strategies is None or self.policy == "off" else self.strategies
        return policy._replace(strategies=wished, most=min(policy.most, self.most))


class Telegram(Part):
    "The bot; without a token, messages go to the page and the terminal."

    token: SecretStr = SecretStr("")
    api_id: int = 0
    api_hash: SecretStr = SecretStr("")
    session: Path = Path("var/telegram.session")  # the login, sealed with the token
    server: tuple[int, str, int] | None = None  # data centre, host and port instead of Telegram's own


class Live(Part):
    "The second switch: `mode: live` alone trades nothing."

    confirmed: bool = False


class Settings(Part):
    "Everything that the service can be told."

    mode: Literal["research", "replay", "signals", "paper", "live"] = "paper"
    live: Live = Live()
    database: str = "sqlite:///var/perps.db"
    venue: Venue = Venue()
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    timeframe: str = "15m"
    strategies: dict[str, dict[str, float]] = {"ema_scalper": {}}
    gates: Gates = Gates()
    memory: MemorySettings = MemorySettings()
    calibration: Path | None = None  # what `perps-kit evaluate --calibrate` wrote: a probability beside each score
    accounts: tuple[AccountSettings, ...] = (AccountSettings(),)
    telegram: Telegram = Telegram()
    http: HttpSettings = HttpSettings()
    jobs: JobsSettings = JobsSettings()
    warmup: int = Field(default=12_800, ge=300)  # bars of history before the first evaluation
    origin: int | None = None  # first bar that the averages see; none: `warmup` bars before the start
    patience: float = Field(default=10.0, gt=0)  # seconds that a cycle waits for its last symbol
    max_lag: float = Field(default=60.0, gt=0)  # seconds after which a close is too old to act on
    stale: float = Field(default=90.0, gt=0)  # seconds without any message before the stream is distrusted
    snapshot_every: int = Field(default=24, ge=1)  # cycles
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("timeframe")
    @classmethod
    def known_timeframe(cls, value: str) -> str:
        minutes_of(value)
        return value

    @field_validator("origin", mode="before")
    @classmethod
    def time(cls, value: Any) -> Any:
        return parse_time(str(value)) if value is not None else None

    @model_validator(mode="after")
    def two_switches(self) -> "Settings":
        if self.mode == "live" and not self.live.confirmed:
            raise ValueError("mode live trades real money and needs a second switch: set PERPS_LIVE__CONFIRMED=true as well")
        return self

    @property
    def minutes(self) -> int:
        return minutes_of(self.timeframe)


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    "Settings from a YAML file, the environment (`PERPS_VENUE__TIMEOUT=20`) and arguments, the later over the earlier; else ConfigError."
    import os

    tree = read_yaml(path) if path else {}
    refuse_secrets(tree, path)
    for name, value in (os.environ if environ is None else environ).items():
        if name.startswith(PREFIX) and name not in ("PERPS_CACHE", "PERPS_LEDGER"):
            put(tree, name[len(PREFIX) :].lower().split("__"), value)
    tree = merged(tree, given)
    try:
        return Settings.model_validate(tree)
    except ValidationError as wrong:
        raise ConfigError("; ".join(sentence(problem) for problem in wrong.errors()[:3])) from None


def read_yaml(path: Path) -> dict[str, Any]:
    "The tree of a YAML file."
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {str(error).splitlines()[0]}") from None
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold names and values, such as 'mode: paper'")
    return tree or {}


def refuse_secrets(tree: dict[str, Any], path: Path | None, above: str = "") -> None:
    "A secret in a file ends in a repository sooner or later."
    for name, value in tree.items():
        where = f"{above}{name}"
        if isinstance(value, dict):
            refuse_secrets(value, path, f"{where}.")
        elif name == "database" and re.search(r"://[^/@\s]*:[^/@\s]+@", str(value)):
            raise ConfigError(f"{path} holds the database's password: take the address out and set the environment variable PERPS_DATABASE")
        elif name in SECRETS and value and ".parameters." in where:
            raise ConfigError(
                f"{path} holds the secret {where}, and parameters are written into a job's output: let the notebook read the environment"
            )
        elif name in SECRETS and value:
            variable = PREFIX + where.upper().replace(".", "__")
            raise ConfigError(f"{path} holds the secret {where}: take it out and set the environment variable {variable}")


def put(tree: dict[str, Any], where: list[str], value: str) -> None:
    "Write a value of the environment to its place; lists and maps are given as YAML or JSON."
    for name in where[:-1]:
        tree = tree.setdefault(name, {})
    tree[where[-1]] = yaml.safe_load(value) if value[:1] in "[{" else value


def merged(a: dict[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    "b over a, part by part; None in b leaves a."
    both = dict(a)
    for name, value in b.items():
        if isinstance(value, Mapping):
            both[name] = merged(both[name] if isinstance(both.get(name), dict) else {}, value)
        elif value is not None:
            both[name] = value
    return both


def sentence(problem: Any, of: type[BaseModel] | None = None) -> str:
    "One sentence of a validation error of a model, with the nearest known name for a misspelt one."
    where = ".".join(map(str, problem["loc"])) or "settings"
    if problem["type"] == "extra_forbidden":
        model: Any = of or Settings
        for step in problem["loc"][:-1]:
            field = model.model_fields.get(step) if isinstance(step, str) else None
            parts = (field.annotation, *get_args(field.annotation)) if field else ()
            model = next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), model)
        near = get_close_matches(str(problem["loc"][-1]), model.model_fields, 1, 0.5)
        return f"unknown setting {where!r}" + (f": did you mean {near[0]!r}?" if near else f": there are {', '.join(model.model_fields)}")
    message = problem["msg"].removeprefix("Value error, ")
    return f"setting {where!r}: {message}" if problem["loc"] else message
