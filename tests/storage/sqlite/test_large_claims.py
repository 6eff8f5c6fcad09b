"""What waits may be more than SQLite takes in one value; then a claim brings it in pieces."""

import apsw

from perdure._work import Batch, Claim, Deliver
from perdure.storage.sqlite.claims import take
from perdure.storage.sqlite.files import connect
from perdure.storage.sqlite.transaction import Transaction
from perdure.testing.storage_suite.world import ids, task

VALUE_BYTES_MAX = 200_000
BODY = b"x" * 40_000


def claim_in_pieces(world, worker):
    """What a claim brings where a value has at most `VALUE_BYTES_MAX` bytes."""
    connection = connect(world.storage.path, durability="full", busy_timeout_s=1)
    connection.raw.limit(apsw.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
    with connection.writing():
        transaction = Transaction(execute=connection.execute, now=world.clock.now_us(), worker=worker.number)
        work = take(transaction, Claim(instances_max=100, tasks_max=100))
    connection.close()
    return work


def test_messages_of_many_instances_come_in_pieces(world):
    worker = world.worker()
    for name in ("a", "b", "c", "d"):
        world.start(name)
        world.deliver(name, BODY)
        world.deliver(name, BODY)
    work = claim_in_pieces(world, worker)
    assert ids(work) == ["a", "b", "c", "d"]
    assert [[message.body for message in each.messages[1:]] for each in work.instances] == [[BODY, BODY]] * 4


def test_of_one_instance_the_first_come_first_and_the_rest_with_the_next_claim(world):
    worker = world.worker()
    world.start("order")
    for number in range(8):
        world.deliver("order", BODY + b"%d" % number)
    first = claim_in_pieces(world, worker).instances[0].messages
    assert 1 < len(first) < 9
    whole = worker.take("order").messages
    assert whole[: len(first)] == first
    assert [message.body[len(BODY) :] for message in whole[1:]] == [b"%d" % number for number in range(8)]


def test_tasks_come_in_pieces(world):
    worker = world.worker()
    worker.own("order")
    worker.run("order", tasks=tuple(task(event, input=BODY) for event in range(2, 12)))
    work = claim_in_pieces(world, worker)
    assert [each.event for each in work.tasks] == list(range(2, 12))
    assert {each.input for each in work.tasks} == {BODY}


def test_a_batch_of_large_payloads_is_applied_in_pieces(world, monkeypatch):
    monkeypatch.setattr("perdure.storage.sqlite.batches._SEGMENT_BYTES", len(BODY))
    for number in range(6):
        world.start(f"i{number}")
    items = tuple(Deliver(to_id=f"i{number}", body=BODY) for number in range(6))
    world.storage.commit(Batch(token=world.token(), items=items))
    worker = world.worker()
    assert {message.body for each in worker.claim().instances for message in each.messages[1:]} == {BODY}
