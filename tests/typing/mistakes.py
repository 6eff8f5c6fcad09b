"""Mistakes that users make. Each must be seen by mypy and by pyright: an ignore comment that nothing needs is an error.

Nothing here is run.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from perdure import (
    ActivityContext,
    Backoff,
    Client,
    ExternalEvent,
    OrchestrationContext,
    RetryPolicy,
    activity,
    orchestration,
    run,
)


@dataclass
class Order:
    id: str


APPROVED = ExternalEvent[bool]("approved")


@activity
async def charge(ctx: ActivityContext, order: Order) -> str:
    return order.id


@activity
async def ping() -> bool:
    return True


@activity
def pack(order: Order, boxes: int = 1) -> int:
    return boxes


@orchestration
async def child(ctx: OrchestrationContext, order: Order) -> int:
    return len(order.id)


@orchestration
async def checkout(ctx: OrchestrationContext, order: Order) -> str:
    # 1. The wrong type of input.
    await ctx.schedule_activity(charge, "o-1")  # type: ignore[misc]  # pyright: ignore[reportArgumentType] - a mistake
    # 2. A missing input.
    await ctx.schedule_activity(charge)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a mistake
    # 3. Too many inputs.
    await ctx.schedule_activity(ping, order)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a mistake
    # 4. The wrong type of a defaulted input.
    await ctx.schedule_activity(pack, order, "two")  # type: ignore[misc]  # pyright: ignore[reportArgumentType] - a mistake
    # 5. A result taken for something else.
    receipt: int = await ctx.schedule_activity(charge, order)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType] - a mistake
    # 6. An option that there is not.
    await ctx.schedule_activity(charge, order, retries=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue] - a mistake
    # 7. The type of a result that nobody gave.
    await ctx.schedule_activity("charge", order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType] - a mistake
    # 8. A number of attempts in place of a policy.
    await ctx.schedule_activity(charge, order, retry=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType] - a mistake
    # 9. An orchestration scheduled as an activity.
    await ctx.schedule_activity(child, order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType] - a mistake
    # 10. An activity scheduled as a sub-orchestration.
    await ctx.schedule_sub_orchestration(charge, order)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType] - a mistake
    # 11. A forgotten await.
    label: str = ctx.schedule_activity(charge, order)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType] - a mistake
    # 12. What asyncio calls a delay, as a string.
    await ctx.schedule_timer("3 days")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a mistake
    # 13. Data that does not fit its event.
    ctx.raise_event("order-1", APPROVED, "yes")  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue] - a mistake
    # 14. An await of what needs none.
    await ctx.utc_now()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues] - a mistake
    # 15. A context that is changed.
    ctx.instance_id = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue] - a mistake
    # 16. The result of a select used without asking which it was.
    _, verdict = await ctx.select2(ctx.schedule_timer(5), ctx.schedule_wait(APPROVED))
    approved: bool = verdict  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType] - a mistake
    # 17. An instance id for something that is not started by one.
    await ctx.schedule_activity(ping, instance_id="p-1")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue] - a mistake
    # 18. A close policy that there is not.
    await ctx.schedule_sub_orchestration(child, order, on_close="kill")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType] - a mistake
    return f"{receipt}{label}{approved}"


# 19. An orchestration that is called.
async def start_it() -> None:
    await checkout(Order("o-1"))  # type: ignore[operator]  # pyright: ignore[reportCallIssue] - a mistake


# 20. An orchestration that is not async.
@orchestration  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a mistake
def not_async(ctx: OrchestrationContext, order: Order) -> str:
    return order.id


# 21. An orchestration without a context.
@orchestration  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a mistake
async def without_context(order: Order) -> str:
    return order.id


# 22. A method that takes no context, as an activity of its instance.
class Payments:
    @activity
    async def charge(self, order: Order) -> str:
        return order.id


async def pay(payments: Payments) -> None:
    await payments.charge(Order("o-1"))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - a mistake


async def outside(client: Client) -> None:
    # 23. The wrong input of a start.
    await client.start_orchestration(checkout, "o-1")  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue] - a mistake
    # 24. A result taken for something else.
    handle = await client.start_orchestration(checkout, Order("o-1"))
    number: int = await handle.result()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType] - a mistake
    # 25. Data that does not fit its event.
    await handle.raise_event(APPROVED, number)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue] - a mistake
    # 26. A durable future where a coroutine of the real loop is meant.
    asyncio.run(charge)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - a mistake
    # 27. A handle for what is no orchestration.
    client.get_handle("order-1", charge)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType] - a mistake
    # 28. A conflict policy that there is not.
    await client.start_orchestration(checkout, Order("o-1"), on_conflict="replace")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue] - a mistake


# 29. Options of policies that there are not.
RetryPolicy(attempts=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - a mistake
Backoff.exponential(2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - a mistake
RetryPolicy(timeout=timedelta(seconds=5))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue] - a mistake

# 30. The wrong input of a script.
run(checkout, 5)  # type: ignore[misc]  # pyright: ignore[reportArgumentType] - a mistake

# 31. An unknown effect kind.
activity(on_unknown="skip")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType] - a mistake


@orchestration
async def forgetful(ctx: OrchestrationContext) -> str:
    # 32. A durable future that is taken for its outcome; mypy says no more than that nothing comes after it.
    if ctx.schedule_activity(ping):  # pyright: ignore[reportGeneralTypeIssues] - a mistake
        return "yes"  # type: ignore[unreachable]  # what mypy sees of the mistake
    return "no"  # type: ignore[unreachable]  # the same
