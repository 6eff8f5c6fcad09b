"""A page that is put together from several places has all that matches down to where each was looked through."""

import pytest
from msgspec.structs import replace

from perdure._client.shards import ShardedInspector
from perdure._work import Query
from perdure.storage.memory import MemoryStorage
from perdure.storage.pages import put_together
from perdure.testing import ManualClock
from perdure.testing.storage_suite.world import World


@pytest.mark.parametrize(
    ("places", "limit", "page", "key"),
    [
        ([], 2, [], None),
        ([([3, 1], 0)], 2, [3, 1], None),
        ([([3, 1], 0)], 1, [3], "3"),
        ([([3, 2, 1], 1)], 2, [3, 2], "2"),
        ([([], 7)], 2, [], "7"),
        ([([9, 8], 8), ([5], 0)], 1, [9], "9"),
        # What is below 7 of the second place may have something of the first above it.
        ([([9], 7), ([8, 6], 0)], 5, [9, 8], "7"),
        ([([], 7), ([6], 0)], 5, [], "7"),
        ([([9, 7], 0), ([9, 8], 0)], 5, [9, 8, 7], None),
        ([([9], 0)], 0, [], None),
    ],
)
def test_a_page_ends_where_a_place_was_left_off(places, limit, page, key):
    assert put_together(places, limit) == (page, key)


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("rows_max", [1, 2, 100])
def test_pages_of_several_shards_have_all_that_match_once_and_in_order(limit, rows_max):
    clock = ManualClock()
    shards = [MemoryStorage(clock=clock) for _ in range(2)]
    for number, shard in enumerate(shards):
        world = World(shard, clock, lambda shard=shard: shard)
        for place in range(8):
            version = "1.0.0" if place % 4 == 3 * number else "2.0.0"
            world.start(f"{number}-{place}", version=version, incarnation=10 * place + number + 1)

    inspector = ShardedInspector(shards)
    query = Query(version="1.0.0", limit=limit, rows_max=rows_max)
    page, after = inspector.find(query)
    pages = [page]
    while after is not None:
        page, after = inspector.find(replace(query, after=after))
        pages.append(page)

    assert max(map(len, pages)) <= limit
    assert [each.id for page in pages for each in page] == ["1-7", "0-4", "1-3", "0-0"]
