"What a venue's answers say, as values; everything that is no such answer is refused here."

from typing import Any, NamedTuple

from perps_kit.core.bar import DataError

STATES = {
    "NEW": "open",
    "PARTIALLY_FILLED": "open",
    "TRIGGERING": "open",
    "TRIGGERED": "open",
    "FILLED": "filled",
    "FINISHED": "filled",
    "CANCELED": "cancelled",
    "EXPIRED": "cancelled",
    "EXPIRED_IN_MATCH": "cancelled",
    "REJECTED": "rejected",
}
TWICE, UNCHANGED, TOO_LATE = "-4116", "-4046", "-2021"  # Binance's codes


class Seen(NamedTuple):
    "An order as the venue has it; `absent` where it knows none of that name."

    state: str  # open, filled, cancelled, rejected, unknown, absent
    venue_id: str = ""
    filled: float = 0.0
    average: float | None = None
    number: str = ""  # of the order whose trades these are: a stop's own once it has been triggered
    error: str = ""


class Trade(NamedTuple):
    "One fill."

    id: str
    number: str  # the order's
    side: int
    price: float
    quantity: float
    fee: float
    time: int


class Balance(NamedTuple):
    "What an account is worth and holds."

    equity: float
    held: dict[str, float]  # signed quantity by symbol


def trouble() -> tuple[type[BaseException], ...]:
    "Everything that a request to the venue can end in; imported late, because ccxt is large."
    import ccxt

    return (TimeoutError, OSError, DataError, ccxt.BaseError)


def read(answer: Any, *fields: str) -> dict[str, Any]:
    "An answer with these fields; DataError for an HTML page or anything else that is no such thing."
    if not isinstance(answer, dict) or any(f not in answer for f in fields):
        raise DataError(f"the venue sent something else than {', '.join(fields)}: {str(answer)[:60]!r}")
    return answer
