"""What has to hold after every call that the store applied.

The book of grants (`ledger`) and the histories (`chronicle`) are kept from what was accepted; here they are compared
with each other and with the rows of the store: everything that was asked for is in exactly one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import _events as ev
from perdure import _work as work
from perdure._core.stage import Stage
from perdure._types import Status, idempotency_key
from perdure.testing.simulation import limits, putting
from perdure.testing.simulation.chronicle import Chronicle
from perdure.testing.simulation.ledger import Ledger, TaskKey, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perdure.storage.memory.rows import InstanceRow, Tables


class Checks:
    """The books on one store. `tables` are its rows, which are read and never written."""

    judges: dict[type, Any]
    """What looks at an item that was applied, by its kind."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.stage = Stage()
        self.ledger = Ledger()
        self.chronicles: dict[int, Chronicle] = {}
        self.by_id: dict[str, int] = {}
        self.closed: dict[int, Chronicle] = {}
        """Those of ended instances, which are not looked at any more."""
        self.mail: dict[int, dict[str, int]] = {}
        """What was sent to an instance and is not in its history: how often, by its data."""
        self.stored_mail: set[str] = set()
        """Everything that was ever sent and accepted."""
        self.dedup: set[tuple[int, str]] = set()
        self.cancels: set[int] = set()
        """Instances that somebody has asked to cancel."""
        self.terminates: set[int] = set()
        self.suspended: set[int] = set()
        """Instances that an operator has set aside."""
        self.gone: set[str] = set()
        self.gone_for_good: set[int] = set()
        """Ids of instances that were deleted or replaced, and their incarnations."""
        self.endings: dict[int, work.InstanceChange] = {}
        self.away: set[int] = set()
        """Instances that have moved to another store; here they count as ended."""
        self._messages: dict[bytes, Any] = {}
        self.begun: dict[TaskKey, int] = {}
        """Tasks that were about to be called, and of which nobody has heard since."""
        self.put_back: set[str] = set()
        """Ids of instances that were put back in their history: who has heard of their end hears nothing more."""
        self.crowded: set[str] = set()
        """Keys of limits of which somebody was given a place that another may have."""
        self.repeatable: set[str] = set()
        """Keys of activities that somebody has had asked for again."""
        self.placed: set[TaskKey] = set()
        """Tasks that were last granted with a place of their limit: what is too late is granted without one."""

    def here(self, chronicles: dict[int, Chronicle]) -> Iterable[Chronicle]:
        """Those of instances that this store has."""
        return chronicles.values()

    def unpacked(self, turn: work.Turn) -> Iterable[work.OutMessage]:
        """What a turn tells others."""
        return turn.messages

    # -- calls of the store ----------------------------------------------------------------------------------------

    def committed(self, batch: work.Batch, answer: work.Committed) -> None:
        """A batch was applied."""
        worker = batch.worker
        is_alive = worker is not None and worker in self.ledger.workers
        if len(answer.outcomes) != len(batch.items):
            raise Violation(f"{len(batch.items)} items had {len(answer.outcomes)} outcomes")
        touched: set[int] = set()
        if batch.items:
            self._judge(batch, answer, touched, is_alive=is_alive)
        if answer.work is not None:
            self._claimed(worker, answer.work, touched)
        elif batch.claim is not None and is_alive:
            raise Violation(f"worker {worker} has a row and was not allowed to claim")
        for incarnation in touched:
            self._conserved(incarnation)
        if touched and limits.may_have_grown(answer):
            limits.check(self.here(self.chronicles), self.ledger, self.placed, self.crowded)

    def _judge(self, batch: work.Batch, answer: work.Committed, touched: set[int], *, is_alive: bool) -> None:
        worker = batch.worker
        with self.stage:
            for item, outcome in zip(batch.items, answer.outcomes, strict=True):
                if isinstance(outcome, work.Applied):
                    self.judges[type(item)](self, item, outcome, worker, answer.now, touched)
                elif outcome.reason is work.Refusal.FENCED and is_alive:
                    raise Violation(f"{type(item).__name__} of worker {worker} was fenced, and it has a row")

    def reaped(self, worker: int, now: int, answer: work.Reaped) -> None:
        """Dead workers were buried, and what nobody can run was held."""
        self.ledger.reaped(worker, now, answer.buried)
        if answer.workers != (len(self.ledger.workers) if worker in self.ledger.workers else 0):
            raise Violation(f"there are said to be {answer.workers} workers, of {list(self.ledger.workers)}")
        for instance_id, _ in answer.held:
            row = self._tables.by_id.get(instance_id)
            if row is None or row.record.status is not Status.HELD:
                raise Violation(f"{instance_id} was said to be held, and is not")
        for incarnation in list(self.ledger.owner):
            row = self._tables.instances.get(incarnation)
            if row is not None and row.record.status is Status.HELD and row.record.owner is None:
                self.ledger.release(incarnation)

    # -- items -----------------------------------------------------------------------------------------------------

    def _started(
        self, item: work.StartInstance, outcome: work.Applied, _: int | None, __: int, touched: set[int]
    ) -> None:
        new = item.new
        if outcome.existing is not None or self.by_id.get(new.id) == new.incarnation:
            return
        present = self.by_id.get(new.id)
        if present is not None:
            self.remove(present, item.cancel)
        self.born(new, touched)

    def born(self, new: work.NewInstance, touched: set[int]) -> Chronicle:
        """An instance was created."""
        if new.id in self.by_id or new.incarnation in self.chronicles or new.incarnation in self.closed:
            raise Violation(f"{new.id} ({new.incarnation}) was created where there is one")
        if new.incarnation in self.gone_for_good:
            raise Violation(f"{new.id} ({new.incarnation}) was deleted or replaced, and was created once more")
        chronicle = Chronicle(new.id, new.incarnation, new.parent)
        self.chronicles[new.incarnation] = chronicle
        self.by_id[new.id] = new.incarnation
        touched.add(new.incarnation)
        return chronicle

    def remove(self, incarnation: int, cancel: bytes | None = None) -> None:
        """An instance is no more."""
        chronicle = self.chronicles.pop(incarnation, None) or self.closed.pop(incarnation, None)
        assert chronicle is not None  # noqa: S101 - it is known by its id
        if cancel is not None and not chronicle.is_closed:
            self.cancels.update(
                each.incarnation
                for each in self.here(self.chronicles)
                if each.parent is not None and each.parent.incarnation == incarnation
            )
        del self.by_id[chronicle.instance_id]
        self.gone.add(chronicle.instance_id)
        self.gone_for_good.add(incarnation)
        self.mail.pop(incarnation, None)
        chronicle.drop(self.stage)
        self.ledger.release(incarnation)
        self.ledger.release_tasks([key for key in self.ledger.task_owner if key[0] == incarnation])

    def _read(self, body: bytes) -> Any:
        """A message, of which most are looked at again after every commit while they wait."""
        message = self._messages.get(body)
        if message is None:
            message = self._messages[body] = work.decode_message(body)
        return message

    def _delivered(self, item: work.Deliver, _: work.Applied, __: int | None, ___: int, touched: set[int]) -> None:
        incarnation = self.by_id.get(item.to_id)
        if incarnation is None:
            raise Violation(f"a message to {item.to_id} was accepted, and there is no such instance")
        if item.dedup_key is not None:
            if (incarnation, item.dedup_key) in self.dedup:
                return
            self.dedup.add((incarnation, item.dedup_key))
        if incarnation in self.closed:
            raise Violation(f"a message to {item.to_id} was accepted, and it has ended")
        message = self._read(item.body)
        if isinstance(message, work.Raised) and item.dedup_key is None:
            text = bytes(message.data).decode()
            if text in self.stored_mail:
                raise Violation(f"the event {text} was sent once, and accepted twice")
        self.mailed(incarnation, item.body)
        touched.add(incarnation)

    def mailed(self, incarnation: int, body: bytes) -> None:
        """An instance was told something."""
        match self._read(body):
            case work.Raised(data=data):
                text = bytes(data).decode()
                mail = self.mail.setdefault(incarnation, {})
                mail[text] = mail.get(text, 0) + 1
                self.stored_mail.add(text)
            case work.Cancel():
                self.cancels.add(incarnation)
            case work.Terminate():
                self.terminates.add(incarnation)

    def _turned(self, turn: work.Turn, _: work.Applied, worker: int | None, now: int, touched: set[int]) -> None:
        ledger, incarnation = self.ledger, turn.incarnation
        if turn.create is not None:
            if worker not in ledger.workers:
                raise Violation(f"a turn that creates {turn.create.id} was taken from {worker}, which has no row")
            self.born(turn.create, touched)
            ledger.grant(worker, incarnation)
        ledger.check_owner(worker, incarnation, "a turn")
        chronicle = self.chronicles[incarnation]
        touched.add(incarnation)
        execution = chronicle.execution
        if turn.history is not None:
            begins = len(chronicle.raised)
            events = chronicle.extend(turn.history, turn.execution, now, self.stage)
            self._check_code(worker, chronicle, events)
            given_up = sum(isinstance(event, ev.ChildCancelled) for event in events)
            told = sum(message.child_of is not None for message in self.unpacked(turn))
            if told < given_up:
                raise Violation(f"{chronicle.instance_id} gave up {given_up} children, and told {told}")
            self._take_mail(chronicle, chronicle.raised[begins:])
        elif turn.execution != execution:
            raise Violation(f"{chronicle.instance_id}: a turn of execution {turn.execution} in {execution}")
        # What ends it without its program reaches it all the same, and a cancel that has come too early is put off.
        ends = turn.history is None or isinstance(chronicle.ended, ev.Terminated)
        if incarnation in self.suspended and not ends:
            raise Violation(f"{chronicle.instance_id} took a turn while it was suspended")
        self._tasks_of(turn, worker, execution)
        for child in turn.starts:
            if child.new.id not in self.by_id:
                self.born(child.new, touched)
        self.send(turn, touched)
        self._end(turn, chronicle)

    def _lacks_code(self, worker: int | None, chronicle: Chronicle) -> bool:
        """Whether a worker can't run the version that has run last."""
        return f"{chronicle.name}@{chronicle.version}" not in self.ledger.workers[worker or 0].names

    def _check_code(self, worker: int | None, chronicle: Chronicle, events: list[Any]) -> None:
        names = self.ledger.workers[worker or 0].names
        if not isinstance(events[0], ev.Terminated) and self._lacks_code(worker, chronicle):
            raise Violation(f"{chronicle.instance_id} of version {chronicle.version} was run by one with {set(names)}")

    def _take_mail(self, chronicle: Chronicle, arrived: list[str]) -> None:
        mail = self.mail.setdefault(chronicle.incarnation, {})
        for text in arrived:
            if mail.get(text):
                mail[text] -= 1
            elif text in self.stored_mail:
                raise Violation(f"{chronicle.instance_id}: external event {text} is in its history once too often")
            # A message from a client of the worker itself may come without ever having been a row.
            self.stored_mail.add(text)

    def _tasks_of(self, turn: work.Turn, worker: int | None, execution: int) -> None:
        ledger = self.ledger
        for task in turn.tasks:
            if task.local and worker is not None:
                ledger.grant_task(worker, (turn.incarnation, execution, task.event))
                ledger.check_tag(worker, task.tag, (turn.incarnation, execution, task.event))
        ledger.release_tasks((turn.incarnation, execution, event) for event in turn.tasks_gone)

    def send(self, turn: work.Turn, touched: set[int]) -> None:
        """A turn tells others."""
        for message in turn.messages:
            receiver = message.to_incarnation if message.to_id is None else self.addressed(message)
            if receiver is not None and receiver in self.chronicles:
                self.mailed(receiver, message.body)
                touched.add(receiver)

    def addressed(self, message: work.OutMessage) -> int | None:
        """Who gets a message by id: with `child_of` only a child of that instance."""
        receiver = self.by_id.get(message.to_id or "")
        if receiver is None or message.child_of is None:
            return receiver
        known = self.chronicles.get(receiver)
        parent = None if known is None else known.parent
        return receiver if parent is not None and parent.incarnation == message.child_of else None

    def _end(self, turn: work.Turn, chronicle: Chronicle) -> None:
        change = turn.change
        status = None if change is None else change.status
        closes = status is not None and status.is_closed
        incarnation = turn.incarnation
        if chronicle.is_closed and not closes:
            raise Violation(f"{chronicle.instance_id} has a terminal event, and its turn says {status}")
        moved = turn.next_start is not None
        if closes or moved:
            # What belonged to the execution goes with it.
            keys = [key for key in self.ledger.task_owner if key[0] == incarnation]
            self.ledger.release_tasks(keys)
        if closes and change is not None:
            chronicle.drop(self.stage)
            self.endings[incarnation] = change
            self.closed[incarnation] = self.chronicles.pop(incarnation)
            self.mail.pop(incarnation, None)
            self.ledger.release(incarnation)

    def _held(self, item: work.Hold, _: work.Applied, worker: int | None, __: int, touched: set[int]) -> None:
        if item.create is not None:
            self.born(item.create, touched)
        else:
            self.ledger.check_owner(worker, item.incarnation, "a hold")
        for body in item.messages:
            if isinstance(self._read(body), work.Raised):
                self.mailed(item.incarnation, body)
        keys = [(item.incarnation, item.execution, event) for event in item.tasks_gone]
        self.ledger.release_tasks(keys)
        self.ledger.release(item.incarnation)
        touched.add(item.incarnation)
        chronicle = self.chronicles[item.incarnation]
        # Older code than it has had must leave it alone; a worker that comes later takes it.
        if chronicle.version is None or not self._lacks_code(worker, chronicle):
            raise Violation(f"{chronicle.instance_id} was held: {item.reason}")

    def _released(
        self, item: work.InstanceRelease, _: work.Applied, worker: int | None, __: int, touched: set[int]
    ) -> None:
        self.ledger.check_owner(worker, item.incarnation, "a release")
        self.ledger.release(item.incarnation)
        touched.add(item.incarnation)

    def _beaten(self, item: work.TaskBeat, _: work.Applied, worker: int | None, now: int, __: set[int]) -> None:
        key = (item.incarnation, item.execution, item.event)
        self.ledger.check_task(worker, key, "progress")
        if item.began:
            self.begun[key] = now

    def _tried(self, item: work.Try, _: work.Applied, worker: int | None, __: int, ___: set[int]) -> None:
        if item.event is None:
            self.ledger.check_owner(worker, item.incarnation, "a try")
        else:
            self.ledger.check_task(worker, (item.incarnation, item.execution, item.event), "a try")

    def _attempt_over(
        self,
        item: work.TaskDone | work.TaskRetry | work.TaskRelease | work.TaskHold,
        _: work.Applied,
        worker: int | None,
        __: int,
        touched: set[int],
    ) -> None:
        key = (item.incarnation, item.execution, item.event)
        self.ledger.check_task(worker, key, type(item).__name__)
        self.ledger.release_tasks([key])
        if isinstance(item, work.TaskDone) or getattr(item, "began_at", None) == self.begun.get(key):
            self.begun.pop(key, None)
        touched.add(item.incarnation)

    def status_of(self, incarnation: int) -> Status | None:
        """What the row of an instance says; None if the commit has removed it."""
        row = self._tables.instances.get(incarnation)
        return None if row is None else row.record.status

    def key_of(self, instance_id: str, event: int) -> str | None:
        """The idempotency key of an activity of the present execution of an instance, if that is open."""
        chronicle = self.chronicles.get(self.by_id.get(instance_id, 0))
        return None if chronicle is None else idempotency_key(chronicle.incarnation, chronicle.execution, event)

    # -- claims ----------------------------------------------------------------------------------------------------

    def _claimed(self, worker: int | None, taken: work.Work, touched: set[int]) -> None:
        if worker is None or worker not in self.ledger.workers:
            raise Violation(f"worker {worker} has no row, and was granted work")
        for instance in taken.instances:
            incarnation = instance.record.incarnation
            if incarnation not in self.chronicles:
                raise Violation(f"instance {instance.record.id} was granted, which has ended or never was")
            self.ledger.grant(worker, incarnation)
            touched.add(incarnation)
        for task in taken.tasks:
            key = (task.incarnation, task.execution, task.event)
            self.ledger.grant_task(worker, key)
            # What is too late is for anybody, to say so.
            if task.deadline is None or task.deadline > taken.now:
                self.ledger.check_tag(worker, task.tag, key)
                self.ledger.check_session(worker, task.session, key)
            (self.placed.add if task.is_limited else self.placed.discard)(key)
            if task.began != (key in self.begun):
                raise Violation(f"task {key} was granted as {'begun' if task.began else 'new'}, and is not")
            touched.add(task.incarnation)

    # -- rows ------------------------------------------------------------------------------------------------------

    def _conserved(self, incarnation: int) -> None:
        """Everything that an instance waits for is in exactly one place."""
        chronicle = self.chronicles.get(incarnation)
        row = self._tables.instances.get(incarnation)
        if chronicle is None:
            self._check_gone(incarnation, row)
            return
        if row is None:
            raise Violation(f"{chronicle.instance_id} ({incarnation}) was lost")
        record = row.record
        facts = (record.id, record.execution, record.last_event, record.owner)
        books = (chronicle.instance_id, chronicle.execution, chronicle.last, self.ledger.owner.get(incarnation))
        if facts != books:
            raise Violation(f"the row of {record.id} says {facts}, what was accepted is {books}")
        self._check_rows(chronicle, row)
        putting.check_histories(chronicle, row)
        putting.check_shown(chronicle, row)

    def _check_gone(self, incarnation: int, row: InstanceRow | None) -> None:
        closed = self.closed.get(incarnation)
        if closed is None:
            if row is not None:
                raise Violation(f"{row.record.id} ({incarnation}) is there, and was deleted")
            return
        if row is None:
            raise Violation(f"{closed.instance_id} ({incarnation}), which has ended, was lost")
        if row.messages or row.timers or row.tasks or row.record.owner is not None or not row.closed:
            raise Violation(f"{closed.instance_id} has ended, and has still rows")
        putting.check_histories(closed, row)
        putting.check_shown(closed, row)

    def _check_rows(self, chronicle: Chronicle, row: InstanceRow) -> None:
        outcomes: set[int] = set()
        answered: set[int] = set()
        mail: dict[str, int] = {}
        for message in row.messages.values():
            match self._read(message.body):
                case work.ActivityOutcome(execution=execution, source=source) if execution == chronicle.execution:
                    if source in outcomes:
                        raise Violation(f"{chronicle.instance_id}: activity {source} has two outcomes")
                    outcomes.add(source)
                case work.ChildOutcome(execution=execution, source=source) if execution == chronicle.execution:
                    answered.add(source)
                case work.Raised(data=data):
                    text = bytes(data).decode()
                    mail[text] = mail.get(text, 0) + 1
        tasks = {event for execution, event in row.tasks if execution == chronicle.execution}
        if len(tasks) != len(row.tasks):
            raise Violation(f"{chronicle.instance_id} has tasks of an execution that has ended: {list(row.tasks)}")
        wanted = chronicle.tasks.keys() | chronicle.places.keys()
        if tasks - wanted or tasks & outcomes or wanted - tasks - outcomes:
            raise Violation(
                f"{chronicle.instance_id} waits for activities {sorted(wanted)}; "
                f"there are tasks {sorted(tasks)} and outcomes {sorted(outcomes)}"
            )
        if row.timers != chronicle.timers:
            raise Violation(f"{chronicle.instance_id} waits for timers {chronicle.timers}; there are {row.timers}")
        sent = {text: count for text, count in self.mail.get(chronicle.incarnation, {}).items() if count}
        if mail != sent:
            raise Violation(f"{chronicle.instance_id} was sent {sent}; there is {mail}")
        self._check_children(chronicle, answered)
        self._check_task_owners(row)

    def _check_children(self, chronicle: Chronicle, answered: set[int]) -> None:
        for event, child in chronicle.children.items():
            found = self.chronicles.get(self.by_id.get(child.instance_id, 0))
            place = (chronicle.incarnation, chronicle.execution, event)
            parent = None if found is None else found.parent
            is_open = parent is not None and (parent.incarnation, parent.execution, parent.event) == place
            if is_open == (event in answered) and child.instance_id not in self.put_back:
                raise Violation(
                    f"{chronicle.instance_id} waits for child {child.instance_id}, which "
                    + ("has ended and is open" if is_open else "is neither open nor has its outcome arrived")
                )

    def _check_task_owners(self, row: InstanceRow) -> None:
        for (execution, event), task in row.tasks.items():
            key: TaskKey = (row.record.incarnation, execution, event)
            if task.new.permit is None and task.owner != self.ledger.task_owner.get(key):
                raise Violation(f"task {key} is with {task.owner}; it was granted to {self.ledger.task_owner.get(key)}")

    # -- other stores ----------------------------------------------------------------------------------------------

    def arrives(self, item: work.Put) -> bool:  # noqa: ARG002 - those of two stores look at it
        """Take in what comes from another store; False if it does not."""
        return False

    def departs(self, incarnation: int) -> None:
        """An instance has left for another store."""
        raise Violation(f"instance {incarnation} has moved, and there is nowhere to go")

    def drop_all(self) -> None:
        """Let go of the programs that run beside the histories."""
        with self.stage:
            for chronicle in [*self.chronicles.values(), *self.closed.values()]:
                chronicle.drop(self.stage)


Checks.judges = {
    work.StartInstance: Checks._started,
    work.Deliver: Checks._delivered,
    work.Delete: putting.deleted,
    work.Turn: Checks._turned,
    work.Hold: Checks._held,
    work.InstanceRelease: Checks._released,
    work.Try: Checks._tried,
    work.TaskBeat: Checks._beaten,
    work.TaskDone: Checks._attempt_over,
    work.TaskRetry: Checks._attempt_over,
    work.TaskRelease: Checks._attempt_over,
    work.TaskHold: Checks._attempt_over,
    work.Suspend: putting.suspended,
    work.Resume: putting.resumed,
    work.Put: putting.put,
    work.MoveOut: putting.moved_out,
    work.Prune: putting.pruned,
    work.TaskDiscard: putting.decided,
}
