"""Where instances live: the contract in `base`, and a backend for each kind of URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

from perdure._ports import Clock, Entropy, SystemClock, SystemEntropy
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMES = "sqlite:///relative.db, sqlite:////absolute.db, a path, postgresql://user@host/database, or memory://"


def open_storage(
    url: str | os.PathLike[str],
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    durability: Literal["full", "normal"] = "full",
    create: bool = True,
) -> Any:
    """Open the store that a URL names; a `Storage` and `Inspector`. Without `create`, only one that is there.

    Raises:
        UsageError: The URL is of no known kind.
        StorageError: The store can't be opened.
    """
    storage = _open_one(url, clock or SystemClock(), entropy or SystemEntropy(), durability, create=create)
    if getattr(storage, "opened_as", None) is not None:
        from perdure.storage.shards import refuse_alone  # noqa: PLC0415 - few stores have shards

        refuse_alone(storage)
    return storage


def open_storages(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    clock: Clock,
    entropy: Entropy,
    durability: Literal["full", "normal"] = "full",
    create: bool = True,
) -> list[Any]:
    """The same for a URL, or a list of the URLs of shards, also as one text with commas between them.

    Raises:
        UsageError: A URL is of no known kind, or the list is not that of a store's shards.
        StorageError: One can't be opened.
    """
    if isinstance(url, os.PathLike) or (isinstance(url, str) and "," not in url):
        return [open_storage(url, clock=clock, entropy=entropy, durability=durability, create=create)]
    from perdure.storage.shards import open_all, urls_of  # noqa: PLC0415 - few stores have shards

    urls = urls_of(url)
    if urls is None:
        one: Any = url[0] if isinstance(url, list | tuple) else url
        return [open_storage(one, clock=clock, entropy=entropy, durability=durability, create=create)]
    name = entropy.token().hex()
    return open_all(urls, lambda each: _open_one(each, clock, entropy, durability, create=create), name)


def _open_one(
    url: str | os.PathLike[str],
    clock: Clock,
    entropy: Entropy,
    durability: Literal["full", "normal"],
    *,
    create: bool,
) -> Any:
    if isinstance(url, os.PathLike):
        return _sqlite(os.fspath(url), clock, entropy, durability, create=create)
    if not isinstance(url, str):
        raise UsageError(f"the store's URL is {url!r}: use {SCHEMES}")
    scheme, separator, rest = url.partition("://")
    if not separator and url.partition(":")[0] in {"memory", "sqlite", "postgres", "postgresql"}:
        raise UsageError(f"the store's URL is {url!r}: use {SCHEMES}")
    if not separator:
        return _sqlite(url, clock, entropy, durability, create=create)
    if scheme == "memory" and not rest:
        from perdure.storage.memory import MemoryStorage  # noqa: PLC0415 - a backend is loaded when it is named

        return MemoryStorage(clock=clock, entropy=entropy)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        if "?" in rest:
            raise UsageError(
                f"the store's URL is {url!r}: a URL of SQLite has no options; %3F is a '?' in a file's name"
            )
        return _sqlite(_unquoted(rest[1:]), clock, entropy, durability, create=create)
    if scheme in {"postgres", "postgresql"}:
        return _postgres(url, clock, entropy, durability, create=create)
    raise UsageError(f"the store's URL is {url!r}: use {SCHEMES}")


def _postgres(url: str, clock: Clock, entropy: Entropy, durability: Literal["full", "normal"], *, create: bool) -> Any:
    try:
        from perdure.storage.postgres import PostgresStorage  # noqa: PLC0415 - a backend is loaded when it is named
    except ImportError as error:
        if error.name is None or not error.name.startswith("psycopg"):
            raise
        raise UsageError(
            "a store in PostgreSQL needs psycopg, which is not installed: pip install 'perdure[postgres]'"
        ) from None
    return PostgresStorage(url, clock=clock, entropy=entropy, relaxed=durability == "normal", create=create)


def _unquoted(path: str) -> str:
    if "%" not in path:
        return path
    from urllib.parse import unquote  # noqa: PLC0415 - costs more than all of this module, and few paths need it

    return unquote(path)


def _sqlite(path: str, clock: Clock, entropy: Entropy, durability: Literal["full", "normal"], *, create: bool) -> Any:
    if not path:
        raise UsageError(f"the store's path is empty: use {SCHEMES}")
    from perdure.storage.sqlite import SqliteStorage  # noqa: PLC0415 - a backend is loaded when it is named

    return SqliteStorage(path, clock=clock, entropy=entropy, durability=durability, create=create)
