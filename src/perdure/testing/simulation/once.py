"""The world outside, as far as activities change it that must not be run twice: what really happened, and who asks.

It knows nothing of how the engine sees to that. A call that did not end by itself may not be followed by another before
somebody who has looked here has said that it did not happen; and nothing happens twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure import CannotTell, DidNotHappen, Failed, Happened
from perdure._types import idempotency_key
from perdure.errors import ClientError, StorageError
from perdure.testing.simulation.ledger import Violation

if TYPE_CHECKING:
    from perdure import Decision, HeldActivity, Verdict
    from perdure._client import Client
    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.world import World

AGAIN_US = 2_000_000
"""How often somebody looks after what is held."""


class Outside:
    """What has happened, by idempotency key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._happened: dict[str, Any] = {}
        self._open: set[str] = set()
        """Calls that have begun and did not end by themselves, of which nobody has said that they did not happen."""

    # -- what activities do ----------------------------------------------------------------------------------------

    def begin(self, key: str) -> None:
        """It is called."""
        if key in self._open and key not in self._world.checks.repeatable:
            self._world.fail(Violation(f"{key} was called again, and nobody had said that it had not happened"))
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
        others = [host for host in self._world.hosts if host is not asker and host.alive]
        if any(key == idempotency_key(*each) for host in others for each in host.activities.effects.at_work):
            return CannotTell("it may be under way")
        self._open.discard(key)
        return DidNotHappen()

    def look(self, _: Any = None) -> None:
        """A person looks after what is held, now and from time to time."""
        self._world.timeline.after(AGAIN_US, self.look)
        host = self._world.some_host()
        if host is not None and self._world.checks.begun:
            client = host.client
            host.gateway.open(lambda: self._resolve(client), lambda *_: None)

    async def _resolve(self, client: Client) -> None:
        try:
            for held in await client.list_held_activities():
                decision = self._decide(held)
                if decision is not None:
                    await client.resolve(held, decision)
        except (ClientError, StorageError):
            # Whatever it was, somebody looks again.
            return

    def _decide(self, held: HeldActivity) -> Decision[Any] | None:
        key = self._world.checks.key_of(held.instance_id, held.event_id)
        if key is None:
            return None
        verdict = self.verdict(key)
        return verdict if isinstance(verdict, Happened | Failed | DidNotHappen) else None
