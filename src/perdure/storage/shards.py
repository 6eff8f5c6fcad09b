"""Opening the databases of a sharded store: each says which place it has, so that a wrong list is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from perdure._work import Query, ShardStamp
from perdure.errors import UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

SHARDS_MAX: Final = 64
"""How many databases one store may lie on."""

_NEXT_URL = re.compile(r",(?=(?:memory|postgres|postgresql|sqlite)://)")


def urls_of(url: Any) -> list[Any] | None:
    """The URLs of the shards that are meant, None for a store in one database.

    Raises:
        UsageError: There are none, or too many.
    """
    if isinstance(url, str):
        urls: list[Any] = _NEXT_URL.split(url)
        _refuse_paths(urls)
    elif isinstance(url, Sequence) and not isinstance(url, bytes):
        urls = list(url)
    else:
        return None
    if not urls or len(urls) > SHARDS_MAX:
        raise UsageError(f"the list names {len(urls)} databases: a store lies on 1 to {SHARDS_MAX}")
    return None if len(urls) == 1 else urls


def _refuse_paths(urls: list[str]) -> None:
    """Refuse what looks like several files, and would be one with a comma in its name."""
    for url in urls:
        *others, last = url.split(",")
        ending = PurePath(last).suffix
        if others and ending in {".db", ".sqlite", ".sqlite3"} and all(each.endswith(ending) for each in others):
            raise UsageError(
                f"{url!r} is one path with a comma in it: to name several files write sqlite:/// before each, to name "
                "this one pass a pathlib.Path"
            )


def place_of(storage: Any) -> str:
    """Where a database is, without a password."""
    return str(getattr(storage, "place", None) or getattr(storage, "path", None) or "a store in memory")


def open_all(urls: Sequence[str | os.PathLike[str]], open_one: Callable[[Any], Any], name: str) -> list[Any]:
    """Open the databases of a sharded store, in order; new ones become its shards, under the name.

    Raises:
        UsageError: One of them is another shard, or none and not empty; the message says what to do.
        StorageError: One can't be opened.
    """
    opened: list[Any] = []
    try:
        opened.extend(map(open_one, urls))
        _stamp_all(opened, name)
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened


def _stamp_all(opened: Sequence[Any], name: str) -> None:
    """Let all of them be shards. The first is stamped last: where it is one, the others were."""
    stamps: list[ShardStamp | None] = [each.stamp() for each in opened]
    for number, (storage, stamp) in enumerate(zip(opened, stamps, strict=True)):
        if stamp is not None:
            _check(storage, stamp, number, len(opened))
        elif stamps[0] is not None:
            raise UsageError(
                f"{place_of(storage)}, number {number} of the list, is no shard, and the store has had {len(opened)}: "
                "name the database that was there before; if it was lost, restore it"
            )
        elif storage.identity() in {each.identity() for each in opened[:number]}:
            raise UsageError(
                f"{place_of(storage)}, number {number} of the list, is named before in the list, too: name each once; "
                "several shards on one server are databases or schemas of their own"
            )
        elif storage.find(Query(limit=1))[0]:
            raise UsageError(
                f"{place_of(storage)}, number {number} of the list, has instances and is no shard: only an empty "
                "database becomes one; name another, or another schema or file"
            )
    fleet: str | None = None
    for number in reversed(range(len(opened))):
        storage = opened[number]
        stamp = stamps[number] or storage.stamp(ShardStamp(number=number, count=len(opened), fleet=fleet or name))
        _check(storage, stamp, number, len(opened))
        # Somebody may have been faster, and stamps the others, too.
        fleet = fleet or stamp.fleet
        if stamp.fleet != fleet:
            raise UsageError(
                f"{place_of(storage)}, number {number} of the list, is a shard of another store than the others: name "
                "the databases that were named together at first"
            )


def _check(storage: Any, stamp: ShardStamp, number: int, count: int) -> None:
    if stamp.count != count:
        raise UsageError(
            f"{place_of(storage)} is shard {stamp.number} of {stamp.count}, and the list names {count} databases: "
            f"name all {stamp.count} in their order; how many there are is settled when the store is made"
        )
    if stamp.number != number:
        raise UsageError(
            f"{place_of(storage)} is shard {stamp.number} of {stamp.count}, and the list has it as number {number}: "
            "name each once, in the order of their numbers, from 0"
        )


def refuse_alone(storage: Any) -> None:
    """Refuse to open one shard as if it were the store.

    Raises:
        UsageError: It is a shard.
    """
    stamp: ShardStamp | None = getattr(storage, "opened_as", None)
    if stamp is not None:
        storage.close()
        raise UsageError(
            f"{place_of(storage)} is shard {stamp.number} of a store on {stamp.count} databases, and can't be opened "
            f"alone: pass the URLs of all {stamp.count} in their order, as a list or separated by commas"
        )
