"""The external events of one execution: a queue for each name, and the waits for it.

Laws kept here: an event goes to the oldest open wait of its name, or stays unread until a wait takes it, the oldest
first; so an open wait and an unread event of one name never stand side by side. An event that a wait was given and that
no code has seen can be given back, to its old place. Which wait got which event is written down by the execution.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from msgspec import Raw

from perdure._core.asks import WaitFuture, resolve
from perdure._events import Carried


class Mailboxes:
    """Who waits for which name, what nobody has read, and which waits hold an event that no code has seen yet."""

    __slots__ = ("_given", "_unread", "_waiting")

    def __init__(self) -> None:
        self._unread: dict[str, deque[tuple[int, Raw]]] = {}
        self._waiting: dict[str, deque[WaitFuture[Any]]] = {}
        self._given: list[WaitFuture[Any]] = []

    def put(self, name: str, event_id: int, data: Raw) -> None:
        """Keep an event that nobody waits for. One that an earlier execution left has an id below 0."""
        self._unread.setdefault(name, deque()).append((event_id, data))

    def oldest_wait(self, name: str) -> int | None:
        """The event id of the wait whose turn it is, or None when nobody waits for the name."""
        waiting = self._waiting.get(name)
        return waiting[0].event_id if waiting else None

    def take(self, wait: WaitFuture[Any]) -> int | None:
        """Satisfy a new wait with the oldest unread event, whose id is returned; None when it has to wait."""
        unread = self._unread.get(wait.name)
        if not unread:
            self._waiting.setdefault(wait.name, deque()).append(wait)
            return None
        event_id, data = unread.popleft()
        if not unread:
            del self._unread[wait.name]
        self._hand_over(wait, event_id, data)
        return event_id

    def give(self, wait: WaitFuture[Any], event_id: int, data: Raw) -> None:
        """Satisfy an open wait."""
        self.withdraw(wait)
        self._hand_over(wait, event_id, data)

    def withdraw(self, wait: WaitFuture[Any]) -> None:
        """An open wait waits no more."""
        waiting = self._waiting[wait.name]
        waiting.remove(wait)
        if not waiting:
            del self._waiting[wait.name]

    def give_back(self, wait: WaitFuture[Any], event_id: int, data: Raw, *, pass_on: bool) -> WaitFuture[Any] | None:
        """Take from a wait the event that no code has seen: it is unread again, in its old place.

        With `pass_on` the oldest open wait of the name gets it instead, and is returned.
        """
        self._given.remove(wait)
        waiting = self._waiting.get(wait.name)
        if pass_on and waiting:
            heir = waiting[0]
            self.give(heir, event_id, data)
            return heir
        unread = self._unread.setdefault(wait.name, deque())
        unread.insert(sum(1 for other, _ in unread if other < event_id), (event_id, data))
        return None

    def close(self) -> None:
        """Nobody waits any more."""
        self._waiting.clear()

    def unseen(self) -> list[WaitFuture[Any]]:
        """The waits that hold an event which no code has seen."""
        self._given = [wait for wait in self._given if not wait.read]
        return list(self._given)

    def forget_seen(self) -> None:
        """Let go of the waits whose event code has seen; called after every run."""
        if self._given:
            self._given = [wait for wait in self._given if not wait.read]

    def unread(self) -> tuple[Carried, ...]:
        """The unread events of all names, in the order of their arrival."""
        left = [(event_id, name, data) for name, queue in self._unread.items() for event_id, data in queue]
        return tuple(Carried(name, data) for _, name, data in sorted(left, key=_by_id))

    def carry_in(self, carried: Iterable[Carried]) -> None:
        """Take over what the previous execution left, oldest first; the ids end at -1."""
        entries = list(carried)
        for position, entry in enumerate(entries):
            self.put(entry.name, position - len(entries), entry.data)

    def _hand_over(self, wait: WaitFuture[Any], event_id: int, data: Raw) -> None:
        wait.got = (event_id, data)
        self._given.append(wait)
        resolve(wait, wait.decoder, data, f"external event {wait.name!r}")


def _by_id(entry: tuple[int, str, Raw]) -> int:
    return entry[0]
