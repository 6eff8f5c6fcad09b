"""What the workers of these tests run."""

import asyncio

from perdure import (
    ExternalEvent,
    NonRetryableError,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    activity,
    orchestration,
)

APPROVED = ExternalEvent[bool]("approved")


@activity(name="shop::activity::greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@activity(name="shop::activity::charge", retry=RetryPolicy(2))
async def charge(cents: int) -> str:
    if cents < 0:
        raise ValueError(f"{cents} cents can't be charged")
    if cents == 0:
        raise NonRetryableError("nothing to charge")
    return f"charged {cents}"


@orchestration(name="shop::orchestration::greeting")
async def greeting(ctx: OrchestrationContext, name: str) -> str:
    return await ctx.schedule_activity(greet, name)


@orchestration(name="shop::orchestration::approval", version="1.2.0")
async def approval(ctx: OrchestrationContext) -> bool:
    ctx.set_custom_status({"waiting": "for a person"})
    return await ctx.schedule_wait(APPROVED)


@orchestration(name="shop::orchestration::payment")
async def payment(ctx: OrchestrationContext, cents: int) -> str:
    return await ctx.schedule_activity(charge, cents)


@orchestration(name="shop::orchestration::nap")
async def nap(ctx: OrchestrationContext, seconds: float) -> None:
    await asyncio.sleep(seconds)


@orchestration(name="shop::orchestration::family")
async def family(ctx: OrchestrationContext) -> bool:
    return await ctx.schedule_sub_orchestration(approval, instance_id=f"{ctx.instance_id}-child")


@orchestration(name="shop::orchestration::impatient")
async def impatient(ctx: OrchestrationContext) -> None:
    await asyncio.to_thread(print, "not repeatable")


@orchestration(name="shop::orchestration::rounds")
async def rounds(ctx: OrchestrationContext, left: int) -> str:
    await ctx.schedule_activity(greet, f"round {left}")
    if left:
        ctx.continue_as_new(left - 1)
    return "all done"


@orchestration(name="shop::orchestration::echo")
async def echo(ctx: OrchestrationContext, value: object) -> object:
    ctx.set_custom_status(value)
    return value


@activity(name="shop::activity::infer", tag="gpu")
async def infer() -> None: ...


@orchestration(name="shop::orchestration::lonely")
async def lonely(ctx: OrchestrationContext) -> None:
    await ctx.schedule_activity(infer)


@orchestration(name="shop::orchestration::alone")
async def alone(ctx: OrchestrationContext) -> None:
    async with ctx.limit("chair", 1, rate=10, per=60):
        await ctx.schedule_wait(APPROVED)


registry = Registry(
    greet, charge, greeting, approval, payment, nap, family, impatient, rounds, echo, infer, lonely, alone
)
