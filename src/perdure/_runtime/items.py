"""What a turn commits, where no more than a look at its messages and events says so."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from perdure import _work as work
from perdure._events import ActivityCompleted, ActivityScheduled, Completed, Started, checksum, encode_events
from perdure._registry import Registry
from perdure._runtime.live import TORN, Arrival, Live, Prepared
from perdure._runtime.reasons import why_held
from perdure._runtime.turns import new_task
from perdure._types import Status
from perdure.errors import ErrorInfo

_TWO = 2


def going_on(
    live: Live, events: list[Any] | None, arrival: Arrival, take_slot: Callable[[str], bool]
) -> Prepared | None:
    """The commit of a turn that did what nearly all do: it took an activity's result, and asked for the next or ended.

    None if it did anything else.
    """
    if events is None or len(events) != _TWO:
        return None
    outcome, then = events
    if type(outcome) is not ActivityCompleted:
        return None
    if type(then) is ActivityScheduled:
        turn = work.Turn(
            incarnation=live.incarnation,
            execution=live.execution_id,
            base=live.base,
            history=_row(live.base, events, outcome.at),
            tasks=(new_task(then, take_slot),),
            tasks_gone=(outcome.source,),
        )
        return Prepared(live=live, item=turn, arrivals=(arrival,), went_on=True)
    if type(then) is Completed and live.parent is None:
        turn = work.Turn(
            incarnation=live.incarnation,
            execution=live.execution_id,
            base=live.base,
            history=_row(live.base, events, outcome.at),
            tasks_gone=(outcome.source,),
            change=work.InstanceChange(status=Status.COMPLETED, output=work.sealed(bytes(then.output))),
        )
        return Prepared(live=live, item=turn, arrivals=(arrival,), closes=True)
    return None


def beginning(
    live: Live, events: list[Any] | None, arrivals: Sequence[Arrival], take_slot: Callable[[str], bool]
) -> Prepared | None:
    """The commit of a first turn that came straight from a client here and asked for one activity; else None."""
    if live.create is None or live.base or events is None or len(events) != _TWO or len(arrivals) != 1:
        return None
    started, scheduled = events
    if type(started) is not Started or type(scheduled) is not ActivityScheduled:
        return None
    if started.min_reader > 1:
        return None
    turn = work.Turn(
        incarnation=live.incarnation,
        execution=live.execution_id,
        base=0,
        create=live.create,
        history=_row(0, events, started.at),
        tasks=(new_task(scheduled, take_slot),),
        change=work.InstanceChange(version=live.version),
    )
    return Prepared(live=live, item=turn, arrivals=arrivals)


def cancel_unstarted(live: Live, arrivals: Sequence[Arrival], registry: Registry) -> Arrival | None:
    """The cancel that ends an instance before it has run: its start is not due, or it can't run here."""
    cancels = [arrival for arrival in arrivals if type(arrival.message) is work.Cancel]
    if not cancels:
        return None
    if live.for_control:
        # What has run in an earlier execution may have to clear up, where it can go on.
        return cancels[0] if live.execution_id == 1 else None
    start = arrivals[0].message
    runs = type(start) is work.Start and registry.orchestration(live.name, start.version) is not None
    return None if runs else cancels[0]


def passed_on(live: Live, arrivals: Sequence[Arrival]) -> Prepared | None:
    """The commit of a worker that has an instance only for the sake of a cancel, and can't go on with it.

    A cancel that was sent before the beginning, or to what is suspended, may end it without its code, so it goes to
    anybody. Where the instance has begun, it becomes an ordinary message: for whoever has the code, or until it is
    resumed. One that is held is tried once more for it. What nobody can read goes, too. None when there is neither.
    """
    cancels = [arrival for arrival in arrivals if arrival.seq and type(arrival.message) is work.Cancel]
    if not cancels and not live.torn:
        return None
    # What only this worker's memory has is told when it has gone back.
    live.pending.extend(arrival for arrival in arrivals if not arrival.seq)
    turn = work.Turn(
        incarnation=live.incarnation,
        execution=live.execution_id,
        base=live.base,
        consumed=(*live.torn, *(arrival.seq for arrival in cancels)),
        messages=tuple(
            work.OutMessage(body=work.encode_message(arrival.message), to_incarnation=live.incarnation)
            for arrival in cancels
        ),
    )
    return Prepared(live=live, item=turn, arrivals=cancels, goes_back=True, warnings=[TORN] * bool(live.torn))


def _row(base: int, events: list[Any], at: int) -> work.HistoryRow:
    data = encode_events(events)
    return work.HistoryRow(first=base + 1, last=base + _TWO, at=at, data=data, crc=checksum(data))


def answered_here(answers: dict[str, bytes], arrivals: Iterable[Arrival]) -> dict[str, bytes]:
    """Those of the answers, taken out, for which somebody waits in this process."""
    asked = [arrival.message for arrival in arrivals if arrival.request is not None]
    requests = [each.request for each in asked if isinstance(each, work.QueryAsked | work.UpdateAsked)]
    return {request: answers.pop(request) for request in requests if request in answers}


def entries_of(answers: dict[str, bytes]) -> list[work.Entry]:
    """The answers for those who wait elsewhere."""
    return [
        work.Entry(shelf=work.ANSWERS, key=request, value=answer, passing=not request.startswith(work.KEPT))
        for request, answer in answers.items()
    ]


def tell(arrivals: Iterable[Arrival], answers: Mapping[str, bytes]) -> None:
    """Whoever sent these messages from here hears that they have landed, with the answers to what they asked."""
    for arrival in arrivals:
        if arrival.request is not None:
            message = arrival.message
            answer = answers.get(message.request) if isinstance(message, work.QueryAsked | work.UpdateAsked) else None
            arrival.request.resolve(work.APPLIED if answer is None else work.Applied(answer=answer))


def hold_of(live: Live, arrivals: list[Arrival], error: BaseException) -> tuple[work.Hold, ErrorInfo]:
    """What sets an instance aside, and keeps those of its messages that are nowhere but in memory; and why it does."""
    info = why_held(error)
    kept = [arrival.message for arrival in arrivals if arrival.seq == 0]
    bodies = tuple(
        work.encode_message(message)
        for message in kept
        if isinstance(message, work.ActivityOutcome | work.Raised | work.UpdateAsked | work.Cancel)
    )
    hold = work.Hold(
        incarnation=live.incarnation,
        reason=info.summary,
        create=live.create,
        messages=bodies,
        execution=live.execution_id,
        tasks_gone=tuple(message.source for message in kept if isinstance(message, work.ActivityOutcome)),
        consumed=live.torn,
    )
    return hold, info
