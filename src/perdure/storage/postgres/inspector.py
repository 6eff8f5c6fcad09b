"""Reading the store, on connections that never write."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perdure._work import (
    Depths,
    ExecutionRecord,
    HeldTask,
    HistoryRow,
    InstanceCount,
    InstanceImage,
    InstanceRecord,
    Lapsed,
    LimitUse,
    LimitUser,
    OpenTask,
    Parcel,
    Query,
    Scan,
    Standing,
    WorkerRecord,
)
from perdure.storage.base import INCARNATION_MAX
from perdure.storage.postgres.arrays import (
    bigint,
    bigints,
    text,
    texts,
)
from perdure.storage.postgres.finding import find, wanted
from perdure.storage.postgres.images import read as read_images
from perdure.storage.postgres.readers import Readers
from perdure.storage.postgres.rows import history_of_row, worker_of_row
from perdure.storage.records import (
    STANDINGS,
    counts_of_rows,
    depths_of_rows,
    executions_of_rows,
    held_of_rows,
    limit_users_of_rows,
    limits_of_rows,
    open_of_rows,
    record_of_row,
)

if TYPE_CHECKING:
    from perdure.storage.postgres.wire import Call


class PostgresInspector(ABC):
    """The half of a store that only reads; see `Inspector`."""

    _schema: str

    @abstractmethod
    def now(self) -> int:
        """The store's time."""

    @abstractmethod
    def _looking(self) -> Readers:
        """The connections that never write."""

    def get(self, instance_id: str, /) -> InstanceRecord | None:
        """One instance by id."""
        return self.get_many([instance_id]).get(instance_id)

    def get_many(self, instance_ids: Sequence[str], /) -> dict[str, InstanceRecord]:
        """Those of the instances that exist."""
        ids = [each for each in instance_ids if "\0" not in each]
        if not ids:
            return {}
        [rows] = self._looking().read([("get_instances", (texts(ids),))])
        return {record.id: record for record in map(record_of_row, rows)}

    def still_open(self, instance_ids: Sequence[str], /) -> dict[str, int]:
        """The incarnations of those of the instances that are open."""
        ids = [each for each in instance_ids if "\0" not in each]
        if not ids:
            return {}
        [rows] = self._looking().read([("still_open", (texts(ids),))])
        return dict(rows)

    def find(self, query: Query, /) -> tuple[list[InstanceRecord], str | None]:
        """One page and the key of the next, None at the end."""
        return find(self._looking(), query)

    def count(self, query: Query, /) -> list[InstanceCount]:
        """How many instances match, by name and status."""
        statuses = texts(query.statuses) if query.statuses else None
        parents = bigints(query.parents) if query.parents else None
        asked = (*wanted(query, INCARNATION_MAX, statuses, None), text(query.parent), parents)
        [rows] = self._looking().read([("count_instances", asked)])
        return counts_of_rows(rows)

    def family(self, instance_id: str, limit: int, /) -> list[InstanceRecord]:
        """The instance and everything below it, those nearest to it first."""
        [rows] = self._looking().read([("family", (text(instance_id), bigint(limit)))])
        return [record_of_row(row) for row in rows]

    def executions(self, incarnation: int, /) -> list[ExecutionRecord]:
        """The executions that have a history, in order."""
        [rows] = self._looking().read([("executions", (bigint(incarnation),))])
        return executions_of_rows(rows)

    def held_tasks(self, limit: int, incarnation: int | None = None, /) -> list[HeldTask]:
        """The tasks that were set aside, of one instance or of all, at most so many."""
        [rows] = self._looking().read([("held_tasks", (bigint(limit), bigint(incarnation)))])
        return held_of_rows(rows)

    def open_tasks(self, incarnation: int, limit: int, /) -> list[OpenTask]:
        """The activities of an instance that have not ended, in order of their events."""
        [rows] = self._looking().read([("open_tasks", (bigint(incarnation), bigint(limit)))])
        return open_of_rows(rows)

    def depths(self) -> Depths:
        """What waits at this moment."""
        now = self.now()
        [counts], tasks = self._looking().read([("depths", (bigint(now),)), ("task_depths", (bigint(now),))])
        return depths_of_rows(now, counts, tasks)

    def limits(self) -> list[LimitUse]:
        """The limits that some task has."""
        now = self.now()
        [rows] = self._looking().read([("limits_used", (bigint(now),))])
        return limits_of_rows(now, rows)

    def limit_users(self, key: str, limit: int, /) -> list[LimitUser]:
        """The tasks of a limit key, at most so many."""
        [rows] = self._looking().read([("limit_users", (text(key), bigint(limit)))])
        return limit_users_of_rows(rows)

    def read_history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        [rows] = self._looking().read([("history", (bigint(incarnation), bigint(execution)))])
        return [history_of_row(row) for row in rows]

    def images(self, instance_ids: Sequence[str], /) -> list[InstanceImage]:
        """These instances and everything below them, with all their rows."""
        return read_images(self._looking(), instance_ids)

    def entries(self, incarnation: int, shelf: str, /, keys: Sequence[str] | None = None) -> dict[str, bytes]:
        """What an instance keeps on a shelf."""
        place = bigint(incarnation), text(shelf)
        call: Call = ("entries", place)
        if keys is not None:
            call = ("entries_of_keys", (*place, texts([key for key in keys if "\0" not in key])))
        [rows] = self._looking().read([call])
        return dict(rows)

    def workers(self) -> list[WorkerRecord]:
        """All workers, in order of registration."""
        [rows] = self._looking().read([("workers", ())])
        return [worker_of_row(row) for row in rows]

    def parcels(
        self, shard: int | None, limit: int, /, incarnations: Sequence[int] | None = None, before: int | None = None
    ) -> list[Parcel]:
        """What is in the outbox for a shard, or for all, in order."""
        bindings = [bigint(limit), bigint(before)]
        call: Call = ("parcels", bindings)
        if incarnations is not None:
            call = ("parcels_of", [*bindings, bigint(shard), bigints(incarnations)])
        elif shard is not None:
            call = ("parcels_for", [*bindings, bigint(shard)])
        [rows] = self._looking().read([call])
        return [
            Parcel(seq=seq, shard=to, incarnation=incarnation, sent_at=sent_at, body=body)
            for seq, to, incarnation, sent_at, body in rows
        ]

    def identity(self) -> str:
        """What no other store has."""
        [[(found,)]] = self._looking().read([("identity", (text(self._schema),))])
        return str(found)

    def lowest_parcel(self) -> int:
        """The lowest number of a parcel in the outbox, or one above all that were there."""
        [[(lowest,)]] = self._looking().read([("lowest_parcel", (text(self._schema),))])
        return int(lowest)


def lapsed(readers: Readers, scan: Scan) -> Lapsed:
    """What need not be kept any more, among a few instances."""
    values = (scan.after, scan.rows_max, scan.completed_before, scan.ended_before, scan.executions)
    [rows] = readers.read([("lapsed", [bigint(value) for value in values])])
    return Lapsed(
        roots=tuple((id_, incarnation) for id_, incarnation, is_over, _ in rows if is_over),
        overlong=tuple((id_, incarnation) for id_, incarnation, _, has_past in rows if has_past),
        last=rows[-1][1] if len(rows) == scan.rows_max else None,
    )


def read_standings(readers: Readers, worker: int, tasks: Sequence[tuple[int, int, int]]) -> list[Standing]:
    """How these tasks of a worker stand."""
    if not tasks:
        return []
    keys = [bigints(column) for column in zip(*tasks, strict=True)]
    [rows] = readers.read([("task_standings", [*keys, bigint(worker)])])
    return [STANDINGS[stopped] for (stopped,) in rows]
