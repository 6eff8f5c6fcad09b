"""What comes to the engine from the activities, beside what clients ask."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, TypeAlias

from msgspec import Struct

from perdure._client.requests import Call, Request, Watch
from perdure._work import ActivityOutcome, ClaimedTask, TaskBeat, TaskHold, TaskRelease, TaskRetry


class Ended(Struct, frozen=True, eq=False, gc=False):
    """An activity of this worker ended for good."""

    task: ClaimedTask
    outcome: ActivityOutcome


class GoesBack(Struct, frozen=True, eq=False, gc=False):
    """An activity goes back to the store: for another attempt, untouched, or to be set aside.

    Without an item it is not this worker's any more. To release it would take it from whoever has it now, be it this
    worker, which has claimed it anew: each would go on to undo the other.
    """

    task: ClaimedTask
    item: TaskRetry | TaskRelease | TaskHold | None


class Says(Struct, frozen=True, eq=False, gc=False):
    """An activity that runs has said how far it is, or that it is about to be called."""

    item: TaskBeat


Entry: TypeAlias = Request | Watch | Call | Ended | GoesBack | Says


def hand_over(entries: Iterable[Entry], ended: Callable[[list[Ended]], None], other: Callable[[Entry], None]) -> None:
    """Hand over what has come, in order: one by one, but ends of activities that follow each other together."""
    group: Any
    for kind, group in groupby(entries, type):
        if kind is Ended:
            ended([*group])
        else:
            for entry in group:
                other(entry)
