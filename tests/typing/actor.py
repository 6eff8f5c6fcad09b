"""An endless actor: a mailbox of commands, a history that is kept short, children and detached orchestrations."""

from dataclasses import dataclass, replace
from typing import NoReturn, assert_type

from perdure import (
    ChildFuture,
    ExternalEvent,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    orchestration,
)


@dataclass
class Add:
    amount: int
    reply_to: str | None = None


@dataclass
class Audit:
    reason: str


@dataclass
class Counter:
    total: int = 0


COMMANDS = ExternalEvent[Add | Audit]("commands")
TOTAL = ExternalEvent[int]("total")


@orchestration
async def audit(ctx: OrchestrationContext, counter: Counter, reason: str) -> bool:
    ctx.logger.info("auditing %s because %s", counter, reason)
    return counter.total >= 0


@orchestration
async def archive(ctx: OrchestrationContext) -> None: ...


@orchestration
async def counter_actor(ctx: OrchestrationContext, counter: Counter) -> NoReturn:
    async for command in ctx.mailbox(COMMANDS):
        assert_type(command, Add | Audit)
        match command:
            case Add(amount, reply_to):
                counter = replace(counter, total=counter.total + amount)
                if reply_to is not None:
                    ctx.raise_event(reply_to, TOTAL, counter.total)
            case Audit(reason):
                child = ctx.schedule_sub_orchestration(audit, counter, reason, on_close="terminate")
                assert_type(child, ChildFuture[bool])
                ctx.trace_info("auditing", child=child.instance_id)
                try:
                    assert_type(await child, bool)
                except OrchestrationError as error:
                    ctx.trace_error("audit failed", error=error)
                by_name = await ctx.schedule_sub_orchestration("audit", counter, reason, returns=bool, version="1.0.0")
                assert_type(by_name, bool)
                assert_type(ctx.schedule_orchestration(archive, instance_id="archive"), str)
                ctx.schedule_orchestration("archive")
        if ctx.should_continue_as_new:
            ctx.continue_as_new(counter)
    ctx.continue_as_new(counter, version="2.0.0")


registry = Registry(counter_actor, audit, archive)
