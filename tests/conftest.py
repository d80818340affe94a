"Fixtures for all tests."
import itertools
import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEDGERS = itertools.count()


def pytest_configure() -> None:
    "Tests see none of the settings of whoever starts them, and what they start can be interrupted."
    for name in [name for name in os.environ if name.startswith("PERPS_")]: del os.environ[name]
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:       # as in a shell's background: what tests start would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_ledger_but_a_new_one(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    "Every test writes its trials into a file of its own, which is made when something is written."
    monkeypatch.delenv("PERPS_LEDGER", raising=False)   # a tool that was imported may have set it
    monkeypatch.setattr("perps_kit.backtest.ledger.USUAL", f"sqlite:///{tmp_path_factory.getbasetemp()}/ledgers/{next(LEDGERS)}.db")


@pytest.fixture(scope="session")
def root() -> Path:
    "The repository."
    return ROOT
