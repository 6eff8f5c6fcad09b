"""Registering workers, keeping their leases, and taking over what dead ones leave.

Laws kept here: a worker's lock is taken before its row can be seen, so nobody finds a living worker without one; the
row is what counts: who has none owns nothing and writes nothing.
"""

import os
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import json

from perdure._ports import Entropy
from perdure._work import Serves, WorkerRecord
from perdure.storage.base import (
    SERVES,
    UNKNOWN_GRACE_US,
    UNKNOWN_LOOKED_AT_MAX,
    unknown_activity_reason,
    unknown_reason,
)
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.far_items import hold_instances
from perdure.storage.sqlite.locks import WorkerLocks
from perdure.storage.sqlite.rows import decode_answer, encode_rows, storable
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction


def draw_number(entropy: Entropy) -> int:
    """A random number of 63 bits for a worker; two alike meet once in an age."""
    while True:
        number = int.from_bytes(entropy.token()[:8], "big") >> 1
        if number:
            return number


def add_worker(
    transaction: Transaction,
    number: int,
    name: str,
    can: tuple[Sequence[str], Sequence[str], Serves],
    *,
    lease_us: int,
    reader: int,
) -> WorkerRecord:
    """Write the row of a worker with these orchestrations and activities, which serves these tags."""
    orchestrations, activities, serves = can
    record = WorkerRecord(
        worker=number,
        name=name,
        pid=os.getpid(),
        host=socket.gethostname(),
        started_at=transaction.now,
        lease_until=transaction.now + lease_us,
        orchestrations=tuple(orchestrations),
        activities=tuple(activities),
        serves=serves,
    )
    row = (
        number, name, record.pid, record.host, record.started_at, lease_us, record.lease_until,
        encode_rows(record.orchestrations), encode_rows(record.activities),
        None if serves == SERVES else json.encode(serves).decode(),
    )  # fmt: skip
    transaction.execute(STATEMENTS["add_worker"], row)
    abilities = [("orchestration", *known.rpartition("@")[::2]) for known in orchestrations]
    abilities += [("activity", known, "") for known in activities]
    transaction.execute(STATEMENTS["add_abilities"], (encode_rows(abilities), number, reader))
    return record


def proven_dead(connection: Connection, locks: WorkerLocks | None) -> set[int]:
    """The workers whose locks are free, so whose processes are gone; asked before the write lock is taken."""
    if locks is None:
        return set()
    with connection.alone():
        leases = decode_answer(connection.execute(STATEMENTS["worker_leases"]).get)
    return {number for number, _ in leases if locks.is_free(number)}


def bury(transaction: Transaction, dead: set[int], *, spared: int | None) -> tuple[list[int], int]:
    """Remove the workers that are proven dead or whose lease is over, whose work is anybody's; how many are left."""
    leases = transaction.ask(STATEMENTS["worker_leases"])
    gone = [
        number for number, lease_until in leases
        if number != spared and (lease_until <= transaction.now or number in dead)
    ]  # fmt: skip
    if gone:
        remove_workers(transaction, gone, died=True)
    return gone, len(leases) - len(gone)


def remove_workers(transaction: Transaction, numbers: list[int], *, died: bool) -> None:
    """Remove workers, and free what they owned."""
    rows = encode_rows(numbers)
    transaction.execute(STATEMENTS["disown_instances"], (rows, died))
    transaction.execute(STATEMENTS["disown_tasks"], (rows, died, transaction.now))
    transaction.execute(STATEMENTS["disown_sessions"], (rows,))
    transaction.execute(STATEMENTS["remove_abilities"], (rows,))
    transaction.execute(STATEMENTS["remove_workers"], (rows,))


class Places(NamedTuple):
    """How far a handle has looked at what has waited for too long: a look at all that may be there would take too long.

    Of messages and timers the moment and the instance, of tasks the activity, whether it was put off, and the same.
    """

    told: tuple[int, int] = (0, 0)
    fired: tuple[int, int] = (0, 0)
    asked: tuple[str, int, int, int] = ("", 0, 0, 0)


def hold_unknown(transaction: Transaction, places: Places) -> tuple[tuple[tuple[str, str], ...], Places]:
    """Hold the instances that have waited too long for a worker that has their code, or that of their activities.

    Returns their ids and the reasons, in order of the ids, and where the next look begins.
    Whoever has a row has it: who is dead was buried just before, and the caller lives.
    """
    since, most = transaction.now - UNKNOWN_GRACE_US, UNKNOWN_LOOKED_AT_MAX
    told, fired, instances = transaction.ask(STATEMENTS["unknown_waiting"], since, most, *places.told, *places.fired)
    asked, tasks = transaction.ask(STATEMENTS["unknown_tasks"], since, transaction.now, most, *places.asked)
    first = Places()
    places = Places(told or first.told, fired or first.fired, asked or first.asked)
    if not instances and not tasks:
        return (), places
    orchestrations, activities = transaction.ask(STATEMENTS["known_names"])
    of_activity = {name: unknown_activity_reason(name, activities) for name in {name for *_, name in tasks}}
    # From the last to the first, so that the first task of an instance is the one that is told.
    reasons = {incarnation: of_activity[name] for incarnation, _, name in reversed(tasks)}
    wanted = {(name, version) for *_, name, version in instances}
    of_orchestration = {each: unknown_reason(*each, orchestrations) for each in wanted}
    reasons |= {incarnation: of_orchestration[name, version] for incarnation, _, name, version in instances}
    hold_instances(transaction, list(reasons.items()))
    ids = {incarnation: id_ for incarnation, id_, *_ in (*instances, *tasks)}
    held = sorted((ids[incarnation], storable(reason)) for incarnation, reason in reasons.items())
    return tuple(held), places


def read_workers(connection: Connection) -> list[WorkerRecord]:
    """All workers, in order of registration."""
    with connection.reading():
        rows: list[Any] = connection.execute(STATEMENTS["workers"]).fetchall()
    return [
        WorkerRecord(
            worker=number,
            name=name,
            pid=pid,
            host=host,
            started_at=started_at,
            lease_until=lease_until,
            orchestrations=tuple(json.decode(orchestrations)),
            activities=tuple(json.decode(activities)),
            serves=SERVES if serves is None else json.decode(serves, type=Serves),
        )
        for number, name, pid, host, started_at, lease_until, orchestrations, activities, serves in rows
    ]
