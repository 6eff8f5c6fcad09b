"""`ctx.map`: so many items at a time, results by index, and no more than a policy wants."""

import asyncio

import pytest
from msgspec import json

from perdure import (
    ActivityError,
    MapError,
    MapPolicy,
    OrchestrationContext,
    PayloadError,
    UsageError,
    activity,
    orchestration,
)
from perdure import _events as ev
from tests.core.harness import Conversation, kinds


@activity(name="size")
async def size(_name: str) -> int:
    return 0


def talk_of(items, **options):
    @orchestration
    async def program(ctx: OrchestrationContext) -> list:
        try:
            found = await ctx.map(size, items, **options)
        except ActivityError as error:
            return ["failed", error.error.message]
        except MapError as error:
            return ["lost", str(error), _shown(error.result)]
        return found if isinstance(found, list) else _shown(found)

    talk = Conversation(program)
    return talk, talk.start()


def _shown(result):
    failed = [(index, error.error.message) for index, error in result.failed]
    return [list(map(list, result.succeeded)), failed, list(result.skipped)]


def output(events):
    [*_, done] = events
    assert isinstance(done, ev.Completed), kinds(events)
    return json.decode(done.output)


def test_results_come_in_the_order_of_the_items():
    talk, asked = talk_of(["a", "b", "c"])
    assert kinds(asked) == ["act size"] * 3
    talk.complete(4, 3)
    talk.complete(2, 1)
    assert output(talk.complete(3, 2)) == [1, 2, 3]


def test_an_item_is_asked_for_when_its_turn_has_come():
    talk, asked = talk_of(["a", "b", "c", "d"], max_concurrency=2)
    assert [bytes(event.input) for event in asked] == [b'["a"]', b'["b"]']
    [third] = talk.complete(3, 2)
    assert bytes(third.input) == b'["c"]'
    [fourth] = talk.complete(third.id, 3)
    talk.complete(fourth.id, 4)
    assert output(talk.complete(2, 1)) == [1, 2, 3, 4]


def test_ten_thousand_items_are_ten_tasks():
    _, asked = talk_of(["item"] * 10_000, max_concurrency=10)
    assert len(asked) == 10


def test_no_items_are_no_results():
    _, asked = talk_of([])
    assert output(asked) == []


def test_the_first_failure_gives_up_the_rest():
    talk, _ = talk_of(["a", "b", "c"], max_concurrency=2)
    ended = talk.fail(3)
    assert kinds(ended)[:1] == ["act! 2"]
    assert output(ended) == ["failed", "boom"]


def test_a_policy_that_is_met_gives_up_the_rest():
    talk, _ = talk_of(["a", "b", "c", "d"], max_concurrency=3, policy=MapPolicy(min_successful=2))
    [fourth] = talk.fail(2)
    assert talk.complete(3, 2) == []
    ended = talk.complete(4, 3)
    assert kinds(ended)[:1] == [f"act! {fourth.id}"]
    assert output(ended) == [[[1, 2], [2, 3]], [[0, "boom"]], [3]]


def test_failures_are_tolerated_up_to_a_number():
    talk, _ = talk_of(["a", "b", "c"], policy=MapPolicy(max_failures=1))
    talk.fail(2)
    talk.complete(3, 2)
    assert output(talk.complete(4, 3)) == [[[1, 2], [2, 3]], [[0, "boom"]], []]


def test_one_failure_more_is_the_end():
    talk, _ = talk_of(["a", "b", "c"], policy=MapPolicy(max_failures=1))
    talk.fail(2)
    ended = talk.fail(3)
    assert kinds(ended)[:1] == ["act! 4"]
    words = "2 of 3 items failed, first: RuntimeError: boom"
    assert output(ended) == ["lost", words, [[], [[0, "boom"], [1, "boom"]], [2]]]


def test_what_can_no_longer_be_met_is_not_waited_for():
    talk, _ = talk_of(["a", "b", "c"], policy=MapPolicy(min_successful=2))
    talk.fail(2)
    ended = talk.fail(4)
    assert kinds(ended)[:1] == ["act! 3"]
    assert output(ended)[0] == "lost"


def test_without_any_number_all_are_run():
    talk, _ = talk_of(["a", "b"], policy=MapPolicy())
    talk.fail(2)
    assert output(talk.fail(3)) == [[], [[0, "boom"], [1, "boom"]], []]


def test_what_has_ended_in_the_same_run_counts_up_to_the_policy():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        mapped = asyncio.ensure_future(ctx.map(size, ["a", "b"], policy=MapPolicy(min_successful=1)))
        await ctx.schedule_timer(5)
        return len((await mapped).succeeded)

    talk = Conversation(program)
    talk.start()
    talk.complete(3, 1)
    assert output(talk.fire(2)) == 1


def test_a_cancelled_map_gives_up_what_runs():
    talk, _ = talk_of(["a", "b", "c"], max_concurrency=2)
    assert kinds(talk.cancel()) == ["act! 2", "act! 3", "cancelled"]


def test_a_result_that_does_not_fit_is_an_error_of_its_own():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            await ctx.map(size, ["a", "b"], policy=MapPolicy())
        except PayloadError:
            return "misfit"
        return ""

    talk = Conversation(program)
    talk.start()
    assert output(talk.complete(2, "no number")) == "misfit"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_concurrency": 0}, "max_concurrency is 0: use a whole number, 1 or more"),
        ({"policy": 3}, "policy is 3: use a MapPolicy"),
        ({"policy": MapPolicy(min_successful=2)}, "min_successful is 2, and there are 1 items"),
        ({"concurrency": 3}, "did you mean max_concurrency="),
    ],
)
def test_a_mistake_is_told(options, complaint):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            await ctx.map(size, ["a"], **options)
        except UsageError as error:
            return str(error)
        return ""

    assert complaint in output(Conversation(program).start())


@pytest.mark.parametrize("number", [-1, 1.5, True])
def test_a_policy_takes_numbers(number):
    with pytest.raises(UsageError, match="MapPolicy max_failures is"):
        MapPolicy(max_failures=number)
