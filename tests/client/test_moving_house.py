"""Instances go to another store: by a file that it takes in, or so that they run in one place at any time."""

import asyncio
import io
import json
import zlib

import pytest

from perdure import (
    ActivityContext,
    Client,
    ExportFileError,
    ExternalEvent,
    InstanceClosedError,
    InstanceExistsError,
    InstanceMovedError,
    InstanceNotFoundError,
    Key,
    OrchestrationContext,
    Registry,
    RewindError,
    Runtime,
    Status,
    SyncClient,
    UsageError,
    activity,
    orchestration,
)

GO = ExternalEvent[str]("go")
NOTE = Key[str]("note")

ran: list[tuple[str, str]] = []
gates: list[asyncio.Event] = []


@activity(name="charge")
async def charge(ctx: ActivityContext, what: str) -> str:
    ran.append((what, ctx.idempotency_key))
    if what == "slow" and len(ran) == 1:
        await gates[0].wait()
    return f"charged {what}"


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext, what: str) -> str:
    ctx.set_custom_status({"at": "first"})
    ctx.kv.set(NOTE, what)
    first = await ctx.schedule_activity(charge, what)
    return f"{first}, then {await ctx.schedule_wait(GO)}"


@orchestration(name="parent")
async def parent(ctx: OrchestrationContext) -> str:
    children = [ctx.schedule_sub_orchestration(wait, f"child {number}") for number in range(3)]
    return " | ".join(await asyncio.gather(*children))


@orchestration(name="round")
async def round_(ctx: OrchestrationContext, count: int) -> str:
    await ctx.schedule_wait(GO)
    if count < 2:
        ctx.continue_as_new(count + 1)
    return f"round {count}"


REGISTRY = Registry(charge, wait, parent, round_)


@pytest.fixture(autouse=True)
def _fresh():
    ran.clear()
    gates[:] = [asyncio.Event()]


@pytest.fixture
def other(tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'other.db'}"


async def settled(client: Client, instance_id: str = "order") -> None:
    """Its first activity has ended, and it waits."""
    while "WaitStarted" not in [event.kind async for event in client.history(instance_id)]:
        await asyncio.sleep(0)


async def exported(client: Client, **options) -> io.BytesIO:
    file = io.BytesIO()
    await client.export_instances(file, **options)
    return file


async def an_export(url: str) -> bytes:
    """A file with an instance that waits for an external event, of which one is unread."""
    async with Runtime(url, REGISTRY) as runtime:
        client = runtime.client
        await client.start_orchestration(wait, "order", instance_id="order", attributes={"vip": True})
        await settled(client)
        await client.raise_event("order", "other", 7)
        file = await exported(client)
    return file.getvalue()


async def test_what_is_imported_waits_until_it_is_resumed_and_goes_on_where_it_was(url, other):
    data = await an_export(url)
    async with Runtime(other, REGISTRY) as runtime:
        client = runtime.client
        told = await client.import_instances(io.BytesIO(data))
        assert (told.trees, told.instances, told.skipped) == (1, 1, 0)
        status = await client.get_status("order")
        assert (status.status, status.held_because) == (Status.SUSPENDED, "imported: resume it to let it go on")
        assert status.custom_status == {"at": "first"}
        handle = client.get_handle("order")
        assert await handle.kv(NOTE) == "order"
        await client.raise_event("order", GO, "done")
        await client.resume("order")
        assert await handle.result() == "charged order, then done"
        assert len(ran) == 1


async def test_an_exported_instance_goes_on_where_it_is(database, other):
    async with Runtime(database, REGISTRY) as runtime:
        handle = await runtime.client.start_orchestration(wait, "order", instance_id="order")
        await settled(runtime.client)
        await exported(runtime.client)
        await handle.raise_event(GO, "done")
        assert await handle.result() == "charged order, then done"


async def test_executions_attributes_and_children_come_along(database, other):
    async with Runtime(database, REGISTRY) as runtime:
        client = runtime.client
        handle = await client.start_orchestration(round_, 1, instance_id="round", attributes={"size": 3})
        await client.raise_event("round", GO, "x")
        while (await handle.status()).execution_id == 1:
            await asyncio.sleep(0)
        await client.start_orchestration(parent, instance_id="parent")
        while len(ran) < 3:
            await asyncio.sleep(0)
        file = await exported(client)
        tree = await client.get_tree("parent")
    async with Runtime(other, REGISTRY) as runtime:
        client = runtime.client
        file.seek(0)
        assert (await client.import_instances(file, run=True)).instances == 5
        assert [each.execution_id for each in await client.list_executions("round")] == [1, 2]
        found = await client.list_instances(attributes={"size": 3})
        assert [each.instance_id for each in found.items] == ["round"]
        moved = await client.get_tree("parent")
        assert [each.instance_id for _, each in moved.walk()] == [each.instance_id for _, each in tree.walk()]
        for child in moved.children:
            await client.raise_event(child.instance.instance_id, GO, "go")
        assert (await client.get_handle("parent").result()).count("then go") == 3
        await client.raise_event("round", GO, "x")
        assert await client.get_handle("round").result() == "round 2"


async def test_an_activity_that_runs_at_the_export_runs_again_with_the_same_idempotency_key(database, other):
    async with Runtime(database, REGISTRY) as runtime:
        await runtime.client.start_orchestration(wait, "slow", instance_id="order")
        while not ran:
            await asyncio.sleep(0)
        file = await exported(runtime.client)
        gates[0].set()
    async with Runtime(other, REGISTRY) as runtime:
        file.seek(0)
        await runtime.client.import_instances(file, run=True)
        await runtime.client.raise_event("order", GO, "done")
        assert await runtime.client.get_handle("order").result() == "charged slow, then done"
    assert len(ran) == 2
    assert ran[0] == ran[1]


async def test_a_taken_id_writes_nothing_unless_a_policy_says_otherwise(database, other):
    data = await an_export(database)
    async with Client(other) as client:
        await client.start_orchestration("wait", "mine", instance_id="order")
        with pytest.raises(InstanceExistsError):
            await client.import_instances(io.BytesIO(data))
        with pytest.raises(InstanceExistsError):
            await client.import_instances(io.BytesIO(data), on_conflict="replace")
        assert (await client.import_instances(io.BytesIO(data), on_conflict="skip")).skipped == 1
        await client.delete("order", force=True)
        await client.import_instances(io.BytesIO(data))
        assert (await client.import_instances(io.BytesIO(data), on_conflict="replace")).trees == 1


def _resealed(lines: list[bytes]) -> bytes:
    """The file with the checksum of its one tree made right again."""
    body = b"".join(line + b"\n" for line in lines[1:-2])
    tree = json.dumps({"t": "tree", "lines": len(lines) - 3, "crc": zlib.crc32(body)}).encode()
    return lines[0] + b"\n" + body + tree + b"\n" + lines[-1] + b"\n"


def _edited(old: bytes, new: bytes):
    def edit(data: bytes) -> bytes:
        assert old in data
        return _resealed(data.replace(old, new, 1).splitlines())

    return edit


WRONG = {
    "nothing": lambda data: data[:0],
    "no export": lambda data: data.splitlines(keepends=True)[1],
    "a newer format": lambda data: data.replace(b'"format":1', b'"format":2', 1),
    "cut in a line": lambda data: data[:-5],
    "without its end": lambda data: b"\n".join(data.splitlines()[:-1]) + b"\n",
    "with something behind it": lambda data: data + b"{}\n",
    "a byte changed": lambda data: data.replace(b'"order"', b'"orfer"', 1),
    "a line gone": lambda data: b"".join(line + b"\n" for at, line in enumerate(data.splitlines()) if at != 2),
    "an unknown field": _edited(b'"t":"instance"', b'"t":"instance","wild":1'),
    "another event": _edited(b"charged order", b"changed order"),
    "an ended instance that waits": _edited(b'"status":"running"', b'"status":"completed"'),
    "more events than there are": _edited(b'"last_event":', b'"last_event":1'),
    "an id with a NUL": _edited(b'"id":"order"', b'"id":"or\\u0000er"'),
    "a number beyond 64 bits": _edited(b'"ready_at":', b'"ready_at":99999999999999'),
    "no place in the tree": _edited(
        b'"root":"order"',
        b'"root":"order","parent":{"instance_id":"x","incarnation":5,"execution":1,"event":2}',
    ),
    "from a newer engine": _edited(b'"root":"order"', b'"root":"order","min_reader":99'),
    "counted otherwise": lambda data: data.replace(b'"trees":1', b'"trees":2'),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_file_that_is_not_as_it_was_written_is_refused_and_nothing_is_written(wrong, tmp_path):
    data = WRONG[wrong](await an_export("memory://"))
    async with Client(tmp_path / "other.db") as client:
        with pytest.raises(ExportFileError, match="nothing was written"):
            await client.import_instances(io.BytesIO(data))
        assert (await client.list_instances()).items == []


async def test_what_waits_must_have_been_asked_for(database, other):
    async with Runtime(database, REGISTRY) as runtime:
        await runtime.client.start_orchestration(wait, "slow", instance_id="order")
        while not ran:
            await asyncio.sleep(0)
        data = (await exported(runtime.client)).getvalue()
        gates[0].set()
    async with Client(other) as client:
        for old, new in ((b'"name":"charge"', b'"name":"refund"'), (b'"t":"activity","execution":1,"event":', None)):
            changed = _edited(old, new)(data) if new else _edited(old, old + b"9")(data)
            with pytest.raises(ExportFileError, match="nothing has asked for activity"):
                await client.import_instances(io.BytesIO(changed))


async def test_only_roots_are_exported_and_no_file_is_overwritten(database, tmp_path):
    async with Runtime(database, REGISTRY) as runtime:
        client = runtime.client
        await client.start_orchestration(parent, instance_id="parent")
        while len(ran) < 3:
            await asyncio.sleep(0)
        child = (await client.get_tree("parent")).children[0].instance.instance_id
        with pytest.raises(UsageError, match="it goes with its root, 'parent'"):
            await client.export_instances(tmp_path / "a.jsonl", instance_ids=[child])
        with pytest.raises(InstanceNotFoundError):
            await client.export_instances(tmp_path / "a.jsonl", instance_ids=["nobody"])
        with pytest.raises(UsageError, match="a list of ids"):
            await client.export_instances(tmp_path / "a.jsonl", instance_ids="parent")
        assert not (tmp_path / "a.jsonl").exists()
        await client.export_instances(tmp_path / "a.jsonl", instance_ids=["parent"])
        with pytest.raises(FileExistsError):
            await client.export_instances(tmp_path / "a.jsonl")


async def test_moved_instances_run_there_and_no_more_here(url, other):
    async with Runtime(url, REGISTRY) as here, Runtime(other, REGISTRY) as there:
        handle = await here.client.start_orchestration(wait, "order", instance_id="order")
        await here.client.start_orchestration(parent, instance_id="parent")
        await settled(here.client)
        while len(ran) < 4:
            await asyncio.sleep(0)
        told = await here.client.move_instances(there.client)
        assert (told.trees, told.instances) == (2, 5)
        status = await handle.status()
        assert status.status is Status.MOVED
        with pytest.raises(InstanceMovedError, match="other.db"):
            await handle.result()
        with pytest.raises(InstanceClosedError):
            await here.client.raise_event("order", GO, "late")
        await there.client.raise_event("order", GO, "done")
        assert await there.client.get_handle("order").result() == "charged order, then done"
        for child in (await there.client.get_tree("parent")).children:
            await there.client.raise_event(child.instance.instance_id, GO, "go")
        assert (await there.client.get_handle("parent").result()).count("then go") == 3
        assert len(ran) == 4
        assert await here.client.delete("order") == 1


async def test_what_has_moved_goes_back_and_is_forked_only_where_it_went(url, other):
    async with Runtime(url, REGISTRY) as here, Runtime(other, REGISTRY) as there:
        client = here.client
        await client.start_orchestration(parent, instance_id="parent")
        while "ChildScheduled" not in [event.kind async for event in client.history("parent")]:
            await asyncio.sleep(0)
        await client.move_instances(there.client)

        for ask in (
            client.fork("parent", "fork", run=True),
            client.reset("parent", to="start"),
            client.rewind("parent"),
        ):
            with pytest.raises(RewindError, match=r"can't (be forked|go back): it has moved to .*: ask for it there"):
                await ask
        with pytest.raises(InstanceNotFoundError):
            await client.get_status("fork")


async def test_an_activity_that_runs_may_end_before_the_instance_moves(database, other):
    async with Runtime(database, REGISTRY) as here, Runtime(other, REGISTRY) as there:
        await here.client.start_orchestration(wait, "slow", instance_id="order")
        while not ran:
            await asyncio.sleep(0)
        moving = asyncio.ensure_future(here.client.move_instances(there.client))
        while (await here.client.get_status("order")).status is not Status.SUSPENDED:
            await asyncio.sleep(0)
        gates[0].set()
        await moving
        await there.client.raise_event("order", GO, "done")
        assert await there.client.get_handle("order").result() == "charged slow, then done"
    assert len(ran) == 1


async def test_an_activity_that_does_not_end_is_given_up_here_and_runs_there(database, other):
    async with Runtime(database, REGISTRY) as here, Runtime(other, REGISTRY) as there:
        await here.client.start_orchestration(wait, "slow", instance_id="order")
        while not ran:
            await asyncio.sleep(0)
        await here.client.move_instances(there.client, grace=0)
        gates[0].set()
        await there.client.raise_event("order", GO, "done")
        assert await there.client.get_handle("order").result() == "charged slow, then done"
    assert len(ran) == 2
    assert ran[0] == ran[1]


async def test_a_move_that_broke_off_goes_on_when_it_is_asked_for_again(database, other):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await here.client.start_orchestration(wait, "order", instance_id="order")
        await settled(here.client)
        # What a move does up to the moment at which its process dies.
        await here.client.suspend("order", "moving to another store")
        copy = await exported(here.client)
        copy.seek(0)
        await there.import_instances(copy)
        await here.client.raise_event("order", GO, "meanwhile")
        assert (await here.client.move_instances(there, run=False)).trees == 1
        assert (await there.get_status("order")).status is Status.SUSPENDED
        assert (await here.client.move_instances(there)).skipped == 1
        assert (await there.get_status("order")).status is Status.RUNNING
    async with Runtime(other, REGISTRY) as runtime:
        assert await runtime.client.get_handle("order").result() == "charged order, then meanwhile"


async def test_a_tree_whose_id_is_taken_there_stays_and_goes_on(database, other):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await here.client.start_orchestration(wait, "order", instance_id="order")
        await here.client.start_orchestration(wait, "second", instance_id="second")
        await settled(here.client)
        await settled(here.client, "second")
        await there.start_orchestration("wait", "another", instance_id="order")
        with pytest.raises(InstanceExistsError):
            await here.client.move_instances(there)
        assert (await here.client.get_status("second")).status is Status.MOVED
        await here.client.raise_event("order", GO, "done")
        assert await here.client.get_handle("order").result() == "charged order, then done"


async def test_an_instance_comes_home_again(database, other):
    async with Runtime(database, REGISTRY) as here, Client(other) as there:
        await here.client.start_orchestration(wait, "order", instance_id="order")
        await settled(here.client)
        await here.client.move_instances(there)
        await there.raise_event("order", GO, "abroad")
        await there.move_instances(here.client)
        assert await here.client.get_handle("order").result() == "charged order, then abroad"


async def test_what_has_moved_is_in_no_export_of_what_stays(database, other, tmp_path):
    async with Runtime(database, REGISTRY) as runtime, Client(other) as there:
        for name in ("goes", "stays"):
            handle = await runtime.client.start_orchestration(wait, name, instance_id=name)
            await handle.wait_for_kv(NOTE)
        await runtime.client.move_instances(there, instance_ids=["goes"])
        written = await runtime.client.export_instances(tmp_path / "all.jsonl")
        assert (written.trees, written.skipped) == (1, 1)
        with pytest.raises(InstanceMovedError, match="instance 'goes' has moved to .*: ask for it there"):
            await runtime.client.export_instances(tmp_path / "one.jsonl", instance_ids=["goes"])
        assert not (tmp_path / "one.jsonl").exists()
        taken = await there.import_instances(tmp_path / "all.jsonl")
        assert taken.trees == 1


async def test_nothing_moves_to_where_it_is(database):
    async with Client(database) as here, Client(database) as there:
        with pytest.raises(UsageError, match="the store that the instances are in"):
            await here.move_instances(there)


def test_a_program_without_an_event_loop_does_the_same(database, other, tmp_path):
    with SyncClient(database) as here, SyncClient(other) as there:
        here.start_orchestration("wait", "a", instance_id="a")
        here.start_orchestration("wait", "b", instance_id="b")
        assert here.export_instances(tmp_path / "a.jsonl", instance_ids=["a"]).trees == 1
        assert there.import_instances(tmp_path / "a.jsonl").trees == 1
        assert here.move_instances(there, instance_ids=["b"]).trees == 1
        assert [each.status for each in there.list_instances().items] == [Status.PENDING, Status.SUSPENDED]


async def test_many_move_a_hundred_at_a_time(database, other):
    async with Client(database) as here, Client(other) as there:
        await here.start_many("wait", ((f"order-{number}", "x") for number in range(250)))
        assert (await here.move_instances(there, status="pending")).trees == 250
        assert [(each.status, each.count) for each in await there.count_instances()] == [(Status.PENDING, 250)]
        assert [(each.status, each.count) for each in await here.count_instances()] == [(Status.MOVED, 250)]


@orchestration(name="in-section")
async def in_section(ctx: OrchestrationContext) -> str:
    async with ctx.limit("till", 1):
        ctx.set_custom_status("inside")
        word = await ctx.schedule_wait(GO)
    return f"{word} from {ctx.instance_id}"


async def both_in_line(client: Client) -> None:
    """One has the place, the other waits for it."""
    for each in ("first", "second"):
        handle = await client.start_orchestration(in_section, instance_id=each)
        if each == "first":
            await handle.wait_for_status_change()
    while len(await client.list_limit_users("till")) < 2:
        await asyncio.sleep(0)


async def all_come_out(client: Client) -> None:
    assert [(each.instance_id, each.running) for each in await client.list_limit_users("till")] == [
        ("first", True),
        ("second", False),
    ]
    for each in ("first", "second"):
        await client.raise_event(each, GO, "out")
        assert await client.get_handle(each).result() == f"out from {each}"
    assert await client.list_limits() == []


async def test_who_has_a_place_of_a_limit_has_it_there_and_who_waits_waits_there(url, other):
    sections = Registry(in_section)
    async with Runtime(url, sections) as here, Runtime(other, sections) as there:
        await both_in_line(here.client)
        await here.client.move_instances(there.client, instance_ids=["first", "second"])
        await all_come_out(there.client)
        assert await here.client.list_limits() == []


@pytest.mark.parametrize("run", [True, False])
async def test_places_come_with_a_file_too(url, other, run):
    sections = Registry(in_section)
    async with Runtime(url, sections) as runtime:
        await both_in_line(runtime.client)
        file = await exported(runtime.client)
    file.seek(0)
    async with Runtime(other, sections) as runtime:
        client = runtime.client
        await client.import_instances(file, run=run)
        assert await client.list_held_activities() == []
        if not run:
            for each in ("first", "second"):
                await client.resume(each)
        await all_come_out(client)
