"""The context of a fork: whoever ran before it forked saw the instance that it was forked from.

Laws kept here: replay sees what the live run saw, so an id, and what is named by one, changes at the fork, not before;
what is drawn to be unique differs from there on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure._context.determined import guid
from perdure._core.context import Context

if TYPE_CHECKING:
    from uuid import UUID

    from perdure._context import ContextLogger
    from perdure._core.execution import Execution
    from perdure._events import ForkedAt


class ForkedContext(Context):
    """A context that says who the instance was at each event of its history."""

    __slots__ = ("_forks", "_guid_secret", "_passed")

    def __init__(self, execution: Execution, secret: bytes, forks: tuple[ForkedAt, ...]) -> None:
        super().__init__(execution, secret)
        self._forks = forks
        self._guid_secret = secret
        self._passed = 0
        """How many forks lie behind."""

    def _next(self) -> ForkedAt | None:
        """The fork that the present event lies before; None behind the last one."""
        last = self._execution.last_event
        while self._passed < len(self._forks) and self._forks[self._passed].event <= last:
            self._guid_secret = bytes.fromhex(self._forks[self._passed].secret)
            self._logger = None
            self._passed += 1
        return self._forks[self._passed] if self._passed < len(self._forks) else None

    @property
    def instance_id(self) -> str:
        """The id that it had here."""
        fork = self._next()
        return self._execution.instance_id if fork is None else fork.instance_id

    @property
    def logger(self) -> ContextLogger:
        """A logger whose records say which id it had here."""
        self._next()
        return super().logger

    def new_guid(self) -> UUID:
        """A guid that no other fork draws."""
        self._execution.gate("ctx.new_guid")
        self._next()
        self._guids += 1
        return guid(self._guid_secret, self._guids)

    def _family(self) -> tuple[str, int]:
        fork = self._next()
        return super()._family() if fork is None else (fork.root, fork.incarnation)
