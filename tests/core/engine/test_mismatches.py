"""Code that asks for something else than its history records (B34 to B37): the error shows both, with their lines."""

import asyncio
import re

import pytest

from perdure import OrchestrationContext, activity, orchestration
from perdure import _events as ev
from perdure._core.matching import PYTHON, describe
from perdure._core.stage import Stage
from perdure.errors import ReplayMismatchError
from tests.core.harness import START_US, Conversation, dropped, json, replayed, started

HERE = re.compile(r"tests/core/engine/test_mismatches\.py:\d+")


def programs(old, new):
    """Two versions of one orchestration, each with a wait for "go" behind its verb."""

    def program(verb):
        @orchestration
        async def changed(ctx: OrchestrationContext) -> None:
            verb(ctx)
            await ctx.schedule_wait("go")

        return changed

    return program(old), program(new)


def mismatch(old, new):
    """The error of replaying under `new` what `old` recorded."""
    recording, changed = programs(old, new)
    talk = Conversation(recording)
    talk.start()
    with pytest.raises(ReplayMismatchError) as caught:
        replayed(talk.stage, changed, talk.history)
    talk.drop()
    return caught.value


def charge(ctx):
    ctx.schedule_activity("charge", 5)


def refund(ctx):
    ctx.schedule_activity("refund", 5)


def timer(ctx):
    ctx.schedule_timer(5)


def nothing(ctx):
    pass


CHANGES = {
    "activity_to_timer": (charge, timer, "activity charge[5]", "a timer at 1700000005000000 us"),
    "timer_to_activity": (timer, charge, "a timer at 1700000005000000 us", "activity charge[5]"),
    "another_activity_name": (charge, refund, "activity charge[5]", "activity refund[5]"),
    "another_input": (
        charge,
        lambda ctx: ctx.schedule_activity("charge", 6),
        "activity charge[5]",
        "activity charge[6]",
    ),
    "another_tag": (
        lambda ctx: ctx.schedule_activity("charge", 5, tag="eu"),
        lambda ctx: ctx.schedule_activity("charge", 5, tag="us"),
        "activity charge[5] with tag 'eu'",
        "activity charge[5] with tag 'us'",
    ),
    "tag_added": (
        charge,
        lambda ctx: ctx.schedule_activity("charge", 5, tag="us"),
        "activity charge[5]",
        "activity charge[5] with tag 'us'",
    ),
    "tag_removed": (
        lambda ctx: ctx.schedule_activity("charge", 5, tag="eu"),
        charge,
        "activity charge[5] with tag 'eu'",
        "activity charge[5]",
    ),
    "another_session": (
        lambda ctx: ctx.schedule_activity("charge", 5, session="a"),
        lambda ctx: ctx.schedule_activity("charge", 5, session="b"),
        "activity charge[5] with session 'a'",
        "activity charge[5] with session 'b'",
    ),
    "another_deadline": (
        timer,
        lambda ctx: ctx.schedule_timer(6),
        "a timer at 1700000005000000 us",
        "a timer at 1700000006000000 us",
    ),
    "another_sleep": (
        lambda _: asyncio.get_running_loop().call_later(5, print),
        lambda _: asyncio.get_running_loop().call_later(6, print),
        "a timer at 1700000005000000 us",
        "a timer at 1700000006000000 us",
    ),
    "another_wait": (
        lambda ctx: ctx.schedule_wait("paid"),
        lambda ctx: ctx.schedule_wait("shipped"),
        "a wait for external event 'paid'",
        "a wait for external event 'shipped'",
    ),
    "another_child": (
        lambda ctx: ctx.schedule_sub_orchestration("ship", 5, instance_id="c"),
        lambda ctx: ctx.schedule_sub_orchestration("send", 5, instance_id="c"),
        "sub-orchestration ship[5] as 'c', on_close 'cancel'",
        "sub-orchestration send[5] as 'c', on_close 'cancel'",
    ),
    "another_child_id": (
        lambda ctx: ctx.schedule_sub_orchestration("ship", instance_id="c"),
        lambda ctx: ctx.schedule_sub_orchestration("ship", instance_id="d"),
        "sub-orchestration ship[] as 'c', on_close 'cancel'",
        "sub-orchestration ship[] as 'd', on_close 'cancel'",
    ),
    "another_child_version": (
        lambda ctx: ctx.schedule_sub_orchestration("ship", instance_id="c", version="1.0.0"),
        lambda ctx: ctx.schedule_sub_orchestration("ship", instance_id="c", version="2.0.0"),
        "sub-orchestration ship[] as 'c' in version 1.0.0, on_close 'cancel'",
        "sub-orchestration ship[] as 'c' in version 2.0.0, on_close 'cancel'",
    ),
    "another_close_policy": (
        lambda ctx: ctx.schedule_sub_orchestration("ship", instance_id="c"),
        lambda ctx: ctx.schedule_sub_orchestration("ship", instance_id="c", on_close="abandon"),
        "sub-orchestration ship[] as 'c', on_close 'cancel'",
        "sub-orchestration ship[] as 'c', on_close 'abandon'",
    ),
    "another_detached": (
        lambda ctx: ctx.schedule_orchestration("audit", instance_id="a"),
        lambda ctx: ctx.schedule_orchestration("report", instance_id="a"),
        "detached orchestration audit[] as 'a'",
        "detached orchestration report[] as 'a'",
    ),
    "another_event_sent": (
        lambda ctx: ctx.raise_event("o-8", "paid", 1),
        lambda ctx: ctx.raise_event("o-8", "paid", 2),
        "external event 'paid' to 'o-8' with 1",
        "external event 'paid' to 'o-8' with 2",
    ),
    "another_status": (
        lambda ctx: ctx.set_custom_status("a"),
        lambda ctx: ctx.set_custom_status("b"),
        'custom status "a"',
        'custom status "b"',
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_b34_another_action_is_a_mismatch_that_shows_both(change):
    old, new, recorded, attempted = CHANGES[change]

    error = mismatch(old, new)

    assert error.event_id == 2
    assert (error.recorded, error.attempted) == (recorded, attempted)
    assert HERE.fullmatch(error.recorded_at)
    assert HERE.fullmatch(error.attempted_at)


def test_b34_a_detached_start_that_is_missing_is_a_mismatch():
    error = mismatch(lambda ctx: ctx.schedule_orchestration("audit", instance_id="a"), nothing)

    assert (error.event_id, error.recorded) == (2, "detached orchestration audit[] as 'a'")
    assert error.attempted == "a wait for external event 'go'"


def test_b34_the_retry_policy_and_the_priority_may_change():
    recording, changed = programs(
        lambda ctx: ctx.schedule_activity("charge", 5),
        lambda ctx: ctx.schedule_activity("charge", 5, priority=3, schedule_to_start=60),
    )
    talk = Conversation(recording)
    talk.start()

    twin = replayed(talk.stage, changed, talk.history)

    assert list(twin.open) == [2, 3]
    dropped(talk.stage, twin)


def test_b35_returning_early_leaves_history_over_and_is_a_mismatch():
    @orchestration
    async def old(ctx: OrchestrationContext) -> None:
        await ctx.schedule_wait("go")
        await ctx.schedule_activity("charge")

    @orchestration
    async def new(ctx: OrchestrationContext) -> None:
        await ctx.schedule_wait("go")

    talk = Conversation(old)
    talk.start()
    talk.raise_event("go")

    with pytest.raises(ReplayMismatchError) as caught:
        replayed(talk.stage, new, talk.history)

    assert caught.value.event_id == 4
    assert caught.value.recorded == "activity charge[]"
    assert caught.value.attempted == "the end, with result null"


def test_b35_a_recorded_action_that_the_code_no_longer_asks_for_is_a_mismatch():
    @orchestration
    async def old(ctx: OrchestrationContext) -> None:
        await ctx.schedule_wait("go")
        ctx.set_custom_status(1)
        await ctx.schedule_wait("go")

    @orchestration
    async def new(ctx: OrchestrationContext) -> None:
        await ctx.schedule_wait("go")
        await ctx.schedule_wait("go")

    talk = Conversation(old)
    talk.start()
    talk.raise_event("go")

    with pytest.raises(ReplayMismatchError) as caught:
        replayed(talk.stage, new, talk.history)

    assert caught.value.event_id == 4
    assert (caught.value.recorded, caught.value.attempted) == ("custom status 1", "a wait for external event 'go'")


def test_b35_code_that_asks_for_nothing_where_history_records_something_is_a_mismatch():
    @orchestration
    async def old(ctx: OrchestrationContext) -> None:
        first, second = ctx.schedule_wait("go"), ctx.schedule_wait("end")
        await first
        ctx.set_custom_status(1)
        await second

    @orchestration
    async def new(ctx: OrchestrationContext) -> None:
        first, second = ctx.schedule_wait("go"), ctx.schedule_wait("end")
        await first
        await second

    talk = Conversation(old)
    talk.start()
    talk.raise_event("go")

    with pytest.raises(ReplayMismatchError, match="the code asked for nothing") as caught:
        replayed(talk.stage, new, talk.history)

    assert (caught.value.event_id, caught.value.recorded, caught.value.attempted) == (5, "custom status 1", None)
    assert caught.value.attempted_at is None


def test_b36_an_action_before_the_recorded_ones_is_a_mismatch():
    error = mismatch(charge, lambda ctx: (refund(ctx), charge(ctx)))

    assert (error.event_id, error.recorded, error.attempted) == (2, "activity charge[5]", "activity refund[5]")


def test_b36_an_action_behind_the_recorded_ones_is_a_mismatch_at_the_event_that_history_lacks():
    @orchestration
    async def old(ctx: OrchestrationContext) -> None:
        await ctx.schedule_wait("go")

    @orchestration
    async def new(ctx: OrchestrationContext) -> None:
        wait = ctx.schedule_wait("go")
        ctx.set_custom_status(1)
        await wait

    talk = Conversation(old)
    talk.start()

    with pytest.raises(ReplayMismatchError, match="history records nothing") as caught:
        replayed(talk.stage, new, talk.history)

    assert (caught.value.event_id, caught.value.recorded, caught.value.attempted) == (3, None, "custom status 1")
    assert caught.value.recorded_at is None
    assert HERE.fullmatch(caught.value.attempted_at)


def test_b37_the_message_says_where_what_and_what_to_do():
    text = str(mismatch(charge, refund))

    assert "differ at event 2" in text
    assert re.search(r"history records activity charge\[5\] \(tests/core/engine/test_mismatches\.py:\d+\)", text)
    assert re.search(r"the code asked for activity refund\[5\] \(tests/core/engine/test_mismatches\.py:\d+\)", text)
    assert "register the changed code under a new version" in text


def ended_by(end):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        await ctx.schedule_wait("go")
        return end(ctx)

    return program


def returned(ctx):
    return "a"


def returned_other(ctx):
    return "b"


def failed(ctx):
    raise ValueError("no such order")


def continued(ctx):
    ctx.continue_as_new()


@pytest.mark.parametrize(
    ("old", "new", "recorded", "attempted"),
    [
        (returned, returned_other, 'the end, with result "a"', 'the end, with result "b"'),
        (returned, failed, 'the end, with result "a"', "the end, by builtins.ValueError: no such order"),
        (failed, returned, "the end, by builtins.ValueError: no such order", 'the end, with result "a"'),
        (returned, continued, 'the end, with result "a"', "to continue as new with [], carrying 0 unread events"),
    ],
)
def test_another_end_is_a_mismatch(old, new, recorded, attempted):
    talk = Conversation(ended_by(old))
    talk.start()
    talk.raise_event("go")

    with pytest.raises(ReplayMismatchError) as caught:
        replayed(talk.stage, ended_by(new), talk.history)

    assert (caught.value.event_id, caught.value.recorded, caught.value.attempted) == (4, recorded, attempted)


def test_a_failure_may_have_other_words():
    def failed_differently(ctx):
        raise ValueError("at 0x7f22")

    talk = Conversation(ended_by(failed))
    talk.start()
    talk.raise_event("go")

    assert replayed(talk.stage, ended_by(failed_differently), talk.history).ending is not None


@pytest.mark.parametrize(
    ("verb", "recorded"),
    [
        (lambda ctx: ctx.schedule_activity("a"), "to cancel the activity of event 2"),
        (lambda ctx: ctx.schedule_timer(9), "to cancel the timer of event 2"),
        (lambda ctx: ctx.schedule_wait("e"), "to cancel the wait of event 2"),
        (lambda ctx: ctx.schedule_sub_orchestration("c"), "to cancel the sub-orchestration of event 2"),
        (
            lambda ctx: ctx.schedule_sub_orchestration("c", on_close="terminate"),
            "to terminate the sub-orchestration of event 2",
        ),
    ],
)
def test_b43_a_cancel_that_the_code_no_longer_asks_for_is_a_mismatch(verb, recorded):
    def program(cancels):
        @orchestration
        async def cancelling(ctx: OrchestrationContext) -> None:
            asked = verb(ctx)
            end = ctx.schedule_wait("end")
            await ctx.schedule_wait("go")
            if cancels:
                asked.cancel()
            await end

        return cancelling

    talk = Conversation(program(cancels=True))
    talk.start()
    talk.raise_event("go")

    with pytest.raises(ReplayMismatchError, match="asked for nothing") as caught:
        replayed(talk.stage, program(cancels=False), talk.history)

    assert (caught.value.event_id, caught.value.recorded) == (6, recorded)
    assert HERE.fullmatch(caught.value.recorded_at)


def test_two_python_versions_are_named_when_they_differ():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.schedule_timer(5)

    history = [started(program, python="3.9.1"), ev.TimerCreated(id=2, fire_at=START_US)]

    with pytest.raises(ReplayMismatchError) as caught:
        replayed(Stage(), program, history)

    assert caught.value.attempted.endswith(f"us [recorded under Python 3.9.1, replayed under {PYTHON}]")

    longer = [history[0], ev.TimerCreated(id=2, fire_at=START_US + 5_000_000), ev.StatusSet(id=3, value=json(1))]
    with pytest.raises(ReplayMismatchError, match="nothing .recorded under Python 3.9.1"):
        replayed(Stage(), program, longer)


def test_an_alias_is_the_same_activity_and_the_same_orchestration():
    @activity(name="shop::charge-card", aliases=["shop::charge", "shop::pay"])
    async def charge_card(cents: int) -> None: ...

    @orchestration(name="shop::send", aliases=["shop::ship"])
    async def send(ctx: OrchestrationContext) -> None: ...

    @orchestration
    async def old(ctx: OrchestrationContext) -> None:
        first, child = ctx.schedule_activity("shop::pay", 5), ctx.schedule_sub_orchestration("shop::ship")
        await first
        await child

    @orchestration
    async def new(ctx: OrchestrationContext) -> None:
        first, child = ctx.schedule_activity(charge_card, 5), ctx.schedule_sub_orchestration(send)
        await first
        await child

    talk = Conversation(old)
    talk.start()

    twin = replayed(talk.stage, new, talk.history)

    assert list(twin.open) == [2, 3]
    dropped(talk.stage, twin)
    talk.drop()


def test_long_inputs_are_cut_in_the_error():
    error = mismatch(lambda ctx: ctx.schedule_activity("charge", "x" * 1000), charge)

    assert len(error.recorded) < 250
    assert error.recorded.endswith("...")


def test_every_kind_of_action_has_words():
    examples = [
        ev.WaitStarted(id=1, name="e", took=3),
        ev.WaitCancelled(id=1, source=2, gave_back=3),
        ev.WaitCancelled(id=1, source=2, gave_back=3, gave_to=4),
        ev.Cancelled(id=1, reason="enough"),
    ]

    assert [describe(event) for event in examples] == [
        "a wait for external event 'e', which took event 3",
        "to cancel the wait of event 2 and give back event 3",
        "to cancel the wait of event 2 and give back event 3 to the wait of event 4",
        "the end, cancelled",
    ]
