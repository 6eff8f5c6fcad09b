"""What a turn commits, where no more than a look at its messages and events says so."""

from typing import Any

from perdure import _work as work
from perdure._events import checksum, encode_events
from perdure._runtime.live import Arrival, Live, Prepared
from perdure._runtime.turns import new_task


def going_on(live: Live, events: list[Any], taken: list[Arrival], *, local: bool) -> Prepared:
    """The commit of nearly all turns: an outcome came, and one activity was asked for."""
    outcome, scheduled = events
    base = live.base
    data = encode_events(events)
    turn = work.Turn(
        incarnation=live.incarnation,
        execution=live.execution_id,
        base=base,
        history=work.HistoryRow(first=base + 1, last=base + 2, at=outcome.at, data=data, crc=checksum(data)),
        tasks=(new_task(scheduled, local=local),),
        tasks_gone=(outcome.source,),
    )
    return Prepared(live=live, item=turn, arrivals=taken)


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
