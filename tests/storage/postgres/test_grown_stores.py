"""A store with many instances: what is finished or parked costs those that run nothing."""

import pytest

from perdure.storage.postgres import PostgresStorage
from perdure.storage.postgres.statements import read_statements
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
ROWS_MAX = 500
"""Rows that a step of a plan may meet: far more than there is to do, far fewer than there are."""


@pytest.mark.parametrize("analysed", [False, True], ids=["before statistics", "with statistics"])
@pytest.mark.parametrize("statement", ["claim_instances", "claim_tasks", "next_due"])
def test_asking_for_work_reads_only_what_there_is_to_do(server, url, statement, analysed):
    schema = url.rpartition("=")[2]
    storage = PostgresStorage(url)
    worker = register(storage)
    storage.commit(batch(*(start(f"new-{number}") for number in range(20)), worker=worker))
    now = storage.now()
    arguments = {
        "claim_instances": (now, worker, now, 1_000, 1_001, 1 << 26),
        "claim_tasks": (now, worker, 100),
        "next_due": (now, worker, now),
    }[statement]
    with server.connect() as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [schema])
        for each in FILL:
            connection.execute(each)
        if analysed:
            connection.execute("ANALYZE instances; ANALYZE timers; ANALYZE messages; ANALYZE tasks")
        connection.execute("SET plan_cache_mode = force_generic_plan")
        prepare = f"PREPARE asked AS {read_statements(schema)[statement]}"
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({', '.join(map(str, arguments))})"
        connection.execute(prepare)
        [([plan],)] = connection.execute(explain).fetchall()
    storage.close()
    assert max(_rows_met(plan["Plan"])) <= ROWS_MAX


def test_timers_of_others_are_not_all_read_to_find_the_next_of_our_own(server, url):
    schema = url.rpartition("=")[2]
    storage = PostgresStorage(url)
    worker = register(storage)
    stranger = storage.register(name="stranger", orchestrations=["another@1.0.0"], activities=[]).worker
    with server.connect() as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [schema])
        for each in FILL:
            connection.execute(each)
        fire_at = [row[0] for row in connection.execute("SELECT fire_at FROM timers ORDER BY fire_at LIMIT 200")]

    found = [storage.commit(batch(worker=each, claim=True)).work.next_due for each in (worker, stranger)]
    storage.close()

    # Ours is the first; the stranger looks again when the last that it has looked at is due.
    assert found == [fire_at[0], fire_at[99]]


def _rows_met(plan):
    """How many rows each step gives and throws away, in all its runs."""
    met = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
    yield met * plan["Actual Loops"]
    for each in plan.get("Plans", ()):
        yield from _rows_met(each)
