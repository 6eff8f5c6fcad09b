"""Reading the store: short snapshots on a connection that never writes."""

from collections.abc import Sequence

import msgspec

from perdure._work import HistoryRow, InstanceRecord, Query
from perdure.storage.base import page_key, parse_page_key
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.rows import cut, decode_answer, encode_rows, record_of_row
from perdure.storage.sqlite.statements import STATEMENTS

_LAST = (1 << 63) - 1
_GET = STATEMENTS["get_instance"]


def get(connection: Connection, instance_id: str) -> InstanceRecord | None:
    """One instance by id."""
    with connection.alone():
        row = connection.execute(_GET, (instance_id,)).fetchone()
    return None if row is None else record_of_row(row)


def get_many(connection: Connection, instance_ids: Sequence[str]) -> dict[str, InstanceRecord]:
    """Those of the instances that exist."""
    with connection.alone():
        rows = connection.execute(STATEMENTS["get_instances"], (encode_rows(list(instance_ids)),)).fetchall()
    return {row[0]: record_of_row(row) for row in rows}


def find(connection: Connection, query: Query) -> tuple[list[InstanceRecord], str | None]:
    """One page and the key of the next, None at the end."""
    created_at, incarnation = (_LAST, _LAST) if query.after is None else parse_page_key(query.after)
    bindings = (
        created_at,
        incarnation,
        query.name,
        query.version,
        encode_rows(query.statuses) if query.statuses else None,
        str(msgspec.json.encode(query.attributes), "utf-8") if query.attributes else None,
        query.limit + 1,
    )
    with connection.alone():
        rows = connection.execute(STATEMENTS["find_instances"], bindings).fetchall()
    records = [record_of_row(row) for row in rows[: query.limit]]
    return records, page_key(records[-1]) if len(rows) > len(records) else None


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
