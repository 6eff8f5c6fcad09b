"""Whoever kills workers, and whenever: by seeds, it is found out, and nobody is held for what others did."""

from random import Random

import pytest
from msgspec import Raw

from perdure import OrchestrationContext, Registry, Status, activity, orchestration
from perdure._runtime.inbox import Ended
from perdure._runtime.suspects import TRIAL_US
from perdure._work import ActivityOutcome, ClaimedTask
from perdure.storage.base import LEASE_US
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import ClientOf, NoHands, make_engine, start

LIVES_MAX = 150
ROUNDS_MAX = 2_000
ARRIVALS = 12
"""In so many of the first lives others arrive, while no worker lives."""
FUSE_US_MAX = TRIAL_US - 1_500_000
"""What kills does so at once, as workers take it for granted."""
WORK_US_MAX = 4 * TRIAL_US
ROUND_US_MAX = 200_000


class Killed(BaseException):
    """The process is gone."""


@activity(name="work")
async def work() -> None:
    raise AssertionError("the hands of these tests call nothing")


@activity(name="kill")
async def kill() -> None:
    raise AssertionError("the hands of these tests call nothing")


@orchestration(name="innocent")
async def innocent(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity(work)


@orchestration(name="deadly")
async def deadly(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity(kill)


class Mortal(MemoryStorage):
    """A store that nobody reaches who is dead."""

    is_dead = False

    def commit(self, batch, /):
        if self.is_dead:
            raise Killed
        return super().commit(batch)


class Hands(NoHands):
    """Activities that end, or end their worker, when it is time for them."""

    def __init__(self, random: Random, clock: ManualClock) -> None:
        self.random, self.clock = random, clock
        self.running: list[tuple[int, ClaimedTask]] = []

    def start(self, tasks):
        for task in tasks:
            most = FUSE_US_MAX if task.name == "kill" else WORK_US_MAX
            at_once = self.random.random() < 0.5
            takes = self.random.randrange(1, ROUND_US_MAX if at_once else most)
            self.running.append((self.clock.monotonic_us() + takes, task))

    def cancel(self, keys): ...

    def over(self) -> list[ClaimedTask]:
        """Those whose time has come, in order."""
        now = self.clock.monotonic_us()
        self.running.sort(key=lambda each: each[0])
        over = [task for at, task in self.running if at <= now]
        self.running = [each for each in self.running if each[0] > now]
        return over


class World:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - the same world for the same seed
        self.clock = ManualClock()
        self.storage = Mortal(self.clock)
        self.made: list[str] = []

        @orchestration(name="rabid")
        async def rabid(_ctx: OrchestrationContext) -> None:
            self.storage.is_dead = True

        self.registry = Registry(work, kill, innocent, deadly, rabid)

    def arrive(self) -> None:
        """Clients start something."""
        for _ in range(self.random.randrange(4)):
            kind = self.random.choice(["innocent", "deadly", "deadly", "rabid"])
            name = f"{kind}-{len(self.made)}"
            self.made.append(name)
            start(self.storage, name, kind, number=len(self.made))

    def live(self) -> None:
        """A worker lives until it dies, or until it has nothing to do."""
        client, hands = ClientOf(), Hands(self.random, self.clock)
        engine = make_engine(self.registry, self.storage, self.clock, inbox=client.inbox, hands=hands, slots=99)
        for _ in range(ROUNDS_MAX):
            if not self.open():
                engine.finish()
                return
            self.clock.advance(self.random.randrange(1, ROUND_US_MAX))
            for task in hands.over():
                if task.name == "kill":
                    raise Killed
                outcome = ActivityOutcome(execution=task.execution, source=task.event, result=Raw(b"null"))
                client.inbox.put([Ended(task, outcome)])
            engine.run_once()
        raise AssertionError(f"there is no end: {self.open()}")

    def held(self) -> set[str]:
        """Whoever is held."""
        held = {each.instance_id for each in self.storage.held_tasks(99)}
        return held | {name for name in self.made if self.storage.get(name).status is Status.HELD}

    def open(self) -> set[str]:
        """Whoever has not ended and is not held."""
        return {name for name in self.made if not self.storage.get(name).status.is_closed} - self.held()


@pytest.mark.parametrize("seed", range(50, 100))
def test_who_kills_is_held_and_nobody_else(seed):
    world = World(seed)
    for life in range(LIVES_MAX):
        if life < ARRIVALS:
            world.arrive()
        try:
            world.live()
        except Killed:
            world.storage.is_dead = False
            world.clock.advance(LEASE_US)

    assert world.held() == {name for name in world.made if not name.startswith("innocent")}
    assert world.open() == set()
