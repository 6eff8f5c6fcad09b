"""What follows from a commit, as plain functions: which activities start, which instances ended, whom to ask again."""

import logging
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from perdure import _work as work
from perdure._client.requests import Ending, Request
from perdure._client.stored import read_error
from perdure._runtime.live import Arrival, Live, Prepared
from perdure._types import Status
from perdure.errors import OutcomeUnknownError, StorageError
from perdure.storage.base import Storage

_log = logging.getLogger("perdure.runtime")


def outcomes_among(live: Live, arrivals: Iterable[Arrival]) -> list[work.TaskDone]:
    """What activities have brought an instance, and only this worker's memory has, for whoever owns it now."""
    outcomes = [arrival.message for arrival in arrivals if arrival.seq == 0]
    return [done(live.incarnation, outcome) for outcome in outcomes if isinstance(outcome, work.ActivityOutcome)]


def done(incarnation: int, outcome: work.ActivityOutcome) -> work.TaskDone:
    """What an activity has brought, for the store."""
    return work.TaskDone(
        incarnation=incarnation,
        execution=outcome.execution,
        event=outcome.source,
        body=work.encode_message(outcome),
    )


def is_work(batch: work.Batch, committed: work.Committed) -> bool:
    """Whether a commit did anything; asking for work and finding none is what an idle engine does."""
    taken = committed.work
    return bool(batch.items or (taken is not None and (taken.instances or taken.tasks)))


def has_changed(storage: Storage) -> bool:
    """Whether others have written; also when the store can't say, because then looking is all there is."""
    try:
        return storage.changed()
    except StorageError as error:
        _log.warning("could not look whether others have written: %s", error)
        return True


def starts_or_told(requests: list[Request]) -> list[Request]:
    """Of requests that may have landed: the starts, which may be sent again; whoever sent the others is told."""
    again: list[Request] = []
    for request in requests:
        if isinstance(request.item, work.StartInstance):
            again.append(replace(request, item=replace(request.item, again=True)))
        else:
            request.resolve(
                OutcomeUnknownError(
                    "the store broke off during the commit that carried this request; it probably landed: "
                    "look before you send it again, or use a dedup_key"
                )
            )
    return again


def asked_otherwise(turn: Prepared, outcome: work.Refused, requests: list[Request]) -> list[Request]:
    """Of the requests that a refused turn was to answer: those to be asked another way; the others are told."""
    again: list[Request] = []
    for request in requests:
        item = request.item
        is_start = turn.live.create is not None and isinstance(item, work.StartInstance)
        if is_start and outcome.reason is work.Refusal.EXISTS and _is_final(item, outcome):
            request.resolve(outcome)
        else:
            again.append(request)
    return again


def _is_final(item: work.Item, outcome: work.Refused) -> bool:
    return isinstance(item, work.StartInstance) and item.on_conflict == "fail" and not is_own(outcome, item)


def is_own(refused: work.Refused, start: work.StartInstance) -> bool:
    """Whether what has the id is this very start, which had landed before: its answer was lost."""
    return refused.existing is not None and refused.existing.incarnation == start.new.incarnation


def is_fenced(outcomes: Sequence[work.Outcome]) -> bool:
    """Whether another has taken over the worker's work."""
    return any(isinstance(outcome, work.Refused) and outcome.reason is work.Refusal.FENCED for outcome in outcomes)


def requests_of(turns: list[Prepared]) -> list[Request]:
    return [arrival.request for turn in turns for arrival in turn.arrivals if arrival.request is not None]


def claimed(live: Live, turn: work.Turn, task: work.NewTask, now: int) -> work.ClaimedTask:
    """The activity as the worker gets it that has asked for it and runs it at once: it has no tag, limit or session."""
    total, start = task.total_timeout_us, task.schedule_to_start_us
    return work.ClaimedTask(
        incarnation=turn.incarnation,
        instance_id=live.instance_id,
        orchestration_name=live.name,
        orchestration_version=live.version or "",
        execution=turn.execution,
        event=task.event,
        name=task.name,
        input=task.input,
        scheduled_at=now,
        retry=task.retry,
        priority=task.priority,
        deadline=None if total is None else now + total,
        start_by=None if start is None else now + start,
        is_own=True,
    )


def ending(turn: Prepared) -> Ending | None:
    """How the turn ended its instance, if it did."""
    change = turn.item.change if isinstance(turn.item, work.Turn) else None
    if change is None or change.status is None or not change.status.is_closed:
        return None
    return Ending(change.status, change.output, change.error)


def log_warnings(turn: Prepared, outcome: work.Applied, end: Ending | None) -> None:
    """What the program and the store have to say of a turn that has landed, and perhaps ended its instance."""
    live = turn.live
    for warning in turn.warnings:
        _log.warning("%s (%s): %s", live.instance_id, live.name, warning)
    if end is not None and end.status is Status.FAILED and end.error is not None:
        # No warning: for all that a worker knows, whoever waits for the instance has reckoned with it.
        _log.info("%s (%s) failed: %s", live.instance_id, live.name, read_error(end.error, live.instance_id).summary)
    for skipped in outcome.skipped:
        # A parent or a child that has ended meanwhile is no news; what the program addressed by name is.
        if turn.draft is not None and skipped in turn.draft.addressed:
            _log.warning(
                "%s: an event or a detached start for %r was not delivered: there is no such open instance, or its "
                "id is taken",
                live.instance_id,
                skipped,
            )
