"""The line of activities that wait for a slot: highest priority first, then first come.

One that needs a thread has no slot before there is one: it would count as running, and keep out others that can begin.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence

from perdure._registry import Registry
from perdure._runtime.attempts import Attempt
from perdure._runtime.threads import Threads
from perdure._work import ClaimedTask


class Line:
    """Tasks in the order in which they may begin; `length` says how many there are."""

    __slots__ = ("_by_priority", "_first", "length")

    def __init__(self) -> None:
        self._by_priority: dict[int, deque[ClaimedTask]] = {}
        self._first: deque[ClaimedTask] = deque()
        """Those of the highest priority; empty only when nobody waits."""
        self.length = 0

    def __iter__(self) -> Iterator[ClaimedTask]:
        for tasks in self._by_priority.values():
            yield from tasks

    def join(self, tasks: Sequence[ClaimedTask]) -> None:
        """These wait too, behind those of their priority."""
        known = self._by_priority
        priorities = {task.priority for task in tasks}
        for priority in priorities:
            if priority not in known:
                known[priority] = deque()
            known[priority] += tasks if len(priorities) == 1 else [task for task in tasks if task.priority == priority]
        self.length += len(tasks)
        self._look()

    def _look(self) -> None:
        """Find out whose turn it is, and forget the priorities that nobody has."""
        known = self._by_priority
        for priority in [priority for priority, tasks in known.items() if not tasks]:
            del known[priority]
        self._first = known[max(known)] if known else deque()

    @property
    def first(self) -> ClaimedTask:
        """Whose turn it is; there must be one."""
        return self._first[0]

    def next(self) -> ClaimedTask:
        """Take out whose turn it is; there must be one."""
        first = self._first
        task = first.popleft()
        self.length -= 1
        if not first and self.length:
            self._look()
        return task


def plain_names(registry: Registry) -> frozenset[str]:
    """All names of activities that need a thread."""
    plain = {name for name, activity in registry.activities.items() if not activity.is_async}
    return frozenset(plain.union(alias for alias, name in registry.activity_aliases.items() if name in plain))


class WaitingRoom:
    """The line before the slots, in which those that wait for a thread let others pass.

    Args:
        plain: The names of the activities that need a thread.
        threads: These.
    """

    __slots__ = ("_line", "_plain", "_seated", "_threads", "_turn", "length")

    def __init__(self, plain: Collection[str], threads: Threads) -> None:
        self._plain = plain
        self._threads = threads
        self._line = self._turn = Line()
        self._seated = Line()
        """Those whose turn had come when there was no thread: whoever of their priority is in line came later."""
        self.length = 0

    def __iter__(self) -> Iterator[ClaimedTask]:
        yield from self._seated
        yield from self._line

    def join(self, tasks: Sequence[ClaimedTask]) -> None:
        """These wait too, behind those of their priority."""
        self._line.join(tasks)
        self.length += len(tasks)

    def can_begin(self) -> bool:
        """Whether one of them can begin, if there is a slot."""
        line, seated = self._line, self._seated
        has_thread = self._threads.has_one
        if seated.length and has_thread and (not line.length or seated.first.priority >= line.first.priority):
            self._turn = seated
            return True
        self._turn = line
        while line.length:
            if has_thread or line.first.name not in self._plain:
                return True
            seated.join([line.next()])
        return False

    def next(self) -> ClaimedTask:
        """Take out the one that can begin; there must be one."""
        self.length -= 1
        return self._turn.next()

    def keep_a_thread(self, attempt: Attempt) -> None:
        """One has begun: there shall be a thread when it comes to call it."""
        if attempt.task.name in self._plain:
            attempt.is_promised = True
            self._threads.promised += 1

    def lend_the_thread(self, attempt: Attempt) -> None:
        """It is about to use the thread that is kept for it, or never will."""
        if attempt.is_promised:
            attempt.is_promised = False
            self._threads.promised -= 1

    def clear(self) -> list[ClaimedTask]:
        """Take out all."""
        everyone = list(self)
        self._line, self._seated, self.length = Line(), Line(), 0
        return everyone
