"""An activity whose total time is over says what its last attempt failed with."""

import asyncio

import msgspec
import pytest

from perdure import ActivityTimeoutError, OrchestrationContext, Registry, RetryPolicy, Runtime, activity, orchestration
from perdure._context import ActivityServices
from perdure._runtime.activities import Activities
from perdure._runtime.inbox import Ended
from perdure._work import ClaimedTask, sealed
from perdure.errors import error_info_from_exception
from perdure.testing import ManualClock, SeededEntropy


class DeclinedError(Exception): ...


@activity(name="charge")
async def charge() -> None:
    raise AssertionError("it is too late to begin")


async def _end(clock, **options):
    """How a task ends that a worker is handed now."""
    ended = asyncio.get_running_loop().create_future()
    activities = Activities(
        registry=Registry(charge),
        clock=clock,
        entropy=SeededEntropy(1),
        slots=1,
        threads=1,
        put=ended.set_result,
        services=lambda _: ActivityServices(client=None),
    )
    task = ClaimedTask(
        incarnation=1, instance_id="order", orchestration_name="pay", orchestration_version="1.0.0", execution=1,
        event=2, name="charge", input=b"[]", scheduled_at=0, attempt=2, **options,
    )  # fmt: skip
    activities.accept([task])
    [entry] = await ended
    await activities.close(0)
    assert isinstance(entry, Ended)
    return entry.outcome


async def test_one_that_is_too_late_to_begin_again_tells_its_last_error():
    last = error_info_from_exception(DeclinedError("no money"))
    retry = sealed(RetryPolicy(9, total_timeout=60).wire_json)
    options = {"retry": retry, "deadline": 60_000_000}
    told = await _end(ManualClock(now_us=60_000_000), **options, last_error=sealed(msgspec.json.encode(last)))
    total = "it did not end within its total timeout of 60 s"
    assert told.timed_out
    assert told.error.message == f"{total}; the last attempt failed with {__name__}.DeclinedError: no money"
    assert (await _end(ManualClock(now_us=60_000_000), **options)).error.message == total


async def test_a_changed_byte_of_the_last_error_is_told_with_its_place():
    stored = bytearray(sealed(msgspec.json.encode(error_info_from_exception(DeclinedError("no money")))))
    stored[stored.index(b"money")] ^= 1
    retry = sealed(RetryPolicy(9, total_timeout=60).wire_json)
    told = await _end(ManualClock(now_us=60_000_000), retry=retry, deadline=60_000_000, last_error=bytes(stored))
    assert told.error.type.endswith("HistoryCorruptError")
    assert "the stored last error of activity 'charge' of instance 'order' (event 2)" in told.error.message


async def test_one_that_is_not_started_in_time_has_no_last_error():
    told = await _end(ManualClock(now_us=60_000_000), start_by=1_000_000)
    assert told.timed_out
    assert told.error.message == "it did not start within schedule_to_start: no worker with it was free in time"


async def test_one_that_is_cut_off_by_its_total_time_tells_why_it_was_tried_again():
    declined: list[BaseException] = [DeclinedError("no money")]

    @activity
    async def ask() -> None:
        if declined:
            raise declined.pop()
        await asyncio.Event().wait()

    @orchestration
    async def pay(ctx: OrchestrationContext) -> str:
        with pytest.raises(ActivityTimeoutError) as caught:
            await ctx.schedule_activity(ask, retry=RetryPolicy(9, total_timeout=0.2))
        return str(caught.value)

    async with Runtime("memory://", Registry(ask, pay)) as runtime:
        handle = await runtime.client.start_orchestration(pay)
        result = await handle.result()
    assert result.endswith(
        f"timed out after 2 attempts: it did not end within its total timeout of 0.2 s; "
        f"the last attempt failed with {__name__}.DeclinedError: no money"
    )
