"""What the parts of a client share: the way to its store, and what is asked of nearly every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from perdure._types import check_name
from perdure.codec import codec_for
from perdure.errors import InstanceNotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from perdure._client.requests import Gateway
    from perdure._work import InstanceRecord, Query

PAGE_MAX = 1_000


class Opened:
    """A client that is open has a gateway; one that is not says so."""

    _gateway: Gateway | None = None

    def _opened(self) -> Gateway:
        if self._gateway is None:
            raise UsageError("this client is not open: use it inside `async with Client(url) as client:`")
        return self._gateway

    async def _record(self, instance_id: str) -> InstanceRecord:
        """The row of an instance.

        Raises:
            InstanceNotFoundError: There is no such instance.
        """
        gateway = self._opened()
        record = await gateway.read(gateway.inspector.get, check_name("instance id", instance_id))
        if record is None:
            raise InstanceNotFoundError(instance_id)
        return record


def check_limit(limit: int, hint: str = "") -> None:
    """Refuse to list nothing, or too much.

    Raises:
        UsageError: `limit` is no whole number within 1 to 1,000.
    """
    if type(limit) is not int or not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"limit is {limit!r}: use a whole number from 1 to {PAGE_MAX:,}{hint}")


def check_reason(reason: str) -> str:
    """The reason for an end or a pause, if it can be stored.

    Raises:
        PayloadError: It is no text, or has what no store keeps.
    """
    codec_for(str).encode(reason, what="reason")
    return reason


def check_seen(version: int) -> None:
    """Refuse to wait for what comes after something that is no version of a custom status.

    Raises:
        UsageError: It is no whole number: every version would be above it, or none.
    """
    if type(version) is not int:
        raise UsageError(f"after is {version!r}: use the custom_status_version that was seen last, 0 for the first")


async def pages(gateway: Gateway, query: Query | None) -> AsyncGenerator[list[InstanceRecord], None]:
    """All pages of a query; none for no query."""
    while query is not None:
        records, key = await gateway.read(gateway.inspector.find, query)
        yield records
        query = None if key is None else replace(query, after=key)
