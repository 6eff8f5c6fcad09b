"""A store with many instances: what is finished or parked costs those that run nothing."""

from contextlib import ExitStack, closing, contextmanager
from itertools import count

import pytest
from msgspec.structs import replace
from psycopg import sql

from perdure._ports import first_drawn_at
from perdure._types import Status
from perdure._work import APPLIED, COMING, HistoryRow, InstanceChange, NewTask, Query, Turn
from perdure.storage.base import UNKNOWN_LOOKED_AT_MAX
from perdure.storage.postgres import PostgresStorage
from perdure.storage.postgres.statements import read_statements
from perdure.testing import ManualClock
from tests.storage.postgres.pooler import Pooler
from tests.storage.postgres.server import TABLES
from tests.storage.postgres.work import batch, register, start

FILL = (
    """
    INSERT INTO instances (
        incarnation, id, name, version, status, execution, created_at, changed_at, ready_at, root, slot
    )
    SELECT 1000000 + g, 'old-' || g, 'shop::orchestration::order', '1.0.0',
        CASE WHEN g % 5 = 0 THEN 'running' ELSE 'completed' END, 1, 1, 1, 1, 'x', 0
    FROM generate_series(1, 100000) AS g
    """,
    """
    INSERT INTO timers (incarnation, execution, event, fire_at)
    SELECT 1000000 + g, 1, 3, 4000000000000000 + g FROM generate_series(1, 100000) AS g WHERE g % 5 = 0
    """,
)
LINE = 20_000
LONG_LINE = (
    "INSERT INTO messages (incarnation, due_at, body) SELECT 1000000 + g, g, '' FROM generate_series(1, 20000) AS g",
    """
    INSERT INTO tasks (incarnation, execution, event, scheduled_at, due_at, name, input)
    SELECT 1000000 + g, 1, 2, g, g, 'unknown', '' FROM generate_series(1, 20000) AS g
    """,
)
AT_ONCE, ROUNDS = 20, 10
NUMBERS = count()
ROWS_OF_AN_INSTANCE_MAX = 40
"""Rows that all statements together read of what belongs to one instance, from its start to its end."""

REPLANS_AFTER_US = 1_000_000

ROWS_MAX = 500
"""Rows that a step of a plan may meet: far more than there is to do, far fewer than there are."""


@contextmanager
def _own_schema(server, name):
    """A connection with a schema of its own, as others are used again and would be full of rows that are dead."""
    drop = sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name))
    with server.connect() as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [name])
        yield connection
        connection.execute(drop)


def _leave_alone(connection):
    """A server that finds the time would clean the tables, and count their rows for plans, while a test looks."""
    set_off = "ALTER TABLE {} SET (autovacuum_enabled = false)"
    for statement in [sql.SQL(set_off).format(sql.Identifier(table)) for table in TABLES]:
        connection.execute(statement)


def _fill(connection):
    for each in FILL:
        connection.execute(each)


@pytest.fixture(scope="module", params=[False, True], ids=["before statistics", "with statistics"])
def explain(request, server):
    """Explains what a worker asks a grown store in which there is a little to do."""
    schema = "grown_and_analysed" if request.param else "grown"
    storage = PostgresStorage(server.url(schema=schema))
    worker = register(storage)
    storage.commit(batch(*(start(f"new-{number}") for number in range(20)), worker=worker))
    now = storage.now()
    storage.close()
    # All that there is: of all priorities, from the first moment on.
    first, last = -(1 << 63), (1 << 63) - 1
    line = [f"'{{{each}}}'" for each in ("", "", first, last)]
    arguments = {
        "claim_instances": (now, worker, now, f"'{COMING}'", 1_000, 1_001, 1 << 26, f"'{first}'"),
        "claim_tasks": (now, worker, 100, *line, f"'{first}'", f"'{first}'"),
        "next_due": (now, worker, now, f"'{COMING}'", f"'{first}'", f"'{first}'"),
    }
    statements = read_statements(schema)

    def explain(statement):
        prepare = f"PREPARE asked AS {statements[statement]}"
        asked = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({', '.join(map(str, arguments[statement]))})"
        with server.connect() as session, session.transaction(force_rollback=True):
            session.execute("SELECT set_config('search_path', %s, false)", [schema])
            # As in a session that commits.
            session.execute(statements["plan_by_index"])
            session.execute(prepare)
            [([plan],)] = session.execute(asked).fetchall()
        return plan["Plan"]

    with _own_schema(server, schema) as connection:
        _leave_alone(connection)
        _fill(connection)
        if request.param:
            connection.execute("ANALYZE instances; ANALYZE timers; ANALYZE messages; ANALYZE tasks")
        yield explain


@pytest.mark.parametrize("statement", ["claim_instances", "claim_tasks", "next_due"])
def test_asking_for_work_reads_only_what_there_is_to_do(explain, statement):
    assert max(_rows_met(explain(statement))) <= ROWS_MAX


def test_timers_of_others_are_not_all_read_to_find_the_next_of_our_own(server):
    storage = PostgresStorage(server.url(schema="timers_of_others"))
    worker = register(storage)
    stranger = storage.register(name="stranger", orchestrations=["another@1.0.0"], activities=[]).worker
    with _own_schema(server, "timers_of_others") as connection:
        _leave_alone(connection)
        _fill(connection)
        fire_at = [row[0] for row in connection.execute("SELECT fire_at FROM timers ORDER BY fire_at LIMIT 200")]

        found = [storage.commit(batch(worker=each, claim=True)).work.next_due for each in (worker, stranger)]
        storage.close()

    # Ours is the first; the stranger looks again when the last that it has looked at is due.
    assert found == [fire_at[0], fire_at[99]]


LOOKS = {
    "something_waits": "0",
    "unknown_waiting": f"1000000, {UNKNOWN_LOOKED_AT_MAX}, 0, 0, 0, 0",
    "unknown_tasks": f"1000000, 1000000, {UNKNOWN_LOOKED_AT_MAX}, '', 0, 0",
}


@pytest.mark.parametrize("analysed", [False, True], ids=["before statistics", "with statistics"])
@pytest.mark.parametrize(
    ("session", "looks", "rows_max"),
    [
        ("plan_transaction_by_index", ["something_waits"], 10),
        ("plan_by_value", ["unknown_waiting", "unknown_tasks"], 2 * UNKNOWN_LOOKED_AT_MAX),
        # A commit's plans may be of a time when there was nothing, and then it walks through the line once.
        ("plan_by_index", ["unknown_waiting", "unknown_tasks"], LINE),
    ],
)
def test_looking_for_what_nobody_can_run_reads_only_a_part_of_a_long_line(server, session, looks, rows_max, analysed):
    schema = f"long_line_{session}_{analysed}".lower()
    PostgresStorage(server.url(schema=schema)).close()
    statements = read_statements(schema)
    with (
        _own_schema(server, schema) as connection,
        server.connect() as worker,
        worker.transaction(force_rollback=True),
    ):
        _leave_alone(connection)
        worker.execute("SELECT set_config('search_path', %s, true)", [schema])
        worker.execute(statements[session])
        for name in looks:
            prepare, ask = f"PREPARE {name} AS {statements[name]}", f"EXECUTE {name} ({LOOKS[name]})"
            worker.execute(prepare)
            worker.execute(ask)
        for each in (*FILL, *LONG_LINE):
            connection.execute(each)
        if analysed:
            connection.execute("ANALYZE instances; ANALYZE timers; ANALYZE messages; ANALYZE tasks")

        for name in looks:
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({LOOKS[name]})"
            [([plan],)] = worker.execute(explain).fetchall()
            assert max(_rows_met(plan["Plan"])) <= rows_max


@pytest.mark.parametrize("pooled", [False, True], ids=["sessions of its own", "a pooler's"])
def test_what_runs_reads_only_what_concerns_it_by_plans_that_were_made_for_few_rows(server, pooled):
    schema = "never_used"
    clock = ManualClock()
    with ExitStack() as stack:
        connection = stack.enter_context(_own_schema(server, schema))
        port = server.port
        if pooled:
            pooler = stack.enter_context(closing(Pooler(server.port, user="perdure", database="postgres")))
            port = pooler.port
        storage = PostgresStorage(server.url(schema=schema, port=port), clock=clock)
        worker = register(storage)
        _leave_alone(connection)
        for _ in range(ROUNDS):
            _run_some(storage, worker)
        _fill(connection)
        clock.advance(REPLANS_AFTER_US)
        for _ in range(ROUNDS):
            _run_some(storage, worker)
        storage.close()
        if pooled:
            pooler.close()
        read = _rows_read(connection, schema)
    assert read <= 2 * ROUNDS * AT_ONCE * ROWS_OF_AN_INSTANCE_MAX


BEGAN_AT, APART_US = 1_760_000_000_000_000, 8_000_000
OLD = """
INSERT INTO instances (
    incarnation, id, name, version, status, execution, created_at, changed_at, ready_at, root, slot, attributes
)
SELECT %(incarnation)s + g * 8000 * 4194304, 'old-' || g, CASE WHEN g %% 2 = 0 THEN 'even' ELSE 'odd' END, '1.0.0',
    CASE WHEN g %% 5 = 0 THEN 'running' WHEN g = 50 THEN 'failed' ELSE 'completed' END, 1,
    %(began_at)s + g * %(apart)s, %(began_at)s + g * %(apart)s, 1, 'x', 0,
    convert_to('{"group":' || g %% 3000 || ',"kind":"' || CASE WHEN g < 6000 THEN 'old' ELSE 'new' END || '"}', 'UTF8')
FROM generate_series(1::bigint, %(count)s) AS g
"""
OLD_INSTANCES = 60_000
PAGE_ROWS_MAX = 25_000
"""Rows and entries of indexes that are read for a page: far fewer than there are."""


@pytest.fixture(scope="module")
def old(server):
    """The URL of a store in which many instances have been begun, one by one."""
    storage = PostgresStorage(server.url(schema="old"))
    with server.connect() as connection:
        connection.execute("SET search_path = old")
        values = {"began_at": BEGAN_AT, "apart": APART_US, "incarnation": first_drawn_at(BEGAN_AT)}
        connection.execute(OLD, values | {"count": OLD_INSTANCES})
        connection.execute("VACUUM ANALYZE instances")
    storage.close()
    yield server.url(schema="old")
    with server.connect() as connection:
        connection.execute("DROP SCHEMA old CASCADE")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), [60_000, 59_999, 59_998]),
        (Query(roots_only=True), [60_000, 59_999, 59_998]),
        (Query(created_from=BEGAN_AT + 59_999 * APART_US), [60_000, 59_999]),
        (Query(created_from=BEGAN_AT + 60_001 * APART_US), []),
        (Query(created_before=BEGAN_AT + 3 * APART_US), [2, 1]),
        (Query(updated_before=BEGAN_AT + 3 * APART_US), [2, 1]),
        (
            Query(created_from=BEGAN_AT + 30_000 * APART_US, created_before=BEGAN_AT + 30_002 * APART_US),
            [30_001, 30_000],
        ),
        (Query(name="even", created_before=BEGAN_AT + 6 * APART_US), [4, 2]),
        (Query(name="even", statuses=(Status.HELD,)), []),
        (Query(name="nobody", statuses=(Status.RUNNING,)), []),
        (Query(statuses=(Status.RUNNING,), created_before=BEGAN_AT + 11 * APART_US), [10, 5]),
        (Query(attributes={"group": 7, "kind": "old"}), [3_007, 7]),
        (Query(attributes={"group": 7, "kind": "older"}), []),
        (Query(attributes={"group": 7}, root="x"), [57_007, 54_007, 51_007]),
        (Query(attributes={"group": 7, "kind": "old"}, root="x"), [3_007, 7]),
        (Query(attributes={"group": 7, "kind": "old"}, parent="nobody"), []),
        (Query(attributes={"group": 7, "kind": "old"}, parents=(1, 2)), []),
        (Query(attributes={"kind": "new"}), [60_000, 59_999, 59_998]),
    ],
)
def test_a_page_of_an_old_store_is_found_without_reading_it(server, old, query, found):
    with server.connect() as connection:
        before = _rows_read(connection, "old")
        storage = PostgresStorage(old)
        page, after = storage.find(replace(query, limit=3))
        storage.close()
        read = _rows_read(connection, "old") - before
    assert [each.id for each in page] == [f"old-{number}" for number in found]
    assert (after is None) == (len(found) < 3)
    assert read <= PAGE_ROWS_MAX


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(attributes={"kind": "old"}), [5_999, 5_998, 5_997]),
        (Query(version="2.0.0"), []),
        (Query(version="2.0.0", name="even"), []),
        (Query(version="2.0.0", statuses=(Status.RUNNING,)), []),
        (Query(name="even", statuses=(Status.FAILED, Status.HELD)), []),
        (Query(updated_from=BEGAN_AT + 60_001 * APART_US), []),
        (Query(updated_from=BEGAN_AT + 60_001 * APART_US, statuses=(Status.RUNNING,)), []),
    ],
)
def test_each_page_reads_few_rows_where_what_matches_is_far_away(server, old, query, found):
    with server.connect() as connection:
        before = _rows_read(connection, "old")
        storage = PostgresStorage(old)
        page, after = storage.find(replace(query, limit=3))
        pages = 1
        while not page and after is not None:
            page, after = storage.find(replace(query, limit=3, after=after))
            pages += 1
        storage.close()
        read = _rows_read(connection, "old") - before
    assert [each.id for each in page] == [f"old-{number}" for number in found]
    assert read <= pages * PAGE_ROWS_MAX


def _run_some(storage, worker):
    """Start a few instances, claim them, and give each a first turn and a last."""
    storage.commit(batch(*(start(f"measured-{next(NUMBERS)}") for _ in range(AT_ONCE)), worker=worker))
    claimed = storage.commit(batch(worker=worker, claim=True)).work.instances
    assert len(claimed) == AT_ONCE
    turns = [
        Turn(
            incarnation=each.record.incarnation, execution=1, base=0, history=_turn(1),
            consumed=tuple(message.seq for message in each.messages),
            tasks=tuple(NewTask(event=event, name="charge", input=b"{}", local=True) for event in (2, 3)),
        )
        for each in claimed
    ]  # fmt: skip
    steps = [
        Turn(
            incarnation=each.incarnation, execution=1, base=1, history=_turn(2), tasks_gone=(2,),
            tasks=(NewTask(event=4, name="charge", input=b"{}", local=True),),
        )
        for each in turns
    ]  # fmt: skip
    over = InstanceChange(status=Status.COMPLETED, output=b"{}")
    ends = [
        Turn(incarnation=each.incarnation, execution=1, base=2, history=_turn(3), tasks_gone=(3, 4), change=over)
        for each in turns
    ]
    for items in (turns, steps, ends):
        assert set(storage.commit(batch(*items, worker=worker)).outcomes) == {APPLIED}


def _turn(event):
    return HistoryRow(first=event, last=event, at=1, data=b"[]", crc=0)


def _rows_read(connection, schema):
    """Rows and entries of indexes that were read so far: a session has told of them when it has ended."""
    while connection.execute(
        "SELECT 1 FROM pg_stat_activity WHERE application_name IN ('perdure', 'pooler')"
    ).fetchall():
        pass
    rows = "SELECT SUM(seq_tup_read) FROM pg_stat_user_tables WHERE schemaname = %s"
    entries = "SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = %s"
    return sum(connection.execute(each, [schema]).fetchone()[0] or 0 for each in (rows, entries))


def _rows_met(plan):
    """How many rows each step gives and throws away, in all its runs."""
    met = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
    yield met * plan["Actual Loops"]
    for each in plan.get("Plans", ()):
        yield from _rows_met(each)
