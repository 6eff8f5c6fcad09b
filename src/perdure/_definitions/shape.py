"""What a definition reads off its function: whether it takes a context, and its inputs and result with their types."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Coroutine
from functools import cached_property
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from perdure._context import ActivityContext, OrchestrationContext
from perdure._definitions.fingerprint import fingerprint_of
from perdure._definitions.naming import default_name
from perdure._types import INPUTS_MAX, check_name
from perdure.codec import InputsCodec, TypeCodec, codec_for
from perdure.errors import PayloadError, RegistrationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_CONTEXTS = {"activity": ActivityContext, "orchestration": OrchestrationContext}


class Shape:
    """The shape of one function, checked when it is made; types and codecs are worked out when first asked for.

    Args:
        fn: The function under the decorator.
        kind: "activity" or "orchestration".
        name: Its durable name; None for the default.
        names: What the decorator saw as local names, for annotations that name types local to a function.

    Raises:
        RegistrationError: The function can't be one of this kind; the message says why and what to write.
    """

    def __init__(self, fn: Callable[..., Any], kind: str, name: str | None, names: Mapping[str, Any]) -> None:
        self.fn = fn
        self.kind = kind
        self.where = f"{kind} {fn.__qualname__} ({fn.__module__}, line {fn.__code__.co_firstlineno})"
        if name is None and fn.__name__ == "<lambda>":
            raise RegistrationError(f"{self.where} has no name of its own: pass name=")
        self.name = self.checked_name(kind, default_name(fn, kind) if name is None else name)
        self.is_async = inspect.iscoroutinefunction(fn)
        self.is_method = _is_in_class(fn)
        self._names: Mapping[str, Any] = names
        self._globals: dict[str, Any] = getattr(inspect.unwrap(fn), "__globals__", fn.__globals__)
        self._signature = inspect.signature(fn)
        self._check_flavour()
        parameters = list(self._signature.parameters.values())
        self.takes_ctx = self._takes_context(parameters)
        self._inputs = parameters[self.is_method + self.takes_ctx :]
        self._check_inputs()

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, without self and ctx."""
        return tuple(parameter.name for parameter in self._inputs)

    @property
    def defaults(self) -> tuple[Any, ...]:
        """The defaults of the last inputs, as many as have one."""
        return tuple(each.default for each in self._inputs if each.default is not Parameter.empty)

    @cached_property
    def input_types(self) -> tuple[Any, ...]:
        """The annotations of the inputs, evaluated; Any where there is none."""
        return tuple(self._evaluated(each.name, each.annotation) for each in self._inputs)

    @cached_property
    def return_type(self) -> Any:
        """The annotation of the result, evaluated; Any where there is none, None for a function that never returns."""
        type_ = self._evaluated("return", self._signature.return_annotation)
        if type_ in (typing.NoReturn, typing.Never):
            return type(None)
        if (typing.get_origin(type_) or type_) in (Awaitable, Coroutine):
            raise RegistrationError(
                f"{self.where} is annotated to return {type_}: write `async def`, and annotate what awaiting it gives"
            )
        return type_

    @cached_property
    def inputs_codec(self) -> InputsCodec:
        """The codec of the inputs, which are stored as one JSON array."""
        for each, type_ in zip(self._inputs, self.input_types, strict=True):
            codec = self._codec(each.name, type_)
            if each.default is not Parameter.empty and type_ is not Any:
                self._check_default(each, codec)
        return InputsCodec(self.input_types, self.defaults, what=f"{self.kind} {self.name}")

    @cached_property
    def result_codec(self) -> TypeCodec:
        """The codec of the result."""
        return self._codec("return", self.return_type)

    @cached_property
    def fingerprint(self) -> str | None:
        """A hash of the function's code, or None if its source can't be had."""
        return fingerprint_of(self.fn)

    def checked_name(self, what: str, name: str) -> str:
        """A name that history may store; `what` says what is named."""
        try:
            return check_name(what, name)
        except UsageError as error:
            raise RegistrationError(f"{self.where}: {error}") from None

    def resolve(self) -> None:
        """Work out everything that may be wrong with the annotations, now.

        Raises:
            RegistrationError: A type can't be found, or can't be JSON.
        """
        _ = self.inputs_codec, self.result_codec
        # All types are known now: let go of the locals of whoever made the function.
        self._names = {}

    def _codec(self, name: str, type_: Any) -> TypeCodec:
        try:
            return codec_for(type_)
        except RegistrationError as error:
            raise RegistrationError(f"{self.where}: {_parameter(name)}: {error}") from error

    def _check_default(self, parameter: Parameter, codec: TypeCodec) -> None:
        try:
            codec.encode(parameter.default, f"the default of {_parameter(parameter.name)}")
        except PayloadError as error:
            optional = f"; for an input that may be left out, write `{parameter.name}: {codec.name} | None = None`"
            raise RegistrationError(
                f"{self.where}: {error}. It would come in without a check where the input is missing: give a default "
                f"that fits, or widen the annotation{optional if parameter.default is None else ''}"
            ) from None

    def _check_flavour(self) -> None:
        if inspect.isgeneratorfunction(self.fn) or inspect.isasyncgenfunction(self.fn):
            raise RegistrationError(
                f"{self.where} is a generator, whose values nobody would read: return a list instead"
            )
        if self.kind == "orchestration":
            if not self.is_async:
                raise RegistrationError(f"{self.where} is a plain `def`: orchestrations are `async def`")
            if self.is_method:
                raise RegistrationError(
                    f"{self.where} is defined in a class: an orchestration has no self to survive a restart with; "
                    "define it in a module, and keep what it needs in its input or in activities"
                )

    def _takes_context(self, parameters: list[Parameter]) -> bool:
        rest = parameters[self.is_method :]
        context = _CONTEXTS[self.kind].__name__
        wanted = f"(self, ctx: {context}, ...)" if self.is_method else f"(ctx: {context}, ...)"
        if any(self._is_context(each) for each in rest[1:]):
            raise RegistrationError(f"{self.where}: ctx must come first: {wanted}")
        if rest and self._is_context(rest[0]):
            return True
        if self.is_method:
            raise RegistrationError(
                f"{self.where} is a method without a context: write {wanted}; "
                "type checkers can't tell the two shapes of a method apart. A static method belongs into the module"
            )
        unannotated = bool(rest) and rest[0].annotation is Parameter.empty
        if self.kind == "orchestration":
            if unannotated and rest[0].kind in _POSITIONAL:
                return True
            raise RegistrationError(f"{self.where} takes no context: an orchestration is written {wanted}")
        if unannotated and rest[0].name == "ctx":
            raise RegistrationError(f"{self.where}: annotate the context, or it would be an input: {wanted}")
        return False

    def _is_context(self, parameter: Parameter) -> bool:
        annotation = parameter.annotation
        if isinstance(annotation, str):
            name = annotation.rpartition(".")[2]
            # Recognised by its name too, as the import often stands under `if TYPE_CHECKING`.
            if name in _NAMES_OF_CONTEXTS:
                annotation = _NAMES_OF_CONTEXTS[name]
            else:
                annotation = self._names.get(annotation, self._globals.get(annotation))
        if annotation in _CONTEXTS.values() and annotation is not _CONTEXTS[self.kind]:
            raise RegistrationError(
                f"{self.where}: {parameter.name} is annotated {annotation.__name__}, but an {self.kind} "
                f"is given an {_CONTEXTS[self.kind].__name__}"
            )
        return annotation is _CONTEXTS[self.kind]

    def _check_inputs(self) -> None:
        for each in self._inputs:
            if each.kind not in _POSITIONAL:
                raise RegistrationError(
                    f"{self.where}: {each} can't be an input: inputs are positional; take one dataclass instead"
                )
        if len(self._inputs) > INPUTS_MAX:
            raise RegistrationError(
                f"{self.where} takes {len(self._inputs)} inputs ({', '.join(self.input_names)}): at most {INPUTS_MAX} "
                "are allowed; put them into one dataclass, which can also grow later"
            )

    def _evaluated(self, name: str, annotation: Any) -> Any:
        if annotation is Parameter.empty:
            return Any
        holder = types.SimpleNamespace(
            __annotations__={name: annotation}, __type_params__=getattr(self.fn, "__type_params__", ())
        )
        try:
            return typing.get_type_hints(holder, self._globals, dict(self._names), include_extras=True)[name]
        except NameError as error:
            raise RegistrationError(
                f"{self.where}: the type {error.name} of {_parameter(name)} can't be found when it runs. Is its import "
                "under `if TYPE_CHECKING:`? Move it out; to keep ruff from moving it back, set in pyproject.toml "
                '[tool.ruff.lint.flake8-type-checking] runtime-evaluated-decorators = ["perdure.activity", '
                '"perdure.orchestration"]'
            ) from error
        except Exception as error:
            raise RegistrationError(
                f"{self.where}: the annotation {annotation!r} of {_parameter(name)} can't be evaluated: "
                f"{type(error).__name__}: {error}"
            ) from error


_NAMES_OF_CONTEXTS = {each.__name__: each for each in _CONTEXTS.values()}


def _parameter(name: str) -> str:
    return "the result" if name == "return" else f"parameter {name!r}"


def _is_in_class(fn: Callable[..., Any]) -> bool:
    _, dot, _ = fn.__qualname__.rpartition("<locals>.")[2].rpartition(".")
    return bool(dot)
