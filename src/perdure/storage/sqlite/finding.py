"""Finding a page of instances: along which index, and how far.

Where a page ends that is not full is asked first, in an index alone, and then what matches down to there.
"""

from typing import NamedTuple

import msgspec

from perdure._work import Query
from perdure.storage.base import INCARNATION_MAX, incarnations_of, parse_page_key
from perdure.storage.pages import RARE_MAX, has_strays, is_by_status, put_together, rows_of_each
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.rows import decode_answer, encode_rows
from perdure.storage.sqlite.statements import STATEMENTS

_COUNT_ATTRIBUTES = STATEMENTS["count_attributes"]
_COUNT_NAME = STATEMENTS["count_name"]
_INCARNATIONS = STATEMENTS["incarnations"]

_AT_FIRST = 1_000
"""How many rows are looked at first: mostly they fill a page, and to find where it ends costs a step for each."""


class _Way(NamedTuple):
    """Along which index instances are looked at: how to ask for a page there and for its end, and what of the index."""

    page: str
    end: str | None
    key: tuple[object, ...] = ()
    by_time: bool = False
    """Whether strays are not looked for along it, as they have a way of their own."""


_ALL = _Way(STATEMENTS["find_instances"], STATEMENTS["end_of_instances"], by_time=True)
_STRAYS = _Way(STATEMENTS["find_strays"], STATEMENTS["end_of_strays"])
_BY_STATUS = _Way(STATEMENTS["find_by_status"], STATEMENTS["end_by_status"], by_time=True)
_BY_NAME = _Way(STATEMENTS["find_by_name"], STATEMENTS["end_by_name"], by_time=True)
_BY_ATTRIBUTES = _Way(STATEMENTS["find_by_attributes"], STATEMENTS["end_by_attributes"])
_ROOT = _Way(STATEMENTS["find_root"], None)
_BELOW_ROOT = _Way(STATEMENTS["find_below_root"], STATEMENTS["end_below_root"])
_CHILDREN = _Way(STATEMENTS["find_children"], STATEMENTS["end_of_children"])
_CHILDREN_OF = _Way(STATEMENTS["find_children_of"], STATEMENTS["end_of_children_of"])


def find(connection: Connection, query: Query) -> tuple[list[int], str | None]:
    """The incarnations of a page, and the key of the next."""
    behind = INCARNATION_MAX if query.after is None else parse_page_key(query.after)
    limit = max(query.limit, 0)
    ways = _ways(connection, query)
    rows = rows_of_each(query, len(ways))
    places: list[tuple[list[int], int]] = []
    first = 0
    for way in ways:
        place = _look(connection, query, way, (behind, first), rows)
        places.append(place)
        # What is below is for the next page.
        first = max(first, place[1])
    return put_together(places, limit)


def _look(connection: Connection, query: Query, way: _Way, span: tuple[int, int], rows: int) -> tuple[list[int], int]:
    """What matches along a way, at most one more than the page has room for, and down to where it was looked for."""
    behind, first = span
    if way.by_time:
        since, before = incarnations_of(query) or (0, INCARNATION_MAX)
        behind, first = min(behind, before), max(first, since)
    statuses = encode_rows(query.statuses) if query.statuses and way.page != _BY_STATUS.page else None
    most = max(query.limit, 0) + 1
    found: list[int] = []
    for step in (min(rows, _AT_FIRST), rows - _AT_FIRST):
        if step <= 0:
            break
        end = None if way.end is None else connection.execute(way.end, (behind, first, step - 1, *way.key)).get
        asked = wanted(query, behind, most - len(found), statuses)
        page = connection.execute(way.page, (*asked, first if end is None else end, *way.key[:1])).get
        found += decode_answer(page)
        if len(found) == most:
            return found, min(found)
        if end is None:
            return found, 0
        behind = end
    return found, behind


def _ways(connection: Connection, query: Query) -> list[_Way]:
    """Along what a page is found: what is rare, as far as that can be told at once."""
    if query.parents or query.parent is not None:
        return [_of_parents(connection, query)]
    if query.root is not None:
        return [_ROOT._replace(key=(query.root,)), _BELOW_ROOT._replace(key=(query.root,))]
    if (key := _attribute(connection, query)) is not None:
        return [_BY_ATTRIBUTES._replace(key=(key, _attributes(query)))]
    if query.name is not None and (not is_by_status(query) or _is_rare(connection, query.name)):
        ways = [_BY_NAME._replace(key=(query.name,))]
    elif is_by_status(query):
        ways = [_BY_STATUS._replace(key=(status,)) for status in sorted(set(query.statuses))]
    else:
        ways = [_ALL]
    return [*ways, _STRAYS] if has_strays(query) else ways


def _of_parents(connection: Connection, query: Query) -> _Way:
    if len(query.parents) > 1:
        return _CHILDREN_OF._replace(key=(encode_rows(query.parents),))
    if query.parents:
        return _CHILDREN._replace(key=query.parents)
    found = decode_answer(connection.execute(_INCARNATIONS, (encode_rows([query.parent]),)).get)
    return _CHILDREN._replace(key=(found.get(query.parent),))


def _is_rare(connection: Connection, name: str) -> bool:
    return bool(connection.execute(_COUNT_NAME, (name, RARE_MAX + 1)).get <= RARE_MAX)


def _attribute(connection: Connection, query: Query) -> str | None:
    """The attribute along which the page is found: the rarest of them, if nothing else that is asked may be rarer."""
    if not query.attributes:
        return None
    asked = (_attributes(query), RARE_MAX + 1)
    counts: list[tuple[str, int]] = decode_answer(connection.execute(_COUNT_ATTRIBUTES, asked).get)
    key, many = min(counts, key=lambda each: each[1])
    alone = query.name is None and not is_by_status(query) and not has_strays(query)
    return key if many <= RARE_MAX or alone else None


def _attributes(query: Query) -> str | None:
    return str(msgspec.json.encode(query.attributes), "utf-8") if query.attributes else None


def wanted(query: Query, behind: int, most: int | None, statuses: str | None) -> tuple[object, ...]:
    """What the statements that find and count instances have in common: ?1 to ?12."""
    return (
        behind, query.name, query.version, statuses, _attributes(query), most, query.created_from, query.created_before,
        query.updated_from, query.updated_before, query.root, query.roots_only,
    )  # fmt: skip
