"""The annotations of a class's fields, with the type variables of generic classes filled in."""

import inspect
import typing
from typing import Any, TypeVar, get_args, get_origin

from perdure.codec._shapes import type_name
from perdure.errors import RegistrationError


def field_hints(annotation: Any) -> dict[str, Any]:
    """The resolved annotation of every field of a class, or of a generic class with arguments (`Box[int]`)."""
    cls = get_origin(annotation) or annotation
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception as exc:
        raise unresolved(cls, exc) from exc
    owners = _owners(cls)
    bindings = _bindings(annotation, owners)
    return {name: bind(hint, bindings[_owner(name, owners)]) for name, hint in hints.items()}


def bind(annotation: Any, binding: dict[Any, Any]) -> Any:
    """The annotation with its type variables replaced; those without a replacement stay."""
    if isinstance(annotation, TypeVar):
        return binding.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type):
        return annotation
    return annotation[tuple(binding.get(parameter, parameter) for parameter in parameters)]


def unresolved(cls: Any, exc: Exception) -> RegistrationError:
    """The error for a class whose own annotations can't be read."""
    return RegistrationError(
        f"the annotations of {type_name(cls)} can't be resolved ({type(exc).__name__}: {exc}): define or import their "
        f"types at the top of module {cls.__module__}, not in a function and not under `if TYPE_CHECKING`"
    )


def _owners(cls: Any) -> list[Any]:
    """The class and its bases, each before its own bases."""
    if not typing.is_typeddict(cls):
        return list(cls.__mro__)
    # The bases of a TypedDict are not in its method resolution order, and it has the annotations of all of them.
    owners = [cls]
    for owner in owners:
        bases = (get_origin(base) or base for base in vars(owner).get("__orig_bases__", ()))
        owners.extend(base for base in bases if typing.is_typeddict(base))
    return owners


def _owner(name: str, owners: list[Any]) -> Any:
    having = [owner for owner in owners if name in inspect.get_annotations(owner)]
    return having[-1 if typing.is_typeddict(owners[0]) else 0]


def _bindings(annotation: Any, owners: list[Any]) -> dict[Any, dict[Any, Any]]:
    """What the type variables of each class stand for."""
    cls = owners[0]
    bindings = {cls: dict(zip(getattr(cls, "__parameters__", ()), get_args(annotation), strict=False))}
    for owner in owners:
        binding = bindings.setdefault(owner, {})
        for base in vars(owner).get("__orig_bases__", ()):
            arguments = [bind(argument, binding) for argument in get_args(base)]
            origin = get_origin(base)
            bindings[origin] = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
    return bindings
