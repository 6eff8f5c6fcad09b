"""A bounded cache: an instance that was dropped from memory is rebuilt from its history, and nobody can tell."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    ExternalEvent,
    OrchestrationContext,
    Registry,
    Runtime,
    activity,
    orchestration,
)
from perdure._core.unwinding import graveyard

GO = ExternalEvent[int]("go")


@activity(name="note")
async def note(ctx: ActivityContext, number: int) -> str:
    return f"{number} {ctx.idempotency_key}"


@orchestration(name="busy")
async def busy(ctx: OrchestrationContext, rounds: int) -> list[str]:
    """A little of everything."""
    seen: list[str] = []
    try:
        for number in range(rounds):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ctx.schedule_activity(note, n)) for n in range(2)]
            seen += [task.result() for task in tasks]
            seen.append(str(ctx.new_guid()))
            match await ctx.select2(ctx.schedule_wait(GO), ctx.schedule_timer(3600)):
                case 0, event:
                    seen.append(f"event {event}")
            seen.append(await ctx.schedule_sub_orchestration(child, number))
    finally:
        seen.append(str(ctx.random.random()))
    return seen


@orchestration(name="child")
async def child(ctx: OrchestrationContext, number: int) -> str:
    return await ctx.schedule_activity(note, number)


def shape(seen: list[str]) -> list[str]:
    return [line.split()[0] for line in seen if not line.startswith("0.") and "-" not in line]


@pytest.mark.parametrize("cached", [1, 3])
async def test_many_instances_with_room_for_few(url, cached):
    async with Runtime(url, Registry(busy, child, note), max_cached_instances=cached) as runtime:
        handles = await runtime.client.start_many(busy, [(f"i-{n}", 3) for n in range(12)])
        for number in range(3):
            for handle in handles:
                await handle.raise_event(GO, number)
        results = await asyncio.gather(*(handle.result() for handle in handles))
    expected = ["0", "1", "event", "0", "0", "1", "event", "1", "0", "1", "event", "2"]
    assert [shape(result) for result in results] == [expected] * 12
    keys = [line.split()[1] for result in results for line in result if len(line.split()) == 2]
    assert len({key for key in keys if len(key) == 26}) == 12 * 9


async def test_finally_blocks_that_never_end_when_it_is_dropped_are_interrupted_and_stop_no_other(database, caplog):
    @orchestration(name="stays")
    async def stays(ctx: OrchestrationContext) -> list[int]:
        return list(await asyncio.gather(*(_spins_in_the_end(ctx) for _ in range(2))))

    async with Runtime(database, Registry(stays, child, note), max_cached_instances=1, turn_limit=0.2) as runtime:
        for number in range(2):
            await runtime.client.start_orchestration(stays, instance_id=f"stays-{number}")
        handle = await runtime.client.start_orchestration(child, 1)
        assert shape([await handle.result()]) == ["1"]
    assert "while stays was dropped from memory" in caplog.text
    assert "test_eviction.py" in caplog.text


async def _spins_in_the_end(ctx: OrchestrationContext) -> int:
    try:
        return await ctx.schedule_wait(GO)
    finally:
        while True:
            pass


async def test_code_that_clings_to_life_when_it_is_dropped_does_no_harm(database):
    @orchestration(name="clinging")
    async def clinging(ctx: OrchestrationContext) -> int:
        try:
            return await ctx.schedule_wait(GO)
        except BaseException:
            # A dropped execution must not get through to the world from here.
            await ctx.schedule_activity(note, 99)
            raise
        finally:
            await asyncio.sleep(0)

    async with Runtime(database, Registry(clinging, note), max_cached_instances=1) as runtime:
        handles = await asyncio.gather(
            *(runtime.client.start_orchestration(clinging, instance_id=f"i-{n}") for n in range(5))
        )
        for number, handle in enumerate(handles):
            await handle.raise_event(GO, number)
        assert [await handle.result() for handle in handles] == list(range(5))
        for number in range(5):
            kinds = [event.kind async for event in runtime.client.history(f"i-{number}")]
            assert "ActivityScheduled" not in kinds


async def test_code_that_will_not_end_is_named_with_its_line(database, caplog):
    enough: list[bool] = []

    @orchestration(name="immortal")
    async def immortal(ctx: OrchestrationContext) -> int:
        while not enough:
            try:
                return await ctx.schedule_wait(GO)
            except BaseException:  # noqa: BLE001, S112 - the mistake
                continue
        return -1

    line = immortal.fn.__code__.co_firstlineno + 4
    async with Runtime(database, Registry(immortal), max_cached_instances=1) as runtime:
        handles = [await runtime.client.start_orchestration(immortal) for _ in range(2)]
        for number, handle in enumerate(handles):
            await handle.raise_event(GO, number)
        assert [await handle.result() for handle in handles] == [0, 1]

    assert f"could not be closed; they stay in memory, at {__file__}:{line} (" in caplog.text
    enough.append(True)
    while graveyard:
        graveyard.pop().close()


async def test_async_generators_and_background_tasks_survive_it(url):
    @orchestration(name="pipeline")
    async def pipeline(ctx: OrchestrationContext) -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def numbers():
            for _ in range(3):
                yield await ctx.schedule_wait(GO)

        async def produce() -> None:
            async for number in numbers():
                await queue.put(number)

        producer = asyncio.create_task(produce())
        got = [await queue.get() for _ in range(3)]
        await producer
        return got

    async with Runtime(url, Registry(pipeline), max_cached_instances=1) as runtime:
        handles = [await runtime.client.start_orchestration(pipeline) for _ in range(4)]
        for number in range(3):
            for handle in handles:
                await handle.raise_event(GO, number)
        assert [await handle.result() for handle in handles] == [[0, 1, 2]] * 4
