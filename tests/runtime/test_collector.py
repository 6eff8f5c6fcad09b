"""Python searches for garbage less often while a worker is open, unless the program has said how often it shall."""

import gc

import pytest

from perdure import Registry, Runtime
from perdure._runtime.collector import COLLECT_AFTER, OLDER_AFTER

OF_PYTHON = (700, 10, 10)
OF_THE_PROGRAM = (5_000, 20, 20)


@pytest.fixture(autouse=True)
def thresholds():
    before = gc.get_threshold()
    gc.set_threshold(*OF_PYTHON)
    yield
    gc.set_threshold(*before)


async def test_it_is_spared_while_a_worker_is_open():
    async with Runtime("memory://", Registry()):
        assert gc.get_threshold() == (COLLECT_AFTER, OLDER_AFTER, OLDER_AFTER)

    assert gc.get_threshold() == OF_PYTHON


async def test_until_the_last_worker_closes():
    async with Runtime("memory://", Registry()):
        async with Runtime("memory://", Registry()):
            pass
        assert gc.get_threshold()[0] == COLLECT_AFTER

    assert gc.get_threshold() == OF_PYTHON


async def test_what_the_program_has_set_is_left():
    gc.set_threshold(*OF_THE_PROGRAM)

    async with Runtime("memory://", Registry()):
        assert gc.get_threshold() == OF_THE_PROGRAM

    assert gc.get_threshold() == OF_THE_PROGRAM


async def test_what_it_sets_meanwhile_is_left_too():
    async with Runtime("memory://", Registry()):
        gc.set_threshold(*OF_THE_PROGRAM)

    assert gc.get_threshold() == OF_THE_PROGRAM


async def test_a_worker_that_can_not_open_leaves_it_as_it_was(tmp_path):
    folder = tmp_path / "is-no-file.db"
    folder.mkdir()

    with pytest.raises(Exception, match=folder.name):
        async with Runtime(folder, Registry()):
            pass

    assert gc.get_threshold() == OF_PYTHON
