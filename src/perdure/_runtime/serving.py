"""What a worker is asked to take: which tags, and how many sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from perdure._client.tags import Tags, serves_of
from perdure._types import check_count, duration_us
from perdure.errors import UsageError
from perdure.storage.base import SERVES

if TYPE_CHECKING:
    from perdure._types import Duration
    from perdure._work import Serves

SESSION_IDLE_US_MIN = 2_000_000
"""The shortest time after which an unused session may move, in microseconds: four looks at whether it is used."""


def serving(tags: Tags | None, max_sessions: int, session_idle: Duration) -> Serves:
    """What a store is told of it.

    Raises:
        UsageError: One of them can't be.
        LimitError: One is too large.
    """
    if tags is not None and not isinstance(tags, Tags):
        raise UsageError(f"tags is {tags!r}: use Tags('gpu'), or Tags('gpu', untagged=True)")
    check_count("max_sessions", max_sessions, least=0)
    idle_us = duration_us(session_idle, "session_idle")
    if idle_us < SESSION_IDLE_US_MIN:
        raise UsageError(
            f"session_idle is {session_idle!r}: use {SESSION_IDLE_US_MIN // 1_000_000} seconds or more, because a "
            "worker says only now and then which sessions it uses"
        )
    return replace(SERVES if tags is None else serves_of(tags), sessions=max_sessions, session_idle_us=idle_us)
