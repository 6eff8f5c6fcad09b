"""Those who carry instances from one store to the other, each in a process of its own, which may die at any call.

Who asks for a move asks again until it is said to be done, as the documentation says, and sometimes while the process
that was asked before still lives and stands still.
"""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from perdure import _work as work
from perdure._client import EngineClient
from perdure._client.export_file import read_trees
from perdure._client.moving import COME, COMING, MOVING
from perdure._types import Status
from perdure.errors import ClientError, InstanceMovedError, OutcomeUnknownError, StorageUnavailableError
from perdure.testing._clock import SeededEntropy
from perdure.testing._dice import Dice
from perdure.testing.simulation.host import HANG_US_MAX, HostClock
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.loop import ProcessLoop
from perdure.testing.simulation.port import Dead, StorePort
from perdure.testing.simulation.process import Process

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from perdure._client import Client
    from perdure.testing.simulation.towns import Town

SUSPENDED = "simulated"
"""Why persons suspend."""
_STRIDE = 0x3C6EF372FE94F82B
_PACE_US = 2_500_000
_AGAIN_US = 1_500_000
_STILL_US_MAX = 6_000_000
_ROUND_US_MAX = 300


class Haulage:
    """Who wants instances moved, and what became of that."""

    def __init__(self, seed: int, towns: tuple[Town, Town]) -> None:
        self.towns = towns
        self.dice = Dice(seed + _STRIDE)
        self.processes: list[Carrier] = []
        self._wishes: list[Wish] = []
        self._count = 0
        # Where some are to wait for a person, nobody can say of one that waits that it was forgotten.
        self.all_run = self.dice.chance(80)
        # What one leaves suspended that goes on after another was said to be done, persons bring back.
        self.was_impatient = False

    @property
    def is_healed(self) -> bool:
        """Whether nothing new is asked for."""
        return self.towns[0].faults.healed

    @property
    def is_busy(self) -> bool:
        """Whether something that was asked for is not done."""
        return any(not wish.is_done for wish in self._wishes)

    def under_way(self) -> str:
        """What is not done."""
        return ", ".join(wish.what for wish in self._wishes if not wish.is_done)

    def begin(self) -> None:
        """Announce the first."""
        self.towns[0].timeline.after(1_000_000 + self.dice.below(_PACE_US), self._act)
        self.towns[0].timeline.at(self.towns[0].heal_at + _PACE_US, self._tidy)

    def end(self) -> None:
        """Let go of all processes."""
        for process in list(self.processes):
            process.kill()

    def process(self, town: Town) -> Carrier:
        """Another process; it dies soon, stands still for a while, or neither."""
        self._count += 1
        carrier = Carrier(self, town, f"c{self._count}")
        self.processes.append(carrier)
        if not self.is_healed:
            drawn = self.dice.below(100)
            if drawn < 30:  # noqa: PLR2004 - per cent
                town.timeline.after(self.dice.below(self.dice.pick((3_000, 30_000, 3_000_000))), carrier.kill)
            elif drawn < 50:  # noqa: PLR2004 - per cent
                town.timeline.after(self.dice.below(self.dice.pick((3_000, 30_000))), carrier.pause)
        return carrier

    def _act(self, _: Any) -> None:
        if self.is_healed:
            return
        dice = self.dice
        here = dice.pick(self.towns)
        here.timeline.after(1 + dice.below(2 * _PACE_US), self._act)
        roots = [
            row.record.id for row in here.rows.instances.values()
            if row.record.parent is None and here.checks.lives.get(row.record.incarnation) is here.checks
        ]  # fmt: skip
        if not roots:
            return
        if dice.chance(15):
            self._wishes.append(Wish(self, here, f"export from {here.letter}", partial(_by_file, dice.pick(roots))))
        else:
            self._move(here, roots)

    def _move(self, here: Town, roots: list[str]) -> None:
        dice = self.dice
        which: dict[str, Any] = {}
        drawn = dice.below(10)
        if drawn < 6:  # noqa: PLR2004 - of ten
            which = {"instance_ids": sorted({dice.pick(roots) for _ in range(1 + dice.below(3))})}
        elif drawn < 8:  # noqa: PLR2004 - of ten
            which = {"status": ["pending", "running"]}
        run = self.all_run or dice.chance(50)
        grace = dice.pick((0, 0.2, 2))
        what = f"move {which or 'all'} from {here.letter}, run={run}, grace={grace}"

        async def move(client: Client, there: Client) -> object:
            return await client.move_instances(there, run=run, grace=grace, **which)

        self._wishes.append(Wish(self, here, what, move))

    def _is_for_persons(self, record: work.InstanceRecord) -> bool:
        """Whether it waits for a person, or may: whoever moved it and has not done so goes on with that."""
        is_sure = self.all_run and not self.was_impatient and record.parent is None
        return record.held_because == SUSPENDED or not is_sure

    def done(self, wish: Wish, process: Carrier) -> None:
        """Something was said to be done: nothing may have been forgotten."""
        others = [each for each in self.processes if each is not process]
        if not self.all_run or self.is_busy or others or self.was_impatient or not wish.is_move:
            return
        for town in self.towns:
            for row in town.rows.instances.values():
                record = row.record
                if town.checks.lives.get(record.incarnation) is not town.checks:
                    continue
                if record.status is Status.SUSPENDED and _waits_for_move(record.held_because):
                    raise Violation(f"{wish.what} was said to be done, and {record.id} is suspended in {town.letter}")
                left = [event for (_, event), task in row.tasks.items() if _waits_for_move(task.held_because)]
                if left:
                    raise Violation(f"{wish.what} was said to be done, and {left} of {record.id} wait in {town.letter}")

    def _tidy(self, _: Any) -> None:
        """Persons bring back what waits for one, where it lives."""
        self.towns[0].timeline.after(_PACE_US, self._tidy)
        if self.is_busy or self.processes:
            return
        for town in self.towns:
            for row in list(town.rows.instances.values()):
                record = row.record
                host = town.some_host()
                if host is None or town.checks.lives.get(record.incarnation) is not town.checks:
                    continue
                if record.status is Status.SUSPENDED and self._is_for_persons(record):
                    host.gateway.open(partial(_resume, host.client, record.id), lambda *_: None)


def _waits_for_move(held_because: str | None) -> bool:
    return (held_because or "").startswith((COMING, COME, MOVING))


async def _resume(client: Client, instance_id: str) -> None:
    await client.resume(instance_id)


async def _by_file(instance_id: str, client: Client, _: Client) -> object:
    """What is exported at any moment can be read."""
    file = BytesIO()
    try:
        told = await client.export_instances(file, instance_ids=[instance_id])
    except InstanceMovedError:
        return None
    [tree] = read_trees(BytesIO(file.getvalue()))
    if tree[0].record.id != instance_id or len(tree) != told.instances:
        raise Violation(f"{instance_id} was exported, and is not in the file")
    return told


class Wish:
    """Something to be carried. It is asked for until it is said to be done."""

    def __init__(
        self,
        haulage: Haulage,
        here: Town,
        what: str,
        make: Callable[[Client, Client], Coroutine[Any, Any, object]],
    ) -> None:
        self._haulage = haulage
        self._here = here
        self.what = what
        self._make = make
        self.is_done = False
        self.is_move = what.startswith("move")
        self._tries = 0
        self._try()

    def _try(self, _: Any = None) -> None:
        if self.is_done:
            return
        self._tries += 1
        haulage = self._haulage
        process = haulage.process(self._here)
        self._here.note(process.name, "is asked to", self.what)
        process.run(self._make, partial(self._told, process, self._tries))
        if not haulage.is_healed and haulage.dice.chance(20):
            # Who hears nothing for long asks another.
            self._here.timeline.after(_AGAIN_US + haulage.dice.below(_AGAIN_US), self._impatient, self._tries)

    def _impatient(self, tries: int) -> None:
        if tries == self._tries and not self.is_done and not self._haulage.is_healed:
            self._haulage.was_impatient = True
            self._try()

    def _told(self, process: Carrier, tries: int, result: object, error: BaseException | None) -> None:
        world = self._here
        world.note(process.name, self.what, repr(result) if error is None else repr(error))
        if error is None:
            self.is_done = True
            try:
                self._haulage.done(self, process)
            except Violation as violation:
                world.fail(violation)
        elif isinstance(error, StorageUnavailableError | OutcomeUnknownError | Dead) or _is_busy(error):
            if tries == self._tries:
                world.timeline.after(_AGAIN_US, self._try)
        else:
            world.fail(error)


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, ClientError) and "whenever it was copied" in str(error)


class Carrier(Process):
    """A process with a client on each store, and nothing else."""

    def __init__(self, haulage: Haulage, here: Town, name: str) -> None:
        self._haulage = haulage
        self.world = here
        self.name = name
        self.alive = True
        self.numbers: set[int] = set()
        self.paused_until = 0
        self.dice = Dice(haulage.dice.below(1 << 60))
        clock = HostClock(here)
        self.loop = ProcessLoop(here.timeline, clock, self._wake_loop)  # type: ignore[abstract]  # moves need no more
        self._ports = [self._port(town, clock) for town in (here, here.beside)]
        self._over: Callable[[object, BaseException | None], None] | None = None

    def _port(self, town: Town, clock: HostClock) -> tuple[StorePort, SeededEntropy]:
        entropy = SeededEntropy(self.dice.below(1 << 60))
        hand: Any = _Hand(self, town)
        return StorePort(town, hand, town.connect(clock, entropy)), entropy

    def run(
        self,
        make: Callable[[Client, Client], Coroutine[Any, Any, object]],
        over: Callable[[object, BaseException | None], None],
    ) -> None:
        """Do this, and end."""
        self._over = over
        gateways: list[Any] = [CarrierGateway(self, *port) for port in self._ports]  # as much of one as moves ask for
        here, there = map(EngineClient, gateways)
        self.loop.call(lambda: self.loop.create_task(self._told(partial(make, here, there))))

    async def _told(self, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        try:
            result = await make()
        except Exception as error:  # noqa: BLE001 - whoever asked judges it
            self._end(None, error)
        else:
            self._end(result, None)

    def _end(self, result: object, error: BaseException | None) -> None:
        over, self._over = self._over, None
        if over is None:
            return
        over(result, error)
        self.world.timeline.after(1, self._leave)

    def _leave(self, _: Any) -> None:
        if self.alive:
            self.alive = False
            self._let_go()

    def _let_go(self) -> None:
        self._haulage.processes.remove(self)
        self.loop.die()
        for port, _ in self._ports:
            port.close()

    # -- life ------------------------------------------------------------------------------------------------------

    def kill(self, _: Any = None) -> None:
        """End at once."""
        if not self.alive:
            return
        self.alive = False
        self.world.note(self.name, "is killed")
        self._end(None, Dead())
        self._let_go()

    def pause(self, _: Any = None) -> None:
        """Stand still for a while."""
        if self.alive:
            us = 1_000 + self.dice.below(_STILL_US_MAX)
            self.world.note(self.name, "stands still", us)
            self.paused_until = max(self.paused_until, self.world.timeline.now + us)

    def hang(self) -> None:
        """Wait for the store."""
        self.world.go_on(1 + self.dice.below(HANG_US_MAX), lambda: not self.alive)
        self.stand_still()

    def stand_still(self) -> None:
        """Wait until the pause is over."""
        timeline = self.world.timeline
        while self.alive and self.world.failure is None and timeline.now < self.paused_until:
            self.world.go_on(self.paused_until - timeline.now, lambda: not self.alive)
        if not self.alive or self.world.failure is not None:
            raise Dead

    def _wake_loop(self) -> None:
        self.world.timeline.after(1 + self.dice.below(_ROUND_US_MAX), self.loop_round)

    def ask(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call something a moment later, as on a thread."""
        answer: asyncio.Future[Any] = self.loop.create_future()
        self.world.timeline.after(self.dice.below(_ROUND_US_MAX), self.answer, (answer, call))
        return answer


class _Hand:
    """Such a process as one of the stores sees it."""

    def __init__(self, carrier: Carrier, world: Town) -> None:
        self._carrier = carrier
        self.world = world
        self.has_worked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._carrier, name)


class CarrierGateway:
    """A `Gateway` of one that carries."""

    def __init__(self, carrier: Carrier, port: StorePort, entropy: SeededEntropy) -> None:
        self._carrier = carrier
        self._entropy = entropy
        self.inspector = port

    async def read(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call something beside the loop."""
        return await self._carrier.ask(partial(function, *arguments))

    async def submit(self, item: work.Item) -> Any:
        """Have an item committed."""
        port = self.inspector

        def commit() -> work.Outcome:
            return port.commit(work.Batch(token=self._entropy.token(), items=(item,))).outcomes[0]

        return await self._carrier.ask(commit)
