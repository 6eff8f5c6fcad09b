"""Activities that run here for orchestrations that may be elsewhere: what is decided of them there is heard here."""

import logging
from collections.abc import Iterable, Sequence

from perdure._runtime.attempts import TaskKey, key_of
from perdure._runtime.hands import Hands
from perdure._work import Applied, ClaimedTask, Item, Outcome, Standing, TaskBeat
from perdure.errors import StorageError
from perdure.storage.base import Storage

_log = logging.getLogger("perdure.runtime")


class Lookout:
    """The activities that this worker has claimed. Those that its own turns have born hear from these turns."""

    def __init__(self, storage: Storage, hands: Hands) -> None:
        self._storage = storage
        self._hands = hands
        self.tasks: dict[TaskKey, bool] = {}
        """Whether each has been told to stop."""

    def took(self, tasks: Iterable[ClaimedTask]) -> None:
        """These run here now."""
        self.tasks.update((key_of(task), task.stopped) for task in tasks)

    def left(self, task: ClaimedTask) -> None:
        """It runs here no more."""
        self.tasks.pop(key_of(task), None)

    def clear(self) -> None:
        """Whatever runs here is another worker's now."""
        self.tasks.clear()
        self._hands.lose()

    def heard(self, items: Sequence[Item], outcomes: Sequence[Outcome], now: int) -> None:
        """A commit is durable: those that wait for that, to be called, may be, or may not."""
        begun: dict[TaskKey, int] = {}
        refused: list[TaskKey] = []
        for item, outcome in zip(items, outcomes, strict=False):
            if isinstance(item, TaskBeat) and item.began:
                key = (item.incarnation, item.execution, item.event)
                if isinstance(outcome, Applied):
                    begun[key] = now
                else:
                    refused.append(key)
        if begun:
            self._hands.begin(begun)
        if refused:
            self._hands.renounce(refused)

    def look(self, worker: int) -> None:
        """Ask the store how they stand, and tell those that shall end."""
        if not self.tasks:
            return
        keys = list(self.tasks)
        try:
            standings = self._storage.standings(worker, keys)
        except StorageError as error:
            _log.warning("could not look whether activities are still wanted: %s", error)
            return
        if standings.count(Standing.WANTED) == len(keys):
            return
        gone = [key for key, standing in zip(keys, standings, strict=True) if standing is Standing.GONE]
        stopped = [
            key
            for key, standing in zip(keys, standings, strict=True)
            if standing is Standing.STOPPED and not self.tasks[key]
        ]
        if gone:
            self._hands.cancel(gone)
        if stopped:
            self._hands.stop(stopped)
        for key in gone:
            del self.tasks[key]
        self.tasks.update(dict.fromkeys(stopped, True))
