"""Where little matches among much, pages are short or empty: whoever wants all goes on while there is a next."""

import asyncio
from contextlib import closing

import apsw
import pytest

from perdure import Client
from perdure._work import PAGE_ROWS_MAX
from perdure.storage.sqlite import SqliteStorage
from tests.cli.conftest import URL

MANY = 2 * PAGE_ROWS_MAX
FILL = """
INSERT INTO instances (
    incarnation, id, name, version, status, created_at, changed_at, ready_at, root, slot, execution
)
WITH RECURSIVE s (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM s WHERE n < ?1)
SELECT n, 'i-' || n, 'order', CASE WHEN n = 1 THEN '1.0.0' ELSE '2.0.0' END, 'completed', 1, 1, 1, 'i-' || n, 0, 1
FROM s
"""


@pytest.fixture(autouse=True)
def store(folder):
    """A store with many instances, of which the oldest alone has the first version."""
    path = folder / "perdure.db"
    SqliteStorage(path).close()
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(FILL, (MANY,))


async def _page(after=None):
    async with Client(URL) as client:
        page = await client.list_instances(version="1.0.0", after=after)
    return [each.instance_id for each in page.items], page.next


def test_a_page_may_be_empty_and_have_a_next():
    items, after = asyncio.run(_page())
    assert items == []
    assert after is not None
    items, _ = asyncio.run(_page(after))
    assert items == ["i-1"]


def test_the_command_lists_all_that_match(perdure):
    said = perdure("list", "--version", "1.0.0", "--json").json
    assert [each["instance_id"] for each in said["items"]] == ["i-1"]


def test_all_that_match_are_deleted(perdure):
    said = perdure("purge", "--version", "1.0.0", "--yes", "--json").json
    assert (said["roots"], said["instances"]) == (1, 1)


def test_all_that_match_are_exported(perdure):
    said = perdure("export", "old.jsonl", "--version", "1.0.0", "--json").json
    assert said["instances"] == 1
