"""Canonical orchestrations: one for each thing that people build on, small enough to be crashed at every commit."""

import asyncio
from contextlib import AsyncExitStack

from perdure import (
    ActivityContext,
    ActivityError,
    ActivityTimeoutError,
    Backoff,
    ExternalEvent,
    NonRetryableError,
    OrchestrationCancelledError,
    OrchestrationContext,
    OrchestrationError,
    RetryAfter,
    RetryPolicy,
    activity,
    orchestration,
)

MAIL = ExternalEvent[int]("mail")
STOP = ExternalEvent[str]("stop")
ANSWER = ExternalEvent[int]("answer")
PERMIT = ExternalEvent[str]("permit")
NEVER = ExternalEvent[str]("never")
DAY_S = 86_400


class World:
    """What activities do to the world: every run, with the idempotency key that the world would see."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, str]] = []
        self.is_mended = False
        """Whether somebody has mended what was out of order."""
        self.deleted: set[str] = set()
        """Ids under which somebody has deleted what had ended."""

    def _note(self, ctx: ActivityContext, entry: str) -> str:
        self.runs.append((ctx.idempotency_key, entry))
        return entry

    @activity
    async def do(self, ctx: ActivityContext, entry: str) -> str:
        return self._note(ctx, entry)

    @activity
    def do_in_thread(self, ctx: ActivityContext, entry: str) -> str:
        return self._note(ctx, entry)

    @activity
    async def flaky(self, ctx: ActivityContext, entry: str) -> str:
        if ctx.attempt == 1:
            raise RetryAfter(7)
        if ctx.attempt == 2:
            raise ConnectionError("not yet")
        return self._note(ctx, entry)


@activity
async def broken(why: str) -> str:
    raise NonRetryableError(why)


@activity
async def unlucky() -> str:
    raise ConnectionError("never works")


@activity
async def endless() -> str:
    await asyncio.Event().wait()
    return "never"


@orchestration
async def sequence(ctx: OrchestrationContext) -> list[str]:
    return [await ctx.schedule_activity(World.do, f"step {n}") for n in range(4)]


@orchestration
async def fan_out(ctx: OrchestrationContext) -> list[str]:
    return await asyncio.gather(*(ctx.schedule_activity(World.do, f"part {n}") for n in range(5)))


@orchestration
async def in_threads(ctx: OrchestrationContext) -> list[str]:
    return await asyncio.gather(*(ctx.schedule_activity(World.do_in_thread, f"thread {n}") for n in range(3)))


@orchestration
async def race(ctx: OrchestrationContext) -> str:
    """The endless one loses, and is told so."""
    winner, word = await ctx.select(
        ctx.schedule_activity(endless), ctx.schedule_activity(World.do, "first"), ctx.schedule_wait(NEVER)
    )
    return f"{winner} {word} {await ctx.schedule_activity(World.do, 'after the race')}"


@orchestration
async def timer(ctx: OrchestrationContext) -> str:
    await ctx.schedule_timer(DAY_S)
    await asyncio.sleep(5)
    return await ctx.schedule_activity(World.do, "in the morning")


@orchestration
async def timeout(ctx: OrchestrationContext) -> str:
    try:
        async with asyncio.timeout(60):
            await ctx.schedule_wait(NEVER)
    except TimeoutError:
        return await ctx.schedule_activity(World.do, "too late")
    return "never"


@orchestration
async def events(ctx: OrchestrationContext) -> list[int]:
    first = await ctx.schedule_wait(MAIL)
    await ctx.schedule_activity(World.do, f"mail {first}")
    return [first, await ctx.schedule_wait(MAIL), await ctx.schedule_wait(MAIL)]


@orchestration
async def mailbox(ctx: OrchestrationContext) -> int:
    total = 0
    async for number in ctx.mailbox(MAIL):
        if number == 0:
            return total
        total += number
        await ctx.schedule_activity(World.do, f"so far {total}")
    return -1


@orchestration
async def select(ctx: OrchestrationContext) -> list[object]:
    """The event comes first, and the timer of a day does not hold anybody up."""
    match await ctx.select2(ctx.schedule_timer(DAY_S), ctx.schedule_wait(MAIL)):
        case 1, number:
            return ["mail", number, await ctx.schedule_activity(World.do, "taken")]
        case _:
            return ["timer"]


@orchestration
async def leaf(ctx: OrchestrationContext, name: str) -> str:
    return await ctx.schedule_activity(World.do, name)


@orchestration
async def child(ctx: OrchestrationContext) -> list[str]:
    return [
        await ctx.schedule_sub_orchestration(leaf, "derived"),
        await ctx.schedule_sub_orchestration(leaf, "named", instance_id="the child"),
    ]


@orchestration(name="tree")
async def tree(ctx: OrchestrationContext, depth: int) -> int:
    if depth == 0:
        await ctx.schedule_activity(World.do, "leaf")
        return 1
    return sum(
        await asyncio.gather(*(ctx.schedule_sub_orchestration("tree", depth - 1, returns=int) for _ in range(2)))
    )


@orchestration
async def detached(ctx: OrchestrationContext) -> str:
    ctx.schedule_orchestration(leaf, "on its own", instance_id="detached")
    return await ctx.schedule_activity(World.do, "begun")


@orchestration
async def abandoning(ctx: OrchestrationContext) -> str:
    ctx.schedule_sub_orchestration(leaf, "left alone", instance_id="orphan", on_close="abandon")
    return await ctx.schedule_activity(World.do, "goes")


@orchestration
async def waiting(ctx: OrchestrationContext) -> str:
    try:
        return await ctx.schedule_wait(NEVER)
    finally:
        await ctx.schedule_activity(World.do, f"tidied {ctx.instance_id}")


@orchestration
async def leaving_a_child(ctx: OrchestrationContext) -> str:
    """The child is cancelled when its parent returns, and tidies up."""
    ctx.schedule_sub_orchestration(waiting, instance_id="waiting")
    return await ctx.schedule_activity(World.do, "returns")


@orchestration
async def child_in_time(ctx: OrchestrationContext) -> str:
    try:
        return await asyncio.wait_for(ctx.schedule_sub_orchestration(waiting, instance_id="waiting"), 30)
    except TimeoutError:
        return await ctx.schedule_activity(World.do, "gave up on it")


@orchestration
async def failing_leaf(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(broken, "out of order")


@orchestration
async def failing_child(ctx: OrchestrationContext) -> str:
    try:
        return await ctx.schedule_sub_orchestration(failing_leaf)
    except OrchestrationError as error:
        return await ctx.schedule_activity(World.do, f"caught {error.caused_by(NonRetryableError)}")


@orchestration
async def taken_id(ctx: OrchestrationContext) -> str:
    """A child whose id is taken is refused, and its parent hears of it."""
    try:
        return await ctx.schedule_sub_orchestration(leaf, "never", instance_id="main")
    except OrchestrationError:
        return await ctx.schedule_activity(World.do, "another way")


@orchestration
async def failing(ctx: OrchestrationContext) -> str:
    await ctx.schedule_activity(World.do, "before")
    return await ctx.schedule_activity(broken, "cannot be done")


@orchestration
async def generations(ctx: OrchestrationContext, number: int) -> int:
    await ctx.schedule_activity(World.do, f"generation {number}")
    if number < 3:
        ctx.continue_as_new(number + 1)
    return number


@orchestration
async def carrying(ctx: OrchestrationContext, seen: list[int]) -> list[int]:
    """One event for each execution; the others go along unread."""
    seen = [*seen, await ctx.schedule_wait(MAIL)]
    await ctx.schedule_activity(World.do, f"read {seen[-1]}")
    if len(seen) < 4:
        ctx.continue_as_new(seen)
    return seen


@orchestration
async def parent_of_waiting(ctx: OrchestrationContext) -> str:
    ctx.set_custom_status("waiting")
    try:
        return await ctx.schedule_sub_orchestration(waiting, instance_id="waiting")
    except OrchestrationCancelledError:
        return "never"


@orchestration
async def terminated(ctx: OrchestrationContext) -> str:
    await ctx.schedule_activity(World.do, "begun")
    ctx.set_custom_status("waiting")
    ctx.schedule_sub_orchestration(forgotten, instance_id="below", on_close="terminate")
    return await ctx.schedule_wait(NEVER)


@orchestration
async def forgotten(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(NEVER)


@orchestration
async def retry(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(World.flaky, "at last", retry=RetryPolicy(5, backoff=Backoff.fixed(3)))


@orchestration
async def total_timeout(ctx: OrchestrationContext) -> str:
    policy = RetryPolicy(1000, backoff=Backoff.fixed(20), total_timeout=50)
    try:
        return await ctx.schedule_activity(unlucky, retry=policy)
    except ActivityError:
        return await ctx.schedule_activity(World.do, "without it")


@orchestration
async def attempt_timeout(ctx: OrchestrationContext) -> str:
    policy = RetryPolicy(2, backoff=Backoff.fixed(1), attempt_timeout=0.001)
    try:
        return await ctx.schedule_activity(endless, retry=policy)
    except ActivityTimeoutError:
        return await ctx.schedule_activity(World.do, "twice too slow")


@orchestration
async def saga(ctx: OrchestrationContext) -> str:
    try:
        async with AsyncExitStack() as undo:
            for step in ("flight", "hotel"):
                await ctx.schedule_activity(World.do, f"book {step}")
                undo.push_async_callback(ctx.schedule_activity, World.do, f"cancel {step}")
            await ctx.schedule_activity(broken, "no car")
    except ActivityError as error:
        return str(error.error.message)
    return "booked"


@orchestration
async def approval(ctx: OrchestrationContext) -> str:
    """Two reminders, a day apart; nobody answers."""
    verdict = ctx.schedule_wait(NEVER)
    for reminder in range(2):
        await ctx.schedule_activity(World.do, f"reminder {reminder}")
        await asyncio.wait([verdict], timeout=DAY_S)
        if verdict.done():
            return verdict.result()
    return "expired"


@orchestration
async def actor(ctx: OrchestrationContext, balance: int) -> int:
    """Begins anew after every second command."""
    handled = 0
    async for amount in ctx.mailbox(MAIL):
        if amount == 0:
            return balance
        balance += amount
        handled += 1
        if handled == 2:
            ctx.continue_as_new(balance)
    return -1


@orchestration
async def gatekeeper(ctx: OrchestrationContext, turns: int) -> str:
    """A semaphore of one between instances: who asks gets a permit, one after the other."""
    async for asker in ctx.mailbox(PERMIT):
        ctx.raise_event(asker, ANSWER, turns)
        await ctx.schedule_wait(STOP)
        turns -= 1
        if turns == 0:
            return "closed"
    return "never"


@orchestration
async def visitor(ctx: OrchestrationContext, name: str) -> str:
    ctx.raise_event("main", PERMIT, ctx.instance_id)
    await ctx.schedule_wait(ANSWER)
    done = await ctx.schedule_activity(World.do, name)
    ctx.raise_event("main", STOP, name)
    return done


@orchestration
async def semaphore(ctx: OrchestrationContext) -> list[str]:
    """A semaphore of two inside one instance."""
    permits = asyncio.Semaphore(2)

    async def one(number: int) -> str:
        async with permits:
            return await ctx.schedule_activity(World.do, f"one of two {number}")

    return await asyncio.gather(*map(one, range(4)))


@orchestration(name="versioned", version="1.0.0")
async def versioned_1(ctx: OrchestrationContext, generation: int) -> str:
    await ctx.schedule_activity(World.do, "old code")
    ctx.continue_as_new(generation + 1)


@orchestration(name="versioned", version="2.0.0")
async def versioned_2(ctx: OrchestrationContext, generation: int) -> str:
    return await ctx.schedule_activity(World.do, f"new code in generation {generation}")


@orchestration
async def group(ctx: OrchestrationContext) -> str:
    """A member fails, the others are cancelled, and the group says so."""
    try:
        async with asyncio.TaskGroup() as members:
            members.create_task(ctx.schedule_sub_orchestration(waiting, instance_id="waiting"))
            await ctx.schedule_timer(1)
            members.create_task(ctx.schedule_sub_orchestration(failing_leaf))
    except* OrchestrationError:
        pass
    return await ctx.schedule_activity(World.do, "the group is over")


@orchestration
async def queue(ctx: OrchestrationContext) -> list[str]:
    """A producer and two consumers, inside one instance."""
    goods: asyncio.Queue[int | None] = asyncio.Queue(1)
    done: list[str] = []

    async def consume() -> None:
        while (number := await goods.get()) is not None:
            done.append(await ctx.schedule_activity(World.do, f"consumed {number}"))

    consumers = [asyncio.create_task(consume()) for _ in range(2)]
    for number in (0, 1, 2, None, None):
        await goods.put(number)
    await asyncio.gather(*consumers)
    return sorted(done)


@orchestration
async def as_completed(ctx: OrchestrationContext) -> list[str]:
    tasks = [ctx.schedule_activity(World.do, f"any {n}") for n in range(3)]
    return sorted([await each for each in asyncio.as_completed(tasks)])


@orchestration
async def chance(ctx: OrchestrationContext) -> bool:
    """What is drawn and read once is the same ever after, whoever replays it."""
    drawn = f"{ctx.new_guid()} {ctx.random.random()} {ctx.utc_now().isoformat()}"
    await ctx.schedule_activity(World.do, "looked")
    ctx.raise_event(ctx.instance_id, STOP, drawn)
    await ctx.schedule_timer(3)
    return drawn == await ctx.schedule_wait(STOP)


@orchestration
async def conversation(ctx: OrchestrationContext) -> int:
    """Question and answer between two instances."""
    ctx.schedule_orchestration(oracle, ctx.instance_id, instance_id="oracle")
    for number in range(2):
        ctx.raise_event("oracle", MAIL, number)
        answer = await ctx.schedule_wait(ANSWER)
        await ctx.schedule_activity(World.do, f"{number} is {answer}")
    return answer


@orchestration
async def oracle(ctx: OrchestrationContext, asker: str) -> None:
    for _ in range(2):
        ctx.raise_event(asker, ANSWER, 10 * await ctx.schedule_wait(MAIL))


@orchestration
async def order(ctx: OrchestrationContext, execution: int) -> list[object]:
    """A little of everything, in two executions."""
    if execution == 1:
        await ctx.schedule_activity(World.do, "reserve")
        ctx.schedule_orchestration(leaf, "detached", instance_id="detached")
        ctx.continue_as_new(2)
    answers = await asyncio.gather(
        ctx.schedule_activity(World.flaky, "charge", retry=RetryPolicy(3, backoff=Backoff.fixed(5))),
        ctx.schedule_sub_orchestration(leaf, "child"),
        ctx.schedule_wait(MAIL),
    )
    await ctx.schedule_timer(60)
    return [*answers, await ctx.schedule_wait(MAIL), str(ctx.execution_id)]
