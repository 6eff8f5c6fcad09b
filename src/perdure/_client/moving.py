"""How trees of instances go from one store to another, so that they run in one of them at any time.

Laws kept here: a tree goes on there only after this store has said, durably, that it has moved; what is sent to it
until then is copied, and what is sent later is refused. Every step may be repeated.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perdure import _work as work
from perdure._client.export_file import trees_of
from perdure._types import Status, duration_us
from perdure.errors import ClientError, OutcomeUnknownError, StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perdure._client.requests import Gateway
    from perdure._types import Duration

MOVING = "moving to another store"
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
    stale = {stamp.incarnation: stamp for stamp in instead_of}.get(first.incarnation)
    unknown: OutcomeUnknownError | None = None
    for _ in range(_UNKNOWN_RETRIES_MAX):
        try:
            if unknown is not None:
                found = await gateway.read(gateway.inspector.get, first.id)
                is_it = found is not None and found.incarnation == first.incarnation
                if found is not None and is_it and (stale is None or found.resets > stale.resets):
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


class Move:
    """A move of some trees."""

    def __init__(self, here: Gateway, there: Gateway, place: str, *, run: bool) -> None:
        self._here = here
        self._there = there
        self._place = place
        self._run = run
        self.refused: list[str] = []
        """Ids that others have there; the trees of these go on here."""

    async def trees(self, ids: Sequence[str], rounds: int) -> Transfer:
        """Move the trees of these roots; activities that run have so many rounds in which to end.

        Raises:
            ClientError: Something was sent to one of them again and again, so that no copy was complete.
        """
        waiting = set(ids)
        total = Transfer(trees=0, instances=0)
        for attempt in range(rounds + MOVE_ATTEMPTS_MAX):
            trees = await read(self._here, sorted(waiting))
            gone = [tree for tree in trees if tree[0].record.status is Status.MOVED]
            ready = [tree for tree in trees if tree[0].record.status is not Status.MOVED and self._is_still(tree)]
            moved = [*gone, *await self._copy(ready)]
            await self._let_go_on(moved)
            waiting &= {tree[0].record.id for tree in trees}
            waiting -= {tree[0].record.id for tree in moved}
            waiting -= set(self.refused)
            taken = [tree for tree in moved if tree not in gone]
            total = total_of(total, Transfer(trees=len(taken), instances=sum(map(len, taken)), skipped=len(gone)))
            if not waiting:
                return total
            still = {tree[0].record.id for tree in ready}
            moving = [tree for tree in trees if tree[0].record.id in waiting - still]
            if not await self._seal(moving, all_tasks=attempt >= rounds):
                await asyncio.sleep(LOOK_S)
        await self._let_stay(await read(self._here, sorted(waiting)))
        raise ClientError(f"{min(waiting)!r} was sent something whenever it was copied: move it when that has ended")

    def _is_still(self, tree: Sequence[work.InstanceImage]) -> bool:
        return not any(to_set_aside(image, MOVING, all_tasks=True) for image in tree)

    async def _seal(self, trees: Sequence[Sequence[work.InstanceImage]], *, all_tasks: bool) -> bool:
        """Suspend what is open, with its tasks; False if there is nothing to do but to wait."""
        images = [image for tree in trees for image in tree]
        items = [item for image in images for item in to_set_aside(image, MOVING, all_tasks=all_tasks)]
        await asyncio.gather(*map(self._here.submit, items))
        return bool(items)

    async def _copy(self, trees: Sequence[Sequence[work.InstanceImage]]) -> list[Sequence[work.InstanceImage]]:
        """Copy trees that stand still, and say here that they have moved; returns those of which that is so."""
        copied = await asyncio.gather(*(put(self._there, tree, "again") for tree in trees))
        moved: list[Sequence[work.InstanceImage]] = []
        for tree, outcome in zip(trees, copied, strict=True):
            if isinstance(outcome, work.Refused):
                self.refused.append(tree[0].record.id if outcome.existing is None else outcome.existing.id)
                self.refused.append(tree[0].record.id)
                await self._let_stay([tree])
                continue
            out = work.MoveOut(stamps=tuple(image.stamp for image in tree), place=self._place)
            if await self._is_out(out):
                moved.append(tree)
        return moved

    async def _is_out(self, item: work.MoveOut) -> bool:
        for _ in range(_UNKNOWN_RETRIES_MAX):
            try:
                return isinstance(await self._here.submit(item), work.Applied)
            except OutcomeUnknownError:
                continue
        # Nobody knows: the next round reads how it stands.
        return False

    async def _let_go_on(self, trees: Sequence[Sequence[work.InstanceImage]]) -> None:
        """Resume there what was suspended for the move; what is not, or not any more, stays as it is."""
        if self._run:
            await self._resume(self._there, trees)

    async def _let_stay(self, trees: Sequence[Sequence[work.InstanceImage]]) -> None:
        """Resume here what was suspended for the move."""
        await self._resume(self._here, trees)

    async def _resume(self, gateway: Gateway, trees: Sequence[Sequence[work.InstanceImage]]) -> None:
        records = [image.record for tree in trees for image in tree]
        items = [work.Resume(id=each.id, incarnation=each.incarnation, reason=MOVING) for each in records]
        await asyncio.gather(*map(gateway.submit, items))


def to_set_aside(image: work.InstanceImage, reason: str, *, all_tasks: bool) -> list[work.Suspend]:
    """What has yet to be set aside of an instance until nothing of it moves, or nothing but activities that run."""
    record = image.record
    is_suspended = record.status is Status.SUSPENDED
    # A place of a limit is no task of a worker: it stays as it is.
    moves = any(
        task.permit is None and task.held_because is None and (all_tasks or not task.running) for task in image.tasks
    )
    if record.status.is_closed or (is_suspended and not moves):
        return []
    # Who was suspended by a person stays so, for the reason that was given.
    why = (record.held_because or "") if is_suspended else reason
    return [
        work.Suspend(id=record.id, incarnation=record.incarnation, reason=why, tasks="all" if all_tasks else "wait")
    ]
