"""The two kinds of definition, `Activity` and `Orchestration`: what decorating a function makes of it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import types
from collections.abc import Iterable
from copy import copy
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    Literal,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
)

from perdure._context import ActivityContext, Limit, activity_context, running_activity_context
from perdure._definitions.naming import version_key
from perdure._retry import RetryPolicy
from perdure._types import Duration, duration_us
from perdure.errors import RegistrationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from perdure._context import Verdict
    from perdure._definitions.shape import Shape
    from perdure.codec import InputsCodec, TypeCodec

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

OnUnknown: TypeAlias = Literal["repeat", "hold"]

Probe: TypeAlias = "Callable[..., Verdict[Any] | Coroutine[Any, Any, Verdict[Any]]]"
"""A function of an `ActivityContext` and the inputs of its activity."""

CANCEL_GRACE_S = 30.0
"""How long a cancelled activity may go on if it does not say, in seconds."""


class _Definition:
    """What both kinds have: a durable name, former names, a function, and the shape of that."""

    def __init__(self, shape: Shape, aliases: Iterable[str]) -> None:
        # Shows as the function does, in help() and to inspect.
        functools.update_wrapper(cast("Any", self), shape.fn)
        self.name: Final = shape.name
        if isinstance(aliases, str):
            raise RegistrationError(f"{shape.where}: aliases is the string {aliases!r}: write a tuple, even for one")
        self.aliases: Final = tuple(dict.fromkeys(shape.checked_name("alias", each) for each in aliases))
        self._shape: Final = shape

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return self._shape.input_names

    @property
    def input_types(self) -> tuple[Any, ...]:
        """The types of the inputs, from the annotations; Any where there is none."""
        return self._shape.input_types

    @property
    def defaults(self) -> tuple[Any, ...]:
        """The defaults of the last inputs, as many as have one."""
        return self._shape.defaults

    @property
    def return_type(self) -> Any:
        """The type of the result, from the annotation; Any where there is none."""
        return self._shape.return_type

    @functools.cached_property
    def inputs_codec(self) -> InputsCodec:
        """What turns the inputs into a JSON array and back."""
        return self._shape.inputs_codec

    @functools.cached_property
    def result_codec(self) -> TypeCodec:
        """What turns the result into JSON and back."""
        return self._shape.result_codec

    @property
    def fingerprint(self) -> str | None:
        """A hash of the function's code, the same on every Python version; None if its source can't be had."""
        return self._shape.fingerprint

    def resolve(self) -> None:
        """Evaluate the annotations and build the codecs, now rather than at first use.

        Raises:
            RegistrationError: An annotation can't be evaluated, or its type can't be JSON.
        """
        self._shape.resolve()


class ActivityDeclaration(TypedDict, total=False):
    """The options of `@activity` but for the name; what each means, and its default, is told there."""

    aliases: Iterable[str]
    retry: RetryPolicy | None
    on_unknown: OnUnknown
    probe: Probe | None
    heartbeat_timeout: Duration | None
    cancel_grace: Duration | None
    tag: str | None
    transactional: bool
    limit: Limit | None


def _check_known(shape: Shape, options: Iterable[str]) -> None:
    known = ("name", *ActivityDeclaration.__annotations__)
    for option in options:
        if option not in known:
            from perdure._definitions.mistakes import cure_of  # noqa: PLC0415 - only mistakes need it

            raise RegistrationError(f"{shape.where}: @activity has no option {option}=: {cure_of(option, known)}")


def _refuse_to_orchestrations(activity: Activity[..., Any]) -> None:
    # Not asyncio.get_running_loop(): other event loops than asyncio's may run this, and that is no error.
    refuse = getattr(asyncio._get_running_loop(), "refuse", None)
    if refuse is not None:
        # Remembered by the execution, too: whoever swallows the error changes nothing.
        refuse(
            f"{activity.name} was called directly in an orchestration, where it would run again on every replay: "
            f"write `await ctx.schedule_activity({activity.fn.__name__}, ...)`."
        )


class _Call:
    """`Activity.__call__`, as it is looked up for a call: orchestrations are refused before there is a coroutine.

    Somebody who calls an activity there by mistake mostly forgets to await it, too, and would hear nothing.
    """

    def __init__(self, run: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self._run = run

    def __get__(self, activity: Activity[..., Any] | None, owner: type | None = None) -> Any:
        if activity is None:
            return self._run
        _refuse_to_orchestrations(activity)
        # Python names the coroutine when it warns that it was never awaited.
        run = types.FunctionType(self._run.__code__, self._run.__globals__, activity.name)
        run.__qualname__ = activity.name
        return types.MethodType(run, activity)


class Activity(_Definition, Generic[P, R_co]):
    """An activity: a function that does work in the world, by its durable name. Made by `@activity`.

    `P` are its inputs, without `self` and `ctx`. Called outside an orchestration it runs here, once and not durably,
    with a stand-in context or that of the activity that calls it: for unit tests, and for sharing code. Inside an
    orchestration the call raises `ForbiddenCallError`; write `ctx.schedule_activity(charge, order)` there.

    Attributes:
        name: The durable name that history and workers know.
        aliases: Former names under which it is still found.
        fn: The function itself; for an activity of an instance, the bound method.
        retry: The policy where the call gives none.
        on_unknown: What may be done when a worker died and nobody knows the outcome: "repeat", or "hold" for a person.
        probe: What finds out whether one happened whose outcome nobody knows, or None.
        cancel_grace: How long one that is cancelled may go on before it is given up; None for as long as it likes.
        heartbeat_timeout: How long it may run without a heartbeat before it has failed, or None.
        tag: Only workers that serve this tag run it; None for any.
        transactional: Whether it runs in a transaction whose commit carries its end.
        limit: The limit by key where the call gives none.
    """

    def __init__(self, shape: Shape, **options: Unpack[ActivityDeclaration]) -> None:
        _check_known(shape, options)
        super().__init__(shape, options.get("aliases", ()))
        self.fn: Final[Callable[..., Any]] = shape.fn
        self.retry: Final = options.get("retry")
        self.on_unknown: Final[OnUnknown] = options.get("on_unknown", "repeat")
        self.probe: Final = options.get("probe")
        self.cancel_grace: Final = options.get("cancel_grace", CANCEL_GRACE_S)
        self.heartbeat_timeout: Final = options.get("heartbeat_timeout")
        self.tag: Final = options.get("tag")
        self.transactional: Final = options.get("transactional", False)
        self.limit: Final = options.get("limit")
        self._receiver: Final[object] = None
        self._check_options()

    @property
    def is_async(self) -> bool:
        """Whether it is an `async def`; a plain `def` runs in a thread."""
        return self._shape.is_async

    @property
    def takes_ctx(self) -> bool:
        """Whether its first parameter (after self) is an `ActivityContext`."""
        return self._shape.takes_ctx

    @property
    def needs_instance(self) -> bool:
        """Whether it is a method that was taken from its class, and so can't run."""
        return self._shape.is_method and self._receiver is None

    def is_same(self, other: Activity[..., Any]) -> bool:
        """Whether both are one activity: one decorated function, and for a method one instance."""
        return self._shape is other._shape and self._receiver is other._receiver

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run it here, once, not durably; a plain `def` is awaited all the same.

        Raises:
            ForbiddenCallError: The caller is an orchestration; raised by the call, before anything is awaited.
            UsageError: It is a method that was taken from its class, or a plain `def` that returned an awaitable.
        """
        # Once more, for a coroutine that was made elsewhere.
        _refuse_to_orchestrations(self)
        if self.takes_ctx:
            context = running_activity_context() or activity_context(activity_name=self.name)
            outcome = self.invoke((context, *args), kwargs)
        else:
            outcome = self.invoke(args, kwargs)
        result: R_co = await outcome if self.is_async else outcome
        return result

    if not TYPE_CHECKING:
        __call__ = _Call(__call__)

    def invoke(self, args: Sequence[Any], kwargs: dict[str, Any] | None = None) -> Any:
        """Call the function with these arguments, ctx included if it takes one: the coroutine of an `async def`.

        Raises:
            UsageError: It is a method without its instance, or a plain `def` that returned an awaitable.
        """
        if self.needs_instance:
            raise UsageError(
                f"{self.name} is a method of a class: call it on an instance, and register that instance, "
                "Registry(Payments(pool))"
            )
        outcome = self.fn(*args, **(kwargs or {}))
        if not self.is_async and hasattr(outcome, "__await__"):
            if inspect.iscoroutine(outcome):
                outcome.close()
            raise UsageError(
                f"{self.name} is a plain `def` and returned a {type(outcome).__name__}, which nobody would await: "
                "make it an `async def`"
            )
        return outcome

    if TYPE_CHECKING:
        # What the scheduling verbs compare definitions by.
        def __perdure_activity__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def __get__(
        self: Activity[Concatenate[S, ActivityContext, Q], R], obj: S | None, owner: type[S] | None = None, /
    ) -> Activity[Q, R]:
        """The activity of one instance; taken from the class, it still names the activity and its types."""
        activity: Activity[Any, R] = self
        if obj is None or not self._shape.is_method:
            return activity
        bound = copy(activity)
        vars(bound).update(fn=types.MethodType(self._shape.fn, obj), _receiver=obj)
        return bound

    def __repr__(self) -> str:
        return f"<activity {self.name}>"

    def _check_options(self) -> None:
        where = self._shape.where
        if self.retry is not None and not isinstance(self.retry, RetryPolicy):
            raise RegistrationError(f"{where}: retry is {self.retry!r}: use a RetryPolicy, such as RetryPolicy(3)")
        if self.on_unknown not in ("repeat", "hold"):
            raise RegistrationError(f"{where}: on_unknown is {self.on_unknown!r}: use 'repeat' or 'hold'")
        if self.on_unknown == "hold" or self.probe is not None:
            self._check_hold()
        if self.cancel_grace is not None:
            try:
                duration_us(self.cancel_grace, "cancel_grace")
            except UsageError as error:
                raise RegistrationError(f"{where}: {error}") from None
        if self.heartbeat_timeout is not None:
            self._check_silence(self.heartbeat_timeout)
        if not isinstance(self.transactional, bool):
            raise RegistrationError(f"{where}: transactional is {self.transactional!r}: use True or False")
        if self.transactional and not self.takes_ctx:
            raise RegistrationError(f"{where}: it is transactional and takes no ctx: its connection is ctx.connection")
        self._check_routing()

    def _check_routing(self) -> None:
        if self.tag is not None:
            self._shape.checked_name("tag", self.tag)
        if self.limit is None:
            return
        if not isinstance(self.limit, Limit):
            raise RegistrationError(
                f"{self._shape.where}: limit is {self.limit!r}: use a Limit, as in Limit('smtp', 5)"
            )
        if callable(self.limit.key):
            self._check_called_with(self.limit.key, self.input_names, "the key of its limit", "a name")

    def _check_hold(self) -> None:
        where = self._shape.where
        if self.on_unknown != "hold":
            raise RegistrationError(
                f"{where}: it has a probe and on_unknown={self.on_unknown!r}, which repeats without asking anybody: "
                "add on_unknown='hold'"
            )
        if self.transactional:
            raise RegistrationError(
                f"{where}: it is transactional, so what it does is done together with its end: leave on_unknown out"
            )
        if self.probe is not None:
            self._check_called_with(self.probe, ("ctx", *self.input_names), "its probe", "a Verdict")

    def _check_called_with(self, function: object, wanted: Sequence[str], what: str, result: str) -> None:
        try:
            inspect.signature(cast("Any", function)).bind(*wanted)
        except ValueError:
            # Some of what is written in C tells no signature.
            return
        except TypeError:
            raise RegistrationError(
                f"{self._shape.where}: {what} is {function!r}: use a function of ({', '.join(wanted)}), which returns "
                f"{result}"
            ) from None

    def _check_silence(self, silence: Duration) -> None:
        where = self._shape.where
        try:
            silence_us = duration_us(silence, "heartbeat_timeout")
        except UsageError as error:
            raise RegistrationError(f"{where}: {error}") from None
        if silence_us == 0:
            raise RegistrationError(f"{where}: heartbeat_timeout is {silence!r}: leave it out for no limit")
        if not self.takes_ctx:
            raise RegistrationError(
                f"{where}: it has a heartbeat_timeout and takes no ctx: without ctx.heartbeat() it would always be too "
                "silent"
            )


class Orchestration(_Definition, Generic[P, R_co]):
    """An orchestration: durable code, by its durable name and version. Made by `@orchestration`.

    `P` are its inputs, without `ctx`. It is not called: a client starts it, a parent schedules it, a test runs it in
    `perdure.testing.Environment`; the bare function is `fn`.

    Attributes:
        name: The durable name that history and workers know.
        version: Its semantic version; several may be registered side by side under one name.
        aliases: Former names under which it is still found.
        fn: The function itself.
    """

    def __init__(self, shape: Shape, *, version: str, aliases: Iterable[str]) -> None:
        super().__init__(shape, aliases)
        try:
            version_key(version)
        except RegistrationError as error:
            raise RegistrationError(f"{shape.where}: {error}") from None
        self.version: Final = version
        self.fn: Final[Callable[..., Coroutine[Any, Any, R_co]]] = shape.fn

    if TYPE_CHECKING:
        # What the scheduling verbs compare definitions by.
        def __perdure_orchestration__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    else:

        def __call__(self, *_args: object, **_kwargs: object) -> NoReturn:
            """Say how orchestrations are run; type checkers say it earlier."""
            raise UsageError(
                f"{self.name} is an orchestration and can't be called: start it with client.start_orchestration or "
                "perdure.run, schedule it with ctx.schedule_sub_orchestration, or test it in "
                "perdure.testing.Environment; the bare function is .fn"
            )

    def __repr__(self) -> str:
        return f"<orchestration {self.name} {self.version}>"
