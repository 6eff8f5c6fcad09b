"""Which instances are meant: the filter that lists, counts and bulk deletes share."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from perdure import _work as work
from perdure._client.attributes import encode_attributes
from perdure._types import Status, check_name, instant_us
from perdure.codec import decode_any
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping  # noqa: TC004 - the annotations of the fields are never evaluated
    from datetime import datetime  # noqa: TC004 - the same

    from perdure._client.attributes import Attribute  # noqa: TC004 - the same


class InstanceFilter(TypedDict, total=False):
    """What an instance must be like; every given field must match.

    Args:
        status: One status or several.
        name: The orchestration's name, or one of its former names: as it was started.
        version: Its exact version.
        attributes: Values that it was started with.
        created_after: Not created before this instant (aware).
        created_before: Created before this instant.
        updated_after: Its last turn, hold or end was not before this instant.
        updated_before: It was before this instant.
        parent: The id of an instance: its children are meant.
        root: The id of the root under which it was started: the whole tree is meant.
        roots_only: Leave out whoever is a child.
    """

    status: Status | str | Iterable[Status | str] | None
    name: str | None
    version: str | None
    attributes: Mapping[str, Attribute] | None
    created_after: datetime | None
    created_before: datetime | None
    updated_after: datetime | None
    updated_before: datetime | None
    parent: str | None
    root: str | None
    roots_only: bool


KNOWN = frozenset(InstanceFilter.__annotations__)


def query_of(filters: InstanceFilter, *, limit: int = 0, after: str | None = None) -> work.Query:
    """The filter as storage takes it.

    Raises:
        UsageError: A field does not exist, or its value means nothing.
    """
    unknown = filters.keys() - KNOWN
    if unknown:
        raise UsageError(f"there is no filter {', '.join(map(repr, sorted(unknown)))}: use {', '.join(sorted(KNOWN))}")
    attributes = filters.get("attributes")
    return work.Query(
        statuses=statuses_of(filters.get("status")),
        name=filters.get("name"),
        version=filters.get("version"),
        attributes={} if not attributes else decode_any(encode_attributes(attributes)),
        created_from=_instant(filters.get("created_after"), "created_after"),
        created_before=_instant(filters.get("created_before"), "created_before"),
        updated_from=_instant(filters.get("updated_after"), "updated_after"),
        updated_before=_instant(filters.get("updated_before"), "updated_before"),
        parent=_id(filters.get("parent")),
        root=_id(filters.get("root")),
        roots_only=bool(filters.get("roots_only")),
        limit=limit,
        after=after,
    )


def statuses_of(status: Status | str | Iterable[Status | str] | None) -> tuple[Status, ...]:
    """The statuses of a filter, none for any.

    Raises:
        UsageError: There is no such status.
    """
    if status is None:
        return ()
    try:
        return tuple(map(Status, [status] if isinstance(status, str) else status))
    except ValueError as error:
        raise UsageError(f"status is {status!r}: use {', '.join(Status)}, or several of them") from error


def _instant(instant: datetime | None, what: str) -> int | None:
    return None if instant is None else instant_us(instant, what)


def _id(instance_id: str | None) -> str | None:
    return None if instance_id is None else check_name("instance id", instance_id)
