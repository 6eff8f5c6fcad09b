"""Programs of the kinds that people write: sagas, approvals, actors, batches, semaphores, conversations."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    ExternalEvent,
    OrchestrationCancelledError,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    Runtime,
    Status,
    activity,
    orchestration,
)
from perdure.testing import Environment


class World:
    """What the activities do to the world, in order."""

    def __init__(self, broken: str = "") -> None:
        self.log: list[str] = []
        self.broken = broken

    @activity
    async def do(self, _ctx: ActivityContext, what: str) -> str:
        if what == self.broken:
            raise RuntimeError(f"{what} failed")
        self.log.append(what)
        return what


@orchestration(name="trip")
async def trip(ctx: OrchestrationContext) -> list[str]:
    """A saga: what was done is undone in reverse order when a later step fails."""
    done = []
    async with AsyncExitStack() as undo:
        for step in ("flight", "hotel", "car"):
            done.append(await ctx.schedule_activity(World.do, f"book {step}"))
            undo.push_async_callback(ctx.schedule_activity, World.do, f"cancel {step}")
        undo.pop_all()
    return done


async def test_a_saga_that_succeeds_undoes_nothing():
    world = World()
    async with Environment(Registry(world, trip)) as env:
        assert await env.run(trip) == ["book flight", "book hotel", "book car"]
    assert world.log == ["book flight", "book hotel", "book car"]


async def test_a_saga_that_fails_undoes_what_was_done_in_reverse_order():
    world = World(broken="book car")
    async with Environment(Registry(world, trip)) as env:
        with pytest.raises(OrchestrationError, match="book car failed"):
            await env.run(trip)
    assert world.log == ["book flight", "book hotel", "cancel hotel", "cancel flight"]


APPROVED = ExternalEvent[bool]("approved")


@orchestration(name="expense")
async def expense(ctx: OrchestrationContext, cents: int) -> str:
    """An approval with reminders and a time-out."""
    if cents < 1000:
        return "approved by rule"
    for reminder in range(3):
        await ctx.schedule_activity(World.do, f"ask {reminder}")
        match await ctx.select2(ctx.schedule_timer(timedelta(days=1)), ctx.schedule_wait(APPROVED)):
            case 1, verdict:
                return "approved" if verdict else "rejected"
    return "timed out"


async def test_an_approval():
    world = World()
    async with Environment(Registry(world, expense)) as env:
        assert await env.run(expense, 500) == "approved by rule"
        assert await env.run(expense, 5000) == "timed out"
        assert world.log == ["ask 0", "ask 1", "ask 2"]
        handle = await env.client.start_orchestration(expense, 5000)
        await env.advance(timedelta(days=1, hours=1))
        await handle.raise_event(APPROVED, False)  # noqa: FBT003 - the event's data
        assert await handle.result() == "rejected"
    assert world.log[3:] == ["ask 0", "ask 1"]


@dataclass
class Cart:
    items: dict[str, int] = field(default_factory=dict)
    handled: int = 0


@dataclass
class Add:
    item: str
    count: int = 1


@dataclass
class Show:
    reply_to: str


COMMANDS = ExternalEvent[Add | Show]("commands")
CONTENTS = ExternalEvent[dict[str, int]]("contents")


@orchestration(name="cart")
async def cart(ctx: OrchestrationContext, state: Cart) -> None:
    """An endless actor: commands from a mailbox, answers as events, a new history every few commands."""
    async for command in ctx.mailbox(COMMANDS):
        match command:
            case Add(item, count):
                items = {**state.items, item: state.items.get(item, 0) + count}
                state = replace(state, items=items)
            case Show(reply_to):
                ctx.raise_event(reply_to, CONTENTS, state.items)
        state = replace(state, handled=state.handled + 1)
        if state.handled % 5 == 0:
            ctx.continue_as_new(state)


@orchestration(name="customer")
async def customer(ctx: OrchestrationContext, cart_id: str) -> dict[str, int]:
    ctx.raise_event(cart_id, COMMANDS, Show(ctx.instance_id))
    return await ctx.schedule_wait(CONTENTS)


async def test_an_endless_actor_loses_no_command_over_its_generations(tmp_path):
    registry = Registry(cart, customer)
    for session in range(2):
        async with Runtime(tmp_path / "shop.db", registry) as runtime:
            handle = await runtime.client.start_orchestration(
                cart, Cart(), instance_id="cart", on_conflict="use_existing"
            )
            await asyncio.gather(*(handle.raise_event(COMMANDS, Add("apple")) for _ in range(20)))
            asking = await runtime.client.start_orchestration(customer, "cart")
            assert await asking.result() == {"apple": 20 * (session + 1)}
    async with Runtime(tmp_path / "shop.db", registry) as runtime:
        handle = runtime.client.get_handle("cart", cart)
        assert (await handle.status()).execution_id > 8
        await handle.cancel()
        with pytest.raises(OrchestrationCancelledError):
            await handle.result()


REQUESTS = ExternalEvent[str]("requests")
RELEASES = ExternalEvent[str]("releases")
PERMIT = ExternalEvent[None]("permit")


@orchestration(name="semaphore")
async def semaphore(ctx: OrchestrationContext, permits: int, held: list[str]) -> None:
    """A singleton that hands out permits; it begins a new history every ten messages."""
    for _ in range(10):
        if len(held) < permits:
            match await ctx.select2(ctx.schedule_wait(REQUESTS), ctx.schedule_wait(RELEASES)):
                case 0, asker:
                    held = [*held, asker]
                    ctx.raise_event(asker, PERMIT, None)
                case 1, owner:
                    held = [each for each in held if each != owner]
        else:
            owner = await ctx.schedule_wait(RELEASES)
            held = [each for each in held if each != owner]
    ctx.continue_as_new(permits, held)


@orchestration(name="worker")
async def worker(ctx: OrchestrationContext) -> str:
    ctx.raise_event("semaphore", REQUESTS, ctx.instance_id)
    await ctx.schedule_wait(PERMIT)
    try:
        return await ctx.schedule_activity(Crowd.enter)
    finally:
        ctx.raise_event("semaphore", RELEASES, ctx.instance_id)


class Crowd:
    """Counts how many are inside at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0

    @activity
    async def enter(self, ctx: ActivityContext) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        for _ in range(5):
            await asyncio.sleep(0)
        self.inside -= 1
        return ctx.instance_id


async def test_a_semaphore_lets_in_as_many_as_it_has_permits(url):
    crowd = Crowd()
    async with Runtime(url, Registry(semaphore, worker, crowd)) as runtime:
        await runtime.client.start_orchestration(semaphore, 3, [], instance_id="semaphore")
        handles = [await runtime.client.start_orchestration(worker, instance_id=f"w-{n}") for n in range(30)]
        assert await asyncio.gather(*(handle.result() for handle in handles)) == [f"w-{n}" for n in range(30)]
        assert (await runtime.client.get_status("semaphore")).execution_id > 5
        await runtime.client.terminate("semaphore")
    assert 1 <= crowd.most <= 3


@orchestration(name="batch")
async def batch(ctx: OrchestrationContext, count: int) -> dict[str, int]:
    """Many children, at most five at once, progress in the custom status, failures counted and not fatal."""
    gate = asyncio.Semaphore(5)
    progress = {"done": 0, "failed": 0}

    async def one(number: int) -> None:
        async with gate:
            try:
                await ctx.schedule_sub_orchestration(item, number)
            except OrchestrationError:
                progress["failed"] += 1
            progress["done"] += 1
            ctx.set_custom_status(dict(progress))

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
    return progress


@orchestration(name="item")
async def item(ctx: OrchestrationContext, number: int) -> int:
    await asyncio.sleep(number % 7)
    if number % 10 == 9:
        raise ValueError(f"item {number} is broken")
    return number


async def test_a_batch_of_children_with_progress():
    async with Environment(Registry(batch, item)) as env:
        handle = await env.client.start_orchestration(batch, 40)
        await env.advance(5)
        status = await handle.status()
        assert 0 < status.custom_status["done"] < 40
        assert await handle.result() == {"done": 40, "failed": 4}
        assert (await handle.status()).custom_status == {"done": 40, "failed": 4}
        assert len((await env.client.list_instances(name="item", status=Status.FAILED)).items) == 4


@orchestration(name="create")
async def create(ctx: OrchestrationContext, name: str) -> str:
    """Creates something in steps, polls until it is ready, starts its actor, cleans up on failure."""
    try:
        await ctx.schedule_activity(World.do, f"deploy {name}")
        async with asyncio.timeout(300):
            while await ctx.schedule_activity(Readiness.check, name) != "ready":
                await ctx.schedule_timer(5)
        return ctx.schedule_orchestration(watch, name, instance_id=f"watch-{name}")
    except (ActivityError, TimeoutError):
        await ctx.schedule_activity(World.do, f"remove {name}")
        raise


@orchestration(name="watch")
async def watch(ctx: OrchestrationContext, name: str) -> str:
    match await ctx.select2(ctx.schedule_timer(60), ctx.schedule_wait("deleted", str)):
        case 1, reason:
            return f"{name} was deleted: {reason}"
    await ctx.schedule_activity(World.do, f"check {name}")
    return ctx.continue_as_new(name)


class Readiness:
    """Ready at the n-th look, or never."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @activity
    async def check(self, _ctx: ActivityContext, _name: str) -> str:
        self.looks -= 1
        return "ready" if self.looks == 0 else "not yet"


async def test_create_poll_and_watch():
    world = World()
    async with Environment(Registry(world, Readiness(4), create, watch)) as env:
        watch_id = await env.run(create, "db-1")
        await env.advance(150)
        watching = env.client.get_handle(watch_id, watch)
        assert (await watching.status()).execution_id == 3
        await watching.raise_event("deleted", "no longer needed")
        assert await watching.result() == "db-1 was deleted: no longer needed"
    assert world.log == ["deploy db-1", "check db-1", "check db-1"]


async def test_create_cleans_up_when_it_takes_too_long():
    world = World()
    async with Environment(Registry(world, Readiness(10_000), create, watch)) as env:
        began = env.now
        with pytest.raises(OrchestrationError) as caught:
            await env.run(create, "db-1")
        assert caught.value.caused_by(TimeoutError)
        assert (env.now - began).total_seconds() == 300
    assert world.log == ["deploy db-1", "remove db-1"]


MESSAGES = ExternalEvent[str]("messages")


@orchestration(name="conversation")
async def conversation(ctx: OrchestrationContext, turns: list[str]) -> list[str]:
    """A chat: messages in, the answer in the custom status, a new history every three turns, an end by silence."""
    for _ in range(3):
        try:
            message = await asyncio.wait_for(ctx.schedule_wait(MESSAGES), 600)
        except TimeoutError:
            return turns
        answer = await ctx.schedule_activity(World.do, f"answer to {message}")
        turns = [*turns, answer]
        ctx.set_custom_status({"turn": len(turns), "answer": answer})
    return ctx.continue_as_new(turns)


async def test_a_conversation():
    world = World()
    async with Environment(Registry(world, conversation)) as env:
        handle = await env.client.start_orchestration(conversation, [])
        for number in range(1, 8):
            await handle.raise_event(MESSAGES, f"question {number}")
            await env.advance(1)
            status = await handle.status()
            assert status.custom_status == {"turn": number, "answer": f"answer to question {number}"}
        assert await handle.result() == [f"answer to question {number}" for number in range(1, 8)]


async def test_a_thousand_activities_at_once_keep_their_order(url):
    @orchestration(name="fan-out")
    async def fan_out(ctx: OrchestrationContext, count: int) -> list[str]:
        return await asyncio.gather(*(ctx.schedule_activity(World.do, str(number)) for number in range(count)))

    world = World()
    async with Runtime(url, Registry(world, fan_out)) as runtime:
        handle = await runtime.client.start_orchestration(fan_out, 1000)
        assert await handle.result() == [str(number) for number in range(1000)]
    assert sorted(world.log, key=int) == [str(number) for number in range(1000)]
