"""One store on which a tape plays, and its answers in words that another store's can be compared with."""

from typing import assert_never

from msgspec.structs import replace

from perdure._work import (
    PAGE_ROWS_MAX,
    Applied,
    Batch,
    ClaimedInstance,
    Committed,
    HistoryRow,
    Hold,
    InstanceImage,
    InstanceRecord,
    Item,
    LimitUser,
    OpenTask,
    Outcome,
    Parcel,
    Query,
    Refused,
    Settle,
    Turn,
    WorkerRecord,
)
from perdure.testing._clock import ManualClock
from perdure.testing.storage_suite.tape.items import LIMIT_KEYS, SHELVES
from perdure.testing.storage_suite.tape.parcels import number_of
from perdure.testing.storage_suite.tape.steps import (
    Ask,
    Call,
    Commit,
    Find,
    Heartbeat,
    Move,
    Reap,
    Register,
    Stand,
    Unregister,
)
from perdure.testing.storage_suite.world import StorageUnderTest

PAGE = 200
FAMILY = 5
_PARCELS = 1_000
_NO_PARCEL = 1 << 60


class Side:
    """A store with the names that the tape gave to its workers and messages."""

    def __init__(self, storage: StorageUnderTest, clock: ManualClock) -> None:
        self.storage = storage
        self._clock = clock
        self._numbers: dict[int, int] = {}
        self._labels: dict[int, int] = {}
        self._seqs: dict[tuple[int, bytes], int] = {}

    def play(self, step: Call) -> object:
        """Make the call; the answer names workers by label and messages by body alone."""
        match step:
            case Register():
                return self._register(step)
            case Commit():
                return self._commit(step)
            case Heartbeat(label=label):
                return self.storage.heartbeat(self._number(label))
            case Unregister(label=label):
                self.storage.unregister(self._number(label))
                return None
            case Reap(label=label):
                return self.storage.reap(self._number(label))
            case Ask(label=label, token=token):
                return self.storage.applied(self._number(label), token)
            case Stand(label=label, tasks=tasks):
                return self.storage.standings(self._number(label), tasks)
            case Move(us=us):
                self._clock.set(self._clock.now_us() + us)
                return self.storage.now()
            case Find(query=query):
                return self._pages(query), self.storage.count(query)
            case _:
                assert_never(step)

    def has_applied(self, step: Commit) -> bool | None:
        """Whether this was the last commit of its worker; None for a client, who can't ask."""
        return None if step.label is None else self.storage.applied(self._number(step.label), step.token)

    def records(self) -> list[InstanceRecord]:
        """All instances."""
        records, _ = self.storage.find(Query(limit=10_000))
        return [self._record(each) for each in records]

    def workers(self) -> list[WorkerRecord]:
        """All workers."""
        return [replace(each, worker=self._labels[each.worker]) for each in self.storage.workers()]

    def histories(self, records: list[InstanceRecord]) -> dict[tuple[int, int], list[HistoryRow]]:
        """The history of each execution of these instances."""
        return {
            (each.incarnation, execution): self.storage.history(each.incarnation, execution)
            for each in records
            for execution in range(1, each.execution + 1)
        }

    def figures(self, records: list[InstanceRecord]) -> object:
        """What is told of the store as a whole, of families and of executions."""
        return (
            self.storage.depths(),
            [(each.shard, each.incarnation, each.sent_at, each.body) for each in self._outbox()],
            self.storage.held_tasks(5),
            [self._open(task) for each in records for task in self.storage.open_tasks(each.incarnation, 5)],
            self.storage.limits(),
            self.storage.still_open([each.id for each in records]),
            [self._user(each) for key in LIMIT_KEYS for each in self.storage.limit_users(key, 5)],
            [[self._record(member) for member in self.storage.family(each.id, FAMILY)] for each in records],
            [self.storage.executions(each.incarnation) for each in records],
        )

    def _open(self, task: OpenTask) -> OpenTask:
        return replace(task, owner=self._labels[task.owner]) if task.owner else task

    def _user(self, user: LimitUser) -> LimitUser:
        return replace(user, owner=self._labels[user.owner]) if user.owner else user

    def entries(self, records: list[InstanceRecord]) -> dict[tuple[int, str], dict[str, bytes]]:
        """What these instances keep."""
        return {
            (each.incarnation, shelf): self.storage.entries(each.incarnation, shelf)
            for each in records
            for shelf in SHELVES
        }

    def images(self, records: list[InstanceRecord]) -> list[InstanceImage]:
        """All rows of these instances."""
        return self.storage.images([each.id for each in records])

    def _number(self, label: int) -> int:
        # A label whose registration was cut out of the tape names a worker without a row.
        return self._numbers.get(label, label)

    def _register(self, step: Register) -> WorkerRecord:
        record = self.storage.register(
            name=f"worker {step.label}",
            orchestrations=step.orchestrations,
            activities=step.activities,
            serves=step.serves,
            lease_us=step.lease_us,
        )
        self._numbers[step.label] = record.worker
        self._labels[record.worker] = step.label
        return replace(record, worker=step.label)

    def _commit(self, step: Commit) -> Committed:
        items = tuple(self._item(item, bodies) for item, bodies in zip(step.items, step.consume, strict=True))
        worker = None if step.label is None else self._number(step.label)
        committed = self.storage.commit(Batch(token=step.token, items=items, worker=worker, claim=step.claim))
        work = committed.work
        if work is not None:
            work = replace(work, instances=tuple(self._claimed(each) for each in work.instances))
        return replace(committed, outcomes=tuple(self._outcome(each) for each in committed.outcomes), work=work)

    def _item(self, item: Item, bodies: tuple[bytes, ...]) -> Item:
        if isinstance(item, Turn | Hold):
            return replace(item, consumed=self._consumed(item, bodies))
        if isinstance(item, Settle):
            seqs = {number_of(each.body): each.seq for each in self._outbox()}
            replies = tuple((seqs[number], message) for number, message in item.replies if number in seqs)
            return Settle(seqs=tuple(seqs.get(number, _NO_PARCEL) for number in item.seqs), replies=replies)
        return item

    def _outbox(self) -> list[Parcel]:
        return self.storage.parcels(None, _PARCELS)

    def _consumed(self, item: Turn | Hold, bodies: tuple[bytes, ...]) -> tuple[int, ...]:
        seqs = (self._seqs.get((item.incarnation, body)) for body in bodies)
        return tuple(seq for seq in seqs if seq is not None)

    def _claimed(self, claimed: ClaimedInstance) -> ClaimedInstance:
        for message in claimed.messages:
            if message.timer is None:
                self._seqs[claimed.record.incarnation, message.body] = message.seq
        messages = tuple(replace(each, seq=each.seq and 1) for each in claimed.messages)
        return replace(claimed, record=self._record(claimed.record), messages=messages)

    def _outcome(self, outcome: Outcome) -> Outcome:
        if outcome.existing is None:
            return outcome
        if isinstance(outcome, Refused):
            return Refused(reason=outcome.reason, existing=self._record(outcome.existing))
        return Applied(existing=self._record(outcome.existing), skipped=outcome.skipped, count=outcome.count)

    def _record(self, record: InstanceRecord) -> InstanceRecord:
        return record if record.owner is None else replace(record, owner=self._labels[record.owner])

    def _pages(self, query: Query) -> list[tuple[list[InstanceRecord], str | None]]:
        pages = []
        for _ in range(PAGE):
            page, after = self.storage.find(query)
            pages.append(([self._record(each) for each in page], after))
            if after is None:
                break
            query = replace(query, after=after)
        if query.rows_max < PAGE_ROWS_MAX:
            # Where such a page ends is each store's own matter.
            return [([each for page, _ in pages for each in page], pages[-1][1])]
        return pages
