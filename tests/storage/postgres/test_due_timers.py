"""Many timers that are due at once: a claim reads each of them a few times at most."""

import pytest

from perdure._work import APPLIED, HistoryRow, Turn
from perdure.storage.postgres import PostgresStorage
from perdure.testing import ManualClock
from tests.storage.postgres.work import batch, register, start

TIMERS = 300
READ_MAX = 20
"""How often a claim may read each of the timers: much less than each once for every other one."""


@pytest.mark.parametrize("instances", [1, 4])
def test_a_claim_reads_each_timer_that_is_due_a_few_times_only(server, instances):
    schema = server.take_schema()
    clock = ManualClock()
    storage = PostgresStorage(server.url(schema=schema), clock=clock)
    worker = register(storage)
    storage.commit(batch(*(start(f"i-{number}") for number in range(instances)), worker=worker))
    claimed = storage.commit(batch(worker=worker, claim=True)).work.instances
    now = storage.now()
    outcomes = storage.commit(batch(*(_asks_for_timers(each, now) for each in claimed), worker=worker)).outcomes
    assert set(outcomes) == {APPLIED}
    before = _timers_read(server, schema, storage)
    clock.advance(TIMERS)

    storage = PostgresStorage(server.url(schema=schema), clock=clock)
    work = storage.commit(batch(worker=worker, claim=True)).work

    read = _timers_read(server, schema, storage) - before
    assert [len(each.messages) for each in work.instances] == [TIMERS] * instances
    assert read <= READ_MAX * TIMERS * instances
    server.give_schema_back(schema)


def _asks_for_timers(claimed, now):
    return Turn(
        incarnation=claimed.record.incarnation,
        execution=1,
        base=0,
        history=HistoryRow(first=1, last=TIMERS + 1, at=1, data=b"[]", crc=0),
        consumed=tuple(message.seq for message in claimed.messages),
        timers=tuple((2 + number, now + number) for number in range(TIMERS)),
    )


def _timers_read(server, schema, storage):
    """How many timers were read so far, once the sessions of the store have told of theirs at their ends."""
    storage.close()
    with server.connect() as connection:
        while connection.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = 'perdure'").fetchall():
            pass
        rows = (
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE schemaname = %s AND relname = 'timers'"
        )
        entries = "SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = %s AND relname = 'timers'"
        return sum(int(connection.execute(each, [schema]).fetchone()[0] or 0) for each in (rows, entries))
