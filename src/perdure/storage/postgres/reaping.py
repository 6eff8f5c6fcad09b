"""What a worker does for all of them from time to time: what there is to do, and the statements that do it.

Law kept here: who finds nothing to do begins no transaction, so a store at rest is only read.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from perdure.storage.base import PASSING_US, UNKNOWN_GRACE_US, USE_SHARE
from perdure.storage.postgres.arrays import bigint
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.wire import Call, Rows
from perdure.storage.postgres.workers import Places, bury, look_for_unknown, unknown_of


class Looks(NamedTuple):
    """What there is to do.

    `workers` are all that have a row, and None when the caller has none; `places` are where the next look begins.
    """

    workers: list[int] | None
    places: Places
    dead: bool
    unknown: bool
    passing: bool
    stray: bool
    past: bool
    sessions: bool

    @property
    def found(self) -> bool:
        """Whether there is anything."""
        return any(self[2:])


def look(read: Callable[[Sequence[Call]], list[Rows]], worker: int, now: int, places: Places) -> Looks:
    """Look, at what waits for code from some places on."""
    found = _seen(read(_looks(worker, now)))
    if not found.unknown:
        return found
    # Planned for its values, as the tables may be of any size: that takes longer than to ask whether there is any.
    _, *answers = read([("plan_by_value", ()), *look_for_unknown(now, places)])
    instances, with_tasks, places = unknown_of(*answers)
    return found._replace(unknown=bool(instances or with_tasks), places=places)


def _looks(worker: int, now: int) -> list[Call]:
    """The statements that look."""
    return [
        # A plan that was made for an empty table must do for a full one.
        ("plan_transaction_by_index", ()),
        ("there_are_dead", (bigint(worker), bigint(now))),
        ("something_waits", (bigint(now - UNKNOWN_GRACE_US),)),
        ("there_are_passing_entries", (bigint(now - PASSING_US),)),
        ("there_are_stray_messages", ()),
        ("there_are_past_starts", (bigint(now),)),
        ("look_at_sessions", (bigint(now), bigint(worker), bigint(USE_SHARE))),
    ]


def _seen(answers: list[Rows]) -> Looks:
    """What they have seen; that something waits for long, which may be for code that nobody has."""
    [_, [(is_there, dead, workers)], *others] = answers
    return Looks(workers if is_there else None, Places(), dead, *(each[0][0] for each in others))


def tidy(transaction: Transaction, worker: int, found: Looks) -> tuple[int, int, bool]:
    """Do it, but for what waits for unknown code: how many workers were dead, how many sessions are free, if any."""
    now = bigint(transaction.now)
    buried, calls = bury(transaction, spared=worker)
    if found.passing:
        calls = [*calls, ("remove_passing_entries", (bigint(transaction.now - PASSING_US),))]
    if found.stray:
        calls = [*calls, ("remove_stray_messages", ())]
    if found.past:
        calls = [*calls, ("forget_starts", (now,))]
    has_changed, freed = bool(calls), 0
    if found.sessions:
        calls = [*calls, ("keep_sessions", (now, bigint(worker), bigint(USE_SHARE))), ("free_idle_sessions", (now,))]
    if calls:
        last = transaction.run(calls)[-1]
        freed = len(last) if found.sessions else 0
    return buried, freed, has_changed or freed > 0
