"""Which activities a worker takes, by their tags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perdure._types import check_name
from perdure._work import Serves
from perdure.errors import LimitError, UsageError

if TYPE_CHECKING:
    from typing import Self

WORKER_TAGS_MAX = 100
"""How many tags a worker can name."""


@dataclass(frozen=True, slots=True, init=False)
class Tags:
    """Which activities a worker takes, by their tags.

    Args:
        names: The tags that it serves.
        untagged: Whether it takes activities without a tag, too.

    Raises:
        UsageError: A tag is no name.
        LimitError: There are more than 100.

    Example:
        Tags("gpu")                  # what has this tag, and nothing else
        Tags("gpu", untagged=True)   # that, and what has none
        Tags(untagged=True)          # what has none: the default
        Tags.all_but("huge")         # everything else, with or without a tag
        Tags()                       # no activities at all: orchestrations only
    """

    names: tuple[str, ...]
    untagged: bool
    others: bool

    def __init__(self, *names: str, untagged: bool = False) -> None:
        self._set(names, untagged=untagged, others=False)

    @classmethod
    def all_but(cls, *names: str) -> Self:
        """Everything, with or without a tag, but what has one of these.

        Raises:
            UsageError: A tag is no name.
            LimitError: There are more than 100.
        """
        tags = cls()
        tags._set(names, untagged=True, others=True)
        return tags

    def _set(self, names: tuple[str, ...], *, untagged: bool, others: bool) -> None:
        if len(names) > WORKER_TAGS_MAX:
            raise LimitError(f"a worker with {len(names)} tags: at most {WORKER_TAGS_MAX} can be named")
        # A frozen dataclass has no other way.
        object.__setattr__(self, "names", tuple(dict.fromkeys(check_name("tag", name) for name in names)))
        object.__setattr__(self, "untagged", bool(untagged))
        object.__setattr__(self, "others", others)

    def __str__(self) -> str:
        shown = ", ".join(self.names)
        if self.others:
            return f"all but {shown}" if shown else "all"
        if self.untagged:
            return f"untagged, {shown}" if shown else "untagged"
        return shown or "none"


def serves_of(tags: object) -> Serves:
    """What a store is told of it.

    Raises:
        UsageError: It is something else.
    """
    if not isinstance(tags, Tags):
        raise UsageError(f"tags is {tags!r}: use Tags('gpu'), or Tags('gpu', untagged=True)")
    return Serves(untagged=tags.untagged, tags=tags.names, others=tags.others)


def tags_of(serves: Serves) -> Tags:
    """What a store has been told, as users see it."""
    return Tags.all_but(*serves.tags) if serves.others else Tags(*serves.tags, untagged=serves.untagged)
