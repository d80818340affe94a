"What the service counts, in a registry of its own: two services in one process do not mix their numbers."

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    "The service's counters; `/metrics` shows them in Prometheus' text format."

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.cycles = Counter("perps_cycles", "Close times evaluated", registry=own)
        self.candles = Counter("perps_candles", "Closed candles accepted", registry=own)
        self.refusals = Counter("perps_candle_refusals", "Candles refused at the boundary", ["reason"], registry=own)
        self.signals = Counter("perps_signals", "Signals published", ["strategy"], registry=own)
        self.decisions = Counter("perps_decisions", "Evaluations near a signal", ["outcome"], registry=own)
        self.restarts = Counter("perps_task_restarts", "Tasks restarted by the supervisor", ["task"], registry=own)
        self.jobs = Counter("perps_job_attempts", "Attempts at planned jobs that have ended", ["job", "status"], registry=own)
        self.cycle_seconds = Histogram(
            "perps_cycle_seconds", "From the last close of a boundary to its committed decisions", buckets=SECONDS, registry=own
        )
        self.outbox_depth = Gauge("perps_outbox_depth", "Messages waiting to be sent", registry=own)
        self.open_positions = Gauge("perps_open_positions", "Reference trackers that are not closed", registry=own)
        self.data_age = Gauge("perps_data_age_seconds", "Age of the newest closed candle, by the service's clock", registry=own)
        self.ready = Gauge("perps_ready", "1 when warm-up is done", registry=own)

    def text(self) -> bytes:
        "The numbers in Prometheus' text format."
        return generate_latest(self.registry)
