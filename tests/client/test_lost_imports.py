"""An import whose answer was lost: whether it was written is found out, also where it had been imported before."""

import io

import pytest

from perdure import ExternalEvent, OrchestrationContext, orchestration
from perdure import _work as work
from perdure._client import EngineClient
from perdure._client.gateway import ThreadGateway
from perdure._ports import SystemClock, SystemEntropy
from perdure.errors import OutcomeUnknownError
from perdure.storage.memory import MemoryStorage

GO = ExternalEvent[str]("go")


@orchestration(name="wait")
async def wait(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


class Loses(MemoryStorage):
    """Breaks off at the next so many writes of images, before or after it has applied them."""

    def __init__(self, *, applies: bool):
        super().__init__()
        self.left = 0
        self.puts = 0
        self._applies = applies

    def commit(self, batch, /):
        if not any(isinstance(each, work.Put) for each in batch.items):
            return super().commit(batch)
        self.puts += 1
        if not self.left:
            return super().commit(batch)
        self.left -= 1
        if self._applies:
            super().commit(batch)
        raise OutcomeUnknownError("broke off")


@pytest.fixture
async def a_client():
    gateways = []

    def opened(storage) -> EngineClient:
        gateways.append(ThreadGateway(storage, SystemClock(), SystemEntropy()))
        return EngineClient(gateways[-1])

    yield opened
    for each in gateways:
        await each.close()


async def exported(client) -> io.BytesIO:
    file = io.BytesIO()
    await client.export_instances(file)
    file.seek(0)
    return file


@pytest.fixture
async def early_and_late(a_client):
    """An instance in a file, and in another as it was when something had been sent to it."""
    client = a_client(MemoryStorage())
    await client.start_orchestration(wait, instance_id="order")
    early = await exported(client)
    await client.raise_event("order", GO, "news")
    return early, await exported(client)


@pytest.mark.parametrize("applies", [False, True])
async def test_what_takes_the_place_of_an_earlier_import_is_written_before_that_is_said(
    a_client, early_and_late, applies
):
    early, late = early_and_late
    storage = Loses(applies=applies)
    client = a_client(storage)
    await client.import_instances(early)
    storage.left, storage.puts = 1, 0
    taken = await client.import_instances(late, on_conflict="replace")
    assert (taken.trees, taken.skipped) == (1, 0)
    [image] = storage.images(["order"])
    assert len(image.messages) == 2
    assert storage.puts == (1 if applies else 2)


async def test_an_earlier_import_that_stays_is_not_taken_for_the_one_that_was_lost(a_client, early_and_late):
    early, late = early_and_late
    storage = Loses(applies=False)
    client = a_client(storage)
    await client.import_instances(early)
    storage.left = 1
    taken = await client.import_instances(late, on_conflict="skip")
    assert (taken.trees, taken.skipped) == (0, 1)


async def test_what_was_not_there_and_is_there_after_a_lost_answer_was_written(a_client, early_and_late):
    _, late = early_and_late
    storage = Loses(applies=True)
    storage.left = 1
    taken = await a_client(storage).import_instances(late)
    assert (taken.trees, storage.puts) == (1, 1)
