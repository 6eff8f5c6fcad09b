"""What was there when workers died, and may be why: it is tried by itself, and set aside if workers go on dying.

Laws kept here: what is tried is counted before, in a commit of its own kind, because nobody can count it afterwards;
what only happened to be there is not counted with it, and goes on as usual once it has done its turn.

Many things die with a worker. So a death counts by itself only up to `SUSPECT_DELIVERIES`; whatever has got so far is
tried once more together with what else has, and from then on alone. The idea of telling who kills from who was killed
along is that of delta debugging.

What a death counts against: beyond `SUSPECT_DELIVERIES` nothing but a `Try` counts, and what is tried alone

- runs beside no other suspect, as it begins after those that are tried together, too, have ended;
- has nothing left to lose when the next is tried, as its end is in the store by then, or in the same commit;
- begins when all that came with it, and was not suspected yet, has ended or lived for `TRIAL_US`: what a worker finds
  when it starts begins at once, and would kill again and again just then.

So a death counts against one task at most, and one instance, whose turn is over in a moment. What no worker can tell
is whether these have killed it: that it was killed from outside just then, or by what began later, counts as well.
That is why one such death is not enough, unless `max_deliveries` says so, and why who has died so often is set aside
and not ended.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from perdure import _work as work
from perdure._ports import Clock
from perdure._runtime.inbox import Ended
from perdure._runtime.orchestrations import Orchestrations
from perdure.errors import HistoryCorruptError, PoisonedError, error_info_from_exception
from perdure.storage.base import SUSPECT_DELIVERIES

TRIAL_US = 5_000_000
"""How long a tried task keeps instances from being tried, and what has just begun others from being tried alone.

What kills its worker mostly does so at once.
"""

TaskKey: TypeAlias = tuple[int, int, int]

C = TypeVar("C", work.ClaimedInstance, work.ClaimedTask)

_log = logging.getLogger("perdure.runtime")


class _Suspect(Struct, Generic[C], frozen=True, eq=False):
    """What waits to be tried, how often it was delivered, and since when it is here."""

    claimed: C
    deliveries: int
    since_us: int


class Suspects:
    """Instances and tasks that this worker owns and has not begun, and those that it is trying.

    Args:
        orchestrations: What instances there are.
        deliveries_max: How many workers may die with one of them.
        clock: Tells how long they wait.
        is_busy: Whether activities run here.
    """

    def __init__(
        self, orchestrations: Orchestrations, deliveries_max: int, clock: Clock, is_busy: Callable[[], bool]
    ) -> None:
        self._orchestrations = orchestrations
        self._max = deliveries_max
        self._clock = clock
        self._is_busy = is_busy
        self._instances: dict[int, _Suspect[work.ClaimedInstance]] = {}
        self._tasks: dict[TaskKey, _Suspect[work.ClaimedTask]] = {}
        self._turning: set[int] = set()
        self._tasks_began = self._instances_began = 0
        self.poisoned = 0
        """Instances and tasks that were set aside here."""
        self.tried: dict[TaskKey, bool] = {}
        """Tasks that are being tried; true for one that is tried alone."""

    @property
    def wait(self) -> bool:
        """Whether there is anything to be tried now."""
        # Asked several times a round, and mostly there are none.
        if not (self._instances or self._tasks):
            return False
        return bool(self._next_instances(begins=False) or self._next_tasks(begins=False))

    def clear(self) -> None:
        """Forget all, as after a crash."""
        self._instances.clear()
        self._tasks.clear()
        self.tried.clear()
        self._turning.clear()

    # -- what comes in ---------------------------------------------------------------------------------------------

    def admit(self, instance: work.ClaimedInstance) -> None:
        """Let an instance take its turn, now or when it is tried."""
        record = instance.record
        known = record.deliveries < SUSPECT_DELIVERIES or self._orchestrations.cached(record.incarnation) is not None
        if known or _needs_no_code(instance):
            self._orchestrations.admit(instance)
        else:
            before = self._instances.get(record.incarnation)
            since_us = self._clock.monotonic_us() if before is None else before.since_us
            self._instances[record.incarnation] = _Suspect(instance, record.deliveries, since_us)

    def sift(self, tasks: Sequence[work.ClaimedTask], now: int) -> list[work.ClaimedTask]:
        """The tasks that may begin now; the others are kept."""
        good = []
        for task in tasks:
            late = task.stopped or (task.deadline is not None and task.deadline <= now)
            if late or task.deliveries < SUSPECT_DELIVERIES:
                good.append(task)
            else:
                self._tasks[_key(task)] = _Suspect(task, task.deliveries, self._clock.monotonic_us())
        return good

    # -- trying ----------------------------------------------------------------------------------------------------

    def items(self, *, begins: bool) -> list[work.Item]:
        """What to commit before the next ones are tried: that they are, or that they are not any more.

        `begins` says whether the same commit lets anything else begin.
        """
        items: list[work.Item] = []
        if not (self._instances or self._tasks):
            return items
        for instance in self._next_instances(begins=begins):
            incarnation = instance.claimed.record.incarnation
            if instance.deliveries > self._max:
                items.append(work.Hold(incarnation=incarnation, reason=_reason(instance.deliveries, "a turn")))
            else:
                items.append(work.Try(incarnation=incarnation))
        for task in self._next_tasks(begins=begins):
            key = _key(task.claimed)
            if task.deliveries > self._max:
                reason = _reason(task.deliveries, f"the activity {task.claimed.name}")
                items.append(work.TaskHold(incarnation=key[0], execution=key[1], event=key[2], reason=reason))
            else:
                items.append(work.Try(incarnation=key[0], execution=key[1], event=key[2]))
        return items

    def _next_instances(self, *, begins: bool) -> list[_Suspect[work.ClaimedInstance]]:
        if self._is_turning() or (self.tried and self._clock.monotonic_us() < self._tasks_began + TRIAL_US):
            return []
        return self._first_group(self._instances.values(), 0, begins=begins)

    def _next_tasks(self, *, begins: bool) -> list[_Suspect[work.ClaimedTask]]:
        # Instances first: a turn is short, and a task that kills must not be counted against one.
        if any(self.tried.values()) or self._instances or self._is_turning():
            return []
        # Turns that were tried may have asked for activities that nobody suspects yet: these are given time, too.
        return self._first_group(self._tasks.values(), self._instances_began, begins=begins, alone=not self.tried)

    def _first_group(
        self, waiting: Collection[_Suspect[C]], began: int, *, begins: bool, alone: bool = True
    ) -> list[_Suspect[C]]:
        """Whom to look at next: all that are to be set aside or tried together, or else one that may be tried alone."""
        together = [each for each in waiting if each.deliveries == SUSPECT_DELIVERIES or each.deliveries > self._max]
        if together or not (waiting and alone):
            return together
        # Who is killed from outside now and then while these are tried: that counts once against many, not against one.
        first = min(waiting, key=lambda each: each.deliveries)
        is_quiet = not (begins or self._is_busy() or self._orchestrations.queue)
        return [first] if is_quiet or self._clock.monotonic_us() >= max(first.since_us, began) + TRIAL_US else []

    def _is_turning(self) -> bool:
        """Whether an instance that is tried has its turn still before it."""
        lives = map(self._orchestrations.cached, self._turning)
        self._turning = {live.incarnation for live in lives if live is not None and live.queued}
        return bool(self._turning)

    def settle(self, items: Sequence[work.Item], outcomes: Sequence[work.Outcome]) -> list[work.ClaimedTask]:
        """The commit is durable: what was counted may begin, what was set aside is told. Returns the tasks."""
        started: list[work.ClaimedTask] = []
        for item, outcome in zip(items, outcomes, strict=False):
            landed = isinstance(outcome, work.Applied)
            if isinstance(item, work.Hold) and item.incarnation in self._instances:
                instance = self._instances.pop(item.incarnation)
                if landed:
                    self.poisoned += 1
                    record = instance.claimed.record
                    _log.error("%s (%s) is held: %s", record.id, record.name, item.reason)
            elif isinstance(item, work.TaskHold):
                task = self._tasks.pop((item.incarnation, item.execution, item.event), None)
                if landed and task is not None:
                    self.poisoned += 1
                    _log.error("activity %d of %s is held: %s", item.event, task.claimed.instance_id, item.reason)
            elif isinstance(item, work.Try):
                self._begin(item, started, landed=landed)
        return started

    def _begin(self, item: work.Try, started: list[work.ClaimedTask], *, landed: bool) -> None:
        if item.event is None:
            instance = self._instances.pop(item.incarnation, None)
            if landed and instance is not None:
                self._orchestrations.admit(instance.claimed)
                self._turning.add(item.incarnation)
                self._instances_began = self._clock.monotonic_us()
            return
        task = self._tasks.pop((item.incarnation, item.execution, item.event), None)
        if landed and task is not None:
            self.tried[_key(task.claimed)] = task.deliveries > SUSPECT_DELIVERIES
            self._tasks_began = self._clock.monotonic_us()
            started.append(task.claimed)

    def over(self, task: work.ClaimedTask) -> bool:
        """A task has ended, in whatever way that left the worker alive; whether it was tried."""
        return self.tried.pop(_key(task), None) is not None

    def ended(self, entries: list[Ended]) -> tuple[list[Ended], list[Ended]]:
        """Those that were not tried, and those that were: they have ended when that is in the store."""
        others, tried = list[Ended](), list[Ended]()
        for entry in entries:
            (tried if self.over(entry.task) else others).append(entry)
        return others, tried


def _key(task: work.ClaimedTask) -> TaskKey:
    return task.incarnation, task.execution, task.event


def _reason(deliveries: int, what: str) -> str:
    error = PoisonedError(
        f"{deliveries - 1} workers died while they ran {what}, at last while it was tried alone: find out why (out of "
        "memory, a crash of native code, os._exit), mend it, then retry or discard it; if something else has ended "
        "them (kill -9, a machine that went down), retry it"
    )
    return error_info_from_exception(error).summary


def _needs_no_code(instance: work.ClaimedInstance) -> bool:
    """Whether it comes for no more than a control message, or somebody ends it: for neither anything of it is run."""
    if instance.for_control:
        return True
    for message in instance.messages:
        if message.timer is None:
            # What can't be read holds its instance when that is tried; here it must not stop the others.
            with suppress(msgspec.DecodeError, UnicodeDecodeError, HistoryCorruptError):
                if isinstance(work.decode_message(message.body), work.Terminate):
                    return True
    return False
