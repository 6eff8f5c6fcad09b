"""Instances move between a file and a server, with everything that belongs to them."""

from perdure import Client, ExternalEvent, OrchestrationContext, Registry, Runtime, activity, orchestration

GO = ExternalEvent[str]("go")


@activity(name="charge")
async def charge(what: str) -> str:
    return f"charged {what}"


@orchestration(name="child")
async def child(ctx: OrchestrationContext, what: str) -> str:
    first = await ctx.schedule_activity(charge, what)
    return f"{first}, {await ctx.schedule_wait(GO)}"


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext) -> str:
    ctx.set_custom_status("waits")
    return await ctx.schedule_sub_orchestration(child, "it", instance_id="child")


REGISTRY = Registry(charge, child, parent)


async def test_a_tree_moves_from_a_file_to_a_server_and_back(url, tmp_path):
    file = f"sqlite:///{tmp_path / 'shop.db'}"
    async with Client(file) as here, Client(url) as there:
        await here.start_orchestration(parent, instance_id="parent")
        async with Runtime(file, REGISTRY) as runtime:
            while not any(event.kind == "WaitStarted" for event in await _events(runtime.client, "child")):
                pass
        await here.raise_event("child", "noise", 1)
        assert (await here.move_instances(there)).instances == 2
        async with Runtime(url, REGISTRY) as runtime:
            assert (await runtime.client.get_status("parent")).custom_status == "waits"
        assert (await there.move_instances(here)).instances == 2
        await here.raise_event("child", GO, "home")
        async with Runtime(file, REGISTRY) as runtime:
            assert await runtime.client.get_handle("parent").result() == "charged it, home"


async def _events(client: Client, instance_id: str) -> list:
    try:
        return [event async for event in client.history(instance_id)]
    except LookupError:
        return []
