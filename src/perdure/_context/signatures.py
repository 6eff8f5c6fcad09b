"""The shapes that type checkers compare: definitions by their inputs, and the options of the scheduling verbs.

Nothing here is needed at run time; other modules import it under `TYPE_CHECKING` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypedDict, TypeVar

if TYPE_CHECKING:
    from perdure._context.limits import Limit  # noqa: TC004 - the same
    from perdure._retry import RetryPolicy  # noqa: TC004 - the annotations of these options are never evaluated
    from perdure._types import CancelPolicy, ClosePolicy, Duration  # noqa: TC004 - the same

R_co = TypeVar("R_co", covariant=True)
A_contra = TypeVar("A_contra", contravariant=True)
B_contra = TypeVar("B_contra", contravariant=True)
C_contra = TypeVar("C_contra", contravariant=True)


# Definitions of 0 to 3 inputs, compared by structure: so a defaulted or an Optional input, a subtype, or an empty list
# passes in mypy and in pyright, which a ParamSpec or a TypeVarTuple of the definition's class does not achieve.
class Activity0(Protocol[R_co]):
    def __perdure_activity__(self) -> R_co: ...


class Activity1(Protocol[A_contra, R_co]):
    def __perdure_activity__(self, a: A_contra, /) -> R_co: ...


class Activity2(Protocol[A_contra, B_contra, R_co]):
    def __perdure_activity__(self, a: A_contra, b: B_contra, /) -> R_co: ...


class Activity3(Protocol[A_contra, B_contra, C_contra, R_co]):
    def __perdure_activity__(self, a: A_contra, b: B_contra, c: C_contra, /) -> R_co: ...


class Orchestration0(Protocol[R_co]):
    def __perdure_orchestration__(self) -> R_co: ...


class Orchestration1(Protocol[A_contra, R_co]):
    def __perdure_orchestration__(self, a: A_contra, /) -> R_co: ...


class Orchestration2(Protocol[A_contra, B_contra, R_co]):
    def __perdure_orchestration__(self, a: A_contra, b: B_contra, /) -> R_co: ...


class Orchestration3(Protocol[A_contra, B_contra, C_contra, R_co]):
    def __perdure_orchestration__(self, a: A_contra, b: B_contra, c: C_contra, /) -> R_co: ...


class ActivityOptions(TypedDict, total=False):
    """The options of `schedule_activity`.

    `retry` overrides the activity's own policy; `tag` sends it to workers that serve the tag; activities of one
    `session` run on one worker; a higher `priority` runs first (default 0); an activity that has not begun within
    `schedule_to_start` fails with `ActivityTimeoutError`; `limit` overrides the activity's own; with `on_cancel="wait"`
    a cancelled one is waited for.
    """

    retry: RetryPolicy | None
    tag: str | None
    session: str | None
    priority: int
    schedule_to_start: Duration | None
    limit: Limit | None
    on_cancel: CancelPolicy


class _Every(TypedDict):
    every: Duration


class PollOptions(ActivityOptions, _Every, total=False):
    """The options of `poll_until`: those of `schedule_activity`, the time between two tries, and that for all."""

    timeout: Duration | None


class DetachedOptions(TypedDict, total=False):
    """The options of `schedule_orchestration`: the new instance's id (default: derived), and an exact version."""

    instance_id: str | None
    version: str | None


class ChildOptions(DetachedOptions, total=False):
    """The options of `schedule_sub_orchestration`: these two, and what becomes of the child when its parent ends."""

    on_close: ClosePolicy
