"""Takes the README's picture: the page during the demo, with two positions open.

    .envs/dev/bin/python tools/picture.py

It plays the demo until the moment below, holds the venue still while a browser (chromium) looks, and writes docs/images/page.png.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

from perps_kit.core.clock import parse_time

ROOT = Path(__file__).resolve().parent.parent
MOMENT, SYMBOL, PORT = parse_time("2026-10-09T15:15"), "XRPUSDT", 8765
ADDRESS = f"http://127.0.0.1:{PORT}"


def told(path: str) -> list[dict]:
    with urlopen(ADDRESS + path, timeout=5) as answer: return json.load(answer)


def wait_for_moment(demo: subprocess.Popen) -> None:
    while demo.poll() is None:
        time.sleep(0.02)
        try:
            if told("/equity?limit=20000")[-1]["time"] >= MOMENT: return
        except (OSError, IndexError): pass
    sys.exit(f"picture: the demo ended before the moment; is port {PORT} free?")


def main() -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not chromium: sys.exit("picture: a browser is needed (apt-get install chromium)")
    command = [sys.executable, "-m", "runners", "demo", "--exit", "--speed", "20", "--port", str(PORT)]
    demo = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    venues: list[int] = []
    try:
        wait_for_moment(demo)
        children = subprocess.run(["pgrep", "-P", str(demo.pid)], capture_output=True, text=True, check=True).stdout
        venues = [int(pid) for pid in children.split()]
        for pid in venues: os.kill(pid, signal.SIGSTOP)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1400, "height": 1160}, color_scheme="light")
            page.goto(f"{ADDRESS}/#{SYMBOL}")
            page.locator("#title", has_text=SYMBOL).wait_for()
            page.wait_for_timeout(1500)
            target = ROOT / "docs" / "images" / "page.png"
            target.parent.mkdir(exist_ok=True)
            page.screenshot(path=target)
            print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")
    finally:
        for pid in venues: os.kill(pid, signal.SIGCONT)
        demo.send_signal(signal.SIGINT)
        demo.wait(30)


if __name__ == "__main__":
    main()
