"""Payloads that can't be stored or don't fit: a clear error at the line that has them, and nothing else is touched."""

import math
from dataclasses import dataclass
from typing import Any

import pytest

from perdure import (
    ActivityError,
    ExternalEvent,
    LimitError,
    OrchestrationContext,
    OrchestrationError,
    PayloadError,
    PayloadTooLargeError,
    Registry,
    Runtime,
    activity,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[Any]("go")
MAIL = ExternalEvent[Any]("mail")


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


class Foreign: ...


BAD: dict[str, Any] = {
    "too large": "x" * 2_200_000,
    "too deep": deep(500),
    "far too deep": deep(100_000),
    "cyclic": cyclic(),
    "not a number": math.nan,
    "infinite": math.inf,
    "half of a pair": "\ud83d",
    "NUL": "a\0b",
    "a foreign object": Foreign(),
    "a function": len,
    "an odd key": {Foreign(): 1},
    "a huge integer": 10**5000,
}


@activity(name="echo")
async def echo(value: Any) -> Any:
    return value


@activity(name="make")
async def make(kind: str) -> Any:
    return BAD[kind]


@orchestration(name="through")
async def through(ctx: OrchestrationContext, value: Any) -> Any:
    return await ctx.schedule_activity(echo, value)


@pytest.fixture(params=list(BAD))
def kind(request) -> str:
    return request.param


async def test_as_an_orchestrations_input(kind):
    async with Environment(Registry(echo, through)) as env:
        with pytest.raises((PayloadError, LimitError)):
            await env.client.start_orchestration(through, BAD[kind])
        with pytest.raises((PayloadError, LimitError)):
            await env.client.start_orchestration("through", BAD[kind])
        assert (await env.client.list_instances()).items == []
        assert await env.run(through, "fine") == "fine"


async def test_as_an_external_event(kind):
    @orchestration(name="wait")
    async def wait(ctx: OrchestrationContext) -> Any:
        return await ctx.schedule_wait(GO)

    async with Environment(Registry(wait)) as env:
        handle = await env.client.start_orchestration(wait)
        for event in (GO, "go"):
            with pytest.raises((PayloadError, LimitError)):
                await handle.raise_event(event, BAD[kind])
        await handle.raise_event(GO, "fine")
        assert await handle.result() == "fine"


async def test_inside_an_orchestration_at_the_line_that_has_it(kind):
    @orchestration(name="inside")
    async def inside(ctx: OrchestrationContext) -> list[str]:
        refused = []
        for verb, ask in {
            "activity": lambda: ctx.schedule_activity(echo, BAD[kind]),
            "by name": lambda: ctx.schedule_activity("echo", BAD[kind], returns=object),
            "child": lambda: ctx.schedule_sub_orchestration(through, BAD[kind]),
            "detached": lambda: ctx.schedule_orchestration(through, BAD[kind]),
            "event": lambda: ctx.raise_event(ctx.instance_id, MAIL, BAD[kind]),
            "status": lambda: ctx.set_custom_status(BAD[kind]),
        }.items():
            try:
                ask()
            except (PayloadError, LimitError):
                refused.append(verb)
        return refused

    async with Environment(Registry(echo, through, inside)) as env:
        assert await env.run(inside) == ["activity", "by name", "child", "detached", "event", "status"]


async def test_as_an_activitys_result(kind):
    @orchestration(name="look")
    async def look(ctx: OrchestrationContext) -> bool:
        try:
            await ctx.schedule_activity(make, kind)
        except ActivityError as error:
            return error.caused_by(PayloadError) or error.caused_by(LimitError)
        return False

    async with Environment(Registry(make, look)) as env:
        assert await env.run(look)


async def test_as_an_orchestrations_result(kind):
    @orchestration(name="bad-end")
    async def bad_end(ctx: OrchestrationContext) -> Any:
        return BAD[kind]

    async with Environment(Registry(bad_end)) as env:
        with pytest.raises(OrchestrationError) as caught:
            await env.run(bad_end)
    assert caught.value.caused_by(PayloadError) or caught.value.caused_by(LimitError)


async def test_as_the_next_executions_input(kind):
    @orchestration(name="next")
    async def following(ctx: OrchestrationContext, value: Any) -> str:
        try:
            ctx.continue_as_new(BAD[kind])
        except (PayloadError, LimitError):
            return "refused"

    async with Environment(Registry(following)) as env:
        assert await env.run(following, "fine") == "refused"


async def test_a_limit_says_what_it_is_and_what_to_do(url):
    async with Runtime(url, Registry(echo, through)) as runtime:
        with pytest.raises(PayloadTooLargeError, match="2,?097,?152|2 MiB") as caught:
            await runtime.client.start_orchestration(through, BAD["too large"])
        assert caught.value.size_bytes is not None
        assert caught.value.limit_bytes is not None
        assert caught.value.size_bytes > caught.value.limit_bytes


async def test_payloads_just_within_the_limits_go_all_the_way(url):
    large, nested = "x" * 2_000_000, deep(150)

    async with Runtime(url, Registry(echo, through)) as runtime:
        for value in (large, nested):
            handle = await runtime.client.start_orchestration(through, value)
            assert await handle.result() == value


async def test_several_large_payloads_in_one_turn(url):
    @orchestration(name="many")
    async def many(ctx: OrchestrationContext) -> int:
        answers = [ctx.schedule_activity(echo, "x" * 1_900_000) for _ in range(8)]
        return sum([len(await answer) for answer in answers])

    async with Runtime(url, Registry(echo, many)) as runtime:
        assert await (await runtime.client.start_orchestration(many)).result() == 8 * 1_900_000


async def test_text_of_every_kind_survives(url):
    text = "naïve — 日本語 — 👩‍👩‍👧‍👦 — \u202e\u2028 — <script>';--\" — \x7f\x1b[31m"

    @dataclass
    class Note:
        text: str

    @orchestration(name="note-it")
    async def note_it(ctx: OrchestrationContext, note: Note) -> Note:
        ctx.set_custom_status(note.text)
        return Note(await ctx.schedule_activity(echo, note.text))

    async with Runtime(url, Registry(echo, note_it)) as runtime:
        handle = await runtime.client.start_orchestration(
            note_it, Note(text), instance_id="id — 日本語 — '; DROP TABLE"
        )
        assert await handle.result() == Note(text)
        assert (await handle.status()).custom_status == text
