"""Who waits for news of which instance: told from memory after a commit, from the store for all that is not here."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice

from perdure._client.requests import Ending, Watch, remember, standings, tell
from perdure._runtime.live import Live
from perdure._types import Status
from perdure._work import Delete, Item, MoveOut, Put, StartInstance
from perdure.errors import StorageError
from perdure.storage.base import Inspector

RECENT_MAX = 10_000
"""Endings kept in memory for those who ask a little late."""
RECENT_OUTPUT_BYTES_MAX = 16_384
WATCHED_LOOKED_AT_MAX = 100
"""Instances in memory that are looked up without a reason in one round, should anything of them have been missed."""
REPLACING = ("restart_if_closed", "terminate_and_restart")

_log = logging.getLogger("perdure.runtime")


class Watches:
    """The waiting clients of one worker."""

    def __init__(self, inspector: Inspector, live_by_id: Callable[[str], Live | None]) -> None:
        self._inspector = inspector
        self._live_by_id = live_by_id
        self._watches: dict[str, list[Watch]] = {}
        self.fresh: set[str] = set()
        """Of whom somebody waits for news, and who are to be looked up."""
        self.eager: set[str] = set()
        """Of whom somebody wants to hear after any turn, and not only of the end."""
        self._recent: OrderedDict[str, tuple[int, Ending]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(watches) for watches in self._watches.values())

    @property
    def is_end_awaited(self) -> bool:
        """Whether somebody waits for an instance to end."""
        return any(watch.until_closed and watch.wanted() for watches in self._watches.values() for watch in watches)

    def add(self, watch: Watch) -> None:
        """Somebody waits; what is not in this worker's memory is looked up in the next `look_for_fresh`."""
        recent = self._recent.get(watch.instance_id)
        if watch.until_closed and recent is not None and recent[0] == watch.incarnation:
            watch.resolve(recent[1])
            return
        remember(self._watches, watch)
        if not watch.until_closed:
            self.eager.add(watch.instance_id)
        live = self._live_by_id(watch.instance_id)
        if live is None or (watch.incarnation is not None and watch.incarnation != live.incarnation):
            self.fresh.add(watch.instance_id)

    def turned(self, live: Live, ending: Ending | None) -> None:
        """A turn of this instance is durable, by which it may have ended."""
        if ending is not None:
            self._keep(live, ending)
        if live.instance_id in self._watches:
            self._tell(live.instance_id, live.incarnation, ending, changed=True)

    def _keep(self, live: Live, ending: Ending) -> None:
        # What has failed may yet be rewound, by anybody.
        if ending.status is not Status.COMPLETED:
            return
        if ending.output is None or len(ending.output) <= RECENT_OUTPUT_BYTES_MAX:
            self._recent[live.instance_id] = (live.incarnation, ending)
            if len(self._recent) > RECENT_MAX:
                self._recent.popitem(last=False)

    def look_again(self, instance_id: str) -> None:
        """What memory knew of an instance was not so: look it up."""
        if instance_id in self._watches:
            self.fresh.add(instance_id)

    def look_for_fresh(self) -> bool:
        """Look up those that memory says nothing of; False if the store could not say."""
        if not self.fresh:
            return True
        fresh, self.fresh = self.fresh, set()
        return self._look(fresh, changed=False)

    def look_without_reason(self) -> None:
        """Look up those that are not in this worker's memory, and a few of the others, of which it has heard anyway."""
        watches = self._watches
        chosen = set(islice(watches, WATCHED_LOOKED_AT_MAX))
        for instance_id in chosen:
            # To the end of the line: next time others are looked up.
            watches[instance_id] = watches.pop(instance_id)
        chosen.update(instance_id for instance_id in watches if self._live_by_id(instance_id) is None)
        if chosen:
            self._look(chosen, changed=True)

    def look(self, instance_ids: Iterable[str] | None = None) -> None:
        """Others have written: look these up, or all that anybody waits for."""
        if self._watches:
            self._look(self._watches if instance_ids is None else self._watches.keys() & instance_ids, changed=True)

    def asked_for(self, item: Item) -> None:
        """This request of a client is durable: look up what it may have removed."""
        if isinstance(item, Delete | MoveOut | Put):
            self.look()
        elif isinstance(item, StartInstance) and item.on_conflict in REPLACING:
            self.look([item.new.id])

    def _look(self, instance_ids: Iterable[str], *, changed: bool) -> bool:
        ids = sorted(instance_ids)
        try:
            found = standings(self._inspector, ids)
        except StorageError as error:
            _log.warning("could not look for news of instances: %s; trying again", error)
            self.fresh.update(ids)
            return False
        for instance_id in ids:
            if instance_id in found:
                self._tell(instance_id, *found[instance_id], changed=changed)
                continue
            live = self._live_by_id(instance_id)
            if live is None or live.create is None:
                self._tell(instance_id, None, None, changed=True)
        return True

    def _tell(self, instance_id: str, incarnation: int | None, ending: Ending | None, *, changed: bool) -> None:
        waits = tell(self._watches, instance_id, incarnation, ending, changed=changed)
        if changed or not waits:
            # They have been told.
            self.eager.discard(instance_id)

    def give_up(self, instance_id: str, error: BaseException) -> None:
        """The instance will not end: tell those who wait for that."""
        watches = self._watches.pop(instance_id, [])
        kept = [watch for watch in watches if not watch.until_closed]
        if kept:
            self._watches[instance_id] = kept
        for watch in watches:
            if watch.until_closed:
                watch.resolve(error)

    def close(self, error: BaseException) -> None:
        """Nobody will tell them any more."""
        for watches in self._watches.values():
            for watch in watches:
                watch.resolve(error)
        self._watches.clear()
        self.eager.clear()
