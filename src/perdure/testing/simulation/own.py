"""Transactions of users' own, as on PostgreSQL: they hold up nobody, and ids that they are about to take are taken.

Whoever else wants such an id is put off: a start is refused, and an orchestration that would start it rests and tries
again. The store is the reference, which knows no such transactions: what is in one is committed when it ends.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from msgspec.structs import replace

from perdure import _work as work
from perdure._types import Status
from perdure.testing.simulation.ledger import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perdure.storage.memory.rows import Tables
    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.world import World

OWN = 7
"""The last digit of the seeds of worlds in which users have connections of their own."""
_REST_US = 1_000_000
_BUSY = work.Refused(reason=work.Refusal.BUSY)


class OwnTransactions:
    """Those of one world: `taken` are the ids that they are about to take, `rows` what is in the users' table."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.taken: dict[str, OwnTransaction] = {}
        self.rows: set[str] = set()
        self.put_off: Counter[str] = Counter()

    def written(self) -> frozenset[str]:
        """What users have written into a table of their own."""
        return frozenset(self.rows)

    def commit(self, store: Any, batch: work.Batch) -> tuple[work.Batch, work.Committed, work.Committed]:
        """Apply a batch but for what is put off: what was applied, its answer, and that to the whole batch."""
        late = [self._is_late(item, batch.worker) for item in batch.items]
        if not any(late):
            answer: work.Committed = store.commit(batch)
            return batch, answer, answer
        self.put_off.update(type(item).__name__ for item, is_late in zip(batch.items, late, strict=True) if is_late)
        rests = [self._rests(item) if is_late else item for item, is_late in zip(batch.items, late, strict=True)]
        batch = replace(batch, items=tuple(item for item in rests if item is not None))
        answer = store.commit(batch)
        outcomes = iter(answer.outcomes)
        told: list[work.Outcome] = []
        for item, is_late in zip(rests, late, strict=True):
            outcome = _BUSY if item is None else next(outcomes)
            told.append(_BUSY if is_late else outcome)
        return batch, answer, replace(answer, outcomes=tuple(told))

    def _is_late(self, item: work.Item, worker: int | None) -> bool:
        if not self.taken:
            return False
        tables = self._world.rows
        if isinstance(item, work.Turn) and not _may_apply(tables, item, worker):
            return False
        return any(id_ in self.taken and id_ not in tables.by_id for id_ in _wanted(item))

    @staticmethod
    def _rests(item: work.Item) -> work.Item | None:
        """What is done instead."""
        if isinstance(item, work.Turn) and item.create is None:
            return work.InstanceRelease(incarnation=item.incarnation, delay_us=_REST_US)
        return None

    def drop(self, host: Host) -> None:
        """A process is gone, and with it its connections."""
        for tx in list(self.taken.values()):
            if tx.host is host:
                tx.end()


def _may_apply(tables: Tables, turn: work.Turn, number: int | None) -> bool:
    """Whether nothing else is to be said of the turn."""
    worker = tables.workers.get(number or 0)
    if worker is None or turn.create is not None:
        return worker is not None
    if turn.incarnation not in worker.instances:
        return False
    record = tables.instances[turn.incarnation].record
    is_next = (record.execution, record.last_event) == (turn.execution, turn.base)
    return is_next and not (record.status is Status.SUSPENDED and turn.runs)


def _wanted(item: work.Item) -> Iterator[str]:
    """The ids that an item would take."""
    if isinstance(item, work.StartInstance):
        yield item.new.id
    elif isinstance(item, work.Turn):
        yield from (child.new.id for child in item.starts)
        if item.create is not None:
            yield item.create.id


class OwnTransaction:
    """One of them: an `async with` commits at its end, and rolls back what raises."""

    def __init__(self, host: Host, own: OwnTransactions) -> None:
        self.host = host
        self._own = own
        self.rows: list[str] = []
        self.items: list[work.ClientItem] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                await self.host.gateway.read(self.host.port.end_own, self)
        finally:
            self.end()

    def execute(self, _: str, values: tuple[str, ...] = ()) -> None:
        """A statement of the user's; one with values writes a row."""
        self.rows += values

    def join(self, tables: Tables, item: work.ClientItem) -> work.Outcome:
        """Make an item part of it, or refuse it."""
        match item:
            case work.StartInstance(new=new, on_conflict="fail"):
                present = tables.by_id.get(new.id)
                if present is not None:
                    return work.Refused(reason=work.Refusal.EXISTS, existing=present.record)
                if self._own.taken.setdefault(new.id, self) is not self:
                    return _BUSY
            case work.Deliver(to_id=to_id) if self._own.taken.get(to_id) is self:
                pass
            case _:
                raise Violation(f"{item} is not to be in a simulated transaction")
        self.items.append(item)
        return work.APPLIED

    def write(self) -> None:
        """Its rows are in the table."""
        self._own.rows.update(self.rows)

    def end(self) -> None:
        """The ids are free."""
        for id_ in [id_ for id_, tx in self._own.taken.items() if tx is self]:
            del self._own.taken[id_]
