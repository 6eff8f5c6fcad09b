"""Registering workers, keeping their leases, and taking over what dead ones leave.

Law kept here: the row is what counts. Who has none owns nothing and writes nothing; whoever removes one waits for the
commits of that worker, or takes it for alive.
"""

import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

from perdure._ports import Entropy
from perdure._work import Serves, WorkerRecord
from perdure.storage.base import (
    UNKNOWN_GRACE_US,
    UNKNOWN_LOOKED_AT_MAX,
    unknown_activity_reason,
    unknown_reason,
)
from perdure.storage.postgres.arrays import bigint, bigints, boolean, text, texts
from perdure.storage.postgres.items import storable
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.wire import Call, Rows


def draw_number(entropy: Entropy) -> int:
    """A random number of 63 bits for a worker; two alike meet once in an age."""
    while True:
        number = int.from_bytes(entropy.token()[:8], "big") >> 1
        if number:
            return number


def new_worker(
    number: int, name: str, can: tuple[Sequence[str], Sequence[str], Serves], *, now: int, lease_us: int, reader: int
) -> tuple[WorkerRecord, list[Call]]:
    """The row of a worker with these orchestrations, activities and tags, and the statements that write it."""
    orchestrations, activities, serves = can
    record = WorkerRecord(
        worker=number,
        name=name,
        pid=os.getpid(),
        host=socket.gethostname(),
        started_at=now,
        lease_until=now + lease_us,
        orchestrations=tuple(orchestrations),
        activities=tuple(activities),
        serves=serves,
    )
    abilities = [("orchestration", *known.rpartition("@")[::2]) for known in orchestrations]
    abilities += [("activity", known, "") for known in activities]
    calls: list[Call] = [
        (
            "add_worker",
            (
                bigint(number), text(name), bigint(record.pid), text(record.host), bigint(now), bigint(lease_us),
                bigint(record.lease_until), texts(orchestrations), texts(activities),
                boolean(value=serves.untagged), texts(serves.tags), boolean(value=serves.others),
                bigint(serves.sessions), bigint(serves.session_idle_us),
            ),
        ),
        ("add_token", (bigint(number),)),
    ]  # fmt: skip
    if abilities:
        calls.append(
            ("add_abilities", (bigint(number), *(texts(each) for each in zip(*abilities, strict=True)), bigint(reader)))
        )
    return record, calls


def bury(transaction: Transaction, *, spared: int) -> tuple[int, list[Call]]:
    """How many workers are dead, and the statements that remove them and free their work for anybody."""
    [dead] = transaction.run([("lock_dead", (bigint(transaction.now), bigint(spared)))])
    numbers = [number for (number,) in dead]
    return len(numbers), removal(transaction.now, numbers, died=True) if numbers else []


def removal(now: int, numbers: list[int], *, died: bool) -> list[Call]:
    """The statements that remove workers, whose rows are locked, and free what they owned."""
    gone = bigints(numbers)
    return [
        ("disown_instances", (gone, boolean(value=died))),
        ("disown_tasks", (gone, boolean(value=died), bigint(now))),
        ("disown_sessions", (gone,)),
        ("remove_abilities", (gone,)),
        ("remove_tokens", (gone,)),
        ("remove_workers", (gone,)),
    ]


class Places(NamedTuple):
    """How far a handle has looked at what has waited for too long: a look at all that may be there would take too long.

    Of messages and timers the moment and the instance, of tasks the activity, the moment and the instance.
    """

    told: Sequence[int] = (0, 0)
    fired: Sequence[int] = (0, 0)
    asked: tuple[str, int, int] = ("", 0, 0)


def look_for_unknown(now: int, places: Places) -> list[Call]:
    """The statements that find what has waited too long for a worker that has its code, behind some places."""
    since, most = bigint(now - UNKNOWN_GRACE_US), bigint(UNKNOWN_LOOKED_AT_MAX)
    name, due, incarnation = places.asked
    asked = (text(name), bigint(due), bigint(incarnation))
    return [
        ("unknown_waiting", (since, most, *map(bigint, places.told), *map(bigint, places.fired))),
        ("unknown_tasks", (since, bigint(now), most, *asked)),
    ]


def unknown_of(waiting: Rows, tasks: Rows) -> tuple[Rows, Rows, Places]:
    """What they have found: the instances, those with tasks, and where the next look begins."""
    told, fired = waiting[0][:2]
    name, due, incarnation = tasks[0][:3]
    places = Places(told or (0, 0), fired or (0, 0), ("", 0, 0) if name is None else (name, due, incarnation))
    return [row[2:] for row in waiting if row[2] is not None], [row[3:] for row in tasks if row[3] is not None], places


def hold_unknown(transaction: Transaction, places: Places) -> tuple[tuple[tuple[str, str], ...], list[Call]]:
    """Which instances to hold, as no worker has their code or that of their activities, and the statements that do.

    Of each the id and the reason, in order of the ids.
    Whoever has a row has it: who is dead was buried just before, and the caller lives.
    """
    waiting, tasks, _ = unknown_of(*transaction.run(look_for_unknown(transaction.now, places)))
    found = sorted({row[0] for row in (*waiting, *tasks)})
    if not found:
        return (), []
    # Once more with their rows locked: a worker that has the code may have come meanwhile.
    locked, *seen, known = transaction.run(
        [
            ("lock_unowned", (bigints(found),)),
            *look_for_unknown(transaction.now, places),
            ("known_names", ()),
        ]
    )
    waiting, tasks, _ = unknown_of(*seen)
    kept = {incarnation for incarnation, _ in locked}
    orchestrations = {f"{name}@{version}" for kind, name, version in known if kind == "orchestration"}
    activities = {name for kind, name, _ in known if kind == "activity"}
    of_activity = {name: unknown_activity_reason(name, activities) for name in {name for *_, name in tasks}}
    # From the last to the first, so that the first task of an instance is the one that is told.
    reasons = {incarnation: of_activity[name] for incarnation, _, name in reversed(tasks)}
    of_orchestration = {
        wanted: unknown_reason(*wanted, orchestrations) for wanted in {(name, version) for *_, name, version in waiting}
    }
    reasons |= {incarnation: of_orchestration[name, version] for incarnation, _, name, version in waiting}
    ids = {incarnation: id_ for incarnation, id_, *_ in (*waiting, *tasks)}
    held = [(incarnation, storable(reason)) for incarnation, reason in reasons.items() if incarnation in kept]
    if not held:
        return (), []
    return tuple(sorted((ids[incarnation], reason) for incarnation, reason in held)), [
        (
            "hold_instances",
            (
                bigints([incarnation for incarnation, _ in held]),
                texts([reason for _, reason in held]),
                bigint(transaction.now),
            ),
        )
    ]
