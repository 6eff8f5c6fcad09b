"""A commit may bring more rows of a kind than one statement takes."""

import pytest

from perdure._work import APPLIED, InstanceRelease, Refusal, Refused, StartInstance
from perdure.storage.sqlite import SqliteStorage
from perdure.storage.sqlite.statements import RowStatement
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.world import World, task

MANY = 1_300


@pytest.fixture
def world(tmp_path):
    clock = ManualClock()
    storage = SqliteStorage(tmp_path / "store.db", clock=clock, durability="normal")
    yield World(storage, clock, lambda: storage)
    storage.close()


def start_many(world):
    """The ids of many instances that were started together."""
    names = [f"i{number}" for number in range(MANY)]
    outcomes = world.client(*(StartInstance(new=world.new(name)) for name in names))
    assert outcomes == (APPLIED,) * MANY
    return names


def test_a_turn_adds_and_removes_many_tasks_and_timers(world):
    worker = world.worker()
    worker.own("order")
    events = range(2, 2 + MANY)
    worker.run("order", tasks=tuple(task(event) for event in events), timers=tuple((event, 0) for event in events))
    worker.run("order", tasks_gone=tuple(events[1:]), timers_gone=tuple(events[:-1]))
    work = worker.claim()
    assert [each.event for each in work.tasks] == [events[0]]
    assert [message.timer.source for each in work.instances for message in each.messages] == [events[-1]]


def test_many_started_together_go_on_together(world):
    worker = world.worker()
    names = start_many(world)
    assert len(worker.claim(instances=MANY).instances) == MANY
    for _ in range(2):
        assert worker.commit(*map(worker.turn, names)).outcomes == (APPLIED,) * MANY
    assert {world.record(name).last_event for name in names} == {2}


def test_each_of_many_is_judged_on_its_own(world):
    worker = world.worker()
    names = start_many(world)
    owned = {each.record.id for each in worker.claim(instances=MANY - 2).instances}
    outcomes = worker.commit(*(InstanceRelease(incarnation=world.record(name).incarnation) for name in names)).outcomes
    not_owner = Refused(reason=Refusal.NOT_OWNER)
    assert outcomes == tuple(APPLIED if name in owned else not_owner for name in names)


def test_a_statement_without_a_row_is_refused():
    with pytest.raises(ValueError, match="'begin' has no row of VALUES"):
        RowStatement("begin")
