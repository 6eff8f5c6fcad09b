"""A store on several databases, as clients see it: one.

What names an instance goes to the shard that has it; what is about all of them asks each and puts the answers together.
Each shard answers for its own moment: across shards there is no common one.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from perdure import _work as work
from perdure._types import slot_of
from perdure.errors import OutcomeUnknownError, StorageError, UsageError
from perdure.storage.pages import put_together

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from perdure._client.requests import Ending

T = TypeVar("T")

TREE_MAX = 100_000
"""How many instances of a tree are looked at for a delete."""

_PARENTS_AT_ONCE = 1_000
_ARRIVES_IN_S = 1.0
_LOOK_S = 0.02


class _NotArrivedError(UsageError):
    """What an instance has sent to another shard is on its way: mostly it is there in a moment."""


class ShardedInspector:
    """The read side of all shards."""

    def __init__(self, shards: Sequence[Any]) -> None:
        self._shards = shards

    def number_of(self, instance_id: str) -> int:
        """Which shard has the instance."""
        return work.Shard(number=0, count=len(self._shards)).of(instance_id)

    def _at(self, instance_id: str) -> Any:
        return self._shards[self.number_of(instance_id)]

    def _of(self, incarnation: int) -> Any:
        return self._shards[work.shard_of(incarnation, len(self._shards))]

    def now(self) -> int:
        """The time of the shard whose clock is ahead."""
        return max(int(shard.now()) for shard in self._shards)

    def now_at(self, instance_id: str, /) -> int:
        """The time of the shard that has the instance, or would have it."""
        now: int = self._at(instance_id).now()
        return now

    def get(self, instance_id: str, /) -> work.InstanceRecord | None:
        """One instance by id."""
        found: work.InstanceRecord | None = self._at(instance_id).get(instance_id)
        return found

    def get_many(self, instance_ids: Sequence[str], /) -> dict[str, work.InstanceRecord]:
        """Those of the instances that exist."""
        found: dict[str, work.InstanceRecord] = {}
        for number, ids in self._by_shard(instance_ids).items():
            found |= self._shards[number].get_many(ids)
        return found

    def still_open(self, instance_ids: Sequence[str], /) -> dict[str, int]:
        """The incarnations of those of the instances that are open."""
        found: dict[str, int] = {}
        for number, ids in self._by_shard(instance_ids).items():
            found |= self._shards[number].still_open(ids)
        return found

    def _by_shard(self, instance_ids: Iterable[str]) -> dict[int, list[str]]:
        by_shard: dict[int, list[str]] = defaultdict(list)
        for instance_id in instance_ids:
            by_shard[self.number_of(instance_id)].append(instance_id)
        return by_shard

    def find(self, query: work.Query, /) -> tuple[list[work.InstanceRecord], str | None]:
        """One page and the key of the next. Incarnations of different shards are different, so theirs is an order."""
        query = self._with_parents(query)
        if query.parents == (0,):
            return [], None
        pages: list[tuple[list[work.InstanceRecord], str | None]] = [shard.find(query) for shard in self._shards]
        records = {record.incarnation: record for page, _ in pages for record in page}
        places = [([each.incarnation for each in page], int(key or 0)) for page, key in pages]
        incarnations, key = put_together(places, max(query.limit, 0))
        page = [records[each] for each in incarnations]
        return self._without_far_children(page) if query.roots_only else page, key

    def _with_parents(self, query: work.Query) -> work.Query:
        """The same about the children of an incarnation, wherever that is; of 0, which nobody has, for no parent."""
        if query.parent is None:
            return query
        parent = self.get(query.parent)
        return replace(query, parent=None, parents=(0 if parent is None else parent.incarnation,))

    def _without_far_children(self, records: list[work.InstanceRecord]) -> list[work.InstanceRecord]:
        parents = {each.parent.instance_id for each in records if each.parent is not None}
        known = {each.incarnation for each in self.get_many(sorted(parents)).values()} if parents else set()
        return [each for each in records if each.parent is None or each.parent.incarnation not in known]

    def count(self, query: work.Query, /) -> list[work.InstanceCount]:
        """How many instances match; with `roots_only` the children whose parents are on other shards count, too."""
        query = self._with_parents(query)
        total: Counter[tuple[str, Any]] = Counter()
        for each in chain.from_iterable(shard.count(query) for shard in self._shards):
            total[each.name, each.status] += each.count
        return [
            work.InstanceCount(name=name, status=status, count=total[name, status]) for name, status in sorted(total)
        ]

    def family(self, instance_id: str, limit: int, /) -> list[work.InstanceRecord]:
        """The instance and everything below it on whatever shard, those nearest to it first."""
        root = self.get(instance_id)
        found = [] if root is None else [root]
        generation = found
        while generation and len(found) < limit:
            generation = self._children(generation, limit)
            found = [*found, *generation]
        return found[:limit]

    def _children(self, parents: Sequence[work.InstanceRecord], limit: int) -> list[work.InstanceRecord]:
        incarnations = [each.incarnation for each in parents]
        found: list[work.InstanceRecord] = []
        for begin in range(0, len(incarnations), _PARENTS_AT_ONCE):
            query = work.Query(parents=tuple(incarnations[begin : begin + _PARENTS_AT_ONCE]), limit=limit)
            for shard in self._shards:
                found += _newest(shard, query)
        return sorted(found, key=lambda record: record.incarnation)

    def executions(self, incarnation: int, /) -> list[work.ExecutionRecord]:
        """The executions of an instance."""
        found: list[work.ExecutionRecord] = self._of(incarnation).executions(incarnation)
        return found

    def held_tasks(self, limit: int, incarnation: int | None = None, /) -> list[work.HeldTask]:
        """The tasks that were set aside, of one instance or of all."""
        shards = self._shards if incarnation is None else [self._of(incarnation)]
        found = chain.from_iterable(shard.held_tasks(limit, incarnation) for shard in shards)
        return sorted(found, key=lambda task: (task.held_at, task.incarnation, task.event))[:limit]

    def depths(self) -> work.Depths:
        """What waits on all shards; the moment is that of the one whose clock is ahead."""
        depths: list[work.Depths] = [shard.depths() for shard in self._shards]
        return work.Depths(
            now=max(each.now for each in depths),
            ready=sum(each.ready for each in depths),
            messages=sum(each.messages for each in depths),
            timers=sum(each.timers for each in depths),
            held=sum(each.held for each in depths),
            parcels=sum(each.parcels for each in depths),
            ready_since=_first(each.ready_since for each in depths),
            held_since=_first(each.held_since for each in depths),
            parcels_since=_first(each.parcels_since for each in depths),
            tasks=_tasks(depths),
        )

    def limits(self) -> list[work.LimitUse]:
        """The limits of all shards; each shard has its own places for a key."""
        uses: dict[str, work.LimitUse] = {}
        for use in chain.from_iterable(shard.limits() for shard in self._shards):
            known = uses.get(use.key)
            uses[use.key] = use if known is None else _both(known, use)
        return [uses[key] for key in sorted(uses, key=str.encode)]

    def limit_users(self, key: str, limit: int, /) -> list[work.LimitUser]:
        """The tasks with a limit key; those with an owner, then the others, as they were scheduled."""
        found = chain.from_iterable(shard.limit_users(key, limit) for shard in self._shards)
        return sorted(found, key=lambda user: (user.owner is None, user.scheduled_at))[:limit]

    def read_history(self, incarnation: int, execution: int, /) -> list[work.HistoryRow]:
        """All rows of one execution."""
        found: list[work.HistoryRow] = self._of(incarnation).read_history(incarnation, execution)
        return found

    def images(self, instance_ids: Sequence[str], /) -> list[work.InstanceImage]:
        """These instances and everything below them, as long as that is on their own shards.

        Raises:
            UsageError: It is not, and there is no moment that several databases have in common.
        """
        found: list[work.InstanceImage] = []
        for number, ids in self._by_shard(instance_ids).items():
            found += self._shards[number].images(ids)
        for image in found:
            self._refuse_crossing(image.record)
        return sorted(found, key=lambda image: image.record.incarnation)

    def _refuse_crossing(self, record: work.InstanceRecord) -> None:
        """What of an instance is on other shards, or on its way there, is in no image of it."""
        home = self._at(record.id)
        if any(self._at(child.id) is not home for child in self._children([record], 1)):
            raise UsageError(
                f"instance {record.id!r} has children on other shards: it can't be put back, reset or forked"
            )
        # A child that has not arrived yet would be asked for once more, and meet itself.
        others = [number for number, shard in enumerate(self._shards) if shard is not home]
        if any(home.parcels(number, 1, [record.incarnation]) for number in others):
            raise _NotArrivedError(
                f"what instance {record.id!r} has sent to another shard has not arrived there yet: until it has "
                "(`perdure queues` tells), it can't be put back, reset or forked"
            )

    def open_tasks(self, incarnation: int, limit: int, /) -> list[work.OpenTask]:
        """The activities of an instance that have not ended."""
        found: list[work.OpenTask] = self._of(incarnation).open_tasks(incarnation, limit)
        return found

    def entries(self, incarnation: int, shelf: str, /, keys: Sequence[str] | None = None) -> dict[str, bytes]:
        """What an instance keeps on a shelf."""
        found: dict[str, bytes] = self._of(incarnation).entries(incarnation, shelf, keys)
        return found

    def workers(self) -> list[work.WorkerRecord]:
        """The workers, each once: it has a place on every shard."""
        found: dict[tuple[str, str, int, int], work.WorkerRecord] = {}
        for shard in self._shards:
            met: Counter[tuple[str, str, int]] = Counter()
            for record in shard.workers():
                who = (record.name, record.host, record.pid)
                met[who] += 1
                known = found.setdefault((*who, met[who]), record)
                if record.lease_until < known.lease_until:
                    found[*who, met[who]] = replace(known, lease_until=record.lease_until)
        return sorted(found.values(), key=lambda record: record.started_at)

    async def join(self, connection: Any, item: work.ClientItem, /) -> work.Outcome:
        """Make an item part of a transaction of the user's own, on the database of the shard that it belongs to."""
        number = self.number_of(_id_of(item))
        join = getattr(self._shards[number], "join", None)
        if join is None:
            raise UsageError("connection= needs a store in PostgreSQL or in a SQLite file: one in memory has none")
        try:
            outcome: work.Outcome = await join(connection, item)
        except UsageError as error:
            error.add_note(
                f"Instance {_id_of(item)!r} belongs to shard {number} of {len(self._shards)}, number 0 being the "
                "first of the list: pass a connection to that database."
            )
            raise
        return outcome


def _newest(inspector: Any, query: work.Query) -> list[work.InstanceRecord]:
    """As many as the query wants, on however many pages they are."""
    found: list[work.InstanceRecord] = []
    after = None
    while True:
        page, after = inspector.find(replace(query, after=after, limit=query.limit - len(found)))
        found += page
        if after is None or len(found) >= query.limit:
            return found


def _first(moments: Iterable[int | None]) -> int | None:
    return min((each for each in moments if each is not None), default=None)


def _tasks(depths: Sequence[work.Depths]) -> tuple[work.TaskDepth, ...]:
    by_name: dict[tuple[str, str], list[work.TaskDepth]] = defaultdict(list)
    for task in chain.from_iterable(each.tasks for each in depths):
        by_name[task.name, task.tag or ""].append(task)
    return tuple(
        work.TaskDepth(
            name=name,
            tag=tag or None,
            waiting=sum(each.waiting for each in tasks),
            delayed=sum(each.delayed for each in tasks),
            running=sum(each.running for each in tasks),
            waiting_since=_first(each.waiting_since for each in tasks),
        )
        for (name, tag), tasks in sorted(by_name.items())
    )


def _both(left: work.LimitUse, right: work.LimitUse) -> work.LimitUse:
    waits = [each for each in (left.waiting_us, right.waiting_us) if each is not None]
    return replace(
        left,
        running=left.running + right.running,
        waiting=left.waiting + right.waiting,
        waiting_us=max(waits, default=None),
    )


def _id_of(item: work.Item) -> str:
    """The instance that an item names."""
    match item:
        case work.StartInstance(new=new):
            return new.id
        case work.Deliver(to_id=to_id):
            return to_id
        case work.Delete(id=id_) | work.Prune(id=id_) | work.Suspend(id=id_) | work.Resume(id=id_):
            return id_
        case work.Put(images=images):
            return images[0].record.id
        case _:
            raise UsageError(f"a {type(item).__name__} names no instance of a sharded store")


class ShardedGateway:
    """A gateway for each shard, as one.

    Args:
        gateways: One for each shard, in order.
        storages: The databases.
    """

    def __init__(self, gateways: Sequence[Any], storages: Sequence[Any]) -> None:
        self._gateways = gateways
        self._inspector = ShardedInspector(storages)
        self.shards = len(gateways)

    @property
    def inspector(self) -> ShardedInspector:
        """The read side."""
        return self._inspector

    def _at(self, instance_id: str) -> Any:
        return self._gateways[self._inspector.number_of(instance_id)]

    def draw_incarnation(self, instance_id: str) -> int:
        """A fresh incarnation for a start, which says where the instance is."""
        return work.with_slot(self._gateways[0].draw_incarnation(instance_id), slot_of(instance_id))

    def draw_id(self) -> str:
        """A fresh instance id: a UUID of version 7."""
        drawn: str = self._gateways[0].draw_id()
        return drawn

    def submit(self, item: work.Item) -> Awaitable[work.Outcome]:
        """Have an item committed by the shard that it belongs to; a few items are about others, too."""
        match item:
            case work.TaskDiscard(incarnation=incarnation):
                outcome: Awaitable[work.Outcome] = self._gateways[work.shard_of(incarnation, self.shards)].submit(item)
            case work.Delete():
                outcome = self._delete(item)
            case work.StartInstance(on_conflict="terminate_and_restart"):
                outcome = self._restart(item)
            case _:
                outcome = self._at(_id_of(item)).submit(item)
        return outcome

    def ending(self, instance_id: str, incarnation: int | None = None) -> Awaitable[Ending]:
        """Wait for the instance's end."""
        ending: Awaitable[Ending] = self._at(instance_id).ending(instance_id, incarnation)
        return ending

    async def news(self, instance_id: str) -> asyncio.Future[None]:
        """A future that is done when the instance may have changed after this returned."""
        news: asyncio.Future[None] = await self._at(instance_id).news(instance_id)
        return news

    async def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a method of the inspector off the event loop; again for a moment while something has to arrive first."""
        looks = round(_ARRIVES_IN_S / _LOOK_S)
        while True:
            try:
                found: T = await self._gateways[0].read(function, *arguments)
            except _NotArrivedError:
                looks -= 1
                if looks == 0:
                    raise
                await asyncio.sleep(_LOOK_S)
            else:
                return found

    async def close(self) -> None:
        """Close them all."""
        await asyncio.gather(*(each.close() for each in self._gateways))

    async def _far_parent(self, record: work.InstanceRecord) -> work.InstanceRecord | None:
        """The parent, if it is there still, and on another shard: its own says what is to be said of one there."""
        parent = record.parent
        if parent is None or self._at(parent.instance_id) is self._at(record.id):
            return None
        found = await self.read(self._inspector.get, parent.instance_id)
        return found if found is not None and found.incarnation == parent.incarnation else None

    async def _delete(self, item: work.Delete) -> work.Outcome:
        """Delete a tree: what lies on other shards first, so that what is left can be deleted again."""
        family = await self.read(self._inspector.family, item.id, TREE_MAX)
        if family and item.incarnation in (None, family[0].incarnation):
            if await self._far_parent(family[0]) is not None:
                return work.Refused(reason=work.Refusal.NOT_ROOT)
            if not item.force and any(not each.status.is_closed for each in family):
                return work.Refused(reason=work.Refusal.NOT_CLOSED)
        count = 0
        for each in reversed(family[1:]):
            if each.parent is not None and self._at(each.parent.instance_id) is not self._at(each.id):
                far = work.Delete(id=each.id, force=item.force, incarnation=each.incarnation)
                outcome: work.Outcome = await self._at(each.id).submit(far)
                if isinstance(outcome, work.Applied):
                    count += outcome.count
                elif outcome.reason is not work.Refusal.NOT_FOUND:
                    return outcome
        last: work.Outcome = await self._at(item.id).submit(item)
        return replace(last, count=last.count + count) if isinstance(last, work.Applied) else last

    async def _restart(self, item: work.StartInstance) -> work.Outcome:
        """Replace an instance; its children on other shards hear of it after."""
        before = await self.read(self._inspector.get, item.new.id)
        # Sent again, it may meet itself: then its own children go on.
        is_itself = before is not None and before.incarnation == item.new.incarnation
        is_open = before is not None and not before.status.is_closed and not is_itself
        if before is not None and is_open:
            parent = await self._far_parent(before)
            if parent is not None and not parent.status.is_closed:
                return work.Refused(reason=work.Refusal.NOT_ROOT)
        outcome: work.Outcome
        try:
            outcome = await self._at(item.new.id).submit(item)
        except OutcomeUnknownError:
            # Sent again, nobody would know any more whom it has replaced.
            if not await self._is_there(item.new):
                raise
            outcome = work.APPLIED
        replaced = isinstance(outcome, work.Applied) and outcome.existing is None
        if before is not None and is_open and replaced and item.cancel is not None:
            for child in await self._far_children(before):
                if not child.status.is_closed:
                    told = work.Deliver(to_id=child.id, body=item.cancel, incarnation=child.incarnation)
                    await self._at(child.id).submit(told)
        return outcome

    async def _is_there(self, new: work.NewInstance) -> bool:
        """Whether a start is known to have landed."""
        try:
            found = await self.read(self._inspector.get, new.id)
        except StorageError:
            return False
        return found is not None and found.incarnation == new.incarnation

    async def _far_children(self, record: work.InstanceRecord) -> list[work.InstanceRecord]:
        query = work.Query(parents=(record.incarnation,), limit=TREE_MAX)
        found = await self.read(_newest, self._inspector, query)
        return [each for each in found if self._at(each.id) is not self._at(record.id)]
