"""Reading the store: short snapshots on a connection that never writes."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

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
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.finding import find, wanted
from perdure.storage.sqlite.images import read as read_images
from perdure.storage.sqlite.rows import cut, decode_answer, encode_rows, records_of_json
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.workers import read_workers

_GET = STATEMENTS["get_instance"]
_INCARNATIONS = STATEMENTS["incarnations"]
_RECORDS = STATEMENTS["records"]
_COUNT = STATEMENTS["count_instances"]


class SqliteInspector(ABC):
    """The half of a store that only reads; see `Inspector`."""

    @abstractmethod
    def now(self) -> int:
        """The store's time."""

    @abstractmethod
    def _read(self) -> Connection:
        """The connection that never writes."""

    def get(self, instance_id: str, /) -> InstanceRecord | None:
        """One instance by id."""
        connection = self._read()
        with connection.alone():
            # All of it is read: a statement that is not at its end keeps its snapshot, and the log grows behind it.
            rows = connection.execute(_GET, (instance_id,)).fetchall()
        return record_of_row(rows[0]) if rows else None

    def get_many(self, instance_ids: Sequence[str], /) -> dict[str, InstanceRecord]:
        """Those of the instances that exist."""
        connection = self._read()
        with connection.reading():
            found = decode_answer(connection.execute(_INCARNATIONS, (encode_rows(list(instance_ids)),)).get)
            records = _records(connection, list(found.values()))
        return {record.id: record for record in records}

    def still_open(self, instance_ids: Sequence[str], /) -> dict[str, int]:
        """The incarnations of those of the instances that are open."""
        connection = self._read()
        with connection.alone():
            found = connection.execute(STATEMENTS["still_open"], (encode_rows(list(instance_ids)),)).get
        return dict(decode_answer(found))

    def find(self, query: Query, /) -> tuple[list[InstanceRecord], str | None]:
        """One page and the key of the next, None at the end."""
        connection = self._read()
        with connection.reading():
            incarnations, key = find(connection, query)
            return _records(connection, incarnations), key

    def count(self, query: Query, /) -> list[InstanceCount]:
        """How many instances match, by name and status."""
        connection = self._read()
        statuses = encode_rows(query.statuses) if query.statuses else None
        parents = encode_rows(query.parents) if query.parents else None
        asked = (*wanted(query, INCARNATION_MAX, None, statuses), query.parent, parents)
        with connection.alone():
            rows = decode_answer(connection.execute(_COUNT, asked).get)
        return counts_of_rows(rows)

    def family(self, instance_id: str, limit: int, /) -> list[InstanceRecord]:
        """The instance and everything below it, those nearest to it first."""
        connection = self._read()
        with connection.reading():
            return _records(
                connection, decode_answer(connection.execute(STATEMENTS["family"], (instance_id, limit)).get)
            )

    def executions(self, incarnation: int, /) -> list[ExecutionRecord]:
        """The executions that have a history, in order."""
        connection = self._read()
        with connection.alone():
            rows = decode_answer(connection.execute(STATEMENTS["executions"], (incarnation,)).get)
        return executions_of_rows(rows)

    def held_tasks(self, limit: int, incarnation: int | None = None, /) -> list[HeldTask]:
        """The tasks that were set aside, of one instance or of all, at most so many."""
        connection = self._read()
        with connection.alone():
            rows = decode_answer(connection.execute(STATEMENTS["held_tasks"], (limit, incarnation)).get)
        return held_of_rows(rows)

    def open_tasks(self, incarnation: int, limit: int, /) -> list[OpenTask]:
        """The activities of an instance that have not ended, in order of their events."""
        connection = self._read()
        with connection.alone():
            rows: list[Any] = connection.execute(STATEMENTS["open_tasks"], (incarnation, limit)).fetchall()
        return open_of_rows(rows)

    def depths(self) -> Depths:
        """What waits at this moment."""
        connection = self._read()
        now = self.now()
        with connection.reading():
            counts = decode_answer(connection.execute(STATEMENTS["depths"], (now,)).get)
            tasks = decode_answer(connection.execute(STATEMENTS["task_depths"], (now,)).get)
        return depths_of_rows(now, counts, tasks)

    def limits(self) -> list[LimitUse]:
        """The limits that some task has."""
        connection = self._read()
        now = self.now()
        with connection.reading():
            return limits_of_rows(now, decode_answer(connection.execute(STATEMENTS["limits"], (now,)).get))

    def limit_users(self, key: str, limit: int, /) -> list[LimitUser]:
        """The tasks of a limit key, at most so many."""
        connection = self._read()
        with connection.reading():
            return limit_users_of_rows(decode_answer(connection.execute(STATEMENTS["limit_users"], (key, limit)).get))

    def read_history(self, incarnation: int, execution: int, /) -> list[HistoryRow]:
        """All rows of one execution, in order."""
        return read_history(self._read(), incarnation, execution)

    def images(self, instance_ids: Sequence[str], /) -> list[InstanceImage]:
        """These instances and everything below them, with all their rows."""
        return read_images(self._read(), instance_ids)

    def entries(self, incarnation: int, shelf: str, /, keys: Sequence[str] | None = None) -> dict[str, bytes]:
        """What an instance keeps on a shelf."""
        connection = self._read()
        bindings: list[Any] = [incarnation, shelf]
        statement = STATEMENTS["entries"]
        if keys is not None:
            statement = STATEMENTS["entries_of_keys"]
            bindings.append(encode_rows(list(keys)))
        with connection.alone():
            rows: list[Any] = connection.execute(statement, bindings).fetchall()
        return dict(rows)

    def parcels(
        self, shard: int | None, limit: int, /, incarnations: Sequence[int] | None = None, before: int | None = None
    ) -> list[Parcel]:
        """What is in the outbox for a shard, or for all, in order."""
        connection = self._read()
        wanted = None if incarnations is None else encode_rows(list(incarnations))
        with connection.alone():
            rows: list[Any] = connection.execute(STATEMENTS["parcels"], (shard, limit, wanted, before)).fetchall()
        return [
            Parcel(seq=seq, shard=to, incarnation=incarnation, sent_at=sent_at, body=body)
            for seq, to, incarnation, sent_at, body in rows
        ]

    def lowest_parcel(self) -> int:
        """The lowest number of a parcel in the outbox, or one above all that were there."""
        connection = self._read()
        with connection.alone():
            return int(connection.execute(STATEMENTS["lowest_parcel"]).get)

    def workers(self) -> list[WorkerRecord]:
        """The registered workers, in order of registration."""
        return read_workers(self._read())


def _records(connection: Connection, incarnations: list[int]) -> list[InstanceRecord]:
    return records_of_json(connection.execute(_RECORDS, (encode_rows(incarnations),)).get)


def read_standings(connection: Connection, worker: int, tasks: Sequence[tuple[int, int, int]]) -> list[Standing]:
    """How these tasks of a worker stand."""
    with connection.alone():
        answer = connection.execute(STATEMENTS["task_standings"], (encode_rows(tasks), worker)).get
    return [STANDINGS[stopped] for stopped in decode_answer(answer)]


def lapsed(connection: Connection, scan: Scan) -> Lapsed:
    """What need not be kept any more, among a few instances."""
    bindings = (scan.after, scan.rows_max, scan.completed_before, scan.ended_before, scan.executions)
    with connection.alone():
        count, last, roots, overlong = decode_answer(connection.execute(STATEMENTS["lapsed"], bindings).get)
    return Lapsed(
        roots=tuple(map(tuple, roots)),
        overlong=tuple(map(tuple, overlong)),
        last=last if count == scan.rows_max else None,
    )


def read_history(connection: Connection, incarnation: int, execution: int) -> list[HistoryRow]:
    """All rows of one execution, in order."""
    with connection.alone():
        answer, blob = connection.execute(STATEMENTS["history"], (incarnation, execution)).get
    rows = decode_answer(answer)
    pieces = cut(blob, [row[-1] for row in rows])
    return [
        HistoryRow(first=first, last=last, at=at, data=data or b"", crc=crc, format=format_, encoding=encoding)
        for (first, last, at, crc, format_, encoding, _), data in zip(rows, pieces, strict=True)
    ]
