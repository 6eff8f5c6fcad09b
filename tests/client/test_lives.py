"""A handle that a start returned is of that one life of its id; a handle by id is of whoever has the id."""

import asyncio

import pytest

from perdure import (
    Client,
    ExternalEvent,
    InstanceClosedError,
    InstanceNotFoundError,
    InstanceReplacedError,
    Key,
    OrchestrationContext,
    Query,
    Registry,
    Runtime,
    Status,
    Update,
    orchestration,
)

GO = ExternalEvent[str]("go")
NAME = Key[str]("name")
HELLO = Update[None, str]("hello")
LATER = Update[None, str]("later")
WHO = Query[None, str]("who")


@orchestration(name="greet")
async def greet(ctx: OrchestrationContext, name: str) -> str:
    async def later() -> str:
        ctx.set_custom_status("asked")
        return f"{name} {await ctx.schedule_wait('never')}"

    ctx.kv.set(NAME, name)
    ctx.set_custom_status(name)
    ctx.on_query(WHO, lambda: name)
    ctx.on_update(HELLO, lambda: f"hello {name}")
    ctx.on_update(LATER, later)
    return f"{await ctx.schedule_wait(GO)} {name}"


REGISTRY = Registry(greet)


@pytest.fixture
async def client(url):
    async with Runtime(url, REGISTRY) as runtime:
        yield runtime.client


async def start(client, name):
    """The life of this name has the id from now on, and has begun."""
    handle = await client.start_orchestration(greet, name, instance_id="i", on_conflict="terminate_and_restart")
    assert await handle.wait_for_kv(NAME, timeout=20) == name
    return handle


async def first_of(statuses):
    return await anext(statuses)


CALLS = {
    "raise_event": lambda handle: handle.raise_event(GO, "no"),
    "raise_event with a key": lambda handle: handle.raise_event(GO, "no", dedup_key="once"),
    "cancel": lambda handle: handle.cancel("no"),
    "terminate": lambda handle: handle.terminate("no"),
    "query": lambda handle: handle.query(WHO),
    "update": lambda handle: handle.update(HELLO),
    "update with a key": lambda handle: handle.update(HELLO, dedup_key="once"),
    "result": lambda handle: handle.result(timeout=5),
    "status": lambda handle: handle.status(),
    "watch": lambda handle: first_of(handle.watch()),
    "wait_for_status_change": lambda handle: handle.wait_for_status_change(),
    "kv": lambda handle: handle.kv(NAME),
    "kv_all": lambda handle: handle.kv_all(),
    "wait_for_kv": lambda handle: handle.wait_for_kv(NAME),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_nothing_reaches_who_has_replaced_it(client, call):
    # given
    old = await start(client, "Ada")
    new = await start(client, "Bob")
    # when
    with pytest.raises(InstanceReplacedError, match=r"'i' of this handle .* another one has its id.*get_handle\('i'\)"):
        await call(old)
    # then the other one goes on, and has heard of nothing
    await new.raise_event(GO, "hello")
    assert await new.result(timeout=20) == "hello Bob"
    kinds = [event.kind async for event in client.history("i")]
    assert kinds.count("EventRaised") == 1
    assert "UpdateAsked" not in kinds


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_nor_who_was_started_after_it_was_deleted(client, call):
    old = await start(client, "Ada")
    await client.delete("i", force=True)
    # While nobody has the id, nobody has taken its place.
    with pytest.raises(InstanceNotFoundError, match="there is no instance 'i' in this store"):
        await call(old)
    await start(client, "Bob")
    with pytest.raises(InstanceReplacedError):
        await call(old)


async def test_a_handle_by_id_reaches_whoever_has_it(client):
    by_id = client.get_handle("i", greet)
    for name in ("Ada", "Bob"):
        await start(client, name)
        assert (await by_id.query(WHO), await by_id.update(HELLO), await by_id.kv(NAME)) == (
            name,
            f"hello {name}",
            name,
        )
        assert (await by_id.status()).custom_status == name
    await by_id.raise_event(GO, "hello")
    assert await by_id.result(timeout=20) == "hello Bob"


async def test_a_handle_on_what_was_found_is_of_that(client):
    await start(client, "Ada")
    found = await client.start_orchestration(greet, "Cyd", instance_id="i", on_conflict="use_existing")
    assert await found.query(WHO) == "Ada"
    await start(client, "Bob")
    with pytest.raises(InstanceReplacedError):
        await found.raise_event(GO, "no")


async def test_it_is_refused_by_what_another_process_has_started(database):
    async with Runtime(database, REGISTRY) as runtime, Client(database) as elsewhere:
        old = await start(runtime.client, "Ada")
        await elsewhere.start_orchestration(greet, "Bob", instance_id="i", on_conflict="terminate_and_restart")
        with pytest.raises(InstanceReplacedError):
            await old.raise_event(GO, "no")
        await runtime.client.raise_event("i", GO, "hello")
        assert await elsewhere.get_handle("i", greet).result(timeout=20) == "hello Bob"


async def test_nor_does_an_event_in_ones_own_transaction_reach_another(database):
    async with Runtime(database, REGISTRY) as runtime:
        client = runtime.client
        old = await start(client, "Ada")
        new = await start(client, "Bob")
        async with client.transaction() as tx:
            with pytest.raises(InstanceReplacedError):
                await old.raise_event(GO, "no", connection=tx)
            await new.raise_event(GO, "hello", connection=tx)
        assert await new.result(timeout=20) == "hello Bob"


async def test_what_has_ended_says_so_as_long_as_it_is_there(client):
    handle = await start(client, "Ada")
    await handle.raise_event(GO, "hello")
    assert await handle.result(timeout=20) == "hello Ada"
    for call in ("raise_event", "cancel", "terminate", "query"):
        with pytest.raises(InstanceClosedError, match="has ended \\(completed\\)"):
            await CALLS[call](handle)
    assert (await handle.status()).status is Status.COMPLETED


async def test_who_waits_for_an_answer_hears_that_the_asked_one_was_replaced(client):
    # given an update by id whose handler is at work
    await start(client, "Ada")
    by_id = client.get_handle("i")
    answer = asyncio.create_task(by_id.update(LATER, timeout=20))
    assert (await by_id.wait_for_status_change(1)).custom_status == "asked"
    # when
    await start(client, "Bob")
    # then nobody waits for an answer of the other one, which was not asked
    with pytest.raises(InstanceReplacedError):
        await answer


@pytest.mark.parametrize("by_id", [True, False])
async def test_who_comes_between_the_look_and_the_question_is_asked_by_id_alone(client, by_id):
    # given somebody who is replaced when it is known whom to ask
    handle = await start(client, "Ada")
    if by_id:
        handle = client.get_handle("i")
    gateway = handle._gateway  # noqa: SLF001 - where it looks
    read, came = gateway.read, []

    async def read_and_replace(function, *arguments):
        found = await read(function, *arguments)
        if not came:
            came.append("Bob")
            await start(client, "Bob")
        return found

    gateway.read = read_and_replace
    # when
    try:
        answer = await handle.query(WHO)
    except InstanceReplacedError:
        answer = "nobody"
    # then
    assert (answer, came) == ("Bob" if by_id else "nobody", ["Bob"])
