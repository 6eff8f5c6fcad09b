"""A fork replays what another instance has lived, under the id of that one, and goes its own way behind it."""

import logging
from typing import Any

import msgspec

from perdure import ActivityContext, OrchestrationContext, activity, orchestration
from perdure import _events as ev
from perdure._types import child_id
from tests.core.harness import SECRET, Conversation, dropped, replayed

OTHER_SECRET = "f0" * 32


@activity(name="note")
async def note(ctx: ActivityContext, who: str) -> None: ...


@orchestration(name="child")
async def child(ctx: OrchestrationContext) -> None: ...


@orchestration(name="diary")
async def diary(ctx: OrchestrationContext) -> None:
    for _ in range(4):
        ctx.logger.warning("writing")
        ctx.set_custom_status([str(ctx.new_guid()), ctx.random.random()])
        ctx.schedule_orchestration(child)
        await ctx.schedule_activity(note, ctx.instance_id)


def lived(rounds: int) -> list[Any]:
    """The history of an instance that has written so often."""
    talk = Conversation(diary)
    events = talk.start()
    for _ in range(rounds):
        events = talk.complete(events[-1].id)
    talk.drop()
    return talk.history


def forked(history: list[Any], *forks: ev.ForkedAt) -> Conversation:
    """A conversation with a fork of it, which is "order-7" itself."""
    talk = Conversation(diary)
    start = ev.decode_events(ev.encode_events([history[0]]))[0]
    talk.start(forks=forks, root="order-7", input=start.input, secret=start.secret)
    for event in history[1:]:
        if isinstance(event, ev.ActivityCompleted):
            talk.complete(event.source)
    return talk


def drawn(history: list[Any]) -> list[list[Any]]:
    return [msgspec.json.decode(event.value) for event in history if isinstance(event, ev.StatusSet)]


def noted(history: list[Any]) -> list[str]:
    return [bytes(event.input).decode()[2:-2] for event in history if isinstance(event, ev.ActivityScheduled)]


def test_what_was_before_the_fork_is_the_others_and_what_comes_later_is_its_own():
    history = lived(1)
    fork = ev.ForkedAt(len(history), "first", 3, "top", OTHER_SECRET)

    talk = forked(history, fork)
    talk.complete(talk.history[-1].id)

    assert noted(talk.history) == ["first", "first", "order-7"]
    starts = [event.instance_id for event in talk.history if isinstance(event, ev.DetachedStarted)]
    assert starts == [child_id("top", 3, 1, 2), child_id("top", 3, 1, 5), child_id("order-7", 7, 1, 8)]


def test_guids_differ_behind_the_fork_and_random_numbers_go_on():
    original, history = lived(2), lived(1)
    talk = forked(history, ev.ForkedAt(len(history), "first", 3, "top", OTHER_SECRET))
    talk.complete(talk.history[-1].id)

    theirs, mine = drawn(original), drawn(talk.history)

    assert mine[:2] == theirs[:2]
    assert mine[2][0] != theirs[2][0]
    assert mine[2][1] == theirs[2][1]


def test_a_fork_of_a_fork_has_been_both():
    history = lived(2)
    ends = [event.id for event in history if isinstance(event, ev.ActivityScheduled)]
    forks = [ev.ForkedAt(ends[0], "a", 1, "a", OTHER_SECRET), ev.ForkedAt(ends[1], "b", 2, "b", SECRET)]

    talk = forked(history, *forks)

    assert noted(talk.history) == ["a", "b", "order-7"]


def test_what_it_logs_says_who_it_is(caplog):
    history = lived(1)
    talk = forked(history, ev.ForkedAt(len(history), "first", 3, "top", OTHER_SECRET))
    caplog.set_level(logging.WARNING, "perdure.orchestration")
    caplog.clear()

    talk.complete(talk.history[-1].id)

    assert [record.instance_id for record in caplog.records] == ["order-7"]


def test_it_replays_as_it_ran():
    history = lived(1)
    talk = forked(history, ev.ForkedAt(len(history), "first", 3, "top", OTHER_SECRET))
    talk.complete(talk.history[-1].id)

    again = replayed(talk.stage, diary, talk.history)

    assert again.last_event == talk.execution.last_event
    dropped(talk.stage, again)
