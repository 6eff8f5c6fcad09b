"""What is asked of a sharded store by ids is asked of the shard that has each."""

from perdure._client.shards import ShardedInspector
from perdure._types import Status
from perdure._work import InstanceChange, Shard
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from perdure.testing.storage_suite.world import World

NAMES = [f"order-{number}" for number in range(8)]


def test_those_that_are_open_are_told_of_all_shards():
    clock = ManualClock()
    worlds = []
    for _ in range(2):
        storage = MemoryStorage(clock=clock)
        worlds.append(World(storage, clock, lambda storage=storage: storage))
    homes = {name: worlds[Shard(number=0, count=2).of(name)] for name in NAMES}
    workers = {id(world): world.worker() for world in worlds}
    for name, world in homes.items():
        workers[id(world)].own(name)
    ended = NAMES[3]
    workers[id(homes[ended])].run(ended, change=InstanceChange(status=Status.COMPLETED))

    still_open = ShardedInspector([world.storage for world in worlds]).still_open([*NAMES, "nobody"])

    assert still_open == {name: homes[name].record(name).incarnation for name in NAMES if name != ended}
