"""Sessions while several workers claim at once: each is one worker's at any time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from perdure._events import checksum
from perdure._work import Batch, Claim, ClaimedTask, HistoryRow, NewInstance, NewTask, Serves, TaskDone, Turn
from perdure.storage.postgres import PostgresStorage

WORKERS = 4
SESSIONS = 20
TASKS = 8
LEASE_US = 3_600_000_000
"""No worker dies here, however long a busy machine keeps it waiting between its commits."""


class Desk:
    """Who works on which session at this moment, and who has ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work: dict[str, list[int]] = {}
        self.ever: dict[str, set[int]] = {}
        self.done = 0
        self.shared: list[tuple[str, list[int]]] = []

    def begin(self, worker: int, tasks: tuple[ClaimedTask, ...]) -> None:
        with self._lock:
            for task in tasks:
                busy = self._at_work.setdefault(str(task.session), [])
                busy.append(worker)
                self.ever.setdefault(str(task.session), set()).add(worker)
                if len(set(busy)) > 1:
                    self.shared.append((str(task.session), list(busy)))

    def end(self, worker: int, tasks: tuple[ClaimedTask, ...]) -> None:
        """Said before it is committed, so that nobody else can have begun by then."""
        with self._lock:
            self.done += len(tasks)
            for task in tasks:
                self._at_work[str(task.session)].remove(worker)


def asked(event: int, session: str) -> NewTask:
    return NewTask(event=event, name="say", input=b"[]", local=False, session=session)


@pytest.mark.parametrize("room", [2, 100])
def test_workers_that_claim_at_once_never_share_a_session(url, room):
    tokens = count(1)
    desk = Desk()

    def token() -> bytes:
        return next(tokens).to_bytes(16, "big")

    author = PostgresStorage(url)
    tasks = tuple(asked(place + 2, f"session {place % SESSIONS}") for place in range(SESSIONS * TASKS))
    writer = author.register(name="author", orchestrations=["talk@1.0.0"], activities=[], lease_us=LEASE_US).worker
    new = NewInstance(id="talk", incarnation=1, name="talk", version="1.0.0", start=b"{}", root="talk")
    row = HistoryRow(first=1, last=1 + len(tasks), at=1, data=b"", crc=checksum(b""))
    turn = Turn(incarnation=1, execution=1, base=0, create=new, history=row, tasks=tasks)
    author.commit(Batch(token=token(), items=(turn,), worker=writer))

    def work() -> None:
        storage = PostgresStorage(url)
        serves = Serves(sessions=room)
        number = storage.register(
            name="worker", orchestrations=[], activities=["say"], serves=serves, lease_us=LEASE_US
        ).worker
        running: tuple[ClaimedTask, ...] = ()
        while desk.done < len(tasks):
            desk.end(number, running)
            ended = tuple(
                TaskDone(incarnation=1, execution=1, event=each.event, body=b"%d" % each.event) for each in running
            )
            claim = Claim(instances_max=0, tasks_max=3)
            work = storage.commit(Batch(token=token(), items=ended, worker=number, claim=claim)).work
            assert work is not None
            running = work.tasks
            desk.begin(number, running)
            storage.reap(number)
        storage.close()

    with ThreadPoolExecutor(WORKERS) as workers:
        for each in [workers.submit(work) for _ in range(WORKERS)]:
            each.result()
    author.close()
    assert desk.done == len(tasks)
    assert desk.shared == []
    if room > SESSIONS:
        assert {len(workers) for workers in desk.ever.values()} == {1}
