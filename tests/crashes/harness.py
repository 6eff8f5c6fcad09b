"""Plays a scenario with one thing going wrong at one commit, and judges what came of it."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from perdure import OutcomeUnknownError, Registry, Status, StorageUnavailableError
from perdure.storage.base import LEASE_US
from perdure.storage.memory import MemoryStorage
from perdure.testing import Environment, ManualClock, SeededEntropy
from tests.crashes.programs import World
from tests.crashes.scenarios import Scenario, registry
from tests.crashes.teller import Teller


class Fault(StrEnum):
    """What goes wrong at a commit."""

    NONE = "none"
    BEFORE = "not applied"
    LOST = "not applied, but that is unknown"
    AFTER = "applied, but that is unknown"
    CRASH_BEFORE = "a crash before it"
    CRASH_AFTER = "a crash behind it"
    PAUSE = "a pause in which another worker does all the work"


CRASHES = {Fault.CRASH_BEFORE, Fault.CRASH_AFTER}
HARMLESS = {Fault.NONE, Fault.BEFORE}
"""Here nothing that an activity did can be forgotten, so nothing may be done twice."""


class Crash(BaseException):
    """The process is gone: nothing after this runs."""


class Stage:
    """Where a scenario plays: a store that outlives processes, its clock, and the world outside."""

    def __init__(
        self, scenario: Scenario, store: Any = None, clock: ManualClock | None = None, *, seed: int = 0
    ) -> None:
        self.scenario = scenario
        self.world = World()
        self.registry = registry(self.world)
        self.clock = clock or ManualClock()
        self.store = store or MemoryStorage(self.clock, SeededEntropy(7))
        self.processes = seed

    def faulty(self, plan: dict[int, Fault]) -> "Faulty":
        """The store for a process in which something goes wrong."""
        return Faulty(self, plan)

    def process(self, storage: Any = None) -> "Process":
        """A worker and a client on the store."""
        self.processes += 1
        return Process(self.registry, storage or self.store, self.clock, seed=self.processes)

    async def perform(self, env: Environment) -> Teller:
        """What the client does, as often as need be, until everything has ended."""
        teller = Teller(env, self.world)
        await self.scenario.drive(teller)
        await teller.everything_has_ended()
        return teller

    def succeed(self) -> None:
        """Another worker takes over and does all there is to do, on a thread of its own."""

        async def succession() -> None:
            async with self.process() as env:
                await self.perform(env)

        failures: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(succession())
            except BaseException as error:  # noqa: BLE001 - whoever waits for the thread raises it
                failures.append(error)

        self.clock.advance(LEASE_US + 1)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise AssertionError("the successor failed") from failures[0]


class Faulty:
    """The store as a process sees it in which things go wrong at the commits of a plan."""

    def __init__(self, stage: Stage, plan: dict[int, Fault]) -> None:
        self._stage = stage
        self._plan = plan
        self.commits = 0
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        if self.dead:
            raise Crash
        return getattr(self._stage.store, name)

    def commit(self, batch: Any) -> Any:
        return self.faulty(lambda: self._stage.store.commit(batch))

    def faulty(self, commit: Callable[[], Any]) -> Any:
        """Commit, unless something is to go wrong there."""
        if self.dead:
            raise Crash
        self.commits += 1
        fault = self._plan.get(self.commits, Fault.NONE)
        self.dead = fault in CRASHES
        match fault:
            case Fault.BEFORE:
                raise StorageUnavailableError("planned")
            case Fault.LOST:
                raise OutcomeUnknownError("planned, and nothing was applied")
            case Fault.CRASH_BEFORE:
                raise Crash
            case Fault.PAUSE:
                self._stage.succeed()
        answer = commit()
        match fault:
            case Fault.AFTER:
                raise OutcomeUnknownError("planned, and it was applied")
            case Fault.CRASH_AFTER:
                raise Crash
        return answer


class Process(Environment):
    """An environment on a store that outlives it."""

    def __init__(self, definitions: Registry, store: Any, clock: ManualClock, *, seed: int) -> None:
        super().__init__(definitions, seed=seed)
        self._clock = clock
        self._store = store

    def _make_storage(self) -> Any:
        return self._store

    async def crashed(self, *others: asyncio.Task[Any]) -> bool:
        """Wait until one of these has ended or the process has crashed; whether it has."""
        pump = self._pump
        assert pump is not None
        await asyncio.wait([pump, *others], return_when=asyncio.FIRST_COMPLETED)
        if not getattr(self._store, "dead", False):
            if pump.done():
                pump.result()
            return False
        if not pump.done():
            # It has died elsewhere than in a commit of its engine.
            pump.cancel()
            await asyncio.wait([pump])
        if not pump.cancelled() and not isinstance(pump.exception(), Crash):
            pump.result()
        self._pump = None
        for attempt in list(self._activities._running.values()):  # noqa: SLF001 - the crash ends them too
            if attempt.runner is not None:
                attempt.runner.cancel()
        await asyncio.sleep(0)
        # Nobody would answer what its clients still ask for when they are cancelled.
        self._gateway.close()
        # The thread that watches its turns would die with a process.
        await self._exits.aclose()
        return True


async def play(scenario: Scenario, plan: dict[int, Fault], stage: Stage | None = None) -> int:
    """Play a scenario with faults at these commits, judge it, and return how many commits there were."""
    stage = stage or Stage(scenario)
    # A fault repeats at most what runs at that moment.
    repeats = 0 if scenario.once else scenario.again + sum(fault not in HARMLESS for fault in plan.values())
    faulty = stage.faulty(plan)
    env = await stage.process(faulty).__aenter__()
    performance = asyncio.create_task(stage.perform(env))
    if await env.crashed(performance):
        performance.cancel()
        await asyncio.wait([performance])
        stage.clock.advance(LEASE_US + 1)
        async with stage.process() as successor:
            await judge(stage, await stage.perform(successor), repeats=repeats)
    else:
        try:
            await judge(stage, await performance, repeats=repeats)
        finally:
            await env.__aexit__(None, None, None)
    return faulty.commits


async def judge(stage: Stage, teller: Teller, *, repeats: int) -> None:
    """The ending and the effects are those of a run without faults; histories keep their rules."""
    await judge_ending(stage, teller)
    judge_effects(stage, repeats=repeats)


async def judge_ending(stage: Stage, teller: Teller) -> None:
    """All instances ended as they would have without faults, and their histories keep the rules."""
    main = next(each for each in await teller.instances() if each.instance_id == "main")
    ending = main.output if main.status is Status.COMPLETED else main.status
    assert ending == stage.scenario.ending
    await teller.check_histories()
    assert await teller.outcome() == await _outcome_without_faults(stage.scenario)


def judge_effects(stage: Stage, *, repeats: int) -> None:
    """All that was promised was done, under one key each, and at most so many times more than once."""
    effects = dict(stage.world.runs)
    assert sorted(effects.values()) == sorted(stage.scenario.effects)
    runs = Counter(stage.world.runs)
    assert len(runs) == len(effects), "one key, one effect"
    assert max(runs.values(), default=0) <= 1 + repeats, runs


OUTCOMES: dict[str, list[tuple[object, ...]]] = {}
"""What comes of scenarios without faults, by their names."""


async def _outcome_without_faults(scenario: Scenario) -> list[tuple[object, ...]]:
    if scenario.name not in OUTCOMES:
        stage = Stage(scenario)
        async with stage.process() as env:
            OUTCOMES[scenario.name] = await (await stage.perform(env)).outcome()
    return OUTCOMES[scenario.name]
