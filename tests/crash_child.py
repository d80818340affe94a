"""Services as processes that may be killed, each forked from one that has done the imports: `crash_child.py SETTINGS.json KEY.pem`.

A line on stdin starts one; its process id is answered at once, and how it ended when it has. The loopback Telegram has a key of its own.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import ccxt.pro  # noqa: F401  what a service would import
from telethon.crypto import rsa

from runners import logs
from runners.run import run
from runners.settings import load


def serve() -> int:
    "A whole service, from its settings to the end of the replay."
    rsa._server_keys.clear()
    rsa.add_key(Path(sys.argv[2]).read_bytes(), old=False)
    logs.set_up("warning")
    ended = asyncio.run(run(load(environ={}, **json.loads(Path(sys.argv[1]).read_text()))))
    return 0 if ended.state.done else 3


if __name__ == "__main__":
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(serve())
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
