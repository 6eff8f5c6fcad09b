"""What a client can ask a running orchestration: queries, which only look, and updates, which may change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, final

from perdure._context.named import TypedName

A = TypeVar("A")
R = TypeVar("R")
A_contra = TypeVar("A_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class _Question(TypedName):
    __slots__ = ()

    @property
    def types(self) -> tuple[Any, Any]:
        """The types of what is asked with and of the answer; Any where none were given."""
        asked, answer = self._given(2)
        return asked, answer

    @property
    def asks_nothing(self) -> bool:
        """Whether its handler takes no value."""
        return self.types[0] in {None, type(None)}


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

    _kind = "query"

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

    _kind = "update"

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
