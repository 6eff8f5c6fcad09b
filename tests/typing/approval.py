"""An approval with a time-out: an external event against a durable timer."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, assert_type

from perdure import (
    DurableFuture,
    ExternalEvent,
    OrchestrationContext,
    OrchestrationHandle,
    Registry,
    Runtime,
    activity,
    orchestration,
)


@dataclass
class Verdict:
    approved: bool
    by: str


APPROVAL = ExternalEvent[Verdict | None]("approval")
WITHDRAWN = ExternalEvent[str]("withdrawn")


@activity
async def notify(who: str, message: str, urgent: bool = False) -> None: ...  # noqa: FBT001, FBT002 - an input


@orchestration
async def expense(ctx: OrchestrationContext, cents: int, approver: str) -> Literal["paid", "refused", "late", "void"]:
    wait = ctx.schedule_wait(APPROVAL)
    assert_type(wait, DurableFuture[Verdict | None])
    await ctx.schedule_activity(notify, approver, f"{cents} to approve")
    match await ctx.select2(ctx.schedule_timer(timedelta(days=3)), wait):
        case 0, nothing:
            assert_type(nothing, None)
            await ctx.schedule_activity(notify, approver, "late", True)  # noqa: FBT003 - an input
            return "late"
        case 1, verdict:
            assert_type(verdict, Verdict | None)
            if verdict is None:
                return "void"
            return "paid" if verdict.approved else "refused"


@orchestration
async def patient(ctx: OrchestrationContext) -> str:
    deadline = ctx.utc_now() + timedelta(days=30)
    position, first = await ctx.select(ctx.schedule_wait("a", str), ctx.schedule_wait("b", str))
    assert_type((position, first), tuple[int, str])
    try:
        async with asyncio.timeout(3600):
            withdrawn = await ctx.schedule_wait(WITHDRAWN)
    except TimeoutError:
        await ctx.schedule_timer(deadline)
        await ctx.schedule_timer(datetime(2030, 1, 1, tzinfo=UTC))
        await asyncio.sleep(60)
        return "nobody"
    anything = await ctx.schedule_wait("whatever")
    ctx.set_custom_status({"withdrawn": withdrawn, "anything": anything, "id": str(ctx.new_guid())})
    ctx.raise_event("someone", APPROVAL, Verdict(approved=True, by=withdrawn))
    ctx.raise_event("someone", APPROVAL, None)
    ctx.raise_event("someone", "poke")
    return withdrawn


async def main() -> None:
    async with Runtime("sqlite:///shop.db", Registry(notify, expense, patient)) as runtime:
        handle = await runtime.client.start_orchestration(expense, 5000, "Ada", instance_id="e-1")
        assert_type(handle, OrchestrationHandle[Literal["paid", "refused", "late", "void"]])
        await handle.raise_event(APPROVAL, Verdict(approved=True, by="Ada"))
        await handle.raise_event("poke")
        outcome = await handle.result(timeout=10)
        assert_type(outcome, Literal["paid", "refused", "late", "void"])
        same = runtime.client.get_handle("e-1", expense)
        assert_type(await same.result(), Literal["paid", "refused", "late", "void"])
        async for status in handle.watch():
            print(status)  # noqa: T201 - a script
