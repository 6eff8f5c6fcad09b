"""What `Transfers` does: instances written to a file, read from one, and brought from store to store."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from msgspec.structs import replace

from perdure import _work as work
from perdure._client import export_file
from perdure._client.filters import query_of
from perdure._client.moving import COME, COMING, MOVING, Move, Transfer, put, read, reason_before, rounds_in, total_of
from perdure._client.opened import PAGE_MAX, pages
from perdure._types import INSTANT_US_MAX, Status, check_name
from perdure.errors import ClientError, InstanceExistsError, InstanceMovedError, InstanceNotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence

    from perdure._client.filters import InstanceFilter
    from perdure._client.requests import Gateway
    from perdure._types import Duration

ROOTS_AT_ONCE_MAX = 100
"""How many trees are read or written together."""

IMPORTED = "imported: resume it to let it go on"

_IDS_AT_ONCE = 1_000


def _refuse_shards(gateway: Gateway) -> None:
    if hasattr(gateway, "shards"):
        raise UsageError(
            "this store lies on several shards, and what is on its way between them is in none: only a store in one "
            "database exports, imports and moves instances"
        )


async def export_trees(
    gateway: Gateway,
    file: str | os.PathLike[str] | BinaryIO,
    instance_ids: Iterable[str] | None,
    filters: InstanceFilter,
) -> Transfer:
    """See `Client.export_instances`."""
    _refuse_shards(gateway)
    trees = instances = skipped = 0
    async with _written(gateway, file) as write:
        await write(export_file.head())
        async for roots in _roots(gateway, instance_ids, filters):
            for tree in await read(gateway, [each.id for each in roots]):
                root = tree[0].record
                if root.status is Status.MOVED:
                    if instance_ids is not None:
                        raise InstanceMovedError(root.id, root.held_because)
                    skipped += 1
                    continue
                await write(export_file.tree_lines(tree))
                trees += 1
                instances += len(tree)
        await write(export_file.end(trees, instances))
    return Transfer(trees=trees, instances=instances, skipped=skipped)


async def import_trees(
    gateway: Gateway,
    file: str | os.PathLike[str] | BinaryIO,
    on_conflict: Literal["fail", "skip", "replace"],
    *,
    run: bool,
) -> Transfer:
    """See `Client.import_instances`."""
    _refuse_shards(gateway)
    _refuse_policy(on_conflict)
    async with _readable(gateway, file) as stream:
        named = await gateway.read(_scan, stream)
        if on_conflict == "fail":
            await _refuse_taken(gateway, named)
        await gateway.read(stream.seek, 0)
        trees = export_file.read_trees(stream)
        total = Transfer(trees=0, instances=0)
        while batch := await gateway.read(_next_trees, trees):
            arriving = [[(_released if run else parked)(image) for image in tree] for tree in batch]
            total = total_of(total, await _put_all(gateway, arriving, on_conflict))
    return total


async def move_trees(
    gateway: Gateway,
    there: Gateway,
    instance_ids: Iterable[str] | None,
    filters: InstanceFilter,
    *,
    run: bool,
    grace: Duration,
) -> Transfer:
    """See `Client.move_instances`."""
    _refuse_shards(gateway)
    _refuse_shards(there)
    if _is_one(gateway, there):
        raise UsageError("the target is the store that the instances are in: open a client on the other one")
    rounds = rounds_in(grace)
    total = Transfer(trees=0, instances=0)
    refused, resumed, unfinished = list[str](), list[str](), list[str]()
    async for roots in _moving_roots(gateway, instance_ids, filters, _place_of(there)):
        move = Move(gateway, there, _place_of(there), run=run)
        total = total_of(total, await move.trees([each.id for each in roots], rounds))
        refused += move.refused
        resumed += move.resumed
        unfinished += move.unfinished
    if refused:
        raise _taken(refused[0])
    if resumed:
        raise _resumed(resumed[0])
    if unfinished:
        raise ClientError(
            f"{unfinished[0]!r} is a copy whose move to this store was not completed: call that move again, then this"
        )
    return total


async def _moving_roots(
    gateway: Gateway, instance_ids: Iterable[str] | None, filters: InstanceFilter, place: str
) -> AsyncGenerator[list[work.InstanceRecord], None]:
    """The roots that are meant, and before them those of which a move that broke off has changed what was asked for."""
    begun: set[int] = set()
    query = query_of(filters, limit=ROOTS_AT_ONCE_MAX)
    if instance_ids is None and (query.statuses or query.updated_from is not None or query.updated_before is not None):
        async for page in _begun_roots(gateway, query, place):
            yield page
            if not query.statuses or Status.MOVED in query.statuses:
                begun |= {each.incarnation for each in page}
    async for page in _roots(gateway, instance_ids, filters):
        meant = [each for each in page if each.incarnation not in begun]
        if meant:
            yield meant


async def _begun_roots(
    gateway: Gateway, query: work.Query, place: str
) -> AsyncGenerator[list[work.InstanceRecord], None]:
    """Those of which a move has begun: which have moved, and above what is suspended for it; they may have ended."""
    steady = replace(query, statuses=(), updated_from=None, updated_before=None, roots_only=True)
    async for page in pages(gateway, replace(steady, statuses=(Status.MOVED,))):
        moved = [each for each in page if each.held_because == place]
        if moved:
            yield moved
    async for page in pages(gateway, work.Query(statuses=(Status.SUSPENDED,), root=query.root, limit=query.limit)):
        waits = await asyncio.gather(*(_waits_for_move(gateway, each) for each in page))
        roots = await _roots_of(gateway, [each for each, does in zip(page, waits, strict=True) if does])
        meant = [each for each in roots if await _is_like(gateway, each, steady)]
        if meant:
            yield meant


async def _waits_for_move(gateway: Gateway, record: work.InstanceRecord) -> bool:
    """Whether something of it is set aside until it has moved; a person may have suspended it besides."""
    if record.held_because in (MOVING, IMPORTED):
        return record.held_because == MOVING
    held = await gateway.read(gateway.inspector.held_tasks, PAGE_MAX, record.incarnation)
    return any(each.held_because == MOVING for each in held)


async def _roots_of(gateway: Gateway, records: Sequence[work.InstanceRecord]) -> list[work.InstanceRecord]:
    """Who is above these and has no parent, or none any more."""
    roots: dict[int, work.InstanceRecord] = {}
    while records:
        parents = {each.parent.instance_id for each in records if each.parent is not None}
        found = {
            each.incarnation: each
            for each in (await gateway.read(gateway.inspector.get_many, sorted(parents))).values()
        }
        above: dict[int, work.InstanceRecord] = {}
        for each in records:
            parent = None if each.parent is None else found.get(each.parent.incarnation)
            if parent is None:
                roots[each.incarnation] = each
            else:
                above[parent.incarnation] = parent
        records = list(above.values())
    return list(roots.values())


async def _is_like(gateway: Gateway, root: work.InstanceRecord, query: work.Query) -> bool:
    """Whether it is among what a query finds."""
    if query == work.Query(roots_only=True, limit=query.limit):
        return True
    async for page in pages(gateway, replace(query, root=root.root)):
        if any(each.incarnation == root.incarnation for each in page):
            return True
    return False


async def _roots(
    gateway: Gateway, instance_ids: Iterable[str] | None, filters: InstanceFilter
) -> AsyncGenerator[list[work.InstanceRecord], None]:
    """The roots that are meant, a page at a time."""
    if instance_ids is None:
        async for page in pages(gateway, replace(query_of(filters, limit=ROOTS_AT_ONCE_MAX), roots_only=True)):
            yield page
        return
    if filters:
        raise UsageError("pass instance_ids or filters, not both: ids say already which instances are meant")
    ids = [check_name("instance id", each) for each in dict.fromkeys(_several(instance_ids))]
    for begin in range(0, len(ids), ROOTS_AT_ONCE_MAX):
        yield await _named_roots(gateway, ids[begin : begin + ROOTS_AT_ONCE_MAX])


def _place_of(gateway: Gateway) -> str:
    """Which store a client is on, for people; without a password."""
    inspector: Any = gateway.inspector
    place = getattr(inspector, "place", None) or getattr(inspector, "path", None)
    return "a store in memory" if place is None else str(place)


def _is_one(left: Gateway, right: Gateway) -> bool:
    """Whether both are surely on one store: one handle, or one file."""
    paths = [getattr(each.inspector, "path", None) for each in (left, right)]
    return left.inspector is right.inspector or (paths[0] is not None and paths[0] == paths[1])


def _several(instance_ids: Iterable[str]) -> list[str]:
    if isinstance(instance_ids, str):
        raise UsageError(f"instance_ids is the string {instance_ids!r}: pass a list of ids")
    return list(instance_ids)


async def _named_roots(gateway: Gateway, ids: Sequence[str]) -> list[work.InstanceRecord]:
    found = await gateway.read(gateway.inspector.get_many, ids)
    for instance_id in ids:
        if instance_id not in found:
            raise InstanceNotFoundError(instance_id)
    parents = {each.parent.instance_id for each in found.values() if each.parent is not None}
    known = {each.incarnation for each in (await gateway.read(gateway.inspector.get_many, sorted(parents))).values()}
    for record in found.values():
        if record.parent is not None and record.parent.incarnation in known:
            raise UsageError(
                f"instance {record.id!r} is a child of {record.parent.instance_id!r}: it goes with its root, "
                f"{record.root!r}"
            )
    return [found[instance_id] for instance_id in ids]


# -- files -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _written(
    gateway: Gateway, file: str | os.PathLike[str] | BinaryIO
) -> AsyncGenerator[Callable[[bytes], Awaitable[Any]], None]:
    """Writes to a file off the event loop; one that was made here and not finished is removed."""
    if not isinstance(file, str | os.PathLike):
        yield partial(gateway.read, file.write)
        await gateway.read(file.flush)
        return
    stream = await gateway.read(_opened_anew, file)
    try:
        with stream:
            yield partial(gateway.read, stream.write)
            await gateway.read(_sync, stream)
    except BaseException:
        with suppress(OSError):
            os.unlink(file)
        raise


def _opened_anew(file: str | os.PathLike[str]) -> BinaryIO:
    return open(file, "xb")


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


@asynccontextmanager
async def _readable(gateway: Gateway, file: str | os.PathLike[str] | BinaryIO) -> AsyncGenerator[BinaryIO, None]:
    """The file from its beginning, in a form that can be read twice."""
    if isinstance(file, str | os.PathLike):
        with await gateway.read(_opened_to_read, file) as stream:
            yield stream
        return
    import shutil  # noqa: PLC0415 - slow to load, and hardly ever needed
    import tempfile  # noqa: PLC0415 - the same

    with tempfile.TemporaryFile() as copy:
        await gateway.read(shutil.copyfileobj, file, copy)
        copy.seek(0)
        yield copy


def _opened_to_read(file: str | os.PathLike[str]) -> BinaryIO:
    return open(file, "rb")


def _scan(stream: BinaryIO) -> list[tuple[str, int]]:
    """All instances of a file that is good, as (id, incarnation)."""
    return [(image.record.id, image.record.incarnation) for tree in export_file.read_trees(stream) for image in tree]


def _next_trees(trees: Iterator[list[work.InstanceImage]]) -> list[list[work.InstanceImage]]:
    return list(islice(trees, ROOTS_AT_ONCE_MAX))


def _refuse_policy(on_conflict: str) -> None:
    if on_conflict not in ("fail", "skip", "replace"):
        raise UsageError(f'on_conflict is {on_conflict!r}: use "fail", "skip" or "replace"')


async def _refuse_taken(gateway: Gateway, named: Sequence[tuple[str, int]]) -> None:
    for begin in range(0, len(named), _IDS_AT_ONCE):
        part = dict(named[begin : begin + _IDS_AT_ONCE])
        found = await gateway.read(gateway.inspector.get_many, list(part))
        for record in found.values():
            if record.status is not Status.MOVED or record.incarnation != part[record.id]:
                raise _taken(record.id)


def _taken(instance_id: str) -> InstanceExistsError:
    error = InstanceExistsError(instance_id)
    error.add_note("It is in the store to which instances come: an import can skip or replace it.")
    return error


def _resumed(instance_id: str) -> InstanceExistsError:
    error = InstanceExistsError(instance_id)
    error.add_note(
        "It is a copy of the same instance, which somebody has resumed in the store to which it comes before it had "
        "moved. It stays suspended where it was: delete it in one of the two, and call this again if it is to move."
    )
    return error


# -- images ------------------------------------------------------------------------------------------------------------


def parked(image: work.InstanceImage, why: str = IMPORTED) -> work.InstanceImage:
    """The image of an instance that does nothing until somebody resumes it."""
    record = image.record
    if record.status.is_closed:
        return image
    reason = why
    if record.status is Status.SUSPENDED and record.held_because is not None:
        # A copy in a file is one of nothing that could still move.
        reason = reason_before(record, why)
    tasks = tuple(
        each if each.held_because is not None or each.permit is not None
        else replace(
            each, held_because=reason, held_at=record.updated_at, due_at=INSTANT_US_MAX, start_by=None
        )
        for each in image.tasks
    )  # fmt: skip
    return replace(image, record=replace(record, status=Status.SUSPENDED, held_because=reason), tasks=tasks)


def _released(image: work.InstanceImage) -> work.InstanceImage:
    """The image of an instance that goes on, unless a person has suspended it."""
    record = image.record
    ours = (IMPORTED, MOVING, COMING, COME)  # the last two with a number behind them
    if record.status is Status.SUSPENDED and (record.held_because or "").startswith(ours):
        begun = record.execution > 1 or record.last_event > 0
        record = replace(record, status=Status.RUNNING if begun else Status.PENDING, held_because=None)
    tasks = tuple(
        replace(each, held_because=None, held_at=None, due_at=each.scheduled_at)
        if (each.held_because or "").startswith(ours)
        else each
        for each in image.tasks
    )
    return replace(image, record=record, tasks=tasks)


async def _put_all(
    gateway: Gateway, trees: Sequence[Sequence[work.InstanceImage]], on_conflict: work.Replacing
) -> Transfer:
    """Write trees, each whole; the first that was refused is raised after all have been tried."""
    outcomes = await asyncio.gather(*(put(gateway, tree, on_conflict) for tree in trees))
    total, refused = Transfer(trees=0, instances=0), None
    for tree, outcome in zip(trees, outcomes, strict=True):
        if isinstance(outcome, work.Refused):
            refused = refused or (tree[0].record.id if outcome.existing is None else outcome.existing.id)
        elif outcome.existing is not None:
            total = total_of(total, Transfer(trees=0, instances=0, skipped=1))
        else:
            total = total_of(total, Transfer(trees=1, instances=len(tree)))
    if refused is not None:
        raise _taken(refused)
    return total
