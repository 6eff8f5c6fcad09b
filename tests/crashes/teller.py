"""A careful client: it asks again until it knows, and everything that it asks for may be asked for twice."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

from perdure import (
    SLOT,
    Every,
    ExternalEvent,
    InstanceClosedError,
    InstanceExistsError,
    InstanceNotFoundError,
    InstanceStatus,
    OrchestrationError,
    OutcomeUnknownError,
    RewindError,
    StorageUnavailableError,
    Update,
    UsageError,
)
from perdure.testing import Environment
from tests.crashes.programs import World


class Teller:
    """What clients do in an environment."""

    def __init__(self, env: Environment, world: World) -> None:
        self._env = env
        self._world = world
        self._client: Any = env.client

    async def _insist(self, call: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await call()
            except (StorageUnavailableError, OutcomeUnknownError):
                continue
            return

    async def start(self, program: Any, *inputs: object, instance_id: str = "main", **options: Any) -> None:
        """Start an instance, if it is not there."""
        options["on_conflict"] = "use_existing"
        await self._insist(
            partial(self._client.start_orchestration, program, *inputs, instance_id=instance_id, **options)
        )

    async def start_tomorrow(self, program: Any) -> None:
        """Start "main", if it is not there, in a day."""
        await self.start(program, start_at=self._env.now + timedelta(days=1))

    async def schedule(self, program: Any, when: Every) -> None:
        """Make the schedule "main" of it, with the slot as its input, if it is not there."""
        create = partial(self._client.schedules.create, "main", program, SLOT, when=when)
        with suppress(InstanceExistsError):
            await self._insist(create)

    async def mail(self, instance_id: str, event: ExternalEvent[int], *numbers: int) -> None:
        """Send these, each once."""
        for place, number in enumerate(numbers):
            key = f"{event.name} {place}"
            await self._insist(partial(self._client.raise_event, instance_id, event, number, dedup_key=key))

    async def update(self, instance_id: str, update: Update[int, str], number: int) -> str:
        """Send this once, however often it is sent, and have its answer."""
        handle = self._client.get_handle(instance_id)
        while True:
            with suppress(StorageUnavailableError, OutcomeUnknownError):
                answer: str = await handle.update(update, number, dedup_key=f"pay {number}", timeout=None)
                return answer

    async def order(self, program: Any) -> None:
        """Start it together with a row of one's own; where the row is, it has been started."""

        async def order() -> None:
            async with self._client.transaction() as tx:
                if not tx.execute("SELECT id FROM orders"):
                    tx.execute("INSERT INTO orders VALUES (1)")
                    await self._client.start_orchestration(program, instance_id="main", connection=tx)

        await self._insist(order)

    async def pay(self, event: ExternalEvent[int], cents: int) -> None:
        """Send it together with a row of one's own; where the row is, it has been sent."""

        async def pay() -> None:
            async with self._client.transaction() as tx:
                if not tx.execute("SELECT id FROM payments"):
                    tx.execute("INSERT INTO payments VALUES (?)", (cents,))
                    await self._client.raise_event("main", event, cents, connection=tx)

        await self._insist(pay)

    async def cancel(self, instance_id: str) -> None:
        """Ask it to cancel; one that has ended has heard it before."""
        with suppress(InstanceClosedError):
            await self._insist(partial(self._client.cancel, instance_id))

    async def terminate(self, instance_id: str) -> None:
        """End it; one that has ended has heard it before."""
        with suppress(InstanceClosedError):
            await self._insist(partial(self._client.terminate, instance_id))

    async def rewind(self, instance_id: str) -> None:
        """Wait for its failure, mend what was out of order, and have it go on."""
        if not self._world.is_mended:
            await self._end(instance_id)
        self._world.is_mended = True
        # Whoever has done it before has let it go on; if nobody has, it has ended, and can't be told what comes next.
        with suppress(RewindError):
            await self._insist(partial(self._client.rewind, instance_id))

    async def reset(self, instance_id: str, **where: Any) -> None:
        """Wait for what it says of itself; if that is wrong, mend it, and have it go on from an earlier event."""
        async for seen in self._client.get_handle(instance_id).watch():
            if seen.custom_status in ("right", "wrong") or seen.is_closed:
                break
        if seen.custom_status == "wrong":
            self._world.is_mended = True
            await self._insist(partial(self._client.reset, instance_id, **where))

    async def fork(self, instance_id: str, fork_id: str, from_event: int) -> None:
        """Fork it there, if there is no fork yet, and let that go on."""
        with suppress(InstanceExistsError):
            await self._insist(partial(self._client.fork, instance_id, fork_id, from_event=from_event))
        with suppress(InstanceClosedError):
            await self._insist(partial(self._client.resume, fork_id))

    async def delete(self, instance_id: str) -> None:
        """Delete it once, when it has ended."""
        if instance_id in self._world.deleted:
            return
        with suppress(InstanceNotFoundError):
            await self._end(instance_id)
        # Which one is meant is found out before, so that a delete that comes late does not hit its successor.
        await self._insist(partial(self._client.delete_instances, root=instance_id))
        self._world.deleted.add(instance_id)

    async def delete_a_child(self, instance_id: str) -> None:
        """Try to, in vain."""
        refused = False
        try:
            await self._insist(partial(self._client.delete, instance_id, force=True))
        except UsageError:
            refused = True
        assert refused

    async def until(self, instance_id: str, custom_status: str) -> None:
        """Wait until it says so, or has ended."""
        async for seen in self._client.get_handle(instance_id).watch():
            if seen.custom_status == custom_status or seen.is_closed:
                return

    async def everything_has_ended(self) -> None:
        """Wait for the end of every instance there is, those that come meanwhile too."""
        while waited := [each for each in await self.instances() if not each.is_closed]:
            await asyncio.gather(*(self._end(each.instance_id) for each in waited))

    async def _end(self, instance_id: str) -> None:
        with suppress(OrchestrationError):
            await self._client.get_handle(instance_id).result()

    async def instances(self) -> list[InstanceStatus[Any]]:
        """All there are."""
        return (await self._client.list_instances(limit=1000)).items

    async def outcome(self) -> list[tuple[object, ...]]:
        """How every instance ended; ids that were derived are told apart by how they ended alone."""
        return sorted(
            (each.instance_id.partition("~")[0], each.name, each.status.value, repr(each.output), each.execution_id)
            for each in await self.instances()
        )

    async def check_histories(self) -> None:
        """What is true of every history, however it came about."""
        for each in await self.instances():
            for execution in range(1, each.execution_id + 1):
                events = [event async for event in self._client.history(each.instance_id, execution_id=execution)]
                assert [event.id for event in events] == list(range(1, len(events) + 1))
                ends = [event.id for event in events if event.kind in ENDS]
                assert ends == [len(events)] or not events
                answers = [(event.source, event.kind in WAITS) for event in events if event.source is not None]
                assert len(answers) == len(set(answers)), events


ENDS = ("Completed", "Failed", "Cancelled", "Terminated", "ContinuedAsNew")
WAITS = ("WaitCancelled", "LimitLeft")
