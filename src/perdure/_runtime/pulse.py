"""What an activity says while it runs: that it lives, and how far it is.

Saying something costs the activity its encoding and no more. What is said last goes to the store at most once in
`BEAT_S`, in whatever commit is next; an activity that has been silent for longer than it may is told to end.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from perdure._work import ClaimedTask, sealed, unsealed
from perdure.codec import codec_for, encode_any
from perdure.errors import PayloadTooLargeError

BEAT_S = 1.0
"""How often at most the progress of one activity is written."""

HEARTBEAT_BYTES_MAX = 65_536
"""How much an activity may say of its progress, in bytes of JSON."""


class Desk(Protocol):
    """Where an activity's word goes."""

    loop: asyncio.AbstractEventLoop

    def say(self, task: ClaimedTask, details: bytes) -> None:
        """Have it written; on the event loop."""
        ...


class Pulse:
    """The pulse of one attempt. `beat` may come from any thread, everything else runs on the event loop."""

    __slots__ = ("_awaited", "_desk", "_heard_at", "_is_over", "_look", "_said_at", "_task", "_unsaid")

    def __init__(self, task: ClaimedTask, desk: Desk) -> None:
        self._task = task
        self._desk = desk
        self._heard_at: float | None = None
        """When it was last heard; None until it has begun, for which one in a thread may have to wait."""
        self._said_at: float | None = None
        self._awaited = False
        self._is_over = False
        # Of one place: a thread puts in what it says while the event loop takes out what it said before.
        self._unsaid: deque[bytes] = deque(maxlen=1)
        self._look: asyncio.TimerHandle | None = None

    def beat(self, details: object) -> None:
        """It lives; and this is how far it is, unless it is None.

        Raises:
            PayloadError: The details can't be written as JSON.
            PayloadTooLargeError: They have more than HEARTBEAT_BYTES_MAX bytes.
        """
        said = None if details is None else _write_details(details, self._task.name)
        self._heard_at = self._desk.loop.time()
        if said is None or self._is_over:
            return
        self._unsaid.append(said)
        if not self._awaited:
            self._awaited = True
            self._desk.loop.call_soon_threadsafe(self._pass_on)

    def limit_silence(self, silence_s: float, expire: Callable[[], None]) -> None:
        """Call `expire` when it has said nothing for so long."""
        now = self._desk.loop.time()
        left_s = silence_s if self._heard_at is None else self._heard_at + silence_s - now
        if left_s <= 0:
            self._look = None
            expire()
        else:
            self._look = self._desk.loop.call_later(left_s, self.limit_silence, silence_s, expire)

    def take(self) -> bytes | None:
        """What was said last, if it was not passed on; as it is stored."""
        return sealed(self._unsaid.popleft()) if self._unsaid else None

    def end(self) -> None:
        """The attempt is over: what is said from now on is heard by nobody."""
        self._is_over = True
        if self._look is not None:
            self._look.cancel()

    def _pass_on(self) -> None:
        if self._is_over:
            return
        now = self._desk.loop.time()
        early_s = 0 if self._said_at is None else self._said_at + BEAT_S - now
        if early_s > 0:
            self._desk.loop.call_later(early_s, self._pass_on)
            return
        # Set back first: what a thread says from here on asks anew.
        self._awaited = False
        said = self.take()
        if said is not None:
            self._said_at = now
            self._desk.say(self._task, said)


def _write_details(details: object, name: str) -> bytes:
    said = encode_any(details, what=f"heartbeat of activity {name}")
    if len(said) > HEARTBEAT_BYTES_MAX:
        raise PayloadTooLargeError(
            f"the heartbeat of activity {name} has {len(said):,} bytes of JSON, and may have {HEARTBEAT_BYTES_MAX:,}: "
            "say where it is, and keep what it has made elsewhere",
            size_bytes=len(said),
            limit_bytes=HEARTBEAT_BYTES_MAX,
        )
    return said


def read_details(details: bytes | None, type_: Any, name: str) -> Any:
    """What an attempt has said, as a value of a type; None if none has said anything.

    Raises:
        PayloadError: It does not fit the type.
        HistoryCorruptError: It is not what was stored.
    """
    if details is None:
        return None
    said = unsealed(details, "the stored heartbeat of activity %s", name)
    return codec_for(type_).decode(said, what=f"heartbeat of activity {name}")
