"""The one tolerance of replay: actions that are unique in their run may have changed places, equal ones may not."""

import pytest

from perdure import OrchestrationContext, activity, orchestration
from perdure import _events as ev
from perdure.errors import ReplayMismatchError
from tests.core.harness import Conversation, dropped, replayed

VERBS = {
    "A": lambda ctx: ctx.schedule_activity("a"),
    "B": lambda ctx: ctx.schedule_activity("b"),
    "T": lambda ctx: ctx.schedule_timer(5),
    "W": lambda ctx: ctx.schedule_wait("w"),
    "S": lambda ctx: ctx.set_custom_status("s"),
    "C": lambda ctx: ctx.schedule_sub_orchestration("c", instance_id="c-1"),
}


def program(order, *, ends=False):
    @orchestration
    async def asking(ctx: OrchestrationContext) -> list[str]:
        asked = {name: VERBS[name](ctx) for name in order}
        if ends:
            return []
        return [await asked["A"], await asked["B"]]

    return asking


@pytest.mark.parametrize("order", ["BA", "TAB", "WABT", "SCBTAW"])
def test_actions_that_are_unique_may_have_changed_places_and_get_their_own_answers(order):
    talk = Conversation(program(sorted(order)))
    talk.start()
    history = talk.history
    talk.drop()

    talk.execution = replayed(talk.stage, program(order), history)
    talk.definition = program(order)
    ids = {event.name: event.id for event in history if isinstance(event, ev.ActivityScheduled)}
    talk.complete(ids["a"], "A")
    (*_, end) = talk.complete(ids["b"], "B")

    assert bytes(end.output) == b'["A","B"]'


def repeated(order):
    @orchestration
    async def asking(ctx: OrchestrationContext) -> None:
        for name in order:
            VERBS[name](ctx)
        await ctx.schedule_wait("end")

    return asking


@pytest.mark.parametrize(
    ("old", "new"), [("AAB", "ABA"), ("AAB", "BAA"), ("TTA", "ATT"), ("WWA", "WAW"), ("SSA", "ASS")]
)
def test_equal_actions_may_not_change_places(old, new):
    talk = Conversation(repeated(old))
    talk.start()

    with pytest.raises(ReplayMismatchError) as caught:
        replayed(talk.stage, repeated(new), talk.history)

    first_other = next(index for index, pair in enumerate(zip(old, new, strict=True)) if len(set(pair)) == 2)
    assert caught.value.event_id == 2 + first_other
    talk.drop()


def test_equal_actions_may_stand_beside_others_that_changed_places():
    talk = Conversation(repeated("AABT"))
    talk.start()

    twin = replayed(talk.stage, repeated("AATB"), talk.history)

    assert list(twin.open) == [2, 3, 5, 4, 6]
    dropped(talk.stage, twin)
    talk.drop()


@pytest.mark.parametrize("new", ["AB", "ABTT", "ABW", "ABTW"])
def test_another_set_of_actions_is_a_mismatch(new):
    talk = Conversation(repeated("ABT"))
    talk.start()

    with pytest.raises(ReplayMismatchError):
        replayed(talk.stage, repeated(new), talk.history)
    talk.drop()


def test_the_end_may_not_change_places():
    talk = Conversation(program("S", ends=True))
    talk.start()
    start, status, end = talk.history
    swapped = [start, ev.Completed(id=2, output=end.output), ev.StatusSet(id=3, value=status.value)]

    with pytest.raises(ReplayMismatchError):
        replayed(talk.stage, program("S", ends=True), swapped)


def test_another_order_in_another_run_is_a_mismatch():
    def in_two_runs(first, second):
        @orchestration
        async def asking(ctx: OrchestrationContext) -> None:
            VERBS[first](ctx)
            await ctx.schedule_wait("go")
            VERBS[second](ctx)
            await ctx.schedule_wait("go")

        return asking

    talk = Conversation(in_two_runs("A", "B"))
    talk.start()
    talk.raise_event("go")

    with pytest.raises(ReplayMismatchError):
        replayed(talk.stage, in_two_runs("B", "A"), talk.history)
    talk.drop()


def test_activities_under_a_former_name_may_have_changed_places_too():

    @activity(name="shop::b", aliases=["older::b", "b", "oldest::b"])
    async def renamed() -> None: ...

    @orchestration
    async def new(ctx: OrchestrationContext) -> None:
        ctx.schedule_activity(renamed)
        ctx.schedule_activity("a")
        await ctx.schedule_wait("end")

    talk = Conversation(repeated("AB"))
    talk.start()

    twin = replayed(talk.stage, new, talk.history)

    assert sorted(twin.open) == [2, 3, 4]
    dropped(talk.stage, twin)
    talk.drop()
