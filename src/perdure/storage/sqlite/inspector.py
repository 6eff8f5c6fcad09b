"""Reading the store: short snapshots on a connection that never writes."""

from collections.abc import Sequence

import msgspec

from perdure._types import Status
from perdure._work import HistoryRow, InstanceRecord, Query, Standing
from perdure.storage.base import page_key, parse_page_key
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.rows import cut, decode_answer, encode_rows, record_of_row, records_of_json
from perdure.storage.sqlite.statements import STATEMENTS

_LAST = (1 << 63) - 1
_GET = STATEMENTS["get_instance"]
_INCARNATIONS = STATEMENTS["incarnations"]
_RECORDS = STATEMENTS["records"]
_FIND = STATEMENTS["find_instances"]
_BY_STATUS = STATEMENTS["find_by_status"]
_STANDINGS = {None: Standing.GONE, 0: Standing.WANTED, 1: Standing.STOPPED}


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
    attributes = None if not query.attributes else str(msgspec.json.encode(query.attributes), "utf-8")
    # No incarnation is the highest number there is.
    before = _LAST if query.after is None else parse_page_key(query.after)

    def ask(statement: str, status: str | None) -> list[int]:
        bindings = (before, query.name, query.version, status, attributes, most)
        page: list[int] = decode_answer(connection.execute(statement, bindings).get)
        return page

    if not query.statuses:
        return ask(_FIND, None)
    if Status.COMPLETED in query.statuses:
        return ask(_FIND, encode_rows(query.statuses))
    # Rare among the completed, so each has a place of its own in the index.
    pages = [ask(_BY_STATUS, status) for status in sorted(set(query.statuses))]
    return sorted((incarnation for page in pages for incarnation in page), reverse=True)[:most]


def _records(connection: Connection, incarnations: list[int]) -> list[InstanceRecord]:
    return records_of_json(connection.execute(_RECORDS, (encode_rows(incarnations),)).get)


def read_standings(connection: Connection, worker: int, tasks: Sequence[tuple[int, int, int]]) -> list[Standing]:
    """How these tasks of a worker stand."""
    with connection.alone():
        answer = connection.execute(STATEMENTS["task_standings"], (encode_rows(tasks), worker)).get
    return [_STANDINGS[stopped] for stopped in decode_answer(answer)]


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
