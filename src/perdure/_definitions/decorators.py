"""The decorators `@activity` and `@orchestration`, with and without parentheses."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack, overload

from perdure._definitions.definition import Activity, Orchestration
from perdure._definitions.shape import Shape
from perdure.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from types import FrameType

    from perdure._context import ActivityContext, OrchestrationContext
    from perdure._definitions.definition import ActivityDeclaration

P = ParamSpec("P")
R = TypeVar("R")


class ActivityDecorator(Protocol):
    """What `activity(...)` returns."""

    @overload
    def __call__(self, fn: Callable[Concatenate[ActivityContext, P], Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[ActivityContext, P], R], /) -> Activity[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Activity[P, R]: ...


class OrchestrationDecorator(Protocol):
    """What `orchestration(...)` returns."""

    def __call__(
        self, fn: Callable[Concatenate[OrchestrationContext, P], Coroutine[Any, Any, R]], /
    ) -> Orchestration[P, R]: ...


@overload
def activity(fn: Callable[Concatenate[ActivityContext, P], Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
@overload
def activity(fn: Callable[Concatenate[ActivityContext, P], R], /) -> Activity[P, R]: ...
@overload
def activity(fn: Callable[P, Coroutine[Any, Any, R]], /) -> Activity[P, R]: ...
@overload
def activity(fn: Callable[P, R], /) -> Activity[P, R]: ...
@overload
def activity(*, name: str | None = None, **options: Unpack[ActivityDeclaration]) -> ActivityDecorator: ...
def activity(fn: Any = None, /, *, name: str | None = None, **options: Unpack[ActivityDeclaration]) -> Any:
    """Make an activity of a function: work in the world, that a worker runs and whose outcome history keeps.

    The function takes up to three positional inputs, and before them, if it wants, `ctx: ActivityContext`. An
    `async def` runs on the worker's event loop, a plain `def` in a thread; it may be a method (then with `ctx`). It may
    run again after a crash or a failure: use `ctx.idempotency_key`, or check first.

    Args:
        fn: The function.
        name: The durable name; default `{package}::activity::{function}` with dashes for underscores.
        aliases: Former names, so that instances which asked for them go on.
        retry: The policy where the call gives none; default: one attempt.
        on_unknown: "repeat" (default), or "hold" if it must not run again when a worker died in it: then it waits
            until `probe` or a person (`client.resolve`) says what came of it. That it begins is a commit of its own.
        probe: For "hold": a function of `ctx` and the inputs, `async` or not, that finds out whether it happened,
            mostly by `ctx.idempotency_key`, and returns a `Verdict`.
        heartbeat_timeout: How long it may run without `ctx.heartbeat()`, in seconds or as a timedelta, before it has
            failed by timeout and is tried again as `retry` says; None for no limit.
        cancel_grace: How long it may go on when it is cancelled, to clean up, in seconds (default 30) or as a
            timedelta: then its slot is given up, and who waits for its end waits no more; None: as long as it likes.
        tag: Only workers that serve this tag run it.
        transactional: Run it in a transaction of the store's database, `ctx.connection`, which is committed together
            with its result: exactly once, whatever crashes. An error, a timeout and a cancellation roll it back.
        limit: How many may run at a time, or begin within a span of time, on all workers together; where the call gives
            none.

    Raises:
        RegistrationError: The function or an option can't be used; the message says why.

    Example:
        @activity(retry=RetryPolicy(5))
        async def charge(ctx: ActivityContext, order: Order) -> str:
            return await bank.charge(order.cents, key=ctx.idempotency_key)
    """

    def decorate(function: Any) -> Activity[Any, Any]:
        return Activity(_shape_of(function, "activity", name), **options)

    return decorate if fn is None else decorate(fn)


@overload
def orchestration(
    fn: Callable[Concatenate[OrchestrationContext, P], Coroutine[Any, Any, R]], /
) -> Orchestration[P, R]: ...
@overload
def orchestration(
    *, name: str | None = None, version: str = "1.0.0", aliases: Iterable[str] = ()
) -> OrchestrationDecorator: ...
def orchestration(
    fn: Any = None, /, *, name: str | None = None, version: str = "1.0.0", aliases: Iterable[str] = ()
) -> Any:
    """Make an orchestration of an `async def` function: durable code that survives crashes and restarts.

    The function takes `ctx: OrchestrationContext` and up to three positional inputs. Once instances of it run, change
    it under a new version, side by side with the old one.

    Args:
        fn: The function.
        name: The durable name; default `{package}::orchestration::{function}` with dashes for underscores.
        version: A semantic version; new instances start with the latest one that is registered.
        aliases: Former names, so that instances which have them go on.

    Raises:
        RegistrationError: The function or an option can't be used; the message says why.

    Example:
        @orchestration(version="1.0.1")
        async def checkout(ctx: OrchestrationContext, order: Order) -> str:
            return await ctx.schedule_activity(charge, order)
    """

    def decorate(function: Any) -> Orchestration[Any, Any]:
        shape = _shape_of(function, "orchestration", name)
        return Orchestration(shape, version=version, aliases=aliases)

    return decorate if fn is None else decorate(fn)


def _shape_of(fn: Any, kind: str, name: str | None) -> Shape:
    if inspect.isfunction(fn):
        names = _names_around(fn.__qualname__, inspect.currentframe()) if "." in fn.__qualname__ else {}
        return Shape(fn, kind, name, names)
    if isinstance(fn, str):
        raise RegistrationError(f"@{kind}({fn!r}): write @{kind}(name={fn!r})")
    if isinstance(fn, staticmethod | classmethod):
        raise RegistrationError(f"@{kind} on a {type(fn).__name__}: define {fn.__name__} in the module instead")
    if isinstance(fn, Activity | Orchestration):
        raise RegistrationError(f"@{kind} on {fn!r}, which is a definition already: decorate its function, .fn")
    raise RegistrationError(f"@{kind} on {fn!r}: it takes a function; wrap the call in a `def`")


def _names_around(qualname: str, frame: FrameType | None) -> dict[str, Any]:
    """The local names of the functions and classes around a definition, the innermost first."""
    names: dict[str, Any] = {}
    while frame is not None:
        if qualname.startswith(f"{frame.f_code.co_qualname}."):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names
