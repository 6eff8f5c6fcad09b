"""What waits behind a key that is full costs a claim a step in an index, and no more."""

import apsw
from msgspec import json

from perdure._work import Batch, Claim
from perdure.storage.sqlite import SqliteStorage
from perdure.storage.sqlite.statements import STATEMENTS
from tests.storage.full_keys import KEYS, fill_keys

QUERY_PLAN = 2


def test_only_lanes_with_a_place_are_looked_into_and_none_is_taken_twice(tmp_path):
    storage = SqliteStorage(tmp_path / "shop.db")
    worker = fill_keys(storage)
    connection = apsw.Connection(str(tmp_path / "shop.db"))
    [(answer,)] = connection.execute(STATEMENTS["lanes"])

    [(lane, *numbers)] = json.decode(answer)
    assert lane.endswith(f"key {KEYS - 1}")
    assert numbers == [1, [None, 1], 0]

    claim = Claim(instances_max=0, tasks_max=KEYS)
    taken = [
        storage.commit(Batch(token=bytes([number]) * 16, items=(), worker=worker, claim=claim)).work.tasks
        for number in range(2)
    ]
    assert [[(task.instance_id, task.event) for task in tasks] for tasks in taken] == [[(f"i-{KEYS - 1}", 3)], []]
    [(answer,)] = connection.execute(STATEMENTS["lanes"])
    assert json.decode(answer) == []
    connection.close()
    storage.close()


def test_no_row_of_a_task_is_read_to_find_them(tmp_path):
    storage = SqliteStorage(tmp_path / "shop.db")
    storage.close()
    connection = apsw.Connection(str(tmp_path / "shop.db"))
    plan = [row[3] for row in connection.execute(STATEMENTS["lanes"], explain=QUERY_PLAN)]
    connection.close()

    searches = [step for step in plan if step.startswith("SEARCH")]
    assert len(searches) == 5
    assert [step for step in searches if "USING COVERING INDEX tasks_" not in step] == []
