"""The KV store of an instance, as its orchestration sees it, and the typed keys of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, final, overload

from perdure._context.named import TypedName
from perdure.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ReadableKey(Protocol[T_co]):
    """A key as those take it who only read: the key of an `int` does where one of `int | None` would, too."""

    @property
    def name(self) -> str: ...
    @property
    def type_(self) -> Any: ...
    def __perdure_value__(self) -> T_co: ...


@final
class Key(TypedName, Generic[T]):
    """A key of the KV store with the type of its value, for the orchestration that sets it and for whoever reads it.

    Raises:
        UsageError: The name is empty, too long, or has control characters.

    Example:
        BALANCE = Key[int]("balance")
        ctx.kv.set(BALANCE, ctx.kv.get(BALANCE, 0) + 10)
    """

    __slots__ = ()

    _kind = "key"

    @property
    def type_(self) -> Any:
        """The type of the value; Any where none was given, as in `Key("balance")`."""
        return self._given(1)[0]

    if TYPE_CHECKING:

        def __perdure_value__(self) -> T: ...


def name_of(key: object) -> str:
    """The name of a key.

    Raises:
        UsageError: It is no key.
    """
    if not isinstance(key, Key):
        raise UsageError(f"a key of the KV store is made as in BALANCE = Key[int]('balance'), and is no {key!r}")
    return key.name


class KeyValueStore(ABC):
    """Values under keys that belong to an instance: `ctx.kv`.

    Setting and clearing need no await and are durable with the turn; reading is free, and costs no event. The store
    survives continue-as-new and the end of the instance, and is readable from outside all the time (`handle.kv`,
    `client.get_handle(...)`, `ctx.read_value` of another instance). It goes when the instance is deleted.

    At most 1,000 keys, 65,536 bytes of JSON per value, and 2,097,152 bytes of keys and values together, at any time:
    what is cleared makes room. It is for what an instance *knows*; results belong into its return value.
    """

    __slots__ = ()

    @overload
    def get(self, key: ReadableKey[T], /) -> T | None: ...
    @overload
    def get(self, key: ReadableKey[T], default: T, /) -> T: ...
    @abstractmethod
    def get(self, key: ReadableKey[Any], default: Any = None, /) -> Any:
        """The value under a key, or the default.

        Raises:
            PayloadError: The value that is there does not fit the key's type.
        """

    @abstractmethod
    def set(self, key: Key[T], value: T, /) -> None:
        """Set the value under a key.

        Raises:
            PayloadError: It does not fit the key's type.
            PayloadTooLargeError: It has too many bytes.
            LimitError: The store has too many keys, or too many bytes in all.
        """

    @abstractmethod
    def clear(self, key: Key[Any] | None = None, /) -> None:
        """Remove the value under a key; without a key, all. What is not there is passed over."""

    @abstractmethod
    def prune(self, before: datetime, /) -> int:
        """Remove what was last set before this instant of the orchestration's own time; returns how many.

        Example:
            ctx.kv.prune(ctx.utc_now() - timedelta(days=7))
        """

    @abstractmethod
    def keys(self) -> Sequence[str]:
        """The names of all keys, the one that was set longest ago first."""

    @abstractmethod
    def __iter__(self) -> Iterator[str]:
        """The same, one after the other."""

    @abstractmethod
    def __len__(self) -> int:
        """How many keys there are."""

    @abstractmethod
    def __contains__(self, key: object, /) -> bool:
        """Whether there is a value under a key."""
