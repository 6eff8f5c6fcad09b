"""Lanes: where tasks wait that not every worker may take as they come.

A lane is one tag, or none, with one limit key, or none, and is of activities without a session, of activities with
one, or of places that instances hold. Who claims goes from lane to lane, so what waits behind a full key, or for
another tag, costs it one step. Most tasks are in none: they stand in the one line.
"""

from typing import NamedTuple

from perdure._work import NewTask

_SEPARATOR = "\n"
"""No name has it."""
_PLACES = "places"
_TASKS = "tasks"
_SESSIONS = "tasks of sessions"
"""In order of the names places are the first lanes, and those of sessions the last."""


class Lane(NamedTuple):
    """What the tasks of a lane have in common."""

    places: bool
    sessions: bool
    tag: str | None
    key: str | None


def lane_of(task: NewTask) -> str | None:
    """The name of the lane in which a task waits, which is in the order of nothing; None: the line."""
    return lane_name(None if task.limit is None else task.limit.key, task.tag, task.permit, task.session)


def lane_name(key: str | None, tag: str | None, permit: bytes | None, session: str | None) -> str | None:
    """The same, for one with this limit key, tag, permit and session."""
    if key is None and tag is None and session is None:
        return None
    kind = _PLACES if permit is not None else _TASKS if session is None else _SESSIONS
    return _SEPARATOR.join((kind, tag or "", key or ""))


def read_lane(name: str) -> Lane:
    """The lane of this name."""
    kind, tag, key = name.split(_SEPARATOR)
    return Lane(kind == _PLACES, kind == _SESSIONS, tag or None, key or None)


def is_plain(task: NewTask) -> bool:
    """Whether a task asks for nothing special: it has no lane, no priority and no time limit."""
    return (
        task.priority == 0
        and task.tag is None
        and task.session is None
        and task.limit is None
        and task.schedule_to_start_us is None
        and task.total_timeout_us is None
    )


def limit_columns(task: NewTask) -> tuple[str | None, int | None, int | None, int | None]:
    """The limit of a task as its columns have it: key, concurrency, rate, and the span of time of the rate."""
    limit = task.limit
    return (None, None, None, None) if limit is None else (limit.key, limit.concurrency, limit.rate, limit.per_us)
