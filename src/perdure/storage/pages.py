"""A page of instances is found in one place, or in several that are each looked through for themselves.

A place is what one index knows: all instances, those of a status, of a name, on a shard. Only so many of its rows are
looked at for a page, so what a page has may be incomplete below the incarnation down to which a place was looked
through, and is left to the next.
"""

from collections.abc import Iterable

from perdure._types import Status
from perdure._work import Query
from perdure.storage.base import incarnations_of

RARE_MAX = 1_000
"""How many instances that have an attribute or a name are few, so that a page of them goes along no other index."""


def put_together(places: Iterable[tuple[Iterable[int], int]], limit: int) -> tuple[list[int], str | None]:
    """The incarnations of a page, newest first, and the key of the next.

    Each place gives what matches there, and down to which incarnation it was looked through: 0 for all of it.
    """
    found: set[int] = set()
    end = 0
    for incarnations, down_to in places:
        found.update(incarnations)
        end = max(end, down_to)
    # One may be in two places, as a stray is.
    matching = sorted((each for each in found if each >= end), reverse=True)
    page = matching[:limit]
    if len(matching) > limit:
        return page, str(page[-1]) if page else None
    return page, str(end) if end else None


def rows_of_each(query: Query, places: int) -> int:
    """How many rows of each place are looked at."""
    return max(query.rows_max // places, 1)


def is_by_status(query: Query) -> bool:
    """Whether each status is a place: completed ones are nearly all of a grown store, and no place of their own."""
    return bool(query.statuses) and Status.COMPLETED not in query.statuses


def has_strays(query: Query) -> bool:
    """Whether those have to be looked through besides that were begun at another time than their incarnation says."""
    return incarnations_of(query) is not None
