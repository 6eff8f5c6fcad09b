"""Hashes of tasks and futures: there before asyncio looks, spread over the process, the same on replay."""

import asyncio

import pytest

from perdure import OrchestrationContext, orchestration
from perdure._core.tasks import Task, hashed
from tests.core.harness import Conversation, replayed

EXECUTIONS = 20_000


def test_a_task_and_a_future_hash_by_their_number_in_the_execution() -> None:
    seen: list[list[int]] = []

    @orchestration
    async def hashing(ctx: OrchestrationContext) -> None:
        task = asyncio.current_task()
        future = asyncio.get_running_loop().create_future()
        seen.append([hash(task), hash(ctx.schedule_activity("a")), hash(future)])
        await ctx.schedule_activity("b")

    talk = Conversation(hashing)
    talk.start()

    live, replay = seen
    assert live == replay
    assert live == [hashed(talk.execution.salt, number) for number in (1, 3, 2)]


def test_the_hash_is_there_when_asyncio_first_sees_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    seen_by_asyncio: list[int] = []
    own_hash = Task.__hash__

    def curious(task: "Task[None]") -> int:
        seen_by_asyncio.append(own_hash(task))
        return seen_by_asyncio[-1]

    @orchestration
    async def quick(ctx: OrchestrationContext) -> None:
        pass

    monkeypatch.setattr(Task, "__hash__", curious)
    talk = Conversation(quick)
    talk.start()

    assert set(seen_by_asyncio) <= {hashed(talk.execution.salt, 1)}


def test_first_tasks_of_many_executions_do_not_collide() -> None:
    hashes = {hashed(hash(("secret", execution)), 1) for execution in range(EXECUTIONS)}

    assert len(hashes) == EXECUTIONS


def test_two_executions_with_other_secrets_have_other_hashes() -> None:
    @orchestration
    async def waiting(ctx: OrchestrationContext) -> None:
        await ctx.schedule_activity("a")

    one, other = Conversation(waiting), Conversation(waiting)
    one.start(secret="01" * 32)
    other.start(secret="02" * 32)

    assert hash(one.execution.unfinished()[0]) != hash(other.execution.unfinished()[0])
    twin = replayed(one.stage, waiting, one.history)
    assert hash(one.execution.unfinished()[0]) == hash(twin.unfinished()[0])


def test_sets_of_tasks_and_durable_futures_are_iterated_in_the_same_order() -> None:
    orders: list[list[str]] = []

    @orchestration
    async def sets(ctx: OrchestrationContext) -> None:
        futures = {ctx.schedule_activity(name): name for name in "abcdefgh"}
        tasks = {asyncio.create_task(_wait(future), name=name) for future, name in futures.items()}
        orders.append([futures[future] for future in set(futures)] + [task.get_name() for task in tasks])
        await asyncio.wait(tasks)

    Conversation(sets).start()

    live, replay = orders
    assert live == replay
    assert sorted(live) == sorted("abcdefgh" * 2)


async def _wait(future: "asyncio.Future[object]") -> object:
    return await future
