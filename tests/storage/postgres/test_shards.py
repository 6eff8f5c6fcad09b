"""One store on two databases: what an instance does to one on the other happens once, in order, whatever breaks."""

import asyncio

import pytest
from msgspec.structs import replace

from perdure import (
    Client,
    Every,
    InstanceNotFoundError,
    InstanceOpenError,
    Limit,
    OrchestrationContext,
    OrchestrationError,
    Registry,
    Retention,
    Runtime,
    Status,
    UsageError,
    activity,
    orchestration,
)
from perdure._client import shards
from perdure._client.shards import ShardedInspector
from perdure._ports import SystemClock, SystemEntropy
from perdure._work import Batch, Parcel, Query, Settle, ShardStamp
from perdure.storage import open_storage, open_storages
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import ManualClock
from tests.storage.postgres.sharded import (
    KEPT,
    SAID,
    abandoning,
    asking,
    catching,
    child,
    family,
    hurrying,
    keeping,
    listening,
    nested,
    on,
    parent,
    patient,
    reading,
    registry,
    talking,
    waiting_parent,
)


async def test_instances_lie_where_their_ids_say(urls):
    async with Runtime(urls, registry) as runtime:
        ids = [on(0), on(1), on(0, "other"), on(1, "other")]
        handles = [await runtime.client.start_orchestration(child, each, instance_id=each) for each in ids]
        assert [await each.result() for each in handles] == [each.upper() for each in ids]
        left, right = ({each.id for each in storage.find(Query())[0]} for storage in _storages(runtime))
    assert (left, right) == ({ids[0], ids[2]}, {ids[1], ids[3]})


async def test_a_tree_without_ids_of_its_own_stays_together(urls):
    async with Runtime(",".join(urls), registry) as runtime:
        for number in (0, 1):
            await (await runtime.client.start_orchestration(nested, 2, instance_id=on(number))).result()
            tree = [each.id for each in _storages(runtime)[number].family(on(number), 10)]
            assert len(tree) == len(["root", "child", "grandchild"])


async def test_an_activity_asks_the_other_shard_by_its_client(urls):
    async with Runtime(urls, registry) as runtime:
        handle = await runtime.client.start_orchestration(asking, on(0), instance_id=on(1))
        assert await handle.result() == "ASKED"


@pytest.mark.parametrize(("above", "below"), [(0, 1), (1, 0)])
async def test_a_child_on_the_other_shard_gives_its_result(urls, above, below):
    async with Runtime(urls, registry) as runtime:
        handle = await runtime.client.start_orchestration(parent, on(below, "child"), instance_id=on(above))
        assert await handle.result() == "FAR"
        tree = await runtime.client.get_tree(on(above))
        assert [each.instance.instance_id for each in tree.children] == [on(below, "child")]
        await _all_is_delivered(runtime)


async def test_many_children_on_both_shards(urls):
    names = [f"child-{n}" for n in range(40)]
    async with Runtime(urls, registry) as runtime:
        handle = await runtime.client.start_orchestration(family, names, instance_id=on(0))
        assert await handle.result() == [name.upper() for name in names]
        assert len((await runtime.client.list_instances(parent=on(0))).items) == len(names)
        await _all_is_delivered(runtime)


async def test_a_worker_tells_what_it_has_done_on_both_shards(urls):
    async with Runtime(urls, registry) as runtime:
        for number in (0, 1):
            await (await runtime.client.start_orchestration(child, "x", instance_id=on(number))).result()
        told = runtime.metrics()
        assert [(each.name, each.completed) for each in told.orchestrations] == [(child.name, 2)]
        assert [each.completed for each in told.activities] == [2]
        assert told.orchestrations[0].seconds.count == 2


async def test_a_child_on_the_other_shard_fails(urls):
    async with Runtime(urls, registry) as runtime:
        handle = await runtime.client.start_orchestration(catching, on(1, "child"), instance_id=on(0))
        assert "broken" in await handle.result()


async def test_a_child_whose_id_is_taken_there_is_refused(urls):
    async with Runtime(urls, registry) as runtime:
        await (await runtime.client.start_orchestration(child, "x", instance_id=on(1, "child"))).result()
        handle = await runtime.client.start_orchestration(parent, on(1, "child"), instance_id=on(0))
        with pytest.raises(OrchestrationError, match="is taken"):
            await handle.result()
        await _all_is_delivered(runtime)


async def test_a_cancelled_parent_cancels_its_child_on_the_other_shard(urls):
    async with Runtime(urls, registry) as runtime:
        handle = await runtime.client.start_orchestration(hurrying, on(1, "child"), instance_id=on(0))
        assert await handle.result() == "cancelled"
        await _there_is(runtime.client, on(1, "child"))
        far = runtime.client.get_handle(on(1, "child"))
        with pytest.raises(OrchestrationError):
            await far.result()
        assert (await far.status()).status is Status.CANCELLED


async def test_events_and_detached_starts_arrive_in_order(urls):
    async with Runtime(urls, registry) as runtime:
        await runtime.client.start_orchestration(talking, on(1, "listener"), instance_id=on(0))
        listener = runtime.client.get_handle(on(1, "listener"))
        await _there_is(runtime.client, on(1, "listener"))
        assert await listener.result() == ["one", "two", "three"]
        await _all_is_delivered(runtime)


async def test_what_was_sent_while_the_courier_was_away_is_delivered_by_the_next_worker(urls):
    runtime = Runtime(urls, registry)
    async with runtime:
        # As if the worker died between the commit of the outbox and the delivery.
        runtime._courier.stop()  # noqa: SLF001 - a death at a certain point
        handle = await runtime.client.start_orchestration(talking, on(1, "listener"), instance_id=on(0))
        await handle.result()
        assert len(_storages(runtime)[0].parcels(1, 100)) == len(["start", "one", "two", "three", "end"])
    async with Runtime(urls, registry) as runtime:
        await _there_is(runtime.client, on(1, "listener"))
        assert await runtime.client.get_handle(on(1, "listener")).result() == ["one", "two", "three"]
        await _all_is_delivered(runtime)


async def test_what_was_delivered_and_not_settled_happens_once(urls):
    runtime = Runtime(urls, registry)
    async with runtime:
        left = _storages(runtime)[0]
        kept: list[Parcel] = []
        commit = left.commit

        def forgetful(batch: Batch):
            # As if the worker died between the delivery and its end: the parcels stay.
            if any(isinstance(each, Settle) for each in batch.items):
                kept.extend(left.parcels(1, 100))
                batch = _without_settling(batch)
            return commit(batch)

        left.commit = forgetful
        await (await runtime.client.start_orchestration(talking, on(1, "listener"), instance_id=on(0))).result()
        await _there_is(runtime.client, on(1, "listener"))
        assert await runtime.client.get_handle(on(1, "listener")).result() == ["one", "two", "three"]
    assert kept
    async with Runtime(urls, registry) as runtime:
        await _all_is_delivered(runtime)
        assert await runtime.client.get_handle(on(1, "listener")).result() == ["one", "two", "three"]
        assert len((await runtime.client.list_instances()).items) == len(["talking", "listening"])


async def test_two_workers_deliver_for_each_other(urls):
    async with Runtime(urls, registry) as first, Runtime(urls, registry) as second:
        names = [f"child-{n}" for n in range(20)]
        handles = [
            await runtime.client.start_orchestration(family, [f"{n}-{name}" for name in names], instance_id=f"root-{n}")
            for n, runtime in enumerate([first, second] * 3)
        ]
        for n, handle in enumerate(handles):
            assert await handle.result() == [f"{n}-{name}".upper() for name in names]
        await _all_is_delivered(first)
        assert len(await first.client.list_workers()) == 2


async def test_a_client_alone_speaks_to_both_shards(urls):
    async with Runtime(urls, registry), Client(urls) as client:
        ids = [on(0), on(1)]
        for each in ids:
            await client.start_orchestration(listening, instance_id=each)
        for each in ids:
            await client.get_handle(each).raise_event(SAID, each)
            await client.get_handle(each).raise_event(SAID, "end")
        assert [await client.get_handle(each).result() for each in ids] == [[each] for each in ids]
        assert sum(each.count for each in await client.count_instances(status="completed")) == 2
        with pytest.raises(InstanceNotFoundError):
            await client.get_handle("nobody").result()


async def test_whatever_a_client_asks_of_an_instance_is_asked_on_its_shard(urls):
    async with Runtime(urls, registry) as runtime:
        client = runtime.client
        for number in (0, 1):
            handle = await client.start_orchestration(keeping, instance_id=on(number))
            await handle.raise_event(SAID, f"word {number}")
            assert await handle.wait_for_kv(KEPT) == f"word {number}"
            reader = await client.start_orchestration(reading, on(number), instance_id=on(1 - number, "reader"))
            assert await reader.result() == f"word {number}"
            await client.suspend(on(number), "to look at it")
            assert (await handle.status()).status is Status.SUSPENDED
            await client.resume(on(number))
            await handle.raise_event(SAID, "end")
            assert await handle.result() == f"word {number}"
            assert [each.kind async for each in client.history(on(number))][-1] == "Completed"
            assert len(await client.list_executions(on(number))) == 1
            assert await client.list_open_activities(on(number)) == []
        assert (await client.get_queues()).ready_instances == 0
        assert (await client.list_limits(), await client.list_held_activities()) == ([], [])
        deleted = await client.delete_instances(status="completed")
        assert (deleted.roots, deleted.skipped) == (4, 0)


async def test_what_lies_on_both_shards_is_not_put_back(urls):
    async with Runtime(urls, registry) as runtime:
        client = runtime.client
        await (await client.start_orchestration(catching, on(1, "child"), instance_id=on(0))).result()
        await client.rewind(on(1, "child"))
        with pytest.raises(UsageError, match="children on other shards"):
            await client.fork(on(0))


async def test_the_time_of_a_store_is_that_of_the_shard_whose_clock_is_ahead():
    behind, ahead = ManualClock(), ManualClock()
    ahead.advance(7)
    inspector = ShardedInspector([MemoryStorage(clock) for clock in (behind, ahead, behind)])
    assert inspector.now() == ahead.now_us() == behind.now_us() + 7


async def test_schedules_lie_on_both_shards(urls):
    async with Runtime(urls, registry) as runtime:
        schedules = runtime.client.schedules
        for number in (0, 1):
            await schedules.create(on(number, "daily"), child, "again", when=Every(86_400), paused=True)
            assert await (await schedules.get(on(number, "daily")).trigger()).result() == "AGAIN"
        assert {each.schedule_id for each in (await schedules.list()).items} == {on(0, "daily"), on(1, "daily")}
        await schedules.get(on(1, "daily")).delete()
        assert [each.schedule_id for each in (await schedules.list()).items] == [on(0, "daily")]


async def test_a_fork_may_lie_on_the_other_shard(urls):
    async with Runtime(urls, registry) as runtime:
        client = runtime.client
        await (await client.start_orchestration(child, "x", instance_id=on(0))).result()
        fork = await client.fork(on(0), on(1, "fork"), from_event=0, run=True)
        assert await fork.result() == "X"
        assert [_storages(runtime)[number].get(fork.instance_id) is not None for number in (0, 1)] == [False, True]


async def test_retention_removes_parents_and_their_children_on_the_other_shard(urls):
    async with Runtime(urls, registry) as runtime:
        for above, below in ((0, 1), (1, 0)):
            start = runtime.client.start_orchestration
            await (await start(parent, on(below, "child"), instance_id=on(above, "parent"))).result()
        await _all_is_delivered(runtime)
    async with Runtime(urls, registry, retention=Retention(after=0)) as runtime:
        while (await runtime.client.list_instances()).items:
            pass


async def test_what_arrives_in_a_moment_is_waited_for_before_something_is_put_back(urls, monkeypatch):
    monkeypatch.setattr(shards, "_ARRIVES_IN_S", 60)
    async with Runtime(urls, registry) as runtime:
        runtime._courier.stop()  # noqa: SLF001 - so that it stays on its way until another worker comes
        await runtime.client.start_orchestration(waiting_parent, on(1, "child"), instance_id=on(0))
        while not (await runtime.client.get_queues()).undelivered:
            pass
        resetting = asyncio.create_task(runtime.client.reset(on(0), to="start"))
        await asyncio.sleep(0)
        async with Runtime(urls, registry):
            with pytest.raises(UsageError, match="has children on other shards"):
                await resetting


async def test_what_is_on_its_way_to_the_other_shard_is_not_put_back(urls):
    async with Runtime(urls, registry) as runtime:
        runtime._courier.stop()  # noqa: SLF001 - so that it stays on its way
        await runtime.client.start_orchestration(waiting_parent, on(1, "child"), instance_id=on(0))
        while not (await runtime.client.get_queues()).undelivered:
            pass
        with pytest.raises(UsageError, match="has sent to another shard has not arrived there yet"):
            await runtime.client.reset(on(0), to="start")


async def test_a_transaction_is_in_one_database(urls):
    async with Client(urls) as client:
        with pytest.raises(UsageError, match="lies on several shards, and a transaction is in one database"):
            await client.transaction().__aenter__()


async def test_a_limit_holds_on_each_shard_and_a_worker_says_so(urls, caplog):
    places = Meeting(2)
    registry = Registry(*places.code)
    async with Runtime(urls, registry) as runtime:
        assert f"on 2 shards a limit holds on each: up to 2 times as many of {places.name} may run" in caplog.text
        start = runtime.client.start_orchestration
        # With places for one in all, nobody would ever meet anybody.
        handles = [await start(places.orchestration, instance_id=on(number)) for number in (0, 1)]
        assert [await each.result() for each in handles] == [2, 2]


async def test_pages_run_over_both_shards_newest_first(urls):
    names = [f"i-{n}" for n in range(25)]
    async with Client(urls) as client:
        for name in names:
            await client.start_orchestration(patient, instance_id=name)
        found, after = [], None
        while True:
            page = await client.list_instances(limit=10, after=after)
            found += [each.instance_id for each in page.items]
            after = page.next
            if after is None:
                break
    assert found == names[::-1]


async def test_a_tree_on_both_shards_is_deleted_whole_and_only_from_its_root(urls):
    async with Runtime(urls, registry) as runtime:
        client = runtime.client
        await (await client.start_orchestration(parent, on(1, "child"), instance_id=on(0))).result()
        with pytest.raises(UsageError, match="is a child"):
            await client.delete(on(1, "child"))
        assert [each.instance_id for each in (await client.list_instances(roots_only=True)).items] == [on(0)]
        await _all_is_delivered(runtime)
        assert await client.delete(on(0)) == 2
        assert (await client.list_instances()).items == []


async def test_an_open_child_on_the_other_shard_keeps_its_tree(urls):
    async with Runtime(urls, registry) as runtime:
        client = runtime.client
        handle = await client.start_orchestration(abandoning, on(1, "child"), instance_id=on(0))
        await handle.result()
        await _there_is(client, on(1, "child"))
        with pytest.raises(InstanceOpenError):
            await client.delete(on(0))
        assert await client.delete(on(0), force=True) == 2
        with pytest.raises(InstanceNotFoundError):
            await handle.status()


async def test_who_replaces_a_parent_cancels_its_children_on_the_other_shard(urls):
    async with Runtime(urls, registry) as runtime:
        client = runtime.client
        await client.start_orchestration(waiting_parent, on(1, "child"), instance_id=on(0))
        await _there_is(client, on(1, "child"))
        with pytest.raises(UsageError, match="child of an open"):
            await client.start_orchestration(patient, instance_id=on(1, "child"), on_conflict="terminate_and_restart")
        await client.start_orchestration(child, "x", instance_id=on(0), on_conflict="terminate_and_restart")
        with pytest.raises(OrchestrationError):
            await client.get_handle(on(1, "child")).result()


async def test_moves_between_stores_are_refused_in_words(urls, tmp_path):
    async with Client(urls) as client:
        with pytest.raises(UsageError, match="several shards"):
            await client.export_instances(tmp_path / "all.jsonl")


async def test_a_connection_must_be_to_the_shard_of_the_instance(server, databases):
    schema = server.take_schema()
    urls = [server.url(name, schema=schema) for name in databases]
    async with Runtime(urls, registry) as runtime:
        with server.connect("left") as left:
            with left.transaction():
                handle = await runtime.client.start_orchestration(child, "x", instance_id=on(0), connection=left)
            assert await handle.result() == "X"
            with left.transaction(), pytest.raises(UsageError) as refused:
                await runtime.client.start_orchestration(child, "x", instance_id=on(1), connection=left)
    assert "shard 1 of 2" in " ".join(refused.value.__notes__)


def test_a_shard_is_not_opened_alone(urls):
    _close(_open(urls))
    for number, url in enumerate(urls):
        with pytest.raises(UsageError, match=f"is shard {number} of a store on 2 databases"):
            open_storage(url)


def test_a_database_with_instances_becomes_no_shard(urls):
    async def fill() -> None:
        async with Client(urls[1]) as client:
            await client.start_orchestration(child, "x", instance_id="i")

    asyncio.run(fill())
    with pytest.raises(UsageError, match="number 1 of the list, has instances"):
        _open(urls)


def test_an_empty_database_does_not_take_the_place_of_a_shard(urls, tmp_path):
    _close(_open(urls))
    with pytest.raises(UsageError, match="number 1 of the list, is no shard, and the store has had 2"):
        _open([urls[0], f"sqlite:///{tmp_path}/third.db"])


def test_shards_of_different_stores_are_refused(urls, tmp_path):
    others = [f"sqlite:///{tmp_path}/{name}.db" for name in ("third", "fourth")]
    _close(_open(urls))
    _close(_open(others))
    with pytest.raises(UsageError, match="number 0 of the list, is a shard of another store"):
        _open([urls[0], others[1]])


def test_a_store_that_was_made_in_part_is_made_whole(urls):
    (second,) = open_storages(urls[1], clock=SystemClock(), entropy=SystemEntropy())
    second.stamp(ShardStamp(number=1, count=2, fleet="begun"))
    second.close()
    stores = _open(urls)
    assert [each.stamp().fleet for each in stores] == ["begun", "begun"]
    _close(stores)


class Meeting:
    """An activity of which one may run, and which ends when so many do."""

    name = "meet"

    def __init__(self, wanted):
        met = 0
        all_are_here = asyncio.Event()

        @activity(name=self.name, limit=Limit("table", concurrency=1))
        async def meet() -> int:
            nonlocal met
            met += 1
            if met == wanted:
                all_are_here.set()
            await all_are_here.wait()
            return met

        @orchestration(name="meeting")
        async def meeting(ctx: OrchestrationContext) -> int:
            return await ctx.schedule_activity(meet)

        self.orchestration = meeting
        self.code = (meet, meeting)


def _without_settling(batch):
    items = tuple(Settle(seqs=()) if isinstance(each, Settle) else each for each in batch.items)
    return replace(batch, items=items)


async def _all_is_delivered(runtime):
    """Nothing is on its way any more."""
    for storage in _storages(runtime):
        while await asyncio.to_thread(storage.parcels, None, 1):
            pass


async def _there_is(client, instance_id):
    while not await _exists(client, instance_id):
        pass


async def _exists(client, instance_id):
    try:
        await client.get_handle(instance_id).status()
    except InstanceNotFoundError:
        return False
    return True


def _storages(runtime):
    return runtime._courier.storages  # noqa: SLF001 - which database has what is nobody's business else


def _open(urls):
    return open_storages(urls, clock=SystemClock(), entropy=SystemEntropy())


def _close(storages):
    for each in storages:
        each.close()
