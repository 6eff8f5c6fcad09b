"""What a worker counts: plain numbers, each written by one thread alone and read by any.

Law kept here: counting is not to be noticed. What happens for every activity costs two looks at the clock and three
additions; of turns, those are counted that begin or end something, after their commit.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from perdure import _events as ev
from perdure import _work as work
from perdure._client.requests import Request
from perdure._ports import drawn_at_us
from perdure._runtime.inbox import Ended, Entry, GoesBack
from perdure._runtime.live import Prepared
from perdure._runtime.turns import Draft
from perdure._types import Status
from perdure.observability.counting import BUCKETS, OTHERS, Spread, count

if TYPE_CHECKING:
    from perdure._runtime.attempts import Attempt

VERSIONS_MAX = 1_000
"""Versions of orchestrations that are counted apart."""


class ActivityTally:
    """The attempts of one activity, and how they ended. Written on the user's event loop."""

    __slots__ = (
        "buckets", "cancelled", "completed", "errors", "failed", "held", "lost", "polled", "retried", "returned",
        "timed_out", "total_us",
    )  # fmt: skip

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS
        self.total_us = 0
        self.completed = 0
        self.failed = 0
        self.timed_out = 0
        self.retried = 0
        self.polled = 0
        self.cancelled = 0
        self.returned = 0
        self.held = 0
        self.lost = 0
        self.errors: dict[str, int] = {}

    def ended(self, attempt: "Attempt", entry: Entry, us: int, *, closed: bool) -> None:
        """An attempt has ended, after so many microseconds; perhaps as the worker shuts down."""
        self.buckets[us.bit_length()] += 1
        self.total_us += us
        if type(entry) is not Ended:
            self._went_back(attempt, entry, closed=closed)
        elif entry.outcome.error is None:
            self.completed += 1
        else:
            self.fell_short(entry.outcome)

    def fell_short(self, outcome: work.ActivityOutcome) -> None:
        """One has ended without a result."""
        if outcome.stopped:
            self.cancelled += 1
        elif outcome.timed_out:
            self.timed_out += 1
        else:
            self.failed += 1

    def _went_back(self, attempt: "Attempt", entry: Entry, *, closed: bool) -> None:
        item = entry.item if isinstance(entry, GoesBack) else None
        if isinstance(item, work.TaskRetry):
            if item.last_error is None:
                self.polled += 1
            else:
                self.retried += 1
        elif isinstance(item, work.TaskHold):
            self.held += 1
        elif attempt.landed is not None:
            # It was transactional: its end is in the store, or the store did not want it.
            self.completed += attempt.landed
            self.lost += not attempt.landed
        elif attempt.cancelled and not closed:
            self.cancelled += 1
        else:
            self.returned += 1


class OrchestrationTally:
    """The instances of one version of an orchestration."""

    __slots__ = ("continued", "ended", "errors", "held", "started", "us")

    def __init__(self) -> None:
        self.started = 0
        self.continued = 0
        self.ended = dict.fromkeys(Status, 0)
        self.us = Spread()
        self.errors: dict[str, int] = {}
        self.held: dict[str, int] = {}

    def end(self, status: Status, incarnation: int, now: int) -> None:
        """An instance has ended."""
        self.ended[status] += 1
        self.us.add(max(0, now - drawn_at_us(incarnation)))


class EngineTally:
    """What the engine has done. Written on its thread."""

    __slots__ = ("children", "items", "lost", "orchestrations", "places_lost", "takeovers", "turns", "without_code")

    def __init__(self) -> None:
        self.orchestrations: dict[tuple[str, str | None], OrchestrationTally] = {}
        self.items = Spread()
        self.turns = 0
        self.children = 0
        self.lost = 0
        self.places_lost = 0
        self.takeovers = 0
        self.without_code = 0

    def landed(self, items: int, turns: int) -> None:
        """A commit is durable. What is not so of it is taken off again."""
        if items:
            self.items.add(items)
            self.turns += turns

    def refused(
        self, requests: Sequence[Request], items: Sequence[work.Item], outcomes: Sequence[work.Outcome]
    ) -> None:
        """Something of a commit was refused: what activities have brought that are others' now is lost."""
        first, last = len(requests), len(requests) + len(items)
        for item, outcome in zip(items, outcomes[first:last], strict=True):
            if isinstance(outcome, work.Refused) and isinstance(item, work.TaskDone | work.TaskRetry):
                self.lost += 1
        self.turns -= sum(isinstance(outcome, work.Refused) for outcome in outcomes[last:])

    def settled(self, turn: Prepared, now: int) -> None:
        """A turn is durable that did something else than take an outcome and ask for the next activity."""
        live, item, draft = turn.live, turn.item, turn.draft
        tally = self.orchestrations.get((live.name, live.version)) or self._tally(live.name, live.version)
        if not isinstance(item, work.Turn):
            self.turns -= 1
            count(tally.held, turn.held_by)
            return
        if item.base == 0 and item.history is not None and item.execution == 1:
            tally.started += 1
        if turn.closes:
            tally.end(Status.COMPLETED, live.incarnation, now)
        elif draft is not None:
            self.children += len(item.starts)
            if draft.ended is not None:
                _end(tally, live.incarnation, draft, now)

    def _tally(self, name: str, version: str | None) -> OrchestrationTally:
        if len(self.orchestrations) >= VERSIONS_MAX:
            name, version = OTHERS, None
        return self.orchestrations.setdefault((name, version), OrchestrationTally())


def _end(tally: OrchestrationTally, incarnation: int, draft: Draft, now: int) -> None:
    event: Any = draft.ended
    if isinstance(event, ev.ContinuedAsNew):
        tally.continued += 1
        return
    if isinstance(event, ev.Failed):
        count(tally.errors, event.error.type)
    tally.end(draft.change["status"], incarnation, now)
