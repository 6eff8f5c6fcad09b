"""How an instance goes back to an event of its history, and how another one begins there.

Laws kept here: an instance is put back only when no worker runs anything of it, since what is asked for again has the
numbers of what was dropped; whatever can't be done is found out before anything is changed, or undone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from perdure import _events as ev
from perdure import _work as work
from perdure._client.moving import LOOK_S, now_at, put, to_set_aside
from perdure._client.rewinding import RESETTING, Back, begun_otherwise, born_behind, events_of, put_back, refuse_moved
from perdure._client.transferring import parked
from perdure._types import Status
from perdure.errors import InstanceNotFoundError, RewindError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure._client.requests import Gateway

FORKED = "forked: resume it to let it go on"
RESET_ATTEMPTS_MAX = 20
"""How often a reset is worked out anew because something was sent to the instance meanwhile."""

_PLACES = ("start", "last")
_FORK = "be forked"


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a reset has taken back, and what it could not: `activities` may have happened, `sent` has been."""

    instance_id: str
    to_event: int
    """The last event that was kept."""
    events: int
    """How many were dropped."""
    activities: tuple[str, ...]
    """The names of the activities that they had asked for; what these have done in the world stays done."""
    children: tuple[str, ...]
    """The ids of the instances below it that were removed."""
    sent: tuple[str, ...]
    """The ids to which they had sent events, or under which they had started detached orchestrations."""


# -- where -------------------------------------------------------------------------------------------------------------


def _known_event(event: object, what: str) -> int:
    if isinstance(event, bool) or not isinstance(event, int):
        raise UsageError(f"{what} is {event!r}: use the number of an event, as `history` shows it, or 0")
    return event


def cut_of(image: work.InstanceImage, ends: Sequence[int], to_event: int | None, to: str | None) -> int:
    """The last event that a reset keeps.

    Raises:
        RewindError: History can't be cut there.
        UsageError: It is not said where, or twice.
    """
    record = image.record
    if (to_event is None) == (to is None) or to not in (None, *_PLACES):
        raise UsageError(f'pass to_event=, or to="start" or to="last", not {to_event=} and {to=}')
    refuse_moved(record)
    if not ends:
        raise RewindError(record.id, "it has no event yet")
    cuts = [0, *ends[:-1]]
    if to is not None:
        return cuts[0] if to == "start" else cuts[-1]
    event = _known_event(to_event, "to_event")
    if event in cuts:
        return event
    raise RewindError(record.id, _nearest(event, ends, cuts, f"event {event} is where it stands"))


def _nearest(event: int, ends: Sequence[int], cuts: Sequence[int], why_not: str) -> str:
    """Why history can't be cut behind an event, and behind which of those nearest to it it can."""
    last = ends[-1]
    if not 0 <= event <= last:
        why = f"it has no event {event}, but 1 to {last}"
    elif event in ends:
        why = why_not
    else:
        first = max(end for end in (0, *ends) if end < event) + 1
        behind = min(end for end in ends if end > event)
        why = f"event {event} is inside the turn of events {first} to {behind}"
    below = [cut for cut in cuts if cut < event][-1:]
    above = [cut for cut in cuts if cut > event][:1]
    nearest = " or ".join(str(cut) for cut in (*below, *above))
    return f"{why}; the nearest that can be kept: {nearest}"


# -- reset -------------------------------------------------------------------------------------------------------------


class Reset:
    """A reset of one instance."""

    def __init__(self, gateway: Gateway, instance_id: str, to_event: int | None, to: str | None) -> None:
        self._gateway = gateway
        self._id = instance_id
        self._to_event = to_event
        self._to = to
        self._set_aside: dict[int, str] = {}

    async def run(self, rounds: int) -> Dropped:
        """Do it; activities that run have so many rounds in which to end.

        Raises:
            InstanceNotFoundError: There is no such instance.
            RewindError: It can't go back there.
        """
        try:
            for attempt in range(rounds + RESET_ATTEMPTS_MAX):
                dropped = await self._try(all_tasks=attempt >= rounds)
                if dropped is not None:
                    return dropped
            raise RewindError(self._id, "something happens to it, or to its children, all the time")
        except BaseException:
            await asyncio.shield(self._let_go_on())
            raise

    async def _try(self, *, all_tasks: bool) -> Dropped | None:
        """Put it back if everything stands still; otherwise see to that, and return None."""
        gateway = self._gateway
        tree = await gateway.read(gateway.inspector.images, [self._id])
        image = next((each for each in tree if each.record.id == self._id), None)
        if image is None:
            raise InstanceNotFoundError(self._id)
        events, ends = events_of(image) if image.record.last_event else ([], [])
        cut = cut_of(image, ends, self._to_event, self._to)
        # What can't be put back is found out before anything is set aside for it.
        put_back(image, events, cut, tree, image.record.updated_at)
        gone = born_behind(image, cut, tree)
        if not await self._is_still(image, gone, cut, all_tasks=all_tasks):
            return None
        item = put_back(image, events, cut, tree, await now_at(gateway, self._id))
        outcome = await put(gateway, item.images, item.on_conflict, item.instead_of, item.while_open)
        if isinstance(outcome, work.Refused):
            return None
        return _dropped_of(image, events[cut:], cut, gone)

    async def _is_still(
        self, image: work.InstanceImage, gone: Sequence[work.InstanceImage], cut: int, *, all_tasks: bool
    ) -> bool:
        """Whether nothing moves; what does is set aside, and what runs is waited for."""
        running = [task for task in image.tasks if task.running]
        dropped = [task for task in running if task.event > cut]
        if dropped and all_tasks:
            raise RewindError(
                self._id,
                f"a worker still runs {dropped[0].name}, which event {dropped[0].event} has asked for: let it end, or "
                "stop that worker, and try again",
            )
        items = to_set_aside(image, RESETTING, all_tasks=all_tasks)
        items += [item for each in gone for item in to_set_aside(each, RESETTING, all_tasks=True)]
        for item in items:
            if item.incarnation is not None:
                self._set_aside[item.incarnation] = item.id
        await asyncio.gather(*map(self._gateway.submit, items))
        if running and not items:
            await asyncio.sleep(LOOK_S)
        return not items and not running

    async def _let_go_on(self) -> None:
        """Undo what was set aside for this."""
        items = [work.Resume(id=name, incarnation=number, reason=RESETTING) for number, name in self._set_aside.items()]
        await asyncio.gather(*map(self._gateway.submit, items), return_exceptions=True)


def _dropped_of(
    image: work.InstanceImage, dropped: Sequence[Any], cut: int, gone: Sequence[work.InstanceImage]
) -> Dropped:
    activities = [event.name for event in dropped if isinstance(event, ev.ActivityScheduled)]
    sent = [event.instance_id for event in dropped if isinstance(event, ev.EventSent | ev.DetachedStarted)]
    return Dropped(
        instance_id=image.record.id,
        to_event=cut,
        events=len(dropped),
        activities=tuple(activities),
        children=tuple(each.record.id for each in gone),
        sent=tuple(dict.fromkeys(sent)),
    )


# -- fork --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fork:
    """What a fork is to be: its id and incarnation, and whether it runs at once."""

    instance_id: str
    incarnation: int
    run: bool


def forked(
    instance_id: str, tree: Sequence[work.InstanceImage], from_event: int | None, fork: Fork, now: int
) -> work.InstanceImage:
    """The fork of an instance.

    Args:
        instance_id: Which is forked.
        tree: It, and everything below it.
        from_event: The last event that the fork has of it; None for the latest that it can have.
        fork: What it is to be.
        now: The store's time.

    Raises:
        RewindError: It can't be forked there.
    """
    image = next(each for each in tree if each.record.id == instance_id)
    refuse_moved(image.record, _FORK)
    if not image.record.last_event:
        raise RewindError(instance_id, "it has no event yet", _FORK)
    events, ends = events_of(image)
    family = {each.record.id: each.record for each in tree}
    cuts = _fork_cuts(events, ends, family)
    cut = cuts[-1] if from_event is None else _known_event(from_event, "from_event")
    if cut not in cuts:
        is_end = cut == ends[-1] and isinstance(events[-1], ev.Ended | ev.Terminated)
        why_not = "it ended with it" if is_end else "a child that was open then is open still, or gone"
        raise RewindError(instance_id, _nearest(cut, ends, cuts, f"event {cut} is no beginning, as {why_not}"), _FORK)
    back = _BackAnew(_alone(image, fork, now), events[:cut], events[: 0 if cut else 1], family, now)
    anew = back.image()
    if cut:
        anew = replace(
            anew, history=begun_otherwise(anew.history, _started_as_fork(events[0], image.record, cut, fork))
        )
    return anew if fork.run else parked(anew, FORKED)


def _fork_cuts(events: Sequence[Any], ends: Sequence[int], family: dict[str, work.InstanceRecord]) -> list[int]:
    """Behind which events a fork can begin: where no child was open that is open still, or gone; and not at an end."""
    cuts, begin = [0], 0
    waits: dict[int, Any] = {}
    for end in ends:
        for event in events[begin:end]:
            if isinstance(event, ev.ChildScheduled):
                child = family.get(event.instance_id)
                if child is None or not child.status.is_closed:
                    waits[event.id] = event
            elif isinstance(event, ev.ChildCompleted | ev.ChildFailed | ev.ChildCancelled):
                waits.pop(event.source, None)
        begin = end
        if not waits and not isinstance(events[end - 1], ev.Ended | ev.Terminated):
            cuts.append(end)
    return cuts


def _alone(image: work.InstanceImage, fork: Fork, now: int) -> work.InstanceImage:
    """The instance with its history only, under the name of the fork."""
    record = image.record
    rows = tuple(each for each in image.history if each.execution == record.execution)
    return replace(
        image,
        record=work.InstanceRecord(
            id=fork.instance_id,
            incarnation=fork.incarnation,
            name=record.name,
            version=record.version,
            status=Status.RUNNING,
            execution=record.execution,
            created_at=now,
            updated_at=max(now, *(each.row.at for each in rows)),
            root=fork.instance_id,
            attributes=record.attributes,
            min_reader=record.min_reader,
        ),
        ready_at=now,
        history=rows,
        messages=(),
        timers=(),
        tasks=(),
        entries=(),
        dedup_keys=(),
    )


class _BackAnew(Back):
    """A fork: it is told how children have ended that it waits for, and nothing else of what came later."""

    def _told(self, event: Any) -> work.AnyMessage | None:
        message = super()._told(event)
        if isinstance(message, work.Start):
            return replace(message, root=self._image.record.id, parent=None)
        return None


def _started_as_fork(started: ev.Started, record: work.InstanceRecord, cut: int, fork: Fork) -> ev.Started:
    """The first event of a fork, which says whose its history is up to where."""
    forks = [each for each in started.forks if each.event < cut]
    before = next((each for each in started.forks if each.event >= cut), None)
    secret = _secret_of(started, fork)
    if before is None:
        forks.append(ev.ForkedAt(cut, record.id, record.incarnation, started.root or record.id, secret))
    else:
        forks.append(ev.ForkedAt(cut, before.instance_id, before.incarnation, before.root, secret))
    return replace(started, root=fork.instance_id, parent=None, forks=tuple(forks))


def _secret_of(started: ev.Started, fork: Fork) -> str:
    """A secret that no other fork has, and nobody can guess who does not know the first one."""
    number = fork.incarnation.to_bytes(8, "big")
    return blake2b(number, key=bytes.fromhex(started.secret)[:64], digest_size=16, person=b"perdure-fork").hexdigest()
