"Compiled loops are kept inside the project, so that the second run of the tests compiles nothing."
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def loops() -> None:
    os.environ["PERPS_CACHE"] = str(Path(__file__).resolve().parents[2] / ".cache" / "loops")
