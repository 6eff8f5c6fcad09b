"""How the items of a batch are applied: worked out here on rows that are locked, and written all at once.

Laws kept here: the result is that of applying the items one after the other; whatever an item may touch is locked
before the store's clock is read, and the clock is read before anything is judged.

One segment is the rule: a trip that locks and looks, a trip that writes and commits. Items that reach far (a delete, a
restart of what is there) and those whose answer the segment does not know begin a segment of their own.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from perdure._work import (
    APPLIED,
    Delete,
    Deliver,
    Forget,
    Hold,
    Item,
    MoveOut,
    NewInstance,
    Outcome,
    OutMessage,
    Prune,
    Put,
    Receive,
    Resume,
    Settle,
    ShardItem,
    StartInstance,
    Suspend,
    TaskBeat,
    TaskDone,
    TaskHold,
    TaskRelease,
    TaskRetry,
    Try,
    Turn,
)
from perdure.storage.lanes import lane_of
from perdure.storage.postgres import far_items
from perdure.storage.postgres.arrays import bigint, bigints, texts
from perdure.storage.postgres.changes import writes
from perdure.storage.postgres.items import CutError, apply
from perdure.storage.postgres.parcels import named
from perdure.storage.postgres.steps import goes_on, is_step
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.wire import Call, Rows
from perdure.storage.postgres.working import Row, Working
from perdure.storage.segments import payload_bytes

_SEGMENT_BYTES = 64 * 1024 * 1024
"""PostgreSQL takes at most 1 GB in one value, and a segment's payloads of one kind are one."""


class Plan:
    """What to lock and look at for some items, and the answers.

    `shares` says that the instances are to go on meanwhile.
    """

    def __init__(self, items: Sequence[Item], worker: int | None, *, shares: bool = False) -> None:
        self._shares = shares
        self._incarnations: set[int] = set()
        self._ids: set[str] = set()
        self._turns: dict[tuple[int, int], None] = {}
        """The executions that turns go on with, in order; not all of them need be those of their instances."""
        self._steps: dict[int, Turn] = {}
        """By incarnation, those that nobody else names."""
        self._tasks: list[tuple[int, int, int]] = []
        self._keys: list[tuple[str, str]] = []
        self._worker = worker
        for item in items:
            if not isinstance(item, Turn):
                self._other(item)
            elif worker is not None and is_step(item) and item.incarnation not in self._steps:
                self._steps[item.incarnation] = item
            else:
                self._turn(item)
        for incarnation in self._incarnations & self._steps.keys():
            self._turn(self._steps.pop(incarnation))

    def _turn(self, turn: Turn) -> None:
        self._incarnations.add(turn.incarnation)
        if turn.create is not None:
            self._ids.add(turn.create.id)
        else:
            self._turns[turn.incarnation, turn.execution] = None
        if turn.starts or turn.messages:
            self._others([child.new for child in turn.starts], turn.messages)

    def _others(self, news: Iterable[NewInstance], messages: Iterable[OutMessage]) -> None:
        """Instances that are made or told something."""
        for new in news:
            self._ids.add(new.id)
            self._incarnations.add(new.incarnation)
        for message in messages:
            if message.to_id is not None:
                self._ids.add(message.to_id)
            elif message.to_incarnation is not None:
                self._incarnations.add(message.to_incarnation)

    def _other(self, item: Item) -> None:
        match item:
            case StartInstance(new=new):
                self._ids.add(new.id)
                self._incarnations.add(new.incarnation)
            case Deliver(to_id=to_id, dedup_key=key):
                self._ids.add(to_id)
                if key is not None:
                    self._keys.append((to_id, key))
            case Delete(id=id_) | Prune(id=id_) | Suspend(id=id_) | Resume(id=id_):
                self._ids.add(id_)
            case Put() | MoveOut() | Receive() | Settle() | Forget():
                self._many(item)
            case Try(incarnation=incarnation, event=None):
                self._incarnations.add(incarnation)
            case Try(incarnation=incarnation, execution=execution, event=int(event)):
                self._incarnations.add(incarnation)
                self._tasks.append((incarnation, execution, event))
            case TaskDone() | TaskBeat() | TaskRetry() | TaskRelease() | TaskHold():
                self._incarnations.add(item.incarnation)
                self._tasks.append((item.incarnation, item.execution, item.event))
            case Hold(create=create) if create is not None:
                self._ids.add(create.id)
                self._incarnations.add(create.incarnation)
            case _:
                self._incarnations.add(item.incarnation)

    def _many(self, item: Put | MoveOut | ShardItem) -> None:
        """What comes with all its rows, and what goes; what comes from other shards."""
        if isinstance(item, ShardItem):
            self._others(*named(item))
            return
        if isinstance(item, Put):
            self._ids.update(image.record.id for image in item.images)
            self._incarnations.update(image.record.incarnation for image in item.images)
            self._incarnations.update(item.while_open)
        stamps = item.instead_of if isinstance(item, Put) else item.stamps
        self._incarnations.update(stamp.incarnation for stamp in stamps)

    def calls(self) -> list[Call]:
        """The statements that lock and look; the answers go to `learn`."""
        if not self._incarnations and not self._ids and not self._steps:
            return []
        incarnations = bigints(sorted([*self._incarnations, *self._steps]))
        calls: list[Call] = []
        if self._shares:
            calls.append(("share_instances", (incarnations, texts(sorted(self._ids)))))
        elif self._ids:
            calls.append(("lock_instances", (incarnations, texts(sorted(self._ids)))))
        else:
            calls.append(("lock_instances_by_incarnation", (incarnations,)))
        if self._turns or self._steps:
            executions = [*self._turns, *((turn.incarnation, turn.execution) for turn in self._steps.values())]
            calls.append(("last_events", [bigints(each) for each in zip(*executions, strict=True)]))
        if self._tasks:
            keys = zip(*self._tasks, strict=True)
            calls.append(("judge_tasks", [*(bigints(each) for each in keys), bigint(self._worker)]))
        if self._keys:
            keys_of = zip(*self._keys, strict=True)
            calls.append(("known_keys", [texts(each) for each in keys_of]))
        return calls

    def learn(self, answers: list[Rows], now: int) -> Working:
        """What the answers say."""
        working = Working(self._worker, now)
        if not answers:
            return working
        rest = iter(answers)
        going_on = self._look_at_rows(working, next(rest))
        if self._turns or self._steps:
            self._look_at_events(working, going_on, next(rest))
        if self._tasks:
            for incarnation, execution, event, lane in next(rest):
                working.owned_tasks.setdefault(incarnation, set()).add((execution, event))
                if lane is not None:
                    working.lanes.add(lane)
        if self._keys:
            working.known_keys.update(next(rest))
        return working

    def _look_at_rows(self, working: Working, rows: Rows) -> dict[int, tuple[Any, ...]]:
        """Those of the rows that are as steps expect them, and need not be worked on."""
        steps, ids = self._steps, self._ids
        going_on: dict[int, tuple[Any, ...]] = {}
        for row in rows:
            step = steps.get(row[0])
            if step is not None and goes_on(step, row, self._worker) and row[1] not in ids:
                going_on[row[0]] = row
            else:
                working.know(Row(row, working.now))
        return going_on

    def _look_at_events(self, working: Working, going_on: dict[int, tuple[Any, ...]], rows: Rows) -> None:
        last_events = iter(rows)
        for (incarnation, execution), last in zip(self._turns, last_events, strict=False):
            _add_last(working, incarnation, execution, last)
        for turn, last in zip(self._steps.values(), last_events, strict=True):
            incarnation = turn.incarnation
            row = going_on.get(incarnation)
            if row is not None and last[0] == turn.base:
                working.steps[incarnation] = last[1]
                continue
            if row is not None:
                working.know(Row(row, working.now))
            _add_last(working, incarnation, turn.execution, last)


def _add_last(working: Working, incarnation: int, execution: int, last: Sequence[int]) -> None:
    known = working.by_incarnation.get(incarnation)
    if known is not None and known.execution == execution:
        known.last_event, committed_at = last
        known.updated_at = max(known.updated_at, committed_at)


class Batches:
    """The items of a batch on their way: `first` says what to send with the begin, `finish` what with the commit."""

    def __init__(self, items: Sequence[Item], worker: int | None, busy: frozenset[str] = frozenset()) -> None:
        self._items = items
        self._busy = busy
        self._outcomes: list[Outcome] = [APPLIED] * len(items)
        self._worker = worker
        self.woken: set[int] = set()
        self.news = False
        self.frees = False
        """Whether a task may have ended, or gone back, that had a place of a limit."""
        self.lanes: set[str] = set()
        """Those of the tasks that are added, or may go back."""
        self.wrote = False
        self._end = self._segment_end(0)
        self._plan = Plan(items[: self._end], worker)

    def first(self) -> list[Call]:
        """The statements of the first look."""
        return self._plan.calls()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """One for each item."""
        return tuple(self._outcomes)

    def finish(self, transaction: Transaction, answers: list[Rows]) -> list[Call]:
        """Apply all items; returns the writes that are still to be sent, with the commit."""
        start, plan = 0, self._plan
        if transaction.worker != self._worker:
            # Somebody has buried the worker: its own items are judged as nobody's.
            plan = Plan(self._items[: self._end], None)
            answers = transaction.run(plan.calls()) if self._end else []
        while True:
            working = plan.learn(answers, transaction.now)
            working.busy = self._busy
            reached = self._apply_segment(transaction, working, start)
            calls = writes(working)
            self.woken |= working.woken
            self.news = self.news or working.news
            self.frees = self.frees or working.frees
            self.lanes |= working.lanes
            for tasks in working.tasks.values():
                self.lanes.update(lane for task in tasks.values() if (lane := lane_of(task)) is not None)
            if transaction.front is not None:
                transaction.front.adds(due for timers in working.timers.values() for due in timers.values())
            self.wrote = self.wrote or bool(calls)
            if reached == len(self._items):
                return calls
            start, self._end = reached, self._segment_end(reached)
            plan = Plan(self._items[start : self._end], transaction.worker)
            # What was worked out so far lands before the next look.
            looks = plan.calls()
            answers = transaction.run([*calls, *looks])[len(calls) :]

    def _segment_end(self, start: int) -> int:
        size = 0
        for place in range(start, len(self._items)):
            size += payload_bytes(self._items[place])
            if size > _SEGMENT_BYTES and place > start:
                return place
        return len(self._items)

    def _apply_segment(self, transaction: Transaction, working: Working, start: int) -> int:
        """Apply items up to the one that begins the next segment; returns its place."""
        items, outcomes, steps = self._items, self._outcomes, working.steps
        for place in range(start, self._end):
            item = items[place]
            if type(item) is Turn:
                if item.incarnation in steps:
                    working.step(item)
                    continue
            elif far_items.reaches_far(working, item):
                if place > start:
                    return place
                outcomes[place] = far_items.apply(transaction, working, item)
                return place + 1
            try:
                outcomes[place] = apply(transaction, working, item)
            except CutError:
                return place
        return self._end
