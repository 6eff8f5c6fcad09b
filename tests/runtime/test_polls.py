"""`ctx.poll_until` on a worker: repeated on an interval, over restarts, without slot or history meanwhile."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    ActivityTimeoutError,
    Backoff,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)
from perdure.testing import Environment


class Server:
    """Is ready at the given look; before that a look may fail."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.attempts: list[int] = []
        self.looked = asyncio.Event()

    @activity(name="look")
    async def look(self, ctx: ActivityContext, name: str) -> str | None:
        self.attempts.append(ctx.attempt)
        self.looked.set()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else f"{name} {answer}"


@orchestration(name="watch")
async def watch(ctx: OrchestrationContext, every: float, timeout: float | None) -> str:
    try:
        return await ctx.poll_until(
            Server.look, "server", every=every, timeout=timeout, retry=RetryPolicy(2, backoff=Backoff.none())
        )
    except ActivityTimeoutError as error:
        return f"timed out: {error.error.message}"
    except ActivityError as error:
        return f"failed: {error.error.message}"


async def test_it_is_asked_until_it_has_an_answer_and_history_stays_short():
    server = Server(*[None] * 500, "is ready")
    async with Environment(Registry(server, watch)) as env:
        begun = env.now
        handle = await env.client.start_orchestration(watch, 5, None)
        assert await handle.result() == "server is ready"
        kinds = [event.kind async for event in env.client.history(handle.instance_id)]
        assert (env.now - begun).total_seconds() == 2_500
    assert kinds == ["Started", "ActivityScheduled", "ActivityCompleted", "Completed"]


async def test_it_gives_up_at_its_timeout():
    server = Server()
    async with Environment(Registry(server, watch)) as env:
        begun = env.now
        assert await env.run(watch, 5, 62) == "timed out: it had no answer within 62 s"
        assert (env.now - begun).total_seconds() == 62
    assert len(server.attempts) == 13


async def test_failures_count_in_a_row():
    server = Server(OSError("1"), None, OSError("2"), None, OSError("3"), "is ready")
    async with Environment(Registry(server, watch)) as env:
        assert await env.run(watch, 5, None) == "server is ready"
    assert server.attempts == [1, 2, 1, 2, 1, 2]


async def test_too_many_failures_in_a_row_are_its_failure():
    server = Server(None, OSError("1"), OSError("2"))
    async with Environment(Registry(server, watch)) as env:
        assert await env.run(watch, 5, None) == "failed: 2"


async def test_it_goes_on_after_a_restart(database):
    first = Server()
    async with Runtime(database, Registry(first, watch)) as runtime:
        await runtime.client.start_orchestration(watch, 0.01, None, instance_id="watch-1")
        await first.looked.wait()
    async with Runtime(database, Registry(Server("is ready"), watch)) as runtime:
        assert await runtime.client.get_handle("watch-1", watch).result(timeout=60) == "server is ready"


async def test_it_holds_no_slot_while_it_waits(url):
    server = Server()

    @activity
    async def quick() -> str:
        return "done"

    @orchestration
    async def both(ctx: OrchestrationContext) -> str:
        looking = ctx.poll_until(Server.look, "server", every=3600)
        await asyncio.wait([looking], timeout=0.001)
        return await ctx.schedule_activity(quick)

    async with Runtime(url, Registry(server, quick, both), max_activities=1) as runtime:
        handle = await runtime.client.start_orchestration(both)
        assert await handle.result(timeout=60) == "done"


@pytest.mark.parametrize("answer", [0, "", [], False])
async def test_any_answer_but_none_is_one(answer):
    @activity
    async def look() -> object:
        return answer

    @orchestration
    async def program(ctx: OrchestrationContext) -> object:
        return await ctx.poll_until(look, every=5)

    async with Environment(Registry(look, program)) as env:
        assert await env.run(program) == answer
