"""Finding a page of instances: along which indexes, and how far."""

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from perdure._work import InstanceRecord, Query
from perdure.storage.base import INCARNATION_MAX, incarnations_of, parse_page_key
from perdure.storage.pages import RARE_MAX, has_strays, is_by_status, put_together, rows_of_each
from perdure.storage.postgres.arrays import bigint, bigints, boolean, text, texts
from perdure.storage.postgres.readers import Readers
from perdure.storage.postgres.wire import Call, Rows
from perdure.storage.records import record_of_row

NEWEST_MAX = 2_000
"""How many instances are looked at first for a page of those with some attributes, before others are along an index.

The attributes of each are read as JSON, which takes the server 1 to 5 microseconds, by how many it has.
"""

TURNS_MAX = 2_500
"""How many instances are looked at for a page of what was updated when: for each that is open its last turn is read."""

FEW_MAX = 1_000
"""How many instances with these attributes are then all looked at; of more, each page goes on from the newest."""

_BY_VALUE: Call = ("plan_by_value", ())
_BY_ATTRIBUTES: Call = ("by_attributes_only", ())


class _Way(NamedTuple):
    """Along which index instances are looked at: the statement, and what of the index."""

    statement: str
    key: tuple[bytes | None, ...] = ()
    by_time: bool = False
    """Whether strays are not looked for along it, as they have a way of their own."""


def find(readers: Readers, query: Query) -> tuple[list[InstanceRecord], str | None]:
    """A page, and the key of the next."""
    if query.updated_from is not None or query.updated_before is not None:
        query = replace(query, rows_max=min(query.rows_max, TURNS_MAX))
    if not query.attributes:
        return _look(readers, query)
    page, key = _look(readers, replace(query, rows_max=min(query.rows_max, NEWEST_MAX)))
    if key is None or len(page) == query.limit:
        return page, key
    return _few_with_attributes(readers, query, min(query.rows_max, FEW_MAX)) or (page, key)


def _look(readers: Readers, query: Query) -> tuple[list[InstanceRecord], str | None]:
    """The page along what is rare, as far as that can be told at once."""
    ways = _ways(readers, query)
    rows = rows_of_each(query, len(ways))
    answers = readers.read([_BY_VALUE, *(_asked(query, way, rows) for way in ways)])[1:]
    return _page(query, answers, rows)


def _few_with_attributes(readers: Readers, query: Query, few: int) -> tuple[list[InstanceRecord], str | None] | None:
    """The page, found along the attributes; None if more than a few instances have them."""
    statuses = texts(query.statuses) if query.statuses else None
    asked = wanted(query, _behind(query), statuses, max(query.limit, 0) + 1)
    parents = bigints(query.parents) if query.parents else None
    call: Call = ("find_by_attributes", (*asked, text(query.parent), parents, bigint(few)))
    _, rows = readers.read([_BY_ATTRIBUTES, call])
    if rows[0][0] > few:
        return None
    return _page(query, [[row[1:] for row in rows if row[1] is not None]], None)


def _page(query: Query, answers: list[Rows], rows: int | None) -> tuple[list[InstanceRecord], str | None]:
    limit = max(query.limit, 0)
    records: dict[int, InstanceRecord] = {}
    places: list[tuple[list[int], int]] = []
    for answer in answers:
        found: list[int] = []
        end = 0
        for number, hit, *row in answer:
            record = record_of_row(row)
            if hit:
                records[record.incarnation] = record
                found.append(record.incarnation)
            if number == rows:
                end = record.incarnation
        places.append((found, min(found) if len(found) > limit else end))
    incarnations, key = put_together(places, limit)
    return [records[each] for each in incarnations], key


def _ways(readers: Readers, query: Query) -> list[_Way]:
    """The statements whose answers together have the first that match."""
    if len(query.parents) > 1:
        return [_Way("find_children_of", (bigints(query.parents),))]
    if query.parents or query.parent is not None:
        return [_Way("find_children", (bigint(query.parents[0] if query.parents else None), text(query.parent)))]
    if query.root is not None:
        return [_Way("find_root", (text(query.root),)), _Way("find_below_root", (text(query.root),))]
    if query.name is not None and (not is_by_status(query) or _is_rare(readers, query.name)):
        ways = [_Way("find_by_name", (text(query.name),), by_time=True)]
    elif query.statuses:
        ways = [_Way("find_by_status", (text(status),), by_time=True) for status in sorted(set(query.statuses))]
    else:
        ways = [_Way("find_by_creation", by_time=True)]
    return [*ways, _Way("find_strays")] if has_strays(query) else ways


def _is_rare(readers: Readers, name: str) -> bool:
    [[(many,)]] = readers.read([("count_name", (text(name), bigint(RARE_MAX + 1)))])
    return bool(many <= RARE_MAX)


def _asked(query: Query, way: _Way, rows: int) -> Call:
    behind, first = _behind(query), 0
    if way.by_time and (span := incarnations_of(query)) is not None:
        behind, first = min(behind, span[1]), span[0]
    statuses = texts(query.statuses) if query.statuses and way.statement != "find_by_status" else None
    common = wanted(query, behind, statuses, max(query.limit, 0) + 1)
    return way.statement, (*common, bigint(first), bigint(rows), *way.key)


def _behind(query: Query) -> int:
    return INCARNATION_MAX if query.after is None else parse_page_key(query.after)


def _attributes(query: Query) -> bytes | None:
    if not query.attributes:
        return None
    # jsonb's binary form is its text behind a version.
    return b"\x01" + msgspec.json.encode(query.attributes).replace(b"\\u0000", b"\\ufffd")


def wanted(query: Query, behind: int, statuses: bytes | None, most: int | None) -> tuple[bytes | None, ...]:
    """What the statements that find and count instances have in common: $1 to $12."""
    return (
        bigint(behind),
        text(query.name), text(query.version), statuses, _attributes(query), bigint(most), bigint(query.created_from),
        bigint(query.created_before), bigint(query.updated_from), bigint(query.updated_before), text(query.root),
        boolean(value=query.roots_only),
    )  # fmt: skip
