"""Within a turn: cancellations stand first, by what they cancel; only actions that are unique may change places."""

import asyncio

import pytest

from perdure import OrchestrationContext, orchestration
from perdure.errors import ReplayMismatchError
from tests.core.harness import Conversation, kinds, replayed


def test_cancellations_are_written_at_the_call_by_what_they_cancel() -> None:
    @orchestration
    async def cancelling(ctx: OrchestrationContext) -> None:
        futures = [ctx.schedule_activity(name) for name in "abcd"]
        await futures[3]
        noticed = asyncio.gather(*futures[:3], return_exceptions=True)
        for future in reversed(futures[:3]):
            future.cancel()
        ctx.schedule_activity("after")
        await noticed
        await asyncio.sleep(1)

    talk = Conversation(cancelling)
    *_, last = talk.start()

    assert kinds(talk.complete(last.id)) == ["act! 2", "act! 3", "act! 4", "act after", "tim"]


def in_order(names: str) -> None:
    """Record a turn that asks for `abc`, and replay it with a program that asks in another order."""
    order = ["abc"]

    @orchestration
    async def asking(ctx: OrchestrationContext) -> None:
        await asyncio.gather(*(ctx.schedule_activity(name) for name in order[0]))

    talk = Conversation(asking, always_replay=False)
    talk.start()
    order[0] = names
    twin = replayed(talk.stage, asking, talk.history)
    assert [twin.open[event_id].name for event_id in (2, 3, 4)] == list("abc")


@pytest.mark.parametrize("names", ["abc", "bac", "cab"])
def test_unique_actions_may_change_places(names: str) -> None:
    in_order(names)


@pytest.mark.parametrize("names", ["abd", "ab", "abcc", ""])
def test_other_actions_are_a_mismatch(names: str) -> None:
    with pytest.raises(ReplayMismatchError):
        in_order(names)


def test_equal_actions_may_not_change_places_with_others() -> None:
    order = ["aab"]

    @orchestration
    async def asking(ctx: OrchestrationContext) -> None:
        await asyncio.gather(*(ctx.schedule_activity(name) for name in order[0]))

    talk = Conversation(asking, always_replay=False)
    talk.start()
    order[0] = "aba"

    with pytest.raises(ReplayMismatchError, match="activity"):
        replayed(talk.stage, asking, talk.history)


def test_another_set_of_cancellations_is_a_mismatch() -> None:
    cancelled = [0]

    @orchestration
    async def cancelling(ctx: OrchestrationContext) -> None:
        futures = [ctx.schedule_activity(name) for name in "abc"]
        await futures[2]
        futures[cancelled[0]].cancel()
        await asyncio.sleep(1)

    talk = Conversation(cancelling, always_replay=False)
    talk.start()
    talk.complete(4)
    cancelled[0] = 1

    with pytest.raises(ReplayMismatchError, match="event 2"):
        replayed(talk.stage, cancelling, talk.history)
