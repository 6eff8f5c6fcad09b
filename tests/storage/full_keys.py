"""Many limits of one at a time: of each key an activity waits, and of each but the last one runs."""

from perdure._events import KeyLimit, checksum
from perdure._work import Batch, Claim, HistoryRow, NewInstance, NewTask, Turn

KEYS = 200


def fill_keys(storage) -> int:
    """Have a worker run what it can, and another activity of the last key end; the worker."""
    worker = storage.register(name="w", orchestrations=["order@1.0.0"], activities=["work"]).worker
    turns = tuple(_turn(number) for number in range(KEYS))
    storage.commit(Batch(token=b"1" * 16, items=turns, worker=worker, claim=Claim(instances_max=0, tasks_max=KEYS)))
    left = Turn(incarnation=KEYS, execution=1, base=3, history=_history(4, 4), tasks_gone=(2,))
    storage.commit(Batch(token=b"2" * 16, items=(left,), worker=worker))
    return worker


def _turn(number: int) -> Turn:
    limit = KeyLimit(key=f"key {number}", concurrency=1, rate=None, per_us=1)
    tasks = tuple(NewTask(event=event, name="work", input=b"1", local=False, limit=limit) for event in (2, 3))
    new = NewInstance(id=f"i-{number}", incarnation=number + 1, name="order", version="1.0.0", start=b"{}")
    return Turn(incarnation=number + 1, execution=1, base=0, create=new, history=_history(1, 3), tasks=tasks)


def _history(first: int, last: int) -> HistoryRow:
    return HistoryRow(first=first, last=last, at=1, data=b"events", crc=checksum(b"events"))
