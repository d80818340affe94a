"""A bad day, ordered by POST /replay/fault {"kind": ..., "count": n, "path": text, "seconds": s}; `path` limits it to requests whose path
holds that text, e.g. "klines" or "order".

html         an HTML page with status 200                 nan          klines with nan prices              repeat     klines with a candle
twice
429, 418     too many requests; banned                    503          refused and not done                503_late   done, but answered 503
late_apply   answered 503, done `seconds` later           timeout      done, never answered                slow       answered `seconds`
later
drop_socket  every WebSocket cut                          mute         data stops, pings go on, for `seconds`
depth_gap    the next depth message breaks the chain      resync       listen keys expire                  clear      no more faults
"""
import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from runners.venue.refusal import Refusal

if TYPE_CHECKING:
    from runners.venue.venue import Venue

ANSWERED = ("html", "nan", "repeat", "429", "418", "503", "503_late", "late_apply", "timeout", "slow")
NOW = ("drop_socket", "mute", "depth_gap", "resync", "clear")
BUSY = {"code": -1008,
        "msg": "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."}
UNKNOWN = {"code": -1000, "msg": "Unknown error, please check your request or try again later."}


async def order_fault(venue: "Venue", fault: dict) -> dict:
    "Take an order for trouble."
    kind, count = str(fault.get("kind", "")), int(fault.get("count", 1))
    if kind not in (*ANSWERED, *NOW): return {"error": f"unknown fault {kind!r}: one of {', '.join((*ANSWERED, *NOW))}"}
    if kind in ANSWERED:
        venue.faults.append({"kind": kind, "count": count, "path": str(fault.get("path", "")), "seconds": float(fault.get("seconds", 1.0))})
    elif kind == "drop_socket": await venue.hub.drop()
    elif kind == "depth_gap": venue.feed.skip_depth += count
    elif kind == "clear": venue.faults.clear()
    elif kind == "resync":
        for account in venue.accounts.values():
            for key in account.listen_keys: venue.tell(account, {"e": "listenKeyExpired", "E": venue.time, "listenKey": key})
            account.listen_keys.clear()
    elif kind == "mute":
        venue.hub.muted = True
        asyncio.get_running_loop().call_later(float(fault.get("seconds", 1.0)), setattr, venue.hub, "muted", False)
    return {"ok": kind}


def next_fault(venue: "Venue", path: str) -> dict | None:
    "The first fault waiting for such a request; used up by being taken."
    for fault in venue.faults:
        if fault["path"] not in path: continue
        fault["count"] -= 1
        if fault["count"] <= 0: venue.faults.remove(fault)
        return fault
    return None


async def play(venue: "Venue", fault: dict, answer: Callable[[], dict | list]) -> web.Response:
    "Answer a request as the fault has it."
    kind = fault["kind"]
    if kind == "html": return web.Response(text="<html><body><h1>System maintenance</h1></body></html>", content_type="text/html")
    if kind in ("429", "418"):
        return web.json_response({"code": -1003, "msg": "Too many requests."}, status=int(kind),
                                 headers={"Retry-After": str(int(fault["seconds"]))})
    if kind == "503": return web.json_response(BUSY, status=503)
    if kind == "late_apply":
        async def later() -> None:
            await asyncio.sleep(fault["seconds"])
            try: answer()
            except Refusal: return
        task = asyncio.get_running_loop().create_task(later())
        venue.late.add(task)
        task.add_done_callback(venue.late.discard)
        return web.json_response(UNKNOWN, status=503)
    if kind == "slow": await asyncio.sleep(fault["seconds"])
    body = answer()
    if kind == "503_late": return web.json_response(UNKNOWN, status=503)
    if kind == "timeout": await asyncio.sleep(3600)
    if kind == "nan" and isinstance(body, list): body = [[row[0], *["NaN"] * 4, *row[5:]] if isinstance(row, list) else row for row in body]
    if kind == "repeat" and isinstance(body, list) and body: body = [*body, body[-1]]
    return web.Response(text=json.dumps(body), content_type="application/json")
