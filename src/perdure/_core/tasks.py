"""Tasks and futures whose hash is the same on every replay, and what is known of asyncio's own.

Stock asyncio iterates sets of tasks, and so do users, in the order of their hashes, which are addresses. Here the hash
comes from the number of the task or future in its execution and from the execution's salt.
"""

import asyncio
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar, cast

T = TypeVar("T")

_HASH_STEP = 0x9E3779B97F4A7C15
# Two digits of a Python integer.
_HASH_MASK = 0x0FFFFFFFFFFFFFFF


class Future(asyncio.Future[T]):
    """A future whose hash comes from its number in the execution."""

    __slots__ = ("_number",)
    _number: int

    def __hash__(self) -> int:
        # Worked out when somebody asks: most futures are never put into a set, and the number is smaller.
        loop: Any = self.get_loop()
        return hashed(loop.salt, self._number)

    __eq__ = object.__eq__


class Task(asyncio.Task[T]):
    """A task whose hash comes from its number in the execution."""

    __slots__ = ("_hash",)
    _hash: int

    def __hash__(self) -> int:
        return self._hash

    __eq__ = object.__eq__


class RefusedTask(Future[Any]):
    """What an execution that is over returns in place of a task: who awaits it unwinds."""

    __slots__ = ()

    def set_name(self, name: object) -> None:
        """It needs no name."""


def hashed(salt: int, number: int) -> int:
    """The hash of an execution's task or future of this number."""
    return (salt + number * _HASH_STEP) & _HASH_MASK


def silenced(task: Any) -> asyncio.Task[Any]:
    """The task, of which asyncio will not say that it was destroyed before it ended."""
    task._log_destroy_pending = False  # noqa: SLF001 - asyncio's own hook for those who mean it
    return cast("asyncio.Task[Any]", task)


async def adopt(future: asyncio.Future[T]) -> T:
    """What a task does that was made of a future."""
    return await future


def _type_of_first_steps() -> type:
    """The type of the callback with which asyncio's own `Task(...)` asks for its first step."""
    asked: list[Callable[..., object]] = []

    class Recorder:
        def get_debug(self) -> bool:
            return False

        def call_soon(self, callback: Callable[..., object], **_options: object) -> None:
            asked.append(callback)

    coroutine = asyncio.sleep(0)
    loop: Any = Recorder()
    task = silenced(asyncio.Task(coroutine, loop=loop))
    asyncio._unregister_task(task)  # noqa: SLF001 - documented, underscore and all
    coroutine.close()
    return type(asked[0])


FIRST_STEP = _type_of_first_steps()


def bare_as_completed() -> FrameType | None:
    """The frame of `as_completed`, when `create_task` was reached from there with a bare coroutine."""
    frame = sys._getframe(2)
    if frame.f_code.co_name not in {"ensure_future", "_ensure_future"}:
        return None
    caller = frame.f_back
    while caller is not None and caller.f_globals.get("__name__") == "asyncio.tasks":
        if caller.f_code.co_qualname in {"as_completed", "_AsCompletedIterator.__init__"}:
            return caller
        caller = caller.f_back
    return None
