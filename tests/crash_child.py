"The service as a process that may be killed: `crash_child.py SETTINGS.json KEY.pem`. The loopback Telegram has a key of its own."

import asyncio
import json
import sys
from pathlib import Path

from telethon.crypto import rsa

from runners import logs
from runners.run import run
from runners.settings import load

if __name__ == "__main__":
    rsa._server_keys.clear()
    rsa.add_key(Path(sys.argv[2]).read_bytes(), old=False)
    logs.set_up("warning")
    ended = asyncio.run(run(load(environ={}, **json.loads(Path(sys.argv[1]).read_text()))))
    sys.exit(0 if ended.state.done else 3)
