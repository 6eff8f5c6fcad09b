"""A copy whose move is not done is no instance: whoever tells it something is refused, and nothing is lost."""

import io
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from perdure import (
    Client,
    ExternalEvent,
    InstanceComingError,
    OrchestrationContext,
    Registry,
    Runtime,
    Status,
    UsageError,
    orchestration,
)
from perdure import _work as work
from perdure._client import EngineClient
from perdure._client.gateway import ThreadGateway
from perdure._ports import SystemClock, SystemEntropy
from perdure.errors import StorageUnavailableError
from perdure.storage.memory import MemoryStorage

GO = ExternalEvent[str]("go")


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> list[str]:
    return [await ctx.schedule_wait(GO), await ctx.schedule_wait(GO)]


class BreaksOff(MemoryStorage):
    """Can't be reached whenever it is to say that something has moved, until it is mended."""

    is_mended = False

    def commit(self, batch, /):
        if not self.is_mended and any(isinstance(each, work.MoveOut) for each in batch.items):
            raise StorageUnavailableError("away")
        return super().commit(batch)


class Looks(MemoryStorage):
    """Looks who is a copy whenever one is to go on."""

    def __init__(self):
        super().__init__()
        self.copies: list[list[str]] = []

    def commit(self, batch, /):
        if any(isinstance(each, work.Resume) for each in batch.items):
            records = [row.record for row in self.rows.instances.values()]
            self.copies.append([each.id for each in records if work.is_copy(each.status, each.held_because)])
        return super().commit(batch)


@asynccontextmanager
async def a_client(storage):
    gateway = ThreadGateway(storage, SystemClock(), SystemEntropy())
    yield EngineClient(gateway)
    await gateway.close()


@pytest.fixture
def storage():
    return BreaksOff()


@pytest.fixture
async def here(storage):
    async with a_client(storage) as client:
        await client.start_orchestration(wait, instance_id="order")
        yield client


@pytest.fixture(params=["memory", "sqlite"])
async def there(request, tmp_path):
    opened = Client(f"sqlite:///{tmp_path / 'other.db'}") if request.param == "sqlite" else a_client(MemoryStorage())
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(opened)


async def left_in_the_middle(here, there):
    with pytest.raises(StorageUnavailableError):
        await here.move_instances(there)


TOLD = {
    "an event": lambda client: client.raise_event("order", GO, "lost"),
    "an event with a key": lambda client: client.raise_event("order", GO, "lost", dedup_key="lost"),
    "a cancel": lambda client: client.cancel("order"),
    "a terminate": lambda client: client.terminate("order"),
    "an update": lambda client: client.get_handle("order").update("change", 1),
    "a query": lambda client: client.get_handle("order").query("state"),
    "a suspend": lambda client: client.suspend("order", "audit"),
}


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
async def test_who_tells_a_copy_something_is_refused(here, there, told):
    await left_in_the_middle(here, there)
    with pytest.raises(InstanceComingError, match="'order' is coming from another store, and its move is not done"):
        await told(there)


async def test_what_is_sent_where_it_comes_from_is_there_when_the_move_is_done(storage, here, there):
    await left_in_the_middle(here, there)
    await here.raise_event("order", GO, "before")
    storage.is_mended = True
    assert (await here.move_instances(there)).trees == 1

    await there.raise_event("order", GO, "after")
    file = io.BytesIO()
    await there.export_instances(file)
    async with Runtime("memory://", Registry(wait)) as runtime:
        await runtime.client.import_instances(io.BytesIO(file.getvalue()), run=True)
        assert await runtime.client.get_handle("order").result() == ["before", "after"]


async def test_an_event_in_a_transaction_of_ones_own_is_refused_too(tmp_path, here):
    async with Client(f"sqlite:///{tmp_path / 'other.db'}") as there:
        await left_in_the_middle(here, there)
        async with there.transaction() as tx:
            with pytest.raises(InstanceComingError):
                await there.raise_event("order", GO, "lost", connection=tx)


async def test_what_waits_for_a_person_when_the_move_is_done_is_a_copy_no_more(storage, here, there):
    storage.is_mended = True
    await here.move_instances(there, run=False)
    status = await there.get_status("order")
    assert status.status is Status.SUSPENDED
    assert status.held_because == "come from another store: resume it to let it go on (1)"
    await there.raise_event("order", GO, "kept")
    await there.resume("order")
    assert (await there.get_status("order")).status is Status.PENDING


async def test_who_was_suspended_for_no_reason_stays_so_for_none(storage, here, there):
    storage.is_mended = True
    await here.suspend("order")
    await here.move_instances(there)
    status = await there.get_status("order")
    assert (status.status, status.held_because) == (Status.SUSPENDED, "")


async def test_before_the_first_goes_on_none_is_a_copy(storage, here):
    storage.is_mended = True
    await here.start_orchestration(wait, instance_id="second")
    looks = Looks()
    async with a_client(looks) as there:
        await here.move_instances(there)
        assert [each.status for each in (await there.list_instances()).items] == [Status.PENDING] * 2
    assert looks.copies
    assert not any(looks.copies)


async def test_a_copy_that_comes_out_of_a_file_is_an_instance(here, there):
    await left_in_the_middle(here, there)
    file = io.BytesIO()
    await there.export_instances(file)
    async with a_client(MemoryStorage()) as third:
        await third.import_instances(io.BytesIO(file.getvalue()))
        await third.raise_event("order", GO, "kept")
        assert (await third.get_status("order")).held_because == "imported: resume it to let it go on"


async def test_nobody_suspends_for_the_reason_of_copies(here):
    with pytest.raises(UsageError, match="with these words moves mark their copies"):
        await here.suspend("order", "coming from another store: it goes on when the move is done, I think")
