"""Removed rows that somebody keeps: claims don't walk over them again and again, and miss nothing for long."""

import asyncio

import pytest

from perdure._types import Status
from perdure._work import COMING, Deliver, InstanceChange, Suspend, TaskRelease, TaskRetry
from perdure.storage.postgres import PostgresStorage
from perdure.storage.postgres.fronts import IN_FLIGHT_US, WHOLE_LOOK_US
from perdure.storage.postgres.horizon import AGE_MIN
from perdure.testing import ManualClock
from perdure.testing.storage_suite.world import SECOND, World, about, events, ids, task
from tests.storage.postgres.test_long_snapshots import SNAPSHOT, TRANSACTIONS

KEPT = 50_000
BLOCKS_MAX = 500
"""Pages that all commits of an instance may read together; one claim over all that is kept reads thousands."""

OVER = InstanceChange(status=Status.COMPLETED, output=b"{}")

# What is kept fell due some time ago, or would fall due in a while.
KEEP = (
    "INSERT INTO messages (incarnation, due_at, body) SELECT -g, %(now)s - g * 1000, '' FROM %(numbers)s",
    "INSERT INTO timers SELECT -g, 1, 2, %(now)s + (g %% 2 * 2 - 1) * (g * 1000 + 100000000) FROM %(numbers)s",
    """
    INSERT INTO tasks (incarnation, execution, event, name, input, scheduled_at, due_at, delayed, deadline)
    SELECT -g, 1, 2, 'charge', '', %(now)s - g * 1000, %(now)s - g * 1000, g %% 4 = 0,
        %(now)s + (g %% 2 * 2 - 1) * (g * 1000 + 100000000)
    FROM %(numbers)s
    """,
    "DELETE FROM messages",
    "DELETE FROM timers",
    "DELETE FROM tasks",
    # Activities that run meanwhile.
    """
    INSERT INTO tasks (incarnation, execution, event, owner, name, input, scheduled_at, due_at)
    SELECT -g, 1, 2, 1, 'charge', '', 1, 1 FROM generate_series(1, 100) AS g
    """,
)
NUMBERS = f"generate_series(1::bigint, {KEPT}) AS g"


# What the server reads when it cleans by itself would be counted, too.
LEAVE_ALONE = """
ALTER TABLE instances SET (autovacuum_enabled = false);
ALTER TABLE history SET (autovacuum_enabled = false);
ALTER TABLE messages SET (autovacuum_enabled = false);
ALTER TABLE timers SET (autovacuum_enabled = false);
ALTER TABLE tasks SET (autovacuum_enabled = false);
"""
REMOVED = "SELECT SUM(n_dead_tup)::bigint FROM pg_stat_user_tables WHERE schemaname = 'kept'"
BLOCKS = """
SELECT SUM(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint
FROM pg_statio_user_tables WHERE schemaname = 'kept'
"""


class Place:
    """A schema in which somebody keeps what is removed."""

    def __init__(self, server, schema, connection):
        self._url = server.url(schema=schema)
        self.clock = ManualClock()
        self.connection = connection
        PostgresStorage(self._url, clock=self.clock).close()
        connection.execute("SELECT set_config('search_path', %s, false)", [schema])
        connection.execute("SELECT set_config('test.many', %s, false)", [str(AGE_MIN)])
        connection.execute(TRANSACTIONS)

    def open(self):
        """A world of its own, as each gives the same numbers to its instances."""
        self.connection.execute("DELETE FROM instances; DELETE FROM history")
        storage = PostgresStorage(self._url, clock=self.clock)
        return World(storage, self.clock, lambda: PostgresStorage(self._url, clock=self.clock))

    def ask(self, question):
        """One number."""
        return self.connection.execute(question).fetchone()[0]


@pytest.fixture(scope="module")
def kept(server):
    """A store in which somebody keeps many removed rows."""
    with server.connect() as other, server.connect() as connection:
        other.execute(SNAPSHOT)
        place = Place(server, "kept", connection)
        connection.execute(LEAVE_ALONE)
        for statement in KEEP:
            connection.execute((statement % {"now": place.clock.now_us(), "numbers": NUMBERS}).encode())
        # As the server does by itself: plans are then made for tables that are said to be empty.
        connection.execute("VACUUM ANALYZE messages, timers, tasks")
        while place.ask(REMOVED) < 3 * KEPT:
            pass
        place.clock.advance(2 * IN_FLIGHT_US)
        yield place
        connection.execute("DROP SCHEMA kept CASCADE")


@pytest.fixture
def world(kept):
    """A world whose workers know of what is kept."""
    world = kept.open()
    yield world
    world.storage.close()


@pytest.fixture
def worker(world):
    """One that has looked at everything just now."""
    return _register(world)


def _register(world):
    worker = world.worker(lease_us=1_000 * SECOND)
    worker.storage.reap(worker.number)
    assert worker.claim().instances == ()
    return worker


def _blocks_read(kept, many):
    """How many pages a worker reads that starts and ends so many instances, one after the other."""
    before = kept.ask(BLOCKS)
    world = kept.open()
    worker = _register(world)
    for number in range(many):
        name = f"steady-{number}"
        world.start(name)
        worker.take(name)
        worker.run(name, tasks=(task(2),), timers=((3, kept.clock.now_us() + SECOND),))
        worker.take_task(2)
        worker.run(name, tasks_gone=(2,), timers_gone=(3,), change=OVER)
        kept.clock.advance(SECOND // 1_000)
    world.storage.close()
    # A session has told of all that it read when it has ended.
    while kept.ask("SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'perdure'"):
        pass
    return kept.ask(BLOCKS) - before


def test_claims_read_no_more_for_all_that_is_kept(kept):
    few, many = (_blocks_read(kept, each) for each in (5, 15))
    assert (many - few) / 10 <= BLOCKS_MAX


def test_an_event_of_a_transaction_that_was_open_for_long_is_found_within_a_second(server, world, worker):
    worker.own("late")
    with server.connect() as connection:
        connection.autocommit = False
        _join(world, connection, Deliver(to_id="late", body=b"late"))
        world.clock.advance(2 * IN_FLIGHT_US)
        assert ids(worker.claim()) == []
        connection.commit()
    world.clock.advance(WHOLE_LOOK_US)
    assert ids(worker.claim()) == ["late"]
    worker.run("late", change=OVER)


def test_what_another_worker_gives_back_is_found_within_a_second(world, worker):
    other = world.worker("other")
    other.own("given back")
    world.deliver("given back", b"event")
    world.clock.advance(2 * IN_FLIGHT_US)
    assert ids(worker.claim()) == []
    world.storage.unregister(other.number)
    world.clock.advance(WHOLE_LOOK_US)
    assert ids(worker.claim()) == ["given back"]
    worker.run("given back", change=OVER)


def test_what_a_claim_had_no_room_for_comes_with_the_next(world, worker):
    names = [f"one of many {number}" for number in range(7)]
    for name in names:
        world.start(name)
    world.clock.advance(2 * IN_FLIGHT_US)
    claimed = []
    for _ in range(4):
        assert worker.claim(instances=0, tasks=0).more is (len(claimed) < 7)
        found = ids(worker.claim(instances=2))
        claimed += found
        for name in found:
            worker.run(name, change=OVER)
    assert claimed == names


def test_a_message_that_nobody_has_taken_in_comes_again(world, worker):
    worker.own("slow")
    world.deliver("slow", b"event")
    for _ in range(3):
        world.clock.advance(2 * WHOLE_LOOK_US // 3)
        assert ids(worker.claim()) == ["slow"]
    worker.run("slow", change=OVER)


def test_tasks_come_in_order_of_priority_also_if_one_is_new(world, worker):
    worker.own("prioritized")
    worker.run("prioritized", tasks=tuple(task(2 + n, priority=n % 3) for n in range(9)))
    world.clock.advance(2 * IN_FLIGHT_US)
    assert events(worker.claim(tasks=2)) == [4, 7]
    worker.run("prioritized", tasks=(task(20, priority=7), task(21, priority=1), task(22, priority=-1)))
    assert events(worker.claim(tasks=3)) == [20, 10, 3]
    assert events(worker.claim(tasks=0)) == []
    assert events(worker.claim()) == [6, 9, 21, 2, 5, 8, 22]
    worker.run("prioritized", change=OVER)


def test_a_task_that_is_put_off_and_one_that_waits_in_vain_are_claimed_at_their_time(world, worker):
    worker.own("put off")
    worker.run("put off", tasks=(task(2), task(3, name="nobody's", schedule_to_start_us=SECOND // 4)))
    claimed = worker.take_task(2)
    worker.do(about(TaskRetry, claimed, attempt=2, last_error=b"error", delay_us=SECOND // 2))
    assert worker.claim().next_due <= world.clock.now_us() + SECOND // 2
    world.clock.advance(SECOND // 4)
    assert events(worker.claim()) == [3]
    world.clock.advance(SECOND // 4)
    assert events(worker.claim()) == [2]
    worker.run("put off", change=OVER)


def test_a_task_that_was_handed_back_is_found_within_a_second(world, worker):
    worker.own("handed back")
    worker.run("handed back", tasks=(task(2),))
    claimed = worker.take_task(2)
    world.clock.advance(2 * IN_FLIGHT_US)
    worker.claim()
    worker.do(about(TaskRelease, claimed))
    world.clock.advance(WHOLE_LOOK_US)
    assert events(worker.claim()) == [2]
    worker.run("handed back", change=OVER)


def test_what_somebody_ends_is_found_within_a_second_of_being_a_copy_no_more(world, worker):
    worker.own("copied")
    world.deliver("copied", b"terminate", control=True)
    world.client(Suspend(id="copied", reason=COMING))
    world.clock.advance(2 * IN_FLIGHT_US)
    assert ids(worker.claim()) == []
    world.client(Suspend(id="copied", reason="come", instead_of=COMING))
    world.clock.advance(WHOLE_LOOK_US)
    assert ids(worker.claim()) == ["copied"]
    worker.run("copied", change=InstanceChange(status=Status.TERMINATED))


def test_timers_of_our_own_are_known_at_once_and_fire_at_their_time(world, worker):
    worker.own("timed")
    now = world.clock.now_us()
    for event, fire_at in ((2, now + SECOND // 2), (3, now + SECOND // 4), (4, now + SECOND // 3)):
        worker.run("timed", timers=((event, fire_at),))
        worker.claim()
    assert worker.claim().next_due == now + SECOND // 4
    world.clock.advance(SECOND // 4)
    assert [each.timer.source for each in worker.take("timed").messages] == [3]
    worker.run("timed", timers=((5, now - 10 * SECOND),))
    assert [each.timer.source for each in worker.take("timed").messages] == [5]
    worker.run("timed")
    assert worker.claim().next_due == now + SECOND // 3
    worker.run("timed", change=OVER)


def test_claims_look_at_everything_while_little_is_kept(server):
    with server.connect() as other, server.connect() as connection:
        other.execute(SNAPSHOT)
        place = Place(server, "little", connection)
        world = place.open()
        worker, other_worker = _register(world), world.worker("other")
        other_worker.own("given back")
        world.deliver("given back", b"event")
        place.clock.advance(2 * IN_FLIGHT_US)
        worker.claim()
        world.storage.unregister(other_worker.number)
        assert ids(worker.claim()) == ["given back"]
        world.storage.close()
        connection.execute("DROP SCHEMA little CASCADE")


def _join(world, connection, item):
    """A user makes an item part of a transaction."""
    asyncio.run(world.storage.join(connection, item))
