"""The orchestrations by themselves: on test time, over a cluster in memory and a real CMS."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from examples.toygres import names
from examples.toygres.activities.connections import check_health
from examples.toygres.activities.connections import test_connection as ask_for_the_version
from examples.toygres.activity_types import HealthCheck, RecordState
from examples.toygres.cms import Cms
from examples.toygres.orchestrations.batch_create import batch_create
from examples.toygres.orchestrations.create_image import create_image
from examples.toygres.orchestrations.create_instance import create_instance
from examples.toygres.orchestrations.create_semaphore import create_semaphore
from examples.toygres.orchestrations.delete_instance import delete_instance
from examples.toygres.orchestrations.system_pruner import system_pruner
from examples.toygres.registry import make_registry
from examples.toygres.resources import Resources
from examples.toygres.types import (
    CHECK_NOW,
    ActorStatus,
    BatchCreateInput,
    BatchProgress,
    CreateImageInput,
    CreateInstanceInput,
    DeleteInstanceInput,
    Pace,
    SemaphoreState,
    SystemPrunerInput,
)
from perdure import InstanceNotFoundError, OrchestrationError, OrchestrationTerminatedError, Status
from perdure.testing import Environment
from tests.toygres.clusters import MemoryCluster

LOOK = HealthCheck(healthy=True, detail="PostgreSQL 18.6", at=datetime(2026, 1, 1, tzinfo=UTC), latency=timedelta())


@pytest.fixture
def cluster():
    return MemoryCluster()


@pytest.fixture
def cms(tmp_path):
    cms = Cms(tmp_path / "cms.db")
    yield cms
    cms.close()


@pytest.fixture
async def env(cluster, cms):
    @asynccontextmanager
    async def resources():
        yield Resources(cluster, cms)

    async with Environment(make_registry(resources)) as env:
        env.fake(ask_for_the_version, lambda _: "PostgreSQL 18.6")
        env.fake(check_health, lambda _: LOOK)
        await env.client.start_orchestration(create_semaphore, SemaphoreState(2), instance_id=names.CREATE_SEMAPHORE_ID)
        yield env


async def _create(env, server_id, **more):
    request = CreateInstanceInput(server_id, server_id, **more)
    return await env.client.start_orchestration(create_instance, request, instance_id=names.creation_id(server_id))


async def test_no_more_are_made_at_a_time_than_there_are_permits(env, cluster):
    creations = [await _create(env, f"s-{number}") for number in range(9)]

    made = [await creation.result() for creation in creations]

    assert len({each.server_id for each in made}) == 9
    assert cluster.busiest == 2
    await env.advance(0)
    semaphore = await env.client.get_status(names.CREATE_SEMAPHORE_ID)
    assert semaphore.custom_status == {"limit": 2, "holders": [], "waiting": []}


async def test_the_semaphore_keeps_what_it_knows_when_it_continues_as_new(env, cluster):
    creations = [await _create(env, f"s-{number}") for number in range(60)]

    for creation in creations:
        await creation.result()

    assert (await env.client.get_status(names.CREATE_SEMAPHORE_ID)).execution_id > 1
    assert cluster.busiest == 2


async def test_the_permit_of_an_instance_that_was_terminated_comes_back(env, cms):
    never = Pace(ready_every=timedelta(days=1), ready_patience=timedelta(days=9))
    stuck = [await _create(env, f"s-{number}", pace=never) for number in range(2)]
    # Who asks first is not who was started first.
    await env.advance(10)
    waiting = await _create(env, "s-2")
    await env.advance(10)
    assert (await waiting.status()).custom_status == "waiting for a permit"

    for creation in stuck:
        await creation.terminate("an impatient operator")
        with pytest.raises(OrchestrationTerminatedError):
            await creation.result()
    await env.advance(60)

    assert (await waiting.result()).name == "s-2"
    # Nobody could clean up after them; a delete does.
    await env.run(delete_instance, DeleteInstanceInput("s-0", "left behind"))
    await env.run(delete_instance, DeleteInstanceInput("s-1", "left behind"))
    assert [each.name for each in cms.list_servers()] == ["s-2"]


async def test_a_permit_that_never_comes_is_waited_for_so_long(env, cms):
    await env.client.terminate(names.CREATE_SEMAPHORE_ID)
    creation = await _create(env, "s-1", pace=Pace(permit_patience=timedelta(minutes=1)))

    with pytest.raises(OrchestrationError, match="TimeoutError"):
        await creation.result()

    assert cms.list_servers() == []


async def test_a_cancelled_create_gives_its_permit_and_its_name_back(env, cluster, cms):
    slow = Pace(ready_every=timedelta(days=1), ready_patience=timedelta(days=9))
    creation = await _create(env, "s-1", pace=slow)
    await env.advance(10)
    assert cluster.volumes == {"s-1": None}

    await creation.cancel("changed my mind")
    await env.advance(10)

    assert (await creation.status()).status is Status.CANCELLED
    assert (cluster.volumes, cms.list_servers()) == ({}, [])
    semaphore = await env.client.get_status(names.CREATE_SEMAPHORE_ID)
    assert semaphore.custom_status == {"limit": 2, "holders": [], "waiting": []}


async def test_a_batch_tells_how_far_it_is_and_what_failed(env, cms):
    await (await _create(env, "shard-2")).result()

    batch = await env.client.start_orchestration(batch_create, BatchCreateInput("shard", 4))
    counts = []
    for _ in range(20):
        await env.advance(0.5)
        told = (await batch.status()).custom_status_as(BatchProgress)
        counts.append(len(told.created) + len(told.failed))

    assert counts == sorted(counts)
    assert set(counts) >= {1, 3, 4}
    progress = await batch.result()
    assert (await batch.status()).custom_status_as(BatchProgress) == progress
    assert progress.is_complete
    assert sorted(progress.created) == ["shard-1", "shard-3", "shard-4"]
    assert "there is a server named 'shard-2' already" in progress.failed["shard-2"]
    assert len(cms.list_servers()) == 4


async def test_an_actor_looks_at_once_when_it_is_asked_to(env, cms):
    created = await (await _create(env, "s-1", pace=Pace(health_every=timedelta(hours=1)))).result()
    await env.advance(60)
    actor = env.client.get_handle(created.actor_id)
    assert (await actor.status()).custom_status_as(ActorStatus).iteration == 1
    dead = HealthCheck(healthy=False, detail="refused", at=LOOK.at, latency=timedelta())
    env.fake(check_health, lambda _: dead)

    for _ in range(3):
        await actor.raise_event(CHECK_NOW, "a test")
        await env.advance(1)

    seen = (await actor.status()).custom_status_as(ActorStatus)
    assert (seen.healthy, seen.iteration, seen.failures_in_a_row) == (False, 4, 3)
    assert [each.healthy for each in cms.list_health("s-1")] == [False, False, False, True]


async def test_an_actor_ends_with_its_server(env):
    created = await (await _create(env, "s-1")).result()
    actor = env.client.get_handle(created.actor_id)
    await env.advance(timedelta(minutes=10))

    deleted = await env.run(delete_instance, DeleteInstanceInput("s-1", "a test"))

    assert deleted.existed
    assert await actor.result() == 21
    again = await env.run(delete_instance, DeleteInstanceInput("s-1", "a test"))
    assert not again.existed


async def test_an_actor_whose_server_is_gone_ends_without_being_told(env, cms):
    created = await (await _create(env, "s-1")).result()
    await env.advance(1)

    cms.forget_server("s-1")

    assert await env.client.get_handle(created.actor_id).result() == 1


async def test_an_image_has_to_be_of_a_server_that_runs(env, cluster, cms):
    with pytest.raises(OrchestrationError, match="server 's-1' does not run"):
        await env.run(create_image, CreateImageInput("i-1", "nightly", "s-1"))
    assert cluster.images == {}

    await (await _create(env, "s-1")).result()
    await env.run(create_image, CreateImageInput("i-1", "nightly", "s-1"))

    (image,) = cms.list_images()
    assert (image.image_id, image.server_name, image.state) == ("i-1", "s-1", RecordState.READY)
    with pytest.raises(OrchestrationError, match="there is an image named 'nightly' already"):
        await env.run(create_image, CreateImageInput("i-2", "nightly", "s-1"))
    assert cluster.images == {"i-1": "s-1"}


async def test_the_pruner_deletes_what_ended_long_ago_and_nothing_else(env):
    old = await _create(env, "s-1")
    actor_id = (await old.result()).actor_id
    await env.advance(timedelta(minutes=50))
    young = await _create(env, "s-2")
    await young.result()
    keep, every = timedelta(hours=1), timedelta(minutes=5)
    pruner = await env.client.start_orchestration(system_pruner, SystemPrunerInput(keep, every))

    await env.advance(timedelta(minutes=20))

    with pytest.raises(InstanceNotFoundError):
        await old.status()
    assert (await young.status()).is_closed
    assert not (await env.client.get_status(actor_id)).is_closed
    status = await pruner.status()
    assert status.custom_status == {"rounds": 5, "deleted": 1}
    assert status.execution_id == 5
