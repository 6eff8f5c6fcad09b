"""What a worker does for all of them from time to time: what there is to do, and the statements that do it.

Law kept here: who finds nothing to do begins no transaction, so a store at rest is only read.
"""

from typing import NamedTuple

from perdure.storage.base import PASSING_US, USE_SHARE
from perdure.storage.postgres.arrays import bigint
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.wire import Call, Rows
from perdure.storage.postgres.workers import bury, look_for_unknown


class Looks(NamedTuple):
    """What there is to do; `workers` are all that have a row, and None when the caller has none."""

    workers: list[int] | None
    dead: bool
    unknown: bool
    passing: bool
    stray: bool
    past: bool
    sessions: bool

    @property
    def found(self) -> bool:
        """Whether there is anything."""
        return any(self[1:])


def looks(worker: int, now: int) -> list[Call]:
    """The statements that look."""
    return [
        ("there_are_dead", (bigint(worker), bigint(now))),
        *look_for_unknown(now),
        ("there_are_passing_entries", (bigint(now - PASSING_US),)),
        ("there_are_stray_messages", ()),
        ("there_are_past_starts", (bigint(now),)),
        ("look_at_sessions", (bigint(now), bigint(worker), bigint(USE_SHARE))),
    ]


def seen(answers: list[Rows]) -> Looks:
    """What they have seen."""
    [[(is_there, dead, workers)], waiting, tasks, _, *others] = answers
    return Looks(workers if is_there else None, dead, bool(waiting or tasks), *(each[0][0] for each in others))


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
