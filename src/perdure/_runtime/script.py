"""`run`: one orchestration from a script, in one call."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any, TypeVar, overload

from perdure._client.handle import result_unless_held
from perdure._definitions import Activity, Orchestration
from perdure._registry import Registry
from perdure._runtime.runtime import Runtime
from perdure.errors import UsageError

if TYPE_CHECKING:
    import os
    from types import ModuleType

    from perdure._context.signatures import Orchestration0, Orchestration1, Orchestration2, Orchestration3

_log = logging.getLogger("perdure.runtime")

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


@overload
def run(
    orchestration: Orchestration0[R],
    /,
    *,
    url: str | os.PathLike[str] = "memory://",
    registry: Registry | None = None,
    instance_id: str | None = None,
) -> R: ...
@overload
def run(
    orchestration: Orchestration1[A, R],
    a: A,
    /,
    *,
    url: str | os.PathLike[str] = "memory://",
    registry: Registry | None = None,
    instance_id: str | None = None,
) -> R: ...
@overload
def run(
    orchestration: Orchestration2[A, B, R],
    a: A,
    b: B,
    /,
    *,
    url: str | os.PathLike[str] = "memory://",
    registry: Registry | None = None,
    instance_id: str | None = None,
) -> R: ...
@overload
def run(
    orchestration: Orchestration3[A, B, C, R],
    a: A,
    b: B,
    c: C,
    /,
    *,
    url: str | os.PathLike[str] = "memory://",
    registry: Registry | None = None,
    instance_id: str | None = None,
) -> R: ...
def run(
    orchestration: Any,
    /,
    *inputs: Any,
    url: str | os.PathLike[str] = "memory://",
    registry: Registry | None = None,
    instance_id: str | None = None,
) -> Any:
    """Run an orchestration to its end and return its result; for scripts.

    Args:
        orchestration: The definition.
        *inputs: Its inputs.
        url: The store; with a file, running it again with the same `instance_id` resumes, or returns the stored result.
        registry: What the worker can run; default all definitions that the orchestration's module has or imports.
        instance_id: Default a new one.

    Raises:
        OrchestrationError: It failed.
        InstanceExistsError: The id is taken by an instance of another orchestration.
        HeldError: It is held: its code must be mended, after which running it again goes on.
        UsageError: It was called inside a running event loop: open a `Runtime` there.

    Example:
        print(run(checkout, order, url="sqlite:///shop.db", instance_id="order-1"))
    """
    if asyncio._get_running_loop() is not None:
        raise UsageError("run() was called inside a running event loop: use `async with Runtime(url, registry)` there")
    if not isinstance(orchestration, Orchestration):
        raise UsageError(f"run() takes a definition made with @orchestration, not {orchestration!r}")
    known = registry or Registry(orchestration, *_definitions_in(sys.modules[orchestration.fn.__module__]))
    tags = sorted({each.tag for each in known.activities.values() if each.tag is not None})
    if tags:
        _log.warning(
            "run() takes no activities with a tag, and there are some of %s: they wait until a worker serves it; "
            "open a Runtime(..., tags=Tags(...)) to run them here",
            ", ".join(map(repr, tags)),
        )

    async def main() -> Any:
        async with Runtime(url, known) as runtime:
            handle = await runtime.client.start_orchestration(
                orchestration, *inputs, instance_id=instance_id, on_conflict="use_existing"
            )
            return await result_unless_held(handle)

    return asyncio.run(main())


def _definitions_in(module: ModuleType) -> list[object]:
    return [value for value in vars(module).values() if isinstance(value, Activity | Orchestration)]
