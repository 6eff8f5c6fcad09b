"""Queries and updates: a client asks a running orchestration, and has its answer or its error with one turn."""

import asyncio

import pytest

from perdure import (
    ActivityContext,
    Client,
    ExternalEvent,
    InstanceClosedError,
    InstanceHeldError,
    InstanceNotFoundError,
    Key,
    OrchestrationContext,
    PayloadError,
    Query,
    Registry,
    RequestError,
    RequestRejectedError,
    ResultTimeoutError,
    Runtime,
    Status,
    UnansweredError,
    UnknownRequestError,
    Update,
    UsageError,
    activity,
    orchestration,
)
from perdure.testing import Environment

TOTAL = Query[None, int]("total")
ADD = Update[int, int]("add")
PAY = Update[str, str]("pay")
CLOSE = Update[None, None]("close")
NEXT = Update[None, int]("next")
SUM = Key[int]("sum")
PAYING = Key[str]("paying")
GO = ExternalEvent[None]("go")


class UnluckyError(ValueError):
    """What some amounts are."""


@activity(name="receipt")
async def receipt(ctx: ActivityContext, name: str) -> str:
    return f"receipt for {name}"


@orchestration(name="account")
async def account(ctx: OrchestrationContext, generation: int) -> int:
    closed: asyncio.Queue[str] = asyncio.Queue()

    def add(cents: int) -> int:
        if cents == 13:
            raise UnluckyError("13")
        ctx.kv.set(SUM, ctx.kv.get(SUM, 0) + cents)
        return ctx.kv.get(SUM, 0)

    def check(cents: int) -> None:
        if cents < 0:
            raise UnluckyError("below 0")

    async def pay(name: str) -> str:
        if name == "nobody":
            ctx.kv.set(PAYING, name)
            await ctx.schedule_wait(GO)
        return await ctx.schedule_activity(receipt, name)

    def move_on() -> int:
        closed.put_nowait("next")
        return generation

    ctx.on_query(TOTAL, lambda: ctx.kv.get(SUM, 0))
    ctx.on_update(ADD, add, validator=check)
    ctx.on_update(PAY, pay)
    ctx.on_update(CLOSE, lambda: closed.put_nowait("close"))
    ctx.on_update(NEXT, move_on)
    if await closed.get() == "next":
        ctx.continue_as_new(generation + 1)
    return ctx.kv.get(SUM, 0)


REGISTRY = Registry(account, receipt)


async def test_a_question_and_a_request_have_their_answers(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(account, 1, instance_id="a")
        assert await handle.query(TOTAL) == 0
        assert await handle.update(ADD, 5) == 5
        assert await handle.update(ADD, 7) == 12
        assert await handle.query(TOTAL) == 12
        assert await handle.update(PAY, "ada") == "receipt for ada"
        assert await handle.update(CLOSE) is None
        assert await handle.result() == 12
        kinds = [event.kind async for event in runtime.client.history("a")]
    assert kinds == [
        "Started", "UpdateReceived", "ValueSet", "UpdateAnswered", "UpdateReceived", "ValueSet", "UpdateAnswered",
        "UpdateReceived", "ActivityScheduled", "ActivityCompleted", "UpdateAnswered", "UpdateReceived",
        "UpdateAnswered", "Completed",
    ]  # fmt: skip


async def test_what_is_done_first_is_seen_by_what_is_asked_next(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(account, 1)
        answers = await asyncio.gather(*(handle.update(ADD, 1) for _ in range(50)))
        assert sorted(answers) == list(range(1, 51))
        assert await handle.query(TOTAL) == 50


async def test_errors_come_back_typed(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(account, 1)
        with pytest.raises(RequestError, match="answered 'add' with an error") as failed:
            await handle.update(ADD, 13)
        assert failed.value.caused_by(UnluckyError)
        assert not isinstance(failed.value, RequestRejectedError)
        with pytest.raises(RequestRejectedError, match="below 0") as rejected:
            await handle.update(ADD, -1)
        assert rejected.value.caused_by(UnluckyError)
        with pytest.raises(RequestRejectedError) as unfit:
            await handle.update("add", "much")
        assert unfit.value.caused_by(PayloadError)
        with pytest.raises(PayloadError, match="'add'"):
            await handle.update(ADD, "much")
        with pytest.raises(UnknownRequestError, match="no handler of update 'ad'; it has 'add'"):
            await handle.update("ad", 1)
        with pytest.raises(UnknownRequestError, match="no handler of query"):
            await handle.query("totals")
        with pytest.raises(UsageError, match="query must be a Query"):
            await handle.query(ADD, 1)
        assert await handle.query("total") == 0


async def test_another_process_asks_through_the_store(database):
    async with Runtime(database, REGISTRY) as runtime, Client(database) as client:
        await runtime.client.start_orchestration(account, 1, instance_id="a")
        handle = client.get_handle("a")
        assert await handle.update(ADD, 5) == 5
        assert await handle.query(TOTAL) == 5
        assert await handle.update(PAY, "ada") == "receipt for ada"
        with pytest.raises(RequestRejectedError):
            await handle.update(ADD, -1)
        with pytest.raises(UnknownRequestError):
            await handle.query("totals")
        await handle.update(CLOSE)
        assert await handle.result() == 5


async def test_the_same_key_has_the_same_answer_once_also_after_the_end(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(account, 1)
        both = await asyncio.gather(*(handle.update(ADD, 5, dedup_key="first") for _ in range(2)))
        assert both == [5, 5]
        assert await handle.query(TOTAL) == 5
        await handle.update(CLOSE)
        await handle.result()
        assert await handle.update(ADD, 5, dedup_key="first") == 5
        with pytest.raises(InstanceClosedError):
            await handle.update(ADD, 5, dedup_key="second")


async def test_who_asks_while_it_continues_as_new_is_answered_by_the_next_execution(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(account, 1)
        # In whatever order they arrive.
        once, added, again, total = await asyncio.gather(
            handle.update(NEXT), handle.update(ADD, 5), handle.update(NEXT), handle.query(TOTAL)
        )
        assert ({once, again}, added) == ({1, 2}, 5)
        assert total in (0, 5)
        assert await handle.query(TOTAL) == 5
        assert (await handle.status()).execution_id == 3


async def test_one_at_work_hears_that_the_execution_ended(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(account, 1)
        waiting = asyncio.create_task(handle.update(PAY, "nobody"))
        assert await handle.wait_for_kv(PAYING) == "nobody"
        await handle.update(NEXT)
        with pytest.raises(RequestError, match="ask again") as unanswered:
            await waiting
        assert unanswered.value.caused_by(UnansweredError)
        waiting = asyncio.create_task(handle.update(PAY, "nobody"))
        await handle.query(TOTAL)
        await handle.terminate()
        with pytest.raises(InstanceClosedError):
            await waiting


async def test_a_finished_an_unknown_and_a_deleted_instance_answer_nothing(url):
    async with Runtime(url, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(account, 1, instance_id="a")
        await handle.update(CLOSE)
        await handle.result()
        for asking in (handle.query(TOTAL), handle.update(ADD, 1)):
            with pytest.raises(InstanceClosedError):
                await asking
        await runtime.client.delete("a")
        for asking in (handle.query(TOTAL), runtime.client.get_handle("nobody").update(ADD, 1)):
            with pytest.raises(InstanceNotFoundError):
                await asking


async def test_one_that_has_not_started_is_waited_for_as_long_as_is_said(database):
    async with Client(database) as client:
        handle = await client.start_orchestration(account, 1, instance_id="a")
        with pytest.raises(ResultTimeoutError, match="did not answer 'total' within 0.05 s"):
            await handle.query(TOTAL, timeout=0.05)
        waiting = asyncio.create_task(handle.update(ADD, 5, timeout=None))
        async with Runtime(database, REGISTRY):
            assert await waiting == 5


async def test_a_held_instance_says_why_it_does_not_answer(url):
    @orchestration(name="spoiled")
    async def spoiled(ctx: OrchestrationContext) -> None:
        def lose() -> None:
            asyncio.get_running_loop().run_in_executor(None, print)

        ctx.on_update(CLOSE, lose)
        await ctx.schedule_wait(GO)

    async with Runtime(url, Registry(spoiled)) as runtime:
        handle = await runtime.client.start_orchestration(spoiled)
        with pytest.raises(InstanceHeldError, match="is held and answers nothing: .*executor"):
            await handle.update(CLOSE)
        assert (await handle.status()).status is Status.HELD
        for asking in (handle.query(TOTAL), handle.update(CLOSE)):
            with pytest.raises(InstanceHeldError):
                await asking


async def test_an_evicted_one_is_rebuilt_to_answer(url):
    async with Runtime(url, REGISTRY, max_cached_instances=1) as runtime:
        handles = [await runtime.client.start_orchestration(account, 1) for _ in range(3)]
        for number, handle in enumerate(handles):
            assert await handle.update(ADD, number) == number
        assert [await handle.query(TOTAL) for handle in handles] == [0, 1, 2]
        assert [await handle.update(ADD, 1) for handle in handles] == [1, 2, 3]


async def test_a_query_that_wakes_somebody_changes_nothing_in_the_end(url):
    @orchestration(name="nosy")
    async def nosy(ctx: OrchestrationContext) -> str:
        woken = asyncio.Event()
        ctx.on_query(TOTAL, lambda: (woken.set(), 1)[1])
        ctx.on_query(Query[None, bool]("woken"), woken.is_set)
        waiting = asyncio.create_task(woken.wait())
        await asyncio.wait({waiting, asyncio.ensure_future(ctx.schedule_wait(GO))}, return_when="FIRST_COMPLETED")
        return "woken" if waiting.done() else "not woken"

    async with Runtime(url, Registry(nosy)) as runtime:
        handle = await runtime.client.start_orchestration(nosy)
        assert await handle.query(TOTAL) == 1
        assert await handle.query("woken") is False
        await handle.raise_event(GO, None)
        assert await handle.result() == "not woken"


async def test_answers_survive_a_restart_of_the_worker(database):
    async with Runtime(database, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(account, 1, instance_id="a")
        assert await handle.update(ADD, 5, dedup_key="k") == 5
    async with Client(database) as client:
        assert await client.get_handle("a").update(ADD, 5, dedup_key="k") == 5
    async with Runtime(database, REGISTRY) as runtime:
        handle = runtime.client.get_handle("a")
        assert await handle.query(TOTAL) == 5
        assert await handle.update(ADD, 1) == 6


async def test_on_test_time_too():
    async with Environment(REGISTRY) as env:
        handle = await env.client.start_orchestration(account, 1)
        assert await handle.update(PAY, "ada") == "receipt for ada"
        await handle.update(CLOSE)
        assert await handle.result() == 0
