"""What a client is told that has waited for as long as it would."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from perdure._types import Status
from perdure.errors import PerdureError, ResultTimeoutError

if TYPE_CHECKING:
    from perdure._client.receiver import Receiver
    from perdure._work import InstanceRecord

LOOK_S = 0.5
"""How much longer a call may take whose time is over, to say why nothing came, in seconds."""


async def too_late(receiver: Receiver, instance_id: str, seconds: float, what: str) -> ResultTimeoutError:
    """The error of somebody who has waited in vain, with what the instance itself waits for if somebody must act."""
    try:
        async with asyncio.timeout(LOOK_S):
            standing = _standing(await receiver.record())
    except (TimeoutError, PerdureError):
        standing = None
    return ResultTimeoutError(instance_id, seconds, what, *([] if standing is None else [standing]))


def _standing(record: InstanceRecord) -> str | None:
    if record.status is Status.HELD:
        return f"is held: {record.held_because}"
    if record.status is Status.SUSPENDED:
        return f"is suspended until it is resumed{f': {record.held_because}' if record.held_because else ''}"
    return None
