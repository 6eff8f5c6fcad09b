"""What an orchestration shows of itself: its custom status, and its KV store.

Laws kept here: history has all of it, since an execution begins with what the one before it left and every change is an
event; so a replay needs nothing from outside. Limits are those of what is there now, whichever turn has put it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Raw

from perdure import _events as ev
from perdure._context import KeyValueStore
from perdure._context.state import name_of
from perdure._core.asks import Note
from perdure._core.callsite import where_asked
from perdure._types import KV_BYTES_MAX, KV_KEYS_MAX, KV_VALUE_BYTES_MAX, instant_us
from perdure.codec import codec_for
from perdure.errors import LimitError, PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from perdure._context import Key
    from perdure._context.state import ReadableKey
    from perdure._core.execution import Execution


class Value(NamedTuple):
    """A value as it is stored, and when it was set."""

    at: int
    data: bytes


class State:
    """What the present execution shows; none is made for one that shows nothing."""

    __slots__ = ("size", "status", "values")

    def __init__(self) -> None:
        self.status: bytes | None = None
        self.values: dict[str, Value] = {}
        self.size = 0
        """Bytes of all keys and values."""

    @classmethod
    def of(cls, started: ev.Started) -> State:
        """What the execution before has left."""
        state = cls()
        state.status = bytes(started.status) or None
        for kept in started.values:
            state.put(kept.key, Value(kept.at, bytes(kept.value)))
        return state

    def put(self, key: str, value: Value) -> None:
        """Set a value in place of the one that is there; the last one set is the last in order."""
        self.remove(key)
        self.values[key] = value
        self.size += _size(key, value.data)

    def remove(self, key: str) -> None:
        """Remove a value, if it is there."""
        old = self.values.pop(key, None)
        if old is not None:
            self.size -= _size(key, old.data)

    def left(self) -> tuple[tuple[ev.KeptValue, ...], Raw]:
        """What the next execution begins with."""
        kept = tuple(ev.KeptValue(key, value.at, Raw(value.data)) for key, value in self.values.items())
        return kept, ev.ABSENT if self.status is None else Raw(self.status)


def shown(execution: Execution) -> State:
    """What an execution shows, to be changed."""
    if execution.state is None:
        execution.state = State()
    return execution.state


def _size(key: str, data: bytes) -> int:
    return len(key.encode()) + len(data)


class Store(KeyValueStore):
    """The KV store as an orchestration sees it; see `KeyValueStore`."""

    __slots__ = ("_execution",)

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def get(self, key: ReadableKey[Any], default: Any = None, /) -> Any:
        found = self._values.get(name_of(key))
        if found is None:
            return default
        return codec_for(key.type_).decode(found.data, what=f"value of {key.name!r}")

    def set(self, key: Key[Any], value: Any, /) -> None:
        execution = self._execution
        execution.gate("ctx.kv.set")
        name = name_of(key)
        data = codec_for(key.type_).encode(value, what=f"value of {name!r}")
        _check(shown(execution), name, data)
        shown(execution).put(name, Value(execution.now_us, data))
        execution.ask(Note(ev.ValueSet(id=0, where=where_asked(), key=name, value=Raw(data))))

    def clear(self, key: Key[Any] | None = None, /) -> None:
        self._execution.gate("ctx.kv.clear")
        if key is None:
            self._remove(tuple(self._values))
        else:
            name = name_of(key)
            self._remove((name,) if name in self._values else ())

    def prune(self, before: datetime, /) -> int:
        self._execution.gate("ctx.kv.prune")
        limit = instant_us(before, what="before")
        old = tuple(key for key, value in self._values.items() if value.at < limit)
        self._remove(old)
        return len(old)

    def keys(self) -> Sequence[str]:
        return tuple(self._values)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object, /) -> bool:
        return name_of(key) in self._values

    @property
    def _values(self) -> dict[str, Value]:
        state = self._execution.state
        return {} if state is None else state.values

    def _remove(self, keys: tuple[str, ...]) -> None:
        if not keys:
            return
        execution = self._execution
        for key in keys:
            shown(execution).remove(key)
        execution.ask(Note(ev.ValuesCleared(id=0, where=where_asked(), keys=keys)))


class Found:
    """Reads the answer to a question for another instance's value: null says that there is none."""

    __slots__ = ("_codec", "_key")

    def __init__(self, key: ReadableKey[Any]) -> None:
        self._key = name_of(key)
        self._codec = codec_for(key.type_)

    def decode(self, data: Any, *, what: str) -> Any:
        """The value, or None."""
        if bytes(data) == _NULL:
            return None
        return self._codec.decode(data, what=f"{self._key!r}, the {what}")


_NULL = b"null"


def _check(state: State, key: str, data: bytes) -> None:
    """Refuse a value that would pass a limit of the store as it is now."""
    if len(data) > KV_VALUE_BYTES_MAX:
        raise PayloadTooLargeError(
            f"the value of {key!r} has {len(data):,} bytes of JSON; at most {KV_VALUE_BYTES_MAX:,} are allowed: "
            "keep large data elsewhere and a reference to it here, or divide it among several keys",
            size_bytes=len(data),
            limit_bytes=KV_VALUE_BYTES_MAX,
        )
    old = state.values.get(key)
    if old is None and len(state.values) >= KV_KEYS_MAX:
        raise LimitError(
            f"{key!r} would be key {KV_KEYS_MAX + 1:,} of the KV store; at most {KV_KEYS_MAX:,} are allowed: clear or "
            "prune keys that are no longer read, or keep several values under one key"
        )
    size = state.size + _size(key, data) - (0 if old is None else _size(key, old.data))
    if size > KV_BYTES_MAX:
        raise LimitError(
            f"with this value of {key!r} the KV store would have {size:,} bytes; at most {KV_BYTES_MAX:,} are allowed: "
            "clear or prune keys that are no longer read, or keep large data elsewhere"
        )
