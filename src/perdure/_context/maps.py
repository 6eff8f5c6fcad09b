"""What an orchestration says of a map, and what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from perdure.errors import ActivityError, UsageError

R = TypeVar("R")


class MapPolicy(Struct, frozen=True):
    """When a `ctx.map` is over before its last item, and how many failures it tolerates.

    Attributes:
        min_successful: With so many successes it is over, and the rest is given up; None: all items are run.
        max_failures: With more failures it has failed, and the rest is given up; None: any number is tolerated.

    Raises:
        UsageError: A number is negative, or none.

    Example:
        MapPolicy(min_successful=2)  # two of three copies are enough
    """

    min_successful: int | None = None
    max_failures: int | None = None

    def __post_init__(self) -> None:
        for name in ("min_successful", "max_failures"):
            value: object = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise UsageError(f"MapPolicy {name} is {value!r}: use a whole number, 0 or more; or leave it out")


class MapResult(Struct, Generic[R], frozen=True):
    """What came of each item of a `ctx.map` with a policy.

    Attributes:
        outcomes: In the order of the items: the result, the `ActivityError`, or None for one that was skipped.
        skipped: The indexes of those that were not run, or given up, as the policy was met before.
    """

    outcomes: Sequence[R | ActivityError | None]
    skipped: Sequence[int] = ()

    @property
    def succeeded(self) -> Sequence[tuple[int, R]]:
        """The index and result of each that succeeded."""
        skipped = set(self.skipped)
        return tuple(
            (index, outcome)  # type: ignore[misc]  # None is a result where nothing was skipped
            for index, outcome in enumerate(self.outcomes)
            if index not in skipped and not isinstance(outcome, ActivityError)
        )

    @property
    def failed(self) -> Sequence[tuple[int, ActivityError]]:
        """The index and error of each that failed."""
        return tuple((index, error) for index, error in enumerate(self.outcomes) if isinstance(error, ActivityError))
