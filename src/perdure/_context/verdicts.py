"""What somebody has found out about an activity whose outcome nobody knew: a probe, or a person."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

from perdure.errors import NonRetryableError

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Happened(Struct, Generic[R_co], frozen=True):
    """It was done, and this is its result: the activity ends as if it had returned that."""

    result: R_co


class Failed(Struct, frozen=True):
    """It was tried and failed for good: the activity ends as if it had raised this; words count as the message."""

    error: BaseException | str

    def exception(self) -> BaseException:
        """The error as an exception."""
        return self.error if isinstance(self.error, BaseException) else NonRetryableError(self.error)


class DidNotHappen(Struct, frozen=True):
    """It was not done, and will not be by what was begun before: it is run again."""


class CannotTell(Struct, frozen=True):
    """Nobody knows: it waits for a person. `reason` is shown to whoever looks."""

    reason: str = ""


Verdict: TypeAlias = Happened[R] | Failed | DidNotHappen | CannotTell
"""What a probe says."""

Decision: TypeAlias = Happened[R] | Failed | DidNotHappen
"""What a person says."""
