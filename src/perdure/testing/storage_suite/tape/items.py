"""The items that the author of a tape sends."""

from typing import Any

from msgspec.structs import replace

from perdure._events import KeyLimit, Parent, checksum
from perdure._types import Status
from perdure._work import (
    COMING,
    ChildStart,
    Delete,
    Deliver,
    Entry,
    EntryImage,
    HistoryImage,
    HistoryRow,
    Hold,
    InstanceChange,
    InstanceImage,
    InstanceRecord,
    InstanceRelease,
    Item,
    MessageImage,
    MoveOut,
    NewInstance,
    NewTask,
    Prune,
    Put,
    Resume,
    Stamp,
    StartInstance,
    Suspend,
    TaskBeat,
    TaskDiscard,
    TaskDone,
    TaskHold,
    TaskImage,
    TaskRelease,
    TaskRetry,
    TimerImage,
    Try,
    Turn,
    stamp_of,
)
from perdure.testing._dice import Dice
from perdure.testing.storage_suite.tape.book import Book
from perdure.testing.storage_suite.tape.parcels import Parcels

IDS = tuple(f"instance-{letter}" for letter in "abcdefghijkl")
DELAYS_US = (0, 1, 500_000, 1_000_000, 5_000_000, 30_000_000)
SHELVES = ("answer", "value")
TAGS = ("gpu", "big")
LIMIT_KEYS = ("smtp", "tenant")
ASIDE = ("aside", "aside", f"{COMING} (1)")
SESSIONS = ("anna", "ben", "carla", "dora")
CLOSED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TERMINATED)

CLIENT = {
    "start": 10, "deliver": 12, "delete": 2, "prune": 2, "suspend": 2, "resume": 4, "discard": 1, "put": 2, "move": 1,
    "receive": 4, "settle": 3, "forget": 1,
}  # fmt: skip


class Images:
    """Writes what comes with all its rows, and what goes so."""

    def __init__(self, dice: Dice, book: Book) -> None:
        self._dice = dice
        self._book = book

    def put(self) -> Put:
        """One or two instances, made up or brought back to an earlier state."""
        dice, book = self._dice, self._book
        chosen = [self._image() for _ in range(1 + dice.below(2))]
        images = {each.record.id: each for each in chosen}
        incarnations = {each.record.incarnation: each for each in images.values()}
        stamps = tuple(map(self._stamp, dice.some(list(book.records.values()), 2))) if dice.chance(40) else ()
        return Put(
            images=tuple(incarnations.values()),
            on_conflict=dice.pick(("fail", "skip", "replace", "named")),
            instead_of=tuple({stamp.incarnation: stamp for stamp in stamps}.values()),
            while_open=dice.some(book.incarnations[-8:], 2) if dice.chance(25) else (),
        )

    def move(self) -> MoveOut:
        """Instances that go."""
        records = self._dice.some(list(self._book.records.values()), 2)
        return MoveOut(stamps=tuple(map(self._stamp, records)), place="elsewhere")

    def _stamp(self, record: InstanceRecord) -> Stamp:
        # Nobody has told how much waits for it; so most of these are stale.
        return stamp_of(record, self._dice.below(2), self._dice.below(2))

    def _image(self) -> InstanceImage:
        dice, book = self._dice, self._book
        known = list(book.records.values())
        status = dice.pick((Status.PENDING, Status.RUNNING, Status.RUNNING, Status.HELD, Status.SUSPENDED, *CLOSED))
        if known and dice.chance(60):
            reason = dice.pick(ASIDE) if status in (Status.HELD, Status.SUSPENDED) else None
            record = replace(dice.pick(known), owner=None, status=status, held_because=reason)
        else:
            instance_id = dice.pick(IDS)
            record = InstanceRecord(
                id=instance_id,
                incarnation=book.incarnation(),
                name="red",
                version=dice.pick(("1.0.0", None)),
                status=status,
                execution=1 + dice.below(2),
                created_at=book.now,
                updated_at=book.now,
                root=instance_id,
            )
        last = 2 * dice.below(3)
        record = replace(record, last_event=last)
        image = InstanceImage(record=record, ready_at=record.created_at)
        if last:
            image = replace(
                image, history=(HistoryImage(execution=record.execution, row=_history(dice, book.now, 1, last)),)
            )
        return image if status.is_closed else self._with_rows(image)

    def _with_rows(self, image: InstanceImage) -> InstanceImage:
        dice, book, execution = self._dice, self._book, image.record.execution
        now = book.now
        tasks = [
            TaskImage(
                execution=execution,
                event=event,
                name=dice.pick(("x", "y", "z")),
                input=b"input",
                scheduled_at=now,
                due_at=now + dice.pick(DELAYS_US),
                attempt=1 + dice.below(3),
                priority=dice.below(2),
                session=dice.pick(SESSIONS) if dice.chance(20) else None,
                deadline=now + dice.pick(DELAYS_US) if dice.chance(20) else None,
                stopped=dice.chance(10),
                held_because="aside" if dice.chance(20) else None,
                held_at=now,
                began_at=now if dice.chance(20) else None,
            )
            # Asked for by events that are there, as turns never ask again under the same.
            for event in range(1, 1 + dice.below(1 + image.record.last_event))
        ]
        book.tasks |= {(image.record.incarnation, execution, each.event): None for each in tasks}
        return replace(
            image,
            messages=tuple(
                MessageImage(due_at=now + dice.pick(DELAYS_US), body=book.body(), control=dice.chance(10))
                for _ in range(dice.below(3))
            ),
            timers=tuple(
                TimerImage(execution=execution, event=event, fire_at=now + dice.pick(DELAYS_US))
                for event in range(1, 1 + dice.below(1 + image.record.last_event))
            ),
            tasks=tuple(tasks),
            entries=(EntryImage(shelf="value", key="a", value=b"1", passing_since=now if dice.chance(50) else None),),
            dedup_keys=("key 1",) if dice.chance(50) else (),
        )


class Items:
    """Writes items."""

    def __init__(self, dice: Dice, book: Book) -> None:
        self._dice = dice
        self._book = book
        self._images = Images(dice, book)
        self._sessions = dice.pick((0, 10, 10, 70))  # of a hundred activities
        self._parcels = Parcels(dice, book, self._receiver, self._new)

    def of_client(self) -> Item:
        """A start, a message or a delete."""
        dice, book = self._dice, self._book
        match dice.weighted(CLIENT):
            case "start":
                return self._start()
            case "deliver":
                return Deliver(
                    to_id=self._receiver(),
                    body=book.body(),
                    control=dice.chance(15),
                    dedup_key=f"key {dice.below(3)}" if dice.chance(30) else None,
                    incarnation=self._guess_incarnation(),
                    if_held=dice.chance(10),
                )
            case "suspend":
                return Suspend(
                    id=self._receiver(),
                    reason=dice.pick(ASIDE),
                    incarnation=self._guess_incarnation(),
                    tasks=dice.pick(("go on", "wait", "all")),
                    keep=dice.chance(20),
                    instead_of=dice.pick(ASIDE) if dice.chance(30) else None,
                )
            case "resume":
                event = dice.pick([event for _, _, event in book.tasks] or [1]) if dice.chance(40) else None
                return Resume(
                    id=self._receiver(),
                    event=event,
                    incarnation=self._guess_incarnation(),
                    reason=dice.pick(ASIDE) if dice.chance(30) else None,
                    repeat=book.now + dice.pick((0, *DELAYS_US)) if dice.chance(20) else None,
                )
            case "receive" | "settle" | "forget" as kind:
                return self._parcels.item(kind)
            case "put":
                return self._images.put()
            case "move":
                return self._images.move()
            case "discard":
                task = dice.pick(list(book.tasks) or [(1, 1, 1)])
                held_at = book.now + dice.pick((0, *DELAYS_US)) if dice.chance(20) else None
                return TaskDiscard(
                    incarnation=task[0], execution=task[1], event=task[2], body=book.body(), held_at=held_at
                )
            case "prune":
                before = dice.below(30) if dice.chance(30) else None
                return Prune(
                    id=self._receiver(), keep=dice.below(3), before=before, incarnation=self._guess_incarnation()
                )
            case _:
                incarnation = self._guess_incarnation()
                return Delete(id=self._receiver(), force=dice.chance(50), incarnation=incarnation)

    def _guess_incarnation(self) -> int | None:
        """Mostly none, so that whoever has the id is meant."""
        return self._dice.pick(self._book.incarnations[-8:]) if self._dice.chance(15) else None

    def of_worker(self, label: int) -> tuple[Item, tuple[bytes, ...]]:
        """What a worker sends, with the bodies of the messages that it consumes."""
        dice = self._dice
        record = self._book.record(label)
        if record is None:
            return self._create(), ()
        match dice.weighted({"turn": 60, "task": 25, "hold": 4, "release": 6, "create": 5, "try": 5}):
            case "turn":
                turn = self._turn(record)
                bodies = self._book.bodies.get(record.incarnation, ())
                self._book.tasks |= {
                    (turn.incarnation, turn.execution, each.event): label if each.local else None for each in turn.tasks
                }
                return turn, bodies if dice.chance(70) else dice.some(bodies, 5)
            case "task":
                return self._task_item(label), ()
            case "hold":
                told = self._book.bodies.get(record.incarnation, ())
                return self._hold(record), dice.some(told, 2) if dice.chance(30) else ()
            case "try":
                return self._try(record, label), ()
            case "release":
                return InstanceRelease(incarnation=record.incarnation, delay_us=dice.pick(DELAYS_US)), ()
            case _:
                return self._create(), ()

    def _receiver(self) -> str:
        """An id, mostly one that is taken."""
        known = list(self._book.records)
        return self._dice.pick(known if known and self._dice.chance(85) else (*IDS, "nobody"))

    def _new(self, *, parent: InstanceRecord | None = None, event: int = 0) -> NewInstance:
        dice = self._dice
        place = None
        if parent is not None:
            place = Parent(
                instance_id=parent.id, incarnation=parent.incarnation, execution=parent.execution, event=event
            )
        instance_id = dice.pick(IDS)
        return NewInstance(
            id=instance_id,
            incarnation=self._book.incarnation(),
            name=dice.pick(("red", "red", "blue")),
            version=dice.pick(("1.0.0", "1.0.0", "2.0.0", None)),
            start=self._book.body(),
            start_at=self._book.now + dice.pick((-1, *DELAYS_US)) if dice.chance(15) else None,
            root=parent.root if parent else instance_id,
            parent=place,
            attributes=b'{"size":%d}' % dice.below(3) if dice.chance(50) else None,
        )

    def _start(self) -> StartInstance:
        dice, book = self._dice, self._book
        new, again = self._new(), dice.chance(30)
        if again and dice.chance(40):
            new = replace(new, incarnation=dice.pick(book.incarnations))
        return StartInstance(
            new=new,
            on_conflict=dice.pick(("fail", "use_existing", "restart_if_closed", "terminate_and_restart")),
            cancel=book.body() if dice.chance(50) else None,
            again=again,
        )

    def _try(self, record: InstanceRecord, label: int) -> Item:
        """Try an instance or a task, or set a task aside."""
        dice = self._dice
        mine = [name for name, owner in self._book.tasks.items() if owner == label]
        if not mine or dice.chance(30):
            return Try(incarnation=record.incarnation)
        incarnation, execution, event = dice.pick(mine)
        if dice.chance(50):
            return Try(incarnation=incarnation, execution=execution, event=event)
        return TaskHold(incarnation=incarnation, execution=execution, event=event, reason="aside")

    def _task_item(self, label: int) -> Item:
        dice, tasks = self._dice, self._book.tasks
        mine = [name for name, owner in tasks.items() if owner == label] if dice.chance(90) else []
        incarnation, execution, event = dice.pick(mine or [*tasks, (4_711, 1, 2)])
        name: dict[str, Any] = {"incarnation": incarnation, "execution": execution, "event": event}
        if dice.chance(80):
            tasks[incarnation, execution, event] = None
        if dice.chance(20):
            return TaskBeat(**name, details=self._details(), began=dice.chance(50))
        match dice.weighted({"done": 6, "retry": 3, "release": 2}):
            case "done":
                return TaskDone(**name, body=self._book.body())
            case "retry":
                return TaskRetry(
                    **name,
                    attempt=2 + dice.below(3),
                    delay_us=dice.pick(DELAYS_US),
                    last_error=self._book.body() if dice.chance(70) else None,
                    details=self._details(),
                    began_at=self._book.now if dice.chance(30) else None,
                )
            case _:
                return TaskRelease(**name, delay_us=dice.pick(DELAYS_US), details=self._details())

    def _details(self) -> bytes | None:
        return self._book.body() if self._dice.chance(50) else None

    def _hold(self, record: InstanceRecord) -> Hold:
        dice, book = self._dice, self._book
        if dice.chance(15):
            new = self._new()
            return Hold(incarnation=new.incarnation, reason="never run", create=new)
        return Hold(
            incarnation=record.incarnation,
            reason=f"reason {dice.below(100)}",
            messages=tuple(book.body() for _ in range(dice.below(3))),
            execution=record.execution,
            tasks_gone=self._tasks_of(record),
        )

    def _create(self) -> Turn:
        """A first turn of an instance that nobody has seen."""
        new = self._new()
        closing = InstanceChange(status=self._dice.pick(CLOSED)) if self._dice.chance(20) else None
        history = _history(self._dice, self._book.now, 1, 2)
        return Turn(
            incarnation=new.incarnation,
            execution=1,
            base=0,
            create=replace(new, start_at=None),
            history=history,
            tasks=(self._task(2),),
            change=closing,
        )

    def _turn(self, record: InstanceRecord) -> Turn:
        dice = self._dice
        base = record.last_event + (dice.pick((-1, 1)) if dice.chance(4) else 0)
        written = 0 if dice.chance(10) else 8
        asked: dict[str, Any] = self._asks(record, base) if written else {}
        continued = written and dice.chance(8)
        return Turn(
            incarnation=record.incarnation if dice.chance(97) else dice.pick(self._book.incarnations),
            execution=record.execution + (1 if dice.chance(3) else 0),
            base=base,
            history=_history(dice, self._book.now, base + 1, base + written) if written else None,
            tasks_gone=self._tasks_of(record),
            tasks_stopped=self._tasks_of(record),
            timers_gone=dice.some(sorted(self._book.timers[record.incarnation]), 4),
            messages=tuple(self._parcels.message(record) for _ in range(dice.below(3))),
            change=self._change(record, continued=bool(continued)),
            next_start=self._book.body() if continued else None,
            entries=self._entries(),
            **asked,
        )

    def _entries(self) -> tuple[Entry, ...]:
        dice = self._dice
        if not dice.chance(25):
            return ()
        names = dice.some([(shelf, key) for shelf in SHELVES for key in "ab"], 3)
        return tuple(
            Entry(
                shelf=shelf,
                key=key,
                value=None if dice.chance(30) else b"%d" % dice.below(9),
                passing=dice.chance(30),
            )
            for shelf, key in names
        )

    def _asks(self, record: InstanceRecord, base: int) -> dict[str, Any]:
        """Tasks, timers and children, each under an event of this turn."""
        dice, book = self._dice, self._book
        tasks = tuple(self._task(base + 1 + place) for place in range(dice.below(4)))
        timers = tuple((base + 4 + place, book.now + dice.pick((-5, *DELAYS_US))) for place in range(dice.below(3)))
        starts = tuple(
            self._child(record, base + 6 + place) for place in range(dice.below(3) if dice.chance(40) else 0)
        )
        book.timers[record.incarnation] |= {event for event, _ in timers}
        return {"tasks": tasks, "timers": timers, "starts": starts}

    def _task(self, event: int) -> NewTask:
        dice = self._dice
        if dice.chance(10):
            return NewTask(
                event=event, name="place", input=b"", local=False, limit=self._limit(), permit=self._book.body()
            )
        tag = dice.pick(TAGS) if dice.chance(15) else None
        limit = self._limit() if dice.chance(20) else None
        session = dice.pick(SESSIONS) if dice.chance(self._sessions) else None
        return NewTask(
            event=event,
            name=dice.pick(("x", "y", "z")),
            input=b"input",
            local=dice.chance(40 if session is None else 5) and tag is None and limit is None,
            tag=tag,
            session=session,
            limit=limit,
            retry=b"{}" if dice.chance(20) else None,
            priority=dice.pick((0, 0, 0, 1, -1)),
            schedule_to_start_us=dice.pick(DELAYS_US) if dice.chance(15) else None,
            total_timeout_us=dice.pick(DELAYS_US) if dice.chance(15) else None,
        )

    def _limit(self) -> KeyLimit:
        dice = self._dice
        concurrency = dice.pick((None, 1, 1, 2, 3))
        rate = dice.pick((1, 2, 5)) if concurrency is None or dice.chance(30) else None
        return KeyLimit(dice.pick(LIMIT_KEYS), concurrency, rate, dice.pick((1, 700_000, 5_000_000)))

    def _child(self, record: InstanceRecord, event: int) -> ChildStart:
        if self._dice.chance(30):
            return ChildStart(new=self._new())
        return ChildStart(new=self._new(parent=record, event=event), refused=self._book.body())

    def _change(self, record: InstanceRecord, *, continued: bool) -> InstanceChange | None:
        dice = self._dice
        if continued:
            return InstanceChange(execution=record.execution + 1, version=dice.pick((None, "2.0.0")))
        status: Status | None = None
        if dice.chance(15):
            status = dice.pick((*CLOSED, Status.SUSPENDED))
        elif dice.chance(30):
            status = Status.RUNNING
        elif dice.chance(40):
            return None
        return InstanceChange(
            status=status,
            version=dice.pick(("1.0.0", "2.0.0")) if record.version is None and dice.chance(60) else None,
            output=b"output" if dice.chance(20) else None,
            error=b"error" if dice.chance(20) else None,
            custom_status=b"%d" % dice.below(9) if dice.chance(30) else None,
            custom_status_sets=1 + dice.below(3),
            cancel_requested=dice.chance(10),
        )

    def _tasks_of(self, record: InstanceRecord) -> tuple[int, ...]:
        if not self._dice.chance(30):
            return ()
        mine = (record.incarnation, record.execution)
        return self._dice.some([event for *place, event in self._book.tasks if tuple(place) == mine], 3)


def _history(dice: Dice, now: int, first: int, last: int) -> HistoryRow:
    data = b"events %d to %d" % (first, last)
    at = now + dice.pick(DELAYS_US) if dice.chance(10) else first
    return HistoryRow(first=first, last=last, at=at, data=data, crc=checksum(data))
