"""What every test shares: signals as programs begin with them, folders in memory, a marker for the exhaustive model."""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.folders import memory

MODEL = Path(__file__).resolve().parent / "model"

# Failing assertions of the storage suite show their values, as those of a test file do, whoever imports it first.
pytest.register_assert_rewrite("perdure.testing.storage_suite")


def pytest_configure() -> None:
    """Let Ctrl-C be heard by the programs that tests start, and let the folders of tests be in memory.

    A shell that starts something in the background has it ignore the interrupt, and whatever that starts inherits this.
    Databases sync at each commit: on a disk, tests would wait for that most of their time, and none could tell.
    """
    place = memory()
    if place is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(place))
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionstart() -> None:
    """Keep pytest itself out of every search for garbage: nothing of it will be any, and there is much of it."""
    gc.freeze()


def pytest_collection_finish() -> None:
    """Keep the tests out of it too: one that lets the collector run would wait for all that the others are."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let Hypothesis be where nobody used it: it would be loaded now, to be asked whether it has something to say."""
    plugins = session.config.pluginmanager
    runs_them_here = session.config.getoption("dist", "no") == "no"
    if runs_them_here and "hypothesis" not in sys.modules and plugins.hasplugin("hypothesispytest"):
        plugins.unregister(name="hypothesispytest")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give everything in tests/model the marker `model`."""
    model = f"{MODEL}{os.sep}"
    for item in items:
        # Of thousands of tests in each process `parents` would be half a second.
        if str(item.path).startswith(model):
            item.add_marker(pytest.mark.model)
