"""Many writers of many keys, who read each other and continue as new all the time: nothing is torn, lost or stale."""

import asyncio

from perdure import Client, Key, OrchestrationContext, Registry, Runtime, orchestration

WRITERS, KEYS, GENERATIONS, READERS = 16, 40, 12, 4
SEEN = Key[list[int]]("seen")


def key(number: int) -> Key[int]:
    return Key[int](f"k{number:02}")


def writer_id(number: int) -> str:
    return f"w{number % WRITERS:02}"


@orchestration(name="writer")
async def writer(ctx: OrchestrationContext, number: int, generation: int) -> int:
    """Sets all its keys in one turn, then looks at what its neighbour has."""
    for each in range(KEYS):
        ctx.kv.set(key(each), generation)
    there = await ctx.read_value(writer_id(number + 1), key(generation % KEYS))
    ctx.kv.set(SEEN, [*ctx.kv.get(SEEN, []), there or 0])
    if generation < GENERATIONS:
        ctx.continue_as_new(number, generation + 1)
    return generation


async def read_all_the_time(client: Client, number: int, seen: list[int], done: asyncio.Event) -> None:
    """What a client sees of one instance, turn by turn."""
    while not done.is_set():
        values = await client.get_handle(writer_id(number)).kv_all()
        values.pop("seen", None)
        assert len(set(values.values())) <= 1, "a turn was torn"
        assert len(values) in {0, KEYS}
        seen.append(next(iter(values.values()), 0))


async def test_what_each_writer_sets_in_a_turn_is_seen_whole_by_all_over_all_generations(url):
    seen: list[list[int]] = [[] for _ in range(READERS)]
    done = asyncio.Event()
    async with Runtime(url, Registry(writer), activity_threads=1) as runtime:
        client = runtime.client
        handles = [
            await client.start_orchestration(writer, number, 1, instance_id=writer_id(number))
            for number in range(WRITERS)
        ]
        readers = [
            asyncio.create_task(read_all_the_time(client, number, seen[number], done)) for number in range(READERS)
        ]
        results = await asyncio.gather(*(handle.result() for handle in handles))
        done.set()
        await asyncio.gather(*readers)
        kept = [await handle.kv_all() for handle in handles]
        executions = [await client.list_executions(writer_id(number)) for number in range(WRITERS)]

    assert results == [GENERATIONS] * WRITERS
    assert [len(each) for each in executions] == [GENERATIONS] * WRITERS
    assert all(values == {f"k{n:02}": GENERATIONS for n in range(KEYS)} | {"seen": values["seen"]} for values in kept)
    # Whoever reads never sees an older generation than before, and every generation has looked once.
    assert all(looks == sorted(looks) for looks in seen)
    assert all(values["seen"] == sorted(values["seen"]) for values in kept)
    assert [len(values["seen"]) for values in kept] == [GENERATIONS] * WRITERS
