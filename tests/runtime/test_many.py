"""Ten thousand of a thing: unread external events across continue-as-new, and children of one parent."""

import asyncio

from perdure import ExternalEvent, OrchestrationContext, Registry, Runtime, orchestration

MANY = 10_000
READ_BEFORE = 3
NUMBERS = ExternalEvent[int]("numbers")
GO = ExternalEvent[None]("go")


@orchestration(name="reader")
async def reader(ctx: OrchestrationContext, read: list[int]) -> list[int]:
    """Reads a few, continues as new twice with all others unread, and then reads those."""
    if ctx.execution_id == 1:
        await ctx.schedule_wait(GO)
    wanted = READ_BEFORE if ctx.execution_id < 3 else MANY - len(read)
    read = [*read, *[await ctx.schedule_wait(NUMBERS) for _ in range(wanted)]]
    if len(read) < MANY:
        ctx.continue_as_new(read)
    return read


@orchestration(name="leaf")
async def leaf(ctx: OrchestrationContext, number: int) -> int:
    return number


@orchestration(name="tree")
async def tree(ctx: OrchestrationContext) -> list[int]:
    return await asyncio.gather(*(ctx.schedule_sub_orchestration(leaf, number) for number in range(MANY)))


async def test_ten_thousand_unread_events_survive_continue_as_new_in_order(database):
    async with Runtime(database, Registry(reader), turn_limit=None) as runtime:
        handle = await runtime.client.start_orchestration(reader, [])
        await asyncio.gather(*(handle.raise_event(NUMBERS, number) for number in range(MANY)))
        await handle.raise_event(GO, None)
        result = await handle.result()
        assert (await handle.status()).execution_id == 3
    assert result == list(range(MANY))


async def test_a_parent_has_ten_thousand_children(database):
    async with Runtime(database, Registry(tree, leaf), turn_limit=None) as runtime:
        handle = await runtime.client.start_orchestration(tree)
        assert await handle.result() == list(range(MANY))
