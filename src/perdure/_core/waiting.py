"""What an execution waits for, by event id: a mapping that is small while it has one entry, as most of them have."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perdure._core.asks import Ask


class Waiting(MutableMapping[int, Any]):
    """In the order of insertion, like a dict. A dict with one entry takes over 200 bytes, this takes 56."""

    __slots__ = ("_many", "one")

    def __init__(self) -> None:
        self.one: Ask | None = None
        """The only entry, if there is just one."""
        self._many: dict[int, Ask] | None = None

    def __getitem__(self, event_id: int) -> Any:
        one = self.one
        if one is not None and one.event_id == event_id:
            return one
        if self._many is None:
            raise KeyError(event_id)
        return self._many[event_id]

    def get(self, event_id: int, default: Any = None) -> Any:
        """The entry, or the default."""
        one = self.one
        if one is not None and one.event_id == event_id:
            return one
        return default if self._many is None else self._many.get(event_id, default)

    def __setitem__(self, event_id: int, ask: Ask) -> None:
        if self._many is not None:
            self._many[event_id] = ask
        elif self.one is None:
            self.one = ask
        else:
            self._many = {self.one.event_id: self.one, event_id: ask}
            self.one = None

    def add(self, ask: Ask) -> None:
        """Wait for what was written down under its id: as an item is set, which costs a call of Python's own more."""
        if self.one is None and self._many is None:
            self.one = ask
        else:
            self[ask.event_id] = ask

    def __delitem__(self, event_id: int) -> None:
        self.pop(event_id)

    def __iter__(self) -> Iterator[int]:
        if self._many is not None:
            return iter(self._many)
        return iter(() if self.one is None else (self.one.event_id,))

    def __bool__(self) -> bool:
        return self.one is not None or self._many is not None

    def __len__(self) -> int:
        return int(self.one is not None) if self._many is None else len(self._many)

    def pop(self, event_id: int, *default: Any) -> Any:
        """Remove an entry and return it; without it the default, or KeyError."""
        one = self.one
        if one is not None and one.event_id == event_id:
            self.one = None
            return one
        if self._many is None:
            if default:
                return default[0]
            raise KeyError(event_id)
        ask = self._many.pop(event_id, *default)
        if not self._many:
            self._many = None
        return ask

    def clear(self) -> None:
        """Nothing is waited for any more."""
        self.one = self._many = None
