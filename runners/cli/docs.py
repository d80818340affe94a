"`perps-kit docs`: the documentation site, served to this machine."

import sys
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = ROOT / "docs" / "_build" / "html"


def docs(
    port: Annotated[int, typer.Option("--port", "-p", help="Port on 127.0.0.1; 0 takes any free one.", min=0, max=65535)] = 8090,
    browser: Annotated[bool, typer.Option(help="Open the site in a browser.")] = True,
    folder: Annotated[Path | None, typer.Option("--dir", help="A site that was built elsewhere.")] = None,
    build: Annotated[bool, typer.Option("--build", help="Build it first, as `make docs` does.")] = False,
) -> None:
    "Serve the documentation site to this machine, until Ctrl-C."
    from runners.errors import ConfigError

    if build and folder:
        raise ConfigError("--build writes docs/_build/html of the repository: leave --dir away")
    if build:
        built()
    serve(folder or SITE, port, browser)


def built() -> None:
    "Run docs/build.py; ConfigError where its tools are not installed or it fails."
    import subprocess
    from importlib.util import find_spec

    from runners.errors import ConfigError

    script = ROOT / "docs" / "build.py"
    if not script.is_file():
        raise ConfigError("an installed perps_kit has no notebooks to build a site from: clone the repository and run `make docs` there")
    if not all(map(find_spec, ("sphinx", "myst_nb", "pydata_sphinx_theme"))):
        raise ConfigError("the tools that build the site are not installed here: run `make docs`, which sets them up")
    if subprocess.run([sys.executable, str(script)], cwd=ROOT).returncode:
        raise ConfigError("the site was not built: mend what is said above")


def serve(folder: Path, port: int = 8090, browser: bool = True) -> None:
    "Serve a built site until Ctrl-C; ConfigError where there is none, or the port is taken."
    import webbrowser

    server = server_of(folder, port)
    address = f"http://127.0.0.1:{server.server_port}/"
    print(f"{address}  (Ctrl-C ends)", flush=True)
    if browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def server_of(folder: Path, port: int):
    "A server of files for this machine alone."
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    from runners.errors import ConfigError

    class Pages(SimpleHTTPRequestHandler):
        "Files with the types that browsers want, whatever this machine's registry says."

        extensions_map = SimpleHTTPRequestHandler.extensions_map | {
            ".html": "text/html; charset=utf-8",
            ".js": "text/javascript; charset=utf-8",
            ".css": "text/css; charset=utf-8",
            ".json": "application/json",
            ".svg": "image/svg+xml",
            ".woff2": "font/woff2",
            ".txt": "text/plain; charset=utf-8",
            ".ipynb": "application/json",
        }

        def end_headers(self) -> None:
            self.send_header("cache-control", "no-cache")
            super().end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    if not (folder / "index.html").is_file():
        remedy = (
            "run `make docs` to build it"
            if folder == SITE and (ROOT / "Makefile").is_file()
            else "give the folder of a built one with --dir"
        )
        raise ConfigError(f"there is no site at {folder}: {remedy}")
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Pages, directory=str(folder)))
    except OSError as error:
        raise ConfigError(f"port {port} cannot be used ({error.strerror}): take another with --port, or 0 for any free one") from None
