"""What the tests of Toygres share: a site that may be reached by whoever runs PostgreSQL, and control planes on it."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from examples.toygres.resources import Site
from tests.folders import memory
from tests.toygres.planes import RESULT_S, Plane, processes_of


def pytest_collection_modifyitems(items):
    """Give what works on real servers the time that a busy machine may need."""
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(RESULT_S * 2))


@pytest.fixture(scope="module")
def shared_site():
    yield from _site()


@pytest.fixture
def site():
    yield from _site()


@pytest.fixture
def plane(site):
    plane = Plane(site)
    yield plane
    plane.kill()


def _site():
    # Not pytest's own folder, which other users can't pass through, and PostgreSQL runs as one where these run as root.
    folder = Path(tempfile.mkdtemp(prefix="toygres-", dir=memory())).resolve()
    folder.chmod(0o755)
    try:
        yield Site(folder, durable=False)
    finally:
        left = processes_of(folder)
        for process in left:
            # One may end by itself meanwhile, as those of a server do when it does.
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left)
        shutil.rmtree(folder)
