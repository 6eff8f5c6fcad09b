"""Continuing as new (C20, C21, F, E): what goes along, what is given up, and that nothing can stop it."""

import asyncio
import contextlib

import pytest

from perdure import ExternalEvent, OrchestrationContext, orchestration
from perdure import _events as ev
from perdure import _work as work
from tests.core.engine.background import in_background
from tests.core.harness import Conversation, kinds

NUMBER = ExternalEvent[int]("n")


def carried(end):
    return [(entry.name, bytes(entry.data).decode()) for entry in end.carried]


def test_f01_a_loop_over_executions():
    @orchestration
    async def program(ctx: OrchestrationContext, n: int) -> int:
        await ctx.schedule_activity("work", n)
        if n < 3:
            ctx.continue_as_new(n + 1)
        return ctx.execution_id

    inputs, carried_on, execution = (1,), (), 0
    while True:
        execution += 1
        talk = Conversation(program)
        (act,) = talk.start(*inputs, execution=execution, carried=carried_on)
        (end,) = talk.complete(act.id)
        if isinstance(end, ev.Completed):
            break
        inputs, carried_on = (int(bytes(end.input)[1:-1]),), end.carried

    assert kinds([end]) == ["done 3"]


def test_f02_it_never_returns_and_beats_what_is_behind_it():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        ctx.continue_as_new()
        ctx.schedule_activity("never")
        return 1

    assert kinds(Conversation(program).start()) == ["can"]


def test_f02_a_background_task_that_continues_as_new_beats_a_returned_value():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        async def background():
            try:
                await ctx.schedule_wait("never")
            finally:
                ctx.continue_as_new()

        task = asyncio.create_task(background())
        await ctx.schedule_wait("go")
        del task
        return 1

    talk = Conversation(program)
    talk.start()

    assert kinds(talk.raise_event("go")) == ["wait! 3", "can"]


def test_f03_an_answer_for_the_execution_before_becomes_no_event():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")

    talk = Conversation(program)
    talk.start(execution=2)
    talk.apply(work.ActivityOutcome(execution=1, source=2))

    assert len(talk.history) == 2


@orchestration
async def held_and_unread(ctx: OrchestrationContext) -> None:
    held, open_ = ctx.schedule_wait("a"), ctx.schedule_wait("z")
    await ctx.schedule_wait("seen")
    await ctx.schedule_wait("go")
    assert held.done()
    assert not open_.done()
    ctx.continue_as_new()


def test_c20_exactly_the_events_that_no_code_has_seen_go_along_in_the_order_of_their_arrival():
    talk = Conversation(held_and_unread)
    talk.start()
    talk.raise_event("b", 1)
    talk.raise_event("a", 2)
    talk.raise_event("seen", 3)
    talk.raise_event("b", 4)
    talk.raise_event("a", 5)

    ended = talk.raise_event("go")

    assert kinds(ended) == ["wait! 2", "wait! 3", "can"]
    assert carried(ended[-1]) == [("b", "1"), ("a", "2"), ("b", "4"), ("a", "5")]


def test_c20_events_go_along_twice_in_a_row():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_timer(1)
        ctx.continue_as_new()

    talk = Conversation(program)
    talk.start()
    talk.raise_event("a", 1)
    talk.raise_event("b", 2)
    (first,) = talk.fire(2)
    talk = Conversation(program)
    talk.start(execution=2, carried=first.carried)
    talk.raise_event("a", 3)

    (second,) = talk.fire(2)

    assert carried(second) == [("a", "1"), ("b", "2"), ("a", "3")]


def test_c20_an_event_that_was_read_does_not_go_along():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_timer(1)
        await ctx.schedule_wait("a")
        ctx.continue_as_new()

    talk = Conversation(program)
    talk.start()
    talk.raise_event("a", 1)
    talk.raise_event("a", 2)

    took, end = talk.fire(2)

    assert took.took == 3
    assert carried(end) == [("a", "2")]


@pytest.mark.parametrize("seen", [False, True])
def test_an_event_that_came_in_the_run_that_continues_goes_along_unless_code_saw_it(seen):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        wait = ctx.schedule_wait("a")

        if not seen:
            wait.add_done_callback(lambda _: ctx.continue_as_new())
        await wait
        ctx.continue_as_new()

    talk = Conversation(program)
    talk.start()

    ended = talk.raise_event("a", 7)

    assert carried(ended[-1]) == ([] if seen else [("a", "7")])


def test_c21_what_is_open_is_given_up_before_the_end():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_sub_orchestration("c", on_close="terminate")
        ctx.schedule_activity("a")
        ctx.schedule_timer(60)
        ctx.schedule_wait("e")
        ctx.schedule_sub_orchestration("d", on_close="abandon")
        await ctx.schedule_wait("go")
        ctx.continue_as_new()

    talk = Conversation(program)
    talk.start()

    ended = talk.raise_event("go")

    assert kinds(ended) == ["sub! 2", "act! 3", "tim! 4", "wait! 5", "can"]
    assert ended[0].terminate


def test_detached_starts_events_and_statuses_of_the_run_that_continues_are_kept():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_orchestration("audit")
        ctx.raise_event("o-8", "paid")
        ctx.set_custom_status(1)
        ctx.schedule_sub_orchestration("heir", on_close="abandon")
        ctx.continue_as_new()

    assert kinds(Conversation(program).start()) == ["detach audit", "send paid", "status 1", "sub heir", "can"]


async def _in_a_task(ctx):
    async def child():
        ctx.continue_as_new()

    await asyncio.create_task(child())


async def _in_a_group(ctx):
    async def child():
        await ctx.schedule_wait("go")
        ctx.continue_as_new()

    async with asyncio.TaskGroup() as group:
        group.create_task(child())
        group.create_task(ctx.schedule_activity("other"))


async def _in_gather(ctx):
    async def child():
        await ctx.schedule_wait("go")
        ctx.continue_as_new()

    await asyncio.gather(child(), ctx.schedule_activity("other"), return_exceptions=True)


async def _suppressed(ctx):
    with contextlib.suppress(BaseException):
        ctx.continue_as_new()
    with contextlib.suppress(BaseException):
        await ctx.schedule_activity("never")


async def _in_a_callback(ctx):
    asyncio.get_running_loop().call_soon(ctx.continue_as_new)
    await ctx.schedule_wait("never")


async def _twice(ctx):
    try:
        ctx.continue_as_new()
    finally:
        ctx.continue_as_new(version="9.9.9")


async def _asking_on_the_way_out(ctx):
    try:
        ctx.continue_as_new()
    finally:
        ctx.set_custom_status("never")


async def _waiting_on_the_way_out(ctx):
    try:
        ctx.continue_as_new()
    finally:
        await asyncio.get_running_loop().create_future()


async def _tasks_that_ask_on_the_way_out(ctx):
    async def child():
        try:
            await ctx.schedule_wait("never")
        finally:
            await asyncio.sleep(5)

    in_background(child())
    await ctx.schedule_wait("go")
    ctx.continue_as_new()


async def _tasks_that_refuse_to_end(ctx):
    async def child():
        with contextlib.suppress(asyncio.CancelledError):
            await ctx.schedule_wait("never")
        await asyncio.get_running_loop().create_future()

    in_background(child())
    await ctx.schedule_wait("go")
    ctx.continue_as_new()


async def _cancelling_when_it_is_too_late(ctx):
    async def child():
        kept = ctx.schedule_wait("never")
        try:
            await asyncio.shield(kept)
        finally:
            with contextlib.suppress(BaseException):
                await asyncio.get_running_loop().create_future()
            kept.cancel()

    in_background(child())
    await ctx.schedule_wait("go")
    ctx.continue_as_new()


async def _timeouts_and_shields(ctx):
    async with asyncio.timeout(60):
        await ctx.schedule_wait("go")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(_in_a_task(ctx))


BODIES = [
    _in_a_task,
    _in_a_group,
    _in_gather,
    _suppressed,
    _in_a_callback,
    _twice,
    _asking_on_the_way_out,
    _waiting_on_the_way_out,
    _tasks_that_ask_on_the_way_out,
    _tasks_that_refuse_to_end,
    _cancelling_when_it_is_too_late,
    _timeouts_and_shields,
]


@pytest.mark.parametrize("body", BODIES)
def test_it_can_be_called_from_anywhere_and_nothing_undoes_it(body):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        await body(ctx)
        return "not reached"

    talk = Conversation(program)
    ended = talk.start()
    if not isinstance(ended[-1], ev.ContinuedAsNew):
        ended = talk.raise_event("go")

    assert isinstance(ended[-1], ev.ContinuedAsNew)
    assert {type(event) for event in ended[:-1]} <= {ev.ActivityCancelled, ev.WaitCancelled, ev.TimerCancelled}
    assert ended[-1].version is None
    assert talk.execution.unfinished() == []
    assert talk.execution.warnings == []


VERBS = {
    "schedule_activity": lambda ctx: ctx.schedule_activity("a"),
    "schedule_sub_orchestration": lambda ctx: ctx.schedule_sub_orchestration("c"),
    "schedule_timer": lambda ctx: ctx.schedule_timer(5),
    "schedule_wait": lambda ctx: ctx.schedule_wait("e"),
    "schedule_orchestration": lambda ctx: ctx.schedule_orchestration("d"),
    "raise_event": lambda ctx: ctx.raise_event("i", "e"),
    "set_custom_status": lambda ctx: ctx.set_custom_status(1),
    "new_guid": lambda ctx: ctx.new_guid(),
    "sleep": lambda _: asyncio.sleep(5),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("stubborn", [False, True])
def test_every_verb_is_refused_on_the_way_out(verb, stubborn):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        try:
            ctx.continue_as_new()
        finally:
            with contextlib.suppress(BaseException if stubborn else ()):
                await VERBS[verb](ctx)

    talk = Conversation(program)

    assert kinds(talk.start()) == ["can"]
    assert talk.execution.unfinished() == []


def test_it_remembers_its_line_and_its_version():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.continue_as_new(version="2.0.0")

    (end,) = Conversation(program).start()

    assert end.version == "2.0.0"
    assert end.where.startswith("tests/core/engine/test_continue_as_new.py:")


def test_inputs_that_do_not_fit_are_refused_at_the_call():
    @orchestration
    async def program(ctx: OrchestrationContext, n: int) -> str:
        try:
            ctx.continue_as_new("many")
        except ValueError:
            return "refused"

    assert kinds(Conversation(program).start(1)) == ['done "refused"']


def test_a_cancel_in_a_later_execution_is_a_new_one():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_wait("go")

    talk = Conversation(program)
    talk.start(execution=2)

    assert kinds(talk.cancel()) == ["wait! 2", "cancelled"]
