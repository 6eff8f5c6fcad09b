"""What the engine does while a commit, or a question, is on its way to a server: it takes turns for the next one.

Laws kept here: nothing of that is sent, or has any effect, before the commit has had its own; no instance takes a turn
that has one which is not settled; and what others ask of the engine waits until then, outcomes of activities and new
instances excepted, so that it keeps its order.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from perdure import _work as work
from perdure._client.requests import Inbox, Request
from perdure._ports import Clock
from perdure._runtime.after import requests_of
from perdure._runtime.hands import TURNS_PER_COMMIT_MAX
from perdure._runtime.inbox import Ended, Entry, hand_over
from perdure._runtime.live import Prepared
from perdure._runtime.orchestrations import TURNS_US_MAX, Orchestrations

if TYPE_CHECKING:
    from perdure.storage.base import Waits

A = TypeVar("A")
T = TypeVar("T")

SLICE_US = 1_000
"""How long turns are taken until it is looked whether the answer has come, in microseconds."""

LOOK_MS = 1
"""How long the answer is waited for until it is looked whether an activity has ended, in milliseconds."""


class Ahead:
    """The turns that were taken ahead, and what waits for the end of the commit.

    Args:
        inbox: Where what comes in is taken from.
        orchestrations: What instances there are.
        clock: Tells how long turns take.
        take_turns: Lets instances take turns, at most so many, for so many microseconds.
        ended: Takes in that activities have ended.
        begin: Takes in that an instance is to be started.
        is_busy: Whether activities run here.
    """

    def __init__(
        self,
        *,
        inbox: Inbox[Entry],
        orchestrations: Orchestrations,
        clock: Clock,
        take_turns: Callable[[int, int], list[Prepared]],
        ended: Callable[[list[Ended]], None],
        begin: Callable[[Request], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._inbox = inbox
        self._orchestrations = orchestrations
        self._clock = clock
        self._take_turns = take_turns
        self._ended = ended
        self._begin = begin
        self._is_busy = is_busy
        self.turns: list[Prepared] = []
        self._taken_us = 0
        self._kept: list[Entry] = []
        self._is_used = self._is_under_way = False

    def use(self, storage: Any) -> None:
        """Work while this store is waited for, if it has a moment in which nothing is held up by that."""
        if hasattr(storage, "while_waiting"):
            self._is_used = True
            waits: Waits = storage
            waits.while_waiting(self.work)

    # -- between commits -------------------------------------------------------------------------------------------

    @property
    def has_some(self) -> bool:
        """Whether there are turns to commit, or entries to take in."""
        return bool(self.turns or self._kept)

    def entries(self, wait_us: int) -> list[Entry]:
        """What has come in, first what was kept; waits at most so long for the first."""
        if not self._kept:
            return self._inbox.take(wait_us)
        kept, self._kept = self._kept, []
        return kept + self._inbox.take(0)

    def next_turns(self) -> list[Prepared]:
        """The turns of the next commit: those taken ahead, and more where there is time."""
        turns, self.turns = self.turns, []
        us, self._taken_us = TURNS_US_MAX - self._taken_us, 0
        if not turns:
            return self._take_turns(TURNS_PER_COMMIT_MAX, TURNS_US_MAX)
        if us > 0 and len(turns) < TURNS_PER_COMMIT_MAX:
            turns += self._take_turns(TURNS_PER_COMMIT_MAX - len(turns), us)
        return turns

    def replaced(self) -> list[Prepared]:
        """Takes out the turns of instances that were claimed anew, as others had gone on with them."""
        cached = self._orchestrations.cached
        gone = [turn for turn in self.turns if cached(turn.live.incarnation) is not turn.live]
        if gone:
            self.turns = [turn for turn in self.turns if cached(turn.live.incarnation) is turn.live]
        return gone

    def lost(self) -> list[Request]:
        """Forgets all turns, as the worker has lost its place; returns the requests that nobody answered."""
        turns, self.turns = self.turns, []
        return requests_of(turns)

    # -- during a commit -------------------------------------------------------------------------------------------

    def beside(self, ask: Callable[[A], T], of: A) -> T:
        """What the store answers, which is waited for as the end of a commit is, while none is on its way."""
        self.set_out(())
        try:
            return ask(of)
        finally:
            self.arrived(())

    def set_out(self, turns: Iterable[Prepared]) -> None:
        """These turns are on their way: their instances take no other."""
        if not self._is_used:
            return
        self._is_under_way = True
        for turn in turns:
            turn.live.queued = True

    def arrived(self, turns: Iterable[Prepared]) -> None:
        """Whatever has become of them, it is settled."""
        if not self._is_under_way:
            return
        self._is_under_way = False
        cached, queue = self._orchestrations.cached, self._orchestrations.queue
        for turn in turns:
            live = turn.live
            if live.queued and cached(live.incarnation) is live:
                live.queued = bool(live.pending)
                if live.queued:
                    queue.append(live)

    def work(self) -> int | None:
        """Take turns for a moment.

        Returns in how many milliseconds there may be more to do; None: not before the answer is there.
        """
        if not self._is_under_way:
            return None
        hand_over(self._inbox.take(0), self._ended, self._take_in)
        room = TURNS_PER_COMMIT_MAX - len(self.turns)
        if room <= 0:
            return None
        if not self._orchestrations.queue:
            return LOOK_MS if self._is_busy() else None
        began = self._clock.monotonic_us()
        turns = self._take_turns(room, SLICE_US)
        self._taken_us += self._clock.monotonic_us() - began
        for turn in turns:
            turn.live.queued = True
        self.turns += turns
        return 0 if turns else LOOK_MS

    def _take_in(self, entry: Any) -> None:
        if not self._kept and isinstance(entry, Request) and isinstance(entry.item, work.StartInstance):
            self._begin(entry)
        else:
            self._kept.append(entry)
