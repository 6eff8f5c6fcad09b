"""What the users of a simulated world want done: they repeat what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.errors import (
    ClientError,
    InstanceClosedError,
    InstanceComingError,
    InstanceExistsError,
    InstanceMovedError,
    InstanceNotFoundError,
    InstanceOpenError,
    NotHeldError,
    OutcomeUnknownError,
    StorageUnavailableError,
    UnknownRequestError,
)
from perdure.testing.simulation.ledger import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from perdure import _work as work
    from perdure._client import Client
    from perdure.testing.simulation.world import World

AGAIN_US = 400_000
FINAL = (
    InstanceClosedError,
    InstanceComingError,
    InstanceMovedError,
    InstanceNotFoundError,
    InstanceExistsError,
    InstanceOpenError,
    NotHeldError,
    # With the same key the answer stays the same.
    UnknownRequestError,
)


class Errand:
    """Something that a user wants done. Each try is made by whatever process lives; `told` hears how it ended.

    `may_repeat` says whether it may be sent again when nobody knows whether it has landed.
    """

    def __init__(
        self,
        world: World,
        what: str,
        make: Callable[[Client], Coroutine[Any, Any, Any]],
        told: Callable[[Any, BaseException | None], None],
        *,
        may_repeat: bool = True,
    ) -> None:
        self._world = world
        self._what = what
        self._make = make
        self._told = told
        self._may_repeat = may_repeat
        self.tries = 0

    def run(self, _: Any = None) -> None:
        """Try, now or as soon as a process lives."""
        host = self._world.some_host()
        if host is None:
            self._world.timeline.after(AGAIN_US, self.run)
            return
        self.tries += 1
        self._world.note(host.name, "is asked to", self._what)
        host.gateway.open(lambda: self._make(host.client), self._over)

    def _over(self, result: Any, error: BaseException | None) -> None:
        world = self._world
        world.note("user", self._what, "done" if error is None else type(error).__name__)
        if isinstance(error, StorageUnavailableError):
            world.timeline.after(AGAIN_US, self.run)
        elif isinstance(error, OutcomeUnknownError | ClientError) and not isinstance(error, FINAL):
            if self._may_repeat:
                world.timeline.after(AGAIN_US, self.run)
        else:
            try:
                self._told(result, error)
            except Violation as violation:
                world.fail(violation)


def check_told(
    world: World, instance_id: str, change: work.InstanceChange | None, result: Any, error: BaseException | None
) -> None:
    """Whoever waited for an instance heard of an end that there is, and of the result that is stored."""
    if change is None:
        raise Violation(f"{instance_id} was said to have ended, and has not")
    if error is None and world.unsealed(change.output) != result:
        raise Violation(f"{instance_id} was said to have ended with {result!r}, not {change.output!r}")
