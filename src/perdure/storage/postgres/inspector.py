"""Reading the store, on connections that never write."""

import threading
from collections.abc import Callable, Sequence

import msgspec

from perdure._types import Status
from perdure._work import HistoryRow, InstanceRecord, Query, Standing, WorkerRecord
from perdure.storage.base import page_key, parse_page_key
from perdure.storage.postgres.arrays import bigint, bigints, text, texts
from perdure.storage.postgres.rows import history_of_row, record_of_row, worker_of_row
from perdure.storage.postgres.session import Session
from perdure.storage.postgres.wire import Call, Rows

READERS_IDLE_MAX = 2
"""How many connections are kept for readers that are not there."""

_LAST = (1 << 63) - 1
_STANDINGS = {None: Standing.GONE, False: Standing.WANTED, True: Standing.STOPPED}


class Readers:
    """As many connections as there are readers at once."""

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Session] = []
        self._closed = False

    def read(self, calls: Sequence[Call]) -> list[Rows]:
        """The answers of statements."""
        with self._lock:
            session = self._idle.pop() if self._idle else self._make()
        try:
            return session.read(calls)
        finally:
            with self._lock:
                keep = len(self._idle) < READERS_IDLE_MAX and not self._closed
                if keep:
                    self._idle.append(session)
            if not keep:
                session.close()

    def close(self) -> None:
        """Close those that are idle now, and the others when their readers have done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()


def get_many(readers: Readers, instance_ids: Sequence[str]) -> dict[str, InstanceRecord]:
    """Those of the instances that exist."""
    ids = [each for each in instance_ids if "\0" not in each]
    if not ids:
        return {}
    [rows] = readers.read([("get_instances", (texts(ids),))])
    return {record.id: record for record in map(record_of_row, rows)}


def find(readers: Readers, query: Query) -> tuple[list[InstanceRecord], str | None]:
    """One page and the key of the next, None at the end."""
    limit = max(query.limit, 0)
    behind = _LAST if query.after is None else parse_page_key(query.after)
    attributes = None
    if query.attributes:
        # jsonb's binary form is its text behind a version.
        attributes = b"\x01" + msgspec.json.encode(query.attributes).replace(b"\\u0000", b"\\ufffd")

    def page_of(statement: str, statuses: bytes | None) -> Call:
        return statement, (
            bigint(behind), text(query.name), text(query.version), statuses, attributes, bigint(limit + 1),
        )  # fmt: skip

    if query.statuses and Status.COMPLETED not in query.statuses:
        # Rare among the completed, so each has an index of its own.
        calls = [page_of("find_by_status", text(status)) for status in sorted(set(query.statuses))]
    else:
        calls = [page_of("find_by_creation", texts(query.statuses) if query.statuses else None)]
    records = [record_of_row(row) for rows in readers.read(calls) for row in rows]
    records.sort(key=lambda record: record.incarnation, reverse=True)
    page = records[:limit]
    return page, page_key(page[-1]) if page and len(records) > limit else None


def read_history(readers: Readers, incarnation: int, execution: int) -> list[HistoryRow]:
    """All rows of one execution, in order."""
    [rows] = readers.read([("history", (bigint(incarnation), bigint(execution)))])
    return [history_of_row(row) for row in rows]


def read_standings(readers: Readers, worker: int, tasks: Sequence[tuple[int, int, int]]) -> list[Standing]:
    """How these tasks of a worker stand."""
    if not tasks:
        return []
    keys = [bigints(column) for column in zip(*tasks, strict=True)]
    [rows] = readers.read([("task_standings", [*keys, bigint(worker)])])
    return [_STANDINGS[stopped] for (stopped,) in rows]


def read_workers(readers: Readers) -> list[WorkerRecord]:
    """All workers, in order of registration."""
    [rows] = readers.read([("workers", ())])
    return [worker_of_row(row) for row in rows]
