"""What a worker may take, in which order, and when there will be more.

Laws kept here: nobody takes what another owns; an instance goes only to a worker that has its code, unless a control
message waits for it; a claim that finds nothing changes nothing.
"""

import heapq
from collections.abc import Iterator
from typing import TypeAlias

import apsw

from perdure._work import Claim, ClaimedInstance, ClaimedMessage, ClaimedTask, TimerDue, Work
from perdure.storage.base import MESSAGES_MAX
from perdure.storage.sqlite.rows import cut, decode_answer, encode_rows
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

_WAITING = STATEMENTS["waiting"]
_PAGE_MIN = 16
_PAYLOADS = 4
"""How many payloads come with a task: its policy, its input, its last error, its details."""

Candidate: TypeAlias = tuple[int, int, int]
"""When something of an instance fell due, its incarnation, and whether the worker owns it already."""

Waiting: TypeAlias = tuple[int | None, int | None, int | None, int | None, int]
"""The earliest message, timer, delayed task and deadline of a task; and whether a task is in line."""


def take(transaction: Transaction, claim: Claim) -> Work:
    """Give the worker what it may take, up to the limits."""
    waiting: Waiting = transaction.ask(_WAITING)
    instances, more_instances = _take_instances(transaction, claim.instances_max, waiting)
    tasks, more_tasks = _take_tasks(transaction, claim.tasks_max, waiting)
    return Work(
        now=transaction.now,
        instances=instances,
        tasks=tasks,
        next_due=_next_due(transaction, waiting),
        more=more_instances or more_tasks,
    )


def _take_instances(transaction: Transaction, most: int, waiting: Waiting) -> tuple[tuple[ClaimedInstance, ...], bool]:
    if not any(due is not None and due <= transaction.now for due in waiting[:2]):
        return (), False
    found: dict[int, int] = {}
    more = False
    for _, incarnation, owned in _candidates(transaction, most):
        if incarnation not in found:
            if len(found) == most:
                more = True
                break
            found[incarnation] = owned
    if not found:
        return (), more
    foreign = [incarnation for incarnation, owned in found.items() if not owned]
    if foreign:
        transaction.execute(STATEMENTS["own_instances"], (encode_rows(foreign), transaction.worker))
    incarnations = list(found)
    messages = _due(transaction, incarnations, waiting)
    instances = tuple(
        ClaimedInstance(record=record, messages=tuple(messages[record.incarnation][:MESSAGES_MAX]))
        for record in transaction.records(incarnations)
    )
    return instances, more or any(len(each) > MESSAGES_MAX for each in messages.values())


def _candidates(transaction: Transaction, most: int) -> Iterator[Candidate]:
    """Instances that the worker may take, by what fell due first; an instance comes once for each due row."""
    size = max(most + 1, _PAGE_MIN)
    return heapq.merge(
        _pages(transaction, STATEMENTS["due_by_message"], size), _pages(transaction, STATEMENTS["due_by_timer"], size)
    )


def _pages(transaction: Transaction, statement: str, size: int) -> Iterator[Candidate]:
    due, incarnation = -(1 << 63), 0
    while True:
        page: list[Candidate] = transaction.ask(statement, transaction.now, transaction.worker, due, incarnation, size)
        yield from page
        if len(page) < size:
            return
        due, incarnation, _ = page[-1]


def _due(transaction: Transaction, incarnations: list[int], waiting: Waiting) -> dict[int, list[ClaimedMessage]]:
    """What is due for each instance, in order, and perhaps more than a claim may bring."""
    rows = encode_rows(incarnations)
    found: dict[int, list[tuple[int, int, ClaimedMessage]]] = {incarnation: [] for incarnation in incarnations}
    if waiting[1] is not None and waiting[1] <= transaction.now:
        for incarnation, due, event, execution in transaction.ask(STATEMENTS["due_timers"], rows, transaction.now):
            timer = TimerDue(execution=execution, source=event, fire_at=due)
            found[incarnation].append((due, -1, ClaimedMessage(seq=0, timer=timer)))
    if waiting[0] is not None and waiting[0] <= transaction.now:
        for incarnation, due, seq, body in _due_messages(transaction, incarnations, MESSAGES_MAX + 1):
            found[incarnation].append((due, seq, ClaimedMessage(seq=seq, body=body)))
    return {incarnation: [message for _, _, message in sorted(each, key=_order)] for incarnation, each in found.items()}


def _due_messages(transaction: Transaction, incarnations: list[int], most: int) -> list[tuple[int, int, int, bytes]]:
    """The due messages as (incarnation, due, seq, body), at most so many of each instance."""
    try:
        bindings = (encode_rows(incarnations), transaction.now, most)
        answer, bodies = transaction.execute(STATEMENTS["due_messages"], bindings).get
    except apsw.TooBigError:
        # More than SQLite has in one value. What one instance does not get now comes with its next claim.
        middle = len(incarnations) // 2
        if middle == 0 and most == 1:
            raise
        if middle == 0:
            return _due_messages(transaction, incarnations, most // 2)
        first = _due_messages(transaction, incarnations[:middle], most)
        return first + _due_messages(transaction, incarnations[middle:], most)
    messages = decode_answer(answer)
    pieces = cut(bodies, [size for _, _, _, size in messages])
    return [
        (incarnations[place], due, seq, body or b"")
        for (place, due, seq, _), body in zip(messages, pieces, strict=True)
    ]


def _order(entry: tuple[int, int, ClaimedMessage]) -> tuple[int, int, int]:
    due, seq, message = entry
    return due, seq, 0 if message.timer is None else message.timer.source


def _take_tasks(transaction: Transaction, most: int, waiting: Waiting) -> tuple[tuple[ClaimedTask, ...], bool]:
    _, _, delayed, expiring, in_line = waiting
    now, worker = transaction.now, transaction.worker
    ranks: set[tuple[int, ...]] = set()
    if delayed is not None and delayed <= now:
        if not most and transaction.execute(STATEMENTS["can_wake_tasks"], (now, worker)).get:
            return (), True
        transaction.execute(STATEMENTS["wake_tasks"], (now, worker))
        in_line = True
    if in_line:
        ranks.update(map(tuple, transaction.ask(STATEMENTS["tasks_in_line"], now, worker, most + 1)))
    if expiring is not None and expiring <= now:
        ranks.update(map(tuple, transaction.ask(STATEMENTS["tasks_expired"], now, most + 1)))
    if not ranks or not most:
        return (), bool(ranks)
    keys = [rank[2:] for rank in sorted(ranks)[:most]]
    transaction.execute(STATEMENTS["own_tasks"], (encode_rows(keys), worker))
    return _read_tasks(transaction, keys), len(ranks) > most


def _read_tasks(transaction: Transaction, keys: list[tuple[int, ...]]) -> tuple[ClaimedTask, ...]:
    try:
        answer, payloads = transaction.execute(STATEMENTS["claimed_tasks"], (encode_rows(keys),)).get
    except apsw.TooBigError:
        middle = len(keys) // 2
        if middle == 0:
            raise
        return _read_tasks(transaction, keys[:middle]) + _read_tasks(transaction, keys[middle:])
    rows = decode_answer(answer)
    pieces = iter(cut(payloads, [size for row in rows for size in row[-_PAYLOADS:]]))
    return tuple(
        ClaimedTask(
            incarnation=row[0],
            instance_id=row[1],
            orchestration_name=row[2],
            orchestration_version=row[3],
            execution=row[4],
            event=row[5],
            name=row[6],
            input=input_ or b"",
            scheduled_at=row[7],
            attempt=row[8],
            deliveries=row[9],
            retry=retry,
            tag=row[10],
            session=row[11],
            priority=row[12],
            deadline=row[13],
            start_by=row[14],
            last_error=last_error,
            details=details,
            stopped=bool(row[15]),
            began=bool(row[16]),
        )
        for row, retry, input_, last_error, details in zip(rows, pieces, pieces, pieces, pieces, strict=True)
    )


def _next_due(transaction: Transaction, waiting: Waiting) -> int | None:
    """When the next row becomes claimable."""
    message, timer, delayed, expiring, in_line = waiting
    moments = []
    if message is not None or timer is not None:
        moments.append(transaction.execute(STATEMENTS["next_row_due"], (transaction.now, transaction.worker)).get)
    if delayed is not None or expiring is not None or in_line:
        moments.append(transaction.execute(STATEMENTS["next_task_due"], (transaction.now, transaction.worker)).get)
    return min((moment for moment in moments if moment is not None), default=None)
