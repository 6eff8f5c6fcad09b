"""What a schedule does about the slots that fell due while no worker was there."""

from datetime import timedelta

import pytest

from perdure import Every, OrchestrationContext, Registry, orchestration
from perdure.storage.memory import MemoryStorage
from perdure.testing import Environment, ManualClock, SeededEntropy

HOUR = timedelta(hours=1)


@orchestration(name="short")
async def short(ctx: OrchestrationContext) -> int:
    return 1


@orchestration(name="lasting")
async def lasting(ctx: OrchestrationContext) -> None:
    await ctx.schedule_timer(timedelta(minutes=90))


class Worker(Environment):
    """An environment whose store and clock outlive it."""

    def __init__(self, store: MemoryStorage, clock: ManualClock, seed: int) -> None:
        super().__init__(Registry(short, lasting), seed=seed)
        self._clock = clock
        self._store = store

    def _make_storage(self) -> MemoryStorage:
        return self._store


class Shop:
    """A store with a clock, and one worker after another."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStorage(self.clock, SeededEntropy(7))
        self._workers = 0

    def worker(self) -> Worker:
        self._workers += 1
        return Worker(self.store, self.clock, self._workers)

    def nobody_is_there(self, time: timedelta) -> None:
        self.clock.advance(time // timedelta(microseconds=1))


async def runs_of(env: Environment, name: str) -> list[str]:
    page = await env.client.list_instances(name=name, limit=1_000)
    return [each.instance_id[-9:-4] for each in reversed(page.items)]


@pytest.mark.parametrize(
    ("options", "started", "skipped"),
    [
        ({}, ["01:00", "05:00"], 3),
        ({"catch_up": "all", "overlap": "allow"}, ["01:00", "02:00", "03:00", "04:00", "05:00"], 0),
        ({"catch_up": "all", "overlap": "buffer_all"}, ["01:00", "02:00", "03:00", "04:00", "05:00"], 0),
        ({"late_max": timedelta(minutes=30)}, ["01:00"], 4),
        ({"late_max": timedelta(minutes=31)}, ["01:00", "05:00"], 3),
        ({"catch_up": "all", "overlap": "allow", "late_max": timedelta(hours=2)}, ["01:00", "04:00", "05:00"], 2),
    ],
)
async def test_the_policy_says_which_of_the_slots_are_started_that_nobody_saw(options, started, skipped):
    shop = Shop()
    async with shop.worker() as env:
        await env.client.schedules.create("s", short, when=Every(HOUR), **options)
        await env.advance(HOUR + timedelta(minutes=1))
    shop.nobody_is_there(timedelta(hours=4, minutes=29, seconds=30))
    async with shop.worker() as env:
        await env.advance(timedelta(minutes=10))
        assert await runs_of(env, "short") == started
        status = await env.client.schedules.get("s").status()
    assert (status.started, status.skipped) == (len(started), skipped)


async def test_slots_between_the_creation_and_the_first_worker_are_caught_up_too():
    shop = Shop()
    async with shop.worker() as env:
        await env.client.schedules.create("s", short, when=Every(HOUR), catch_up="all", overlap="allow")
    shop.nobody_is_there(timedelta(hours=2, minutes=1))
    async with shop.worker() as env:
        await env.advance(timedelta(minutes=1))
        assert await runs_of(env, "short") == ["01:00", "02:00"]


async def test_a_run_that_ended_while_nobody_looked_does_not_block_the_slot_behind_it():
    shop = Shop()
    async with shop.worker() as env:
        await env.client.schedules.create("s", lasting, when=Every(HOUR))
        await env.advance(HOUR + timedelta(minutes=1))
    shop.nobody_is_there(timedelta(hours=2))
    async with shop.worker() as env:
        await env.advance(HOUR)
        assert await runs_of(env, "lasting") == ["01:00", "03:00"]
        assert (await env.client.schedules.get("s").status()).skipped == 2
