"""Held instances: visible with their reason, alone, and going on when the code is mended and a worker starts."""

import asyncio
import re
import sys
import threading
from argparse import ArgumentParser
from contextlib import suppress

import pytest

from perdure import (
    ExternalEvent,
    HeldError,
    InstanceStatus,
    OrchestrationContext,
    OrchestrationHandle,
    Registry,
    Runtime,
    Status,
    activity,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[str]("go")


@activity(name="reserve")
async def reserve(order: str) -> str:
    return f"reserved {order}"


@activity(name="charge")
async def charge(order: str) -> str:
    return f"charged {order}"


@orchestration(name="checkout")
async def checkout(ctx: OrchestrationContext, order: str) -> list[str]:
    return [
        await ctx.schedule_activity(reserve, order),
        await ctx.schedule_wait(GO),
        await ctx.schedule_activity(charge, order),
    ]


@orchestration(name="innocent")
async def innocent(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_activity(charge, "another")


async def until(handle: OrchestrationHandle, status: Status) -> InstanceStatus:
    async for seen in handle.watch():
        if seen.status is status:
            return seen
    raise AssertionError(seen)


async def begin(database: str, program, *activities) -> None:
    """Run a checkout up to its wait, by this code."""
    async with Runtime(database, Registry(program, *activities)) as runtime:
        handle = await runtime.client.start_orchestration("checkout", "o-1", instance_id="i")
        await until(handle, Status.RUNNING)
        async for event_count in _lengths(handle, runtime):
            if event_count >= 4:
                break


async def _lengths(handle, runtime):
    while True:
        news = await runtime._gateway.news("i")  # noqa: SLF001 - a history has no watch of its own
        yield len([event async for event in runtime.client.history("i")])
        await news


async def test_a_changed_program_holds_the_instance_with_both_lines_and_the_old_one_moves_it_on(database):
    @orchestration(name="checkout")
    async def changed(ctx: OrchestrationContext, order: str) -> list[str]:
        return [await ctx.schedule_activity(charge, order), await ctx.schedule_wait(GO), ""]

    await begin(database, checkout, reserve)
    async with Runtime(database, Registry(changed, charge, innocent)) as runtime:
        handle = runtime.client.get_handle("i")
        await handle.raise_event(GO, "go")
        held = await until(handle, Status.HELD)
        assert held.held_because is not None
        for words in ("ReplayMismatchError", "reserve", "charge", "test_held.py:"):
            assert words in held.held_because
        assert await (await runtime.client.start_orchestration(innocent)).result() == "charged another"
        assert (await handle.status()).status is Status.HELD
    async with Runtime(database, Registry(checkout, reserve, charge)) as runtime:
        assert await runtime.client.get_handle("i", checkout).result() == ["reserved o-1", "go", "charged o-1"]


async def test_a_version_that_is_gone_holds_the_instance_until_it_is_back(database):
    @orchestration(name="checkout", version="2.0.0")
    async def checkout_2(ctx: OrchestrationContext, order: str) -> list[str]:
        return []

    await begin(database, checkout, reserve)
    async with Runtime(database, Registry(checkout_2)) as runtime:
        await runtime.client.raise_event("i", GO, "go")
        assert not (await runtime.client.get_status("i")).is_closed
    async with Runtime(database, Registry(checkout, checkout_2, reserve, charge)) as runtime:
        assert await runtime.client.get_handle("i", checkout).result() == ["reserved o-1", "go", "charged o-1"]


async def test_a_forbidden_call_holds_it_even_if_it_is_swallowed(database):
    @orchestration(name="checkout")
    async def careless(ctx: OrchestrationContext, order: str) -> list[str]:
        with suppress(Exception):
            await asyncio.to_thread(print, "hello")
        return []

    async with Runtime(database, Registry(careless)) as runtime:
        handle = await runtime.client.start_orchestration(careless, "o-1", instance_id="i")
        held = await until(handle, Status.HELD)
        assert "ForbiddenCallError" in str(held.held_because)
        assert "schedule_activity" in str(held.held_because)
        await handle.raise_event(GO, "go")
    async with Runtime(database, Registry(checkout, reserve, charge)) as runtime:
        assert await runtime.client.get_handle("i", checkout).result() == ["reserved o-1", "go", "charged o-1"]


async def test_a_future_that_nothing_durable_will_bring_holds_it(database):
    @orchestration(name="checkout")
    async def stuck(ctx: OrchestrationContext, order: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with Runtime(database, Registry(stuck)) as runtime:
        handle = await runtime.client.start_orchestration(stuck, "o-1", instance_id="i")
        held = await until(handle, Status.HELD)
        assert "test_held.py:" in str(held.held_because)
        await handle.raise_event(GO, "go")
    async with Runtime(database, Registry(checkout, reserve, charge)) as runtime:
        assert await runtime.client.get_handle("i", checkout).result() == ["reserved o-1", "go", "charged o-1"]


@pytest.mark.parametrize("how", ["spins", "spins and swallows", "blocks"])
async def test_a_turn_that_does_not_end_is_interrupted_and_shown_and_stops_no_other(database, how):
    @orchestration(name="checkout")
    async def endless(ctx: OrchestrationContext, order: str) -> list[str]:
        if how == "spins":
            while True:
                pass
        elif how == "spins and swallows":
            while True:
                try:
                    len(order)
                except Exception:  # noqa: BLE001, S112 - the mistake under test
                    continue
        else:
            _block()
        return []

    async with Runtime(database, Registry(endless, innocent, charge), turn_limit=0.2) as runtime:
        handle = await runtime.client.start_orchestration(endless, "o-1", instance_id="i")
        other = await runtime.client.start_orchestration(innocent)
        held = await until(handle, Status.HELD)
        assert "TurnLimitError" in str(held.held_because)
        assert "test_held.py" in str(held.held_because)
        assert await other.result() == "charged another"
        await handle.raise_event(GO, "go")
    async with Runtime(database, Registry(checkout, reserve, charge)) as runtime:
        assert await runtime.client.get_handle("i", checkout).result() == ["reserved o-1", "go", "charged o-1"]


def _block() -> None:
    threading.Event().wait(1)


async def test_a_turn_that_never_stops_yielding_is_held(database):
    @orchestration(name="checkout")
    async def busy(ctx: OrchestrationContext, order: str) -> list[str]:
        while True:
            await asyncio.sleep(0)

    async with Runtime(database, Registry(busy, innocent, charge), turn_limit=0.2) as runtime:
        handle = await runtime.client.start_orchestration(busy, "o-1", instance_id="i")
        other = await runtime.client.start_orchestration(innocent)
        held = await until(handle, Status.HELD)
        assert "test_held.py" in str(held.held_because)
        assert await other.result() == "charged another"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError, RecursionError])
async def test_what_orchestration_code_may_raise_harms_no_other(error):
    @orchestration(name="checkout")
    async def raising(ctx: OrchestrationContext, order: str) -> list[str]:
        raise error

    async with Runtime("memory://", Registry(raising, innocent, charge)) as runtime:
        handle = await runtime.client.start_orchestration(raising, "o-1", instance_id="i")
        other = await runtime.client.start_orchestration(innocent)
        assert await other.result() == "charged another"
        async for status in handle.watch():
            if status.is_closed or status.status is Status.HELD:
                break
        assert error.__name__ in str(status.held_because or status.error)


@pytest.mark.parametrize(
    "leave", [lambda: sys.exit(3), lambda: ArgumentParser().exit(3)], ids=["itself", "by argparse"]
)
async def test_one_that_asks_the_process_to_end_is_held_with_the_line_and_what_to_do(leave):
    @orchestration(name="checkout")
    async def leaving(ctx: OrchestrationContext, order: str) -> list[str]:
        leave()
        return []

    async with Runtime("memory://", Registry(leaving, innocent, charge)) as runtime:
        handle = await runtime.client.start_orchestration(leaving, "o-1", instance_id="i")
        held = await until(handle, Status.HELD)
        assert re.fullmatch(
            r"SystemExit: 3: it asks the whole process to end, and a worker doesn't do that for what it runs: return, "
            r"or raise an Exception\. It was raised at \S*test_held\.py:\d+ \(<lambda>\)",
            str(held.held_because),
        )
        assert await (await runtime.client.start_orchestration(innocent)).result() == "charged another"


async def test_recursion_without_end_fails_the_instance_and_no_other():
    @orchestration(name="checkout")
    async def deep(ctx: OrchestrationContext, order: str) -> list[str]:
        def down() -> int:
            return down() + 1

        return [str(down())]

    async with Runtime("memory://", Registry(deep, innocent, charge)) as runtime:
        handle = await runtime.client.start_orchestration(deep, "o-1", instance_id="i")
        failed = await until(handle, Status.FAILED)
        assert "RecursionError" in str(failed.error)
        assert await (await runtime.client.start_orchestration(innocent)).result() == "charged another"


async def test_events_and_outcomes_that_come_while_it_is_held_are_kept(database):
    may_end = asyncio.Event()

    @activity(name="slow")
    async def slow() -> str:
        await may_end.wait()
        return "slowly"

    @orchestration(name="checkout", version="1.0.0")
    async def broken(ctx: OrchestrationContext, order: str) -> list[str]:
        answer = ctx.schedule_activity(slow)
        await ctx.schedule_wait(GO)
        await asyncio.to_thread(print, "hello")
        return [await answer]

    @orchestration(name="checkout", version="1.0.0")
    async def mended(ctx: OrchestrationContext, order: str) -> list[str]:
        answer = ctx.schedule_activity(slow)
        first = await ctx.schedule_wait(GO)
        return [first, await ctx.schedule_wait(GO), await answer]

    async with Runtime(database, Registry(broken, slow)) as runtime:
        handle = await runtime.client.start_orchestration(broken, "o-1", instance_id="i")
        await handle.raise_event(GO, "one")
        await until(handle, Status.HELD)
        may_end.set()
        await handle.raise_event(GO, "two")
    async with Runtime(database, Registry(mended, slow)) as runtime:
        assert await runtime.client.get_handle("i", mended).result() == ["one", "two", "slowly"]


async def test_an_activity_that_no_worker_has_waits_visibly_for_one_that_has(database):
    async with Runtime(database, Registry(checkout, reserve)) as runtime:
        handle = await runtime.client.start_orchestration(checkout, "o-1", instance_id="i")
        await handle.raise_event(GO, "go")
        await until(handle, Status.RUNNING)
    async with Runtime(database, Registry(checkout, reserve, charge)) as runtime:
        assert await runtime.client.get_handle("i", checkout).result() == ["reserved o-1", "go", "charged o-1"]


async def test_in_the_test_environment_nobody_waits_for_a_held_instance_or_for_its_parent():
    @orchestration(name="stuck")
    async def stuck(ctx: OrchestrationContext) -> None:
        await asyncio.Event().wait()

    @orchestration(name="parent")
    async def parent(ctx: OrchestrationContext) -> None:
        await ctx.schedule_sub_orchestration(stuck)

    async with Environment(Registry(stuck, parent)) as env:
        for program in (stuck, parent):
            with pytest.raises(HeldError, match="test_held.py:"):
                await env.run(program)
        handle = await env.client.start_orchestration(stuck)
        with pytest.raises(HeldError, match="stuck"):
            await handle.result()
        assert (await handle.status()).status is Status.HELD
        await handle.terminate()
        await env.advance(1)
        assert (await handle.status()).status is Status.TERMINATED
