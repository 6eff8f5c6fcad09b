"""What the parts of a client share: the way to its store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.errors import UsageError

if TYPE_CHECKING:
    from perdure._client.requests import Gateway


class Opened:
    """A client that is open has a gateway; one that is not says so."""

    _gateway: Gateway | None = None

    def _opened(self) -> Gateway:
        if self._gateway is None:
            raise UsageError("this client is not open: use it inside `async with Client(url) as client:`")
        return self._gateway
