"""Activities of every shape: async, plain, methods, with and without a context, by definition and by name."""

import asyncio
import threading
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    HeldError,
    OrchestrationContext,
    Registry,
    Runtime,
    activity,
    orchestration,
)
from perdure.testing import Environment


@dataclass
class Order:
    id: str
    cents: int


class Payments:
    def __init__(self, currency: str) -> None:
        self.currency = currency

    @activity
    async def charge(self, _ctx: ActivityContext, order: Order) -> str:
        return f"{order.cents} {self.currency}"

    @activity
    def refund(self, _ctx: ActivityContext, order: Order) -> str:
        return f"-{order.cents} {self.currency}"


@activity
async def greet(ctx: ActivityContext, name: str, greeting: str = "Hello") -> str:
    return f"{greeting}, {name}"


@activity
async def ping() -> bool:
    return True


@activity
def thread_name(ctx: ActivityContext) -> str:
    return threading.current_thread().name


@activity
def total(orders: list[Order]) -> int:
    return sum(order.cents for order in orders)


@activity(name="about")
async def about(ctx: ActivityContext) -> dict[str, str | int]:
    return {
        "instance": ctx.instance_id,
        "execution": ctx.execution_id,
        "orchestration": ctx.orchestration_name,
        "version": ctx.orchestration_version,
        "activity": ctx.activity_name,
        "attempt": ctx.attempt,
        "deliveries": ctx.deliveries,
        "key": ctx.idempotency_key,
        "deadline": str(ctx.deadline),
        "at": ctx.scheduled_at.isoformat(),
    }


async def test_an_async_activity_takes_its_context_and_defaults(url):
    @orchestration
    async def hello(ctx: OrchestrationContext, name: str) -> list[str]:
        return [
            await ctx.schedule_activity(greet, name),
            await ctx.schedule_activity(greet, name, "Goodbye"),
        ]

    async with Runtime(url, Registry(greet, hello)) as runtime:
        handle = await runtime.client.start_orchestration(hello, "Ada")
        assert await handle.result() == ["Hello, Ada", "Goodbye, Ada"]


async def test_an_activity_may_do_without_a_context():
    @orchestration
    async def check(ctx: OrchestrationContext) -> bool:
        return await ctx.schedule_activity(ping)

    async with Environment(Registry(ping, check)) as env:
        assert await env.run(check)


async def test_a_plain_function_runs_in_a_thread_of_the_worker():
    @orchestration
    async def where(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(thread_name)

    async with Runtime("memory://", Registry(thread_name, where)) as runtime:
        handle = await runtime.client.start_orchestration(where)
        assert (await handle.result()).startswith("perdure-activity")


async def test_plain_functions_run_side_by_side():
    barrier = threading.Barrier(3)

    @activity
    def meet() -> int:
        return barrier.wait(timeout=10)

    @orchestration
    async def gathering(ctx: OrchestrationContext) -> list[int]:
        return await asyncio.gather(*(ctx.schedule_activity(meet) for _ in range(3)))

    async with Runtime("memory://", Registry(meet, gathering)) as runtime:
        handle = await runtime.client.start_orchestration(gathering)
        assert sorted(await handle.result()) == [0, 1, 2]


async def test_async_activities_run_side_by_side_on_the_users_loop():
    loop = asyncio.get_running_loop()
    arrived: list[int] = []
    everybody = asyncio.Event()

    @activity
    async def meet(number: int) -> bool:
        arrived.append(number)
        if len(arrived) == 3:
            everybody.set()
        await everybody.wait()
        return asyncio.get_running_loop() is loop

    @orchestration
    async def gathering(ctx: OrchestrationContext) -> list[bool]:
        return await asyncio.gather(*(ctx.schedule_activity(meet, number) for number in range(3)))

    async with Runtime("memory://", Registry(meet, gathering)) as runtime:
        handle = await runtime.client.start_orchestration(gathering)
        assert await handle.result() == [True, True, True]


async def test_results_come_in_the_order_of_the_calls_and_not_of_their_ends():
    turn = [asyncio.Event() for _ in range(4)]
    turn[3].set()

    @activity
    async def backwards(number: int) -> int:
        await turn[number].wait()
        turn[number - 1].set()
        return number

    @orchestration
    async def gathering(ctx: OrchestrationContext) -> list[int]:
        return await asyncio.gather(*(ctx.schedule_activity(backwards, number) for number in range(1, 4)))

    async with Runtime("memory://", Registry(backwards, gathering)) as runtime:
        handle = await runtime.client.start_orchestration(gathering)
        assert await handle.result() == [1, 2, 3]


async def test_no_more_activities_run_at_once_than_the_worker_has_slots():
    running: set[int] = set()
    most = 0

    @activity
    async def count(number: int) -> int:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        await asyncio.sleep(0)
        running.discard(number)
        return number

    @orchestration
    async def many(ctx: OrchestrationContext) -> int:
        return len(await asyncio.gather(*(ctx.schedule_activity(count, number) for number in range(50))))

    async with Runtime("memory://", Registry(count, many), max_activities=4) as runtime:
        handle = await runtime.client.start_orchestration(many)
        assert await handle.result() == 50
    assert most == 4


async def test_whoever_has_the_higher_priority_gets_the_next_slot():
    began: list[int] = []

    @activity
    async def begin(number: int) -> None:
        began.append(number)

    @orchestration
    async def many(ctx: OrchestrationContext) -> None:
        priorities = {0: 0, 1: -5, 2: 7, 3: 0, 4: 7, 5: 1}
        await asyncio.gather(
            *(ctx.schedule_activity(begin, number, priority=priority) for number, priority in priorities.items())
        )

    async with Runtime("memory://", Registry(begin, many), max_activities=1) as runtime:
        await (await runtime.client.start_orchestration(many)).result()
    assert began == [2, 4, 5, 0, 3, 1]


async def test_methods_of_an_instance_are_activities():
    payments = Payments("EUR")

    @orchestration
    async def pay(ctx: OrchestrationContext, order: Order) -> list[str]:
        return [
            await ctx.schedule_activity(Payments.charge, order),
            await ctx.schedule_activity(payments.charge, order),
            await ctx.schedule_activity(payments.refund, order),
        ]

    async with Environment(Registry(payments, pay)) as env:
        assert await env.run(pay, Order("o-1", 250)) == ["250 EUR", "250 EUR", "-250 EUR"]


async def test_an_activity_is_called_by_name_and_its_result_read_as_asked():
    @orchestration
    async def pay(ctx: OrchestrationContext, orders: list[Order]) -> int:
        return await ctx.schedule_activity(total.name, orders, returns=int)

    async with Environment(Registry(total, pay)) as env:
        assert await env.run(pay, [Order("o-1", 200), Order("o-2", 50)]) == 250


async def test_a_former_name_still_finds_the_activity():
    @activity(name="shop::greet", aliases=("shop::hello",))
    async def renamed(name: str) -> str:
        return f"Hi, {name}"

    @orchestration
    async def old(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity("shop::hello", "Ada", returns=str)

    async with Environment(Registry(renamed, old)) as env:
        assert await env.run(old) == "Hi, Ada"


async def test_an_activity_knows_on_whose_behalf_it_runs():
    @orchestration(name="ask", version="2.1.0")
    async def ask(ctx: OrchestrationContext) -> list[dict[str, str | int]]:
        return [await ctx.schedule_activity(about), await ctx.schedule_activity(about)]

    before = datetime.now(UTC)
    async with Runtime("memory://", Registry(about, ask)) as runtime:
        handle = await runtime.client.start_orchestration(ask, instance_id="i-1")
        one, two = await handle.result()
    assert before.timestamp() - 1 <= datetime.fromisoformat(str(one.pop("at"))).timestamp()
    assert len(str(one["key"])) == 26
    assert one.pop("key") != two["key"]
    assert one == {
        "instance": "i-1",
        "execution": 1,
        "orchestration": "ask",
        "version": "2.1.0",
        "activity": "about",
        "attempt": 1,
        "deliveries": 1,
        "deadline": "None",
    }


async def test_an_activity_may_use_the_workers_client():
    @orchestration(name="other")
    async def other(ctx: OrchestrationContext, number: int) -> int:
        return number * 2

    @activity
    async def delegate(ctx: ActivityContext, number: int) -> int:
        handle = await ctx.client.start_orchestration(other, number, instance_id="other-1")
        return await handle.result()

    @orchestration
    async def delegating(ctx: OrchestrationContext) -> int:
        return await ctx.schedule_activity(delegate, 21)

    async with Runtime("memory://", Registry(delegate, delegating, other)) as runtime:
        handle = await runtime.client.start_orchestration(delegating)
        assert await handle.result() == 42


async def test_an_activity_calls_another_one_directly_with_its_own_context():
    @activity
    async def inner(ctx: ActivityContext) -> str:
        return ctx.instance_id

    @activity
    async def outer(ctx: ActivityContext) -> str:
        return await inner()

    @orchestration
    async def nested(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(outer)

    async with Runtime("memory://", Registry(inner, outer, nested)) as runtime:
        handle = await runtime.client.start_orchestration(nested, instance_id="i-1")
        assert await handle.result() == "i-1"


async def test_context_variables_of_one_activity_are_not_seen_by_another():
    mine: ContextVar[str] = ContextVar("mine", default="nobody's")

    @activity
    async def leave(name: str) -> str:
        seen = mine.get()
        mine.set(name)
        return seen

    @activity
    def leave_in_thread(name: str) -> str:
        seen = mine.get()
        mine.set(name)
        return seen

    @orchestration
    async def look(ctx: OrchestrationContext) -> list[str]:
        return [
            await ctx.schedule_activity(each, "somebody's")
            for each in (leave, leave, leave_in_thread, leave_in_thread, leave)
        ]

    async with Runtime("memory://", Registry(leave, leave_in_thread, look), activity_threads=1) as runtime:
        handle = await runtime.client.start_orchestration(look)
        assert await handle.result() == ["nobody's"] * 5


async def test_an_activity_that_takes_over_a_slot_sees_the_variables_of_who_opened_the_runtime():
    mine: ContextVar[str] = ContextVar("mine", default="nobody's")

    @activity
    async def leave(name: str) -> str:
        seen = mine.get()
        mine.set(name)
        return seen

    @orchestration
    async def many(ctx: OrchestrationContext) -> list[str]:
        return await asyncio.gather(*(ctx.schedule_activity(leave, f"number {number}") for number in range(6)))

    mine.set("the opener's")
    async with Runtime("memory://", Registry(leave, many), max_activities=2) as runtime:
        handle = await runtime.client.start_orchestration(many)
        assert await handle.result() == ["the opener's"] * 6


async def test_an_activity_that_an_orchestration_calls_directly_is_refused():
    @orchestration
    async def careless(ctx: OrchestrationContext) -> bool:
        return await ping()

    async with Environment(Registry(ping, careless)) as env:
        with pytest.raises(HeldError, match=r"ForbiddenCallError.*schedule_activity"):
            await env.run(careless)


async def test_an_activity_is_called_directly_in_a_unit_test():
    assert await greet("Ada") == "Hello, Ada"
    assert await total([Order("o-1", 3)]) == 3
    assert await Payments("EUR").charge(Order("o-1", 3)) == "3 EUR"


async def test_an_error_of_an_activity_is_caught_and_compensated():
    @activity
    async def fail() -> None:
        raise LookupError("no such order")

    @orchestration
    async def tidy(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(fail)
        except ActivityError as error:
            if error.caused_by(LookupError):
                return await ctx.schedule_activity(greet, str(error.error.message))
            raise
        return "nothing happened"

    async with Environment(Registry(fail, greet, tidy)) as env:
        assert await env.run(tidy) == "Hello, no such order"
