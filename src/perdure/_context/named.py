"""What names of events, keys, queries and updates have in common: the name is durable, the types are for the code."""

from typing import Any, ClassVar, Final

from perdure._types import check_name


class TypedName:
    """A durable name, with the types that were given in brackets: `ExternalEvent[bool]("approved")`.

    Raises:
        UsageError: The name is empty, too long, or has control characters.
    """

    # `ExternalEvent[bool](...)` sets `__orig_class__` on what it made; nothing else remembers the types at run time.
    __slots__ = ("__orig_class__", "name")

    _kind: ClassVar[str]

    def __init__(self, name: str) -> None:
        check_name(self._kind, name)
        self.name: Final = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def _given(self, number: int) -> tuple[Any, ...]:
        """The types in brackets; as many times Any where there were none, as in `ExternalEvent("approved")`."""
        alias = getattr(self, "__orig_class__", None)
        return (Any,) * number if alias is None else alias.__args__
