"""What a turn commits, where no more than a look at its messages and events says so."""

from collections.abc import Callable
from typing import Any

from perdure import _work as work
from perdure._events import ActivityCompleted, ActivityScheduled, checksum, encode_events
from perdure._runtime.live import Arrival, Live, Prepared
from perdure._runtime.turns import new_task


def going_on(
    live: Live, events: list[Any] | None, arrival: Arrival, take_slot: Callable[[str], bool]
) -> Prepared | None:
    """The commit of a turn that did what nearly all do: it took an activity's result, and asked for the next.

    None if it did anything else.
    """
    if events is None or len(events) != 2:  # noqa: PLR2004 - the two
        return None
    outcome, scheduled = events
    if type(outcome) is not ActivityCompleted or type(scheduled) is not ActivityScheduled:
        return None
    base = live.base
    data = encode_events(events)
    turn = work.Turn(
        incarnation=live.incarnation,
        execution=live.execution_id,
        base=base,
        history=work.HistoryRow(first=base + 1, last=base + 2, at=outcome.at, data=data, crc=checksum(data)),
        tasks=(new_task(scheduled, take_slot(scheduled.name)),),
        tasks_gone=(outcome.source,),
    )
    return Prepared(live=live, item=turn, arrivals=[arrival], went_on=True)


def hold_of(live: Live, arrivals: list[Arrival], reason: str) -> work.Hold:
    """What sets an instance aside, and keeps those of its messages that are nowhere but in memory."""
    kept = [arrival.message for arrival in arrivals if arrival.seq == 0]
    bodies = tuple(
        work.encode_message(message)
        for message in kept
        if isinstance(message, work.ActivityOutcome | work.Raised | work.Cancel)
    )
    return work.Hold(
        incarnation=live.incarnation,
        reason=reason,
        create=live.create,
        messages=bodies,
        execution=live.execution_id,
        tasks_gone=tuple(message.source for message in kept if isinstance(message, work.ActivityOutcome)),
    )
