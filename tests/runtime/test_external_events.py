"""External events: named FIFO mailboxes, early and late, deduplicated, typed, and never lost or stolen."""

import asyncio
import logging
from dataclasses import dataclass

import pytest

from perdure import (
    ExternalEvent,
    InstanceClosedError,
    InstanceNotFoundError,
    OrchestrationContext,
    PayloadError,
    Registry,
    Runtime,
    UsageError,
    orchestration,
)
from perdure.testing import Environment


@dataclass
class Approval:
    by: str
    verdict: bool


APPROVED = ExternalEvent[Approval]("approved")
ITEMS = ExternalEvent[int]("items")
OTHERS = ExternalEvent[int]("others")


@orchestration(name="approve")
async def approve(ctx: OrchestrationContext) -> str:
    approval = await ctx.schedule_wait(APPROVED)
    return f"{approval.by}: {approval.verdict}"


@orchestration(name="collect")
async def collect(ctx: OrchestrationContext, count: int) -> list[int]:
    return [await ctx.schedule_wait(ITEMS) for _ in range(count)]


@orchestration(name="sleeper")
async def sleeper(ctx: OrchestrationContext) -> list[int]:
    await ctx.schedule_timer(60)
    return [await ctx.schedule_wait(ITEMS), await ctx.schedule_wait(ITEMS)]


async def test_a_typed_event_goes_round(url):
    async with Runtime(url, Registry(approve)) as runtime:
        handle = await runtime.client.start_orchestration(approve)
        await handle.raise_event(APPROVED, Approval("Ada", verdict=True))
        assert await handle.result() == "Ada: True"


async def test_by_name_it_is_read_as_asked():
    @orchestration
    async def by_name(ctx: OrchestrationContext) -> list[object]:
        return [
            await ctx.schedule_wait("number", int),
            await ctx.schedule_wait("anything"),
            await ctx.schedule_wait("nothing"),
        ]

    async with Environment(Registry(by_name)) as env:
        handle = await env.client.start_orchestration(by_name)
        await handle.raise_event("number", 4)
        await env.client.raise_event(handle.instance_id, "anything", {"a": [1]})
        await handle.raise_event("nothing")
        assert await handle.result() == [4, {"a": [1]}, None]


async def test_events_that_come_early_wait_in_order():
    async with Environment(Registry(sleeper)) as env:
        handle = await env.client.start_orchestration(sleeper)
        await handle.raise_event(ITEMS, 1)
        await handle.raise_event(ITEMS, 2)
        assert await handle.result() == [1, 2]


async def test_hundreds_are_read_in_the_order_of_their_sending(url):
    async with Runtime(url, Registry(collect)) as runtime:
        handle = await runtime.client.start_orchestration(collect, 300)
        for number in range(20):
            await handle.raise_event(ITEMS, number)
        await asyncio.gather(*(handle.raise_event(ITEMS, number) for number in range(20, 300)))
        assert await handle.result() == list(range(300))


async def test_mailboxes_of_different_names_are_apart():
    @orchestration
    async def two(ctx: OrchestrationContext) -> list[int]:
        second = await ctx.schedule_wait(OTHERS)
        return [second, await ctx.schedule_wait(ITEMS), await ctx.schedule_wait(ITEMS)]

    async with Environment(Registry(two)) as env:
        handle = await env.client.start_orchestration(two)
        await handle.raise_event(ITEMS, 1)
        await handle.raise_event(ITEMS, 2)
        await handle.raise_event(OTHERS, 3)
        assert await handle.result() == [3, 1, 2]


async def test_several_waits_are_served_in_their_order():
    @orchestration
    async def several(ctx: OrchestrationContext) -> list[int]:
        waits = [ctx.schedule_wait(ITEMS) for _ in range(3)]
        return await asyncio.gather(*reversed(waits))

    async with Environment(Registry(several)) as env:
        handle = await env.client.start_orchestration(several)
        for number in range(3):
            await handle.raise_event(ITEMS, number)
        assert await handle.result() == [2, 1, 0]


async def test_a_wait_that_was_given_up_takes_no_event():
    @orchestration
    async def impatient(ctx: OrchestrationContext) -> list[int]:
        index, _ = await ctx.select2(ctx.schedule_timer(10), ctx.schedule_wait(ITEMS))
        given_up = ctx.schedule_wait(ITEMS)
        given_up.cancel()
        return [index, await ctx.schedule_wait(ITEMS)]

    async with Environment(Registry(impatient)) as env:
        handle = await env.client.start_orchestration(impatient)
        await env.advance(11)
        await handle.raise_event(ITEMS, 7)
        assert await handle.result() == [0, 7]


async def test_an_event_and_a_timer_race_by_their_order():
    @orchestration
    async def race(ctx: OrchestrationContext) -> str:
        match await ctx.select2(ctx.schedule_timer(60), ctx.schedule_wait(ITEMS)):
            case 1, number:
                return f"event {number}"
            case _:
                return "timer"

    async with Environment(Registry(race)) as env:
        first = await env.client.start_orchestration(race)
        await first.raise_event(ITEMS, 1)
        assert await first.result() == "event 1"
        assert await env.run(race) == "timer"


async def test_a_mailbox_is_read_in_a_loop():
    @orchestration
    async def actor(ctx: OrchestrationContext) -> int:
        total = 0
        async for number in ctx.mailbox(ITEMS):
            if number < 0:
                break
            total += number
        return total

    async with Environment(Registry(actor)) as env:
        handle = await env.client.start_orchestration(actor)
        for number in (1, 2, 3, 4, -1):
            await handle.raise_event(ITEMS, number)
        assert await handle.result() == 10


async def test_with_a_dedup_key_an_event_counts_once():
    async with Environment(Registry(collect)) as env:
        handle = await env.client.start_orchestration(collect, 3)
        for _ in range(3):
            await handle.raise_event(ITEMS, 1, dedup_key="one")
        await handle.raise_event(ITEMS, 2, dedup_key="two")
        await handle.raise_event(ITEMS, 2)
        assert await handle.result() == [1, 2, 2]
        # Also when the instance has ended, a repetition is no error: its sender can't know better.
        await handle.raise_event(ITEMS, 1, dedup_key="one")


async def test_the_data_may_be_given_by_name():
    @orchestration
    async def both(ctx: OrchestrationContext) -> list[int]:
        ctx.raise_event(ctx.instance_id, ITEMS, data=1)
        return [await ctx.schedule_wait(ITEMS) for _ in range(3)]

    async with Environment(Registry(both)) as env:
        handle = await env.client.start_orchestration(both)
        await handle.raise_event(ITEMS, data=2)
        await env.client.raise_event(handle.instance_id, ITEMS, data=3)
        assert await handle.result() == [1, 2, 3]


async def test_what_is_neither_an_event_nor_its_name_is_refused_in_words():
    async with Environment(Registry()) as env:
        with pytest.raises(UsageError, match="instance id must be a string, not ExternalEvent"):
            await env.client.raise_event(ITEMS, 5)  # type: ignore[call-overload]  # the mistake
        with pytest.raises(UsageError, match="event must be an ExternalEvent or its name, not <class 'int'>"):
            await env.client.raise_event("i", int)  # type: ignore[call-overload]  # the mistake


async def test_dedup_keys_belong_to_one_instance():
    async with Environment(Registry(collect)) as env:
        handles = [await env.client.start_orchestration(collect, 1) for _ in range(2)]
        for handle in handles:
            await handle.raise_event(ITEMS, 5, dedup_key="five")
        assert [await handle.result() for handle in handles] == [[5], [5]]


async def test_an_unknown_instance_is_an_error_of_the_sender(url):
    async with Runtime(url, Registry(collect)) as runtime:
        for send in (
            runtime.client.raise_event("nobody", ITEMS, 1),
            runtime.client.get_handle("nobody").raise_event(ITEMS, 1),
            runtime.client.cancel("nobody"),
            runtime.client.terminate("nobody"),
        ):
            with pytest.raises(InstanceNotFoundError, match="nobody") as caught:
                await send
            assert isinstance(caught.value, LookupError)


async def test_an_instance_that_has_ended_takes_none(url):
    async with Runtime(url, Registry(collect)) as runtime:
        handle = await runtime.client.start_orchestration(collect, 0)
        assert await handle.result() == []
        for send in (handle.raise_event(ITEMS, 1), handle.cancel(), handle.terminate()):
            with pytest.raises(InstanceClosedError):
                await send
        assert await handle.result() == []


async def test_data_that_does_not_fit_is_refused_at_the_sender():
    async with Environment(Registry(approve)) as env:
        handle = await env.client.start_orchestration(approve)
        with pytest.raises(PayloadError, match="approved"):
            await handle.raise_event(APPROVED, "yes")  # type: ignore[arg-type]  # the mistake under test
        await handle.raise_event(APPROVED, Approval("Bo", verdict=False))
        assert await handle.result() == "Bo: False"


async def test_data_from_elsewhere_that_does_not_fit_is_an_error_that_code_can_catch():
    @orchestration
    async def careful(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_wait(APPROVED)
        except PayloadError as error:
            ctx.set_custom_status(str(error))
        return (await ctx.schedule_wait(APPROVED)).by

    async with Environment(Registry(careful)) as env:
        handle = await env.client.start_orchestration(careful)
        await handle.raise_event("approved", {"by": 7})
        await handle.raise_event(APPROVED, Approval("Ada", verdict=True))
        assert await handle.result() == "Ada"
        assert "approved" in (await handle.status()).custom_status


async def test_one_orchestration_sends_to_another_without_an_activity():
    @orchestration
    async def sender(ctx: OrchestrationContext, to: str) -> bool:
        for number in range(3):
            ctx.raise_event(to, ITEMS, number)
        return True

    async with Environment(Registry(collect, sender)) as env:
        handle = await env.client.start_orchestration(collect, 3)
        assert await env.run(sender, handle.instance_id)
        assert await handle.result() == [0, 1, 2]


async def test_sending_to_nobody_from_an_orchestration_is_reported_and_harms_nothing(caplog):
    @orchestration
    async def sender(ctx: OrchestrationContext) -> bool:
        ctx.raise_event("nobody", ITEMS, 1)
        return True

    async with Environment(Registry(sender)) as env:
        with caplog.at_level(logging.WARNING, logger="perdure.runtime"):
            assert await env.run(sender)
    assert "'nobody'" in caplog.text


async def test_an_instance_sends_to_itself():
    @orchestration
    async def selfish(ctx: OrchestrationContext) -> int:
        ctx.raise_event(ctx.instance_id, ITEMS, 9)
        return await ctx.schedule_wait(ITEMS)

    async with Environment(Registry(selfish)) as env:
        assert await env.run(selfish) == 9


async def test_an_event_that_was_acknowledged_survives_a_restart(database):
    async with Runtime(database, Registry(collect)) as runtime:
        handle = await runtime.client.start_orchestration(collect, 2, instance_id="i")
        await handle.raise_event(ITEMS, 1)
    async with Runtime(database, Registry(collect)) as runtime:
        handle = runtime.client.get_handle("i", collect)
        await handle.raise_event(ITEMS, 2)
        assert await handle.result() == [1, 2]
