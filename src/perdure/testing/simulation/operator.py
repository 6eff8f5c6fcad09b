"""The operator of some simulated worlds: rewinds what has failed, resets, forks, retries and deletes, at any moment.

What it asks for runs as tasks on the loop of a process, and ends with that. It asks for nothing twice: what was begun
and broken off, as a suspended instance, is found and brought back when the world has healed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from perdure._runtime.retention import Retention
from perdure._types import Status
from perdure.errors import (
    ClientError,
    InstanceClosedError,
    InstanceExistsError,
    InstanceNotFoundError,
    InstanceOpenError,
    OutcomeUnknownError,
    RewindError,
    StorageUnavailableError,
    UsageError,
)
from perdure.testing._dice import Dice
from perdure.testing.simulation.ledger import Violation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perdure._client import Client
    from perdure.testing.simulation.world import World

OPERATED = 3
"""The last digit of the seeds of worlds that have an operator."""

_WEIGHTS = {"reset": 5, "fork": 3, "delete": 1, "retry": 1, "prune": 1}
_PACE_US = 1_500_000
_GRACE_S = 2
RETENTION = Retention(after=2, failed_after=12, executions=2)
"""What workers of such a world remove by themselves, in seconds: so soon that they do."""
_STRIDE = 0x2545F4914F6CDD1D
_EXPECTED = (
    StorageUnavailableError,
    OutcomeUnknownError,
    RewindError,
    InstanceNotFoundError,
    InstanceClosedError,
    InstanceExistsError,
    InstanceOpenError,
)


class Operator:
    """One who repairs, with dice of its own."""

    def __init__(self, world: World, refusals: tuple[type[BaseException], ...] = ()) -> None:
        self._world = world
        self._expected: tuple[type[BaseException], ...] = (*_EXPECTED, *refusals)
        self._dice = Dice(world.seed + _STRIDE)
        self._forks = 0

    def act(self, _: Any = None) -> None:
        """Do something now, and again later, until the world has healed."""
        world = self._world
        if world.faults.healed:
            return
        world.timeline.after(1 + self._dice.below(2 * _PACE_US), self.act)
        checks = world.checks
        ended = checks.closed.items()
        failed = [each.instance_id for number, each in ended if checks.endings[number].status is Status.FAILED]
        known = list(checks.by_id)
        if failed and self._dice.chance(60):
            self._rewind(self._dice.pick(failed))
        elif known:
            self._do(self._dice.weighted(_WEIGHTS), self._dice.pick(known))

    def tidy(self) -> None:
        """Bring back what is set aside."""
        for row in list(self._world.rows.instances.values()):
            if row.record.status is Status.SUSPENDED:
                self._ask(f"resume {row.record.id}", partial(_resume, row.record.id))

    def _do(self, verb: str, instance_id: str) -> None:
        match verb:
            case "reset":
                self._reset(instance_id)
            case "fork":
                self._fork(instance_id)
            case "delete":
                self._ask(f"delete {instance_id}", partial(_delete, instance_id))
            case "retry":
                self._ask(f"retry {instance_id}", lambda client: client.retry(instance_id))
            case _:
                self._ask(f"prune {instance_id}", lambda client: client.prune(instance_id, keep=1))

    # -- what it asks for ------------------------------------------------------------------------------------------

    def _rewind(self, instance_id: str) -> None:
        self._ask(f"rewind {instance_id}", lambda client: client.rewind(instance_id))

    def _reset(self, instance_id: str) -> None:
        drawn = self._dice.below(4)
        if drawn < 2:  # noqa: PLR2004 - half of them
            where: dict[str, Any] = {"to": ("start", "last")[drawn]}
        else:
            where = {"to_event": self._dice.pick((0, *self._ends(instance_id)))}
        self._ask(f"reset {instance_id} {where}", lambda client: client.reset(instance_id, grace=_GRACE_S, **where))

    def _fork(self, instance_id: str) -> None:
        self._forks += 1
        fork, run = f"fork-{self._forks}", self._dice.chance(50)
        event = None if self._dice.chance(30) else self._dice.pick((0, *self._ends(instance_id)))
        self._ask(
            f"fork {instance_id} at {event} as {fork}",
            lambda client: client.fork(instance_id, fork, from_event=event, run=run),
        )

    def _ends(self, instance_id: str) -> Sequence[int]:
        """The last events of the turns of its present execution."""
        row = self._world.rows.by_id[instance_id]
        return [each.last for each in row.history.get(row.record.execution, ())]

    # -- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, what: str, make: Callable[[Client], Awaitable[object]]) -> None:
        host = self._world.some_host()
        if host is not None:
            self._world.note("operator", "asks", host.name, "to", what)
            client = host.client_for_tasks()
            host.loop.call(lambda: host.loop.create_task(self._told(what, make, client)))

    async def _told(self, what: str, make: Callable[[Client], Awaitable[object]], client: Client) -> None:
        world = self._world
        try:
            await make(client)
        except self._expected as error:
            world.note("operator", what, repr(error))
            if isinstance(error, RewindError) and error.__cause__ is not None:
                world.fail(Violation(f"{what}: its history is damaged: {error.__cause__!r}"))
        except ClientError as error:
            # The process ends.
            world.note("operator", what, repr(error))
        except Exception as error:  # noqa: BLE001 - a defect
            world.fail(error)
        else:
            world.note("operator", what, "done")


async def _resume(instance_id: str, client: Client) -> None:
    await client.resume(instance_id)


async def _delete(instance_id: str, client: Client) -> None:
    try:
        await client.delete(instance_id)
    except UsageError:
        # It is a child.
        return
