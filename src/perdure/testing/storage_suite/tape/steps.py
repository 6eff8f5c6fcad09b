"""The steps of a tape: calls that name workers and messages in a way that both stores understand.

Stores draw worker ids and message numbers as they like, so a step names a worker by a label (1, 2, ...) and a message
by its body; every body is sent once.
"""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from perdure._work import Claim, Item, Query, Serves
from perdure.storage.base import SERVES


class Register(Struct, frozen=True, kw_only=True):
    """A worker registers."""

    label: int
    orchestrations: tuple[str, ...]
    activities: tuple[str, ...]
    lease_us: int
    serves: Serves = SERVES


class Heartbeat(Struct, frozen=True, kw_only=True):
    """A worker says that it lives."""

    label: int


class Unregister(Struct, frozen=True, kw_only=True):
    """A worker leaves."""

    label: int


class Reap(Struct, frozen=True, kw_only=True):
    """A worker looks after the dead."""

    label: int


class Commit(Struct, frozen=True, kw_only=True):
    """A batch; `label` is None for a client. `consume` has, for each item, the bodies that it consumes."""

    label: int | None
    token: bytes
    items: tuple[Item, ...]
    consume: tuple[tuple[bytes, ...], ...]
    claim: Claim | None


class Ask(Struct, frozen=True, kw_only=True):
    """A worker asks whether its last commit had this token."""

    label: int
    token: bytes


class Stand(Struct, frozen=True, kw_only=True):
    """A worker asks how tasks stand."""

    label: int
    tasks: tuple[tuple[int, int, int], ...]


class Move(Struct, frozen=True, kw_only=True):
    """The clock moves on by microseconds, or is set back if they are negative."""

    us: int


class Find(Struct, frozen=True, kw_only=True):
    """A client lists instances, page by page."""

    query: Query


Call: TypeAlias = Register | Heartbeat | Unregister | Reap | Commit | Ask | Stand | Move | Find


class Fault(StrEnum):
    """What is made to happen to a call of the other store."""

    FAILED = "failed"
    """It fails, and says so: nothing was applied."""
    BROKEN = "broken"
    """It breaks off where its outcome is unknown, and was not applied."""
    LOST = "lost"
    """It is applied, and its answer is lost."""


class Faulty(Struct, frozen=True, kw_only=True):
    """A call to which something is made to happen."""

    call: Call
    fault: Fault


Step: TypeAlias = Call | Faulty
