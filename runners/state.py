"What the running service tells of itself: written by the service, read by the page, the terminal and the health checks."

from dataclasses import dataclass, field
from typing import Any

from runners.metrics import Metrics


@dataclass
class ServiceState:
    "One service's present condition. Plain fields: whoever owns the service sets them, everyone else only reads."

    mode: str = "replay"  # research, replay, signals, paper, live
    venue: str = ""
    ready: bool = False  # warm-up done
    missing: list[str] = field(default_factory=lambda: ["start-up"])  # what readiness still waits for, in plain words
    progress: float | None = None  # of a replay: 0..1
    time: int = 0  # the service's clock: close time of the newest cycle, ms
    clock: int = 0  # the wall clock at that cycle, ms
    done: bool = False  # a replay has reached its end
    summary: dict[str, Any] | None = None  # numbers of a finished replay, as its end shows them
    metrics: Metrics = field(default_factory=Metrics)

    def wait_for(self, *missing: str) -> None:
        "Say what readiness waits for; nothing means ready."
        self.missing, self.ready = list(missing), not missing
        self.metrics.ready.set(float(self.ready))
