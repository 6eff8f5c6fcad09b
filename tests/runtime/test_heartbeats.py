"""Heartbeats: an attempt says how far it is, the next one goes on from there; who is silent for too long has failed."""

import asyncio
import threading

import pytest

from perdure import (
    ActivityContext,
    ActivityError,
    ActivityTimeoutError,
    HistoryCorruptError,
    OrchestrationContext,
    PayloadError,
    PayloadTooLargeError,
    Registry,
    RetryPolicy,
    Runtime,
    activity,
    orchestration,
)
from perdure._runtime.attempts import Attempt
from perdure._runtime.pulse import HEARTBEAT_BYTES_MAX, Pulse, read_details
from perdure._work import ClaimedTask, sealed
from perdure.testing import Environment, activity_context


@orchestration(name="copy-all")
async def copy_all(ctx: OrchestrationContext, attempts: int) -> list[str]:
    return await ctx.schedule_activity("copy", returns=list[str], retry=RetryPolicy(attempts))


async def test_the_next_attempt_goes_on_where_the_last_one_was(url):
    @activity(name="copy")
    async def copy(ctx: ActivityContext) -> list[str]:
        done = ctx.last_heartbeat(list[str]) or []
        for place in range(len(done), 3):
            done.append(f"{place} in attempt {ctx.attempt}")
            ctx.heartbeat(done)
            if place == 1 and ctx.attempt == 1:
                raise ConnectionError
        return done

    async with Runtime(url, Registry(copy_all, copy)) as runtime:
        handle = await runtime.client.start_orchestration(copy_all, 2)
        done = await handle.result()
    assert done == ["0 in attempt 1", "1 in attempt 1", "2 in attempt 2"]


async def test_what_was_said_outlives_a_shutdown(url):
    reached = asyncio.Event()

    @activity(name="copy")
    async def copy(ctx: ActivityContext) -> list[str]:
        said = ctx.last_heartbeat(str)
        if said is None:
            ctx.heartbeat("first")
            ctx.heartbeat("halfway")
            reached.set()
            await asyncio.Event().wait()
        return [said or ""]

    registry = Registry(copy_all, copy)
    async with Runtime(url, registry, grace=0) as first:
        handle = await first.client.start_orchestration(copy_all, 1, instance_id="copy-1")
        await reached.wait()
        if url == "memory://":
            # Nothing outlives the process there.
            return
    async with Runtime(url, registry) as second:
        handle = second.client.get_handle("copy-1", copy_all)
        assert await handle.result() == ["halfway"]


async def test_a_heartbeat_without_details_leaves_what_was_said():
    @activity(name="copy")
    async def copy(ctx: ActivityContext) -> list[str]:
        if ctx.attempt == 1:
            ctx.heartbeat("halfway")
            ctx.heartbeat()
            raise ConnectionError
        return [ctx.last_heartbeat(str) or "nothing"]

    async with Environment(Registry(copy_all, copy)) as env:
        assert await env.run(copy_all, 2) == ["halfway"]


async def test_details_that_are_no_json_fail_at_the_call():
    @activity(name="copy")
    async def copy(ctx: ActivityContext) -> list[str]:
        with pytest.raises(PayloadError, match="heartbeat of activity copy"):
            ctx.heartbeat(object())
        with pytest.raises(PayloadTooLargeError, match="65,536"):
            ctx.heartbeat("x" * HEARTBEAT_BYTES_MAX)
        return ["refused"]

    async with Environment(Registry(copy_all, copy)) as env:
        assert await env.run(copy_all, 1) == ["refused"]


async def test_details_that_do_not_fit_the_type_fail_in_words():
    @activity(name="copy")
    async def copy(ctx: ActivityContext) -> list[str]:
        if ctx.attempt == 1:
            ctx.heartbeat("halfway")
            raise ConnectionError
        ctx.last_heartbeat(int)
        return []

    async with Environment(Registry(copy_all, copy)) as env:
        handle = await env.client.start_orchestration(copy_all, 2)
        with pytest.raises(Exception, match="heartbeat of activity copy"):
            await handle.result()


async def test_one_that_is_silent_for_too_long_is_tried_again():
    @activity(name="copy", heartbeat_timeout=0.05)
    async def copy(ctx: ActivityContext) -> list[str]:
        if ctx.attempt == 1:
            ctx.heartbeat("halfway")
            await asyncio.Event().wait()
        return [f"attempt {ctx.attempt} after {ctx.last_heartbeat(str)}"]

    async with Environment(Registry(copy_all, copy)) as env:
        assert await env.run(copy_all, 2) == ["attempt 2 after halfway"]


async def test_silence_without_attempts_left_is_a_timeout():
    @activity(name="copy", heartbeat_timeout=0.01)
    async def copy(_ctx: ActivityContext) -> list[str]:
        await asyncio.Event().wait()
        return []

    @orchestration
    async def patient(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(copy)
        except ActivityTimeoutError as error:
            return str(error)
        return "it came back"

    async with Environment(Registry(patient, copy)) as env:
        assert await env.run(patient) == "activity copy timed out: it said nothing for 0.01 s, its heartbeat_timeout"


async def test_a_plain_activity_hears_that_it_was_silent_for_too_long():
    heard = threading.Event()

    @activity(name="copy", heartbeat_timeout=0.01)
    def copy(ctx: ActivityContext) -> list[str]:
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        heard.set()
        return []

    @orchestration
    async def patient(ctx: OrchestrationContext) -> str:
        try:
            await ctx.schedule_activity(copy)
        except ActivityError as error:
            return type(error).__name__
        return "it came back"

    async with Environment(Registry(patient, copy)) as env:
        assert await env.run(patient) == "ActivityTimeoutError"
        await asyncio.to_thread(heard.wait, 10)
    assert heard.is_set()


class Desk:
    """A loop of which the test turns the hands, and what it was told."""

    def __init__(self) -> None:
        self.loop = self
        self.now = 0.0
        self.said: list[bytes] = []
        self.soon: list = []
        self.later: list = []

    def time(self) -> float:
        return self.now

    def call_soon_threadsafe(self, call, *arguments) -> None:
        self.soon.append((call, arguments))

    def call_later(self, delay, call, *arguments) -> None:
        self.later.append((self.now + delay, call, arguments))

    def say(self, _task, details) -> None:
        self.said.append(details)

    def run(self) -> None:
        soon, self.soon = self.soon, []
        due = [each for each in self.later if each[0] <= self.now]
        self.later = [each for each in self.later if each[0] > self.now]
        for call, arguments in [*soon, *(each[1:] for each in due)]:
            call(*arguments)


def _task() -> ClaimedTask:
    return ClaimedTask(
        incarnation=1, instance_id="order", orchestration_name="pay", orchestration_version="1.0.0", execution=1,
        event=2, name="copy", input=b"[]", scheduled_at=0,
    )  # fmt: skip


def test_ten_thousand_heartbeats_in_a_second_are_two_writes():
    desk = Desk()
    pulse = Pulse(_task(), desk)
    for number in range(10_000):
        pulse.beat(number)
        desk.run()
    assert desk.said == [sealed(b"0")]
    desk.now += 1
    desk.run()
    assert desk.said == [sealed(b"0"), sealed(b"9999")]


def test_what_is_said_after_the_end_is_heard_by_nobody():
    desk = Desk()
    pulse = Pulse(_task(), desk)
    pulse.beat("before")
    pulse.end()
    pulse.beat("after")
    desk.run()
    assert (desk.said, pulse.take()) == ([], sealed(b'"before"'))


def test_a_changed_byte_of_what_was_said_is_told():
    stored = sealed(b'"half"')
    assert read_details(stored, str, "copy") == "half"
    with pytest.raises(HistoryCorruptError, match="the stored heartbeat of activity copy"):
        read_details(stored.replace(b"half", b"calf"), str, "copy")


def test_each_heartbeat_begins_the_silence_anew():
    desk = Desk()
    pulse = Pulse(_task(), desk)
    silent: list[float] = []
    pulse.limit_silence(10.0, lambda: silent.append(desk.now))
    for moment in (5, 12, 21):
        desk.now = moment
        desk.run()
        pulse.beat(None)
    for moment in (30.9, 31, 60):
        desk.now = moment
        desk.run()
    assert silent == [31]


def test_an_attempt_that_says_nothing_has_no_pulse():
    attempt = Attempt(_task(), (1, 1, 2), Desk())
    assert (attempt.pulse, attempt.unsaid(), attempt.last(str)) == (None, None, None)


def test_a_stand_in_remembers_what_the_test_says():
    ctx = activity_context(last_heartbeat=7)
    ctx.heartbeat(8)
    assert ctx.last_heartbeat(int) == 7
    assert activity_context().last_heartbeat(int) is None
