"""Reading the store: short snapshots on a connection that never writes."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from perdure._types import Status
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
)
from perdure.storage.base import INCARNATION_MAX, incarnations_of, page_key, parse_page_key
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
from perdure.storage.sqlite.rows import cut, decode_answer, encode_rows, records_of_json
from perdure.storage.sqlite.statements import STATEMENTS

_GET = STATEMENTS["get_instance"]
_INCARNATIONS = STATEMENTS["incarnations"]
_RECORDS = STATEMENTS["records"]
_FIND = STATEMENTS["find_instances"]
_BY_STATUS = STATEMENTS["find_by_status"]
_BY_NAME = STATEMENTS["find_by_name"]
_BY_ROOT = STATEMENTS["find_by_root"]
_STRAYS = STATEMENTS["find_strays"]
_CHILDREN = STATEMENTS["find_children"]
_CHILDREN_OF = STATEMENTS["find_children_of"]
_COUNT = STATEMENTS["count_instances"]


def get(connection: Connection, instance_id: str) -> InstanceRecord | None:
    """One instance by id."""
    with connection.alone():
        # All of it is read: a statement that is not at its end keeps its snapshot, and the log grows behind it.
        rows = connection.execute(_GET, (instance_id,)).fetchall()
    return record_of_row(rows[0]) if rows else None


def get_many(connection: Connection, instance_ids: Sequence[str]) -> dict[str, InstanceRecord]:
    """Those of the instances that exist."""
    with connection.reading():
        found = decode_answer(connection.execute(_INCARNATIONS, (encode_rows(list(instance_ids)),)).get)
        records = _records(connection, list(found.values()))
    return {record.id: record for record in records}


def find(connection: Connection, query: Query) -> tuple[list[InstanceRecord], str | None]:
    """One page and the key of the next, None at the end."""
    limit = max(query.limit, 0)
    with connection.reading():
        found = _matching(connection, query, limit + 1)
        records = _records(connection, found[:limit])
    return records, page_key(records[-1]) if records and len(found) > limit else None


def _matching(connection: Connection, query: Query, most: int) -> list[int]:
    """The incarnations of what the query wants, newest first."""
    span = incarnations_of(query)
    first, before = span or (0, INCARNATION_MAX)

    def ask(statement: str, statuses: str | None, before: int = INCARNATION_MAX) -> list[int]:
        *bindings, parent, parents = _bindings(query, statuses, most, before)
        # Which of the last there is, is a matter of the statement.
        last = {_CHILDREN: (parent,), _CHILDREN_OF: (parents,), _BY_ROOT: (), _STRAYS: ()}.get(statement, (first,))
        page: list[int] = decode_answer(connection.execute(statement, (*bindings, *last)).get)
        return page

    statuses = encode_rows(query.statuses) if query.statuses else None
    if query.parents or query.parent is not None:
        return ask(_CHILDREN_OF if query.parents else _CHILDREN, statuses)
    if query.root is not None:
        return ask(_BY_ROOT, statuses)
    if not query.statuses or Status.COMPLETED in query.statuses:
        pages = [ask(_FIND if query.name is None else _BY_NAME, statuses, before)]
    else:
        # Rare among the completed, so each has a place of its own in the index.
        pages = [ask(_BY_STATUS, status, before) for status in sorted(set(query.statuses))]
    if span is not None:
        pages.append(ask(_STRAYS, statuses))
    # A stray may also lie where it would not be one.
    return sorted({incarnation for page in pages for incarnation in page}, reverse=True)[:most]


def _bindings(
    query: Query, statuses: str | None, most: int | None, before: int = INCARNATION_MAX
) -> tuple[object, ...]:
    attributes = None if not query.attributes else str(msgspec.json.encode(query.attributes), "utf-8")
    behind = INCARNATION_MAX if query.after is None else parse_page_key(query.after)
    return (
        min(behind, before),
        query.name, query.version, statuses, attributes, most, query.created_from, query.created_before,
        query.updated_from, query.updated_before, query.root, query.roots_only, query.parent,
        encode_rows(query.parents) if query.parents else None,
    )  # fmt: skip


def count(connection: Connection, query: Query) -> list[InstanceCount]:
    """How many instances match, by name and status."""
    statuses = encode_rows(query.statuses) if query.statuses else None
    with connection.alone():
        rows = decode_answer(connection.execute(_COUNT, _bindings(replace(query, after=None), statuses, None)).get)
    return counts_of_rows(rows)


def family(connection: Connection, instance_id: str, limit: int) -> list[InstanceRecord]:
    """The instance and everything below it, those nearest to it first."""
    with connection.reading():
        return _records(connection, decode_answer(connection.execute(STATEMENTS["family"], (instance_id, limit)).get))


def executions(connection: Connection, incarnation: int) -> list[ExecutionRecord]:
    """The executions that have a history, in order."""
    with connection.alone():
        rows = decode_answer(connection.execute(STATEMENTS["executions"], (incarnation,)).get)
    return executions_of_rows(rows)


def held_tasks(connection: Connection, limit: int, incarnation: int | None) -> list[HeldTask]:
    """The tasks that were set aside, of one instance or of all, at most so many."""
    with connection.alone():
        rows = decode_answer(connection.execute(STATEMENTS["held_tasks"], (limit, incarnation)).get)
    return held_of_rows(rows)


def open_tasks(connection: Connection, incarnation: int, limit: int) -> list[OpenTask]:
    """The activities of an instance that have not ended, in order of their events."""
    with connection.alone():
        rows: list[Any] = connection.execute(STATEMENTS["open_tasks"], (incarnation, limit)).fetchall()
    return open_of_rows(rows)


def depths(connection: Connection, now: int) -> Depths:
    """What waits at this moment."""
    with connection.reading():
        counts = decode_answer(connection.execute(STATEMENTS["depths"], (now,)).get)
        tasks = decode_answer(connection.execute(STATEMENTS["task_depths"], (now,)).get)
    return depths_of_rows(now, counts, tasks)


def limits(connection: Connection, now: int) -> list[LimitUse]:
    """The limits that some task has."""
    with connection.reading():
        return limits_of_rows(now, decode_answer(connection.execute(STATEMENTS["limits"], (now,)).get))


def limit_users(connection: Connection, key: str, limit: int) -> list[LimitUser]:
    """The tasks of a limit key, at most so many."""
    with connection.reading():
        return limit_users_of_rows(decode_answer(connection.execute(STATEMENTS["limit_users"], (key, limit)).get))


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


def entries(connection: Connection, incarnation: int, shelf: str, keys: Sequence[str] | None) -> dict[str, bytes]:
    """What an instance keeps on a shelf."""
    bindings: list[Any] = [incarnation, shelf]
    statement = STATEMENTS["entries"]
    if keys is not None:
        statement = STATEMENTS["entries_of_keys"]
        bindings.append(encode_rows(list(keys)))
    with connection.alone():
        rows: list[Any] = connection.execute(statement, bindings).fetchall()
    return dict(rows)


def parcels(
    connection: Connection, shard: int | None, limit: int, incarnations: Sequence[int] | None, before: int | None
) -> list[Parcel]:
    """What is in the outbox for a shard, or for all, in order."""
    wanted = None if incarnations is None else encode_rows(list(incarnations))
    with connection.alone():
        rows: list[Any] = connection.execute(STATEMENTS["parcels"], (shard, limit, wanted, before)).fetchall()
    return [
        Parcel(seq=seq, shard=to, incarnation=incarnation, sent_at=sent_at, body=body)
        for seq, to, incarnation, sent_at, body in rows
    ]


def lowest_parcel(connection: Connection) -> int:
    """The lowest number of a parcel in the outbox, or one above all that were there."""
    with connection.alone():
        return int(connection.execute(STATEMENTS["lowest_parcel"]).get)
