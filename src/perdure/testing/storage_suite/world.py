"""The world in which the suite's tests play: one store, its clock, and the clients and workers that talk to it.

`World` and `Worker` say what somebody does (`start`, `deliver`, `claim`, `do`) and fill in what the test is not about;
`applied` and `refused` say what should have come of it.
"""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol, TypeVar

from perdure._events import Parent, checksum
from perdure._types import OnConflict
from perdure._work import (
    Applied,
    Batch,
    Claim,
    ClaimedInstance,
    ClaimedTask,
    Committed,
    Delete,
    Deliver,
    HistoryRow,
    Hold,
    InstanceRecord,
    Item,
    NewInstance,
    NewTask,
    Outcome,
    Refusal,
    Refused,
    Serves,
    StartInstance,
    TaskHold,
    TaskItem,
    Turn,
    Work,
)
from perdure.storage.base import LEASE_US, SERVES, Inspector, Stamped, Storage
from perdure.testing._clock import ManualClock

SECOND = 1_000_000
NAME = "shop::orchestration::order"
ORDER = f"{NAME}@1.0.0"
CHARGE = "shop::activity::charge"

T = TypeVar("T", bound=TaskItem | TaskHold)


class StorageUnderTest(Storage, Inspector, Stamped, Protocol):
    """What the suite needs: the write side and the read side of one store."""


def applied(outcome: Outcome) -> Applied:
    """The item landed."""
    assert isinstance(outcome, Applied), f"expected the item to land, got {outcome}"
    return outcome


def refused(outcome: Outcome) -> Refusal:
    """The item did not land, for this reason."""
    assert isinstance(outcome, Refused), f"expected the item to be refused, got {outcome}"
    return outcome.reason


def row(first: int, last: int | None = None, *, data: bytes = b"\x00\xff opaque") -> HistoryRow:
    """A history row of these events."""
    return HistoryRow(first=first, last=last or first, at=1, data=data, crc=checksum(data))


def task(event: int, **options: Any) -> NewTask:
    """An activity that anybody may run."""
    fields: dict[str, Any] = {"event": event, "name": CHARGE, "input": b"[4200]", "local": False}
    return NewTask(**fields | options)


def ids(claimed: Work) -> list[str]:
    """The ids of the claimed instances, in order."""
    return [each.record.id for each in claimed.instances]


def events(claimed: Work) -> list[int]:
    """The events of the claimed tasks, in order."""
    return [each.event for each in claimed.tasks]


def bodies(claimed: ClaimedInstance) -> list[bytes]:
    """The bodies of the messages that came along, in order; a timer's is its event."""
    return [b"timer %d" % each.timer.source if each.timer else each.body for each in claimed.messages]


class World:
    """One store and what happens to it."""

    def __init__(self, storage: StorageUnderTest, clock: ManualClock, connect: Callable[[], StorageUnderTest]) -> None:
        self.storage = storage
        self.clock = clock
        self.connect = connect
        self._incarnations = count(1_000)
        self._tokens = count(1)

    def token(self) -> bytes:
        """A batch's token."""
        return next(self._tokens).to_bytes(16, "big")

    def new(self, instance_id: str, **options: Any) -> NewInstance:
        """An instance to create, with an incarnation of its own."""
        defaults: dict[str, Any] = {
            "id": instance_id,
            "incarnation": options.get("incarnation") or next(self._incarnations),
            "name": NAME,
            "version": "1.0.0",
            "start": b"start " + instance_id.encode(),
            "root": instance_id,
        }
        return NewInstance(**defaults | options)

    def child(self, parent: InstanceRecord, instance_id: str, *, event: int = 2, **options: Any) -> NewInstance:
        """An instance to create below another."""
        place = Parent(instance_id=parent.id, incarnation=parent.incarnation, execution=parent.execution, event=event)
        return self.new(instance_id, parent=place, root=parent.root, **options)

    def client(self, *items: Item) -> tuple[Outcome, ...]:
        """A client without a worker sends these."""
        return self.storage.commit(Batch(token=self.token(), items=items)).outcomes

    def start(self, instance_id: str, *, on_conflict: OnConflict = "fail", **options: Any) -> InstanceRecord:
        """A client starts an instance, which must succeed."""
        [outcome] = self.client(StartInstance(new=self.new(instance_id, **options), on_conflict=on_conflict))
        applied(outcome)
        return self.record(instance_id)

    def deliver(self, instance_id: str, body: bytes, *, control: bool = False, dedup_key: str | None = None) -> Outcome:
        """A client sends a message."""
        [outcome] = self.client(Deliver(to_id=instance_id, body=body, control=control, dedup_key=dedup_key))
        return outcome

    def delete(self, instance_id: str, *, force: bool = False) -> Outcome:
        """A client deletes a tree of instances."""
        [outcome] = self.client(Delete(id=instance_id, force=force))
        return outcome

    def record(self, instance_id: str) -> InstanceRecord:
        """An instance that must exist."""
        record = self.storage.get(instance_id)
        assert record is not None, f"there is no instance {instance_id!r}"
        return record

    def worker(
        self,
        name: str = "worker",
        *,
        orchestrations: Sequence[str] = (ORDER,),
        activities: Sequence[str] = (CHARGE,),
        serves: Serves = SERVES,
        lease_us: int = LEASE_US,
        reader: int = 1,
        storage: StorageUnderTest | None = None,
    ) -> "Worker":
        """A worker registers."""
        storage = storage or self.storage
        record = storage.register(
            name=name,
            orchestrations=orchestrations,
            activities=activities,
            serves=serves,
            lease_us=lease_us,
            reader=reader,
        )
        return Worker(self, storage, record.worker)


class Worker:
    """One worker: it remembers what it was handed last, so that its turns can consume it."""

    def __init__(self, world: World, storage: StorageUnderTest, number: int) -> None:
        self.world = world
        self.storage = storage
        self.number = number
        self.handed: dict[str, ClaimedInstance] = {}

    def commit(self, *items: Item, claim: Claim | None = None) -> Committed:
        """Send a batch."""
        batch = Batch(token=self.world.token(), items=items, worker=self.number, claim=claim)
        committed = self.storage.commit(batch)
        if committed.work is not None:
            self.handed |= {each.record.id: each for each in committed.work.instances}
        return committed

    def do(self, item: Item) -> Outcome:
        """Send one item and claim nothing."""
        [outcome] = self.commit(item).outcomes
        return outcome

    def claim(self, *items: Item, instances: int = 100, tasks: int = 100) -> Work:
        """Send a batch that claims; the worker must be alive."""
        work = self.commit(*items, claim=Claim(instances_max=instances, tasks_max=tasks)).work
        assert work is not None, "the worker is not alive"
        return work

    def take(self, instance_id: str) -> ClaimedInstance:
        """Claim, and be handed this instance among others."""
        claimed = {each.record.id: each for each in self.claim(tasks=0).instances}
        assert instance_id in claimed, f"{instance_id!r} was not handed out, only {sorted(claimed)}"
        return claimed[instance_id]

    def take_task(self, event: int) -> ClaimedTask:
        """Claim, and be handed the task of this event, and no other."""
        [claimed] = self.claim(instances=0).tasks
        assert claimed.event == event, f"the task of event {claimed.event} was handed out, not of {event}"
        return claimed

    def turn(self, instance_id: str, *, written: int = 1, **fields: Any) -> Turn:
        """The next turn of an instance: it writes events and consumes what was handed out, if not told otherwise."""
        record = self.world.record(instance_id)
        base = record.last_event
        handed = self.handed.get(instance_id)
        messages = handed.messages if handed and handed.record.incarnation == record.incarnation else ()
        return Turn(
            **{
                "incarnation": record.incarnation,
                "execution": record.execution,
                "base": base,
                "history": row(base + 1, base + written) if written else None,
                "consumed": tuple(each.seq for each in messages if each.seq),
                "timers_gone": tuple(each.timer.source for each in messages if each.timer),
            }
            | fields
        )

    def first_turn(self, new: NewInstance, *, written: int = 1, **fields: Any) -> Turn:
        """The turn that makes an instance."""
        defaults: dict[str, Any] = {"execution": 1, "base": 0, "history": row(1, written), "create": new}
        return Turn(incarnation=new.incarnation, **defaults | fields)

    def run(self, instance_id: str, *, written: int = 1, **fields: Any) -> Applied:
        """Do the next turn of an instance, which must land."""
        return applied(self.do(self.turn(instance_id, written=written, **fields)))

    def own(self, instance_id: str, **options: Any) -> InstanceRecord:
        """Start an instance, take it, and do its first turn, of one event."""
        self.world.start(instance_id, **options)
        self.take(instance_id)
        self.run(instance_id)
        return self.world.record(instance_id)

    def hold(self, instance_id: str, reason: str = "no code", **fields: Any) -> Hold:
        """Set an instance aside."""
        return Hold(incarnation=self.world.record(instance_id).incarnation, reason=reason, **fields)


def about(kind: type[T], claimed: ClaimedTask, **fields: Any) -> T:
    """What a worker says about a task that it was handed."""
    return kind(incarnation=claimed.incarnation, execution=claimed.execution, event=claimed.event, **fields)
