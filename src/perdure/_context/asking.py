"""What a client can ask a running orchestration: queries, which only look, and updates, which may change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, final

from perdure._types import check_name

A = TypeVar("A")
R = TypeVar("R")
A_contra = TypeVar("A_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class _Question:
    # As with `ExternalEvent`: nothing else remembers the types at run time.
    __slots__ = ("__orig_class__", "name")

    def __init__(self, name: str) -> None:
        check_name("query" if isinstance(self, Query) else "update", name)
        self.name: Final = name

    @property
    def types(self) -> tuple[Any, Any]:
        """The types of what is asked with and of the answer; Any where none were given."""
        alias = getattr(self, "__orig_class__", None)
        return (Any, Any) if alias is None else alias.__args__

    @property
    def asks_nothing(self) -> bool:
        """Whether its handler takes no value."""
        return self.types[0] in {None, type(None)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


@final
class Query(_Question, Generic[A, R]):
    """A question to a running orchestration, which only looks: its name, the type of its value and of its answer.

    With None as the first type it is asked without a value.

    Raises:
        UsageError: The name is empty, too long, or has control characters.

    Example:
        BALANCE = Query[None, int]("balance")
        ctx.on_query(BALANCE, lambda: balance)
        print(await handle.query(BALANCE))
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __perdure_query__(self, value: A, /) -> R: ...


@final
class Update(_Question, Generic[A, R]):
    """A request to a running orchestration, which may change it: its name, the type of its value and of its answer.

    With None as the first type it is sent without a value.

    Raises:
        UsageError: The name is empty, too long, or has control characters.

    Example:
        ADD = Update[Item, int]("add")
        ctx.on_update(ADD, add_item)
        count = await handle.update(ADD, Item("tea"))
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __perdure_update__(self, value: A, /) -> R: ...


class AnyQuery(Protocol[A_contra, R_co]):
    """A query as those take it who ask it."""

    @property
    def name(self) -> str: ...
    def __perdure_query__(self, value: A_contra, /) -> R_co: ...


class AnyUpdate(Protocol[A_contra, R_co]):
    """An update as those take it who send it."""

    @property
    def name(self) -> str: ...
    def __perdure_update__(self, value: A_contra, /) -> R_co: ...
