"Who asks: the API key, the HMAC signature, the age of the request."
import hashlib
import hmac
import time as host
from typing import TYPE_CHECKING

from aiohttp import web

from runners.venue.account import Account
from runners.venue.refusal import Refusal, whole

if TYPE_CHECKING:
    from runners.venue.venue import Venue

WINDOW, AHEAD = 5_000, 1_000


def account_of(venue: "Venue", request: web.Request) -> Account:
    "The account of the request's API key."
    key = request.headers.get("X-MBX-APIKEY")
    if not key: raise Refusal(-2014, "API-key format invalid.", 401)
    if key not in venue.accounts: raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return venue.accounts[key]


def check_signature(venue: "Venue", account: Account, payload: str, params: dict[str, str]) -> None:
    """Refuse a wrong signature, or a timestamp that is outside of recvWindow by the host's clock and by the replay's.

    A client signs with its own clock, which lockstep's jumps leave behind; a client that has measured the difference signs with the
    replay's. Both are let in.
    """
    given = params.get("signature")
    if not given: raise Refusal(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    signed = "&".join(part for part in payload.split("&") if not part.startswith("signature="))
    made = hmac.new(account.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(made, given): raise Refusal(-1022, "Signature for this request is not valid.")
    stamp, window = whole(params, "timestamp"), min(60_000, whole(params, "recvWindow", WINDOW) or WINDOW)
    if stamp is None: raise Refusal(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
    if all(stamp > now + AHEAD or now - stamp > window for now in (int(host.time() * 1000), venue.time)):
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
