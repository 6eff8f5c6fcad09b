"""A server that has no room, or takes no writes, for a while: orchestrations wait, and none of them fails."""

import asyncio

import pytest

from perdure import Client, ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration

GO = ExternalEvent[int]("go")
ORCHESTRATIONS = 20


@activity(name="add-one")
async def add_one(number: int) -> int:
    return number + 1


@orchestration(name="go-on")
async def go_on(ctx: OrchestrationContext) -> int:
    number = await ctx.schedule_wait(GO)
    for _ in range(3):
        number = await ctx.schedule_activity(add_one, number)
    return number


TROUBLE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = TG_ARGV[0]; END $$;
CREATE TRIGGER no_room BEFORE INSERT ON history FOR EACH ROW EXECUTE FUNCTION refuse('53100');
CREATE TRIGGER replica BEFORE INSERT ON history FOR EACH ROW EXECUTE FUNCTION refuse('25006');
ALTER TABLE history DISABLE TRIGGER USER;
"""


@pytest.fixture
def trouble(server, url):
    """A connection on which a trigger of the table of turns can be enabled."""
    with server.connect() as admin:
        admin.execute("SELECT set_config('search_path', %s, false)", [url.rpartition("=")[2]])
        yield admin
        admin.execute("DROP FUNCTION refuse CASCADE")


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("ALTER TABLE history ENABLE TRIGGER no_room", "ALTER TABLE history DISABLE TRIGGER no_room"),
        ("ALTER TABLE history ENABLE TRIGGER replica", "ALTER TABLE history DISABLE TRIGGER replica"),
    ],
    ids=["a full disk", "a replica"],
)
async def test_what_runs_waits_and_goes_on(url, trouble, caplog, begin, end):
    async with Runtime(url, Registry(add_one, go_on)) as runtime, Client(url) as client:
        handles = [await runtime.client.start_orchestration(go_on) for _ in range(ORCHESTRATIONS)]
        await asyncio.to_thread(trouble.execute, TROUBLE)
        await asyncio.to_thread(trouble.execute, begin)
        # What is left for an instance can be written, and what the instance makes of it can't.
        await asyncio.gather(*(client.raise_event(handle.instance_id, GO, 4) for handle in handles))
        while "the store is unavailable" not in caplog.text:
            await asyncio.sleep(0)
        await asyncio.to_thread(trouble.execute, end)
        assert await asyncio.gather(*(handle.result(timeout=30) for handle in handles)) == [7] * ORCHESTRATIONS
