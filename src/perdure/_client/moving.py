"""How trees of instances go from one store to another, so that they run in one of them at any time.

Laws kept here: a tree goes on there only after this store has said, durably, that it has moved; what is sent to it
until then is copied, and what is sent later is refused. Every step may be repeated.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from perdure import _work as work
from perdure._client.export_file import trees_of
from perdure._types import Status, duration_us
from perdure.errors import ClientError, OutcomeUnknownError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perdure._client.requests import Gateway
    from perdure._types import Duration

MOVING = "moving to another store"
"""Why an instance is suspended that is being moved, and its activities."""

COMING = work.COMING
"""Why its copy is, so that nobody takes it for an instance: behind it stands, if so, why a person had suspended it."""

COME = "come from another store: resume it to let it go on"
"""Why it is when the move is done: it is an instance there then, and may be told something."""

LOOK_S = 0.05
"""How long to wait before looking again whether activities have ended."""

MOVE_ATTEMPTS_MAX = 20
"""How often a tree is copied anew because something was sent to it meanwhile."""

_UNKNOWN_RETRIES_MAX = 3


@dataclass(frozen=True, slots=True)
class Transfer:
    """What an export, an import or a move has taken along; `skipped` trees were there already, or have moved away."""

    trees: int
    instances: int
    skipped: int = 0


def total_of(left: Transfer, right: Transfer) -> Transfer:
    """Both together."""
    return Transfer(
        trees=left.trees + right.trees, instances=left.instances + right.instances, skipped=left.skipped + right.skipped
    )


def rounds_in(grace: Duration) -> int:
    """How often is looked whether activities have ended, while they may go on."""
    return max(1, round(duration_us(grace, "grace") / (LOOK_S * 1e6)))


async def read(gateway: Gateway, ids: Sequence[str]) -> list[list[work.InstanceImage]]:
    """The trees of these roots, all as they are at one moment."""
    return trees_of(await gateway.read(gateway.inspector.images, list(ids)))


async def now_at(gateway: Gateway, instance_id: str) -> int:
    """The time of the database that has an instance: what is due there is due by no other's clock."""
    of_shard = getattr(gateway.inspector, "now_at", None)
    if of_shard is None:
        return await gateway.read(gateway.inspector.now)
    now: int = await gateway.read(of_shard, instance_id)
    return now


async def put(
    gateway: Gateway,
    images: Sequence[work.InstanceImage],
    on_conflict: work.Replacing,
    instead_of: Sequence[work.Stamp] = (),
    while_open: Sequence[int] = (),
    *,
    is_new: bool = False,
) -> work.Outcome:
    """Write instances; whether they are there after an answer was lost is found out.

    Those that are new (`is_new`) are not written again where they are not there: they may have been, and be deleted.

    Raises:
        StorageUnavailableError: They were not written.
        OutcomeUnknownError: Nobody can say.
    """
    item = work.Put(
        images=tuple(images), on_conflict=on_conflict, instead_of=tuple(instead_of), while_open=tuple(while_open)
    )
    first = images[0].record
    resets = None if is_new else await _resets_before(gateway, first, instead_of)
    unknown: OutcomeUnknownError | None = None
    for _ in range(_UNKNOWN_RETRIES_MAX):
        try:
            if unknown is not None:
                found = await gateway.read(gateway.inspector.get, first.id)
                is_it = found is not None and found.incarnation == first.incarnation
                if found is not None and is_it and (resets is None or found.resets > resets):
                    return work.APPLIED
                if is_new:
                    break
            return await gateway.submit(item)
        except OutcomeUnknownError as error:
            unknown = error
        except StorageUnavailableError:
            if unknown is None:
                raise
            break
    raise OutcomeUnknownError(
        f"the store broke off while {first.id!r} was written, and nobody knows whether it was: look before trying again"
    ) from unknown


async def _resets_before(gateway: Gateway, record: work.InstanceRecord, instead_of: Sequence[work.Stamp]) -> int | None:
    """How often the instance that is to be written had been put back; None if there was none of it."""
    for stamp in instead_of:
        if stamp.incarnation == record.incarnation:
            return stamp.resets
    found: work.InstanceRecord | None = await gateway.read(gateway.inspector.get, record.id)
    return None if found is None or found.incarnation != record.incarnation else found.resets


class Move:
    """A move of some trees."""

    def __init__(self, here: Gateway, there: Gateway, place: str, *, run: bool) -> None:
        self._here = here
        self._there = there
        self._place = place
        self._run = run
        self._running: set[tuple[int, int]] = set()
        """What ran there when it was looked last, as (incarnation, resets)."""
        self._strange: set[str] = set()
        """Ids of copies here that were copies of nothing there when it was looked last."""
        self.refused: list[str] = []
        """Ids that others have there; the trees of these go on here."""
        self.unfinished: list[str] = []
        """Ids of roots here that are copies, of which nobody can say that what they are copies of has moved."""
        self.resumed: list[str] = []
        """Ids of roots whose copies somebody has let go on there, before they had moved; they stay suspended here."""

    async def trees(self, ids: Sequence[str], rounds: int) -> Transfer:
        """Move the trees of these roots; activities that run have so many rounds in which to end.

        Raises:
            ClientError: Something was sent to one of them again and again, so that no copy was complete.
        """
        waiting = set(ids)
        total = Transfer(trees=0, instances=0)
        for attempt in range(rounds + MOVE_ATTEMPTS_MAX):
            # There first: what has not moved away when it is read here is no more than a copy in what was read there,
            # and such a copy may be written over as long as it stands as it was read.
            copies = {each[0].record.incarnation: each for each in await read(self._there, sorted(waiting))}
            trees = await read(self._here, sorted(waiting))
            gone = [tree for tree in trees if tree[0].record.status is Status.MOVED]
            here = self._own([tree for tree in trees if tree[0].record.status is not Status.MOVED], copies)
            skipped = len(trees) - len(here) - len(self._strange)
            self._look_for_resumed(here, copies)
            ready = [tree for tree in here if self._is_still(tree)]
            moved = [*gone, *await self._copy(ready, copies)]
            await self._let_go_on(moved)
            waiting &= {tree[0].record.id for tree in here} | self._strange
            waiting -= {tree[0].record.id for tree in moved}
            waiting -= {*self.refused, *self.resumed, *self.unfinished}
            taken = [tree for tree in moved if tree not in gone]
            total = total_of(total, Transfer(trees=len(taken), instances=sum(map(len, taken)), skipped=skipped))
            if not waiting:
                return total
            still = {tree[0].record.id for tree in ready}
            moving = [tree for tree in here if tree[0].record.id in waiting - still]
            if not await self._seal(moving, all_tasks=attempt >= rounds):
                await asyncio.sleep(LOOK_S)
        await self._let_stay(await read(self._here, sorted(waiting)))
        raise ClientError(f"{min(waiting)!r} was sent something whenever it was copied: move it when that has ended")

    def _own(
        self, trees: Sequence[Sequence[work.InstanceImage]], there: Mapping[int, Sequence[work.InstanceImage]]
    ) -> list[Sequence[work.InstanceImage]]:
        """Without copies that a move left here which broke off; they count once what they are copies of has moved."""
        own: list[Sequence[work.InstanceImage]] = []
        strange: set[str] = set()
        for tree in trees:
            source = there.get(tree[0].record.incarnation)
            if source is None and _has_copies(tree):
                strange.add(tree[0].record.id)
            elif source is None or source[0].record.status is Status.MOVED or not _is_copy_of(tree, source):
                own.append(tree)
        # What has come since it was looked there is there at the second look.
        self.unfinished += sorted(strange & self._strange)
        self._strange = strange
        return own

    def _is_still(self, tree: Sequence[work.InstanceImage]) -> bool:
        return not any(to_set_aside(image, MOVING, all_tasks=True) for image in tree)

    def _look_for_resumed(
        self, trees: Sequence[Sequence[work.InstanceImage]], copies: Mapping[int, Sequence[work.InstanceImage]]
    ) -> None:
        """Find out whose copies run there. It may just have come from there: only a second look in a row proves it."""
        running = {
            (image.record.incarnation, image.record.resets): tree[0].record.id
            for tree in trees
            for image in copies.get(tree[0].record.incarnation, ())
            if _runs(image)
        }
        self.resumed += sorted({running[each] for each in self._running & running.keys()})
        self._running = set(running)

    async def _seal(self, trees: Sequence[Sequence[work.InstanceImage]], *, all_tasks: bool) -> bool:
        """Suspend what is open, with its tasks; False if there is nothing to do but to wait."""
        images = [image for tree in trees for image in tree]
        items = [item for image in images for item in to_set_aside(image, MOVING, all_tasks=all_tasks)]
        await asyncio.gather(*map(self._here.submit, items))
        return bool(items)

    async def _copy(
        self, trees: Sequence[Sequence[work.InstanceImage]], copies: Mapping[int, Sequence[work.InstanceImage]]
    ) -> list[Sequence[work.InstanceImage]]:
        """Copy trees that stand still, and say here that they have moved; returns those of which that is so."""
        outcomes = await asyncio.gather(
            *(self._put(tree, copies.get(tree[0].record.incarnation, ())) for tree in trees)
        )
        moved: list[Sequence[work.InstanceImage]] = []
        for tree, outcome in zip(trees, outcomes, strict=True):
            if isinstance(outcome, work.Refused) and _is_taken(tree, outcome):
                self.refused.append(tree[0].record.id if outcome.existing is None else outcome.existing.id)
                self.refused.append(tree[0].record.id)
                await self._let_stay([tree])
            elif isinstance(outcome, work.Applied):
                out = work.MoveOut(stamps=tuple(image.stamp for image in tree), place=self._place)
                if await self._is_out(out):
                    moved.append(tree)
        return moved

    async def _put(self, tree: Sequence[work.InstanceImage], copy: Sequence[work.InstanceImage]) -> work.Outcome | None:
        """Write a copy in place of an earlier one; None if nobody can say whether it was, or if that one runs."""
        if any(map(_runs, copy)):
            return None
        try:
            return await self._there.submit(
                work.Put(
                    images=tuple(map(_coming, tree)),
                    on_conflict="named",
                    instead_of=tuple(image.stamp for image in copy),
                )
            )
        except OutcomeUnknownError:
            # An earlier copy looks the same from afar: the next round reads it.
            return None

    async def _is_out(self, item: work.MoveOut) -> bool:
        for _ in range(_UNKNOWN_RETRIES_MAX):
            try:
                return isinstance(await self._here.submit(item), work.Applied)
            except OutcomeUnknownError:
                continue
        # Nobody knows: the next round reads how it stands.
        return False

    async def _let_go_on(self, trees: Sequence[Sequence[work.InstanceImage]]) -> None:
        """Resume there what was suspended for the move; what is not, or not any more, stays as it is.

        Before the first goes on none is a copy any more, as one may tell another something.
        """
        if not trees:
            return
        images = {image.record.incarnation: image for image in chain(*trees)}
        found = await self._there.read(self._there.inspector.get_many, [each.record.id for each in images.values()])
        copies = [each for each in found.values() if each.incarnation in images and _is_copy(each)]
        items = [
            work.Suspend(
                id=each.id, incarnation=each.incarnation, reason=_reason_there(each), instead_of=each.held_because
            )
            for each in copies
            if (each.held_because or "").startswith(_mark(images[each.incarnation].record))
        ]
        await asyncio.gather(*map(self._there.submit, items))
        if self._run:
            await self._resume(
                self._there, ((each.record, why) for each in images.values() for why in _reasons_to_wait(each))
            )

    async def _let_stay(self, trees: Sequence[Sequence[work.InstanceImage]]) -> None:
        """Resume here what was suspended for the move, and its activities, which may have come here and not gone on."""
        reasons = [
            (image.record, reason)
            for image in chain(*trees)
            for reason in sorted({MOVING} | {task.held_because or "" for task in image.tasks if _has_come(task)})
        ]
        await self._resume(self._here, reasons)

    async def _resume(self, gateway: Gateway, reasons: Iterable[tuple[work.InstanceRecord, str]]) -> None:
        items = [work.Resume(id=each.id, incarnation=each.incarnation, reason=reason) for each, reason in reasons]
        await asyncio.gather(*map(gateway.submit, items))


def _coming(image: work.InstanceImage) -> work.InstanceImage:
    """The image of a copy, which is told from what it is a copy of by `resets` too."""
    record, mark = replace(image.record, resets=image.record.resets + 1), _mark(image.record)
    if not record.status.is_closed:
        why = mark if record.held_because == MOVING else f"{mark}; {record.held_because or ''}"
        record = replace(record, held_because=why)
    tasks = tuple(
        replace(each, held_because=mark) if each.held_because == MOVING or _has_come(each) else each
        for each in image.tasks
    )
    return replace(image, record=record, tasks=tasks)


def _mark(record: work.InstanceRecord, words: str = COMING) -> str:
    """Why a copy is suspended of what stands so: whoever is late with a move lets no copy go on of a later one."""
    return f"{words} ({record.resets + 1})"


def _reasons_to_wait(image: work.InstanceImage) -> list[str]:
    """Why what has come from here may wait there: itself, and its activities if it may have any."""
    has_tasks = bool(image.tasks) or image.record.status is Status.MOVED
    return [*([_mark(image.record)] if has_tasks else []), _mark(image.record, COME)]


def _reason_there(copy: work.InstanceRecord) -> str:
    """Why it is suspended when it is a copy no more."""
    mark, is_kept, before = (copy.held_because or "").partition("); ")
    return before if is_kept else COME + mark.removeprefix(COMING)


def _has_come(task: work.TaskImage) -> bool:
    return (task.held_because or "").startswith(COMING)


def _is_copy(record: work.InstanceRecord) -> bool:
    return work.is_copy(record.status, record.held_because)


def _has_copies(tree: Sequence[work.InstanceImage]) -> bool:
    return any(_is_copy(image.record) for image in tree)


def _is_copy_of(tree: Sequence[work.InstanceImage], source: Sequence[work.InstanceImage]) -> bool:
    """Whether it was written as a copy of what is there, and not the other way round; a copy may be suspended anew."""
    return _has_copies(tree) or tree[0].record.resets > source[0].record.resets


def reason_before(record: work.InstanceRecord, reason: str) -> str:
    """Why a person had suspended it before it came, if it has come; this reason if nobody had."""
    why = record.held_because or ""
    if not why.startswith((COMING, COME)):
        return why
    _, is_kept, before = why.partition("); ")
    return before if is_kept else reason


def _runs(image: work.InstanceImage) -> bool:
    return not image.record.status.is_closed and image.record.status is not Status.SUSPENDED


def _is_taken(tree: Sequence[work.InstanceImage], refused: work.Refused) -> bool:
    """Whether another instance has an id there; if one of the same has come or changed, it is looked at anew."""
    if refused.reason is work.Refusal.EXISTS and refused.existing is not None:
        return refused.existing.incarnation not in {image.record.incarnation for image in tree}
    return refused.reason is work.Refusal.INCARNATION


def to_set_aside(image: work.InstanceImage, reason: str, *, all_tasks: bool) -> list[work.Suspend]:
    """What has yet to be set aside of an instance until nothing of it moves, or nothing but activities that run."""
    record = image.record
    is_suspended = record.status is Status.SUSPENDED
    # A place of a limit is no task of a worker: it stays as it is.
    moves = any(
        task.permit is None and task.held_because is None and (all_tasks or not task.running) for task in image.tasks
    )
    if reason == MOVING and is_suspended and (record.held_because or "").startswith((COMING, COME)):
        # What has come and moves on is a copy no more before it is copied: where both are, one must be none.
        why = reason_before(record, MOVING)
        return [work.Suspend(id=record.id, incarnation=record.incarnation, reason=why, instead_of=record.held_because)]
    if record.status.is_closed or (is_suspended and not moves):
        return []
    # Who was suspended by a person stays so, also if that comes first: only the tasks wait for what this is for.
    tasks: Literal["all", "wait"] = "all" if all_tasks else "wait"
    return [work.Suspend(id=record.id, incarnation=record.incarnation, reason=reason, tasks=tasks, keep=True)]
