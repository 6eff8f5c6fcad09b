"""Reading the store, on connections that never write."""

import threading
from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from perdure._work import (
    Depths,
    ExecutionRecord,
    HeldTask,
    HistoryRow,
    InstanceCount,
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
from perdure.storage.base import (
    INCARNATION_MAX,
    incarnations_of,
    page_key,
    parse_page_key,
)
from perdure.storage.postgres.arrays import (
    bigint,
    bigints,
    boolean,
    text,
    texts,
)
from perdure.storage.postgres.rows import history_of_row, worker_of_row
from perdure.storage.postgres.session import Session
from perdure.storage.postgres.wire import Call, Rows
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

READERS_IDLE_MAX = 2
"""How many connections are kept for readers that are not there."""

NEWEST_MAX = 5_000
"""How many instances are looked at first for a page of those with some attributes."""

FEW_MAX = 20_000
"""How many instances with these attributes are then all looked at, rather than others on the way from the newest."""

_BY_VALUE: Call = ("plan_by_value", ())
_BY_ATTRIBUTES: Call = ("by_attributes_only", ())


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
    answers = _by_attributes(readers, query, limit + 1)
    if not answers:
        answers = readers.read([_BY_VALUE, *_pages(query, limit + 1)])[1:]
    # A stray may also lie where it would not be one.
    records = {record.incarnation: record for rows in answers for record in map(record_of_row, rows)}
    newest = sorted(records.values(), key=lambda record: record.incarnation, reverse=True)
    page = newest[:limit]
    return page, page_key(page[-1]) if page and len(newest) > limit else None


def _by_attributes(readers: Readers, query: Query, most: int) -> list[Rows]:
    """The page of what has some attributes, if the newest fill it or few have them; otherwise nothing."""
    if not query.attributes or query.parents or query.parent is not None or query.root is not None:
        return []
    bindings = _bindings(query, texts(query.statuses) if query.statuses else None, most)[:-2]
    page = readers.read([_BY_VALUE, ("find_among_newest", [*bindings, bigint(NEWEST_MAX)])])[1:]
    if len(page[0]) == most:
        return page
    asked = (_attributes(query), bigint(FEW_MAX + 1))
    _, [(many,)] = readers.read([_BY_ATTRIBUTES, ("count_by_attributes", asked)])
    return readers.read([_BY_ATTRIBUTES, ("find_by_attributes", bindings)])[1:] if many <= FEW_MAX else []


def _attributes(query: Query) -> bytes | None:
    if not query.attributes:
        return None
    # jsonb's binary form is its text behind a version.
    return b"\x01" + msgspec.json.encode(query.attributes).replace(b"\\u0000", b"\\ufffd")


def _pages(query: Query, most: int) -> list[Call]:
    """The statements whose answers together have the first `most` of what matches."""
    statuses = texts(query.statuses) if query.statuses else None
    *bindings, parent, parents = _bindings(query, statuses, most)
    if query.parents:
        return [("find_children_of", [*bindings, parents])]
    if query.parent is not None:
        return [("find_children", [*bindings, parent])]
    if query.root is not None:
        return [("find_by_root", bindings)]
    first, before = incarnations_of(query) or (0, INCARNATION_MAX)
    by_status = "find_by_status" if query.name is None else "find_by_name_and_status"
    calls: list[Call] = [
        (by_status, [*_bindings(query, text(status), most, before)[:-2], bigint(first)])
        for status in sorted(set(query.statuses))
    ]
    if not calls:
        by_all = "find_by_creation" if query.name is None else "find_by_name"
        calls = [(by_all, [*_bindings(query, None, most, before)[:-2], bigint(first)])]
    if incarnations_of(query) is not None:
        calls.append(("find_strays", [*bindings, bigint(0)]))
    return calls


def _bindings(
    query: Query, statuses: bytes | None, most: int | None, before: int = INCARNATION_MAX
) -> tuple[bytes | None, ...]:
    behind = INCARNATION_MAX if query.after is None else parse_page_key(query.after)
    return (
        bigint(min(behind, before)),
        text(query.name), text(query.version), statuses, _attributes(query), bigint(most), bigint(query.created_from),
        bigint(query.created_before), bigint(query.updated_from), bigint(query.updated_before), text(query.root),
        boolean(value=query.roots_only), text(query.parent), bigints(query.parents) if query.parents else None,
    )  # fmt: skip


def count(readers: Readers, query: Query) -> list[InstanceCount]:
    """How many instances match, by name and status."""
    statuses = texts(query.statuses) if query.statuses else None
    [rows] = readers.read([("count_instances", _bindings(replace(query, after=None), statuses, None))])
    return counts_of_rows(rows)


def family(readers: Readers, instance_id: str, limit: int) -> list[InstanceRecord]:
    """The instance and everything below it, those nearest to it first."""
    [rows] = readers.read([("family", (text(instance_id), bigint(limit)))])
    return [record_of_row(row) for row in rows]


def executions(readers: Readers, incarnation: int) -> list[ExecutionRecord]:
    """The executions that have a history, in order."""
    [rows] = readers.read([("executions", (bigint(incarnation),))])
    return executions_of_rows(rows)


def held_tasks(readers: Readers, limit: int, incarnation: int | None) -> list[HeldTask]:
    """The tasks that were set aside, of one instance or of all, at most so many."""
    [rows] = readers.read([("held_tasks", (bigint(limit), bigint(incarnation)))])
    return held_of_rows(rows)


def open_tasks(readers: Readers, incarnation: int, limit: int) -> list[OpenTask]:
    """The activities of an instance that have not ended, in order of their events."""
    [rows] = readers.read([("open_tasks", (bigint(incarnation), bigint(limit)))])
    return open_of_rows(rows)


def depths(readers: Readers, now: int) -> Depths:
    """What waits at this moment."""
    [counts], tasks = readers.read([("depths", (bigint(now),)), ("task_depths", (bigint(now),))])
    return depths_of_rows(now, counts, tasks)


def limits(readers: Readers, now: int) -> list[LimitUse]:
    """The limits that some task has."""
    [rows] = readers.read([("limits_used", (bigint(now),))])
    return limits_of_rows(now, rows)


def limit_users(readers: Readers, key: str, limit: int) -> list[LimitUser]:
    """The tasks of a limit key, at most so many."""
    [rows] = readers.read([("limit_users", (text(key), bigint(limit)))])
    return limit_users_of_rows(rows)


def lapsed(readers: Readers, scan: Scan) -> Lapsed:
    """What need not be kept any more, among a few instances."""
    values = (scan.after, scan.rows_max, scan.completed_before, scan.ended_before, scan.executions)
    [rows] = readers.read([("lapsed", [bigint(value) for value in values])])
    return Lapsed(
        roots=tuple((id_, incarnation) for id_, incarnation, is_over, _ in rows if is_over),
        overlong=tuple((id_, incarnation) for id_, incarnation, _, has_past in rows if has_past),
        last=rows[-1][1] if len(rows) == scan.rows_max else None,
    )


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
    return [STANDINGS[stopped] for (stopped,) in rows]


def entries(readers: Readers, incarnation: int, shelf: str, keys: Sequence[str] | None) -> dict[str, bytes]:
    """What an instance keeps on a shelf."""
    place = bigint(incarnation), text(shelf)
    call: Call = ("entries", place)
    if keys is not None:
        call = ("entries_of_keys", (*place, texts([key for key in keys if "\0" not in key])))
    [rows] = readers.read([call])
    return dict(rows)


def read_workers(readers: Readers) -> list[WorkerRecord]:
    """All workers, in order of registration."""
    [rows] = readers.read([("workers", ())])
    return [worker_of_row(row) for row in rows]


def parcels(
    readers: Readers, shard: int | None, limit: int, incarnations: Sequence[int] | None, before: int | None
) -> list[Parcel]:
    """What is in the outbox for a shard, or for all, in order."""
    bindings = [bigint(limit), bigint(before)]
    call: Call = ("parcels", bindings)
    if incarnations is not None:
        call = ("parcels_of", [*bindings, bigint(shard), bigints(incarnations)])
    elif shard is not None:
        call = ("parcels_for", [*bindings, bigint(shard)])
    [rows] = readers.read([call])
    return [
        Parcel(seq=seq, shard=to, incarnation=incarnation, sent_at=sent_at, body=body)
        for seq, to, incarnation, sent_at, body in rows
    ]


def identity(readers: Readers, schema: str) -> str:
    """What no other store has."""
    [[(found,)]] = readers.read([("identity", (text(schema),))])
    return str(found)


def lowest_parcel(readers: Readers, schema: str) -> int:
    """The lowest number of a parcel in the outbox, or one above all that were there."""
    [[(lowest,)]] = readers.read([("lowest_parcel", (text(schema),))])
    return int(lowest)
