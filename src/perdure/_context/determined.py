"""Chance and logging for orchestrations: the same on every replay, because a secret drawn at the start decides."""

from __future__ import annotations

import logging
from hashlib import blake2b
from random import Random
from typing import TYPE_CHECKING
from uuid import UUID

from perdure._context.trace import ContextLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UUID_VERSION = 4

_logger = logging.getLogger("perdure.orchestration")


def seeded_random(secret: bytes) -> Random:
    """Random numbers that the secret of an execution decides."""
    seed = blake2b(secret, digest_size=16, person=b"perdure-random").digest()
    return Random(int.from_bytes(seed, "big"))  # noqa: S311 - it must be the same on replay, and is no secret


def guid(secret: bytes, number: int) -> UUID:
    """The UUID of this number in an execution: nobody can guess it who does not know the secret."""
    digest = blake2b(number.to_bytes(8, "big"), key=secret, digest_size=16, person=b"perdure-guid").digest()
    return UUID(bytes=digest, version=UUID_VERSION)


def orchestration_logger(extra: Mapping[str, object], is_silent: Callable[[], bool]) -> ContextLogger:
    """The logger of an orchestration (`perdure.orchestration`), silent while it replays."""
    return ContextLogger(_logger, extra, is_silent)
