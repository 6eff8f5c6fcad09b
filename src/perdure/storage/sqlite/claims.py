"""What a worker may take, in which order, and when there will be more.

Laws kept here: nobody takes what another owns; an instance goes only to a worker that has its code, unless a control
message waits for it; a copy goes to nobody; a claim that finds nothing changes nothing.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import apsw
from msgspec import json

from perdure._work import COMING, Claim, ClaimedInstance, ClaimedMessage, ClaimedTask, Serves, TimerDue, Work
from perdure.storage.base import MESSAGES_MAX, SERVES
from perdure.storage.sqlite.lanes import Lanes, Rank
from perdure.storage.sqlite.rows import cut, decode_answer, encode_rows
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.transaction import Transaction

_WAITING = STATEMENTS["waiting"]
_DUE = STATEMENTS["due_messages"]
_DUE_CONTROL = STATEMENTS["due_control"]
_PAGE_MIN = 16
_PAYLOADS = 4
"""How many payloads come with a task: its policy, its input, its last error, its details."""

Candidate: TypeAlias = tuple[int, int, int]
"""When something of an instance fell due, its incarnation, and whether the worker owns it already."""


class Waiting(NamedTuple):
    """What a look at the first of each kind says: when they are due, whether there are any, what the worker serves."""

    message: int | None
    timer: int | None
    delayed: int | None
    expiring: int | None
    in_line: int
    laned: int
    serves: str | None
    control: int


def take(transaction: Transaction, claim: Claim) -> Work:
    """Give the worker what it may take, up to the limits."""
    waiting = Waiting(*transaction.ask(_WAITING, transaction.worker))
    serves = SERVES if waiting.serves is None else json.decode(waiting.serves, type=Serves)
    lanes = None
    if waiting.laned:
        lanes = Lanes(transaction, serves)
        if lanes.admit(claim.tasks_max):
            waiting = waiting._replace(message=min(transaction.now, waiting.message or transaction.now))
    instances, more_instances = _take_instances(transaction, claim.instances_max, waiting)
    tasks, more_tasks = _take_tasks(transaction, claim.tasks_max, waiting, lanes, untagged=serves.untagged)
    return Work(
        now=transaction.now,
        instances=instances,
        tasks=tasks,
        next_due=_next_due(transaction, waiting, lanes, untagged=serves.untagged),
        more=more_instances or more_tasks,
    )


def _take_instances(transaction: Transaction, most: int, waiting: Waiting) -> tuple[tuple[ClaimedInstance, ...], bool]:
    if not any(due is not None and due <= transaction.now for due in (waiting.message, waiting.timer)):
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
    incarnations = list(found)
    # Asked before they are owned, which ends a rest.
    for_control = _not_to_run(transaction, incarnations) if waiting.control else frozenset[int]()
    foreign = [incarnation for incarnation, owned in found.items() if not owned]
    if foreign:
        transaction.execute(STATEMENTS["own_instances"], (encode_rows(foreign), transaction.worker))
    messages: dict[int, list[ClaimedMessage]] = {}
    running = [incarnation for incarnation in incarnations if incarnation not in for_control]
    if running:
        messages |= _due(transaction, running, waiting)
    if for_control:
        messages |= _due_control(transaction, list(for_control))
    instances = tuple(
        ClaimedInstance(
            record=record,
            messages=tuple(messages[record.incarnation][:MESSAGES_MAX]),
            for_control=record.incarnation in for_control,
        )
        for record in transaction.records(incarnations)
    )
    return instances, more or any(len(each) > MESSAGES_MAX for each in messages.values())


def _not_to_run(transaction: Transaction, incarnations: list[int]) -> frozenset[int]:
    """Which of these came for the sake of a control message."""
    bindings = (transaction.now, transaction.worker, encode_rows(incarnations))
    return frozenset(transaction.ask(STATEMENTS["not_to_run"], *bindings))


def _candidates(transaction: Transaction, most: int) -> Iterator[Candidate]:
    """Instances that the worker may take, by what fell due first; an instance comes once for each due row."""
    size = max(most + 1, _PAGE_MIN)
    return heapq.merge(
        _pages(transaction, STATEMENTS["due_by_message"], size), _pages(transaction, STATEMENTS["due_by_timer"], size)
    )


def _pages(transaction: Transaction, statement: str, size: int) -> Iterator[Candidate]:
    due, incarnation = -(1 << 63), 0
    while True:
        bindings = (transaction.now, transaction.worker, COMING, due, incarnation, size)
        page: list[Candidate] = transaction.ask(statement, *bindings)
        yield from page
        if len(page) < size:
            return
        due, incarnation, _ = page[-1]


def _due(transaction: Transaction, incarnations: list[int], waiting: Waiting) -> dict[int, list[ClaimedMessage]]:
    """What is due for each instance, in order, and perhaps more than a claim may bring."""
    rows = encode_rows(incarnations)
    found: dict[int, list[tuple[int, int, ClaimedMessage]]] = {incarnation: [] for incarnation in incarnations}
    if waiting.timer is not None and waiting.timer <= transaction.now:
        for incarnation, due, event, execution in transaction.ask(STATEMENTS["due_timers"], rows, transaction.now):
            timer = TimerDue(execution=execution, source=event, fire_at=due)
            found[incarnation].append((due, -1, ClaimedMessage(seq=0, timer=timer)))
    if waiting.message is not None and waiting.message <= transaction.now:
        for incarnation, due, seq, body in _due_messages(transaction, _DUE, incarnations, MESSAGES_MAX + 1):
            found[incarnation].append((due, seq, ClaimedMessage(seq=seq, body=body)))
    return {incarnation: [message for _, _, message in sorted(each, key=_order)] for incarnation, each in found.items()}


def _due_control(transaction: Transaction, incarnations: list[int]) -> dict[int, list[ClaimedMessage]]:
    """The due control messages of each instance, in order, and perhaps more than a claim may bring."""
    found: dict[int, list[ClaimedMessage]] = {incarnation: [] for incarnation in incarnations}
    for incarnation, _, seq, body in _due_messages(transaction, _DUE_CONTROL, incarnations, MESSAGES_MAX + 1):
        found[incarnation].append(ClaimedMessage(seq=seq, body=body))
    return found


def _due_messages(
    transaction: Transaction, statement: str, incarnations: list[int], most: int
) -> list[tuple[int, int, int, bytes]]:
    """The due messages as (incarnation, due, seq, body), at most so many of each instance."""
    try:
        answer, bodies = transaction.execute(statement, (encode_rows(incarnations), transaction.now, most)).get
    except apsw.TooBigError:
        # More than SQLite has in one value. What one instance does not get now comes with its next claim.
        middle = len(incarnations) // 2
        if middle == 0 and most == 1:
            raise
        if middle == 0:
            return _due_messages(transaction, statement, incarnations, most // 2)
        first = _due_messages(transaction, statement, incarnations[:middle], most)
        return first + _due_messages(transaction, statement, incarnations[middle:], most)
    messages = decode_answer(answer)
    pieces = cut(bodies, [size for _, _, _, size in messages])
    return [
        (incarnations[place], due, seq, body or b"")
        for (place, due, seq, _), body in zip(messages, pieces, strict=True)
    ]


def _order(entry: tuple[int, int, ClaimedMessage]) -> tuple[int, int, int]:
    due, seq, message = entry
    return due, seq, 0 if message.timer is None else message.timer.source


def _take_tasks(
    transaction: Transaction, most: int, waiting: Waiting, lanes: Lanes | None, *, untagged: bool
) -> tuple[tuple[ClaimedTask, ...], bool]:
    now, worker = transaction.now, transaction.worker
    ranks: set[Rank] = set() if lanes is None else set(lanes.tasks)
    in_line = waiting.in_line
    if untagged and waiting.delayed is not None and waiting.delayed <= now:
        if not most and transaction.execute(STATEMENTS["can_wake_tasks"], (now, worker)).get:
            return (), True
        transaction.execute(STATEMENTS["wake_tasks"], (now, worker))
        in_line = 1
    if untagged and in_line:
        ranks.update(map(tuple, transaction.ask(STATEMENTS["tasks_in_line"], now, worker, most + 1)))
    late: set[Rank] = set()
    if waiting.expiring is not None and waiting.expiring <= now:
        late.update(map(tuple, transaction.ask(STATEMENTS["tasks_expired"], now, most + 1)))
        ranks |= late
    if not ranks or not most:
        return (), bool(ranks)
    taken = sorted(ranks)[:most]
    keys = [rank[2:] for rank in taken]
    rows = encode_rows(keys)
    transaction.execute(STATEMENTS["own_tasks"], (rows, worker))
    if lanes is not None:
        lanes.begin(taken)
        if late:
            transaction.execute(STATEMENTS["mark_late_tasks"], (rows, now))
    tasks = _read_tasks(transaction, keys)
    if lanes is not None and lanes.sessions is not None:
        lanes.use({task.session for rank, task in zip(taken, tasks, strict=True) if task.session and rank not in late})
    return tasks, len(ranks) > most


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
            is_limited=bool(row[17]),
        )
        for row, retry, input_, last_error, details in zip(rows, pieces, pieces, pieces, pieces, strict=True)
    )


def _next_due(transaction: Transaction, waiting: Waiting, lanes: Lanes | None, *, untagged: bool) -> int | None:
    """When the next row becomes claimable."""
    now, worker = transaction.now, transaction.worker
    moments = []
    if waiting.message is not None or waiting.timer is not None:
        moments.append(transaction.execute(STATEMENTS["next_row_due"], (now, worker, COMING)).get)
    if waiting.delayed is not None or waiting.expiring is not None or waiting.in_line or lanes is not None:
        moments.append(transaction.execute(STATEMENTS["next_task_due"], (now, worker, untagged)).get)
    if lanes is not None:
        moments.append(lanes.next_opening())
    return min((moment for moment in moments if moment is not None), default=None)
