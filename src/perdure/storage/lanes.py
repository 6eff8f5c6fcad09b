"""Lanes: where tasks wait that not every worker may take as they come.

A lane is one tag, or none, with one limit key, or none, and is either of activities or of places that instances hold.
Who claims goes from lane to lane, so what waits behind a full key, or for another tag, costs it one step. Most tasks
are in none: they stand in the one line.
"""

from typing import NamedTuple

from perdure._work import NewTask

_SEPARATOR = "\n"
"""No name has it."""
_PLACES = "places"
_TASKS = "tasks"


class Lane(NamedTuple):
    """What the tasks of a lane have in common."""

    places: bool
    tag: str | None
    key: str | None


def lane_of(task: NewTask) -> str | None:
    """The name of the lane in which a task waits, which is in the order of nothing; None: the line."""
    return lane_name(None if task.limit is None else task.limit.key, task.tag, task.permit)


def lane_name(key: str | None, tag: str | None, permit: bytes | None) -> str | None:
    """The same, for one with this limit key, tag and permit."""
    if key is None and tag is None:
        return None
    return _SEPARATOR.join((_TASKS if permit is None else _PLACES, tag or "", key or ""))


def read_lane(name: str) -> Lane:
    """The lane of this name."""
    kind, tag, key = name.split(_SEPARATOR)
    return Lane(kind == _PLACES, tag or None, key or None)


def limit_columns(task: NewTask) -> tuple[str | None, int | None, int | None, int | None]:
    """The limit of a task as its columns have it: key, concurrency, rate, and the span of time of the rate."""
    limit = task.limit
    return (None, None, None, None) if limit is None else (limit.key, limit.concurrency, limit.rate, limit.per_us)
