"""`ctx.poll_until`: one question and one answer in history, whatever lies between."""

from msgspec import json

from perdure import Backoff, OrchestrationContext, RetryPolicy, UsageError, activity, orchestration
from perdure._retry import from_wire
from tests.core.harness import Conversation, kinds


@activity(name="look", tag="near", retry=RetryPolicy(4, backoff=Backoff.none(), total_timeout=90))
async def look(_name: str) -> str | None:
    return None


def test_it_is_one_activity_with_an_interval():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        return await ctx.poll_until(look, "server", every=5, timeout=60)

    talk = Conversation(program)
    [asked] = talk.start()

    policy = from_wire(bytes(asked.retry))
    assert (asked.name, bytes(asked.input), asked.tag) == ("look", b'["server"]', "near")
    assert (policy.poll_us, policy.total_timeout_us, policy.max_attempts) == (5_000_000, 60_000_000, 4)
    assert kinds(talk.complete(2, "ready")) == ['done "ready"']


def test_without_a_timeout_that_of_the_policy_holds():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        return await ctx.poll_until(look, "server", every=5)

    [asked] = Conversation(program).start()
    assert from_wire(bytes(asked.retry)).total_timeout_us == 90_000_000


def test_by_name_it_has_one_attempt_unless_told_otherwise():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        first = ctx.poll_until("look", 7, every=5, returns=int)
        return await ctx.poll_until("look", every=5, returns=int, retry=RetryPolicy(2)) + await first

    talk = Conversation(program)
    first, second = talk.start()
    assert [from_wire(bytes(each.retry)).max_attempts for each in (first, second)] == [1, 2]
    talk.complete(second.id, 1)
    assert kinds(talk.complete(first.id, 2)) == ["done 3"]


def test_it_is_cancelled_like_any_other():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.poll_until(look, "server", every=5, on_cancel="wait")

    talk = Conversation(program)
    talk.start()
    assert kinds(talk.cancel()) == ["act~ 2"]


def test_it_asks_for_nothing_when_its_execution_is_over():
    @orchestration
    async def program(ctx: OrchestrationContext, round_: int) -> None:
        try:
            if round_ == 1:
                ctx.continue_as_new(2)
        finally:
            ctx.poll_until(look, "server", every=5).cancel()

    assert kinds(Conversation(program).start(1)) == ["can"]


def test_a_mistake_is_told():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[str]:
        told = []
        for options in ({}, {"every": 0}, {"every": 5, "timeout": 0}, {"evry": 5}, {"every": 5, "max_attempts": 3}):
            try:
                ctx.poll_until(look, "server", **options)
            except UsageError as error:
                told.append(str(error))
        return told

    [done] = Conversation(program).start()
    expected = [
        "ctx.poll_until needs every=",
        "poll_until every is 0: say how long",
        "poll_until timeout is 0",
        "did you mean every=",
        "write retry=RetryPolicy(max_attempts=...)",
    ]
    told = json.decode(done.output)
    assert [words in each for words, each in zip(expected, told, strict=True)] == [True] * 5, told
