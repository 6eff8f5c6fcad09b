"""`ctx.patched`: one answer for each execution, the same on replay, and a marker that may outlive its question."""

import asyncio

import pytest

from perdure import OrchestrationContext, orchestration
from perdure import _events as ev
from perdure.errors import ReplayMismatchError
from tests.core.harness import Conversation, kinds, replayed


@orchestration(name="shipping")
async def old(ctx: OrchestrationContext) -> str:
    await ctx.schedule_activity("pack", returns=str)
    await ctx.schedule_wait("go")
    await ctx.schedule_sub_orchestration("send", returns=str)
    return "sent"


@orchestration(name="shipping")
async def changed(ctx: OrchestrationContext) -> str:
    await ctx.schedule_activity("pack", returns=str)
    if ctx.patched("weigh it"):
        await ctx.schedule_activity("weigh", returns=str)
    await ctx.schedule_wait("go")
    if ctx.patched("weigh it"):
        ctx.set_custom_status("weighed")
    await ctx.schedule_sub_orchestration("send", returns=str)
    return "sent"


@orchestration(name="shipping")
async def final(ctx: OrchestrationContext) -> str:
    await ctx.schedule_activity("pack", returns=str)
    await ctx.schedule_activity("weigh", returns=str)
    await ctx.schedule_wait("go")
    ctx.set_custom_status("weighed")
    await ctx.schedule_sub_orchestration("send", returns=str)
    return "sent"


def go_on(talk: Conversation, definition) -> Conversation:
    """The same history under other code, from here on live."""
    talk.drop()
    talk.definition = definition
    talk.execution = replayed(talk.stage, definition, talk.history)
    return talk


def sent(talk: Conversation) -> list[str]:
    """All that it asked for, once everything has been answered."""
    talk.raise_event("go")
    child = next(event for event in talk.history if isinstance(event, ev.ChildScheduled))
    talk.child_completed(child.id, "x")
    talk.drop()
    return kinds(event for event in talk.history if isinstance(event, ev.Asked))


def test_an_execution_that_comes_to_the_question_takes_the_change_and_marks_it_once():
    talk = Conversation(changed)
    talk.start()
    assert kinds(talk.complete(2, "packed")) == ["patch weigh it", "act weigh"]
    talk.complete(5, "2 kg")
    assert sent(talk) == ["act pack", "patch weigh it", "act weigh", "wait go", 'status "weighed"', "sub send",
                          'done "sent"']  # fmt: skip


def test_an_execution_that_was_past_the_first_question_goes_on_without_the_change_at_all():
    talk = Conversation(old)
    talk.start()
    talk.complete(2, "packed")
    go_on(talk, changed)
    assert sent(talk) == ["act pack", "wait go", "sub send", 'done "sent"']


def test_an_execution_that_had_not_come_to_the_question_takes_the_change():
    talk = Conversation(old)
    talk.start()
    go_on(talk, changed)
    assert kinds(talk.complete(2, "packed")) == ["patch weigh it", "act weigh"]
    talk.drop()


def test_once_all_have_taken_it_the_question_may_go_and_the_marker_is_passed_over():
    talk = Conversation(changed)
    talk.start()
    talk.complete(2, "packed")
    talk.complete(5, "2 kg")
    go_on(talk, final)
    assert sent(talk)[-3:] == ['status "weighed"', "sub send", 'done "sent"']


def test_the_question_does_not_count_among_the_asks_that_ids_are_made_from():
    ids = []
    for definition in (changed, final):
        talk = Conversation(definition)
        talk.start()
        talk.complete(2, "packed")
        weighing = next(event for event in talk.history if getattr(event, "name", "") == "weigh")
        talk.complete(weighing.id, "2 kg")
        talk.raise_event("go")
        ids += [event.instance_id for event in talk.history if isinstance(event, ev.ChildScheduled)]
        talk.drop()
    assert ids[0] == ids[1]


def test_one_that_was_without_the_change_does_not_fit_code_that_has_it_without_asking():
    talk = Conversation(old)
    talk.start()
    talk.complete(2, "packed")
    with pytest.raises(ReplayMismatchError) as caught:
        replayed(talk.stage, final, talk.history)
    assert "activity weigh" in str(caught.value)
    talk.drop()


def test_code_from_before_the_change_does_not_fit_what_took_it_and_the_error_names_the_event():
    talk = Conversation(changed)
    talk.start()
    talk.complete(2, "packed")
    with pytest.raises(ReplayMismatchError) as caught:
        replayed(talk.stage, old, talk.history)
    assert caught.value.event_id == 5
    assert "activity weigh" in str(caught.value)
    talk.drop()


def test_code_that_asks_for_more_than_was_recorded_behind_a_marker_is_told_where():
    @orchestration(name="shipping")
    async def more(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("pack", returns=str)
        if ctx.patched("weigh it"):
            ctx.schedule_activity("weigh", returns=str)
            await ctx.schedule_activity("measure", returns=str)

    talk = Conversation(changed)
    talk.start()
    talk.complete(2, "packed")
    with pytest.raises(ReplayMismatchError) as caught:
        replayed(talk.stage, more, talk.history)
    assert caught.value.event_id == 6
    talk.drop()


def test_changes_are_told_apart_by_their_ids_and_each_is_answered_in_any_task():
    @orchestration
    async def several(ctx: OrchestrationContext) -> list[bool]:
        async def ask(patch: str) -> bool:
            await asyncio.sleep(0)
            return ctx.patched(patch)

        return await asyncio.gather(ask("a"), ask("b"), ask("a"))

    talk = Conversation(several)
    assert kinds(talk.start()) == ["patch a", "patch b", "done [true,true,true]"]


def test_an_execution_that_continues_as_new_answers_anew():
    @orchestration
    async def endless(ctx: OrchestrationContext, applied: bool) -> None:  # noqa: FBT001 - an input
        await ctx.schedule_wait("go")
        ctx.continue_as_new(ctx.patched("change"))

    talk = Conversation(endless)
    talk.start(False)  # noqa: FBT003 - an input
    assert kinds(talk.raise_event("go")) == ["patch change", "can"]
    nxt = Conversation(endless)
    nxt.start(True, execution=2)  # noqa: FBT003 - an input
    assert kinds(nxt.raise_event("go")) == ["patch change", "can"]


def test_an_id_is_a_name():
    @orchestration
    async def nameless(ctx: OrchestrationContext) -> None:
        ctx.patched("")

    talk = Conversation(nameless)
    assert kinds(talk.start()) == ["fail perdure.errors.UsageError"]
