"""What an instance's activities that have not ended are at: attempt, last error, next attempt, worker."""

import asyncio
from datetime import timedelta

import pytest

from perdure import (
    ActivityContext,
    Backoff,
    Client,
    InstanceNotFoundError,
    OrchestrationContext,
    Registry,
    RetryPolicy,
    Runtime,
    SyncClient,
    UsageError,
    activity,
    orchestration,
)

HOUR = timedelta(hours=1)
RARELY = RetryPolicy(5, backoff=Backoff.fixed(HOUR))

calls: list[str] = []
gates: list[asyncio.Event] = []


@activity(name="charge")
async def charge(ctx: ActivityContext, what: str) -> str:
    calls.append(what)
    if what == "declined":
        raise ValueError("no funds")
    await gates[0].wait()
    return what


@orchestration(name="pay")
async def pay(ctx: OrchestrationContext) -> list[str]:
    slow = ctx.schedule_activity(charge, "slow")
    declined = ctx.schedule_activity(charge, "declined", retry=RARELY)
    elsewhere = ctx.schedule_activity(charge, "elsewhere", tag="gpu")
    async with ctx.limit("till", 1):
        return [await slow, await declined, await elsewhere]


REGISTRY = Registry(charge, pay)


@pytest.fixture(autouse=True)
def _fresh():
    calls.clear()
    gates[:] = [asyncio.Event()]


async def listed(client: Client):
    """The open activities, once one has failed and one runs."""
    while True:
        found = await client.list_open_activities("a")
        if found and found[1].attempt == 2 and "slow" in calls:
            return found
        await asyncio.sleep(0)


async def test_each_says_which_attempt_it_is_why_the_last_failed_and_when_the_next_is_due(url):
    async with Runtime(url, REGISTRY, worker_name="till-1") as runtime:
        client = runtime.client
        await client.start_orchestration(pay, instance_id="a")

        slow, declined, elsewhere = await listed(client)

        assert (slow.event_id, slow.name, slow.state, slow.worker) == (2, "charge", "running", "till-1")
        assert (slow.attempt, slow.due_at, slow.last_error) == (1, None, None)
        assert (declined.state, declined.attempt, declined.last_error.message) == ("waiting", 2, "no funds")
        assert declined.due_at - declined.scheduled_at >= HOUR
        assert (elsewhere.state, elsewhere.tag, elsewhere.attempt) == ("waiting", "gpu", 1)
        assert elsewhere.due_at == elsewhere.scheduled_at
        assert len(await client.list_open_activities("a", limit=1)) == 1
        await client.terminate("a")


async def test_what_is_held_and_what_has_ended_say_so(url):
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        handle = await client.start_orchestration(pay, instance_id="a")
        await listed(client)
        await client.terminate("a")
        while not (await handle.status()).is_closed:
            await asyncio.sleep(0)
        assert await client.list_open_activities("a") == []
        with pytest.raises(InstanceNotFoundError):
            await client.list_open_activities("nobody")
        with pytest.raises(UsageError):
            await client.list_open_activities("a", limit=0)


def test_a_program_without_an_event_loop_does_the_same(database):
    async def begin() -> None:
        async with Client(database) as client:
            await client.start_orchestration(pay, instance_id="a")

    asyncio.run(begin())
    with SyncClient(database) as client:
        assert client.list_open_activities("a") == []
