"""The line of activities that wait for a slot: highest priority first, then first come."""

from collections import deque
from collections.abc import Iterator, Sequence

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

    def next(self) -> ClaimedTask:
        """Take out whose turn it is; there must be one."""
        first = self._first
        task = first.popleft()
        self.length -= 1
        if not first and self.length:
            self._look()
        return task
