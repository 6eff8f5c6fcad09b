"""A commit that broke off, and is there all the same, is known by what it has written."""

import apsw
import pytest

from perdure._work import Batch, StartInstance
from perdure.storage.sqlite.tokens import LastCommits
from perdure.testing.storage_suite.world import task

TOKEN = b"16 bytes, broken"


@pytest.fixture
def execute(world):
    """Runs statements on the store, as it does itself."""
    connection = apsw.Connection(world.storage.path)
    yield connection.execute
    connection.close()


def _before(worker) -> LastCommits:
    """What is known of a worker whose last commit so far came back, and changed nothing."""
    commits = LastCommits()
    commits.came_back(worker.number, b"of nothing", marked=False)
    return commits


def test_one_turn_is_known_by_its_events(world, execute):
    # given
    worker = world.worker()
    turn = worker.first_turn(world.new("order"), tasks=(task(2, local=True),))
    commits = _before(worker)
    # when
    commits.broke_off(worker.number, TOKEN, turn)
    # then
    assert commits.is_last(execute, worker.number, TOKEN) is False
    assert commits.is_last(execute, worker.number, b"of nothing") is True
    # when it is there
    world.storage.commit(Batch(token=TOKEN, items=(turn,), worker=worker.number))
    # then
    assert commits.is_last(execute, worker.number, TOKEN) is True
    assert commits.is_last(execute, worker.number, b"of nothing") is False


def test_one_turn_that_began_what_was_deleted_since_counts_as_landed(world, execute):
    # given
    worker = world.worker()
    new = world.new("order")
    turn = worker.first_turn(new, tasks=(task(2, local=True),))
    world.start("older", incarnation=new.incarnation - 1)
    world.delete("older", force=True)
    commits = _before(worker)
    commits.broke_off(worker.number, TOKEN, turn)
    assert commits.is_last(execute, worker.number, TOKEN) is False
    # when
    world.storage.commit(Batch(token=TOKEN, items=(turn,), worker=worker.number))
    world.delete("order", force=True)
    # then
    assert commits.is_last(execute, worker.number, TOKEN) is True


def test_one_turn_that_went_on_with_what_was_deleted_since_does_not(world, execute):
    # given
    worker = world.worker()
    worker.own("order")
    turn = worker.turn("order")
    commits = _before(worker)
    commits.broke_off(worker.number, TOKEN, turn)
    # when
    world.delete("order", force=True)
    # then
    assert commits.is_last(execute, worker.number, TOKEN) is False


def test_everything_else_is_known_by_the_token_on_the_worker_s_row(world, execute):
    # given
    worker = world.worker()
    commits = _before(worker)
    # when
    commits.broke_off(worker.number, TOKEN, None)
    # then
    assert commits.is_last(execute, worker.number, TOKEN) is False
    assert commits.is_last(execute, worker.number, b"of nothing") is True
    # when it is there
    start = StartInstance(new=world.new("order"))
    world.storage.commit(Batch(token=TOKEN, items=(start,), worker=worker.number))
    # then
    assert commits.is_last(execute, worker.number, TOKEN) is True
    assert commits.is_last(execute, worker.number, b"of nothing") is False


def test_what_broke_off_is_forgotten_once_another_came_back(world, execute):
    # given one turn that is there
    worker = world.worker()
    turn = worker.first_turn(world.new("order"), tasks=(task(2, local=True),))
    world.storage.commit(Batch(token=TOKEN, items=(turn,), worker=worker.number))
    commits = _before(worker)
    commits.broke_off(worker.number, TOKEN, turn)
    # when
    commits.came_back(worker.number, b"of another", marked=False)
    # then
    assert commits.is_last(execute, worker.number, TOKEN) is False
    assert commits.is_last(execute, worker.number, b"of another") is True


def test_of_a_worker_without_a_row_nothing_is_known(world, execute):
    # given
    worker = world.worker()
    commits = _before(worker)
    # when
    world.storage.unregister(worker.number)
    # then
    assert commits.is_last(execute, worker.number, b"of nothing") is None
