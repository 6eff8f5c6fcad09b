"""A worker for tests, in a process of its own: `python worker_program.py URL [GRACE]`; tells on stdout what it does."""

import asyncio
import signal
import sys
import threading

from perdure import ActivityContext, ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration

GO = ExternalEvent[str]("go")


def say(*words: object) -> None:
    """One line, at once."""
    print(*words, flush=True)  # noqa: T201 - this is how the test hears of it


@activity(name="tally")
async def tally(ctx: ActivityContext, number: int) -> int:
    say("tally", ctx.instance_id, number, ctx.idempotency_key, ctx.deliveries)
    return number


@activity(name="hang-once")
async def hang_once(ctx: ActivityContext) -> str:
    say("hang", ctx.instance_id, ctx.deliveries, ctx.idempotency_key)
    if ctx.deliveries == 1:
        await asyncio.Event().wait()
    return f"{ctx.idempotency_key} on delivery {ctx.deliveries}, attempt {ctx.attempt}"


@activity(name="turn-to-stone")
def turn_to_stone() -> None:
    say("stone")
    threading.Event().wait()


@orchestration(name="stone")
async def stone(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity(turn_to_stone)


@activity(name="block-the-loop")
async def block_the_loop() -> None:
    say("blocked")
    threading.Event().wait()


@orchestration(name="blocking")
async def blocking(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity(block_the_loop)


@activity(name="deafen-the-loop")
async def deafen_the_loop() -> None:
    # As if the system gave each signal to another thread, or a moment before this one blocks.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    say("deaf")
    threading.Event().wait()


@orchestration(name="deafening")
async def deafening(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity(deafen_the_loop)


@orchestration(name="chain")
async def chain(ctx: OrchestrationContext, length: int) -> int:
    total = 0
    for number in range(length):
        total += await ctx.schedule_activity(tally, number)
    return total


@orchestration(name="hanging")
async def hanging(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(hang_once)


@orchestration(name="gate")
async def gate(ctx: OrchestrationContext) -> str:
    guid = ctx.new_guid()
    await ctx.schedule_activity(tally, 1)
    ctx.set_custom_status("open")
    word = await ctx.schedule_wait(GO)
    await ctx.schedule_activity(tally, 2)
    return f"{word} {guid}"


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext, children: int) -> int:
    return sum(await asyncio.gather(*(ctx.schedule_sub_orchestration(chain, 3) for _ in range(children))))


@orchestration(name="nap")
async def nap(ctx: OrchestrationContext, seconds: float) -> str:
    await ctx.schedule_timer(seconds)
    return "rested"


registry = Registry(
    tally,
    hang_once,
    turn_to_stone,
    block_the_loop,
    deafen_the_loop,
    stone,
    blocking,
    deafening,
    chain,
    hanging,
    gate,
    parent,
    nap,
)


async def main(url: str, grace: float) -> None:
    async with Runtime(url, registry, grace=grace) as runtime:
        say("ready")
        await runtime.serve()
    say("closed")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 5))
