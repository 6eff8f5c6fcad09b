"""The vocabulary of history: what an orchestration was told, and what it asked for.

Laws kept here: events are only ever appended, ids are dense from 1 in each execution, and an event never changes once
written. Each event is one JSON object with a short stable tag; fields are only added, always with a default that means
"as before". Inbound events carry the time; the events behind one share it.
"""

import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

from perdure.errors import ErrorInfo

HISTORY_FORMAT = 1
"""The format of history rows written by this release."""

MIN_READER = 1
"""The oldest engine that replays what this release writes; raised when semantics change."""


ABSENT = Raw(b"")
"""No JSON at all: the default of an optional payload, as a union with None would read `null` as absent."""


class Parent(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Who waits for an instance: the place in the parent's history that asked for it."""

    instance_id: str
    incarnation: int
    execution: int
    event: int


class Carried(Struct, frozen=True, gc=False, array_like=True):
    """An unread external event that a continue-as-new takes along."""

    name: str
    data: Raw


class KeptValue(Struct, frozen=True, gc=False, array_like=True):
    """A value of the KV store that a continue-as-new takes along, with the time at which it was set."""

    key: str
    at: int
    value: Raw


class ForkedAt(Struct, frozen=True, gc=False, array_like=True):
    """A fork: up to `event` the history is that of another instance; new guids come of `secret` from there on."""

    event: int
    instance_id: str
    incarnation: int
    root: str
    secret: str


class KeyLimit(Struct, frozen=True, gc=False, array_like=True):
    """A limit by key: how many may be under way at a time, and how many may begin within a span of time."""

    key: str
    concurrency: int | None
    rate: int | None
    per_us: int


class Inbound(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="t"):
    """An event that tells the orchestration something; made from exactly one message."""

    id: int
    at: int


class Started(Inbound, frozen=True, tag="start"):
    """The first event of every execution."""

    name: str
    version: str
    execution: int
    input: Raw
    secret: str
    python: str
    root: str
    parent: Parent | None = None
    carried: tuple[Carried, ...] = ()
    fingerprint: str | None = None
    min_reader: int = MIN_READER
    values: tuple[KeptValue, ...] = ()
    status: Raw = ABSENT
    forks: tuple[ForkedAt, ...] = ()


class ActivityCompleted(Inbound, frozen=True, tag="act+"):
    """An activity returned."""

    source: int
    result: Raw
    attempts: int = 1


class ActivityFailed(Inbound, frozen=True, tag="act-"):
    """An activity failed for good: retries, if any, are spent. `stopped`: it ended because it was asked to."""

    source: int
    error: ErrorInfo
    timed_out: bool = False
    stopped: bool = False


class TimerFired(Inbound, frozen=True, tag="tim+"):
    """A durable timer fired."""

    source: int


class EventRaised(Inbound, frozen=True, tag="evt"):
    """An external event arrived; `wait` is the wait it satisfied, None while it is unread."""

    name: str
    data: Raw
    wait: int | None = None


class LimitEntered(Inbound, frozen=True, tag="lim+"):
    """The orchestration has a place of a limit, until it leaves it or the execution ends."""

    source: int


class ChildCompleted(Inbound, frozen=True, tag="sub+"):
    """A sub-orchestration completed."""

    source: int
    result: Raw


class ChildFailed(Inbound, frozen=True, tag="sub-"):
    """A sub-orchestration ended without a result; `ending` is failed, cancelled, terminated or refused."""

    source: int
    error: ErrorInfo
    ending: str = "failed"


class UpdateReceived(Inbound, frozen=True, tag="upd"):
    """An update arrived that a handler takes; `request` is what its answer is kept under."""

    request: str
    name: str
    data: Raw


class CancelRequested(Inbound, frozen=True, tag="cancel"):
    """Somebody asked the instance to cancel; only the first such request counts."""

    reason: str = ""


class Terminated(Inbound, frozen=True, tag="term"):
    """Ended from outside, without running its code. Terminal."""

    reason: str = ""


class Asked(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True, tag_field="t"):
    """An event that records what the orchestration asked for; `where` is the asking line, "package/file.py:41"."""

    id: int
    where: str | None = None


class ActivityScheduled(Asked, frozen=True, tag="act"):
    """An activity was asked for."""

    name: str
    input: Raw
    retry: Raw = ABSENT
    tag: str | None = None
    session: str | None = None
    priority: int = 0
    schedule_to_start_us: int | None = None
    limit: KeyLimit | None = None


class ActivityCancelled(Asked, frozen=True, tag="act!"):
    """An activity is no longer wanted."""

    source: int


class ActivityStopped(Asked, frozen=True, tag="act~"):
    """An activity is asked to end, and its outcome is waited for."""

    source: int


class TimerCreated(Asked, frozen=True, tag="tim"):
    """A durable timer was asked for."""

    fire_at: int


class TimerCancelled(Asked, frozen=True, tag="tim!"):
    """A timer is no longer wanted."""

    source: int


class WaitStarted(Asked, frozen=True, tag="wait"):
    """A wait for an external event; `took` is the unread event that satisfied it at once."""

    name: str
    took: int | None = None


class WaitCancelled(Asked, frozen=True, tag="wait!"):
    """A wait is no longer wanted; `gave_back` is the event that it had been given and nobody read.

    That event is unread again, or given to the wait `gave_to`.
    """

    source: int
    gave_back: int | None = None
    gave_to: int | None = None


class LimitAsked(Asked, frozen=True, tag="lim"):
    """A place of a limit was asked for."""

    limit: KeyLimit


class LimitLeft(Asked, frozen=True, tag="lim!"):
    """A place of a limit is no longer wanted, whether the orchestration has it or waits for it."""

    source: int


class ChildScheduled(Asked, frozen=True, tag="sub"):
    """A sub-orchestration was asked for."""

    name: str
    input: Raw
    instance_id: str
    version: str | None = None
    on_close: str = "cancel"


class ChildCancelled(Asked, frozen=True, tag="sub!"):
    """A sub-orchestration is no longer wanted; it is asked to cancel, or terminated."""

    source: int
    terminate: bool = False


class DetachedStarted(Asked, frozen=True, tag="detach"):
    """A detached orchestration was started."""

    name: str
    input: Raw
    instance_id: str
    version: str | None = None


class EventSent(Asked, frozen=True, tag="send"):
    """An external event was sent to another instance."""

    instance_id: str
    name: str
    data: Raw


class StatusSet(Asked, frozen=True, tag="status"):
    """The custom status was set."""

    value: Raw


class ValueSet(Asked, frozen=True, tag="kv"):
    """A value of the KV store was set."""

    key: str
    value: Raw


class ValuesCleared(Asked, frozen=True, tag="kv!"):
    """Values of the KV store were removed."""

    keys: tuple[str, ...]


class Patched(Asked, frozen=True, tag="patch"):
    """A change of the code applies to this execution."""

    patch: str


class UpdateAnswered(Asked, frozen=True, tag="upd+"):
    """An update was answered, with a result or an error."""

    source: int
    request: str
    result: Raw = ABSENT
    error: ErrorInfo | None = None


class Ended(Asked, frozen=True):
    """A terminal event: nothing follows it in its execution."""


class Completed(Ended, frozen=True, tag="done"):
    """The orchestration returned."""

    output: Raw


class Failed(Ended, frozen=True, tag="fail"):
    """The orchestration raised."""

    error: ErrorInfo


class Cancelled(Ended, frozen=True, tag="cancelled"):
    """The orchestration ended by the cancellation that was asked for."""

    reason: str = ""


class ContinuedAsNew(Ended, frozen=True, tag="can"):
    """The execution ended and the next one begins with this input."""

    input: Raw
    version: str | None = None
    carried: tuple[Carried, ...] = ()
    values: tuple[KeptValue, ...] = ()
    status: Raw = ABSENT


Event: TypeAlias = (
    Started
    | ActivityCompleted
    | ActivityFailed
    | TimerFired
    | EventRaised
    | UpdateReceived
    | LimitEntered
    | ChildCompleted
    | ChildFailed
    | CancelRequested
    | Terminated
    | ActivityScheduled
    | ActivityCancelled
    | ActivityStopped
    | TimerCreated
    | TimerCancelled
    | WaitStarted
    | WaitCancelled
    | LimitAsked
    | LimitLeft
    | ChildScheduled
    | ChildCancelled
    | DetachedStarted
    | EventSent
    | StatusSet
    | ValueSet
    | Patched
    | ValuesCleared
    | UpdateAnswered
    | Completed
    | Failed
    | Cancelled
    | ContinuedAsNew
)

_decoder: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(list[Event])


encode_events: Callable[[list[Any]], bytes] = msgspec.json.Encoder().encode
"""The bytes of one history row: a JSON array, one object per event."""


def decode_events(data: bytes) -> list[Event]:
    """The events of one history row.

    Raises:
        msgspec.DecodeError: The bytes are no events of this format.
    """
    return _decoder.decode(data)


checksum: Callable[[bytes], int] = zlib.crc32
"""The CRC-32 that is stored beside every history row."""
