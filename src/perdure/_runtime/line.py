"""The line of activities that wait for a slot: highest priority first, then first come."""

from collections import deque
from collections.abc import Iterable, Iterator

from perdure._work import ClaimedTask


class Line:
    """Tasks in the order in which they may begin."""

    __slots__ = ("_by_priority", "_length")

    def __init__(self) -> None:
        self._by_priority: dict[int, deque[ClaimedTask]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[ClaimedTask]:
        for tasks in self._by_priority.values():
            yield from tasks

    def join(self, tasks: Iterable[ClaimedTask]) -> None:
        """These wait too, behind those of their priority."""
        known = self._by_priority
        for task in tasks:
            if task.priority not in known:
                known[task.priority] = deque()
            known[task.priority].append(task)
            self._length += 1

    def next(self) -> ClaimedTask:
        """Take out whose turn it is; there must be one."""
        known = self._by_priority
        highest = max(known)
        tasks = known[highest]
        task = tasks.popleft()
        self._length -= 1
        if not tasks:
            del known[highest]
        return task
