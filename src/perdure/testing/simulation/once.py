"""The world outside, as far as activities change it that must not be run twice: what really happened, and who asks.

It knows nothing of how the engine sees to that. A call that did not end by itself may not be followed by another before
somebody who has looked here has said that it did not happen; and nothing happens twice.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from perdure import CannotTell, DidNotHappen, Failed, Happened
from perdure._schedules.spec import SCHEDULE
from perdure._types import Status, idempotency_key
from perdure.errors import ClientError, StorageError
from perdure.testing.simulation.ledger import Violation

if TYPE_CHECKING:
    from perdure import Decision, HeldActivity, Verdict
    from perdure._client import Client
    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.world import World

AGAIN_US = 2_000_000
"""How often somebody looks after what is held."""
GIVEN_UP = 50
"""How many of a hundred that are held are given up, where anybody does so."""


class Outside:
    """What has happened, by idempotency key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._worlds = [world]
        self._happened: dict[str, Any] = {}
        self._open: set[str] = set()
        """Calls that have begun and did not end by themselves, of which nobody has said that they did not happen."""

    def join(self, other: Outside) -> None:
        """Be outside another world, too."""
        self._worlds, self._happened, self._open = other._worlds, other._happened, other._open
        self._worlds.append(self._world)

    # -- what activities do ----------------------------------------------------------------------------------------

    def begin(self, key: str) -> None:
        """It is called."""
        if key in self._open and key not in self._world.checks.repeatable:
            self._world.fail(Violation(f"{key} was called again, and nobody had said that it had not happened"))
        if self._world.bookings.is_given_up(key):
            self._world.fail(Violation(f"{key} was called, and somebody had given it up"))
        if key in self._world.checks.repeatable:
            # What happened under this key before a reset may have been something else.
            self._happened.pop(key, None)
        self._open.add(key)

    def happen(self, key: str, value: Any) -> None:
        """It changes the world."""
        if key in self._happened and key not in self._world.checks.repeatable:
            self._world.fail(Violation(f"{key} happened twice"))
        self._happened[key] = value

    def end(self, host: Host, key: str, *, by_itself: bool) -> None:
        """Its call is over; what a dead process leaves behind is heard by nobody."""
        if host.alive and by_itself:
            self._open.discard(key)

    # -- who asks --------------------------------------------------------------------------------------------------

    def verdict(self, key: str, asker: Host | None = None) -> Verdict[Any]:
        """What a probe finds out, which runs in a process, or a person."""
        if key in self._happened:
            return Happened(self._happened[key])
        # One that stands still may go on, though everybody believes that it has died.
        others = [host for world in self._worlds for host in world.hosts if host is not asker and host.alive]
        if any(key == idempotency_key(*each) for host in others for each in host.activities.effects.at_work):
            return CannotTell("it may be under way")
        self._open.discard(key)
        return DidNotHappen()

    def look(self, _: Any = None) -> None:
        """A person looks after what is held, now and from time to time."""
        self._world.timeline.after(AGAIN_US, self.look)
        if self._gives_up(GIVEN_UP):
            self._give_up_instances()
        host = self._world.some_host()
        if host is not None and self._world.checks.begun:
            client = host.client
            host.gateway.open(lambda: self._resolve(client), lambda *_: None)

    async def _resolve(self, client: Client) -> None:
        try:
            for held in await client.list_held_activities():
                if self._gives_up(GIVEN_UP):
                    await self._give_up(client, held)
                    continue
                decision = self._decide(held)
                if decision is not None:
                    await client.resolve(held, decision)
        except (ClientError, StorageError):
            # Whatever it was, somebody looks again.
            return

    def _gives_up(self, percent: int) -> bool:
        return self._world.planner is not None and self._world.bookings.dice.chance(percent)

    async def _give_up(self, client: Client, held: HeldActivity) -> None:
        key = self._world.checks.key_of(held.instance_id, held.event_id)
        await client.discard(held.instance_id, event_id=held.event_id)
        # Another execution of it may have had an event of this number.
        if key is not None and key == self._world.checks.key_of(held.instance_id, held.event_id):
            self._world.bookings.give_up(key)
            self._open.discard(key)

    def _give_up_instances(self) -> None:
        """Give up some of the instances that are held."""
        for row in list(self._world.rows.instances.values()):
            host = self._world.some_host()
            record = row.record
            if host is not None and record.status is Status.HELD and record.name != SCHEDULE:
                discard = partial(host.client.discard, record.id)
                host.gateway.open(discard, partial(self._discarded, record.id))

    def _discarded(self, instance_id: str, _: None, error: BaseException | None) -> None:
        self._world.note("user", f"discard {instance_id}", "done" if error is None else type(error).__name__)

    def _decide(self, held: HeldActivity) -> Decision[Any] | None:
        key = self._world.checks.key_of(held.instance_id, held.event_id)
        # What was not called is held for another reason, and its key may have meant something else before a reset.
        if key is None or held.began_at is None:
            return None
        verdict = self.verdict(key)
        return verdict if isinstance(verdict, Happened | Failed | DidNotHappen) else None
