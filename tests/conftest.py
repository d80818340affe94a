"Fixtures for all tests."
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    "Tests see none of the settings of whoever starts them."
    for name in [name for name in os.environ if name.startswith("PERPS_")]: del os.environ[name]


@pytest.fixture(scope="session")
def root() -> Path:
    "The repository."
    return ROOT
