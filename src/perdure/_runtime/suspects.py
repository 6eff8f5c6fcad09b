"""What was there when workers died, and may be why: it is tried by itself, and set aside if workers go on dying.

Laws kept here: what is tried is counted before, in a commit of its own kind, because nobody can count it afterwards;
what only happened to be there is not counted with it, and goes on as usual once it has done its turn.

Many things die with a worker. So a death counts by itself only up to `SUSPECT_DELIVERIES`; whatever has got so far is
tried once more together with what else has, and from then on alone. The idea of telling who kills from who was killed
along is that of delta debugging.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeAlias, TypeVar

import msgspec

from perdure import _work as work
from perdure._ports import Clock
from perdure._runtime.orchestrations import Orchestrations
from perdure.errors import HistoryCorruptError, PoisonedError, error_info_from_exception
from perdure.storage.base import SUSPECT_DELIVERIES

TRIAL_US = 5_000_000
"""How long a task that is tried keeps instances from being tried: what kills its worker mostly does so at once."""

TaskKey: TypeAlias = tuple[int, int, int]

T = TypeVar("T")

_log = logging.getLogger("perdure.runtime")


class Suspects:
    """Instances and tasks that this worker owns and has not begun, and those that it is trying."""

    def __init__(self, orchestrations: Orchestrations, deliveries_max: int, clock: Clock) -> None:
        self._orchestrations = orchestrations
        self._max = deliveries_max
        self._clock = clock
        self._instances: dict[int, work.ClaimedInstance] = {}
        self._tasks: dict[TaskKey, work.ClaimedTask] = {}
        self._turning: set[int] = set()
        self._tasks_began = 0
        self.poisoned = 0
        """Instances and tasks that were set aside here."""
        self.tried: dict[TaskKey, bool] = {}
        """Tasks that are being tried; true for one that is tried alone."""

    @property
    def wait(self) -> bool:
        """Whether there is anything to be tried now."""
        # Asked several times a round, and mostly there are none.
        return bool((self._instances or self._tasks) and (self._next_instances() or self._next_tasks()))

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
            self._instances[record.incarnation] = instance

    def sift(self, tasks: Sequence[work.ClaimedTask], now: int) -> list[work.ClaimedTask]:
        """The tasks that may begin now; the others are kept."""
        good = []
        for task in tasks:
            late = task.stopped or (task.deadline is not None and task.deadline <= now)
            if late or task.deliveries < SUSPECT_DELIVERIES:
                good.append(task)
            else:
                self._tasks[_key(task)] = task
        return good

    # -- trying ----------------------------------------------------------------------------------------------------

    def items(self) -> list[work.Item]:
        """What to commit before the next ones are tried: that they are, or that they are not any more."""
        items: list[work.Item] = []
        if not (self._instances or self._tasks):
            return items
        for instance in self._next_instances():
            record = instance.record
            if record.deliveries > self._max:
                items.append(work.Hold(incarnation=record.incarnation, reason=_reason(record.deliveries, "a turn")))
            else:
                items.append(work.Try(incarnation=record.incarnation))
        for task in self._next_tasks():
            key = _key(task)
            if task.deliveries > self._max:
                reason = _reason(task.deliveries, f"the activity {task.name}")
                items.append(work.TaskHold(incarnation=key[0], execution=key[1], event=key[2], reason=reason))
            else:
                items.append(work.Try(incarnation=key[0], execution=key[1], event=key[2]))
        return items

    def _next_instances(self) -> list[work.ClaimedInstance]:
        if self._is_turning() or (self.tried and self._clock.monotonic_us() < self._tasks_began + TRIAL_US):
            return []
        return _first_group(list(self._instances.values()), lambda each: each.record.deliveries, self._max)

    def _next_tasks(self) -> list[work.ClaimedTask]:
        # Instances first: a turn is short, and a task that kills must not be counted against one.
        if any(self.tried.values()) or self._instances or self._is_turning():
            return []
        return _first_group(list(self._tasks.values()), lambda each: each.deliveries, self._max)

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
                    _log.error("%s (%s) is held: %s", instance.record.id, instance.record.name, item.reason)
            elif isinstance(item, work.TaskHold):
                task = self._tasks.pop((item.incarnation, item.execution, item.event), None)
                if landed and task is not None:
                    self.poisoned += 1
                    _log.error("activity %d of %s is held: %s", item.event, task.instance_id, item.reason)
            elif isinstance(item, work.Try):
                self._begin(item, started, landed=landed)
        return started

    def _begin(self, item: work.Try, started: list[work.ClaimedTask], *, landed: bool) -> None:
        if item.event is None:
            instance = self._instances.pop(item.incarnation, None)
            if landed and instance is not None:
                self._orchestrations.admit(instance)
                self._turning.add(item.incarnation)
            return
        task = self._tasks.pop((item.incarnation, item.execution, item.event), None)
        if landed and task is not None:
            self.tried[_key(task)] = task.deliveries > SUSPECT_DELIVERIES
            self._tasks_began = self._clock.monotonic_us()
            started.append(task)

    def over(self, task: work.ClaimedTask) -> None:
        """A task has ended, in whatever way that left the worker alive."""
        self.tried.pop(_key(task), None)


def _first_group(waiting: list[T], deliveries: Callable[[T], int], most: int) -> list[T]:
    """Whom to look at next: all that are to be set aside or tried together, or else one that is tried alone."""
    together = [each for each in waiting if deliveries(each) == SUSPECT_DELIVERIES or deliveries(each) > most]
    return together or waiting[:1]


def _key(task: work.ClaimedTask) -> TaskKey:
    return task.incarnation, task.execution, task.event


def _reason(deliveries: int, what: str) -> str:
    error = PoisonedError(
        f"{deliveries - 1} workers died while they ran {what}: find out why (out of memory, a crash of native code, "
        "os._exit), mend it, then retry or discard it"
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
