"""What every test shares: the signals that a program begins with, and a marker for the exhaustive model."""

import signal
from pathlib import Path

import pytest

MODEL = Path(__file__).resolve().parent / "model"

# Failing assertions of the storage suite show their values, as those of a test file do, whoever imports it first.
pytest.register_assert_rewrite("perdure.testing.storage_suite")


def pytest_configure() -> None:
    """Let Ctrl-C be heard by the programs that tests start.

    A shell that starts something in the background has it ignore the interrupt, and whatever that starts inherits this.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give everything in tests/model the marker `model`."""
    for item in items:
        if MODEL in item.path.parents:
            item.add_marker(pytest.mark.model)
