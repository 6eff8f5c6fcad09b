"""What a worker may take, in which order, and when there will be more.

Laws kept here: nobody takes what another owns; an instance goes only to a worker that has its code, unless a control
message waits for it; a copy goes to nobody; a claim waits for nobody.
"""

from collections.abc import Mapping
from typing import Any

from perdure._work import COMING, Claim, ClaimedInstance, ClaimedMessage, ClaimedTask, TimerDue, Work
from perdure.storage.base import MESSAGES_MAX, SESSIONS_SEEN_MAX
from perdure.storage.postgres.arrays import bigint, text
from perdure.storage.postgres.fronts import WHOLE
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.wire import Call, Rows
from perdure.storage.records import COLUMNS, record_of_row

_BYTES_MAX = 64 * 1024 * 1024
"""How many bytes of messages an instance gets at once; the rest comes with its next claim."""

CONTENDED_US = 5_000
"""When limits are looked at again that another claim was counting, in microseconds."""


def give_places(transaction: Transaction) -> list[Call]:
    """The statements that give places of limits to instances; the last answers with the owners of those."""
    now, worker = bigint(transaction.now), bigint(transaction.worker)
    return [("lock_limits", ()), *_lock_sessions(transaction), ("give_places", (now, worker))]


def _lock_sessions(transaction: Transaction) -> list[Call]:
    if not transaction.sessions:
        return []
    bindings = (bigint(transaction.now), bigint(transaction.worker), bigint(SESSIONS_SEEN_MAX))
    return [("lock_sessions", bindings)]


def claims(transaction: Transaction, claim: Claim) -> list[Call]:
    """The statements that give the worker what it may take, up to the limits."""
    now, worker, joined = bigint(transaction.now), bigint(transaction.worker), bigint(transaction.joined)
    coming = text(COMING)
    bounds = WHOLE if transaction.front is None else transaction.front.bounds()
    tasks = (now, worker, bigint(claim.tasks_max), *bounds.line, bounds.delayed, bounds.deadlines)
    return [
        (
            "claim_instances",
            (
                now,
                worker,
                joined,
                coming,
                bigint(claim.instances_max),
                bigint(MESSAGES_MAX + 1),
                bigint(_BYTES_MAX),
                bounds.due,
            ),
        ),
        *([("lock_limits", ())] if transaction.laned else []),
        # Which were open before instances got their places still are: nothing else has changed for them.
        *([] if transaction.places else _lock_sessions(transaction)),
        ("claim_tasks_in_lanes" if transaction.laned else "claim_tasks", tasks),
        *([("give_up_sessions", (now, worker))] if transaction.sessions else []),
        ("next_due", (now, worker, joined, coming, *bounds.ahead)),
        *([("next_in_lanes", (now,))] if transaction.laned else []),
        *([] if transaction.front is None else [("first_ahead", (now, *bounds.ahead))]),
    ]


def decode(transaction: Transaction, claim: Claim, answers: Mapping[str, Rows]) -> Work:
    """What those statements have answered."""
    instances = answers["claim_instances"]
    found = answers["claim_tasks_in_lanes" if transaction.laned else "claim_tasks"]
    tasks = tuple(_task(row) for row in found if row[1] is not None)
    claimed: list[ClaimedInstance] = []
    more = instances[0][0] > claim.instances_max or found[0][0] > claim.tasks_max
    for row in instances:
        if row[1] is not None:
            instance, has_more = _instance(row)
            claimed.append(instance)
            more = more or has_more
    if transaction.front is not None:
        dues = [row[-1] for row in instances if row[1] is not None]
        transaction.front.saw_instances(transaction.now, dues, instances[0][0])
        transaction.front.saw_tasks(transaction.now, tasks, found[0][0])
        transaction.front.saw_ahead(*answers["first_ahead"][0])
    return Work(
        now=transaction.now,
        instances=tuple(claimed),
        tasks=tasks,
        next_due=_next_due(transaction, answers),
        more=more,
    )


def _next_due(transaction: Transaction, answers: Mapping[str, Rows]) -> int | None:
    """The earliest of the moments for which it is worth while to look again."""
    moments = [answers["next_due"][0][0]]
    if transaction.front is not None:
        moments.append(transaction.front.next_timer(transaction.now))
    if transaction.laned:
        moments.append(answers["next_in_lanes"][0][0])
        if any(answers[lock][0][0] for lock in ("lock_limits", "lock_sessions") if lock in answers):
            moments.append(transaction.now + CONTENDED_US)
    return min((moment for moment in moments if moment is not None), default=None)


def _instance(row: tuple[Any, ...]) -> tuple[ClaimedInstance, bool]:
    """An instance with its messages, and whether it has more of them."""
    record = record_of_row(row[1 : 1 + COLUMNS])
    present, dues, seqs, bodies, fire_ats, events, runs, _ = row[1 + COLUMNS :]
    # In order of due time, then timers by event, then messages by arrival.
    waiting: list[tuple[int, int, int, ClaimedMessage]] = [
        (due, 1, seq, ClaimedMessage(seq=seq, body=body))
        for due, seq, body in zip(dues or (), seqs or (), bodies or (), strict=True)
    ]
    if fire_ats:
        for fire_at, event in zip(fire_ats, events, strict=True):
            timer = TimerDue(execution=record.execution, source=event, fire_at=fire_at)
            waiting.append((fire_at, 0, event, ClaimedMessage(seq=0, timer=timer)))
        waiting.sort()
    has_more = len(waiting) > MESSAGES_MAX or present > len(bodies or ())
    messages = tuple(each[3] for each in waiting[:MESSAGES_MAX])
    return ClaimedInstance(record=record, messages=messages, for_control=not runs), has_more


def _task(row: tuple[Any, ...]) -> ClaimedTask:
    (
        _, incarnation, instance_id, orchestration, version, execution, event, name, input_, scheduled_at, attempt,
        deliveries, retry, tag, session, priority, deadline, start_by, last_error, details, stopped,
        began,
        limited,
    ) = row  # fmt: skip
    return ClaimedTask(
        incarnation=incarnation,
        instance_id=instance_id,
        orchestration_name=orchestration,
        orchestration_version=version,
        execution=execution,
        event=event,
        name=name,
        input=input_,
        scheduled_at=scheduled_at,
        attempt=attempt,
        deliveries=deliveries,
        retry=retry,
        tag=tag,
        session=session,
        priority=priority,
        deadline=deadline,
        start_by=start_by,
        last_error=last_error,
        details=details,
        stopped=stopped,
        began=began,
        is_limited=limited,
    )
