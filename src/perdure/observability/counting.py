"""What is counted while work goes on: whole numbers by size and by name, and the calls of a store."""

from collections.abc import Callable
from threading import Lock
from typing import Any

from perdure._ports import Clock

CLASSES_MAX = 100
"""Classes of errors that are counted apart, for each orchestration, activity and call of the store."""

OTHERS = "(others)"
"""What the rest is counted as."""

BUCKETS = 64


class Spread:
    """Whole numbers by size: bucket `i` counts those with `i` binary digits, all below `2**i`."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS
        self.total = 0

    def add(self, number: int) -> None:
        """Count one."""
        self.buckets[number.bit_length()] += 1
        self.total += number


def count(classes: dict[str, int], name: str) -> None:
    """Count something of this class."""
    if name not in classes and len(classes) >= CLASSES_MAX:
        name = OTHERS
    classes[name] = classes.get(name, 0) + 1


CALLS = (
    "applied", "commit", "count", "depths", "entries", "executions", "family", "find", "get", "get_many", "heartbeat",
    "held_tasks", "history", "images", "lapsed", "limit_users", "limits", "lowest_parcel", "open_tasks", "parcels",
    "read_history", "reap", "register", "standings", "still_open", "unregister", "workers",
)  # fmt: skip
"""What is counted: every call of the contract but `close`, and those that read no row (`now`, `changed`)."""


class CallTally:
    """The calls of one method, from whichever threads."""

    __slots__ = ("_lock", "errors", "us")

    def __init__(self) -> None:
        self.us = Spread()
        self.errors: dict[str, int] = {}
        self._lock = Lock()

    def ended(self, us: int, error: BaseException | None = None) -> None:
        """One has ended, after so many microseconds."""
        with self._lock:
            self.us.add(us)
            if error is not None:
                count(self.errors, type(error).__name__)


class InstrumentedStorage:
    """A store, with a tally for each call of its contract.

    Args:
        storage: The store. Whatever else it can do, it can do as before.
        clock: Tells how long calls take.
    """

    def __init__(self, storage: Any, clock: Clock) -> None:
        self._inner = storage
        self.tallies: dict[str, CallTally] = {}
        self.now, self.changed = storage.now, storage.changed
        for name in CALLS:
            call = getattr(storage, name, None)
            if call is not None:
                tally = self.tallies[name] = CallTally()
                setattr(self, name, _counted(call, tally, clock.monotonic_us))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _counted(call: Callable[..., Any], tally: CallTally, now: Callable[[], int]) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        began = now()
        try:
            answer = call(*arguments, **options)
        except BaseException as error:
            tally.ended(now() - began, error)
            raise
        tally.ended(now() - began)
        return answer

    return counted
