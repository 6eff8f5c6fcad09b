"""The part of a client that sets instances aside and brings back, or gives up, what is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Raw

from perdure import _work as work
from perdure._client.opened import PAGE_MAX, Opened, check_limit, check_reason
from perdure._context import DidNotHappen, Failed, Happened
from perdure._types import Status, check_count, check_instance_id, check_name
from perdure.codec import codec_for, encode_any
from perdure.errors import (
    InstanceClosedError,
    InstanceComingError,
    InstanceExistsError,
    InstanceNotFoundError,
    NotHeldError,
    PoisonedError,
    RewindError,
    UsageError,
    error_info_from_exception,
)

if TYPE_CHECKING:
    from perdure._client.figures import HeldActivity
    from perdure._client.handle import OrchestrationHandle
    from perdure._client.resetting import Dropped
    from perdure._context import Decision
    from perdure._types import Duration

_EVENTS_SHOWN = 10

REWIND_ATTEMPTS_MAX = 10
"""How often a rewind is worked out anew because something has happened meanwhile."""


class Repair(Opened):
    """What `Client` can do about what does not go on; see there."""

    async def suspend(self, instance_id: str, /, reason: str = "") -> None:
        """Set an open instance aside until `resume`: it takes no turns, whatever comes; its activities go on.

        What is raised in it and what its activities return waits, and so does a cancel, which ends it only if it has
        not begun. `terminate` still ends it.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceClosedError: It has ended.
            InstanceComingError: It is a copy of one of another store, whose move is not done.
            UsageError: The reason begins with the words by which copies are known.
        """
        if check_reason(reason).startswith(work.COMING):
            raise UsageError(f"reason is {reason!r}: with these words moves mark their copies, so use others")
        item = work.Suspend(id=check_name("instance id", instance_id), reason=reason)
        await self._apply(item, instance_id)

    async def resume(self, instance_id: str, /) -> None:
        """Let a suspended or held instance go on with all that has come meanwhile; harmless for one that runs.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceClosedError: It has ended.
        """
        await self._apply(work.Resume(id=check_name("instance id", instance_id)), instance_id)

    async def retry(self, instance_id: str, /, *, event_id: int | None = None) -> None:
        """Try again what is held: the instance and its held activities, or the one activity that `event_id` names.

        An activity of which nobody knows whether it has happened is not run: its probe is asked again, if it has one.

        Any worker that has the code takes it, also one that was there before; deaths of workers are counted anew.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceClosedError: It has ended.
            NotHeldError: There is no held activity of this event.
            UsageError: `event_id` is no number of an event.
        """
        _check_event(event_id)
        item = work.Resume(id=check_name("instance id", instance_id), event=event_id)
        await self._apply(item, instance_id)

    async def discard(self, instance_id: str, /, *, event_id: int | None = None, reason: str = "") -> None:
        """Give up what is held. An instance is terminated; an activity fails with a `PoisonedError` as its cause.

        A parent, or the orchestration that waits for the activity, hears of it and may compensate.

        Args:
            instance_id: The instance.
            event_id: The held activity; None for the instance itself.
            reason: Kept in the history; default what it was held for.

        Raises:
            InstanceNotFoundError: There is no such instance.
            NotHeldError: It is not held.
        """
        check_reason(reason)
        _check_event(event_id)
        if event_id is not None:
            held = await self._held_activity(instance_id, event_id)
            error = error_info_from_exception(
                PoisonedError(reason or f"discarded: {held.held_because}"), attempts=held.attempt
            )
            await self._end_held(
                held,
                work.ActivityOutcome(execution=held.execution, source=event_id, error=error, attempts=held.attempt),
            )
            return
        record = await self._record(instance_id)
        if record.status is not Status.HELD:
            raise NotHeldError(instance_id)
        body = work.encode_message(work.Terminate(reason=reason or f"discarded: {record.held_because}"))
        item = work.Deliver(to_id=instance_id, body=body, control=True, incarnation=record.incarnation, if_held=True)
        await self._apply(item, instance_id)

    async def resolve(
        self, held: HeldActivity | str, decision: Decision[Any], /, *, event_id: int | None = None
    ) -> None:
        """Say what came of a held activity, mostly of one of which nobody knew (`on_unknown="hold"`).

        `Happened(result)` ends it with that result, `Failed("declined")` with that error, and `DidNotHappen()` has it
        run again. When this returns, that is durable.

        Args:
            held: The held activity as it was listed: should it have been called again since, this is refused. Or the id
                of its instance.
            decision: What came of it.
            event_id: With an id, the activity; default the only one that the instance holds.

        Raises:
            InstanceNotFoundError: There is no such instance.
            NotHeldError: It holds no such activity.
            PayloadError: The result can't be written as JSON.
            UsageError: It is no decision, or the instance holds several activities and `event_id` is not given.

        Example:
            for held in await client.list_held_activities():
                if held.began_at is not None and await bank.has_paid(held.instance_id):
                    await client.resolve(held, Happened("paid"))
        """
        if not isinstance(decision, Happened | Failed | DidNotHappen):
            raise UsageError(f"{decision!r} is no decision: use Happened(result), Failed(error) or DidNotHappen()")
        _check_event(event_id)
        if isinstance(held, str):
            task = await self._held_activity(held, event_id)
        else:
            task = await self._held_activity(held.instance_id, held.event_id)
            from perdure._client.figures import held_of  # noqa: PLC0415 - loaded when it is asked for

            if held_of([task]) != [held]:
                raise NotHeldError(held.instance_id)
        if isinstance(decision, DidNotHappen):
            again = work.Resume(
                id=task.instance_id, event=task.event, incarnation=task.incarnation, repeat=task.began_at
            )
            await self._apply(again, task.instance_id)
            return
        if isinstance(decision, Happened):
            result = Raw(encode_any(decision.result, what=f"result of activity {task.name}"))
            outcome = work.ActivityOutcome(
                execution=task.execution, source=task.event, result=result, attempts=task.attempt
            )
        else:
            error = error_info_from_exception(decision.exception(), attempts=task.attempt)
            outcome = work.ActivityOutcome(
                execution=task.execution, source=task.event, error=error, attempts=task.attempt
            )
        await self._end_held(task, outcome)

    async def _held_activity(self, instance_id: str, event_id: int | None) -> work.HeldTask:
        gateway = self._opened()
        record = await self._record(instance_id)
        listed = await gateway.read(gateway.inspector.held_tasks, PAGE_MAX, record.incarnation)
        meant = [each for each in listed if event_id in (None, each.event)]
        if not meant:
            raise NotHeldError(instance_id)
        if len(meant) > 1:
            events = ", ".join(str(each.event) for each in meant[:_EVENTS_SHOWN])
            raise UsageError(f"{instance_id} holds {len(meant)} activities (events {events}): say which by event_id=")
        return meant[0]

    async def _end_held(self, held: work.HeldTask, outcome: work.ActivityOutcome) -> None:
        item = work.TaskDiscard(
            incarnation=held.incarnation,
            execution=held.execution,
            event=held.event,
            body=work.encode_message(outcome),
            held_at=held.held_at,
        )
        answer = await self._opened().submit(item)
        if isinstance(answer, work.Refused):
            is_copy = answer.reason is work.Refusal.COMING
            raise InstanceComingError(held.instance_id) if is_copy else NotHeldError(held.instance_id)

    async def rewind(self, instance_id: str, /) -> None:
        """Let a failed instance go on from before the turn in which it failed, with the code that workers have now.

        What that turn was told is told again: external events are unread, updates are asked again, timers fire again,
        results of activities stay. An activity whose failure it was told is tried again, with the same idempotency key,
        and so is one that was still open. Status and KV store are as they were. Children that the turn asked for are
        removed, with all below them, as it will ask again; what became of earlier ones is told. Events that it sent and
        detached orchestrations that it started are not taken back.

        A parent has heard of the failure, and does not hear more; if it has failed by that, rewind it, too, after its
        child. Durable when this returns. A second call finds the instance running, and is refused.

        Raises:
            InstanceNotFoundError: There is no such instance.
            RewindError: It has not failed; its history is damaged or gone; a child that it needs is gone; or a worker
                still runs an activity of a child that would be removed. Nothing was changed.
        """
        from perdure._client.moving import now_at, put  # noqa: PLC0415 - hardly ever needed
        from perdure._client.rewinding import rewound  # noqa: PLC0415 - the same

        gateway = self._opened()
        check_name("instance id", instance_id)
        for _ in range(REWIND_ATTEMPTS_MAX):
            tree = await gateway.read(gateway.inspector.images, [instance_id])
            if not tree:
                raise InstanceNotFoundError(instance_id)
            now = await now_at(gateway, instance_id)
            item = rewound(instance_id, tree, now)
            outcome = await put(gateway, item.images, item.on_conflict, item.instead_of, item.while_open)
            if isinstance(outcome, work.Applied):
                return
            if outcome.reason is work.Refusal.RUNNING:
                raise RewindError(instance_id, "a worker runs an activity of a child that its last turn has started")
        raise RewindError(instance_id, "something happens to it, or to its children, all the time")

    async def reset(
        self,
        instance_id: str,
        /,
        *,
        to_event: int | None = None,
        to: Literal["start", "last"] | None = None,
        grace: Duration = 30.0,
    ) -> Dropped:
        """Let an instance go on from an earlier event of its present execution, with the code that workers have now.

        It may be open or have ended. What it was told behind that event is told again: external events are unread, and
        updates are asked again; of activities that were open then, results are told again and failures tried again,
        with the same idempotency key. What it had asked for behind that event was never asked for: timers are gone,
        activities given up, children removed with all below them. Sent events, detached orchestrations and what
        activities have done in the world are not taken back; what is asked for again under the same event has the same
        idempotency key, also when the code asks for something else there. One that was suspended stays so.

        Args:
            instance_id: Which.
            to_event: The last event that is kept, the last one of a turn; 0 begins anew, with the same input.
            to: Instead of `to_event`: "start" begins anew, "last" takes the last turn again.
            grace: How long activities that run just now may take to end, in seconds or as a timedelta. Then those that
                are wanted further are given up, and run again; for others the reset is given up.

        Returns:
            What was dropped. When this returns, that is durable.

        Raises:
            InstanceNotFoundError: There is no such instance.
            RewindError: History can't be cut there (the nearest events at which it can are named); it is damaged or
                gone; a child that it needs is gone; or a worker still runs an activity that would be dropped. Nothing
                was changed.
            UsageError: It is not said where to, or twice.
        """
        from perdure._client.moving import rounds_in  # noqa: PLC0415 - hardly ever needed
        from perdure._client.resetting import Reset  # noqa: PLC0415 - the same

        rounds = rounds_in(grace)
        return await Reset(self._opened(), check_name("instance id", instance_id), to_event, to).run(rounds)

    async def fork(
        self, instance_id: str, new_id: str | None = None, /, *, from_event: int | None = None, run: bool = False
    ) -> OrchestrationHandle[Any]:
        """Make an instance that has the history of another one up to an event, and goes its own way from there.

        It is as the other one was when that event had been handled: KV store, status, attributes, unread events. What
        was open then is asked for anew: activities run again, with idempotency keys of their own, and timers fire when
        they would have. `ctx.instance_id`, the ids of children and new guids differ from there on. Children are not
        shared: of those that were open then it is told how they have ended; while one is open still, it can't be
        forked there. It has no parent, and what was sent to the other one later is not sent to it.

        Args:
            instance_id: The instance, open or ended; its present execution is forked.
            new_id: The id of the fork; default a new one.
            from_event: The last event that both have, the last one of a turn; 0 begins anew with the same input.
                Default the latest possible one.
            run: Let it go on at once; otherwise it is suspended until `resume`.

        Raises:
            InstanceNotFoundError: There is no such instance.
            InstanceExistsError: The new id is taken.
            RewindError: It can't be forked there; the nearest events at which it can are named.
            OutcomeUnknownError: The store broke off: the fork is there, or not, or was and is deleted.
        """
        from perdure._client.handle import OrchestrationHandle  # noqa: PLC0415 - made of clients
        from perdure._client.moving import now_at, put  # noqa: PLC0415 - hardly ever needed
        from perdure._client.resetting import Fork, forked  # noqa: PLC0415 - hardly ever needed

        gateway = self._opened()
        check_name("instance id", instance_id)
        fork_id = gateway.draw_id() if new_id is None else check_instance_id(new_id)
        tree = await gateway.read(gateway.inspector.images, [instance_id])
        if not tree:
            raise InstanceNotFoundError(instance_id)
        now = await now_at(gateway, fork_id)
        fork = Fork(fork_id, gateway.draw_incarnation(fork_id), run)
        outcome = await put(gateway, [forked(instance_id, tree, from_event, fork, now)], "fail", is_new=True)
        if isinstance(outcome, work.Refused):
            raise InstanceExistsError(fork_id)
        return OrchestrationHandle(gateway, fork_id, codec_for(Any), fork.incarnation)

    async def list_held_activities(self, *, instance_id: str | None = None, limit: int = 100) -> list[HeldActivity]:
        """The activities that were set aside, the longest held first. Held instances: `list_instances(status="held")`.

        Args:
            instance_id: Only those of this instance; default all.
            limit: How many, 1 to 1,000.

        Raises:
            InstanceNotFoundError: There is no such instance.
            UsageError: `limit` is not within 1 to 1,000.
        """
        from perdure._client.figures import held_of  # noqa: PLC0415 - loaded when it is asked for

        check_limit(limit)
        gateway = self._opened()
        incarnation = None if instance_id is None else (await self._record(instance_id)).incarnation
        return held_of(await gateway.read(gateway.inspector.held_tasks, limit, incarnation))

    async def _apply(self, item: work.ClientItem, instance_id: str) -> None:
        gateway = self._opened()
        outcome = await gateway.submit(item)
        if isinstance(outcome, work.Applied):
            return
        if outcome.reason is work.Refusal.NOT_HELD:
            raise NotHeldError(instance_id)
        if outcome.reason is work.Refusal.COMING:
            raise InstanceComingError(instance_id)
        record = await gateway.read(gateway.inspector.get, instance_id)
        if record is not None and outcome.reason is work.Refusal.CLOSED:
            raise InstanceClosedError(instance_id, record.status)
        if record is not None and isinstance(item, work.Resume) and item.event is not None:
            raise NotHeldError(instance_id)
        # If there is one now, it was started after the request.
        raise InstanceNotFoundError(instance_id)


def _check_event(event_id: int | None) -> None:
    """See that it can be the number of an event; None is no event."""
    if event_id is not None:
        check_count("event_id", event_id)
